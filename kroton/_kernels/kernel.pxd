# The contract of every kernel. Ships in the wheel, so that kernels can be written elsewhere.
from cpython.object cimport PyObject


cdef class Kernel:
    cdef readonly Py_ssize_t n_in
    cdef readonly Py_ssize_t n_out
    cdef Py_ssize_t *inp    # the cell of each input
    cdef Py_ssize_t *out    # the cell of each output

    cdef int arity(self, Py_ssize_t n_in, Py_ssize_t n_out) except -1
    cdef int run(self, PyObject **cells) except -1
    cdef int check(self, PyObject **cells) except -1
    cpdef bind(self, in_cells, out_cells)
