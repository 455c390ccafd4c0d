"""Indexing with arrays and masks, assignment to what they name, and what is not zero."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.gradient import Rop, grad, verify_grad
from kroton.graph.evaluation import interpret
from kroton.graph.traversal import ancestors
from kroton.linking.kernels import select_kernel
from kroton.tensor.advanced_subtensor import AdvancedSubtensor, AdvancedSubtensor1, Nonzero


def evaluate(out, values):
    """The value of `out` where each key of `values` has its value, by `perform`."""
    return interpret(list(values), [out])(*values.values())[0]


def by_kernel(out, values):
    """The value of the last Apply by its kernel, on inputs computed by `perform`."""
    node = out.owner
    inputs = [evaluate(v, values) if v not in values else values[v] for v in node.inputs]
    return select_kernel(node)(*inputs)[out.index]


@st.composite
def cases(draw, masks=True):
    """A tensor, its value, a NumPy index with an array or a mask, and a symbolic one."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    dtype = draw(st.sampled_from(["bool", "int16", "float32", "float64", "complex128"]))
    static = tuple(n if draw(st.booleans()) else None for n in shape)
    x = T.tensor(dtype, static, name="x")
    array = (np.arange(np.prod(shape)) * 7 % 23).reshape(shape).astype(dtype)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    common = draw(st.lists(st.integers(0, 3), max_size=2))
    n_mask = draw(st.none() | st.integers(0, 3)) if masks else None
    if n_mask is not None:
        common = [n_mask]
    index, symbolic, values = [], [], {}
    used = 0
    while used < len(shape):
        n = shape[used]
        kinds = ["array", "array", "number", "slice"]
        if n_mask is not None:
            kinds.append("mask")
        kind = draw(st.sampled_from(kinds))
        if kind == "array":
            ndim = draw(st.integers(0, len(common)))
            own = [1 if draw(st.booleans()) else e for e in common[len(common) - ndim :]]
            idx_dtype = draw(st.sampled_from(["int8", "int64", "int64", "uint32"]))
            low = 0 if idx_dtype.startswith("u") else -n
            size = int(np.prod(own))
            numbers = draw(st.lists(st.integers(low, n - 1), min_size=size, max_size=size))
            value = np.array(numbers, idx_dtype).reshape(own)
            used += 1
        elif kind == "number":
            value = draw(st.integers(-n, n - 1))
            used += 1
        elif kind == "slice":
            step = draw(st.sampled_from([None, 2, -1]))
            value = slice(draw(st.none() | st.integers(-n, n)), None, step)
            used += 1
        else:
            ndim = draw(st.integers(1, len(shape) - used))
            value = np.zeros(shape[used : used + ndim], bool)
            chosen = draw(st.permutations(range(value.size)))[:n_mask]
            assume(len(chosen) == n_mask)
            value.flat[chosen] = True
            used += ndim
        index.append(value)
        if isinstance(value, np.ndarray) and draw(st.booleans()):
            v = T.tensor(value.dtype.name, [None] * value.ndim)
            values[v] = value
            symbolic.append(v)
        else:
            symbolic.append(value)
        if draw(st.integers(0, 5)) == 0:
            index.append(None)
            symbolic.append(None)
        if draw(st.integers(0, 3)) == 0:
            break
    assume(any(isinstance(e, np.ndarray) and e.ndim for e in index))
    return x, array, tuple(index), tuple(symbolic), values


