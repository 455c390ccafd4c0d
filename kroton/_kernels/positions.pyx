# cython: language_level=3
"""Positions of extremes over axes, on any layout: the first extreme, NaN before any number.

Where the reduced axes hold the smallest strides, each line is searched by itself, contiguous
ones by NumPy's vectorised search; otherwise rows of candidates advance together.
"""
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop, find

cnp.import_array()

ctypedef int (*arg_function)(
    void *x, cnp.npy_intp n, cnp.npy_intp *position, void *array
) noexcept nogil

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyArray_ArrFuncs:
        arg_function argmax
        arg_function argmin
    PyArray_ArrFuncs *PyDataType_GetArrFuncs(cnp.dtype descr)

cdef enum:
    DIMS = 64
    ROW = 256        # candidates that advance together
    LARGE = 1 << 14  # elements from which the GIL is released


cdef struct Axis:
    cnp.npy_intp n, si, so


cdef inline bint onwards(
    const Axis *axes, int n, int but, cnp.npy_intp *index, char **x, cnp.npy_int64 **out
) noexcept nogil:
    """Go to the next place of `n` axes, the last one first and without axis `but`; 0 at the end."""
    cdef int k = n - 1
    while k >= 0:
        if k != but:
            index[k] += 1
            x[0] += axes[k].si
            if out != NULL:
                out[0] += axes[k].so
            if index[k] < axes[k].n:
                return True
            x[0] -= axes[k].n * axes[k].si
            if out != NULL:
                out[0] -= axes[k].n * axes[k].so
            index[k] = 0
        k -= 1
    return False


