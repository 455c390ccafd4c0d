# The fused elementwise kernel. Ships in the wheel.
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport LoopFunction
from kroton._kernels.strided cimport row_loop

cdef enum:
    MAX_ARGUMENTS = 8


cdef struct Instruction:
    LoopFunction function
    void *data
    int nin
    int out                         # the register that it writes
    int inputs[MAX_ARGUMENTS]       # the registers that it reads
    cnp.npy_intp itemsize           # of the register that it writes


cdef struct Repeated:
    int register                    # of an input that is repeated along a row
    row_loop copy
    cnp.npy_intp itemsize
    cnp.npy_intp stride             # from one repeated value to the next, or from one row to the next
    bint each                       # whether each value is repeated, or else all of them in turn
    char *buffer


cdef class ElementwiseKernel(Kernel):
    cdef int ndim                   # of the outputs
    cdef int n_instructions
    cdef int n_slots
    cdef bint may_raise
    cdef cnp.npy_intp tile
    cdef cnp.npy_intp scratch_bytes
    cdef Instruction *instructions
    cdef int *in_ndim
    cdef cnp.npy_uint64 *in_broadcast   # bit d: dimension d, counted from the right, is broadcast
    cdef int *out_types
    cdef int *out_register
    cdef int *out_source            # the input whose memory an output takes over, or -1
    cdef int *written               # the instruction that writes an output
    cdef int *last_read             # the last instruction that reads an input
    cdef int *slot                  # of each register; -1 for inputs and outputs
    cdef cnp.npy_intp *in_itemsize
    cdef cnp.npy_intp *slot_offset  # bytes before a slot for each element of a tile
    cdef list origins

    cdef int shape_of(self, PyObject **cells, cnp.npy_intp *shape) except -1
    cdef bint reusable(self, PyObject **cells, int k, cnp.npy_intp *shape)
    cdef list protect(self, PyObject **inputs, int source, int written, list copies)
    cdef int run_all(self, PyObject **arrays, cnp.npy_intp *shape) except -1
    cdef int run_strided(
        self, char **base, PyObject **arrays, cnp.npy_intp *shape, bint release
    ) except -1
    cdef int spread(
        self, char **base, cnp.npy_intp *strides, cnp.npy_intp *extents, int nd,
        cnp.npy_intp size
    ) noexcept nogil
    cdef int iterate(
        self, char **base, cnp.npy_intp *strides, cnp.npy_intp *extents, int nd
    ) noexcept nogil
    cdef void iterate_single(
        self, char **base, cnp.npy_intp *strides, cnp.npy_intp *extents, int nd
    ) noexcept nogil
    cdef cnp.npy_intp flatten(
        self, cnp.npy_intp *strides, cnp.npy_intp *extents, int nd, Repeated *repeated, int *count
    ) noexcept nogil
    cdef int iterate_program(
        self, char **base, cnp.npy_intp *strides, cnp.npy_intp *extents, int nd
    ) noexcept nogil
