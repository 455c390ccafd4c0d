# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The running maximum of a vector, and where it was reached."""
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel

cnp.import_array()

ctypedef fused floating:
    float
    double


cdef void scan(
    floating *values, cnp.npy_int64 *positions, char *x, cnp.npy_intp stride, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k, best = 0
    cdef floating value, top = (<floating *> x)[0]
    for k in range(n):
        value = (<floating *> (x + k * stride))[0]
        # A NaN stays: nothing compares greater.
        if value > top or (value != value and top == top):
            top = value
            best = k
        values[k] = top
        positions[k] = best


cdef class RunningMaximumKernel(Kernel):
    """For vectors of float32 or float64, with any stride."""

    cdef int typenum

    def __init__(self, int typenum):
        if typenum not in (cnp.NPY_FLOAT, cnp.NPY_DOUBLE):
            raise TypeError(f"float32 and float64 only, not type number {typenum}")
        self.arity(1, 2)
        self.typenum = typenum

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.npy_intp n = cnp.PyArray_DIM(x, 0)
        cdef cnp.npy_intp stride = cnp.PyArray_STRIDE(x, 0)
        cdef cnp.ndarray values = memory.output(cells, self.out[0], self.typenum, 1, &n)
        cdef cnp.ndarray positions = memory.output(cells, self.out[1], cnp.NPY_INT64, 1, &n)
        cdef char *source = <char *> cnp.PyArray_DATA(x)
        cdef void *target = cnp.PyArray_DATA(values)
        cdef cnp.npy_int64 *where = <cnp.npy_int64 *> cnp.PyArray_DATA(positions)
        if n == 0:
            return 0
        with nogil:
            if self.typenum == cnp.NPY_FLOAT:
                scan[float](<float *> target, where, source, stride, n)
            else:
                scan[double](<double *> target, where, source, stride, n)
        return 0
