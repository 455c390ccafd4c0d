# cython: language_level=3
"""Indexing: views, gathers, indexed assignment and indexed addition, and nonzero.

Indices are described to the kernels in the words of `kroton._kernels.regions`. They are
checked before anything is written. Any strides, empty arrays and any integer dtype are taken.
"""
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.regions cimport Index, Region, release, visit
from kroton._kernels.strided cimport DIMS, Loops, add_loops, put_loops, take_loops

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        void *subtype, void *descr, int nd, cnp.npy_intp *dims,
        cnp.npy_intp *strides, void *data, int flags, PyObject *obj
    )
    int PyArray_CopyInto(cnp.ndarray dest, cnp.ndarray src) except -1
    object PyArray_Nonzero(cnp.ndarray array)
    void *PyArray_DESCR(cnp.ndarray array)
    void *ndarray_type "((void *)&PyArray_Type)"

cdef extern from "Python.h":
    void Py_INCREF "Py_INCREF"(PyObject *o)


cdef class SubtensorKernel(Kernel):
    """`x[index]` without arrays, as a view. Inputs: x and the given scalars."""

    cdef Index index

    def __init__(self, index):
        self.index = Index(index)
        if self.index.advanced:
            raise ValueError("an index with arrays gives no view")
        self.arity(1 + self.index.n_given, 1)

    cdef int run(self, PyObject **cells) except -1:
        cdef Region region
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef PyObject *descr = <PyObject *> PyArray_DESCR(x)
        cdef object view
        self.index.locate(cells, self.inp + 1, x, &region)
        Py_INCREF(descr)
        view = PyArray_NewFromDescr(
            ndarray_type, <void *> descr, region.nd, region.dims, region.strides, region.data,
            cnp.PyArray_FLAGS(x) & cnp.NPY_ARRAY_WRITEABLE, NULL,
        )
        cnp.set_array_base(view, x)
        return memory.put(cells, self.out[0], view)


cdef class AdvancedSubtensorKernel(Kernel):
    """`x[index]` with arrays, as a new C-contiguous array. Inputs: x and the given indices."""

    cdef Index index
    cdef int typenum
    cdef cnp.npy_intp itemsize
    cdef Loops loops

    def __init__(self, int typenum, index):
        self.itemsize = cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(typenum))
        self.index = Index(index)
        self.typenum = typenum
        self.loops = take_loops(self.itemsize)
        if not self.index.advanced:
            raise ValueError("an index without arrays gives a view")
        if self.loops.row == NULL:
            raise ValueError(f"no loop copies items of {self.itemsize} bytes")
        self.arity(1 + self.index.n_given, 1)

    cdef int run(self, PyObject **cells) except -1:
        cdef Region region
        cdef cnp.npy_intp strides[DIMS]
        cdef cnp.npy_intp step = self.itemsize
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray out
        cdef int d
        self.index.locate(cells, self.inp + 1, x, &region)
        try:
            out = memory.output(cells, self.out[0], self.typenum, region.nd, region.dims)
            for d in range(region.nd - 1, -1, -1):
                strides[d] = step
                step *= region.dims[d]
            visit(&region, <char *> cnp.PyArray_DATA(out), strides, &self.loops, False)
        finally:
            release(&region)
        return 0


cdef bint overlap(cnp.ndarray a, cnp.ndarray b):
    """Whether the address ranges of two arrays meet."""
    cdef char *bounds[4]
    cdef cnp.ndarray array
    cdef cnp.npy_intp reach
    cdef int k, d
    for k in range(2):
        array = b if k else a
        bounds[2 * k] = <char *> cnp.PyArray_DATA(array)
        bounds[2 * k + 1] = bounds[2 * k] + cnp.PyArray_ITEMSIZE(array)
        for d in range(cnp.PyArray_NDIM(array)):
            if cnp.PyArray_DIM(array, d) == 0:
                return False
            reach = (cnp.PyArray_DIM(array, d) - 1) * cnp.PyArray_STRIDE(array, d)
            if reach < 0:
                bounds[2 * k] += reach
            else:
                bounds[2 * k + 1] += reach
    return bounds[0] < bounds[3] and bounds[2] < bounds[1]


