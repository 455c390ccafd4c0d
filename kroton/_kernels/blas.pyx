# cython: language_level=3
"""BLAS: the library that NumPy has loaded, one thin wrapper for each routine.

Routines serve float32, float64, complex64 and complex128 (`typenum` is NumPy's type number) on
column-major matrices. Nothing is looked up when this module is imported: `load` does that when
the first kernel asks, in these places and order:

1. NumPy's extension module and the libraries it depends on (OpenBLAS, MKL, BLIS, Accelerate,
   a distribution's own), where the dynamic linker resolves names through dependencies;
2. the OpenBLAS that NumPy's wheel carries beside it (Windows);
3. Accelerate (macOS);
4. `scipy.linalg.cython_blas`, importing SciPy.

Without any of them `serves` answers False and the kernels use their own loops.
"""
cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uintptr_t

cnp.import_array()

ctypedef void (*gemm_t)(
    void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
    void *, void *,
) noexcept nogil
ctypedef void (*gemv_t)(
    void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
) noexcept nogil
ctypedef void (*ger_t)(
    void *, void *, void *, void *, void *, void *, void *, void *, void *,
) noexcept nogil
ctypedef float (*sdot_t)(void *, void *, void *, void *, void *) noexcept nogil
ctypedef double (*ddot_t)(void *, void *, void *, void *, void *) noexcept nogil

cdef union Extent:
    int64_t wide
    int32_t narrow

# One column for each of s, d, c, z.
cdef gemm_t gemms[4]
cdef gemv_t gemvs[4]
cdef ger_t gers[4]
cdef sdot_t sdot = NULL
cdef ddot_t ddot = NULL
cdef bint wide = False          # integers have 64 bits (ILP64)
cdef bint loaded = False
cdef bint found = False
cdef object origin = None

cdef extern from "Python.h":
    void *PyCapsule_GetPointer(object capsule, const char *name) except NULL
    const char *PyCapsule_GetName(object capsule) except? NULL


cdef inline Extent extent(Py_ssize_t value) noexcept nogil:
    cdef Extent e
    e.wide = value
    if not wide:
        e.narrow = <int32_t> value
    return e


cdef inline int column(int typenum) noexcept nogil:
    if typenum == cnp.NPY_FLOAT64:
        return 1
    if typenum == cnp.NPY_FLOAT32:
        return 0
    if typenum == cnp.NPY_COMPLEX64:
        return 2
    if typenum == cnp.NPY_COMPLEX128:
        return 3
    return -1


cdef bint serves(int typenum) noexcept nogil:
    """Whether there is a BLAS and it computes in this dtype."""
    return found and column(typenum) >= 0


cdef bint fits(Py_ssize_t extent) noexcept nogil:
    """Whether BLAS can be told of this extent, stride or increment."""
    return wide or extent <= 0x7fffffff


cdef bint has_dot(int typenum) noexcept nogil:
    """Whether `dot` serves this dtype."""
    if typenum == cnp.NPY_FLOAT64:
        return ddot != NULL
    return typenum == cnp.NPY_FLOAT32 and sdot != NULL


cdef void gemm(
    int typenum, char op_a, char op_b, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    void *alpha, void *a, Py_ssize_t lda, void *b, Py_ssize_t ldb,
    void *beta, void *c, Py_ssize_t ldc,
) noexcept nogil:
    """c = beta * c + alpha * op(a) @ op(b), where op is 'N': itself or 'T': the transpose.

    op(a) is m x k, op(b) is k x n, c is m x n.
    """
    cdef Extent em = extent(m), en = extent(n), ek = extent(k)
    cdef Extent ea = extent(lda), eb = extent(ldb), ec = extent(ldc)
    gemms[column(typenum)](
        &op_a, &op_b, &em, &en, &ek, alpha, a, &ea, b, &eb, beta, c, &ec
    )


cdef void gemv(
    int typenum, char op_a, Py_ssize_t m, Py_ssize_t n, void *alpha, void *a, Py_ssize_t lda,
    void *x, Py_ssize_t incx, void *beta, void *y, Py_ssize_t incy,
) noexcept nogil:
    """y = beta * y + alpha * op(a) @ x, where a (not op(a)) is m x n."""
    cdef Extent em = extent(m), en = extent(n), ea = extent(lda)
    cdef Extent ex = extent(incx), ey = extent(incy)
    gemvs[column(typenum)](&op_a, &em, &en, alpha, a, &ea, x, &ex, beta, y, &ey)


cdef void ger(
    int typenum, Py_ssize_t m, Py_ssize_t n, void *alpha, void *x, Py_ssize_t incx,
    void *y, Py_ssize_t incy, void *a, Py_ssize_t lda,
) noexcept nogil:
    """a = a + alpha * outer(x, y), without conjugation; a is m x n."""
    cdef Extent em = extent(m), en = extent(n), ea = extent(lda)
    cdef Extent ex = extent(incx), ey = extent(incy)
    gers[column(typenum)](&em, &en, alpha, x, &ex, y, &ey, a, &ea)


cdef void dot(
    int typenum, Py_ssize_t n, void *x, Py_ssize_t incx, void *y, Py_ssize_t incy, void *result,
) noexcept nogil:
    """result = sum(x * y), float32 and float64."""
    cdef Extent en = extent(n), ex = extent(incx), ey = extent(incy)
    if typenum == cnp.NPY_FLOAT64:
        (<double *> result)[0] = ddot(&en, x, &ex, y, &ey)
    else:
        (<float *> result)[0] = sdot(&en, x, &ex, y, &ey)


