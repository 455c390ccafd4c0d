# Views made by pointer and stride arithmetic. Ships in the wheel.
cimport numpy as cnp


cdef cnp.ndarray new_view(
    cnp.ndarray x, int nd, cnp.npy_intp *dims, cnp.npy_intp *strides, char *data
)
cdef cnp.ndarray diagonal_view(cnp.ndarray x, cnp.npy_intp offset, int axis1, int axis2)
cdef tuple shape_of(cnp.ndarray x)
