"""Tensors joined, split, repeated, tiled and rolled as NumPy does it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.graph.basic import Constant
from kroton.graph.evaluation import interpret

A = np.arange(6.0).reshape(2, 3)
B = np.arange(24.0).reshape(2, 3, 4)


def value(expression, *arguments):
    inputs, values = zip(*arguments) if arguments else ((), ())
    (result,) = interpret(inputs, [expression])(*values)
    expression.type.filter(result, strict=True)
    return result


# ---- join and stack


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_join_agrees_with_numpy(axis):
    x, y = T.dmatrices(2)
    np.testing.assert_array_equal(
        value(T.join(axis, x, y), (x, A), (y, A + 1)), np.concatenate([A, A + 1], axis)
    )
    np.testing.assert_array_equal(
        value(T.concatenate([x, y, x], axis), (x, A), (y, A)), np.concatenate([A] * 3, axis)
    )


@pytest.mark.parametrize("dtypes", [("int8", "uint8"), ("int64", "float32"), ("bool", "int8")])
def test_the_dtype_of_a_join_is_numpys(dtypes):
    z = T.join(0, *(T.tensor(d, (None,)) for d in dtypes))
    assert z.type.dtype == np.result_type(*dtypes)


def test_the_static_shape_of_a_join_is_merged():
    x, y = T.tensor("int8", (2, None, 3)), T.tensor("int8", (4, 5, None))
    assert T.join(0, x, y).type.shape == (6, 5, 3)
    assert T.join(0, T.drow(), T.dmatrix()).type.shape == (None, None)
    assert T.join(1, T.drow(), T.dmatrix()).type.broadcastable == (True, False)
    with pytest.raises(ValueError, match="needs equal extents in dimension 0"):
        T.join(1, x, y)


def test_one_tensor_is_joined_already():
    x = T.dmatrix()
    assert T.join(0, x) is x


def test_joins_that_make_no_sense_are_refused():
    x, y = T.dmatrices(2)
    with pytest.raises(TypeError, match="symbolic variable"):
        T.join(T.lscalar(), x, y)
    with pytest.raises(TypeError, match="one number of dimensions"):
        T.join(0, x, T.dvector())
    with pytest.raises(ValueError, match="out of bounds"):
        T.join(2, x, y)
    with pytest.raises(TypeError, match="stack them"):
        T.join(0, T.dscalar(), T.dscalar())
    with pytest.raises(TypeError, match=r"write concatenate\(\[a, b\]\)"):
        T.concatenate(x, y)
    with pytest.raises(ValueError, match="at least one tensor"):
        T.concatenate([])
    with pytest.raises(ValueError, match=r"input 1 of shape \(3, 4\) has 4"):
        value(T.join(0, x, y), (x, A), (y, B[0]))


def test_a_constant_axis_is_as_good_as_a_number():
    x = T.dmatrix()
    assert T.join(T.constant(1), x, x).owner.op == T.Join(1)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_stack_agrees_with_numpy(axis):
    x, y = T.dmatrices(2)
    np.testing.assert_array_equal(
        value(T.stack([x, y], axis), (x, A), (y, -A)), np.stack([A, -A], axis)
    )


def test_scalars_stack_to_a_vector():
    a = T.iscalar()
    z = T.stack([a, 2.5])
    assert z.type == T.TensorType("float64", (2,))
    np.testing.assert_array_equal(value(z, (a, np.int32(1))), [1, 2.5])
    assert isinstance(T.stack([1, 2]), Constant)
    np.testing.assert_array_equal(
        value(T.as_tensor_variable([[a, 1], [2, a]]), (a, np.int32(7))), [[7, 1], [2, 7]]
    )


def test_stacks_that_make_no_sense_are_refused():
    with pytest.raises(TypeError, match="one number of dimensions"):
        T.stack([T.dvector(), T.dscalar()])
    with pytest.raises(ValueError, match="at least one"):
        T.stack([])
    with pytest.raises(TypeError, match="list or tuple"):
        T.stack(3)
    with pytest.raises(ValueError, match="out of bounds"):
        T.stack([T.dvector()], axis=2)


def test_lists_of_lists_stack_from_outside():
    a, b, c, d = T.dscalars(4)
    z = T.stacklists([[a, b], [c, d], [a, d]])
    assert z.type.shape == (3, 2)
    arguments = [(v, np.array(k * 1.0)) for k, v in enumerate((a, b, c, d))]
    np.testing.assert_array_equal(value(z, *arguments), [[0, 1], [2, 3], [0, 3]])


def test_matrices_stack_horizontally_and_vertically():
    x = T.dmatrix()
    np.testing.assert_array_equal(value(T.horizontal_stack(x, x), (x, A)), np.hstack([A, A]))
    np.testing.assert_array_equal(value(T.vertical_stack(x, x), (x, A)), np.vstack([A, A]))
    with pytest.raises(TypeError, match="takes matrices"):
        T.horizontal_stack(x, T.dvector())


# ---- split


def test_split_undoes_join():
    x = T.dtensor3()
    parts = T.split(x, [1, 0, 2], 3, axis=1)
    assert [p.type.shape for p in parts] == [(None, 1, None), (None, 0, None), (None, 2, None)]
    np.testing.assert_array_equal(value(T.join(1, *parts), (x, B)), B)


def test_the_sizes_of_parts_may_be_symbolic():
    x, sizes, n = T.dvector(), T.lvector(), T.lscalar()
    first, second = T.split(x, sizes, 2)
    np.testing.assert_array_equal(value(second, (x, A[0]), (sizes, np.array([1, 2]))), A[0, 1:])
    first, second = T.split(x, (n, 1), 2)
    np.testing.assert_array_equal(value(first, (x, A[0]), (n, np.array(2))), A[0, :2])


def test_splits_that_make_no_sense_are_refused():
    x, sizes = T.dvector(), T.lvector()
    with pytest.raises(ValueError, match="at least one part"):
        T.split(x, sizes, 0)
    with pytest.raises(ValueError, match="needs as many sizes, got 3"):
        T.split(x, [1, 1, 1], 2)
    with pytest.raises(ValueError, match="do not make up the 5"):
        T.split(T.tensor("int8", (5,)), [1, 2], 2)
    with pytest.raises(ValueError, match="cannot be negative"):
        T.split(x, [-1, 2], 2)
    with pytest.raises(TypeError, match="integer vector"):
        T.split(x, T.dvector(), 2)
    first = T.split(x, sizes, 2)[0]
    for wrong in ([1, 1], [4, -1], [1, 1, 1]):
        with pytest.raises(ValueError, match="Split"):
            value(first, (x, A[0]), (sizes, np.array(wrong)))


# ---- repeat, tile, roll, flip


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_repeat_by_a_number_agrees_with_numpy(axis, count):
    x, n = T.dmatrix(), T.iscalar()
    expected = np.repeat(A, count, axis)
    np.testing.assert_array_equal(value(x.repeat(count, axis), (x, A)), expected)
    np.testing.assert_array_equal(
        value(T.repeat(x, n, axis), (x, A), (n, np.int32(count))), expected
    )


def test_repeat_by_a_vector_agrees_with_numpy():
    x, v = T.dmatrix(), T.ivector()
    counts = np.array([2, 0, 1], "int32")
    np.testing.assert_array_equal(
        value(T.repeat(x, v, 1), (x, A), (v, counts)), np.repeat(A, counts, 1)
    )
    assert T.repeat(x, [2, 0, 1], 1).type.shape == (None, 3)
    np.testing.assert_array_equal(value(T.repeat(x, [2], 0), (x, A)), np.repeat(A, 2, 0))


@pytest.mark.parametrize("linker", ["py", "c"])
def test_repeats_whose_sum_overflows_are_refused_instead_of_written_beyond_memory(linker):
    mode = kroton.Mode(linker=linker)
    x, n, v = T.dvector("x"), T.lscalar("n"), T.lvector("v")
    by_number = kroton.function([x, n], T.repeat(x, n), mode=mode)
    by_vector = kroton.function([x, v], T.repeat(x, v), mode=mode)
    with pytest.raises(MemoryError, match="more than memory can hold"):
        by_number(np.ones(3), (2**64 + 2) // 3)
    for counts in ([2**62] * 4, [2**62, 2**62, 2**62, 2**62 + 2]):
        with pytest.raises(MemoryError, match="more than memory can hold"):
            by_vector(np.ones(4), counts)


def test_a_join_whose_extent_overflows_is_refused():
    x = T.bvector("x")
    huge = np.lib.stride_tricks.as_strided(np.ones(1, "int8"), (2**62,), (0,))
    join = kroton.function([x], T.concatenate([x, x, x, x]), mode=kroton.Mode(linker="c"))
    with pytest.raises(MemoryError, match="more than memory can hold"):
        join(huge)


def test_repeats_that_make_no_sense_are_refused():
    x, v = T.dmatrix(), T.lvector()
    with pytest.raises(TypeError, match="integer scalar or vector"):
        T.repeat(x, 1.5)
    with pytest.raises(ValueError, match="cannot be negative"):
        T.repeat(x, -1)
    with pytest.raises(ValueError, match="needs as many repeats, got 2"):
        T.repeat(T.tensor("int8", (3,)), [1, 2], 0)
    with pytest.raises(ValueError, match="needs 3 repeats, got 2"):
        value(T.repeat(x, v, 1), (x, A), (v, np.array([1, 1])))


@given(st.lists(st.integers(0, 3), max_size=4))
def test_tile_agrees_with_numpy(reps):
    x = T.dmatrix()
    np.testing.assert_array_equal(value(T.tile(x, tuple(reps)), (x, A)), np.tile(A, reps))


def test_tile_takes_numbers_and_more_dimensions():
    x, n = T.dmatrix(), T.lscalar()
    np.testing.assert_array_equal(value(T.tile(x, n), (x, A), (n, np.array(2))), np.tile(A, 2))
    assert value(T.tile(x, (2,), ndim=4), (x, A)).shape == (1, 1, 2, 6)
    assert T.tile(x, (1, 1)) is x
    with pytest.raises(ValueError, match="up to 2 dimensions"):
        T.tile(x, (2,), ndim=1)


@given(st.integers(-7, 7), st.sampled_from([None, 0, 1, -1]))
def test_roll_agrees_with_numpy(shift, axis):
    x, n, static = T.dmatrix(), T.lscalar(), T.tensor("float64", (2, 3))
    expected = np.roll(A, shift, axis)
    np.testing.assert_array_equal(value(T.roll(x, shift, axis), (x, A)), expected)
    np.testing.assert_array_equal(value(T.roll(static, shift, axis), (static, A)), expected)
    np.testing.assert_array_equal(value(T.roll(x, n, axis), (x, A), (n, np.array(shift))), expected)


def test_roll_of_nothing_and_along_several_axes():
    x = T.dmatrix()
    assert value(T.roll(x, 2, 0), (x, np.ones((0, 3)))).shape == (0, 3)
    np.testing.assert_array_equal(
        value(T.roll(x, (1, 2), (0, 1)), (x, A)), np.roll(A, (1, 2), (0, 1))
    )
    with pytest.raises(ValueError, match="as many shifts"):
        T.roll(x, (1, 2), (0,))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
def test_flip_agrees_with_numpy(axis):
    x = T.dmatrix()
    np.testing.assert_array_equal(value(T.flip(x, axis), (x, A)), np.flip(A, axis))


def test_stack_takes_its_tensors_as_a_sequence_or_as_arguments():
    x, y = T.dvectors("x y")
    args = {x: [1.0, 2.0], y: [3.0, 4.0]}
    expected = [[1, 2], [3, 4]]
    for stacked in (T.stack([x, y]), T.stack(x, y), T.stack([x, y], 0), T.stack((x, y), axis=0)):
        np.testing.assert_array_equal(stacked.eval(args), expected)
    for stacked in (T.stack([x, y], 1), T.stack(x, y, axis=1), T.stack([x, y], T.constant(1))):
        np.testing.assert_array_equal(stacked.eval(args), np.transpose(expected))
    z = T.dscalar("z")
    np.testing.assert_array_equal(T.stack(z, z, z).eval({z: 2.0}), [2, 2, 2])
    with pytest.raises(TypeError, match="stack takes a list or tuple of tensors"):
        T.stack(3)


def test_a_variable_of_unknown_extent_is_not_iterated_over_and_the_error_says_what_to_do():
    with pytest.raises(TypeError, match="state the extent with"):
        list(T.dvector("x"))
    with pytest.raises(TypeError, match="state the extent with"):
        T.stack(T.dvector("x"))
