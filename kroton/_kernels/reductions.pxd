# Reductions over axes, and their sweeps over strided memory. Ships in the wheel.
cimport numpy as cnp

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop

cdef enum:
    DIMS = 64        # NumPy's limit


cdef struct Axis:
    cnp.npy_intp n      # extent
    cnp.npy_intp si     # bytes from one input element to the next
    cnp.npy_intp so     # bytes from one accumulator to the next; 0 if reduced


cdef struct Sweep:
    Loop op
    Loop cast           # its function is NULL if the input has the accumulator's dtype
    size_t acc_size
    const char *neutral
    int stop            # the truth value that no further element changes, or -1
    int nd
    Axis axes[DIMS]


cdef void convert(
    const Loop *loop, const char *x, cnp.npy_intp si, char *out, cnp.npy_intp so, cnp.npy_intp n
) noexcept nogil
cdef void combine(
    const Loop *op, size_t size, char *x, char *acc, cnp.npy_intp n
) noexcept nogil
cdef int arranged(Axis *axes, int nd, char **x) noexcept nogil
cdef void sweep(const Sweep *s, char *x, char *acc) noexcept nogil


cdef class ReduceKernel(Kernel):
    cdef readonly str name
    cdef readonly object ufunc
    cdef readonly tuple axes
    cdef readonly int in_type, acc_type, out_type, ndim
    cdef Loop op, cast_in, cast_out, copy
    cdef Loop joined    # the operation on two results
    cdef size_t acc_size
    cdef char neutral[16]
    cdef char empty[16]
    cdef bint has_empty
    cdef int stop
    cdef bint reduced[DIMS]

    cdef void start(self, Sweep *s) noexcept nogil
