# cython: language_level=3
"""Copies: an array nobody else holds, with the same values and the same order of axes."""
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.memory cimport empty, put

cnp.import_array()


cdef class CopyKernel(Kernel):
    """One array in, a copy of it out; C order, unless the input is laid out otherwise."""

    def __init__(self):
        self.arity(1, 1)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray z
        if cnp.PyArray_IS_C_CONTIGUOUS(x):
            z = empty(cnp.PyArray_TYPE(x), cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x))
            if cnp.PyArray_CopyInto(z, x) < 0:
                return -1
        else:
            z = cnp.PyArray_NewCopy(x, cnp.NPY_KEEPORDER)
        put(cells, self.out[0], z)
        return 0


cdef class PassKernel(Kernel):
    """One value in, the same object out: the kernel of Ops that change nothing but the graph."""

    def __init__(self):
        self.arity(1, 1)

    cdef int run(self, PyObject **cells) except -1:
        put(cells, self.out[0], <object> cells[self.inp[0]])
        return 0
