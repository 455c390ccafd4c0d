# cython: language_level=3
"""Views: kernels that give the memory of their first input another shape.

`DimShuffleKernel`, `ReshapeKernel`, `SplitKernel`, `ExtractDiagKernel` make a new array object
on the same memory, writeable if the input is, in time that does not depend on its size; a
reshape copies where no strides describe the result. `SpecifyShapeKernel` and
`AssertShapeKernel` check the shape and hand on the object itself.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdlib cimport free, malloc

from kroton._kernels.kernel cimport Kernel
from kroton._kernels.memory cimport put

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        void *subtype, void *descr, int nd, cnp.npy_intp *dims,
        cnp.npy_intp *strides, void *data, int flags, PyObject *obj
    )
    void *ndarray_type "((void *)&PyArray_Type)"
    PyObject *descr_of "(PyObject *)PyArray_DESCR"(cnp.ndarray x)

cdef enum:
    MAXDIMS = 64


cdef cnp.ndarray new_view(
    cnp.ndarray x, int nd, cnp.npy_intp *dims, cnp.npy_intp *strides, char *data
):
    """An array on memory of `x`: dtype, writeability and alignment are those of `x`.

    `strides` may be NULL for C order.
    """
    cdef PyObject *descr = descr_of(x)
    cdef object view
    # NewFromDescr steals a reference to the dtype.
    Py_INCREF(<object> descr)
    view = PyArray_NewFromDescr(
        ndarray_type, <void *> descr, nd, dims, strides, data,
        cnp.PyArray_FLAGS(x) & (cnp.NPY_ARRAY_WRITEABLE | cnp.NPY_ARRAY_ALIGNED), NULL,
    )
    cnp.set_array_base(view, x)
    return <cnp.ndarray> view


cdef tuple shape_of(cnp.ndarray x):
    return tuple([cnp.PyArray_DIM(x, d) for d in range(cnp.PyArray_NDIM(x))])


cdef class DimShuffleKernel(Kernel):
    """Dimension k of the view is dimension `order[k]` of the input, or new where that is -1.

    Parameters
    ----------
    ndim : int
        The number of dimensions of the input; those not in `order` have extent 1.
    order : tuple of int
    """

    cdef int nd
    cdef int order[MAXDIMS]
    cdef int n_dropped
    cdef int dropped[MAXDIMS]

    def __init__(self, int ndim, order):
        cdef int d
        if ndim > MAXDIMS or len(order) > MAXDIMS:
            raise ValueError(f"arrays have at most {MAXDIMS} dimensions")
        self.arity(1, 1)
        self.nd = len(order)
        for d in range(self.nd):
            self.order[d] = order[d]
        self.n_dropped = 0
        for d in range(ndim):
            if d not in order:
                self.dropped[self.n_dropped] = d
                self.n_dropped += 1

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp strides[MAXDIMS]
        cdef int d, k
        for k in range(self.n_dropped):
            d = self.dropped[k]
            if cnp.PyArray_DIM(x, d) != 1:
                raise ValueError(
                    f"DimShuffle drops dimension {d}, but the array of shape {shape_of(x)} "
                    f"has {cnp.PyArray_DIM(x, d)} elements there"
                )
        for k in range(self.nd):
            d = self.order[k]
            if d < 0:
                dims[k] = 1
                strides[k] = 0
            else:
                dims[k] = cnp.PyArray_DIM(x, d)
                strides[k] = cnp.PyArray_STRIDE(x, d)
        put(cells, self.out[0], new_view(x, self.nd, dims, strides, cnp.PyArray_BYTES(x)))
        return 0


cdef class ReshapeKernel(Kernel):
    """The elements of the first input in the shape that the second, an int64 vector, says."""

    cdef int nd

    def __init__(self, int ndim):
        if ndim > MAXDIMS:
            raise ValueError(f"arrays have at most {MAXDIMS} dimensions")
        self.arity(2, 1)
        self.nd = ndim

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray shape = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp total = cnp.PyArray_SIZE(x), known = 1
        cdef cnp.npy_intp step
        cdef char *source = cnp.PyArray_BYTES(shape)
        cdef int d, free_dim = -1
        cdef bint fits = True
        cdef cnp.PyArray_Dims target
        if cnp.PyArray_DIM(shape, 0) != self.nd:
            raise ValueError(
                f"Reshape takes {self.nd} extents, got {cnp.PyArray_DIM(shape, 0)}: {shape}"
            )
        step = cnp.PyArray_STRIDE(shape, 0)
        for d in range(self.nd):
            dims[d] = (<cnp.npy_int64 *> (source + d * step))[0]
            if dims[d] == -1 and free_dim < 0:
                free_dim = d
            elif dims[d] < 0:
                fits = False
            elif dims[d] and known > <cnp.npy_intp> 0x7FFFFFFFFFFFFFFF // dims[d]:
                fits = False
            else:
                known *= dims[d]
        if free_dim >= 0:
            fits = fits and known > 0 and total % known == 0
            if fits:
                dims[free_dim] = total // known
        else:
            fits = fits and total == known
        if not fits:
            raise ValueError(
                f"Reshape: an array of shape {shape_of(x)} ({total} elements) cannot have shape "
                f"{tuple(shape.tolist())}"
            )
        if cnp.PyArray_IS_C_CONTIGUOUS(x):
            put(cells, self.out[0], new_view(x, self.nd, dims, NULL, cnp.PyArray_BYTES(x)))
        else:
            target.ptr = dims
            target.len = self.nd
            put(cells, self.out[0], cnp.PyArray_Newshape(x, &target, cnp.NPY_CORDER))
        return 0


cdef class SplitKernel(Kernel):
    """Views of the parts along a dimension whose extents the second input, int64, says."""

    cdef int axis

    def __init__(self, Py_ssize_t n_parts, int axis):
        self.arity(2, n_parts)
        self.axis = axis

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray sizes = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.npy_intp dims[MAXDIMS]
        cdef cnp.npy_intp n, left = cnp.PyArray_DIM(x, self.axis), start = 0
        cdef cnp.npy_intp stride = cnp.PyArray_STRIDE(x, self.axis), step
        cdef char *source = cnp.PyArray_BYTES(sizes)
        cdef int d, nd = cnp.PyArray_NDIM(x)
        cdef Py_ssize_t k
        cdef bint fits = True
        if cnp.PyArray_DIM(sizes, 0) != self.n_out:
            raise ValueError(
                f"Split: expected {self.n_out} sizes, got {cnp.PyArray_DIM(sizes, 0)}"
            )
        step = cnp.PyArray_STRIDE(sizes, 0)
        for k in range(self.n_out):
            n = (<cnp.npy_int64 *> (source + k * step))[0]
            if n < 0 or n > left:
                fits = False
                break
            left -= n
        if not fits or left != 0:
            raise ValueError(
                f"Split: parts of {sizes.tolist()} elements do not make up the "
                f"{cnp.PyArray_DIM(x, self.axis)} of an array of shape {shape_of(x)}"
            )
        for d in range(nd):
            dims[d] = cnp.PyArray_DIM(x, d)
        for k in range(self.n_out):
            n = (<cnp.npy_int64 *> (source + k * step))[0]
            dims[self.axis] = n
            put(cells, self.out[k], new_view(
                x, nd, dims, cnp.PyArray_STRIDES(x), cnp.PyArray_BYTES(x) + start * stride
            ))
            start += n
        return 0


cdef class ExtractDiagKernel(Kernel):
    """A view of diagonal `offset` over two dimensions, as the last dimension."""

    cdef cnp.npy_intp offset
    cdef int axis1, axis2

    def __init__(self, Py_ssize_t offset, int axis1, int axis2):
        self.arity(1, 1)
        self.offset = offset
        self.axis1 = axis1
        self.axis2 = axis2

    cdef int run(self, PyObject **cells) except -1:
        put(cells, self.out[0], diagonal_view(
            <cnp.ndarray> cells[self.inp[0]], self.offset, self.axis1, self.axis2
        ))
        return 0


cdef cnp.ndarray diagonal_view(cnp.ndarray x, cnp.npy_intp offset, int axis1, int axis2):
    """Diagonal `offset` over dimensions `axis1` and `axis2`, as the last dimension of a view."""
    cdef cnp.npy_intp dims[MAXDIMS]
    cdef cnp.npy_intp strides[MAXDIMS]
    cdef cnp.npy_intp n = cnp.PyArray_DIM(x, axis1), m = cnp.PyArray_DIM(x, axis2)
    cdef char *data = cnp.PyArray_BYTES(x)
    cdef int d, k = 0
    if offset > 0:
        m -= offset
    else:
        n += offset
    n = max(min(n, m), 0)
    if n > 0:
        if offset > 0:
            data += offset * cnp.PyArray_STRIDE(x, axis2)
        else:
            data -= offset * cnp.PyArray_STRIDE(x, axis1)
    for d in range(cnp.PyArray_NDIM(x)):
        if d != axis1 and d != axis2:
            dims[k] = cnp.PyArray_DIM(x, d)
            strides[k] = cnp.PyArray_STRIDE(x, d)
            k += 1
    dims[k] = n
    strides[k] = cnp.PyArray_STRIDE(x, axis1) + cnp.PyArray_STRIDE(x, axis2)
    return new_view(x, k + 1, dims, strides, data)


cdef class SpecifyShapeKernel(Kernel):
    """Its input, if its extents are those of `shape`, where -1 is any."""

    cdef int nd
    cdef cnp.npy_intp shape[MAXDIMS]

    def __init__(self, shape):
        cdef int d
        self.arity(1, 1)
        self.nd = len(shape)
        for d in range(self.nd):
            self.shape[d] = shape[d]

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef int d
        for d in range(self.nd):
            if self.shape[d] >= 0 and self.shape[d] != cnp.PyArray_DIM(x, d):
                stated = ", ".join(
                    ["?" if self.shape[i] < 0 else str(self.shape[i]) for i in range(self.nd)]
                )
                raise ValueError(
                    f"SpecifyShape: got shape {shape_of(x)}, expected shape "
                    f"({stated}{',' if self.nd == 1 else ''})"
                )
        put(cells, self.out[0], x)
        return 0


cdef class AssertShapeKernel(Kernel):
    """Its first input, if the others, int64 scalars, are its extents in dimensions `axes`."""

    cdef int *axes

    def __init__(self, axes):
        cdef Py_ssize_t k
        self.arity(1 + len(axes), 1)
        free(self.axes)
        self.axes = <int *> malloc((len(axes) + 1) * sizeof(int))
        if self.axes == NULL:
            raise MemoryError()
        for k in range(len(axes)):
            self.axes[k] = axes[k]

    def __dealloc__(self):
        free(self.axes)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.npy_int64 stated
        cdef Py_ssize_t k
        for k in range(self.n_in - 1):
            stated = (<cnp.npy_int64 *> cnp.PyArray_DATA(<cnp.ndarray> cells[self.inp[k + 1]]))[0]
            if cnp.PyArray_DIM(x, self.axes[k]) != stated:
                raise ValueError(
                    f"SpecifyShape: got shape {shape_of(x)}, expected {stated} elements "
                    f"in dimension {self.axes[k]}"
                )
        put(cells, self.out[0], x)
        return 0
