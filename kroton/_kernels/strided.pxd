# Rows of strided arrays: copied, added, gathered and scattered. Ships in the wheel.
cimport numpy as cnp

cdef enum:
    DIMS = 64           # NumPy's limit

# n elements: destination, its stride in bytes, source, its stride
ctypedef void (*row_loop)(
    char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil

# n elements: base + offsets[k] on one side, other + k * step on the other
ctypedef void (*offset_loop)(
    char *base, cnp.npy_intp *offsets, char *other, cnp.npy_intp step, cnp.npy_intp n
) noexcept nogil


cdef struct Walk:
    int nd              # -1 if there is no element
    cnp.npy_intp dims[64]
    cnp.npy_intp sa[64]
    cnp.npy_intp sb[64]


cdef struct Loops:
    row_loop row
    offset_loop each


cdef Loops take_loops(int itemsize) noexcept
cdef Loops put_loops(int itemsize) noexcept
cdef Loops add_loops(int typenum) noexcept
cdef void prepare(Walk *w) noexcept nogil
cdef void walk(Walk *w, char *a, char *b, row_loop loop) noexcept nogil
