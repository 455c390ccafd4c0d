"""Indexing with numbers and slices, and assignment to what they name."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.gradient import grad, verify_grad
from kroton.graph.evaluation import interpret
from kroton.linking.kernels import select_kernel
from kroton.tensor.indexing import Given, Slice
from kroton.tensor.subtensor import IncSubtensor, Subtensor

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
]  # fmt: skip


def evaluate(out, values):
    """The value of `out` where each key of `values` has its value, by `perform`."""
    return interpret(list(values), [out])(*values.values())[0]


def apply_of(out):
    """The Apply of an index expression, below new dimensions."""
    node = out.owner
    while type(node.op).__name__ == "DimShuffle":
        node = node.inputs[0].owner
    return node


def laid_out(draw, values):
    """`values` in some memory layout."""
    order = draw(st.permutations(range(values.ndim)))
    array = values
    if values.ndim:
        array = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    if values.ndim and draw(st.booleans()):
        wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2), values.dtype)
        wide[..., ::2] = array
        array = wide[..., ::2]
    if values.ndim and draw(st.booleans()):
        array = array[::-1].copy()[::-1]
    return array


@st.composite
def arrays(draw, shape, dtype):
    size = int(np.prod(shape))
    values = np.arange(size) * 7 % 23
    if dtype.startswith("complex"):
        values = values * (1 - 2j)
    return laid_out(draw, values.reshape(shape).astype(dtype))


@st.composite
def basic_indices(draw, shape):
    """A NumPy index of numbers, slices, Ellipsis and None, and which of its numbers to hide."""
    index = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        part = st.none() | st.integers(-n - 2, n + 2)
        kinds = [st.builds(slice, part, part, st.sampled_from([None, 1, 2, 3, -1, -2]))]
        if n:
            kinds.append(st.integers(-n, n - 1))
        index.append(draw(st.one_of(kinds)))
    for _ in range(draw(st.integers(0, 2))):
        index.insert(draw(st.integers(0, len(index))), None)
    if draw(st.booleans()):
        index.append(Ellipsis)
    return tuple(index)


@st.composite
def hidden(draw, index):
    """The index with some numbers replaced by Variables, and the values of these."""
    values = {}

    def hide(number):
        if number is None or not draw(st.booleans()):
            return number
        dtypes = ["int8", "int32", "int64"] + (["uint8", "uint64"] if number >= 0 else [])
        dtype = draw(st.sampled_from(dtypes))
        v = T.scalar(dtype=dtype)
        values[v] = np.array(number, dtype)
        return v

    symbolic = tuple(
        slice(hide(e.start), hide(e.stop), hide(e.step))
        if isinstance(e, slice)
        else hide(e)
        if isinstance(e, int)
        else e
        for e in index
    )
    return symbolic, values


@st.composite
def cases(draw, dtypes=DTYPES):
    """A tensor (of which some extents are known), its value, a NumPy index, and a symbolic one."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    static = tuple(n if draw(st.booleans()) else None for n in shape)
    dtype = draw(st.sampled_from(dtypes))
    x = T.tensor(dtype, static, name="x")
    index = draw(basic_indices(shape))
    symbolic, values = draw(hidden(index))
    return x, draw(arrays(shape, dtype)), index, symbolic, values


@settings(max_examples=150, deadline=None)
@given(cases())
def test_an_indexed_tensor_has_numpys_value_and_a_true_static_shape(case):
    x, array, index, symbolic, values = case
    z = x[symbolic]
    expected = array[(*index, Ellipsis)] if Ellipsis not in index else array[index]
    result = evaluate(z, {x: array, **values})
    np.testing.assert_array_equal(result, expected)
    assert isinstance(result, np.ndarray)
    assert result.dtype == array.dtype
    assert z.type.filter(result, strict=True) is result
    if not values and None not in x.type.shape:
        assert z.type.shape == expected.shape


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_kernel_gives_the_view_that_perform_gives(case):
    x, array, _, symbolic, values = case
    z = x[symbolic]
    if z.owner is None or (type(z.owner.op).__name__ == "DimShuffle" and z.owner.inputs[0] is x):
        return
    node = apply_of(z)
    inputs = [array, *(values[v] for v in node.inputs[1:])]
    storage = [[None]]
    node.op.perform(node, inputs, storage)
    (view,) = select_kernel(node)(*inputs)
    np.testing.assert_array_equal(view, storage[0][0])
    assert view.dtype == array.dtype
    assert view.flags.writeable == array.flags.writeable
    if view.size:
        assert np.shares_memory(view, array)
        address = view.__array_interface__["data"][0]
        assert address == storage[0][0].__array_interface__["data"][0]


