"""The kernels for shapes, views and filled arrays agree with the Ops' perform, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.linking.kernels import select_kernel
from kroton.tensor.type import DTYPES, TensorType

dtypes = st.sampled_from(DTYPES)


def shapes(min_dims=0, max_dims=4):
    return st.lists(st.integers(0, 4), min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def arrays(draw, shape=None, dtype=None):
    """An array in C or Fortran order, strided, reversed, or with broadcast rows."""
    dtype = np.dtype(draw(dtypes) if dtype is None else dtype)
    shape = draw(shapes()) if shape is None else shape
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "stride 0"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    wide = tuple(2 * e for e in shape) if layout == "strided" else shape
    x = (rng.standard_normal(wide) * 50).astype(dtype)
    if dtype.kind == "c":
        x = x + 1j * rng.standard_normal(wide).astype(dtype)
    x = np.asarray(x, dtype=dtype)
    if layout == "F" and shape:
        x = np.asfortranarray(x)
    elif layout == "strided":
        x = x[tuple(slice(None, None, 2) for _ in shape)]
    elif layout == "reversed":
        x = x[tuple(slice(None, None, -1) for _ in shape)]
    elif layout == "stride 0" and x.ndim and x.shape[0]:
        x = np.broadcast_to(x[:1], x.shape)
    return np.asarray(x).reshape(x.shape)


def variable(x, static=()):
    """An input for array x, with the dimensions in `static` statically known."""
    shape = [e if d in static else None for d, e in enumerate(x.shape)]
    return TensorType(x.dtype, shape)("x")


def performed(node, values):
    storage = [[None] for _ in node.outputs]
    node.op.perform(node, list(values), storage)
    return [cell[0] for cell in storage]


def assert_kernel_agrees(node, *values):
    """Kernel and perform give equal arrays or errors of one type. Returns the kernel's results."""
    kernel = select_kernel(node)
    assert kernel is not None
    try:
        expected = performed(node, values)
    except ValueError:
        with pytest.raises(ValueError):
            kernel(*values)
        return None
    results = kernel(*values)
    for out, result, wanted in zip(node.outputs, results, expected):
        assert result.dtype == wanted.dtype == out.type.numpy_dtype
        assert result.shape == wanted.shape
        assert result.tobytes() == wanted.tobytes()
        out.type.filter(result, strict=True)
    return results


def assert_view(view, x):
    assert np.may_share_memory(view, x) or not view.size
    assert view.flags.writeable == x.flags.writeable


@given(arrays(), st.data())
def test_dimshuffle_is_a_view_with_the_permission_of_its_input(x, data):
    kept = [d for d in range(x.ndim) if x.shape[d] != 1 or data.draw(st.booleans())]
    order = list(data.draw(st.permutations(kept)))
    for _ in range(data.draw(st.integers(0, 2))):
        order.insert(data.draw(st.integers(0, len(order))), "x")
    v = variable(x, [d for d in range(x.ndim) if x.shape[d] == 1])
    node = T.DimShuffle(v.type.broadcastable, tuple(order)).make_node(v)
    (view,) = assert_kernel_agrees(node, x)
    assert_view(view, x)
    if view.size:
        assert np.shares_memory(view, x)


@given(arrays(), st.data())
def test_reshape_agrees_on_every_layout(x, data):
    target = data.draw(st.sampled_from([(-1,), x.shape[::-1], (*x.shape, 1), (1, -1), (2, -1)]))
    v, s = variable(x), T.TensorType("int64", (len(target),))()
    result = assert_kernel_agrees(
        T.Reshape(len(target)).make_node(v, s), x, np.array(target, dtype="int64")
    )
    if result is not None and x.flags.c_contiguous:
        assert_view(result[0], x)


def test_a_reshape_of_a_transpose_copies():
    x = np.arange(6.0).reshape(2, 3).T
    node = T.Reshape(1).make_node(T.dmatrix(), T.lvector())
    (result,) = assert_kernel_agrees(node, x, np.array([6]))
    assert not np.shares_memory(result, x)


@pytest.mark.parametrize("target", [(5,), (-1, -1), (-2, -3), (0, -1), (2**40, 2**40), (-1, 4)])
def test_a_reshape_that_does_not_fit_names_both_shapes(target):
    node = T.Reshape(len(target)).make_node(T.dmatrix(), T.lvector())
    with pytest.raises(ValueError, match=r"shape \(2, 3\) \(6 elements\) cannot have shape"):
        select_kernel(node)(np.zeros((2, 3)), np.array(target, dtype="int64"))


def test_a_reshape_to_another_number_of_dimensions_is_an_error():
    node = T.Reshape(2).make_node(T.dvector(), T.lvector())
    assert_kernel_agrees(node, np.zeros(4), np.array([4]))


