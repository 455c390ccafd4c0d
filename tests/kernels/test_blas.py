"""BLAS and the product kernels agree with NumPy on every layout, dtype and extent."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kroton._kernels import blas
from kroton._kernels.products import (
    BatchedDotKernel,
    DotKernel,
    GemmKernel,
    GemvKernel,
    GerKernel,
)

FLOATS = ["float32", "float64", "complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
LAYOUTS = ["C", "F", "reversed", "stepped", "broadcast", "column of more"]
EXTENTS = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 13, 40])


def in_layout(rng, shape, dtype, layout):
    """An array of random values; `layout` says how it lies in memory."""
    dtype = np.dtype(dtype)
    if layout == "broadcast" and shape:
        inner = in_layout(rng, (1, *shape[1:]), dtype, "C")
        return np.broadcast_to(inner, shape)
    padded = tuple(2 * n + 1 for n in shape) if layout == "stepped" else shape
    if layout == "column of more":
        padded = (*shape, 3)
    if dtype.kind == "b":
        x = rng.random(padded) < 0.4
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, padded, dtype=dtype, endpoint=True)
    else:
        x = rng.standard_normal(padded)
        if dtype.kind == "c":
            x = x + 1j * rng.standard_normal(padded)
    x = np.asarray(x, dtype=dtype)
    if layout == "stepped":
        return x[tuple(slice(0, 2 * n, 2) for n in shape)]
    if layout == "column of more":
        return x[..., 1]
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "reversed":
        return x[tuple(slice(None, None, -1) for _ in shape)]
    return x


def assert_close(actual, expected, magnitude, terms):
    """Each element within (terms + 4) roundings of the sum of magnitudes."""
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.kind not in "fc":
        assert np.array_equal(actual, expected)
        return
    eps = np.finfo(actual.dtype).eps
    assert np.all(np.abs(actual - expected) <= 2 * (terms + 4) * eps * magnitude)


def test_the_library_that_numpy_has_loaded_is_found():
    assert blas.library() != "none"
    assert "scipy.linalg" not in blas.library()


def test_finding_blas_imports_no_scipy():
    code = (
        "import sys; from kroton._kernels import blas; blas.library(); "
        "print(any(m.startswith('scipy') for m in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_what_scipy_exports_is_a_working_fallback():
    code = (
        "import numpy as np\n"
        "from kroton._kernels import blas, products\n"
        "def nothing(): return None\n"
        "for name in ('_numpy_links', '_numpy_carries', '_accelerate'):\n"
        "    setattr(blas, name, nothing)\n"
        "assert blas.library() == 'scipy.linalg.cython_blas (LP64)', blas.library()\n"
        "rng = np.random.default_rng(0)\n"
        "for dtype in ('float32', 'float64', 'complex64', 'complex128'):\n"
        "    for m, n in ((20, 30), (20, 1), (1, 30), (1, 1)):\n"
        "        a = rng.standard_normal((m, 1000)).astype(dtype)\n"
        "        b = rng.standard_normal((1000, n)).astype(dtype)\n"
        "        r, = products.DotKernel(a.dtype.num, 2, 2)(a, b)\n"
        "        assert np.allclose(r, a @ b, atol=1e-3), (dtype, m, n)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_any_blas_the_loops_serve():
    code = (
        "import numpy as np\n"
        "from kroton._kernels import blas, products\n"
        "def nothing(): return None\n"
        "for name in ('_numpy_links', '_numpy_carries', '_accelerate', '_scipy'):\n"
        "    setattr(blas, name, nothing)\n"
        "assert blas.library() == 'none'\n"
        "rng = np.random.default_rng(0)\n"
        "for dtype in ('float32', 'float64', 'complex64', 'complex128'):\n"
        "    a = rng.standard_normal((7, 300)).astype(dtype)\n"
        "    b = rng.standard_normal((300, 200)).astype(dtype)\n"
        "    r, = products.DotKernel(a.dtype.num, 2, 2)(a, b)\n"
        "    assert np.allclose(r, a @ b, atol=1e-3)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=150, deadline=None)
@given(
    dtype=st.sampled_from([*FLOATS, *INTEGERS, "bool"]),
    extents=st.tuples(EXTENTS, EXTENTS, EXTENTS),
    ndims=st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    seed=st.integers(0, 1000),
)
def test_dot_agrees_with_numpy_on_every_layout(dtype, extents, ndims, layouts, seed):
    rng = np.random.default_rng(seed)
    m, k, n = extents
    a = in_layout(rng, (m, k) if ndims[0] == 2 else (k,), dtype, layouts[0])
    b = in_layout(rng, (k, n) if ndims[1] == 2 else (k,), dtype, layouts[1])
    (actual,) = DotKernel(a.dtype.num, *ndims)(a, b)
    assert_close(actual, np.asarray(np.dot(a, b)), np.dot(abs(a), abs(b)), k)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(["float32", "float64", "complex128", "int16", "bool"]),
    batch=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3),
    extents=st.tuples(EXTENTS, EXTENTS, EXTENTS),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    seed=st.integers(0, 1000),
)
def test_batched_dot_agrees_with_matmul(dtype, batch, extents, layouts, seed):
    rng = np.random.default_rng(seed)
    m, k, n = extents
    stretched = [bool(rng.random() < 0.3) for _ in batch]
    first = tuple(1 if s and d % 2 == 0 else e for d, (e, s) in enumerate(zip(batch, stretched)))
    second = tuple(1 if s and d % 2 == 1 else e for d, (e, s) in enumerate(zip(batch, stretched)))
    a = in_layout(rng, (*first, m, k), dtype, layouts[0])
    b = in_layout(rng, (*second, k, n), dtype, layouts[1])
    kernel = BatchedDotKernel(
        a.dtype.num,
        tuple(x == 1 and y != 1 for x, y in zip(first, second)),
        tuple(y == 1 and x != 1 for x, y in zip(first, second)),
    )
    (actual,) = kernel(a, b)
    assert_close(actual, np.matmul(a, b), np.matmul(abs(a), abs(b)), k)


SCALARS = st.sampled_from([0.0, 1.0, -1.0, 0.5])


@settings(max_examples=150, deadline=None)
@given(
    which=st.sampled_from(["gemm", "gemv", "ger"]),
    dtype=st.sampled_from(FLOATS),
    extents=st.tuples(EXTENTS, EXTENTS, EXTENTS),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 3),
    factors=st.tuples(SCALARS, SCALARS),
    inplace=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_accumulation_agrees_with_numpy(which, dtype, extents, layouts, factors, inplace, seed):
    rng = np.random.default_rng(seed)
    m, k, n = extents
    if which == "ger":
        k, factors = 1, (factors[0], 1.0)
    if inplace and layouts[2] == "broadcast":
        layouts = (*layouts[:2], "C")
    alpha, beta = (np.array(f, dtype) for f in factors)
    a = in_layout(rng, (m,) if which == "ger" else (m, k), dtype, layouts[0])
    b = in_layout(rng, {"gemm": (k, n), "gemv": (k,), "ger": (n,)}[which], dtype, layouts[1])
    z = in_layout(rng, (m,) if which == "gemv" else (m, n), dtype, layouts[2])
    product = np.outer(a, b) if which == "ger" else np.dot(a, b)
    sizes = np.outer(abs(a), abs(b)) if which == "ger" else np.dot(abs(a), abs(b))
    expected = beta * z + alpha * product
    magnitude = abs(beta * z) + abs(alpha) * sizes
    if which == "gemm":
        kernel, inputs = GemmKernel(z.dtype.num, inplace), (z, alpha, a, b, beta)
    elif which == "gemv":
        kernel, inputs = GemvKernel(z.dtype.num, inplace), (z, alpha, a, b, beta)
    else:
        kernel, inputs = GerKernel(z.dtype.num, inplace), (z, alpha, a, b)
    before = z.copy()
    assert kernel.would_run(*inputs)
    (actual,) = kernel(*inputs)
    assert (actual is z) == inplace
    if not inplace:
        assert np.array_equal(z, before)
    assert_close(np.asarray(actual), expected.astype(dtype), magnitude, k)


@pytest.mark.parametrize("size", [3, 30])
@pytest.mark.parametrize("dtype", FLOATS)
def test_where_beta_is_zero_nothing_is_read(dtype, size):
    rng = np.random.default_rng(0)
    a, b = (in_layout(rng, (size, size), dtype, "C") for _ in range(2))
    one, zero = np.ones((), dtype), np.zeros((), dtype)
    z = np.full((size, size), np.nan, dtype)
    (actual,) = GemmKernel(z.dtype.num, True)(z, one, a, b, zero)
    assert np.allclose(actual, a @ b, rtol=1e-4)
    y = np.full(size, np.nan, dtype)
    (actual,) = GemvKernel(z.dtype.num, True)(y, one, a, b[0], zero)
    assert np.allclose(actual, a @ b[0], rtol=1e-4)


@pytest.mark.parametrize("size", [3, 30])
def test_operands_that_overlap_the_target_are_read_first(size):
    rng = np.random.default_rng(0)
    store = rng.standard_normal((size + 1, size))
    z, a, b = store[1:], store[:-1], store[1:].T
    half = np.array(0.5)
    expected = 2 * z + half * (a @ b)
    (actual,) = GemmKernel(z.dtype.num, True)(z, half, a, b, np.array(2.0))
    assert np.allclose(actual, expected)
    v = rng.standard_normal((size, size))
    expected = v + half * np.outer(v[0], v[:, 1])
    (actual,) = GerKernel(v.dtype.num, True)(v, half, v[0], v[:, 1])
    assert np.allclose(actual, expected)


def test_a_scalar_that_lies_in_the_target_is_read_first():
    z = np.ones((30, 30))
    a = np.full((30, 30), 2.0)
    (actual,) = GemmKernel(z.dtype.num, True)(z, z[0, 0, ...], a, a, z[1, 1, ...])
    assert np.all(actual == 121.0)


def test_shapes_that_do_not_fit_are_named():
    a, b = np.ones((2, 3)), np.ones((4, 5))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 5\) do not fit"):
        DotKernel(a.dtype.num, 2, 2)(a, b)
    z, one = np.zeros((2, 4)), np.ones(())
    kernel = GemmKernel(z.dtype.num, True)
    with pytest.raises(ValueError, match=r"cannot be added to shape \(2, 4\)"):
        kernel.would_run(z, one, a, b[:3], one)
    assert np.all(z == 0)
    with pytest.raises(ValueError, match=r"dimension 0 has 2 and 3 elements"):
        BatchedDotKernel(a.dtype.num, (False,), (False,))(np.ones((2, 2, 2)), np.ones((3, 2, 2)))


def test_a_read_only_target_is_refused():
    z, one = np.zeros((2, 2)), np.ones(())
    z.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        GemmKernel(z.dtype.num, True)(z, one, z, z, one)


def test_an_offered_output_is_written_over():
    a = np.ones((20, 30))
    kernel = DotKernel(a.dtype.num, 2, 2)
    (first,) = kernel(a, a.T)
    (again,) = kernel(a, a.T, outputs=[np.full((20, 20), np.nan)])
    assert np.array_equal(first, again)