@settings(max_examples=150, deadline=None)
@given(cases(["float64"]))
def test_the_inferred_shape_is_the_shape(case):
    x, array, _, symbolic, values = case
    z = x[symbolic]
    extents = tuple(
        n if n is not None else T.tensor("int64", (), name=f"n{d}")
        for d, n in enumerate(x.type.shape)
    )
    unknown = {e: np.array(n) for e, n in zip(extents, array.shape) if not isinstance(e, int)}
    if z.owner is None or type(z.owner.op).__name__ == "DimShuffle":
        return
    (shape,) = z.owner.op.infer_shape(z.owner, [extents] + [()] * (len(z.owner.inputs) - 1))
    result = tuple(
        e if isinstance(e, int) else int(evaluate(e, {**unknown, **values})) for e in shape
    )
    assert result == evaluate(z, {x: array, **values}).shape
    assert all(isinstance(e, int) or e.type.dtype == "int64" for e in shape)


@settings(max_examples=150, deadline=None)
@given(cases(), st.data())
def test_setting_and_incrementing_agree_with_numpy_and_with_the_kernels(case, data):
    x, array, index, symbolic, values = case
    region = array[(*index, Ellipsis)] if Ellipsis not in index else array[index]
    kept = data.draw(st.integers(0, region.ndim))
    shape = [1 if data.draw(st.booleans()) else n for n in region.shape[region.ndim - kept :]]
    static = [1 if n == 1 else None for n in shape]
    value = data.draw(arrays(tuple(shape), array.dtype.name))
    y = T.tensor(array.dtype.name, static, name="y")
    for function, change in ((T.set_subtensor, np.copyto), (T.inc_subtensor, np.add)):
        z = function(x[symbolic], y)
        assert z.type == x.type
        expected = array.copy()
        target = expected[(*index, Ellipsis)] if Ellipsis not in index else expected[index]
        if change is np.copyto:
            np.copyto(target, value)
        else:
            np.add(target, value, out=target)
        before = array.copy()
        result = evaluate(z, {x: array, y: value, **values})
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(array, before)
        node = z.owner
        shaped = evaluate(node.inputs[1], {x: array, y: value, **values})
        inputs = [array, shaped, *(values[v] for v in node.inputs[2:])]
        (by_kernel,) = select_kernel(node)(*inputs)
        np.testing.assert_array_equal(by_kernel, expected)
        assert by_kernel is not array
        np.testing.assert_array_equal(array, before)
        inplace = function(x[symbolic], y, inplace=True).owner
        kernel = select_kernel(inplace)
        mine = array.copy()
        assert kernel.would_run(mine, *inputs[1:])
        np.testing.assert_array_equal(mine, before)
        (result,) = kernel(mine, *inputs[1:])
        assert result is mine
        np.testing.assert_array_equal(mine, expected)


def test_an_op_reads_as_what_stands_between_the_brackets():
    x, i = T.dtensor3(), T.lscalar()
    assert str(x[::2, i].owner.op) == "Subtensor{::2, int64}"
    assert str(x[1, i:-1:2].owner.op) == "Subtensor{1, int64:-1:2}"
    assert str(T.set_subtensor(x[0], 1).owner.op) == "IncSubtensor{Set; 0}"
    assert str(T.inc_subtensor(x[0], 1, inplace=True).owner.op) == "IncSubtensor{InplaceInc; 0}"


def test_equal_indices_make_equal_ops_and_ops_pickle():
    x = T.dmatrix()
    assert x[0:3, 0:].owner.op == x[:3].owner.op == Subtensor((slice(None, 3),))
    assert x[T.constant(2)].owner.op == x[np.int8(2)].owner.op == Subtensor((2,))
    op = T.inc_subtensor(x[T.lscalar() :], 1).owner.op
    assert op == IncSubtensor((Slice(Given("int64")),))
    assert pickle.loads(pickle.dumps(op)) == op
    assert hash(pickle.loads(pickle.dumps(op))) == hash(op)


def test_new_dimensions_need_no_indexing_op():
    x = T.dmatrix()
    z = x[:, None]
    assert z.owner.inputs[0] is x
    assert z.type.shape == (None, 1, None)


