"""The reduction kernels against NumPy: all layouts, dtypes and axes; long lines; errors."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import lay_out, layouts, values

from kroton import scalar
from kroton._kernels.cumulative import CumKernel
from kroton._kernels.positions import ArgmaxKernel
from kroton._kernels.reductions import ReduceKernel, neutral_element
from kroton.scalar import DTYPES

EXTENTS = st.sampled_from([0, 1, 2, 3, 5, 33, 150])
SHAPES = st.lists(EXTENTS, max_size=3).map(tuple).filter(lambda s: math.prod(s) <= 30_000)
FLOATING = [d for d in DTYPES if d.kind in "fc"]


def kernel(name, in_dtype, ndim, axes, acc_dtype=None, out_dtype=None):
    op = scalar.ops[name]
    acc_dtype = in_dtype if acc_dtype is None else acc_dtype
    out_dtype = acc_dtype if out_dtype is None else out_dtype
    numbers = [np.dtype(d).num for d in (in_dtype, acc_dtype, out_dtype)]
    return ReduceKernel(name, op.ufunc, *numbers, ndim, axes)


@st.composite
def reductions(draw, dtypes, *, special=True):
    """(array in some layout, axes)."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = int(np.prod(shape))
    array = values(rng, dtype, size, special=special).reshape(shape)
    axes = tuple(d for d in range(len(shape)) if draw(st.booleans()))
    return lay_out(array, *draw(layouts(len(shape)))), axes


@settings(deadline=None)
@given(reductions(DTYPES), st.sampled_from(["maximum", "minimum"]))
def test_extremes_are_numpys_in_every_layout(case, name):
    x, axes = case
    ufunc = scalar.ops[name].ufunc
    run = kernel(name, x.dtype, x.ndim, axes)
    if any(x.shape[d] == 0 for d in axes):
        with pytest.raises(ValueError, match=f"{name} of no elements: input of shape"):
            run(x)
        return
    with np.errstate(all="ignore"):
        expected = ufunc.reduce(x, axis=axes)
    if x.dtype.kind == "c" and np.isnan(x).any():
        np.testing.assert_array_equal(np.isnan(run(x)[0]), np.isnan(expected))
    else:
        np.testing.assert_array_equal(run(x)[0], expected)


@settings(deadline=None)
@given(reductions([d for d in DTYPES if d.kind in "biu"]), st.sampled_from(["add", "mul"]))
def test_integer_sums_and_products_are_exact(case, name):
    x, axes = case
    acc = np.add.reduce(np.zeros(1, x.dtype)).dtype
    expected = scalar.ops[name].ufunc.reduce(x, axis=axes, dtype=acc)
    np.testing.assert_array_equal(kernel(name, x.dtype, x.ndim, axes, acc)(x)[0], expected)


@settings(deadline=None)
@given(reductions(DTYPES), st.sampled_from(["and_", "or_"]))
def test_truth_is_numpys_for_every_dtype(case, name):
    x, axes = case
    expected = (np.all if name == "and_" else np.any)(x, axis=axes)
    np.testing.assert_array_equal(kernel(name, x.dtype, x.ndim, axes, "bool")(x)[0], expected)


@settings(deadline=None)
@given(reductions(FLOATING, special=False))
def test_a_sum_is_within_the_bound_of_recursive_summation(case):
    # |computed - exact| <= n eps sum |x|: N. J. Higham, "Accuracy and Stability of Numerical
    # Algorithms", section 4.2. The exact sum is taken in a wider dtype.
    x, axes = case
    exact = np.add.reduce(x.astype("clongdouble"), axis=axes)
    size = np.add.reduce(np.abs(x).astype("longdouble"), axis=axes)
    n = int(np.prod([x.shape[d] for d in axes]))
    bound = (n + 1) * np.finfo(x.dtype).eps * size
    assert np.all(np.abs(kernel("add", x.dtype, x.ndim, axes)(x)[0] - exact) <= bound)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 7, 8, 9, 127, 128, 129, 1000, 4097, 100_003])
def test_a_contiguous_sum_is_numpys_bit_for_bit(n, dtype):
    x = values(np.random.default_rng(n), dtype, n, special=False)
    assert kernel("add", dtype, 1, (0,))(x)[0].tobytes() == np.asarray(x.sum()).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_of_long_rows_is_numpys_bit_for_bit(dtype):
    x = values(np.random.default_rng(0), dtype, 5 * 1000, special=False).reshape(5, 1000)
    assert kernel("add", dtype, 2, (1,))(x)[0].tobytes() == x.sum(axis=1).tobytes()


