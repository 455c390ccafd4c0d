"""Activations: values and gradients."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import verify_grad
from kroton.graph.evaluation import interpret

X = np.array([-800.0, -3.0, -0.5, 0.0, 0.25, 2.0, 800.0])
EXPECTED = {
    "sigmoid": (T.nnet.sigmoid, [0, 1 / (1 + np.exp(3)), 1 / (1 + np.exp(0.5)), 0.5,
                                 1 / (1 + np.exp(-0.25)), 1 / (1 + np.exp(-2)), 1]),
    "softplus": (T.nnet.softplus, np.logaddexp(0, X)),
    "tanh": (T.nnet.tanh, np.tanh(X)),
    "softsign": (T.nnet.softsign, X / (1 + abs(X))),
    "hard_sigmoid": (T.nnet.hard_sigmoid, np.clip(0.2 * X + 0.5, 0, 1)),
    "relu": (T.nnet.relu, np.maximum(X, 0)),
    "leaky relu": (lambda x: T.nnet.relu(x, 0.1), np.where(X > 0, X, 0.1 * X)),
    "elu": (T.nnet.elu, np.where(X > 0, X, np.expm1(np.minimum(X, 0)))),
    "elu of another scale": (
        lambda x: T.nnet.elu(x, 2.0),
        np.where(X > 0, X, 2 * np.expm1(np.minimum(X, 0))),
    ),
    "selu": (
        T.nnet.selu,
        1.0507009873554805
        * np.where(X > 0, X, 1.6732632423543772 * np.expm1(np.minimum(X, 0))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_values_and_gradients_are_right_and_finite(name):
    function, expected = EXPECTED[name]
    x = T.dvector()
    out = function(x)
    g = kroton.grad(out.sum(), x)
    value, gradient = interpret([x], [out, g])(X)
    np.testing.assert_allclose(value, expected, atol=1e-300)
    assert np.all(np.isfinite(gradient))
    smooth = X[[1, 2, 4, 5]]
    verify_grad(function, [smooth], rng=np.random.default_rng(0))


@pytest.mark.parametrize("name", EXPECTED)
def test_float32_stays_float32(name):
    function, expected = EXPECTED[name]
    x = T.fvector()
    out = function(x)
    assert out.dtype == "float32"
    np.testing.assert_allclose(kroton.function([x], out)(X.astype("f4")), expected, rtol=2e-6)


def test_the_slope_of_relu_may_be_learned():
    x, alpha = T.dvector("x"), T.dscalar("alpha")
    out = T.nnet.relu(x, alpha)
    (g,) = interpret([x, alpha], [kroton.grad(out.sum(), alpha)])(X, np.array(0.1))
    np.testing.assert_allclose(g, X[X < 0].sum())
