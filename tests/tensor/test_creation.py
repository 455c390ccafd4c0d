"""Tensors made of a shape and a value, of a range, or of a diagonal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Constant
from kroton.graph.evaluation import interpret

A = np.arange(12.0).reshape(3, 4)


def value(expression, *arguments):
    inputs, values = zip(*arguments) if arguments else ((), ())
    (result,) = interpret(inputs, [expression])(*values)
    expression.type.filter(result, strict=True)
    return result


# ---- alloc and its relatives


def test_alloc_broadcasts_the_value():
    row, n = T.drow(), T.lscalar()
    z = T.alloc(row, n, 4)
    assert z.type.shape == (None, 4)
    np.testing.assert_array_equal(
        value(z, (row, A[:1]), (n, np.array(2))), np.broadcast_to(A[:1], (2, 4))
    )
    assert T.alloc(T.tensor("int8", (1, 4)), n, n).type.shape == (None, 4)


def test_an_extent_of_the_value_stretches_only_if_it_is_statically_one():
    x = T.dmatrix()
    z = T.alloc(x, 3, 4)
    with pytest.raises(ValueError, match="only extents that are statically 1 stretch"):
        value(z, (x, A[:1]))
    with pytest.raises(ValueError, match=r"dimension 1 has 5 and 4 elements"):
        T.alloc(T.tensor("int8", (3, 5)), 3, 4)


def test_alloc_refuses_what_cannot_be():
    with pytest.raises(TypeError, match="more than the 1 of the result"):
        T.alloc(T.dmatrix(), 3)
    with pytest.raises(ValueError, match="negative"):
        T.alloc(0, -1)
    n = T.lscalar()
    with pytest.raises(ValueError, match=r"negative, got shape \(-2,\)"):
        value(T.alloc(0, n), (n, np.array(-2)))


def test_a_large_alloc_is_not_folded():
    small, large = T.zeros((2, 3)).owner, T.zeros((1000, 1000)).owner
    unknown = T.zeros(T.lscalar()).owner
    assert [n.op.do_constant_folding(n) for n in (small, large, unknown)] == [True, False, False]
    empty = T.empty((2, 2)).owner
    assert not empty.op.do_constant_folding(empty)


@pytest.mark.parametrize(
    "shape", [(2, 3), 4, (), [1, 0], np.array([2, 2]), (np.int8(3),), (2, T.constant(3))]
)
def test_zeros_and_ones_take_every_form_of_shape(shape):
    numbers = tuple(int(e.data) for e in T.as_extents(shape))
    np.testing.assert_array_equal(value(T.zeros(shape)), np.zeros(numbers))
    np.testing.assert_array_equal(value(T.ones(shape, "int8")), np.ones(numbers, "int8"))
    np.testing.assert_array_equal(value(T.full(shape, 7)), np.full(numbers, 7))
    assert T.zeros(shape).type.dtype == config.floatX
    assert value(T.empty(shape)).shape == numbers


def test_zeros_take_the_shape_of_a_variable():
    x = T.dmatrix()
    np.testing.assert_array_equal(value(T.zeros(x.shape), (x, A)), np.zeros((3, 4)))
    np.testing.assert_array_equal(value(T.zeros_like(x), (x, A)), np.zeros((3, 4)))
    np.testing.assert_array_equal(value(x.ones_like("int32"), (x, A)), np.ones((3, 4), "int32"))
    np.testing.assert_array_equal(value(T.full_like(x, 2), (x, A)), np.full((3, 4), 2.0))
    assert value(T.empty_like(x, "int8"), (x, A)).shape == (3, 4)


def test_zeros_like_keeps_what_is_static():
    x = T.tensor("float32", (1, None, 3))
    z = T.zeros_like(x)
    assert z.type == x.type
    assert isinstance(z.owner.inputs[1], Constant)
    assert type(z.owner.inputs[2].owner.op) is T.Shape_i
    assert isinstance(T.zeros_like(T.fscalar()), Constant)
    assert T.ones_like(T.iscalar(), "floatX").type.dtype == config.floatX


def test_fill_has_the_shape_of_the_model_and_the_dtype_of_the_value():
    x = T.imatrix()
    z = T.fill(x, np.float32(2.5))
    assert z.type.dtype == "float32"
    np.testing.assert_array_equal(value(z, (x, A.astype("int32"))), np.full((3, 4), 2.5, "float32"))


# ---- ranges


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-4, 4).filter(bool))
def test_arange_of_numbers_is_numpys(start, stop, step):
    expected = np.arange(start, stop, step)
    z = T.arange(start, stop, step)
    assert z.type == T.TensorType("int64", expected.shape)
    np.testing.assert_array_equal(value(z), expected)
    a, b, c = T.lscalars(3)
    arguments = [(v, np.array(n)) for v, n in ((a, start), (b, stop), (c, step))]
    np.testing.assert_array_equal(value(T.arange(a, b, c), *arguments), expected)
    (length,) = T.arange(a, b, c).owner.op.infer_shape(T.arange(a, b, c).owner, [(), (), ()])[0]
    assert value(length, *arguments) == len(expected)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 3), st.booleans())
def test_arange_of_floats_is_numpys(start, stop, step, down):
    step = -step if down else step
    expected = np.arange(start, stop, step)
    z = T.arange(start, stop, step)
    assert z.type == T.TensorType("float64", expected.shape)
    np.testing.assert_array_equal(value(z), expected)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int32", "uint32", "int64", "float32", "float64"]
)
def test_the_dtype_of_an_arange_is_numpys(dtype):
    n = T.tensor(dtype, ())
    assert T.arange(n).type.dtype == np.arange(np.zeros((), dtype)).dtype
    assert T.arange(n, dtype="int16").type.dtype == "int16"


def test_under_single_precision_only_a_double_makes_a_double_range(monkeypatch):
    monkeypatch.setattr(config, "floatX", "float32")
    assert T.arange(0.0, 1.0, 0.1).type.dtype == "float32"
    assert T.arange(T.fscalar()).type.dtype == "float32"
    assert T.arange(T.dscalar()).type.dtype == "float64"
    assert T.arange(3).type.dtype == "int64"


def test_arange_refuses_what_makes_no_range():
    with pytest.raises(ValueError, match="step must not be zero"):
        T.arange(0, 5, 0)
    with pytest.raises(ValueError, match="step must not be zero"):
        T.arange(T.lscalar(), 5, 0)
    step = T.lscalar()
    with pytest.raises(ValueError, match="step must not be zero"):
        value(T.arange(0, 5, step), (step, np.array(0)))
    with pytest.raises(ValueError, match="there is no vector from"):
        T.arange(0.0, float("nan"))
    with pytest.raises(TypeError, match="real scalar"):
        T.arange(T.dvector())
    with pytest.raises(TypeError, match="real scalar"):
        T.arange(1j)
    with pytest.raises(TypeError, match="booleans"):
        T.arange(3, dtype="bool")


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7])
def test_linspace_is_numpys(num, endpoint):
    np.testing.assert_array_equal(
        value(T.linspace(-1, 2.5, num, endpoint)), np.linspace(-1, 2.5, num, endpoint)
    )


# ---- diagonals and triangles


@given(st.integers(0, 4), st.integers(0, 4), st.integers(-5, 5))
def test_eye_and_the_triangles_are_numpys(n, m, k):
    np.testing.assert_array_equal(value(T.eye(n, m, k)), np.eye(n, m, k))
    np.testing.assert_array_equal(value(T.tri(n, m, k, "int8")), np.tri(n, m, k, "int8"))
    x, x_value = T.dmatrix(), np.arange(1.0, n * m + 1).reshape(n, m)
    np.testing.assert_array_equal(value(T.tril(x, k), (x, x_value)), np.tril(x_value, k))
    np.testing.assert_array_equal(value(T.triu(x, k), (x, x_value)), np.triu(x_value, k))
    np.testing.assert_array_equal(value(T.identity_like(x), (x, x_value)), np.eye(n, m))


def test_a_triangle_hides_what_is_not_a_number():
    x = T.dmatrix()
    nan = np.array([[1.0, np.nan], [np.inf, 2.0]])
    np.testing.assert_array_equal(value(T.tril(x), (x, nan)), [[1, 0], [np.inf, 2]])


def test_triangles_serve_stacks_of_matrices():
    x, stack = T.dtensor3(), np.arange(18.0).reshape(2, 3, 3)
    np.testing.assert_array_equal(value(T.tril(x), (x, stack)), np.tril(stack))
    with pytest.raises(TypeError, match="at least 2 dimensions"):
        T.triu(T.dvector())
    with pytest.raises(TypeError, match="takes a matrix"):
        T.identity_like(T.dvector())


def test_extents_of_an_eye_may_be_symbolic():
    n, k = T.iscalar(), T.lscalar()
    z = T.eye(n, 4, k)
    assert z.type.shape == (None, 4)
    np.testing.assert_array_equal(value(z, (n, np.int32(3)), (k, np.array(-1))), np.eye(3, 4, -1))
    with pytest.raises(ValueError, match="negative"):
        T.eye(-1)
    with pytest.raises(ValueError, match="negative"):
        value(z, (n, np.int32(-3)), (k, np.array(-1)))


@given(st.permutations(range(3)), st.integers(-5, 5))
def test_diagonal_is_numpys(axes, offset):
    x, stack = T.dtensor3(), np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        value(T.diagonal(x, offset, axes[0], axes[1]), (x, stack)),
        stack.diagonal(offset, axes[0], axes[1]),
    )
    static = T.diagonal(T.tensor("int8", (2, 3, 4)), offset, axes[0], axes[1])
    assert static.type.shape == stack.diagonal(offset, axes[0], axes[1]).shape


@pytest.mark.parametrize("k", [-2, 0, 1, 7])
def test_diag_goes_both_ways(k):
    v, x = T.dvector(), T.dmatrix()
    np.testing.assert_array_equal(value(T.diag(v, k), (v, A[0])), np.diag(A[0], k))
    np.testing.assert_array_equal(value(T.diag(x, k), (x, A)), np.diag(A, k))
    assert T.diag(T.tensor("int8", (3,)), k).type.shape == (3 + abs(k), 3 + abs(k))


def test_diagonals_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="vector or a matrix"):
        T.diag(T.dtensor3())
    with pytest.raises(ValueError, match="two different dimensions"):
        T.diagonal(T.dmatrix(), 0, 1, 1)
    with pytest.raises(ValueError, match="out of bounds"):
        T.diagonal(T.dmatrix(), 0, 0, 2)
    with pytest.raises(ValueError, match="has 2 elements, got 3"):
        T.AllocDiag(1)(T.tensor("int8", (3,)), 3, 3)
