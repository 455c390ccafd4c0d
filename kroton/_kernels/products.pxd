# Matrix products on any strides. Ships in the wheel.
#
# `kroton._kernels.blas.load()` must have been called before `multiply`.


cdef struct Matrix:
    char *data
    Py_ssize_t rows
    Py_ssize_t cols
    Py_ssize_t rs               # bytes from a row to the next
    Py_ssize_t cs               # bytes from a column to the next


cdef int multiply(
    int typenum, Matrix a, Matrix b, Matrix c, void *alpha, void *beta
) except -1 nogil
