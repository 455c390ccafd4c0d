"""Logarithms of sums of exponentials with weights: ordinary values, infinities and zero weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

WRITTEN = Mode("py", None)

x, y, w = T.dvectors("x", "y", "w")
m, u = T.dmatrices("m", "u")


@pytest.mark.parametrize(
    "out",
    [
        T.log(1 + 2 * T.exp(x)),
        T.log(T.exp(x) + 3),
        T.log(T.exp(x) + T.exp(2 * x) + T.exp(3 * x)),
        T.log((T.exp(x) + T.exp(-x)) / 2),
        T.log(T.exp(x) - 1),
        T.log(T.cosh(x)),
    ],
)
def test_infinities_and_nan_are_what_is_written(out: Any) -> None:
    values = [np.inf, -np.inf, np.nan, 0.5, -20.0]
    with np.errstate(all="ignore"):
        fast, written = (kroton.function([x], out, mode=k)(values) for k in ("FAST_RUN", WRITTEN))
    np.testing.assert_allclose(fast, written, rtol=1e-7)


def test_an_exponential_without_weight_does_not_hide_the_others() -> None:
    out = T.log((w * T.exp(m)).sum(axis=1))
    f = kroton.function([m, w], [out, T.grad(out.sum(), m)])
    value, gradient = f([[300.0, -500.0], [-900.0, -901.0]], [0.0, 1.0])
    np.testing.assert_allclose(value, [-500.0, -901.0], rtol=1e-15)
    np.testing.assert_allclose(gradient, [[0.0, 1.0], [0.0, 1.0]], rtol=1e-12)


def test_a_mixture_of_two_by_elements_has_its_posteriors() -> None:
    out = T.log(w * T.exp(x) + (1 - w) * T.exp(y))
    f = kroton.function([x, y, w], [out, *T.grad(out.sum(), [x, y])])
    value, *gradients = f([-1000.0, 1000.0], [-1001.0, 999.0], [0.25, 0.25])
    log = np.log(0.25 + 0.75 * np.exp(-1.0))
    first = 0.25 / (0.25 + 0.75 * np.exp(-1.0))
    np.testing.assert_allclose(value, np.array([-1000, 1000]) + log, rtol=1e-15)
    np.testing.assert_allclose(gradients, [[first] * 2, [1 - first] * 2], rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_exponentials_with_a_matrix_is_shifted_by_rows(
    shift: float, transposed: bool
) -> None:
    rng = np.random.default_rng(3)
    scores, weights = rng.normal(size=(4, 3)), rng.uniform(0.1, 1, (3, 5))
    product = T.dot(u.T, T.exp(m).T).T if transposed else T.dot(T.exp(m), u)
    out = T.log(product)
    inputs = [m, u]
    f = kroton.function(inputs, [out, T.grad(out.sum(), m)])
    value, gradient = f(scores + shift, weights)
    plain = kroton.function(inputs, [out, T.grad(out.sum(), m)], mode=WRITTEN)
    expected, slope = plain(scores, weights)
    np.testing.assert_allclose(value, expected + shift, rtol=1e-12)
    np.testing.assert_allclose(gradient, slope, rtol=1e-9)


def test_a_sum_with_weights_over_nothing_is_minus_infinity() -> None:
    for out in (T.log((w * T.exp(m)).sum(axis=1)), T.log(T.dot(T.exp(m), w))):
        found = kroton.function([m, w], out, mode="FAST_RUN")(np.empty((2, 0)), np.empty(0))
        assert found.tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize("shapes", [((2, 3), (4,)), ((2, 3), (2,))])
def test_weights_of_another_length_are_an_error(shapes: Any) -> None:
    out = T.log((w * T.exp(m)).sum(axis=1))
    f = kroton.function([m, w], [out, T.grad(out.sum(), m)])
    with pytest.raises(ValueError):
        f(*(np.ones(shape) for shape in shapes))


def test_functions_with_a_constant_beside_other_terms_keep_what_is_small() -> None:
    small = np.array([1e-20, -3e-18])
    out = T.log(1 + x + T.expm1(y))
    np.testing.assert_allclose(kroton.function([x, y], out)(small, small), 2 * small, rtol=1e-15)
    out = T.log(1 + T.tanh(x) + y)
    np.testing.assert_allclose(kroton.function([x, y], out)(small, small), 2 * small, rtol=1e-15)
