# Shapes and strides: what array kernels need to know of how arrays lie in memory.
#
# Accessors on the PyObject pointers that cells hold, dimensions ordered and merged for a loop
# nest, and memory that two arrays have in common. All inline; no Python object is touched.
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.string cimport memcpy

ctypedef cnp.npy_intp intp

cdef extern from *:
    """
    #define KROTON_ARRAY(a) ((PyArrayObject *)(a))
    #define kroton_ndim(a) PyArray_NDIM(KROTON_ARRAY(a))
    #define kroton_dims(a) PyArray_DIMS(KROTON_ARRAY(a))
    #define kroton_strides(a) PyArray_STRIDES(KROTON_ARRAY(a))
    #define kroton_bytes(a) PyArray_BYTES(KROTON_ARRAY(a))
    #define kroton_flags(a) PyArray_FLAGS(KROTON_ARRAY(a))
    #define kroton_itemsize(a) PyArray_ITEMSIZE(KROTON_ARRAY(a))
    """
    int ndim_of "kroton_ndim"(PyObject *a) nogil
    intp *dims_of "kroton_dims"(PyObject *a) nogil
    intp *strides_of "kroton_strides"(PyObject *a) nogil
    char *bytes_of "kroton_bytes"(PyObject *a) nogil
    int flags_of "kroton_flags"(PyObject *a) nogil
    intp itemsize_of "kroton_itemsize"(PyObject *a) nogil

cdef enum:
    SHORT_ROW = 8   # elements of a row that is better exchanged with another dimension


cdef inline intp absolute(intp x) noexcept nogil:
    return -x if x < 0 else x


cdef inline void exchange(intp *strides, intp *extents, int n, int d, int e) noexcept nogil:
    cdef int k
    extents[d], extents[e] = extents[e], extents[d]
    for k in range(n):
        strides[d * n + k], strides[e * n + k] = strides[e * n + k], strides[d * n + k]


cdef inline int simplify(intp *strides, intp *extents, int nd, int n, int first_out) noexcept nogil:
    """Order dimensions by the first output's strides and merge those that are one.

    Returns the number of dimensions left.
    """
    cdef int d, e, k, last = 0
    cdef bint one
    for d in range(1, nd):
        e = d
        while e > 0 and absolute(strides[(e - 1) * n + first_out]) < absolute(
            strides[e * n + first_out]
        ):
            exchange(strides, extents, n, e - 1, e)
            e -= 1
    for d in range(1, nd):
        one = True
        for k in range(n):
            if strides[last * n + k] != strides[d * n + k] * extents[d]:
                one = False
                break
        if one:
            extents[last] *= extents[d]
            memcpy(strides + last * n, strides + d * n, n * sizeof(intp))
        else:
            last += 1
            if last != d:
                extents[last] = extents[d]
                memcpy(strides + last * n, strides + d * n, n * sizeof(intp))
    return last + 1


cdef inline void lengthen(intp *strides, intp *extents, int nd, int n) noexcept nogil:
    """Exchange a row of a few elements with the longest dimension.

    Strided access costs less than many short calls.
    """
    cdef int d, last = nd - 1, longest = nd - 1
    if last < 1 or extents[last] > SHORT_ROW:
        return
    for d in range(last):
        if extents[d] > extents[longest]:
            longest = d
    if extents[longest] >= 4 * extents[last]:
        exchange(strides, extents, n, longest, last)


cdef inline void bounds(PyObject *array, char **low, char **high) noexcept nogil:
    """The first byte of an array that is not empty, and the byte behind the last."""
    cdef int d
    cdef intp reach
    low[0] = bytes_of(array)
    high[0] = low[0] + itemsize_of(array)
    for d in range(ndim_of(array)):
        reach = (dims_of(array)[d] - 1) * strides_of(array)[d]
        if dims_of(array)[d] == 0:
            high[0] = low[0]
            return
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach


cdef inline bint overlap(PyObject *a, PyObject *b) noexcept nogil:
    """Whether the memory between the ends of two arrays has bytes in common."""
    cdef char *low_a
    cdef char *high_a
    cdef char *low_b
    cdef char *high_b
    bounds(a, &low_a, &high_a)
    bounds(b, &low_b, &high_b)
    return low_a < high_b and low_b < high_a


cdef inline bint same_layout(PyObject *a, PyObject *b) noexcept nogil:
    """Whether two arrays are the same elements in the same places."""
    cdef int d
    if bytes_of(a) != bytes_of(b) or ndim_of(a) != ndim_of(b):
        return False
    if itemsize_of(a) != itemsize_of(b):
        return False
    for d in range(ndim_of(a)):
        if dims_of(a)[d] != dims_of(b)[d]:
            return False
        if dims_of(a)[d] > 1 and strides_of(a)[d] != strides_of(b)[d]:
            return False
    return True
