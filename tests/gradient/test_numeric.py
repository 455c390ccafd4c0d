"""The verification of gradients finds what is wrong, and says where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import kroton.tensor as T
from kroton.gradient import GradientError, numeric_grad, verify_grad
from kroton.graph import Apply, Op


@dataclass(frozen=True)
class Wrong(Op):
    """x^2, whose gradient is wrong in one element."""

    position: int

    def make_node(self, *inputs):
        (x,) = (T.as_tensor_variable(x) for x in inputs)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] ** 2

    def grad(self, inputs, output_gradients):
        (x,), (g,) = inputs, output_gradients
        right = 2 * x * g
        return [T.inc_subtensor(right[0, self.position], 0.5)]


def test_a_wrong_element_is_found_with_all_figures():
    with pytest.raises(GradientError, match=r"argument 1 .*worst at index \(0, 2\)") as caught:
        verify_grad(lambda x, y: x * Wrong(2)(y), [np.ones((2, 3)), np.ones((2, 3))])
    error = caught.value
    assert (error.arg, error.err_pos, error.shape) == (1, (0, 2), (2, 3))
    assert error.abs_err == pytest.approx(0.5, abs=1e-6)
    assert error.val2 - error.val1 == pytest.approx(0.5, abs=1e-6)
    assert error.abs_tol == error.rel_tol == 1e-4


@pytest.mark.usefixtures("nan_is_meant")
def test_a_gradient_that_is_not_finite_is_found():
    with pytest.raises(GradientError, match="by the symbolic gradient nan"):
        verify_grad(lambda x: T.sqrt(abs(x - 1)), [np.ones(2)])


def test_right_gradients_pass_in_both_precisions():
    for dtype in ("float32", "float64"):
        verify_grad(lambda x: T.exp(x) * x, [np.array([0.5, -0.3], dtype)], n_tests=3)


def test_an_argument_without_elements_passes():
    verify_grad(lambda x: T.exp(x), [np.ones((0, 2))])


def test_extents_of_one_broadcast():
    verify_grad(lambda x, y: x * y, [np.ones((1, 3)), np.ones((2, 1))])


@pytest.mark.parametrize("rng", [np.random.RandomState(0), np.random.default_rng(0), None])
def test_any_generator_of_numpy_will_do(rng):
    verify_grad(lambda x: x**2, [np.ones(2)], rng=rng)


def test_a_less_precise_output_is_allowed_for():
    verify_grad(
        lambda x: T.cast(x, "float32") ** 2,
        [np.array([0.5, 1.5])],
        out_type="float32",
        cast_to_output_type=True,
    )


def test_points_of_other_dtypes_are_refused():
    with pytest.raises(TypeError, match="argument 0 is int64"):
        verify_grad(lambda x: x, [np.array([1, 2])])
    with pytest.raises(TypeError, match="argument 0 is complex128"):
        numeric_grad(abs, np.array(1j))


def test_a_function_with_two_outputs_is_refused():
    with pytest.raises(TypeError, match="one output"):
        verify_grad(lambda x: [x, x], [np.ones(2)])


def test_central_differences_are_exact_for_parabolas():
    given = numeric_grad(lambda x: (x**2).sum(), np.array([1.0, 2.0]), eps=0.5)
    np.testing.assert_allclose(given.gf, [2, 4], rtol=1e-14)
    packed = numeric_grad(lambda x, y: (x * y).sum(), [np.ones(2), np.full(2, 3.0)])
    np.testing.assert_allclose(packed.gf, [[3, 3], [1, 1]], rtol=1e-8)
    assert packed.max_err(packed.gf, 1, 1) == (0, 0, 0.0, 0.0)
    with pytest.raises(ValueError, match="1 gradients were given for 2"):
        packed.max_err(packed.gf[:1], 1, 1)
    with pytest.raises(ValueError, match=r"has shape \(3,\)"):
        packed.max_err([np.ones(3), np.ones(2)], 1, 1)
