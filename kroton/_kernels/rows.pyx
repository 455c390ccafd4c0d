# cython: language_level=3
"""Rows of arrays: which inner loops treat them, and where the first one is."""
import numpy as np

cimport numpy as cnp

from kroton._kernels.loops cimport find

cnp.import_array()


cdef int load(Loops *loops, int typenum) except -1:
    """Maxima by NumPy's loop, sums by our own, both of which know reductions."""
    if not (
        find("exp", (typenum,), typenum, np.exp, &loops.exp)
        and find("maximum", (typenum, typenum), typenum, np.maximum, &loops.maximum)
        and find("wide_add", (typenum, typenum), typenum, None, &loops.add)
        and find("sub", (typenum, typenum), typenum, np.subtract, &loops.subtract)
        and find("mul", (typenum, typenum), typenum, np.multiply, &loops.multiply)
    ):
        raise TypeError(f"no loops for type number {typenum}: float32 and float64 have them")
    return 0


cdef Rows rows_of(cnp.ndarray x, int axis) noexcept:
    """The rows of `x` along `axis`, which is not negative."""
    cdef Rows rows
    cdef int d
    rows.at = cnp.PyArray_BYTES(x)
    rows.n = cnp.PyArray_DIM(x, axis)
    rows.step = cnp.PyArray_STRIDE(x, axis)
    rows.count = 1
    rows.nd = 0
    for d in range(cnp.PyArray_NDIM(x)):
        if d != axis:
            rows.extent[rows.nd] = cnp.PyArray_DIM(x, d)
            rows.stride[rows.nd] = cnp.PyArray_STRIDE(x, d)
            rows.index[rows.nd] = 0
            rows.count *= rows.extent[rows.nd]
            rows.nd += 1
    return rows
