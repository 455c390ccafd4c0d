"""What every Op about shapes owes: its shape inferred, its gradient, and its forward mode."""

import pickle

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import Rop, grad, verify_grad
from kroton.graph.basic import Variable
from kroton.graph.evaluation import interpret
from kroton.linking.kernels import select_kernel

M = np.random.default_rng(1).standard_normal((2, 3))
R = M[:1]
V = M[0]
S = np.array(0.5)


def _row(x):
    return T.addbroadcast(x, 0)


CASES = {
    "transpose": (lambda x: x.dimshuffle(1, "x", 0), M),
    "drop": (lambda x: _row(x).dimshuffle(1), R),
    "reshape": (lambda x: x.reshape((3, -1)), M),
    "reshape by scalars": (lambda x: x.reshape((x.shape[1], x.shape[0])), M),
    "reshape of a view": (lambda x: x.T.reshape((6,)), M),
    "flatten": (lambda x: x.flatten(), M),
    "make_vector": (lambda x: T.make_vector(x, 2 * x, x), S),
    "specify_shape": (lambda x: T.specify_shape(x, (2, None)), M),
    "assert_shape": (lambda x: T.AssertShape((1,))(x, x.shape[1]), M),
    "unbroadcast": (lambda x: T.unbroadcast(_row(x), 0), R),
    "alloc of a scalar": (lambda x: T.alloc(x, 2, 3), S),
    "alloc of a vector": (lambda x: T.alloc(x, 2, 3), V),
    "alloc of a row": (lambda x: T.alloc(_row(x), 2, 4, 3), R),
    "fill": (lambda x: T.fill(T.ones((2, 3)), x[0]), V),
    "arange": (lambda x: T.arange(x, 4 * x + 1.2, x / 2), S),
    "linspace": (lambda x: T.linspace(x, 2 * x, 4), S),
    "tril": (lambda x: T.tril(x), M),
    "triu": (lambda x: T.triu(x, 1), M),
    "diagonal": (lambda x: T.diagonal(x, 1), M),
    "diag": (lambda x: T.diag(x, -1), V),
    "join": (lambda x: T.join(1, x, 2 * x, x[:, :1]), M),
    "split": (lambda x: T.split(x, [2, 1], 2, axis=1)[0], M),
    "split, both": (lambda x: T.mul(*T.split(x, [1, 1], 2)), M),
    "stack": (lambda x: T.stack([x, x * x], axis=1), M),
    "repeat": (lambda x: T.repeat(x, 2, axis=0), M),
    "repeat flat": (lambda x: T.repeat(x, 3), M),
    "repeat by a vector": (lambda x: T.repeat(x, np.array([2, 0, 1]), axis=1), M),
    "tile": (lambda x: T.tile(x, (2, 1, 2)), M),
    "roll": (lambda x: T.roll(x, 1, axis=1), M),
    "flip": (lambda x: T.flip(x, 0), M),
}


def variable(point):
    return T.tensor("float64", (None,) * point.ndim, "x")


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_agrees_with_finite_differences(name):
    fun, point = CASES[name]
    verify_grad(fun, [point], rng=np.random.default_rng(2))


@pytest.mark.parametrize("name", CASES)
def test_the_inferred_shape_is_the_actual_one(name):
    fun, point = CASES[name]
    x = variable(point)
    out = fun(x)

    def shape_of(var):
        """The shape of `var` by the infer_shape of each Op on the way."""
        if var.owner is None:
            return tuple(T.shape_tuple(var))
        shapes = [shape_of(v) for v in var.owner.inputs]
        return tuple(var.owner.op.infer_shape(var.owner, shapes)[var.index])

    inferred = shape_of(out)
    (actual,) = interpret([x], [out])(point)
    symbolic = [e if isinstance(e, Variable) else T.constant(e) for e in inferred]
    assert all(e.type.dtype == "int64" and e.type.ndim == 0 for e in symbolic)
    values = interpret([x], symbolic)(point)
    assert tuple(int(v) for v in values) == actual.shape


@pytest.mark.parametrize("name", CASES)
def test_the_compiled_function_agrees_with_perform(name):
    fun, point = CASES[name]
    x = variable(point)
    out = fun(x)
    (expected,) = interpret([x], [out])(point)
    result = kroton.function([x], out)(point)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_is_the_transpose_of_reverse_mode(name):
    fun, point = CASES[name]
    x = variable(point)
    out = fun(x)
    direction = np.random.default_rng(3).standard_normal(point.shape)
    (value,) = interpret([x], [out])(point)
    weights = np.random.default_rng(4).standard_normal(value.shape)
    w, d = T.tensor("float64", (None,) * out.type.ndim), variable(point)
    backward = grad(T.sum(out * T.specify_shape(w, out.type.shape)), x)
    forward = Rop(out, x, d)
    (vjp,) = interpret([x, w], [backward])(point, weights)
    (jvp,) = interpret([x, d], [forward])(point, direction)
    assert jvp.shape == value.shape
    np.testing.assert_allclose((vjp * direction).sum(), (jvp * weights).sum(), rtol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_every_op_has_a_kernel_equality_hash_repr_and_pickle(name):
    fun, point = CASES[name]
    x = variable(point)
    seen, pending = set(), [fun(x)]
    while pending:
        node = pending.pop().owner
        if node is None or node in seen:
            continue
        seen.add(node)
        pending.extend(node.inputs)
        assert select_kernel(node) is not None
        twin = pickle.loads(pickle.dumps(node.op))
        assert twin == node.op
        assert hash(twin) == hash(node.op)
        assert repr(twin) == repr(node.op)
        assert "\n" not in repr(node.op)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: x.T,
        lambda x: x.reshape((-1,)),
        lambda x: T.join(0, x, x),
        lambda x: T.split(x, [1, 1], 2)[0],
        lambda x: T.repeat(x, 2),
        lambda x: T.diagonal(x),
        lambda x: T.specify_shape(x, (2, 3)),
        lambda x: T.alloc(x, 4, 2, 3),
    ],
)
def test_no_gradient_goes_through_integers(fun):
    x = T.dmatrix()
    gradient = grad(T.sum(T.cast(fun(T.cast(x, "int64")), "float64")), x)
    (value,) = interpret([x], [gradient])(M)
    np.testing.assert_array_equal(value, np.zeros((2, 3)))


def test_extents_carry_no_gradient():
    x = T.dmatrix()
    for out in (x.shape[0], T.zeros_like(x), T.eye(x.shape[0]), T.empty_like(x)):
        with pytest.raises(kroton.gradient.DisconnectedInputError):
            grad(T.sum(T.cast(out, "float64")), x)


def test_a_diagonal_may_be_written_over_where_its_matrix_may() -> None:
    x = T.dmatrix("x")
    f = kroton.function([x], T.diagonal(x * 2.0) + 1.0, mode=kroton.Mode("py", "fast_run"))
    assert f(np.eye(3)).tolist() == [3.0, 3.0, 3.0]
    frozen = np.eye(2)
    frozen.flags.writeable = False
    kept = kroton.function([x], T.diagonal(x), mode=kroton.Mode("py", None))
    assert kept(frozen).tolist() == [1.0, 1.0]
