# cython: language_level=3
"""Rows of arrays: which inner loops treat them, and where the first one is."""
import numpy as np

cimport numpy as cnp

from kroton._kernels.loops cimport find

cnp.import_array()


cdef int load(Loops *loops, int typenum) except -1:
    """Reductions by NumPy's loops, which know them (pairwise sums, SIMD maxima)."""
    if not (
        find("exp", (typenum,), typenum, np.exp, &loops.exp)
        and find("max of a row", (typenum, typenum), typenum, np.maximum, &loops.maximum)
        and find("sum of a row", (typenum, typenum), typenum, np.add, &loops.add)
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
