# cython: language_level=3
"""Shapes as values, and arrays put together of others: joined and repeated.

Outputs are C-contiguous and come from `memory.output`.
Inputs that are not C-contiguous are copied by NumPy, through a view of their place.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.string cimport memcpy

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.memory cimport output
from kroton._kernels.views cimport new_view, shape_of

cnp.import_array()

cdef enum:
    MAXDIMS = 64
    LARGE = 1 << 16     # bytes from which the GIL is released

cdef cnp.npy_intp LARGEST = 0x7FFFFFFFFFFFFFFF


cdef inline cnp.npy_int64 scalar(PyObject *cell) noexcept:
    return (<cnp.npy_int64 *> cnp.PyArray_DATA(<cnp.ndarray> cell))[0]


cdef class ShapeKernel(Kernel):
    """The extents of an array of `ndim` dimensions, as an int64 vector."""

    cdef cnp.npy_intp nd

    def __init__(self, Py_ssize_t ndim):
        self.arity(1, 1)
        self.nd = ndim

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray z = output(cells, self.out[0], cnp.NPY_INT64, 1, &self.nd)
        cdef cnp.npy_int64 *target = <cnp.npy_int64 *> cnp.PyArray_DATA(z)
        cdef int d
        for d in range(self.nd):
            target[d] = cnp.PyArray_DIM(x, d)
        return 0


cdef class ShapeIKernel(Kernel):
    """The extent of dimension `i`, as an int64 scalar."""

    cdef int i

    def __init__(self, int i):
        self.arity(1, 1)
        self.i = i

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.npy_intp extent = cnp.PyArray_DIM(<cnp.ndarray> cells[self.inp[0]], self.i)
        cdef cnp.ndarray z = output(cells, self.out[0], cnp.NPY_INT64, 0, NULL)
        (<cnp.npy_int64 *> cnp.PyArray_DATA(z))[0] = extent
        return 0


cdef class MakeVectorKernel(Kernel):
    """The vector of `n` scalars of one dtype."""

    cdef int typenum
    cdef cnp.npy_intp n

    def __init__(self, int typenum, Py_ssize_t n):
        self.arity(n, 1)
        self.typenum = typenum
        self.n = n

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray z = output(cells, self.out[0], self.typenum, 1, &self.n)
        cdef size_t itemsize = cnp.PyArray_ITEMSIZE(z)
        cdef char *target = cnp.PyArray_BYTES(z)
        cdef Py_ssize_t k
        if itemsize == 8:
            for k in range(self.n):
                (<cnp.npy_int64 *> target)[k] = scalar(cells[self.inp[k]])
        else:
            for k in range(self.n):
                memcpy(target, cnp.PyArray_DATA(<cnp.ndarray> cells[self.inp[k]]), itemsize)
                target += itemsize
        return 0


cdef class JoinKernel(Kernel):
    """Arrays of one dtype, one after the other along a dimension."""

    cdef int typenum, nd, axis

    def __init__(self, int typenum, int ndim, int axis, Py_ssize_t n_in):
        self.arity(n_in, 1)
        self.typenum = typenum
        self.nd = ndim
        self.axis = axis

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x, first = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray z
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp outer = 1, inner, row, chunk, i
        cdef char *start
        cdef char *source
        cdef Py_ssize_t k
        cdef int d
        for d in range(self.nd):
            dims[d] = cnp.PyArray_DIM(first, d)
        for k in range(1, self.n_in):
            x = <cnp.ndarray> cells[self.inp[k]]
            for d in range(self.nd):
                if d == self.axis:
                    if cnp.PyArray_DIM(x, d) > LARGEST - dims[d]:
                        raise MemoryError("Join: the extents add up to more than memory can hold")
                    dims[d] += cnp.PyArray_DIM(x, d)
                elif cnp.PyArray_DIM(x, d) != dims[d]:
                    raise ValueError(
                        f"Join along dimension {self.axis}: input {k} of shape {shape_of(x)} has "
                        f"{cnp.PyArray_DIM(x, d)} elements in dimension {d}, "
                        f"input 0 of shape {shape_of(first)} has {dims[d]}"
                    )
        z = output(cells, self.out[0], self.typenum, self.nd, dims)
        if cnp.PyArray_SIZE(z) == 0:
            return 0
        inner = cnp.PyArray_ITEMSIZE(z)
        for d in range(self.axis + 1, self.nd):
            inner *= dims[d]
        for d in range(self.axis):
            outer *= dims[d]
        row = inner * dims[self.axis]
        start = cnp.PyArray_BYTES(z)
        for k in range(self.n_in):
            x = <cnp.ndarray> cells[self.inp[k]]
            chunk = inner * cnp.PyArray_DIM(x, self.axis)
            if chunk == 0:
                continue
            if cnp.PyArray_IS_C_CONTIGUOUS(x):
                source = cnp.PyArray_BYTES(x)
                if outer * chunk < LARGE:
                    copy_rows(start, source, outer, row, chunk)
                else:
                    with nogil:
                        copy_rows(start, source, outer, row, chunk)
            else:
                cnp.PyArray_CopyInto(
                    new_view(
                        z, self.nd, cnp.PyArray_DIMS(x), cnp.PyArray_STRIDES(z), start
                    ), x
                )
            start += chunk
        return 0


cdef void copy_rows(
    char *target, const char *source, cnp.npy_intp n, cnp.npy_intp row, cnp.npy_intp chunk
) noexcept nogil:
    """n chunks that lie side by side, each to the start of a row."""
    cdef cnp.npy_intp i
    if chunk == 8:
        for i in range(n):
            memcpy(target + i * row, source + i * 8, 8)
    elif chunk == 4:
        for i in range(n):
            memcpy(target + i * row, source + i * 4, 4)
    else:
        for i in range(n):
            memcpy(target + i * row, source + i * chunk, chunk)


cdef class RepeatKernel(Kernel):
    """Slices along a dimension, each as often as the second input (int64) says.

    Parameters
    ----------
    typenum, ndim, axis : int
    vector : bool
        Whether there is a number for each slice; else the second input is a scalar.
    """

    cdef int typenum, nd, axis
    cdef bint vector

    def __init__(self, int typenum, int ndim, int axis, bint vector):
        self.arity(2, 1)
        self.typenum = typenum
        self.nd = ndim
        self.axis = axis
        self.vector = vector

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray repeats = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray z
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp n = cnp.PyArray_DIM(x, self.axis), total = 0, outer = 1, chunk
        cdef cnp.npy_intp step = 0, i
        cdef cnp.npy_int64 count
        cdef char *counts = cnp.PyArray_BYTES(repeats)
        cdef char *target
        cdef char *source
        cdef int d
        if self.vector:
            step = cnp.PyArray_STRIDE(repeats, 0)
            if cnp.PyArray_DIM(repeats, 0) != n:
                raise ValueError(
                    f"Repeat: an array of shape {shape_of(x)} needs {n} repeats, "
                    f"got {cnp.PyArray_DIM(repeats, 0)}"
                )
        for i in range(n if self.vector else 1):
            count = (<cnp.npy_int64 *> (counts + i * step))[0]
            if count < 0:
                raise ValueError(f"Repeat: repeats cannot be negative, got {repeats.tolist()}")
            if count > LARGEST - total:
                raise too_many(x, repeats)
            total += count
        if not self.vector:
            if n and total > LARGEST // n:
                raise too_many(x, repeats)
            total *= n
        for d in range(self.nd):
            dims[d] = cnp.PyArray_DIM(x, d)
        dims[self.axis] = total
        z = output(cells, self.out[0], self.typenum, self.nd, dims)
        if cnp.PyArray_SIZE(z) == 0:
            return 0
        x = <cnp.ndarray> cnp.PyArray_GETCONTIGUOUS(x)
        chunk = cnp.PyArray_ITEMSIZE(z)
        for d in range(self.axis + 1, self.nd):
            chunk *= dims[d]
        for d in range(self.axis):
            outer *= dims[d]
        target = cnp.PyArray_BYTES(z)
        source = cnp.PyArray_BYTES(x)
        with nogil:
            copy_repeated(target, source, outer, n, chunk, counts, step)
        return 0


cdef object too_many(cnp.ndarray x, cnp.ndarray repeats):
    return MemoryError(
        f"Repeat: {repeats.tolist()} repeats of an array of shape {shape_of(x)} "
        "are more than memory can hold"
    )


cdef void copy_repeated(
    char *target, const char *source, cnp.npy_intp outer, cnp.npy_intp n, cnp.npy_intp chunk,
    const char *counts, cnp.npy_intp step,
) noexcept nogil:
    cdef cnp.npy_intp o, i
    cdef cnp.npy_int64 count, k
    for o in range(outer):
        for i in range(n):
            count = (<const cnp.npy_int64 *> (counts + i * step))[0]
            if chunk == 8:
                for k in range(count):
                    memcpy(target + k * 8, source, 8)
            elif chunk == 4:
                for k in range(count):
                    memcpy(target + k * 4, source, 4)
            else:
                for k in range(count):
                    memcpy(target + k * chunk, source, chunk)
            target += count * chunk
            source += chunk
