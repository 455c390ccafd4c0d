"""The kernels of indexing, on arrays alone."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroton._kernels.indexing import (
    AdvancedSubtensorKernel,
    IncSubtensorKernel,
    NonzeroKernel,
    SubtensorKernel,
)

DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
]  # fmt: skip


def filled(shape, dtype):
    values = (np.arange(np.prod(shape, dtype=int)) * 37 % 251).reshape(shape)
    return (values * (1 + 2j) if dtype.startswith("complex") else values).astype(dtype)


def number(dtype):
    return np.dtype(dtype).num


LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "spread": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "swapped": lambda a: a.swapaxes(0, -1).copy().swapaxes(0, -1),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_layout_is_gathered_put_and_added(dtype, layout):
    array = LAYOUTS[layout](filled((5, 4, 3), dtype))
    rows = np.array([0, -1, 2, 2])
    for index, described in (
        ((rows,), ("array",)),
        ((slice(None), rows), ((None, None, None), "array")),
        ((Ellipsis, rows[:2]), ((None, None, None), (None, None, None), "array")),
        ((rows, slice(None, None, -2), 1), ("array", (None, None, -2), 1)),
    ):
        given_rows = index[0] if described[0] == "array" else index[-1]
        expected = array[index]
        (result,) = AdvancedSubtensorKernel(number(dtype), described)(array, given_rows)
        np.testing.assert_array_equal(result, expected)
        value = LAYOUTS[layout](filled(expected.shape, dtype))
        for put in (True, False):
            changed = array.copy()
            if put:
                changed[index] = value
            else:
                np.add.at(changed, index, value)
            kernel = IncSubtensorKernel(number(dtype), described, (False,) * value.ndim, put, False)
            np.testing.assert_array_equal(kernel(array, value, given_rows)[0], changed)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_value_with_any_strides_meets_index_arrays_of_two_dimensions(data):
    array = filled((6, 2), "float64")
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    size = shape[0] * shape[1]
    rows = np.array(data.draw(st.lists(st.integers(-6, 5), min_size=size, max_size=size)))
    rows = rows.astype("int64").reshape(shape)
    value = filled((*shape, 2), "float64")
    order = data.draw(st.permutations(range(3)))
    value = np.ascontiguousarray(value.transpose(order)).transpose(np.argsort(order))
    stretch = tuple(data.draw(st.booleans()) for _ in range(3))
    value = value[tuple(slice(0, 1) if s else slice(None) for s in stretch)]
    if value.size == 0 and size:
        return
    if any(s and n == 0 for s, n in zip(stretch, shape)):
        return
    for put in (True, False):
        changed = array.copy()
        if put:
            changed[rows] = value
        else:
            np.add.at(changed, rows, value)
        kernel = IncSubtensorKernel(number("float64"), ("array",), stretch, put, False)
        np.testing.assert_array_equal(kernel(array, value, rows)[0], changed)


def test_large_work_gives_the_same_result_as_small_work():
    rng = np.random.default_rng(0)
    array = rng.random((300, 200))
    rows = rng.integers(-300, 300, 1000)
    mask = array > 0.5
    f8 = number("float64")
    (gathered,) = AdvancedSubtensorKernel(f8, ("array",))(array, rows)
    np.testing.assert_array_equal(gathered, array[rows])
    (chosen,) = AdvancedSubtensorKernel(f8, (("mask", 2),))(array, mask)
    np.testing.assert_array_equal(chosen, array[mask])
    (chosen,) = AdvancedSubtensorKernel(f8, (("mask", 2),))(array.T, mask.T)
    np.testing.assert_array_equal(chosen, array.T[mask.T])
    value = rng.random((1000, 200))
    expected = array.copy()
    np.add.at(expected, rows, value)
    kernel = IncSubtensorKernel(f8, ("array",), (False, False), False, False)
    np.testing.assert_array_equal(kernel(array, value, rows)[0], expected)
    kernel = IncSubtensorKernel(f8, ((None, None, -1), 3), (), False, False)
    expected = array.copy()
    expected[::-1, 3] += 1
    np.testing.assert_array_equal(kernel(array, np.array(1.0))[0], expected)


def test_masks_mix_with_arrays_numbers_slices_and_new_dimensions():
    array = filled((3, 4, 2, 5), "int32")
    mask = np.zeros((3, 4), bool)
    mask[[0, 1, 2], [3, 0, 0]] = True
    rows = np.array([4, 0, -1], "int16")
    i4 = number("int32")
    kernel = AdvancedSubtensorKernel(i4, (("mask", 2), (None, None, None), "array"))
    np.testing.assert_array_equal(kernel(array, mask, rows)[0], array[mask, :, rows])
    kernel = AdvancedSubtensorKernel(i4, (None, ("mask", 2), "scalar"))
    np.testing.assert_array_equal(kernel(array, mask, np.array(-1))[0], array[None, mask, -1])
    kernel = AdvancedSubtensorKernel(i4, ((None, None, None), ("mask", 1), None))
    np.testing.assert_array_equal(kernel(array, mask[0])[0], array[:, mask[0], None])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0,)])
def test_masks_and_arrays_without_elements_choose_nothing(shape):
    array = np.zeros(shape)
    f8 = number("float64")
    mask = np.ones(shape, bool)
    (result,) = AdvancedSubtensorKernel(f8, (("mask", len(shape)),))(array, mask)
    assert result.shape == (0,)
    (result,) = AdvancedSubtensorKernel(f8, ("array",))(array, np.zeros((2, 0), int))
    assert result.shape == (2, 0, *shape[1:])


def test_an_index_into_an_axis_without_elements_is_out_of_bounds():
    kernel = AdvancedSubtensorKernel(number("float64"), ("array",))
    with pytest.raises(IndexError, match="axis 0 with size 0"):
        kernel(np.zeros((0, 3)), np.array([0]))


def test_an_output_buffer_that_fits_is_used_again():
    array, rows = filled((5, 3), "float64"), np.array([1, 2])
    kernel = AdvancedSubtensorKernel(number("float64"), ("array",))
    kernel.bind([0, 1], [2])
    (first,) = kernel(array, rows)
    offered = np.full((2, 3), -1.0)
    (second,) = kernel(array, rows, outputs=[offered])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(second, array[rows])


def test_a_view_of_a_read_only_array_is_read_only():
    array = np.arange(4.0)
    array.flags.writeable = False
    (view,) = SubtensorKernel(((1, None, None),))(array)
    assert not view.flags.writeable
    assert view.base is array


def test_extreme_parts_of_slices_are_limited_as_python_limits_them():
    array, big = np.arange(5), 2**62
    for parts in ((-big, big, None), (big, -big, -1), (None, None, big), (None, None, -big)):
        (view,) = SubtensorKernel((parts,))(array)
        np.testing.assert_array_equal(view, array[slice(*parts)])
    kernel = SubtensorKernel(((None, "scalar", None),))
    (view,) = kernel(array, np.array(2**64 - 1, "uint64"))
    np.testing.assert_array_equal(view, array)


def test_more_dimensions_than_numpy_has_are_refused():
    array = np.zeros((1,) * 40)
    kernel = AdvancedSubtensorKernel(number("float64"), ("array",))
    with pytest.raises(ValueError, match="64"):
        kernel(array, np.zeros((1,) * 30, int))
    with pytest.raises(IndexError, match="too many"):
        SubtensorKernel((0, 0))(np.zeros(2))


def test_a_kernel_refuses_what_it_is_not_for():
    with pytest.raises(ValueError, match="view"):
        SubtensorKernel(("array",))
    with pytest.raises(ValueError, match="view"):
        AdvancedSubtensorKernel(number("float64"), (1,))
    with pytest.raises(ValueError, match="no loop"):
        IncSubtensorKernel(number("float16"), (1,), (), False, False)
    with pytest.raises(TypeError, match="integers"):
        AdvancedSubtensorKernel(number("float64"), ("array",))(np.zeros(3), np.zeros(2))


def test_integers_wrap_around_and_booleans_become_true():
    array = np.array([250, 0], "uint8")
    kernel = IncSubtensorKernel(number("uint8"), ("array",), (False,), False, True)
    kernel(array, np.array([3, 5], "uint8"), np.array([0, 0]))
    assert array.tolist() == [2, 0]
    array = np.array([True, False, False])
    kernel = IncSubtensorKernel(number("bool"), ("array",), (False,), False, True)
    kernel(array, np.array([True, False]), np.array([1, 0]))
    assert array.tolist() == [True, True, False]


def test_nonzero_of_a_matrix_gives_two_vectors():
    array = np.array([[0, 2], [3, 0]])
    rows, columns = NonzeroKernel(2)(array)
    assert rows.tolist() == [0, 1]
    assert columns.tolist() == [1, 0]


def test_several_threads_may_run_one_kernel():
    rng = np.random.default_rng(0)
    array, kernel = rng.random((200, 300)), AdvancedSubtensorKernel(number("float64"), ("array",))
    wrong = []

    def work(seed):
        rows = np.random.default_rng(seed).integers(0, 200, 500)
        for _ in range(20):
            if not np.array_equal(kernel(array, rows)[0], array[rows]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