@settings(max_examples=150, deadline=None)
@given(cases())
def test_an_indexed_tensor_has_numpys_value_and_a_true_static_shape(case):
    x, array, index, symbolic, values = case
    z = x[symbolic]
    expected = array[index]
    values = {x: array, **values}
    for result in (evaluate(z, values), by_kernel(z, values)):
        np.testing.assert_array_equal(result, expected)
        assert z.type.filter(result, strict=True) is result
        assert not np.shares_memory(result, array)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_inferred_shape_is_the_shape(case):
    x, array, index, symbolic, values = case
    z = x[symbolic]
    node = z.owner
    values = {x: array, **values}
    shapes = [
        tuple(
            T.shape(v)[d] if v.type.shape[d] is None else v.type.shape[d]
            for d in range(v.type.ndim)
        )
        for v in node.inputs
    ]
    (shape,) = node.op.infer_shape(node, shapes)
    result = tuple(e if isinstance(e, int) else int(evaluate(e, values)) for e in shape)
    assert result == array[index].shape
    assert all(isinstance(e, int) or e.type.dtype == "int64" for e in shape)


@settings(max_examples=150, deadline=None)
@given(cases(), st.data())
def test_setting_and_incrementing_agree_with_numpy_and_with_the_kernels(case, data):
    x, array, index, symbolic, values = case
    region = array[index].shape
    kept = data.draw(st.integers(0, len(region)))
    shape = [1 if data.draw(st.booleans()) else n for n in region[len(region) - kept :]]
    value = (np.arange(np.prod(shape, dtype=int)) + 2).reshape(shape).astype(array.dtype)
    y = T.tensor(array.dtype.name, [1 if n == 1 else None for n in shape], name="y")
    values = {x: array, y: value, **values}
    for function in (T.set_subtensor, T.inc_subtensor):
        expected = array.copy()
        if function is T.set_subtensor:
            expected[index] = value
        else:
            np.add.at(expected, index, value)
        z = function(x[symbolic], y)
        assert z.type == x.type
        before = array.copy()
        np.testing.assert_array_equal(evaluate(z, values), expected)
        np.testing.assert_array_equal(by_kernel(z, values), expected)
        np.testing.assert_array_equal(array, before)
        mine = array.copy()
        inplace = function(x[symbolic], y, inplace=True)
        assert by_kernel(inplace, values | {x: mine}) is mine
        np.testing.assert_array_equal(mine, expected)


def test_rows_by_a_vector_of_integers_have_an_op_of_their_own():
    x, v = T.dtensor3(), T.lvector()
    for z in (x[v], x[v, :], x[v, ...], x[[0, 1]], x[np.array([1])]):
        assert isinstance(z.owner.op, AdvancedSubtensor1)
    for z in (x[:, v], x[v, None], x[T.lmatrix()], x[v, 0], x[v > 0]):
        assert isinstance(z.owner.op, AdvancedSubtensor)


def test_an_op_reads_as_what_stands_between_the_brackets():
    x, v, i = T.dtensor4(), T.lvector(), T.iscalar()
    op = x[1:, v, i, None].owner.op
    assert str(op) == "AdvancedSubtensor{1:, int64[1d], int32, newaxis}"
    z = T.set_subtensor(x[:, v], 0)
    assert str(z.owner.op) == "AdvancedIncSubtensor{Set; :, int64[1d]}"
    assert str(T.inc_subtensor(x[v], 1).owner.op) == "AdvancedIncSubtensor1{Inc}"
    assert pickle.loads(pickle.dumps(op)) == op


def test_an_index_that_occurs_twice_accumulates_or_gets_the_last_value():
    x, y, v = T.dvector(), T.dvector(), T.lvector()
    values = {x: np.zeros(3), y: np.array([1.0, 2.0, 3.0]), v: np.array([0, 0, -1])}
    for function, expected in ((T.inc_subtensor, [3, 0, 3]), (T.set_subtensor, [2, 0, 3])):
        z = function(x[v], y)
        assert evaluate(z, values).tolist() == expected
        assert by_kernel(z, values).tolist() == expected


