"""The kernels of softmax and crossentropy agree with perform on every layout."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.linking.kernels import select_kernel
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad

EXTENTS = st.sampled_from([0, 1, 2, 3, 7, 16, 17, 40])
LAYOUTS = st.sampled_from(["C", "F", "reversed", "stepped", "broadcast"])
FLOATS = st.sampled_from(["float32", "float64"])


def draw(rng, shape, dtype, layout):
    scale = rng.choice([0.1, 1.0, 30.0])
    if layout == "broadcast" and shape:
        row = (rng.standard_normal((1, *shape[1:])) * scale).astype(dtype)
        return np.broadcast_to(row, shape)
    if layout == "stepped":
        padded = tuple(3 * n for n in shape)
        x = (rng.standard_normal(padded) * scale).astype(dtype)
        return x[tuple(slice(None, None, 3) for _ in shape)]
    x = (rng.standard_normal(shape) * scale).astype(dtype)
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "reversed":
        return x[tuple(slice(None, None, -1) for _ in shape)]
    return x


def both(op, *values):
    """What perform gives, and what the kernel gives."""
    inputs = [T.tensor(v.dtype.name, (None,) * v.ndim) for v in values]
    node = op.make_node(*inputs)
    storage = [[None] for _ in node.outputs]
    op.perform(node, list(values), storage)
    expected = [cell[0] for cell in storage]
    actual = select_kernel(node)(*values)
    for a, e, out in zip(actual, expected, node.outputs):
        assert type(e) is np.ndarray
        assert a.dtype == e.dtype == out.type.dtype
        assert a.shape == e.shape
    return expected, actual


def assert_close(actual, expected, n):
    """Within the roundings of one exponential, one quotient and a sum of n terms."""
    eps = np.finfo(actual.dtype).eps
    np.testing.assert_allclose(
        actual, expected, rtol=(16 + n / 8) * eps, atol=np.finfo(actual.dtype).tiny
    )


@settings(max_examples=150, deadline=None)
@given(
    dtype=FLOATS,
    shape=st.lists(EXTENTS, min_size=1, max_size=3).map(tuple),
    axis=st.sampled_from([0, 1, 2, None]),
    layout=LAYOUTS,
    logs=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_softmax_agrees_with_perform(dtype, shape, axis, layout, logs, seed):
    if axis is not None:
        axis %= len(shape)
    x = draw(np.random.default_rng(seed), shape, dtype, layout)
    (expected,), (actual,) = both((LogSoftmax if logs else Softmax)(axis), x)
    n = x.size if axis is None else shape[axis]
    if logs:
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(actual, expected, rtol=(16 + n / 8) * eps, atol=n * eps)
    else:
        assert_close(actual, expected, n)


@settings(max_examples=80, deadline=None)
@given(
    dtype=FLOATS,
    shape=st.lists(EXTENTS, min_size=1, max_size=3).map(tuple),
    axis=st.sampled_from([0, 1, 2, None]),
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    seed=st.integers(0, 1000),
)
def test_softmax_grad_agrees_with_perform(dtype, shape, axis, layouts, seed):
    if axis is not None:
        axis %= len(shape)
    rng = np.random.default_rng(seed)
    g, sm = (draw(rng, shape, dtype, layout) for layout in layouts)
    (expected,), (actual,) = both(SoftmaxGrad(axis), g, sm)
    n = g.size if axis is None else shape[axis]
    if n:
        magnitude = (abs(g) + np.sum(abs(g * sm), axis=axis, keepdims=True)) * abs(sm)
        assert np.all(abs(actual - expected) <= (8 + n) * np.finfo(dtype).eps * magnitude)


@settings(max_examples=100, deadline=None)
@given(
    dtype=FLOATS,
    class_dtype=st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]),
    rows=EXTENTS,
    classes=st.sampled_from([1, 2, 3, 10, 17, 100]),
    layout=LAYOUTS,
    seed=st.integers(0, 1000),
)
def test_crossentropies_agree_with_perform(dtype, class_dtype, rows, classes, layout, seed):
    rng = np.random.default_rng(seed)
    x = draw(rng, (rows, classes), dtype, layout)
    y = np.repeat(rng.integers(0, classes, rows).astype(class_dtype), 2)[::-2]
    g = rng.standard_normal(rows).astype(dtype)[::-1]
    expected, actual = both(CrossentropySoftmaxArgmax1Hot(), x, y)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(actual[0], expected[0], rtol=32 * eps, atol=8 * eps)
    assert_close(actual[1], expected[1], classes)
    assert np.array_equal(actual[2], expected[2])
    sm = expected[1]
    for op, inputs in [
        (CrossentropySoftmax1HotGrad(), (g, sm, y)),
        (CrossentropySoftmax1HotGrad(), (np.array(0.3, dtype), sm, y)),
        (CrossentropyCategorical1HotGrad(), (g, 0.5 + sm, y)),
    ]:
        (expected,), (actual,) = both(op, *(v for v in inputs))
        assert np.array_equal(actual, expected)
    (expected,), (actual,) = both(CrossentropyCategorical1Hot(), sm + 0.5, y)
    np.testing.assert_allclose(actual, expected, rtol=4 * eps, atol=eps)


@pytest.mark.parametrize("n", [4, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinities_come_out_as_numpy_has_them(dtype, n):
    x = np.zeros((6, n), dtype)
    x[0, 2] = np.nan
    x[1, 1] = np.inf
    x[2] = -np.inf
    x[3, 1:] = -np.inf
    x[4, 1], x[4, 3] = np.inf, np.nan
    for op in (Softmax(1), LogSoftmax(1)):
        (expected,), (actual,) = both(op, x)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    expected, actual = both(CrossentropySoftmaxArgmax1Hot(), x, np.zeros(6, np.int64))
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=1e-6)


@pytest.mark.parametrize("y", [[0, 3], [-1, 0]])
def test_a_class_out_of_range_is_refused_by_perform_and_kernel(y):
    x, y, g = np.zeros((2, 3)), np.array(y), np.ones(2)
    row = int(y[0] == 0)
    for op, values in [
        (CrossentropySoftmaxArgmax1Hot(), (x, y)),
        (CrossentropySoftmax1HotGrad(), (g, x, y)),
        (CrossentropyCategorical1Hot(), (x, y)),
        (CrossentropyCategorical1HotGrad(), (g, x, y)),
    ]:
        inputs = [T.tensor(v.dtype.name, (None,) * v.ndim) for v in values]
        node = op.make_node(*inputs)
        message = f"row {row} has class {y[row]}, which is not one of the 3 classes 0 to 2"
        with pytest.raises(ValueError, match=message):
            op.perform(node, list(values), [[None] for _ in node.outputs])
        with pytest.raises(ValueError, match=message):
            select_kernel(node)(*values)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 3], "row 1 has class 3, which is not one of the 3 classes -3 to 2"),
        ([-4], "row 0 has class -4, which is not one of the 3 classes -3 to 2"),
        ([0, 1, 2], "3 classes for 2 rows"),
    ],
)
def test_an_index_out_of_range_is_refused_by_perform_and_kernel(y, message):
    x, y, g = np.zeros((2, 3)), np.array(y), np.ones(len(y))
    for op, values in [
        (CrossentropySoftmaxArgmax1Hot(True), (x, y)),
        (CrossentropySoftmax1HotGrad(True), (g, x, y)),
        (CrossentropyCategorical1Hot(True), (x, y)),
        (CrossentropyCategorical1HotGrad(True), (g, x, y)),
    ]:
        node = op.make_node(*[T.tensor(v.dtype.name, (None,) * v.ndim) for v in values])
        with pytest.raises(IndexError, match=message):
            op.perform(node, list(values), [[None] for _ in node.outputs])
        with pytest.raises(IndexError, match=message):
            select_kernel(node)(*values)
        huge = np.full(len(y), 2**64 - 1, "uint64")  # which is -1 as a signed number
        values = (*values[:-1], huge)
        node = op.make_node(*[T.tensor(v.dtype.name, (None,) * v.ndim) for v in values])
        with pytest.raises(IndexError):
            select_kernel(node)(*values)


def test_numbers_of_rows_that_differ_are_refused():
    x, y, g = np.zeros((2, 3)), np.zeros(3, np.int64), np.ones(3)
    node = CrossentropySoftmaxArgmax1Hot().make_node(T.dmatrix(), T.lvector())
    with pytest.raises(ValueError, match="3 classes for 2 rows"):
        select_kernel(node)(x, y)
    node = CrossentropySoftmax1HotGrad().make_node(T.dvector(), T.dmatrix(), T.lvector())
    with pytest.raises(ValueError, match="3 rows for 2 rows"):
        select_kernel(node)(g, x, y[:2])
    node = SoftmaxGrad(1).make_node(T.dmatrix(), T.dmatrix())
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\) differ"):
        select_kernel(node)(x, x[:, :2])


def test_a_large_softmax_of_every_axis_agrees():
    x = np.random.default_rng(0).standard_normal((120, 90, 3)).astype("float32")
    for axis in (0, 1, 2, None):
        (expected,), (actual,) = both(Softmax(axis), x)
        assert_close(actual, expected, x.size if axis is None else x.shape[axis])