def test_a_subtensor_is_a_view_and_inplace_assignment_destroys():
    x = T.dvector()
    assert x[1:].owner.op.view_map == {0: [0]}
    assert T.set_subtensor(x[1:], 0).owner.op.destroy_map == {}
    assert T.set_subtensor(x[1:], 0, inplace=True).owner.op.destroy_map == {0: [0]}


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        ((0, 0, 0), IndexError, "too many indices"),
        ((..., 0, ...), IndexError, "single Ellipsis"),
        (1.5, TypeError, "float"),
        (np.float64(1), TypeError, "integer"),
        ("a", TypeError, "str"),
        (True, TypeError, "boolean"),
        (slice(None, 2.0), TypeError, "float"),
        (slice(None, None, 0), ValueError, "zero"),
        (slice([1, 2], None), TypeError, "slice"),
        ((0, 3), IndexError, "index 3 is out of bounds for axis 1 with size 3"),
        ((0, -4), IndexError, "index -4 is out of bounds for axis 1 with size 3"),
    ],
)
def test_a_wrong_index_is_refused_while_the_graph_is_built(index, error, text):
    x = T.tensor("float64", (None, 3))
    with pytest.raises(error, match=text):
        x[index]


def test_a_symbolic_float_or_boolean_scalar_is_refused():
    x = T.dmatrix()
    with pytest.raises(TypeError, match="float64"):
        x[T.dscalar("f")]
    with pytest.raises(TypeError, match="boolean"):
        x[T.scalar("b", dtype="bool")]


def test_a_number_out_of_range_at_run_time_names_index_axis_and_size():
    x, i = T.dmatrix(), T.lscalar()
    node = x[:, i].owner
    array = np.zeros((2, 3))
    message = re.escape("index 5 is out of bounds for axis 1 with size 3")
    with pytest.raises(IndexError, match=message):
        evaluate(node.outputs[0], {x: array, i: np.array(5)})
    with pytest.raises(IndexError, match=message):
        select_kernel(node)(array, np.array(5))


def test_an_unsigned_number_never_counts_from_the_end():
    x, i = T.dvector(), T.scalar(dtype="uint64")
    kernel = select_kernel(x[i].owner)
    with pytest.raises(IndexError, match="out of bounds"):
        kernel(np.zeros(3), np.array(2**64 - 1, "uint64"))


def test_a_step_that_is_zero_at_run_time_is_an_error():
    x, i = T.dvector(), T.lscalar()
    node = x[::i].owner
    with pytest.raises(ValueError, match="zero"):
        evaluate(node.outputs[0], {x: np.zeros(3), i: np.array(0)})
    with pytest.raises(ValueError, match="zero"):
        select_kernel(node)(np.zeros(3), np.array(0))


def test_nothing_is_written_when_an_index_or_the_value_does_not_fit():
    x, y, i = T.dmatrix(), T.dvector(), T.lscalar()
    kernel = select_kernel(T.set_subtensor(x[i], y, inplace=True).owner)
    array = np.zeros((2, 3))
    for value, number, error in ((np.ones(3), 2, IndexError), (np.ones(2), 1, ValueError)):
        with pytest.raises(error):
            kernel(array, value, np.array(number))
        with pytest.raises(error):
            kernel.would_run(array, value, np.array(number))
    assert not array.any()
    array.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernel(array, np.ones(3), np.array(1))


def test_an_extent_of_one_stretches_only_where_the_type_says_so():
    x, y = T.dmatrix(), T.dvector()
    node = T.set_subtensor(x[0], y).owner
    with pytest.raises(ValueError, match="addbroadcast"):
        evaluate(node.outputs[0], {x: np.zeros((2, 3)), y: np.ones(1)})
    with pytest.raises(ValueError, match="addbroadcast"):
        select_kernel(node)(np.zeros((2, 3)), np.ones(1))


def test_a_value_that_shares_memory_with_the_tensor_is_read_before_it_is_written_over():
    x = T.dvector()
    for function, expected in (
        (T.set_subtensor, [0, 0, 1, 2, 3]),
        (T.inc_subtensor, [0, 1, 3, 5, 7]),
    ):
        node = function(x[1:], x[:-1], inplace=True).owner
        array = np.arange(5.0)
        (result,) = select_kernel(node)(array, array[:-1])
        np.testing.assert_array_equal(result, expected)