@given(arrays(shape=None), st.data())
def test_split_gives_views_of_the_parts(x, data):
    if not x.ndim:
        return
    axis = data.draw(st.integers(0, x.ndim - 1))
    sizes = data.draw(st.lists(st.integers(-1, 4), min_size=1, max_size=4))
    if data.draw(st.booleans()):
        sizes[-1] = x.shape[axis] - sum(sizes[:-1])
    node = T.Split(len(sizes), axis).make_node(variable(x), T.lvector())
    parts = assert_kernel_agrees(node, x, np.array(sizes))
    for part in parts or ():
        assert_view(part, x)


@given(arrays(), st.data())
def test_extract_diag_is_a_view(x, data):
    if x.ndim < 2:
        return
    axis1, axis2 = data.draw(st.permutations(range(x.ndim)))[:2]
    offset = data.draw(st.integers(-5, 5))
    node = T.ExtractDiag(offset, axis1, axis2).make_node(variable(x))
    (view,) = assert_kernel_agrees(node, x)
    assert_view(view, x)


@given(arrays(), st.data())
def test_alloc_diag_puts_a_diagonal_into_zeros(x, data):
    if not x.ndim:
        return
    axis1, axis2 = data.draw(st.permutations(range(x.ndim + 1)))[:2]
    offset = data.draw(st.integers(-3, 3))
    n = x.shape[-1] + max(-offset, 0) + data.draw(st.integers(0, 2))
    m = x.shape[-1] + max(offset, 0) + data.draw(st.integers(-1, 1))
    node = T.AllocDiag(offset, axis1, axis2).make_node(variable(x), T.lscalar(), T.lscalar())
    assert_kernel_agrees(node, x, np.array(n), np.array(m))


@given(arrays())
def test_shape_and_shape_i_read_the_extents(x):
    v = variable(x)
    assert_kernel_agrees(T.Shape().make_node(v), x)
    for i in range(x.ndim):
        assert_kernel_agrees(T.Shape_i(i).make_node(v), x)


@given(st.lists(st.integers(0, 100), max_size=5), dtypes)
def test_make_vector_puts_scalars_side_by_side(numbers, dtype):
    values = [np.array(k, dtype=dtype) for k in numbers]
    variables = [TensorType(dtype, ())() for _ in values]
    assert_kernel_agrees(T.MakeVector(dtype).make_node(*variables), *values)