def test_an_index_out_of_range_names_index_axis_and_size_and_changes_nothing():
    x, v = T.dmatrix(), T.lvector()
    message = re.escape("index -4 is out of bounds for axis 1 with size 3")
    array, wrong = np.zeros((2, 3)), np.array([0, 1, -4])
    with pytest.raises(IndexError, match=message):
        select_kernel(x[:, v].owner)(array, wrong)
    for function in (T.set_subtensor, T.inc_subtensor):
        kernel = select_kernel(function(x[:, v], 1.0, inplace=True).owner)
        for call in (kernel, kernel.would_run):
            with pytest.raises(IndexError, match=message):
                call(array, np.array(1.0), wrong)
        assert kernel.would_run(array, np.array(1.0), np.array([0, 2]))
    assert not array.any()


def test_an_unsigned_index_never_counts_from_the_end():
    x, v = T.dvector(), T.vector(dtype="uint64")
    with pytest.raises(IndexError, match=str(2**64 - 1)):
        select_kernel(x[v].owner)(np.zeros(3), np.array([2**64 - 1], "uint64"))


def test_constant_indices_out_of_a_known_range_are_refused_while_the_graph_is_built():
    x = T.tensor("float64", (3, None))
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 0 with size 3"):
        x[[0, 3]]
    with pytest.raises(IndexError, match="mask has 2"):
        x[np.array([True, False])]
    with pytest.raises(IndexError, match="too many"):
        x[np.zeros((3, 4, 5), bool)]
    with pytest.raises(IndexError, match="do not match"):
        x[[0, 1], [0, 1, 2]]


def test_arrays_that_do_not_broadcast_and_masks_of_another_shape_are_errors_at_run_time():
    x, v, w = T.dmatrix(), T.lvector(), T.lvector()
    with pytest.raises(IndexError, match=r"\(2,\), \(3,\)"):
        select_kernel(x[v, w].owner)(np.zeros((4, 4)), np.zeros(2, int), np.zeros(3, int))
    m = T.tensor("bool", (None,))
    with pytest.raises(IndexError, match="axis 1: its size is 4, but the mask has 3"):
        select_kernel(x[:, m].owner)(np.zeros((4, 4)), np.zeros(3, bool))


def test_a_float_array_does_not_index():
    x = T.dvector()
    for wrong in ([0.5], np.zeros(2), T.dvector()):
        with pytest.raises(TypeError, match="float64"):
            x[wrong]


def test_an_empty_list_takes_nothing():
    x = T.dmatrix()
    assert x[[]].type.shape == (0, None)
    assert evaluate(x[[]], {x: np.ones((2, 3))}).shape == (0, 3)


def test_a_value_that_shares_memory_with_the_tensor_is_read_before_it_is_written_over():
    x, v = T.dvector(), T.lvector()
    node = T.set_subtensor(x[v], x[::-1], inplace=True).owner
    array = np.arange(4.0)
    select_kernel(node)(array, array[::-1], np.arange(4))
    assert array.tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize(
    "index",
    [[0, 0, 2], (slice(None), [1, 1]), ([0, 2], [1, -1]), [[0, 1], [1, 1]], (0, slice(1, None)),
     np.eye(3, 4) > 0, (slice(1, None), np.array([True, False, True, True])),
     (0, slice(None), None, [1, 2]), ([0, 1], None, [2, 2])],
)  # fmt: skip
def test_gradients_of_indexing_agree_with_finite_differences(index):
    rng = np.random.default_rng(0)
    point = rng.random((3, 4, 3))
    verify_grad(lambda x: x[index], [point], rng=rng)
    verify_grad(lambda x, y: T.inc_subtensor(x[index], y), [point, point[index]], rng=rng)
    verify_grad(lambda x, y: T.inc_subtensor(x[index], y), [point, np.array(0.5)], rng=rng)


@pytest.mark.parametrize(
    "index", [[0, 2], (slice(None), [1, 0]), ([0, 2], [1, -1]), np.eye(3, 4) > 0]
)
def test_gradients_of_assignment_agree_with_finite_differences(index):
    rng = np.random.default_rng(0)
    point = rng.random((3, 4))
    verify_grad(lambda x, y: T.set_subtensor(x[index], y), [point, point[index]], rng=rng)
    verify_grad(lambda x, y: T.set_subtensor(x[index], y), [point, np.array(0.5)], rng=rng)


