"""Products with logarithms are 0, their limit, where a factor is 0, in every spelling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)
log = T.log

SPELLINGS: dict[str, Any] = {
    "p*log(p)": lambda p, q: p * log(p),
    "-p*log(p)": lambda p, q: -p * log(p),
    "2*p*log(p)": lambda p, q: 2 * p * log(p),
    "q*p*log(p)": lambda p, q: q * p * log(p),
    "p*log(p)/q": lambda p, q: p * log(p) / q,
    "p*log2(p)": lambda p, q: p * T.log2(p),
    "p*log10(p)": lambda p, q: p * T.log10(p),
    "p*(log(p)/log(2))": lambda p, q: p * (log(p) / log(2.0)),
    "p*log(p/q)": lambda p, q: p * log(p / q),
    "p*log(q/p)": lambda p, q: p * log(q / p),
    "p*(log(p) - log(q))": lambda p, q: p * (log(p) - log(q)),
    "p*(1 + log(p))": lambda p, q: p * (1 + log(p)),
    "p*log(p/(p + q))": lambda p, q: p * log(p / (p + q)),
    "p**2*log(p)": lambda p, q: p**2 * log(p),
    "p*p*log(p)": lambda p, q: p * p * log(p),
    "sqrt(p)*log(p)": lambda p, q: T.sqrt(p) * log(p),
    "p*log(p**2)": lambda p, q: p * log(p**2),
    "p*log(p)**2": lambda p, q: p * log(p) ** 2,
    "dot(p, log(p))": lambda p, q: T.dot(p, log(p)),
    "dot(log2(p), p)": lambda p, q: T.dot(T.log2(p), p),
    "the gradient of p**2*log(p)": lambda p, q: T.grad((p**2 * log(p)).sum(), p),
}  # fmt: skip


def compiled(expression: Any, mode: Any = None) -> Any:
    p, q = T.dvectors("p", "q")
    return kroton.function([p, q], expression(p, q), mode=mode, on_unused_input="ignore")


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_product_with_a_logarithm_is_0_where_its_factor_is(text: str) -> None:
    f, plain = compiled(SPELLINGS[text]), compiled(SPELLINGS[text], PLAIN)
    p, q = np.array([0.0, 0.0, 0.25, 1.0, 3.0]), np.array([0.5, 2.0, 0.25, 0.3, 0.1])
    with np.errstate(all="ignore"):
        assert np.isnan(plain(p, q)).any()
    np.testing.assert_array_equal(f(p[:2], q[:2]), 0.0)
    np.testing.assert_allclose(f(p[2:], q[2:]), plain(p[2:], q[2:]), rtol=1e-14)


@pytest.mark.parametrize(
    "entropy",
    [
        lambda p, q: -p * log(p) - (1 - p) * log(1 - p),
        lambda p, q: -(p * log(p) + (1 - p) * log(1 - p)),
        lambda p, q: -(p * T.log2(p) + (1 - p) * T.log2(1 - p)),
        lambda p, q: T.nnet.binary_crossentropy(p, p),
    ],
)
def test_the_entropy_of_what_is_certain_is_0(entropy: Any) -> None:
    f, plain = compiled(entropy), compiled(entropy, PLAIN)
    np.testing.assert_array_equal(f([0.0, 1.0], [1.0, 1.0]), 0.0)
    p = np.array([0.2, 0.5, 0.9])
    np.testing.assert_allclose(f(p, p), plain(p, p), rtol=1e-14)


@pytest.mark.parametrize(
    "expression",
    [
        lambda p, q: q * log(p),
        lambda p, q: log(p) / p,
        lambda p, q: p * log(p) / p**2,
        lambda p, q: p / log(p),
        lambda p, q: p * log(q),
        lambda p, q: (1 - q) * log(1 - p),
    ],
)
def test_other_products_with_logarithms_stay_as_they_are(expression: Any) -> None:
    f = compiled(expression)
    names = [r.rule for r in kroton.printing.rewrite_trace(f).replacements]
    assert not [name for name in names if "-> 0 at 0" in name]


@pytest.mark.usefixtures("nan_is_meant")
def test_a_factor_that_is_no_number_stays_none() -> None:
    f = compiled(lambda p, q: q * p * log(p))
    assert np.isnan(f([0.0], [np.nan])).all()


def test_a_logarithm_that_is_guarded_already_is_guarded_once() -> None:
    f = compiled(lambda p, q: T.switch(T.eq(p, 0), 0.0, 2 * p * log(p)))
    names = [r.rule for r in kroton.printing.rewrite_trace(f).replacements]
    assert "x * log(x) -> 0 at 0" not in names