@given(st.data())
def test_alloc_broadcasts_only_what_is_statically_one(data):
    shape = data.draw(shapes())
    ndim = data.draw(st.integers(0, len(shape)))
    value_shape = tuple(data.draw(st.sampled_from([e, 1])) for e in shape[len(shape) - ndim :])
    value = data.draw(arrays(shape=value_shape))
    static = data.draw(st.sets(st.sampled_from(range(ndim)))) if ndim else ()
    static = [d for d in static if value.shape[d] == 1]
    node = T.Alloc().make_node(variable(value, static), *(T.lscalar() for _ in shape))
    assert_kernel_agrees(node, value, *(np.array(e) for e in shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", [0, 1, 7])
def test_alloc_fills_large_arrays(dtype, number):
    value = np.array(number, dtype=dtype)
    node = T.Alloc().make_node(TensorType(dtype, ())(), T.lscalar(), T.lscalar())
    (result,) = assert_kernel_agrees(node, value, np.array(300), np.array(400))
    # The buffer goes back to the pool with what is in it and must be filled anew.
    del result
    assert_kernel_agrees(node, np.array(1, dtype=dtype), np.array(300), np.array(400))


def test_alloc_of_negative_zero_keeps_the_sign():
    node = T.Alloc().make_node(T.dscalar(), T.lscalar())
    assert_kernel_agrees(node, np.array(-0.0), np.array(3))


def test_alloc_repeats_long_rows():
    node = T.Alloc().make_node(T.dmatrix(), T.lscalar(), T.lscalar(), T.lscalar())
    row = np.arange(200.0).reshape(10, 20)
    assert_kernel_agrees(node, row, np.array(5), np.array(10), np.array(20))
    assert_kernel_agrees(node, row.T, np.array(5), np.array(20), np.array(10))


@pytest.mark.parametrize("op", [T.Alloc(), T.AllocEmpty("float64")])
def test_a_negative_extent_is_an_error_that_names_the_shape(op):
    inputs = [T.dscalar()] if isinstance(op, T.Alloc) else []
    node = op.make_node(*inputs, T.lscalar(), T.lscalar())
    values = [np.array(1.0)] if inputs else []
    with pytest.raises(ValueError, match=r"negative, got shape \(2, -3\)"):
        select_kernel(node)(*values, np.array(2), np.array(-3))


@given(shapes(), dtypes)
def test_alloc_empty_has_the_shape_and_dtype(shape, dtype):
    node = T.AllocEmpty(dtype).make_node(*(T.lscalar() for _ in shape))
    (result,) = select_kernel(node)(*(np.array(e) for e in shape))
    assert result.shape == shape
    assert result.dtype == dtype


@given(st.data(), dtypes)
def test_join_agrees_on_every_layout(data, dtype):
    shape = data.draw(shapes(min_dims=1))
    axis = data.draw(st.integers(0, len(shape) - 1))
    values = []
    for _ in range(data.draw(st.integers(1, 4))):
        own = list(shape)
        own[axis] = data.draw(st.integers(0, 3))
        values.append(data.draw(arrays(shape=tuple(own), dtype=dtype)))
    node = T.Join(axis).make_node(*map(variable, values))
    assert_kernel_agrees(node, *values)


def test_join_of_large_arrays_agrees():
    a, b = np.arange(60_000.0).reshape(300, 200), np.ones((300, 1))
    node = T.Join(1).make_node(T.dmatrix(), T.dmatrix(), T.dmatrix())
    assert_kernel_agrees(node, a, b, a)


def test_join_names_the_input_that_does_not_fit():
    node = T.Join(0).make_node(T.dmatrix(), T.dmatrix())
    with pytest.raises(ValueError, match=r"input 1 of shape \(2, 4\) has 4 elements in dim.* 1"):
        select_kernel(node)(np.zeros((2, 3)), np.zeros((2, 4)))
    assert_kernel_agrees(node, np.zeros((2, 3)), np.zeros((2, 4)))


@given(arrays(), st.data())
def test_repeat_agrees_for_scalars_and_vectors(x, data):
    if not x.ndim:
        return
    axis = data.draw(st.integers(0, x.ndim - 1))
    count = np.array(data.draw(st.integers(-1, 3)))
    assert_kernel_agrees(T.Repeat(axis).make_node(variable(x), T.lscalar()), x, count)
    n = data.draw(st.sampled_from([x.shape[axis], 2]))
    counts = np.array(data.draw(st.lists(st.integers(-1, 9), min_size=n, max_size=n)), dtype=int)
    if data.draw(st.booleans()):
        counts = abs(counts)[::-1]
    assert_kernel_agrees(T.Repeat(axis).make_node(variable(x), T.lvector()), x, counts)


small = st.integers(-20, 20)
floats = st.floats(-20, 20, width=32)


@given(small, small, st.integers(-4, 4), st.sampled_from(DTYPES[1:]))
def test_arange_of_integers_agrees_with_numpy(start, stop, step, dtype):
    values = [np.array(v) for v in (start, stop, step)]
    node = T.ARange(dtype).make_node(T.lscalar(), T.lscalar(), T.lscalar())
    try:
        performed(node, values)
    except OverflowError:
        with pytest.raises(OverflowError):
            select_kernel(node)(*values)
        return
    except ValueError:
        pass
    assert_kernel_agrees(node, *values)


@given(floats, floats, floats, st.sampled_from(["float32", "float64"]), st.data())
def test_arange_of_floats_has_numpys_length_and_rounding(start, stop, step, dtype, data):
    if step and abs((stop - start) / step) > 10_000:
        return
    values = [np.array(v, dtype=dtype) for v in (start, stop, step)]
    node = T.ARange(data.draw(st.sampled_from(["float32", "float64"]))).make_node(
        *(TensorType(dtype, ())() for _ in values)
    )
    assert_kernel_agrees(node, *values)


@given(st.integers(-1, 6), st.integers(-1, 6), st.integers(-8, 8), dtypes)
def test_eye_agrees_for_every_diagonal(n, m, k, dtype):
    node = T.Eye(dtype).make_node(T.lscalar(), T.lscalar(), T.lscalar())
    assert_kernel_agrees(node, np.array(n), np.array(m), np.array(k))


@given(arrays(), st.data())
def test_the_checks_of_shape_hand_on_the_object(x, data):
    stated = tuple(data.draw(st.sampled_from([e, e, None, 3])) for e in x.shape)
    v = variable(x)
    result = assert_kernel_agrees(T.SpecifyShape(stated).make_node(v), x)
    assert result is None or result[0] is x
    axes = tuple(d for d, e in enumerate(stated) if e is not None)
    node = T.AssertShape(axes).make_node(v, *(T.lscalar() for _ in axes))
    result = assert_kernel_agrees(node, x, *(np.array(stated[d]) for d in axes))
    assert result is None or result[0] is x
    ones = tuple(d for d, e in enumerate(x.shape) if e == 1)
    node = T.Unbroadcast(ones).make_node(variable(x, ones))
    assert select_kernel(node)(x)[0] is x


def test_a_view_keeps_its_input_alive():
    node = T.DimShuffle((False, False), (1, 0)).make_node(T.dmatrix())
    (view,) = select_kernel(node)(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(view, np.arange(6.0).reshape(2, 3).T)
