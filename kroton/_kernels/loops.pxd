# Typed inner loops by name and type numbers. Ships in the wheel.
cimport numpy as cnp

ctypedef void (*LoopFunction)(
    char **args, const cnp.npy_intp *dimensions, const cnp.npy_intp *steps, void *data
) noexcept nogil


cdef struct Loop:
    LoopFunction function
    void *data
    const char *origin    # the instruction set of Kroton's own, or NULL for NumPy's
    bint may_raise        # may leave a Python exception behind (it takes the GIL to set it)


cdef int canonical(int typenum) noexcept
cdef bint find(str name, tuple in_types, int out_type, object ufunc, Loop *loop) except -1
