"""Ops that change only the gradient."""

from __future__ import annotations

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import (
    DisconnectedInputError,
    NullTypeGradError,
    Rop,
    consider_constant,
    disconnected_grad,
    grad,
    grad_clip,
    grad_scale,
    undefined_grad,
    zero_grad,
)
from kroton.linking.kernels import select_kernel

MARKS = {
    "consider_constant": consider_constant,
    "zero_grad": zero_grad,
    "disconnected_grad": disconnected_grad,
    "undefined_grad": undefined_grad,
    "grad_clip": lambda x: grad_clip(x, -1, 1),
    "grad_scale": lambda x: grad_scale(x, 2),
}


@pytest.mark.parametrize("name", MARKS)
def test_the_value_is_the_input(name):
    x = T.dvector("x")
    y = MARKS[name](x)
    assert y.type == x.type
    assert select_kernel(y.owner) is not None
    for linker in ("py", "c"):
        f = kroton.function([x], y * 2, mode=kroton.Mode(linker=linker))
        np.testing.assert_array_equal(f([1.0, 2.0]), [2, 4])


@pytest.mark.parametrize("mark", [consider_constant, zero_grad, disconnected_grad])
def test_what_is_marked_counts_as_constant(mark):
    x = T.dvector("x")
    np.testing.assert_array_equal(grad((x * mark(x**2)).sum(), x).eval({x: [1.0, 2.0]}), [1, 4])


@pytest.mark.parametrize("mark", [consider_constant, zero_grad])
def test_a_zero_gradient_is_connected(mark):
    x, d = T.dvectors("x d")
    np.testing.assert_array_equal(grad(mark(x).sum(), x).eval({x: [1.0, 2.0]}), [0, 0])
    np.testing.assert_array_equal(Rop(mark(x), x, d).eval({x: [1.0, 2.0], d: [1.0, 1.0]}), [0, 0])


def test_a_disconnected_gradient_is_not():
    x = T.dvector("x")
    with pytest.raises(DisconnectedInputError):
        grad(disconnected_grad(x).sum(), x)


def test_an_undefined_gradient_is_an_error():
    x = T.dvector("x")
    with pytest.raises(NullTypeGradError, match="declared so by undefined_grad"):
        grad(undefined_grad(x).sum(), x)


def test_a_clipped_gradient_stays_in_its_interval():
    x = T.dvector("x")
    g = grad((grad_clip(x, -1, 0.5) ** 2).sum(), x)
    np.testing.assert_array_equal(g.eval({x: [-3.0, 0.1, 3.0]}), [-1, 0.2, 0.5])
    assert grad((grad_clip(T.fvector(), -1, 1)).sum(), x, disconnected_inputs="ignore") is not None


def test_bounds_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="lower_bound <= upper_bound, got 1 and -1"):
        grad_clip(T.dscalar(), 1, -1)


def test_a_scaled_gradient_is_multiplied():
    x = T.fvector("x")
    g = grad(grad_scale(x, -0.5).sum(), x)
    assert g.type.dtype == "float32"
    np.testing.assert_array_equal(g.eval({x: np.ones(2, "float32")}), [-0.5, -0.5])