cdef class IncSubtensorKernel(Kernel):
    """`x` with `y` added to, or put into, `x[index]`. Inputs: x, y and the given indices.

    An index element that occurs several times gets each addition, or the last value.

    Parameters
    ----------
    typenum : int
        Of x and y.
    index : tuple
    stretch : tuple of bool
        For each dimension of y whether its extent is stretched over the region.
    put : bool
        Put instead of add.
    inplace : bool
        Write over x instead of a copy of it.
    """

    cdef Index index
    cdef int typenum
    cdef Loops loops
    cdef bint inplace
    cdef readonly tuple stretch

    def __init__(self, int typenum, index, stretch, bint put, bint inplace):
        cdef int itemsize = cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(typenum))
        self.index = Index(index)
        self.typenum = typenum
        self.stretch = tuple(stretch)
        self.loops = put_loops(itemsize) if put else add_loops(typenum)
        self.inplace = inplace
        if self.loops.row == NULL:
            raise ValueError(f"no loop for type number {typenum}")
        self.arity(2 + self.index.n_given, 1)

    cdef int spread(self, Region *region, cnp.ndarray y, cnp.npy_intp *strides) except -1:
        """The strides of y on the dimensions of the region."""
        cdef int d, shift = region.nd - cnp.PyArray_NDIM(y)
        if shift < 0:
            raise ValueError(
                f"a value of {cnp.PyArray_NDIM(y)} dimensions does not fit into an indexed region "
                f"of {region.nd}"
            )
        for d in range(region.nd):
            if d < shift or self.stretch[d - shift]:
                strides[d] = 0
            elif cnp.PyArray_DIM(y, d - shift) == region.dims[d]:
                strides[d] = cnp.PyArray_STRIDE(y, d - shift) if region.dims[d] != 1 else 0
            else:
                hint = ""
                if cnp.PyArray_DIM(y, d - shift) == 1:
                    hint = (
                        "; an extent of 1 is stretched only where the value's type says so: "
                        "use addbroadcast"
                    )
                raise ValueError(
                    f"a value of shape {(<object> y).shape} does not fit into the indexed region of "
                    f"shape {tuple([region.dims[k] for k in range(region.nd)])}{hint}"
                )
        return 0

    cdef int check(self, PyObject **cells) except -1:
        cdef Region region
        cdef cnp.npy_intp strides[DIMS]
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        if self.inplace and not cnp.PyArray_ISWRITEABLE(x):
            raise ValueError("the array to be written over is read-only")
        self.index.locate(cells, self.inp + 2, x, &region)
        try:
            self.spread(&region, <cnp.ndarray> cells[self.inp[1]], strides)
        finally:
            release(&region)
        return 1

    cdef int run(self, PyObject **cells) except -1:
        cdef Region region
        cdef cnp.npy_intp strides[DIMS]
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out = x
        if not self.inplace:
            out = memory.output(
                cells, self.out[0], self.typenum, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x)
            )
            PyArray_CopyInto(out, x)
        elif not cnp.PyArray_ISWRITEABLE(x):
            raise ValueError("the array to be written over is read-only")
        self.index.locate(cells, self.inp + 2, out, &region)
        try:
            self.spread(&region, y, strides)
            if self.inplace and overlap(x, y):
                y = cnp.PyArray_NewCopy(y, cnp.NPY_CORDER)
                self.spread(&region, y, strides)
            visit(&region, <char *> cnp.PyArray_DATA(y), strides, &self.loops, True)
        finally:
            release(&region)
        if self.inplace:
            memory.put(cells, self.out[0], x)
        return 0


cdef class NonzeroKernel(Kernel):
    """The indices of the elements of an array that are not zero, one int64 vector per dimension."""

    def __init__(self, int ndim):
        self.arity(1, ndim)

    cdef int run(self, PyObject **cells) except -1:
        cdef Py_ssize_t k
        cdef tuple found = PyArray_Nonzero(<object> cells[self.inp[0]])
        for k in range(self.n_out):
            memory.put(cells, self.out[k], found[k])
        return 0
