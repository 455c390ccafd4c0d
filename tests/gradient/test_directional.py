"""Forward mode, Jacobians and Hessians."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import (
    DisconnectedInputError,
    DisconnectedType,
    NullTypeGradError,
    Rop,
    grad,
    hessian,
    hessian_vector_product,
    jacobian,
    undefined_grad,
    verify_grad,
)
from kroton.graph import Apply, Op

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4))


def expressions():
    """Functions of a vector of four elements, each through other kinds of Ops."""
    return {
        "dot": lambda x: T.dot(A, x),
        "elementwise": lambda x: T.sin(x) * T.exp(x[::-1]),
        "broadcast": lambda x: (x.dimshuffle(0, "x") * A.T).sum(axis=0) / x.sum(),
        "reduction": lambda x: T.stack([x.sum(), x.prod(), x.max(), (x**2).mean()]),
        "reshape": lambda x: T.tanh(x.reshape((2, 2))).T.flatten(),
        "indexing": lambda x: T.set_subtensor(x[1:3], x[:2] ** 2)[[0, 2, 2, 1, 3]],
        "join": lambda x: T.concatenate([x**2, T.sin(x[:1]), x]),
        "matrix": lambda x: T.dot(T.outer(x, x), x),
        "mixed dtypes": lambda x: T.cast(T.cast(x, "float32") ** 2, "float64"),
        "softmax": lambda x: T.nnet.softmax(x.dimshuffle("x", 0)).flatten(),
    }


def differences(f, x, at, eps=1e-6):
    function = kroton.function([x], f)
    columns = []
    for k in range(len(at)):
        step = np.zeros_like(at)
        step[k] = eps
        columns.append((function(at + step) - function(at - step)) / (2 * eps))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", expressions())
def test_forward_reverse_and_finite_differences_give_one_jacobian(name):
    if name == "mixed dtypes":
        eps, tolerance = 1e-2, 1e-2
    else:
        eps, tolerance = 1e-6, 1e-6
    x, d = T.dvectors("x d")
    f = expressions()[name](x)
    at, direction = np.array([0.3, -0.8, 1.1, 0.4]), np.array([1.0, -2.0, 0.5, 3.0])
    expected = differences(f, x, at, eps)
    np.testing.assert_allclose(
        jacobian(f, x).eval({x: at}), expected, rtol=tolerance, atol=tolerance
    )
    forward = kroton.function([x, d], Rop(f, x, d), on_unused_input="ignore")
    np.testing.assert_allclose(
        forward(at, direction), expected @ direction, rtol=tolerance, atol=10 * tolerance
    )


@dataclass(frozen=True)
class Cube(Op):
    """x^3, with or without an R_op; its gradient asks for the shape of the cotangent."""

    forward: bool

    def make_node(self, *inputs):
        (x,) = (T.as_tensor_variable(x) for x in inputs)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] ** 3

    def grad(self, inputs, output_gradients):
        (x,), (g,) = inputs, output_gradients
        return [3 * T.reshape(g, g.shape, ndim=1) * x**2]

    def R_op(self, inputs, eval_points):
        if not self.forward:
            return NotImplemented
        return [3 * inputs[0] ** 2 * eval_points[0]]


@pytest.mark.parametrize("forward", [True, False])
def test_an_op_without_r_op_is_differentiated_by_its_gradient(forward):
    x, d = T.dvectors("x d")
    g = Rop(T.sin(Cube(forward)(x)), x, d)
    at, direction = np.array([0.3, 0.9]), np.array([2.0, -1.0])
    np.testing.assert_allclose(g.eval({x: at, d: direction}), np.cos(at**3) * 3 * at**2 * direction)


class TestRop:
    def test_directions_of_several_variables_add_up(self):
        x, y, u, v = T.dscalars("x y u v")
        r = Rop([x * y, x + y], [x, y], [u, v])
        f = kroton.function([x, y, u, v], r)
        assert [float(a) for a in f(2, 3, 5, 7)] == [5 * 3 + 2 * 7, 12]

    def test_none_stands_for_the_direction_zero(self):
        x, y, u = T.dscalars("x y u")
        assert Rop(x * y, [x, y], [u, None]).eval({y: 3.0, u: 2.0}) == 6

    def test_an_output_is_an_intermediate_variable_of_wrt_itself(self):
        x, u = T.dscalars("x u")
        y = x**2
        assert Rop([y, y * y], [y], [u])[1].eval({x: 2.0, u: 1.0}) == 8

    def test_an_output_without_dependence_is_an_error_zero_none_or_disconnected(self):
        x, y, u = T.dscalars("x y u")
        with pytest.raises(DisconnectedInputError, match="output y"):
            Rop(y, x, u)
        with pytest.warns(UserWarning, match="output y"):
            Rop(y, x, u, disconnected_outputs="warn")
        assert Rop(y, x, u, "ignore").eval({y: 1.0}) == 0
        assert Rop(y, x, u, "ignore", "None") is None
        assert isinstance(Rop(y, x, u, "ignore", "disconnected").type, DisconnectedType)

    def test_points_that_do_not_fit_are_refused(self):
        x, u = T.dvector("x"), T.dscalar("u")
        with pytest.raises(ValueError, match="Rop: the gradient given for x has 0 dimensions"):
            Rop(x**2, x, u)
        with pytest.raises(ValueError, match="1 variables in wrt but 2"):
            Rop(x**2, x, [x, x])

    def test_an_undefined_derivative_is_an_error(self):
        x, u = T.dvectors("x u")
        with pytest.raises(NullTypeGradError, match="undefined_grad"):
            Rop(undefined_grad(x) * 2, x, u)

    def test_a_long_chain_needs_no_recursion(self):
        x, u = T.dscalars("x u")
        y = x
        for _ in range(3000):
            y = -y
        assert Rop(y, x, u).eval({u: 2.0}) == 2


class TestJacobian:
    def test_the_number_of_rows_may_be_known_at_the_call_only(self):
        x = T.dvector("x")
        j = kroton.function([x], jacobian(x**2, x))
        for n in (0, 1, 5):
            at = np.arange(n) + 1.0
            np.testing.assert_array_equal(j(at), np.diag(2 * at))

    def test_it_has_the_dimensions_of_wrt_behind_the_rows(self):
        w, x = T.dmatrix("w"), T.dvector("x")
        y = T.dot(x, w)
        jw, jx = jacobian(y, [w, x])
        assert (jw.type.ndim, jx.type.ndim) == (3, 2)
        wv, xv = rng.normal(size=(2, 3)), rng.normal(size=2)
        f = kroton.function([w, x], [jw, jx])
        given_w, given_x = f(wv, xv)
        np.testing.assert_allclose(given_x, wv.T)
        np.testing.assert_allclose(given_w, np.einsum("jk,i->kij", np.eye(3), xv))

    def test_of_a_scalar_it_is_the_gradient(self):
        x = T.dvector("x")
        np.testing.assert_array_equal(jacobian((x**2).sum(), x).eval({x: [1.0, 2.0]}), [2, 4])

    def test_of_a_matrix_it_is_refused_with_a_way_out(self):
        x = T.dmatrix("x")
        with pytest.raises(ValueError, match=r"2 dimensions; flatten it"):
            jacobian(x**2, x)

    def test_of_integers_it_is_refused(self):
        x = T.dvector("x")
        with pytest.raises(TypeError, match="float dtype"):
            jacobian(T.cast(x, "int64"), x)

    def test_of_something_disconnected_it_is_an_error_or_zero(self):
        x, y = T.dvectors("x y")
        with pytest.raises(DisconnectedInputError):
            jacobian(x**2, y)
        j = jacobian(x**2, y, disconnected_inputs="ignore")
        np.testing.assert_array_equal(j.eval({x: [1.0, 2.0], y: [1.0] * 3}), np.zeros((2, 3)))

    def test_it_is_differentiable(self):
        verify_grad(lambda x: jacobian(T.sin(x) * x.sum(), x), [np.array([0.2, -0.4, 0.9])])

    def test_it_is_differentiable_forwards(self):
        x, d = T.dvectors("x d")
        r = Rop(jacobian(T.sin(x), x), x, d)
        at = np.array([0.2, 0.5])
        np.testing.assert_allclose(
            r.eval({x: at, d: [1.0, 2.0]}), np.diag(-np.sin(at) * [1.0, 2.0]), atol=1e-15
        )

    def test_shared_variables_may_take_part(self):
        w = kroton.shared(A, name="w")
        x = T.dvector("x")
        f = kroton.function([x], jacobian(T.dot(w, x), x))
        np.testing.assert_allclose(f(np.ones(4)), A)
        w.set_value(2 * A)
        np.testing.assert_allclose(f(np.ones(4)), 2 * A)

    def test_its_graph_pickles(self):
        x = T.dvector("x")
        j = jacobian(x**2, x)
        x2, j2 = pickle.loads(pickle.dumps((x, j)))
        np.testing.assert_array_equal(j2.eval({x2: [1.0, 2.0]}), np.diag([2.0, 4.0]))


class TestHessian:
    def test_it_holds_the_second_derivatives(self):
        x = T.dvector("x")
        cost = (T.dot(A, x) ** 3).sum()
        at = np.array([0.1, 0.2, -0.3, 0.4])
        expected = 6 * np.einsum("ki,k,kj->ij", A, A @ at, A)
        np.testing.assert_allclose(hessian(cost, x).eval({x: at}), expected)

    def test_of_a_linear_cost_it_is_zero(self):
        x = T.dvector("x")
        np.testing.assert_array_equal(hessian(x.sum(), x).eval({x: [1.0, 2.0]}), np.zeros((2, 2)))

    def test_it_takes_vectors_only(self):
        x = T.dmatrix("x")
        with pytest.raises(ValueError, match="hessian expects vectors"):
            hessian((x**2).sum(), x)

    def test_its_product_with_a_vector_needs_no_matrix(self):
        x, y = T.dvector("x"), T.dmatrix("y")
        p, q = T.dvector("p"), T.dmatrix("q")
        cost = (x**3).sum() * (y**2).sum()
        hp, hq = hessian_vector_product(cost, [x, y], [p, q])
        f = kroton.function([x, y, p, q], [hp, hq])
        xv, yv = rng.normal(size=2), rng.normal(size=(2, 2))
        pv, qv = rng.normal(size=2), rng.normal(size=(2, 2))
        first, second = f(xv, yv, pv, qv)
        yq = 2 * (yv * qv).sum()
        np.testing.assert_allclose(first, 6 * xv * pv * (yv**2).sum() + 3 * xv**2 * yq)
        np.testing.assert_allclose(second, 2 * qv * (xv**3).sum() + 2 * yv * (3 * xv**2 * pv).sum())
        with pytest.raises(ValueError, match="2 variables in wrt but 1 in p"):
            hessian_vector_product(cost, [x, y], [p])


def test_the_gradient_of_a_softmax_loss_is_forward_differentiable():
    x = T.dvector("x")
    cost = -T.log(T.nnet.softmax(x.dimshuffle("x", 0))[0, 1])
    at, direction = np.array([0.3, -0.2, 0.9]), np.array([1.0, 2.0, -1.0])
    p = np.exp(at) / np.exp(at).sum()
    expected = (np.diag(p) - np.outer(p, p)) @ direction
    np.testing.assert_allclose(
        Rop(grad(cost, x), x, T.constant(direction)).eval({x: at}), expected, atol=1e-12
    )


@pytest.mark.parametrize("marked", [kroton.zero_grad, kroton.consider_constant])
def test_what_has_a_zero_gradient_has_a_zero_directional_derivative(marked):
    x, t = T.dvectors("x t")
    args = {x: [2.0, 3.0], t: [1.0, 1.0]}
    np.testing.assert_array_equal(Rop(marked(x), x, t).eval(args), [0, 0])
    np.testing.assert_array_equal(Rop(marked(x) * x, x, t).eval(args), [2, 3])
