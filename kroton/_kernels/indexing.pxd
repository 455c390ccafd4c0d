# Regions of arrays that an index names. Ships in the wheel.
cimport numpy as cnp
from cpython.object cimport PyObject

cdef enum:
    DIMS = 64           # NumPy's limit

# `n` elements: destination and its stride in bytes, source and its stride
ctypedef void (*row_loop)(
    char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil


cdef struct Walk:
    int nd              # -1 if there is no element
    cnp.npy_intp dims[64]
    cnp.npy_intp sa[64]
    cnp.npy_intp sb[64]


cdef struct Region:
    char *data
    int nd
    int first           # index dimensions are first, ..., first + n_index - 1
    int n_index
    cnp.npy_intp dims[64]
    cnp.npy_intp strides[64]
    cnp.npy_intp count          # of index elements; 1 without arrays
    cnp.npy_intp *offsets       # byte offset of each index element; NULL without arrays


cdef struct Part:
    int kind            # ABSENT, FIXED or GIVEN
    cnp.npy_intp value


cdef struct Entry:
    int kind            # POINT, SLICE, NEWAXIS, ARRAY or MASK
    int consumed        # dimensions of the array that it uses up
    Part start
    Part stop
    Part step


cdef class Index:
    cdef Entry *entries
    cdef readonly int n_entries, n_given, first, consumed
    cdef readonly bint advanced

    cdef int locate(
        self, PyObject **cells, Py_ssize_t *inp, cnp.ndarray x, Region *region
    ) except -1
    cdef int gather(
        self, Region *region, list arrays, cnp.npy_intp *extents, cnp.npy_intp *strides, int *axes
    ) except -1


cdef row_loop copy_loop(int itemsize) noexcept
cdef row_loop add_loop(int typenum) noexcept
cdef void prepare(Walk *w) noexcept nogil
cdef void walk(Walk *w, char *a, char *b, row_loop loop) noexcept nogil
cdef int visit(
    Region *region, char *other, cnp.npy_intp *strides, row_loop loop, bint write
) except -1