def test_the_value_takes_the_tensors_dtype_when_nothing_is_lost():
    x = T.fvector()
    assert T.set_subtensor(x[0], 1.5).type == x.type
    assert T.set_subtensor(x[:2], [1, 2.5]).type == x.type
    assert T.set_subtensor(x[:2], [T.fscalar(), T.fscalar()]).type == x.type
    assert T.inc_subtensor(x[0], T.wscalar()).type == x.type
    for wrong in (T.dscalar("y"), T.lscalar(), np.float64(0.1), np.zeros(2), 1j):
        with pytest.raises(TypeError, match="losing"):
            T.set_subtensor(x[:2], wrong)
    with pytest.raises(TypeError, match="losing"):
        T.set_subtensor(T.lvector()[0], 1.5)


def test_a_value_with_too_many_dimensions_or_another_extent_is_refused():
    x = T.tensor("float64", (4, 3))
    with pytest.raises(ValueError, match="dimensions"):
        T.set_subtensor(x[0], T.dmatrix())
    with pytest.raises(ValueError, match="shape"):
        T.set_subtensor(x[0], np.zeros(2))


def test_only_an_indexed_expression_can_be_assigned_to():
    x = T.dvector("x")
    with pytest.raises(TypeError, match=r"not indexed"):
        T.set_subtensor(x, 1)
    with pytest.raises(TypeError, match="indexed expression"):
        T.set_subtensor(x[1:] + 1, 1)
    with pytest.raises(TypeError, match="indexed expression"):
        T.set_subtensor(T.dmatrix().T, 1)


def test_assignment_reaches_through_reshape_dimshuffle_and_flatten():
    x, y = T.dmatrix(), T.dvector()
    array = np.arange(12.0).reshape(3, 4)
    flat = T.set_subtensor(x[1:].flatten(), y)
    value = -np.arange(8.0)
    expected = array.copy()
    expected[1:] = value.reshape(2, 4)
    np.testing.assert_array_equal(evaluate(flat, {x: array, y: value}), expected)
    turned = T.inc_subtensor(x[:, 1:3].T, y)
    expected = array.copy()
    expected[:, 1:3].T[...] += np.arange(3.0)
    np.testing.assert_array_equal(evaluate(turned, {x: array, y: np.arange(3.0)}), expected)
    whole = T.set_subtensor(x[None], y)
    np.testing.assert_array_equal(evaluate(whole, {x: array, y: np.ones(4)}), np.ones((3, 4)))


def test_the_user_indexing_twice_changes_what_was_indexed_last():
    x = T.dmatrix()
    z = T.set_subtensor(x[1:][0], 0)
    assert z.type.ndim == 2
    array = np.ones((3, 2))
    assert evaluate(z, {x: array}).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    "index", [1, (0, 2), slice(1, None, 2), (slice(None, None, -1), None, 1), (..., slice(0, 0))]
)
def test_gradients_of_indexing_agree_with_finite_differences(index):
    rng = np.random.default_rng(0)
    verify_grad(lambda x: x[index], [rng.random((3, 4))], rng=rng)


@pytest.mark.parametrize("function", [T.set_subtensor, T.inc_subtensor])
@pytest.mark.parametrize(
    ("index", "shape"),
    [(1, (4,)), (slice(1, None), (2, 4)), (slice(1, None), (4,)), (slice(1, None), (2, 1)),
     (slice(1, None), ()), ((0, 2), ()), ((slice(None), None, 1), (3, 1))],
)  # fmt: skip
def test_gradients_of_assignment_agree_with_finite_differences(function, index, shape):
    rng = np.random.default_rng(0)

    def assigned(x, y):
        return function(x[index], T.patternbroadcast(y, [n == 1 for n in shape]))

    verify_grad(assigned, [rng.random((3, 4)), rng.random(shape)], rng=rng)


def test_no_gradient_reaches_numbers_and_integer_tensors():
    x, i = T.dvector(), T.lscalar()
    g = grad(x[i], x)
    assert g.type == x.type
    assert x[i].owner.op.connection_pattern(x[i].owner) == [[True], [False]]
    k = T.lvector()
    (gradient,) = k[0].owner.op.L_op([k], [k[0]], [T.dscalar()])
    assert gradient.type.dtype == "float64"


def test_iteration_stops_at_a_known_extent_and_needs_one():
    assert len(list(T.tensor("float64", (3,)))) == 3
    with pytest.raises(TypeError, match="iterate"):
        iter(T.dvector())