REPEATED = [
    ([0, 2, 0, -1, 2],),
    ([0, 2, 0, 0], [1, -1, 1, 0]),
    (slice(None), [1, 1, -3, 0]),
    ([1, 1, 0], slice(1, None), [2, 2, 2]),
    ([[0, 1], [-3, 1]],),
    (0, slice(None), [2, 0, 2]),
    ([1, 1], None, slice(None)),
    (None, [0, 0, 0], slice(None, None, 2)),
    (np.array([True, False, True]), [[1, 1], [1, 0]]),
    ([[0], [0]], [1, 1, 2]),
]


@pytest.mark.parametrize("symbolic", [True, False])
@pytest.mark.parametrize("index", REPEATED)
def test_the_gradient_of_an_assignment_goes_to_the_last_value_put_into_an_element(index, symbolic):
    rng = np.random.default_rng(0)
    point = rng.random((3, 4, 3))
    given = [np.asarray(e) for e in index if isinstance(e, (list, np.ndarray))]
    variables = [T.TensorType(str(a.dtype), (None,) * a.ndim)() for a in given]
    supply = iter(variables)
    key = tuple(
        next(supply) if symbolic and isinstance(e, (list, np.ndarray)) else e for e in index
    )
    x, y = T.dtensor3(), T.TensorType("float64", (None,) * point[index].ndim)()
    weights = rng.random(point.shape)
    cost = T.sum(T.set_subtensor(x[key], y**2) ** 2 * weights)
    value = 1 + rng.random(point[index].shape)
    args = {x: point, y: value, **(dict(zip(variables, given)) if symbolic else {})}
    gx, gy = (g.eval(args) for g in grad(cost, [x, y]))
    numbers = np.full(point.shape, -1)
    numbers[index] = np.arange(value.size).reshape(value.shape)
    expected = np.zeros(value.size)
    written = numbers >= 0
    expected[numbers[written]] = (4 * weights[written]) * value.ravel()[numbers[written]] ** 3
    np.testing.assert_allclose(gy.ravel(), expected)
    np.testing.assert_allclose(gx, np.where(written, 0, 2 * point * weights))
    verify_grad(lambda x, y: T.set_subtensor(x[index], y), [point, value], rng=rng)


@pytest.mark.parametrize(
    ("index", "known"),
    [
        (([0, 2],), True),
        (([0, -1],), True),
        (([0, 0],), False),
        (([0, -3],), False),
        (([0, 0], [1, 2]), True),
        (([0, 0], slice(None), [1, 1]), False),
        ((T.lvector(),), False),
        ((T.matrix(dtype="bool"),), True),
        (T.nonzero(T.dmatrix()), True),
        ((slice(1), 0), True),
    ],
)
def test_the_gradient_of_an_assignment_looks_for_repetitions_only_where_they_may_be(index, known):
    x, y = T.tensor("float64", (3, 4, 5)), T.dscalar()
    gy = grad(T.sum(T.set_subtensor(x[index], y)), y)
    ops = [v.owner.op for v in ancestors([gy]) if v.owner is not None]
    assert any(getattr(op, "name", "") == "switch" for op in ops) is not known


def test_the_gradient_goes_through_a_symbolic_mask():
    x = T.dmatrix()
    g = grad(T.sum(x[x > 1] ** 2), x)
    array = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(evaluate(g, {x: array}), 2 * array * (array > 1))


