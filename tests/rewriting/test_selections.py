"""Likelihoods by one-hot rows, and probabilities among selected ones, do not underflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)
FAR = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 3.0]])
NEAR = np.random.default_rng(0).standard_normal((2, 3))


def naive(x: Any) -> Any:
    return T.exp(x) / T.exp(x).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("softmax", [T.nnet.softmax, naive])
@pytest.mark.parametrize("kept", [True, False])
def test_a_likelihood_by_one_hot_rows_is_stable(softmax: Any, kept: bool) -> None:
    x, y = T.dmatrix("x"), T.lvector("y")
    hot = T.eq(y[:, None], T.arange(x.shape[1]))
    cost = -T.log((softmax(x) * hot).sum(axis=1, keepdims=kept)).mean()
    f = kroton.function([x, y], [cost, T.grad(cost, x)])
    value, gradient = f(FAR, [1, 0])
    assert value == 2000.0
    np.testing.assert_allclose(gradient, [[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0]], atol=1e-15)
    plain = kroton.function([x, y], [cost, T.grad(cost, x)], mode=PLAIN)
    for a, b in zip(f(NEAR, [2, 0]), plain(NEAR, [2, 0])):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_weighted_probabilities_and_their_gradients_agree_with_what_is_written() -> None:
    x, w, g = T.dmatrix("x"), T.dmatrix("w"), T.dvector("g")
    p = T.nnet.softmax(x)
    cost = (g * T.log((p * w).sum(axis=1))).sum()
    outputs = [cost, T.grad(cost, x), p * w / (p * w).sum(axis=1, keepdims=True)]
    f = kroton.function([x, w, g], outputs)
    plain = kroton.function([x, w, g], outputs, mode=PLAIN)
    weights = np.array([[0.5, 0.0, 2.0], [1.0, 1e-3, 3.0]])
    for a, b in zip(f(NEAR, weights, [1.0, -2.0]), plain(NEAR, weights, [1.0, -2.0])):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("nan_is_meant")
def test_where_nothing_is_selected_the_logarithm_is_minus_infinity() -> None:
    x, w = T.dmatrix("x"), T.dmatrix("w")
    f = kroton.function([x, w], T.log((T.nnet.softmax(x) * w).sum(axis=1)))
    np.testing.assert_array_equal(f(NEAR, np.zeros((2, 3))), -np.inf)
    assert np.isnan(f(NEAR, np.full((2, 3), -1.0))).all()


def test_probabilities_among_selected_ones_do_not_underflow() -> None:
    x = T.dmatrix("x")
    p = T.nnet.softmax(x)
    mask = np.array([1.0, 0.0, 1.0])
    f = kroton.function([x], p * mask / (p * mask).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        f([[-900.0, 1000.0, -900.0], [0.0, 0.0, 0.0]]), [[0.5, 0.0, 0.5]] * 2, rtol=1e-14
    )