cdef class ArgmaxKernel(Kernel):
    """The position of the largest element over `axes`, or of the smallest.

    Parameters
    ----------
    typenum : int
        NumPy's number of the input's dtype; the output is int64.
    ndim : int
    axes : tuple of int
        Which dimensions go, sorted; positions count their elements in C order.
    smallest : bool

    Raises
    ------
    LookupError
        For a dtype without an order.
    ValueError
        From `run`, if there is no element to choose.
    """

    cdef readonly int typenum, ndim
    cdef readonly tuple axes
    cdef readonly bint smallest
    cdef Loop rows, line, copy
    cdef arg_function contiguous
    cdef cnp.npy_intp itemsize
    cdef bint reduced[DIMS]

    def __init__(self, int typenum, int ndim, axes, bint smallest=False):
        cdef int k
        cdef cnp.dtype descr = cnp.PyArray_DescrFromType(typenum)
        cdef str name = "argmin" if smallest else "argmax"
        self.arity(1, 1)
        self.typenum = typenum
        self.ndim = ndim
        self.axes = tuple(axes)
        self.smallest = smallest
        for k in range(DIMS):
            self.reduced[k] = False
        for axis in self.axes:
            if not 0 <= axis < ndim:
                raise ValueError(f"axis {axis} of {ndim} dimensions")
            self.reduced[<int> axis] = True
        if not (
            find(f"{name}_rows", (typenum,), cnp.NPY_INT64, None, &self.rows)
            and find(f"{name}_line", (typenum,), cnp.NPY_INT64, None, &self.line)
            and find("identity", (typenum,), typenum, None, &self.copy)
        ):
            raise LookupError(f"no {name} for {(<object> descr).name}")
        self.itemsize = cnp.PyDataType_ELSIZE(descr)
        if smallest:
            self.contiguous = PyDataType_GetArrFuncs(descr).argmin
        else:
            self.contiguous = PyDataType_GetArrFuncs(descr).argmax

    cdef void by_line(
        self, char *x, cnp.npy_int64 *out, int n_kept, const Axis *kept, int n_runs, const Axis *runs
    ) noexcept nogil:
        """Search the runs of each output in turn; the last run is the inner loop."""
        cdef cnp.npy_intp outer[DIMS]
        cdef cnp.npy_intp index[DIMS]
        cdef const Axis *run = &runs[n_runs - 1]
        cdef char best[16]
        cdef char *args[3]
        cdef char *px
        cdef cnp.npy_intp one = 1, found
        cdef cnp.npy_int64 where, position
        cdef int k
        cdef bint more
        for k in range(n_kept):
            outer[k] = 0
        while True:
            for k in range(n_runs):
                index[k] = 0
            px = x
            position = 0
            more = False
            where = 0
            while True:
                if run.si == self.itemsize and self.contiguous != NULL:
                    found = 0
                    self.contiguous(px, run.n, &found, NULL)
                    args[0] = px + found * run.si
                    if not more:
                        args[1] = best
                        self.copy_one(args, &one)
                        where = found
                    else:
                        self.compare(&self.line, args[0], run.si, 1, best, &where, position + found)
                else:
                    if not more:
                        args[0] = px
                        args[1] = best
                        self.copy_one(args, &one)
                        where = 0
                    self.compare(&self.line, px, run.si, run.n, best, &where, position)
                more = True
                position += run.n
                if not onwards(runs, n_runs - 1, -1, index, &px, NULL):
                    break
            out[0] = where
            if not onwards(kept, n_kept, -1, outer, &x, &out):
                return

    cdef inline void copy_one(self, char **args, cnp.npy_intp *one) noexcept nogil:
        cdef cnp.npy_intp steps[2]
        steps[0] = self.itemsize
        steps[1] = self.itemsize
        self.copy.function(args, one, steps, self.copy.data)

    cdef inline void compare(
        self, const Loop *loop, char *x, cnp.npy_intp si, cnp.npy_intp n, char *best,
        cnp.npy_int64 *where, cnp.npy_int64 position,
    ) noexcept nogil:
        cdef char *args[3]
        args[0] = x
        args[1] = best
        args[2] = <char *> where
        loop.function(args, &n, &si, &position)

    cdef void by_rows(
        self, char *x, cnp.npy_int64 *out, int n_kept, const Axis *kept, int inner,
        int n_runs, const Axis *runs,
    ) noexcept nogil:
        """Advance rows of candidates along kept dimension `inner` over all runs."""
        cdef cnp.npy_intp outer[DIMS]
        cdef cnp.npy_intp index[DIMS]
        cdef char best[ROW * 16]
        cdef cnp.npy_int64 where[ROW]
        cdef char *args[2]
        cdef cnp.npy_intp steps[2]
        cdef char *px
        cdef cnp.npy_intp begin, m, j
        cdef cnp.npy_int64 position
        cdef int k
        for k in range(n_kept):
            outer[k] = 0
        while True:
            begin = 0
            while begin < kept[inner].n:
                m = kept[inner].n - begin
                if m > ROW:
                    m = ROW
                px = x + begin * kept[inner].si
                args[0] = px
                args[1] = best
                steps[0] = kept[inner].si
                steps[1] = self.itemsize
                self.copy.function(args, &m, steps, self.copy.data)
                for j in range(m):
                    where[j] = 0
                for k in range(n_runs):
                    index[k] = 0
                position = 0
                while True:
                    if position > 0:
                        self.compare(&self.rows, px, kept[inner].si, m, best, where, position)
                    position += 1
                    if not onwards(runs, n_runs, -1, index, &px, NULL):
                        break
                for j in range(m):
                    out[(begin + j) * kept[inner].so] = where[j]
                begin += m
            if not onwards(kept, n_kept, inner, outer, &x, &out):
                return

    cdef void search(
        self, char *x, cnp.npy_int64 *out, int n_kept, const Axis *kept, int n_runs, const Axis *runs
    ) noexcept nogil:
        cdef int k, inner = -1
        for k in range(n_kept):
            if kept[k].n >= 8 and (inner < 0 or size_of(kept[k].si) < size_of(kept[inner].si)):
                inner = k
        if inner >= 0 and size_of(kept[inner].si) < size_of(runs[n_runs - 1].si):
            self.by_rows(x, out, n_kept, kept, inner, n_runs, runs)
        else:
            self.by_line(x, out, n_kept, kept, n_runs, runs)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> <object> cells[self.inp[0]]
        cdef cnp.ndarray out
        cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
        cdef const cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
        cdef cnp.npy_intp out_shape[DIMS]
        cdef Axis kept[DIMS]
        cdef Axis runs[DIMS]
        cdef int k, n_kept = 0, n_runs = 0, n_out_dims = 0
        cdef cnp.npy_intp n_out = 1, n_reduced = 1
        cdef char *px = cnp.PyArray_BYTES(x)
        cdef cnp.npy_int64 *po
        for k in range(self.ndim):
            if self.reduced[k]:
                n_reduced *= shape[k]
                if shape[k] == 1:
                    continue
                if n_runs > 0 and runs[n_runs - 1].si == strides[k] * shape[k]:
                    runs[n_runs - 1].n *= shape[k]
                    runs[n_runs - 1].si = strides[k]
                else:
                    runs[n_runs].n = shape[k]
                    runs[n_runs].si = strides[k]
                    n_runs += 1
            else:
                out_shape[n_out_dims] = shape[k]
                n_out_dims += 1
                n_out *= shape[k]
        if n_reduced == 0:
            raise ValueError(
                f"{self.extreme()} of no elements: input of shape "
                f"{tuple([shape[k] for k in range(self.ndim)])} over axes {self.axes}"
            )
        out = memory.output(cells, self.out[0], cnp.NPY_INT64, n_out_dims, out_shape)
        if n_out == 0:
            return 0
        for k in range(self.ndim):
            if not self.reduced[k]:
                if shape[k] != 1:
                    kept[n_kept].n = shape[k]
                    kept[n_kept].si = strides[k]
                    n_kept += 1
        n_out_dims = n_kept - 1
        n_out = 1
        while n_out_dims >= 0:
            kept[n_out_dims].so = n_out
            n_out *= kept[n_out_dims].n
            n_out_dims -= 1
        if n_runs == 0:
            runs[0].n = 1
            runs[0].si = self.itemsize
            n_runs = 1
        po = <cnp.npy_int64 *> cnp.PyArray_DATA(out)
        if n_out * n_reduced >= LARGE:
            with nogil:
                self.search(px, po, n_kept, kept, n_runs, runs)
        else:
            self.search(px, po, n_kept, kept, n_runs, runs)
        return 0

    def extreme(self):
        """'argmin' or 'argmax'."""
        return "argmin" if self.smallest else "argmax"

    def __repr__(self):
        return f"ArgmaxKernel({self.extreme()}, axes={self.axes})"


cdef inline cnp.npy_intp size_of(cnp.npy_intp stride) noexcept nogil:
    return -stride if stride < 0 else stride

