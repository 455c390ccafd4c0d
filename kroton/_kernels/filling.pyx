# cython: language_level=3
"""Arrays filled by rule: with a value, with zeros and a diagonal, with numbers counted up.

Outputs are C-contiguous and come from `memory.output`. Extents are int64 scalars (0-d arrays).
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.math cimport ceil, isfinite, signbit
from libc.string cimport memcpy, memset

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.memory cimport output
from kroton._kernels.views cimport diagonal_view, shape_of

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    ctypedef int (*fill_function)(void *, cnp.npy_intp, void *) except -1
    ctypedef struct PyArray_ArrFuncs:
        fill_function fill
    PyArray_ArrFuncs *PyDataType_GetArrFuncs(void *descr)
    void *descr_of "PyArray_DESCR"(cnp.ndarray x)

cdef enum:
    MAXDIMS = 64
    LARGE = 1 << 16     # bytes from which the GIL is released


cdef inline cnp.npy_int64 scalar(PyObject *cell) noexcept:
    return (<cnp.npy_int64 *> cnp.PyArray_DATA(<cnp.ndarray> cell))[0]


cdef int extents(
    str name, PyObject **cells, Py_ssize_t *where, int nd, cnp.npy_intp *dims
) except -1:
    """The extents in the cells `where[0], ..., where[nd - 1]`."""
    cdef int d
    for d in range(nd):
        dims[d] = scalar(cells[where[d]])
        if dims[d] < 0:
            shape = tuple([scalar(cells[where[k]]) for k in range(nd)])
            raise ValueError(f"{name}: an extent cannot be negative, got shape {shape}")
    return 0


cdef void fill(char *target, const char *value, size_t itemsize, cnp.npy_intp n) noexcept nogil:
    """n copies of one element."""
    cdef cnp.npy_intp k
    cdef cnp.npy_uint16 two
    cdef cnp.npy_uint32 four
    cdef cnp.npy_uint64 eight
    cdef size_t byte
    for byte in range(itemsize):
        if value[byte] != 0:
            break
    else:
        memset(target, 0, n * itemsize)
        return
    if itemsize == 1:
        memset(target, <unsigned char> value[0], n)
    elif itemsize == 2:
        memcpy(&two, value, 2)
        for k in range(n):
            (<cnp.npy_uint16 *> target)[k] = two
    elif itemsize == 4:
        memcpy(&four, value, 4)
        for k in range(n):
            (<cnp.npy_uint32 *> target)[k] = four
    elif itemsize == 8:
        memcpy(&eight, value, 8)
        for k in range(n):
            (<cnp.npy_uint64 *> target)[k] = eight
    else:
        for k in range(n):
            memcpy(target + k * itemsize, value, itemsize)


cdef class AllocKernel(Kernel):
    """The first input broadcast to the extents that the others say.

    Parameters
    ----------
    typenum : int
    broadcastable : tuple of bool
        For each dimension of the value, whether it may stretch.
    ndim : int
        The number of extents.
    """

    cdef int typenum, nd, value_nd
    cdef bint stretches[MAXDIMS]

    def __init__(self, int typenum, broadcastable, int ndim):
        cdef int d
        if ndim > MAXDIMS:
            raise ValueError(f"arrays have at most {MAXDIMS} dimensions")
        self.arity(1 + ndim, 1)
        self.typenum = typenum
        self.nd = ndim
        self.value_nd = len(broadcastable)
        for d in range(self.value_nd):
            self.stretches[d] = broadcastable[d]

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray value = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray z
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp e, n, chunk, k
        cdef size_t itemsize
        cdef char *target
        cdef char *source
        cdef int d, missing = self.nd - self.value_nd
        cdef bint whole = cnp.PyArray_IS_C_CONTIGUOUS(value)
        extents("Alloc", cells, self.inp + 1, self.nd, dims)
        for d in range(self.value_nd):
            e = cnp.PyArray_DIM(value, d)
            if e != dims[missing + d]:
                whole = False
                if not self.stretches[d]:
                    shape = tuple([dims[i] for i in range(self.nd)])
                    raise ValueError(
                        f"Alloc: a value of shape {shape_of(value)} does not fit into shape "
                        f"{shape}: dimension {d + missing} has {e} and {dims[missing + d]} "
                        "elements"
                        + ("; only extents that are statically 1 stretch" if e == 1 else "")
                    )
        z = output(cells, self.out[0], self.typenum, self.nd, dims)
        n = cnp.PyArray_SIZE(z)
        if n == 0:
            return 0
        target = cnp.PyArray_BYTES(z)
        source = cnp.PyArray_BYTES(value)
        itemsize = cnp.PyArray_ITEMSIZE(z)
        chunk = cnp.PyArray_SIZE(value)
        if chunk == 1:
            if n * itemsize < LARGE:
                fill(target, source, itemsize, n)
            else:
                with nogil:
                    fill(target, source, itemsize, n)
        elif whole and chunk * itemsize >= 64:
            with nogil:
                for k in range(n // chunk):
                    memcpy(target + k * chunk * itemsize, source, chunk * itemsize)
        else:
            cnp.PyArray_CopyInto(z, value)
        return 0


cdef class AllocEmptyKernel(Kernel):
    """An array of the extents that the inputs say, with whatever is in its memory."""

    cdef int typenum, nd

    def __init__(self, int typenum, int ndim):
        if ndim > MAXDIMS:
            raise ValueError(f"arrays have at most {MAXDIMS} dimensions")
        self.arity(ndim, 1)
        self.typenum = typenum
        self.nd = ndim

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.npy_intp dims[MAXDIMS]
        extents("AllocEmpty", cells, self.inp, self.nd, dims)
        output(cells, self.out[0], self.typenum, self.nd, dims)
        return 0


cdef class ARangeKernel(Kernel):
    """`start + k*step` before `stop`, with NumPy's length and NumPy's rounding.

    As NumPy does, the first two elements are rounded to the result's dtype and the others
    continue their difference. The inputs are int64, float32 or float64 scalars.
    """

    cdef int in_type, out_type

    def __init__(self, int in_type, int out_type):
        if in_type not in (cnp.NPY_INT64, cnp.NPY_FLOAT32, cnp.NPY_FLOAT64):
            raise ValueError(f"ARange works on int64, float32 and float64, not type {in_type}")
        if out_type == cnp.NPY_BOOL:
            raise ValueError("booleans cannot be counted up")
        self.arity(3, 1)
        self.in_type = in_type
        self.out_type = out_type

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray start = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray stop = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray step = <cnp.ndarray> cells[self.inp[2]]
        cdef cnp.ndarray z
        cdef double quotient, begin = 0, span, advance
        cdef cnp.npy_int64 first = 0, second = 0
        cdef cnp.npy_uint64 wrapped
        cdef double next_value = 0
        cdef float single
        cdef bint empty_span
        cdef cnp.npy_intp n, k
        cdef char *target
        if self.in_type == cnp.NPY_INT64:
            first = (<cnp.npy_int64 *> cnp.PyArray_DATA(start))[0]
            wrapped = <cnp.npy_uint64> (<cnp.npy_int64 *> cnp.PyArray_DATA(stop))[0]
            wrapped -= <cnp.npy_uint64> first
            empty_span = wrapped == 0
            span = <double> <cnp.npy_int64> wrapped
            advance = <double> (<cnp.npy_int64 *> cnp.PyArray_DATA(step))[0]
            wrapped = <cnp.npy_uint64> first
            wrapped += <cnp.npy_uint64> (<cnp.npy_int64 *> cnp.PyArray_DATA(step))[0]
            second = <cnp.npy_int64> wrapped
            quotient = span / advance if advance != 0 else 0
        elif self.in_type == cnp.NPY_FLOAT64:
            begin = (<double *> cnp.PyArray_DATA(start))[0]
            span = (<double *> cnp.PyArray_DATA(stop))[0] - begin
            advance = (<double *> cnp.PyArray_DATA(step))[0]
            empty_span = span == 0
            next_value = begin + advance
            quotient = span / advance if advance != 0 else 0
        else:
            begin = (<float *> cnp.PyArray_DATA(start))[0]
            single = (<float *> cnp.PyArray_DATA(stop))[0] - (<float *> cnp.PyArray_DATA(start))[0]
            span = single
            advance = (<float *> cnp.PyArray_DATA(step))[0]
            empty_span = single == 0
            quotient = 0
            if advance != 0:
                single = single / (<float *> cnp.PyArray_DATA(step))[0]
                quotient = single
            single = (<float *> cnp.PyArray_DATA(start))[0]
            single = single + (<float *> cnp.PyArray_DATA(step))[0]
            next_value = single
        if advance == 0:
            raise ValueError("arange: the step must not be zero")
        if not isfinite(quotient) or quotient > <double> (<cnp.npy_int64> 1 << 62):
            raise ValueError(
                f"arange: there is no vector from {start.item()} to {stop.item()} "
                f"in steps of {step.item()}"
            )
        if quotient == 0 and not empty_span:
            n = 0 if signbit(quotient) else 1
        else:
            n = max(<cnp.npy_intp> ceil(quotient), 0)
        z = output(cells, self.out[0], self.out_type, 1, &n)
        if n == 0:
            return 0
        target = cnp.PyArray_BYTES(z)
        if self.in_type == cnp.NPY_INT64 and self.out_type == cnp.NPY_INT64:
            for k in range(n):
                wrapped = <cnp.npy_uint64> second - <cnp.npy_uint64> first
                (<cnp.npy_uint64 *> target)[k] = <cnp.npy_uint64> first + <cnp.npy_uint64> k * wrapped
            return 0
        if self.in_type == cnp.NPY_INT64:
            if self.out_type == cnp.NPY_FLOAT64 or self.out_type == cnp.NPY_FLOAT32:
                begin = <double> first
                next_value = <double> second
        if self.out_type == cnp.NPY_FLOAT64:
            (<double *> target)[0] = begin
            if n > 1:
                (<double *> target)[1] = next_value
        elif self.out_type == cnp.NPY_FLOAT32:
            (<float *> target)[0] = <float> begin
            if n > 1:
                (<float *> target)[1] = <float> next_value
        else:
            # NumPy's scalars wrap where Python's numbers would be out of bounds.
            z[0] = start[()]
            if n > 1:
                z[1] = start[()] + step[()]
        if n > 2:
            PyDataType_GetArrFuncs(descr_of(z)).fill(target, n, <void *> z)
        return 0


cdef class EyeKernel(Kernel):
    """The matrix with ones on a diagonal; inputs are rows, columns and the diagonal's number.

    Parameters
    ----------
    typenum : int
    one : bytes
        The memory of the number 1 in this dtype.
    """

    cdef int typenum
    cdef bytes one

    def __init__(self, int typenum, bytes one):
        self.arity(3, 1)
        self.typenum = typenum
        self.one = one

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.npy_intp dims[2]
        cdef cnp.npy_int64 offset = scalar(cells[self.inp[2]])
        cdef cnp.npy_intp row, column, k, count
        cdef const char *one = self.one
        cdef cnp.ndarray z
        cdef size_t itemsize
        cdef char *target
        extents("Eye", cells, self.inp, 2, dims)
        z = output(cells, self.out[0], self.typenum, 2, dims)
        itemsize = cnp.PyArray_ITEMSIZE(z)
        target = cnp.PyArray_BYTES(z)
        with nogil:
            memset(target, 0, cnp.PyArray_SIZE(z) * itemsize)
            if -dims[0] < offset < dims[1]:
                row = -offset if offset < 0 else 0
                column = offset if offset > 0 else 0
                count = min(dims[0] - row, dims[1] - column)
                target += (row * dims[1] + column) * itemsize
                for k in range(count):
                    memcpy(target + k * (dims[1] + 1) * itemsize, one, itemsize)
        return 0


cdef class AllocDiagKernel(Kernel):
    """Zeros with the first input on a diagonal over two dimensions of the given extents."""

    cdef int typenum, nd, axis1, axis2
    cdef cnp.npy_intp offset

    def __init__(self, int typenum, int ndim, Py_ssize_t offset, int axis1, int axis2):
        self.arity(3, 1)
        self.typenum = typenum
        self.nd = ndim
        self.offset = offset
        self.axis1 = axis1
        self.axis2 = axis2

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray z
        cdef cnp.ndarray place
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp pair[2]
        cdef cnp.npy_intp length
        cdef int d, k = 0
        extents("AllocDiag", cells, self.inp + 1, 2, pair)
        length = pair[0] + min(self.offset, 0)
        length = max(min(length, pair[1] - max(self.offset, 0)), 0)
        if length != cnp.PyArray_DIM(x, self.nd - 2):
            raise ValueError(
                f"AllocDiag: diagonal {self.offset} of a {pair[0]} by {pair[1]} matrix has "
                f"{length} elements, got {cnp.PyArray_DIM(x, self.nd - 2)}"
            )
        for d in range(self.nd):
            if d == self.axis1:
                dims[d] = pair[0]
            elif d == self.axis2:
                dims[d] = pair[1]
            else:
                dims[d] = cnp.PyArray_DIM(x, k)
                k += 1
        z = output(cells, self.out[0], self.typenum, self.nd, dims)
        memset(cnp.PyArray_BYTES(z), 0, cnp.PyArray_NBYTES(z))
        place = diagonal_view(z, self.offset, self.axis1, self.axis2)
        cnp.PyArray_CopyInto(place, x)
        return 0