@pytest.mark.parametrize("index", [1, (slice(None), 0), [0, 0], (slice(None), [1, 0])])
def test_directional_derivatives_are_linear_in_the_direction(index):
    x, y, dx, dy = T.dmatrix(), T.dscalar(), T.dmatrix(), T.dscalar()
    array, direction = np.arange(6.0).reshape(2, 3), np.arange(6.0, 12.0).reshape(2, 3)
    values = {x: array, y: np.array(2.0), dx: direction, dy: np.array(0.5)}
    np.testing.assert_array_equal(
        evaluate(Rop(x[index] ** 2, x, dx), values), 2 * array[index] * direction[index]
    )
    moved = evaluate(Rop(T.inc_subtensor(x[index], y), [x, y], [dx, dy]), values)
    expected = direction.copy()
    np.add.at(expected, index, 0.5)
    np.testing.assert_array_equal(moved, expected)
    moved = evaluate(Rop(T.set_subtensor(x[index], y), y, dy), values)
    expected = np.zeros((2, 3))
    expected[index] = 0.5
    np.testing.assert_array_equal(moved, expected)


# ---- what is not zero


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.sampled_from(["bool", "uint8", "int64", "float32", "complex64"]),
    st.data(),
)
def test_nonzero_gives_numpys_indices_and_infers_their_number(shape, dtype, data):
    size = int(np.prod(shape))
    bits = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    array = np.asfortranarray(np.array(bits).reshape(shape).astype(dtype))
    a = T.tensor(dtype, [None] * array.ndim)
    found = T.nonzero(a)
    expected = np.nonzero(array)
    (count,) = found[0].owner.op.infer_shape(found[0].owner, [tuple(shape)])[0]
    assert int(evaluate(count, {a: array})) == len(expected[0])
    for out, indices in zip(found, expected):
        for result in (evaluate(out, {a: array}), by_kernel(out, {a: array})):
            np.testing.assert_array_equal(result, indices)
            assert result.dtype == np.int64
    matrix = evaluate(T.nonzero(a, return_matrix=True), {a: array})
    np.testing.assert_array_equal(matrix, np.stack(expected))
    np.testing.assert_array_equal(evaluate(T.flatnonzero(a), {a: array}), np.flatnonzero(array))
    np.testing.assert_array_equal(evaluate(T.nonzero_values(a), {a: array}), array[expected])


def test_a_scalar_has_no_indices():
    for function in (T.nonzero, T.flatnonzero, T.nonzero_values):
        with pytest.raises(ValueError, match="scalar"):
            function(T.dscalar())
    assert isinstance(T.nonzero(T.dvector())[0].owner.op, Nonzero)


# ---- along an axis


@pytest.mark.parametrize("mode", ["raise", "wrap", "clip"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("indices", [1, [0, 2, -1], [[5, -7], [0, 1]]])
def test_take_agrees_with_numpy(indices, axis, mode):
    x, array = T.dtensor3(), np.arange(27.0).reshape(3, 3, 3)
    if mode == "raise":
        indices = np.clip(indices, -3, 2)
    z = T.take(x, indices, axis, mode)
    expected = np.take(array, indices, axis, mode=mode)
    np.testing.assert_array_equal(evaluate(z, {x: array}), expected)
    i = T.tensor("int64", [None] * np.ndim(indices))
    z = x.take(i, axis, mode)
    np.testing.assert_array_equal(evaluate(z, {x: array, i: np.asarray(indices)}), expected)


def test_take_refuses_what_it_does_not_know():
    x = T.dmatrix()
    with pytest.raises(ValueError, match="mode"):
        T.take(x, [0], mode="nearest")
    with pytest.raises(ValueError, match="axis 2"):
        T.take(x, [0], axis=2)
    with pytest.raises(TypeError, match="integer"):
        T.take(x, [0.5])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_take_along_axis_agrees_with_numpy(axis):
    x, i = T.dmatrix(), T.lmatrix()
    array = np.random.default_rng(0).random((3, 4))
    order = array.argsort(axis)
    z = T.take_along_axis(x, i, axis)
    np.testing.assert_array_equal(evaluate(z, {x: array, i: order}), np.sort(array, axis))
    with pytest.raises(ValueError, match="dimensions"):
        T.take_along_axis(x, T.lvector(), axis)
