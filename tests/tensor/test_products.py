"""Products of tensors agree with NumPy, in value, shape, gradient and kernel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.gradient import verify_grad
from kroton.graph.evaluation import interpret
from kroton.linking.kernels import select_kernel
from kroton.tensor.products import BatchedDot, Dot

DTYPES = ["bool", "int8", "uint16", "int64", "float32", "float64", "complex64", "complex128"]


def draw(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    x = rng.standard_normal(shape)
    if dtype.kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x, dtype)


def variable(value, static=None):
    return T.tensor(value.dtype.name, (None,) * value.ndim if static is None else static)


def evaluated(function, *values):
    inputs = [variable(v) for v in values]
    out = function(*inputs)
    (result,) = interpret(inputs, [out])(*values)
    assert result.dtype == out.type.dtype
    assert result.ndim == out.type.ndim
    return result


@pytest.mark.parametrize("b_dtype", DTYPES)
@pytest.mark.parametrize("a_dtype", DTYPES)
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4))])
def test_dot_has_numpys_value_and_dtype(shapes, a_dtype, b_dtype):
    a, b = draw(shapes[0], a_dtype), draw(shapes[1], b_dtype, 1)
    expected = np.dot(a, b)
    actual = evaluated(T.dot, a, b)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "shapes",
    [((), (2, 3)), ((2, 3), ()), ((2, 3, 4), (4,)), ((2, 3, 4), (5, 4, 2)), ((4,), (2, 4, 3))],
)
def test_dot_of_other_dimensions_is_numpys(shapes):
    a, b = (draw(s, seed=k) for k, s in enumerate(shapes))
    np.testing.assert_allclose(evaluated(T.dot, a, b), np.dot(a, b))


@pytest.mark.parametrize(
    "shapes",
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((2, 3), (5, 3, 4)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((6, 5, 2, 3), (5, 3, 4)),
    ],
)
def test_matmul_is_numpys(shapes):
    a, b = (draw(s, seed=k) for k, s in enumerate(shapes))
    np.testing.assert_allclose(evaluated(lambda x, y: x @ y, a, b), np.matmul(a, b))


def test_matmul_stretches_extents_that_are_statically_one():
    a, b = draw((1, 6, 2, 3)), draw((5, 1, 3, 4))
    x, y = variable(a, (1, None, None, None)), variable(b, (None, 1, None, None))
    out = x @ y
    np.testing.assert_allclose(interpret([x, y], [out])(a, b)[0], a @ b)
    gx, gy = kroton.grad(out.sum(), [x, y])
    assert gx.type.shape == x.type.shape
    assert gy.type.shape == y.type.shape


@pytest.mark.parametrize(
    ("name", "subscripts", "shapes"),
    [
        ("vecdot", "...i,...i->...", ((3,), (3,))),
        ("vecdot", "...i,...i->...", ((5, 3), (3,))),
        ("vecdot", "...i,...i->...", ((2, 5, 3), (5, 3))),
        ("matvec", "...ij,...j->...i", ((2, 3), (3,))),
        ("matvec", "...ij,...j->...i", ((5, 2, 3), (3,))),
        ("matvec", "...ij,...j->...i", ((2, 3), (5, 3))),
        ("vecmat", "...i,...ij->...j", ((3,), (3, 4))),
        ("vecmat", "...i,...ij->...j", ((5, 3), (3, 4))),
        ("vecmat", "...i,...ij->...j", ((3,), (5, 3, 4))),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "float64", "complex128"])
def test_products_of_the_last_dimensions_are_numpys(name, subscripts, shapes, dtype):
    a, b = (draw(s, dtype, seed=k) for k, s in enumerate(shapes))
    left = a if name == "matvec" else np.conj(a)
    found = evaluated(getattr(T, name), a, b)
    np.testing.assert_allclose(found, np.einsum(subscripts, left, b), atol=1e-14)
    assert found.dtype == a.dtype
    if dtype == "float64":
        verify_grad(getattr(T, name), [a, b])


def test_products_of_the_last_dimensions_refuse_what_has_none():
    with pytest.raises(ValueError, match="matvec takes matrices in the last two dimensions"):
        T.matvec(T.dvector("v"), T.dvector("w"))
    with pytest.raises(ValueError, match="vecdot takes vectors in the last dimension"):
        T.vecdot(T.dscalar("s"), T.dvector("v"))


def test_matmul_refuses_scalars():
    with pytest.raises(ValueError, match="no scalars"):
        T.matmul(T.dscalar(), T.dmatrix())


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((2, 3, 4), (3, 4, 5)), 2),
        (((2, 3), (4, 5)), 0),
        (((2, 3, 4), (4, 3, 5)), [[1, 2], [1, 0]]),
        (((2, 3, 4), (5, 2)), [[0], [1]]),
        (((2, 3), (2, 3)), [[0, 1], [0, 1]]),
        (((2, 3, 4), (3,)), [[-2], [0]]),
        (((3, 2), (3, 4)), [[0], [0]]),
        (((3, 2), (4, 2)), (1, 1)),
        (((2, 0, 4), (0, 4, 5)), 2),
    ],
)
def test_tensordot_is_numpys(shapes, axes):
    a, b = (draw(s, seed=k) for k, s in enumerate(shapes))
    actual = evaluated(lambda x, y: T.tensordot(x, y, axes), a, b)
    np.testing.assert_allclose(actual, np.tensordot(a, b, axes))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (3, "between 0 and 2"),
        ([[0, 1], [0]], "2 axes of the first operand"),
        ([[0, 0], [0, 1]], "repeat"),
        ([[2], [0]], "out of range for the first"),
        ("ab", "out of range|not supported|two lists|'a'"),
    ],
)
def test_tensordot_refuses_axes_that_make_no_sense(axes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        T.tensordot(T.dmatrix(), T.dmatrix(), axes)


def test_outer_inner_and_vdot_are_numpys():
    a, b = draw((3,), "complex128"), draw((4,), "complex128", 1)
    np.testing.assert_allclose(evaluated(T.outer, a, b), np.outer(a, b))
    np.testing.assert_allclose(evaluated(T.vdot, a, a * 2), np.vdot(a, a * 2))
    m, n = draw((2, 3)), draw((4, 3), seed=1)
    np.testing.assert_allclose(evaluated(T.inner, m, n), np.inner(m, n))
    np.testing.assert_allclose(evaluated(T.outer, m, n), np.outer(m, n))


@pytest.mark.parametrize(
    ("shapes", "subscripts"),
    [
        (((5, 2, 3), (5, 3, 4)), "bij,bjk->bik"),
        (((5, 3), (5, 3, 4)), "bj,bjk->bk"),
        (((5, 2, 3), (5, 3)), "bij,bj->bi"),
        (((5, 3), (5, 3)), "bj,bj->b"),
        (((5,), (5, 3)), "b,bj->bj"),
        (((5, 3), (5,)), "bj,b->bj"),
        (((5, 2, 6, 3), (5, 3, 4)), "bhij,bjk->bhik"),
    ],
)
def test_batched_dot_multiplies_each_pair(shapes, subscripts):
    a, b = (draw(s, seed=k) for k, s in enumerate(shapes))
    np.testing.assert_allclose(evaluated(T.batched_dot, a, b), np.einsum(subscripts, a, b))


def test_batched_tensordot_multiplies_each_pair():
    a, b = draw((5, 2, 3, 4)), draw((5, 4, 3, 6), seed=1)
    actual = evaluated(lambda x, y: T.batched_tensordot(x, y, [[2, 3], [2, 1]]), a, b)
    np.testing.assert_allclose(actual, np.einsum("bijk,bkjl->bil", a, b))
    with pytest.raises(ValueError, match="the batch's"):
        T.batched_tensordot(T.dtensor3(), T.dtensor3(), [[0], [1]])


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (T.dot, ((3,), (3,))),
        (T.dot, ((2, 3), (3,))),
        (T.dot, ((3,), (3, 4))),
        (T.dot, ((2, 3), (3, 4))),
        (T.dot, ((2, 3, 4), (5, 4, 2))),
        (T.matmul, ((2, 5, 3), (2, 3, 4))),
        (T.matmul, ((2, 5, 3), (3, 4))),
        (T.outer, ((3,), (4,))),
        (T.batched_dot, ((2, 3), (2, 3))),
        (lambda x, y: T.tensordot(x, y, [[1], [0]]), ((2, 3, 4), (3, 5))),
    ],
)
def test_gradients_are_those_of_finite_differences(function, shapes):
    rng = np.random.default_rng(0)
    verify_grad(function, [rng.standard_normal(s) for s in shapes], rng=rng)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4))])
def test_complex_gradients_are_those_of_the_real_and_imaginary_parts(shapes):
    a, b = draw(shapes[0], "complex128"), draw(shapes[1], "complex128", 1)
    x, y = variable(a), variable(b)
    cost = T.sum(T.sqr(abs(T.dot(x, y))))
    gx, gy = interpret([x, y], kroton.grad(cost, [x, y]))(a, b)

    def value(u, v):
        return np.sum(np.abs(np.dot(u, v)) ** 2)

    direction = draw(a.shape, "complex128", 2)
    change = (value(a + 1e-6 * direction, b) - value(a - 1e-6 * direction, b)) / 2e-6
    np.testing.assert_allclose(np.sum(np.real(np.conj(direction) * gx)), change, rtol=1e-6)
    direction = draw(b.shape, "complex128", 3)
    change = (value(a, b + 1e-6 * direction) - value(a, b - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(np.sum(np.real(np.conj(direction) * gy)), change, rtol=1e-6)


def test_gradients_keep_what_is_known_of_the_shape():
    x, y = T.dcol(), T.dmatrix()
    gx, gy = kroton.grad(T.dot(x, y).sum(), [x, y])
    assert gx.type.shape == (None, 1)
    assert y.type.is_super(gy.type)


def test_gradients_through_integers_are_zeros():
    x, y = T.dmatrix(), T.lmatrix()
    product = T.dot(x.astype("int64"), y)
    g = kroton.grad(product.astype("float64").sum(), x, disconnected_inputs="ignore")
    (value,) = interpret([x, y], [g])(np.ones((2, 3)), np.ones((3, 4), np.int64))
    assert value.dtype == "float64"
    assert np.array_equal(value, np.zeros((2, 3)))


def test_static_extents_that_contradict_each_other_are_refused_at_once():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 5\) do not fit"):
        T.dot(T.tensor("float64", (2, 3)), T.tensor("float64", (4, 5)))
    with pytest.raises(ValueError, match="dimension 0 has 2 and 3"):
        T.matmul(T.tensor("float64", (2, 3, 3)), T.tensor("float64", (3, 3, 3)))
    with pytest.raises(TypeError, match="3 dimensions"):
        Dot()(T.dtensor3(), T.dmatrix())
    with pytest.raises(TypeError, match="same number of dimensions"):
        BatchedDot()(T.dtensor3(), T.dmatrix())


def test_extents_that_differ_at_run_time_are_refused_with_both_shapes():
    x, y = T.dmatrices("x y")
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\) do not fit"):
        interpret([x, y], [T.dot(x, y)])(np.ones((2, 3)), np.ones((2, 3)))
    x, y = T.dtensor3("x"), T.dtensor3("y")
    with pytest.raises(ValueError, match="dimension 0 has 1 and 2 elements"):
        interpret([x, y], [x @ y])(np.ones((1, 2, 2)), np.ones((2, 2, 2)))


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    batch=st.sampled_from([None, 1, 3]),
    extents=st.tuples(*[st.sampled_from([0, 1, 2, 5, 20])] * 3),
    ndims=st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])),
)
def test_kernels_agree_with_perform_and_shapes_are_inferred(dtype, batch, extents, ndims):
    m, k, n = extents
    if batch is None:
        a = draw((m, k) if ndims[0] == 2 else (k,), dtype)
        b = draw((k, n) if ndims[1] == 2 else (k,), dtype, 1)
        op = Dot()
    else:
        a, b, op = draw((batch, m, k), dtype), draw((batch, k, n), dtype, 1), BatchedDot()
    x, y = variable(a), variable(b)
    out = op(x, y)
    storage = [[None]]
    op.perform(out.owner, [a, b], storage)
    expected = storage[0][0]
    (actual,) = select_kernel(out.owner)(a, b)
    assert actual.dtype == expected.dtype
    assert op.infer_shape(out.owner, [a.shape, b.shape]) == [expected.shape]
    tolerance = 1e-4 if dtype in ("float32", "complex64") else 1e-12
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
