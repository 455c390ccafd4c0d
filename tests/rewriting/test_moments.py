"""Variances by hand keep their digits where the mean is large, however the sums are divided."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)

SPELLINGS: dict[str, Any] = {
    "mean(x**2) - mean(x)**2": lambda x, n: (x**2).mean(0) - x.mean(0) ** 2,
    "squares as products": lambda x, n: (x * x).mean(0) - x.mean(0) * x.mean(0),
    "sqr": lambda x, n: T.sqr(x).mean(0) - T.sqr(x.mean(0)),
    "keepdims": lambda x, n: (x**2).mean(0, keepdims=True) - x.mean(0, keepdims=True) ** 2,
    "transposed": lambda x, n: (x.T**2).mean(1) - x.T.mean(1) ** 2,
    "transposed, keepdims":
        lambda x, n: (x.T**2).mean(1, keepdims=True) - x.T.mean(1, keepdims=True) ** 2,
    "divided by n": lambda x, n: (x**2).sum(0) / n - (x.sum(0) / n) ** 2,
    "divided by n**2": lambda x, n: (x**2).sum(0) / n - x.sum(0) ** 2 / n**2,
    "divided by 50": lambda x, n: (x**2).sum(0) / 50 - (x.sum(0) / 50) ** 2,
    "times 1/50": lambda x, n: (x**2).sum(0) * 0.02 - (x.sum(0) * 0.02) ** 2,
    "of sums": lambda x, n: ((x**2).sum(0) - x.sum(0) ** 2 / n) / n,
    "n times the mean": lambda x, n: ((x**2).sum(0) - n * x.mean(0) ** 2) / n,
    "of a vector": lambda x, n: (x[:, 0] ** 2).mean() - x[:, 0].mean() ** 2,
    "dot": lambda x, n: T.dot(x[:, 0], x[:, 0]) / n - x[:, 0].mean() ** 2,
    "standard deviation": lambda x, n: T.sqrt((x**2).mean(0) - x.mean(0) ** 2) ** 2,
}  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_variance_by_hand_has_its_digits(text: str, static: bool, dtype: str) -> None:
    if "50" in text and not static:
        pytest.skip("nobody knows that there are 50")
    x: Any = T.TensorType(dtype, (50 if static else None, 4))("x")
    f = kroton.function([x], SPELLINGS[text](x, x.shape[0]))
    plain = kroton.function([x], SPELLINGS[text](x, x.shape[0]), mode=PLAIN)
    rng = np.random.default_rng(0)
    mean = 1e8 if dtype == "float64" else 2.0**12
    far = (mean + rng.standard_normal((50, 4))).astype(dtype)
    with np.errstate(invalid="ignore"):
        written = plain(far)
    found = f(far)
    assert found.dtype == written.dtype
    assert found.shape == written.shape
    wanted = far.astype("float64").var(axis=0)[: found.size].reshape(found.shape)
    rtol = 1e-7 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(found, wanted, rtol=rtol)
    assert not np.allclose(written, wanted, rtol=rtol)


def test_all_of_a_matrix_and_rows_of_it_have_a_variance() -> None:
    x = T.dmatrix("x")
    outs = [
        (x**2).mean() - x.mean() ** 2,
        (x**2).mean(keepdims=True) - x.mean(keepdims=True) ** 2,
        (x**2).mean(1, keepdims=True) - x.mean(1, keepdims=True) ** 2,
        ((x**2).sum(1) - x.sum(1) ** 2 / x.shape[1]) / (x.shape[1] - 1),
    ]
    f = kroton.function([x], outs)
    far = 1e8 + np.random.default_rng(0).standard_normal((6, 5))
    wanted = [far.var(), [[far.var()]], far.var(1, keepdims=True), far.var(1, ddof=1)]
    for a, b in zip(f(far), wanted):
        np.testing.assert_allclose(a, b, rtol=1e-7)


@pytest.mark.parametrize(
    "other",
    [
        lambda x, y: (x**2).mean(0) - y.mean(0) ** 2,
        lambda x, y: (x**2).mean(0) - x.mean(1) ** 2,
        lambda x, y: (x**2).sum(0) - x.sum(0) ** 2,
        lambda x, y: (x**2).sum(0) / 50 - (x.sum(0) / 50) ** 2,
        lambda x, y: (x**2).mean(0) - x.mean(0) ** 3,
        lambda x, y: (x**3).mean(0) - x.mean(0) ** 2,
        lambda x, y: x.mean(0) ** 2 - (x**2).mean(0),
    ],
)
def test_what_is_no_variance_is_computed_as_it_is_written(other: Any) -> None:
    x, y = T.dmatrices("x", "y")
    f = kroton.function([x, y], other(x, y), on_unused_input="ignore")
    names = [r.rule for r in kroton.printing.rewrite_trace(f).replacements]
    assert "variance_by_hand" not in names
    plain = kroton.function([x, y], other(x, y), mode=PLAIN, on_unused_input="ignore")
    values = np.random.default_rng(0).standard_normal((2, 3, 3))
    np.testing.assert_allclose(f(*values), plain(*values), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64"])
def test_squares_of_integers_wrap_as_they_are_written(dtype: str) -> None:
    x: Any = T.vector("x", dtype=dtype)
    out = T.mean(x * x) - T.mean(x) ** 2
    values = np.array([100, 90, 50, 7, 127], dtype)
    found = kroton.function([x], out)(values)
    np.testing.assert_allclose(found, kroton.function([x], out, mode=PLAIN)(values), rtol=1e-12)
    np.testing.assert_allclose(found, (values * values).mean() - values.mean() ** 2, rtol=1e-12)