def test_a_converted_sum_is_accurate_over_many_tiles():
    x = np.full(3_000_001, 0.1, "float32")
    (total,) = kernel("add", "float32", 1, (0,), "float64")(x)
    exact = 3_000_001 * float(np.float32(0.1))
    assert abs(total - exact) <= 1e-12 * exact


def test_the_sum_of_negative_zeros_keeps_their_sign_and_that_of_nothing_has_none():
    run = kernel("add", "float64", 1, (0,))
    assert np.signbit(run(np.array([-0.0, -0.0]))[0])
    assert not np.signbit(run(np.zeros(0))[0])
    assert not np.signbit(run(np.array([-0.0, 0.0]))[0])


@pytest.mark.parametrize("name", ["add", "mul", "maximum", "minimum"])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind != "b"], ids=str)
def test_the_neutral_element_changes_nothing(dtype, name):
    ufunc = scalar.ops[name].ufunc
    x = values(np.random.default_rng(0), dtype, 50)
    with np.errstate(all="ignore"):
        result = ufunc(neutral_element(ufunc, dtype), x)
    if dtype.kind == "c" and name == "mul":
        finite = np.isfinite(x)
        result, x = result[finite], x[finite]
    np.testing.assert_array_equal(result, x)


@settings(deadline=None)
@given(reductions(DTYPES), st.booleans())
def test_positions_are_numpys_in_every_layout(case, smallest):
    x, axes = case
    run = ArgmaxKernel(x.dtype.num, x.ndim, axes, smallest)
    kept = [d for d in range(x.ndim) if d not in axes]
    n = int(np.prod([x.shape[d] for d in axes]))
    if n == 0:
        with pytest.raises(ValueError, match="of no elements"):
            run(x)
        return
    flat = x.transpose(*kept, *axes).reshape(*[x.shape[d] for d in kept], n)
    expected = (np.argmin if smallest else np.argmax)(flat, axis=-1)
    np.testing.assert_array_equal(run(x)[0], expected)


@settings(deadline=None)
@given(st.data())
def test_running_sums_and_products_are_numpys_in_every_layout(data):
    x, _ = data.draw(reductions(DTYPES))
    if x.ndim == 0:
        x = np.broadcast_to(x, (3,))
    axis = data.draw(st.integers(0, x.ndim - 1))
    product = data.draw(st.booleans())
    out = np.add.reduce(np.zeros(1, x.dtype)).dtype
    run = CumKernel(product, x.dtype.num, out.num, x.ndim, axis)
    with np.errstate(all="ignore"):
        expected = (np.cumprod if product else np.cumsum)(x, axis=axis, dtype=out)
    if product and out.kind == "c":
        # NumPy rounds complex products differently in its strided and contiguous loops.
        np.testing.assert_allclose(run(x)[0], expected, rtol=len(x.shape) * 8 * np.finfo(out).eps)
        return
    np.testing.assert_array_equal(run(x)[0], expected)


@pytest.mark.parametrize("dtype", ["uint32", "float32"])
def test_running_sums_beside_a_last_dimension_of_one_element_convert_a_tile_at_a_time(dtype):
    x = np.ones((2000, 150, 1), dtype)
    run = CumKernel(False, x.dtype.num, np.dtype("float64").num, 3, 0)
    np.testing.assert_array_equal(run(x)[0], np.cumsum(x, axis=0, dtype="float64"))


@pytest.mark.parametrize("shape", [(300, 400), (400, 3, 200)])
@pytest.mark.parametrize("axis", [0, 1])
def test_large_reductions_run_in_several_threads_at_once(shape, axis):
    x = np.random.default_rng(0).integers(-9, 9, shape).astype("float64")
    run = kernel("add", "float64", len(shape), (axis,))
    results = [None] * 4

    def work(k):
        results[k] = run(x)[0]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for result in results:
        np.testing.assert_array_equal(result, x.sum(axis=axis))


def test_an_operation_without_a_loop_is_refused():
    with pytest.raises(LookupError, match="no loop"):
        kernel("and_", "float64", 1, (0,))


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="axis 2 of 2 dimensions"):
        kernel("add", "float64", 2, (2,))
