# Regions of arrays that an index names. Ships in the wheel.
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels.strided cimport Loops

cdef enum:
    FEW = 64            # offsets that need no allocation


cdef struct Region:
    char *data
    int nd
    int first           # index dimensions are first, ..., first + n_index - 1
    int n_index
    cnp.npy_intp dims[64]
    cnp.npy_intp strides[64]
    cnp.npy_intp count          # of index elements; 1 without arrays
    cnp.npy_intp *offsets       # byte offset of each index element; NULL without arrays
    cnp.npy_intp few[64]


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
    cdef readonly bint advanced, sole_mask

    cdef int locate(
        self, PyObject **cells, Py_ssize_t *inp, cnp.ndarray x, Region *region
    ) except -1


cdef int visit(
    Region *region, char *other, cnp.npy_intp *strides, Loops *loops, bint write
) except -1
cdef void release(Region *region) noexcept