# ---- finding the library ------------------------------------------------------------------

# How Fortran's names are spelled: prefix, suffix, whether integers have 64 bits (None: ask).
SPELLINGS = (
    ("scipy_", "_64_", True),
    ("", "_64_", True),
    ("", "$NEWLAPACK$ILP64", True),
    ("scipy_", "_", False),
    ("", "$NEWLAPACK", False),
    ("", "_", None),
)
ROUTINES = (
    "sgemm", "dgemm", "cgemm", "zgemm", "sgemv", "dgemv", "cgemv", "zgemv",
    "sger", "dger", "cgeru", "zgeru", "sdot", "ddot",
)  # fmt: skip


cdef int load() except -1:
    """Find BLAS, once. The GIL is held; does nothing when it was done before."""
    if not loaded:
        find()
    return 0


def find():
    """Look for BLAS now; return `library()`."""
    global loaded, found, origin
    for search in (_numpy_links, _numpy_carries, _accelerate, _scipy):
        result = search()
        if result is not None:
            origin, addresses, has_wide = result
            install(addresses, has_wide)
            found = True
            break
    loaded = True
    return library()


def library():
    """Which BLAS the kernels call.

    Returns
    -------
    str
        The file of the library and the width of its integers, `'scipy.linalg.cython_blas'`, or
        `'none'` where the kernels use their own loops.
    """
    load()
    if not found:
        return "none"
    return f"{origin} ({'ILP64' if wide else 'LP64'})"


cdef int install(dict addresses, bint has_wide) except -1:
    """Take the routines' addresses, in the order of ROUTINES."""
    global wide, sdot, ddot
    cdef uintptr_t p[14]
    cdef int k
    cdef float sx[2]
    cdef double dx[2]
    cdef Extent two, one
    for k in range(14):
        p[k] = addresses[ROUTINES[k]]
    for k in range(4):
        gemms[k] = <gemm_t> p[k]
        gemvs[k] = <gemv_t> p[4 + k]
        gers[k] = <ger_t> p[8 + k]
    wide = has_wide
    two, one = extent(2), extent(1)
    # Some libraries return sdot as a double, as f2c does: ask it for a known value.
    sx[0], sx[1] = 3.0, 4.0
    dx[0], dx[1] = 3.0, 4.0
    sdot = <sdot_t> p[12]
    if sdot(&two, &sx[0], &one, &sx[0], &one) != 25.0:
        sdot = NULL
    ddot = <ddot_t> p[13]
    if ddot(&two, &dx[0], &one, &dx[0], &one) != 25.0:
        ddot = NULL
    return 0


def _addresses(handle):
    """The routines' addresses in a loaded library and the width of its integers, or None."""
    import ctypes

    for prefix, suffix, has_wide in SPELLINGS:
        try:
            symbols = {r: getattr(handle, prefix + r + suffix) for r in ROUTINES}
        except AttributeError:
            continue
        if has_wide is None:
            has_wide = False
            try:
                describe = handle.openblas_get_config
            except AttributeError:
                pass
            else:
                describe.restype = ctypes.c_char_p
                has_wide = b"USE64BITINT" in (describe() or b"")
        return {r: ctypes.cast(s, ctypes.c_void_p).value for r, s in symbols.items()}, has_wide
    return None


def _open(path):
    """The library at `path` with its routines, or None."""
    import ctypes

    try:
        handle = ctypes.CDLL(path)
    except OSError:
        return None
    known = _addresses(handle)
    if known is None:
        return None
    addresses, has_wide = known
    return _file_of(addresses["dgemm"]) or path, addresses, has_wide


def _file_of(address):
    """The file that is mapped at `address`, where the system tells (Linux)."""
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                fields = line.split(None, 5)
                if len(fields) == 6:
                    low, high = fields[0].split("-")
                    if int(low, 16) <= address < int(high, 16):
                        return fields[5].strip()
    except (OSError, ValueError):
        pass
    return None


def _numpy_links():
    """What NumPy's extension module is linked to."""
    from numpy._core import _multiarray_umath

    return _open(_multiarray_umath.__file__)


def _numpy_carries():
    """What lies beside NumPy in its wheel."""
    import os
    from glob import glob

    import numpy

    root = os.path.dirname(numpy.__file__)
    for folder in (root + ".libs", os.path.join(root, ".dylibs"), os.path.join(root, ".libs")):
        for path in sorted(glob(os.path.join(folder, "*blas*"))):
            result = _open(path)
            if result is not None:
                return result
    return None


def _accelerate():
    """Apple's BLAS."""
    import sys

    if sys.platform != "darwin":
        return None
    return _open("/System/Library/Frameworks/Accelerate.framework/Accelerate")


def _scipy():
    """The BLAS that SciPy exports to Cython; its integers have 32 bits."""
    cdef const char *name
    try:
        from scipy.linalg.cython_blas import __pyx_capi__ as exported
    except ImportError:
        return None
    addresses = {}
    for routine in ROUTINES:
        capsule = exported[routine]
        name = PyCapsule_GetName(capsule)
        addresses[routine] = <uintptr_t> PyCapsule_GetPointer(capsule, name)
    return "scipy.linalg.cython_blas", addresses, False
