# cython: language_level=3
"""Reductions: `out[kept] = op over the reduced axes of x`, on any layout.

`ReduceKernel` walks the outer dimensions itself and calls an inner loop (our own for sums, else
that of a NumPy ufunc) in the form `acc = op(acc, x)`: over a reduced dimension the accumulator has
stride 0 (addition is then pairwise), over a kept one a row of accumulators takes a row of the input.
Dimensions are ordered by stride and coalesced first, so that C, F, transposed and strided
inputs all run long inner loops. An input of another dtype than the accumulator is converted
tile by tile, never as a whole.

Every operation starts from its neutral element: -0.0 for floating addition (so that the sum
of negative zeros keeps its sign), minus infinity or the least integer for the maximum.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop, find

import numpy as np

cnp.import_array()

cdef enum:
    TILE = 1024      # elements converted at a time, and of a strided inner loop
    PARTIALS = 64    # partial results of tiles that are kept before they are combined
    ROW = 2048       # accumulators that stay in the first-level cache
    SHORT = 32       # below this a longer dimension makes the better inner loop
    LARGE = 1 << 14  # elements from which the GIL is released


cdef inline void accumulate(
    const Sweep *s, char *x, cnp.npy_intp si, char *acc, cnp.npy_intp so, cnp.npy_intp n
) noexcept nogil:
    """`acc[k * so] = op(acc[k * so], x[k * si])` for k below n, in the accumulator's dtype."""
    cdef char *args[3]
    cdef cnp.npy_intp steps[3]
    args[0] = acc
    args[1] = x
    args[2] = acc
    steps[0] = so
    steps[1] = si
    steps[2] = so
    s.op.function(args, &n, steps, s.op.data)


cdef void combine(
    const Loop *op, size_t size, char *x, char *acc, cnp.npy_intp n
) noexcept nogil:
    """`acc[k] = op(acc[k], x[k])` for contiguous results of `size` bytes each."""
    cdef char *args[3]
    cdef cnp.npy_intp steps[3]
    args[0] = args[2] = acc
    args[1] = x
    steps[0] = steps[1] = steps[2] = <cnp.npy_intp> size
    op.function(args, &n, steps, op.data)


cdef void convert(
    const Loop *loop, const char *x, cnp.npy_intp si, char *out, cnp.npy_intp so, cnp.npy_intp n
) noexcept nogil:
    """`out[k * so] = x[k * si]` in the dtype of `out`, by a loop of one input."""
    cdef char *args[2]
    cdef cnp.npy_intp steps[2]
    args[0] = <char *> x
    args[1] = out
    steps[0] = si
    steps[1] = so
    loop.function(args, &n, steps, loop.data)


cdef void accumulate_cast(
    const Sweep *s, char *x, cnp.npy_intp si, char *acc, cnp.npy_intp so, cnp.npy_intp n
) noexcept nogil:
    """The same on an input of another dtype.

    Long reduced lines combine up to PARTIALS results of tiles before they touch the
    accumulator, so that the error of a sum grows with n / (TILE * PARTIALS).
    """
    cdef char tile[TILE * 16]
    cdef char partials[PARTIALS * 16]
    cdef cnp.npy_intp m
    cdef cnp.npy_intp size = <cnp.npy_intp> s.acc_size
    cdef int held = 0
    while n > 0:
        m = n if n < TILE else TILE
        convert(&s.cast, x, si, tile, size, m)
        if so != 0:
            accumulate(s, tile, size, acc, so, m)
            acc += m * so
        elif n <= TILE and held == 0:
            accumulate(s, tile, size, acc, 0, m)
        else:
            memcpy(partials + held * size, s.neutral, size)
            accumulate(s, tile, size, partials + held * size, 0, m)
            held += 1
            if held == PARTIALS:
                accumulate(s, partials, size, acc, 0, held)
                held = 0
            if s.stop >= 0 and partials[(held if held else PARTIALS) - 1] == s.stop:
                acc[0] = <char> s.stop
                return
        x += m * si
        n -= m
    if held:
        accumulate(s, partials, size, acc, 0, held)


cdef inline void line(
    const Sweep *s, char *x, cnp.npy_intp si, char *acc, cnp.npy_intp so, cnp.npy_intp n
) noexcept nogil:
    if so == 0 and s.stop >= 0 and acc[0] == s.stop:
        return
    if s.cast.function == NULL:
        accumulate(s, x, si, acc, so, n)
    else:
        accumulate_cast(s, x, si, acc, so, n)


cdef int arranged(Axis *axes, int nd, char **x) noexcept nogil:
    """Order dimensions by stride, the smallest first, and merge those that continue another.

    Reduced dimensions that run backwards are turned around. Extents of 1 go. Returns how many
    dimensions are left.
    """
    cdef int k, j, left = 0
    cdef Axis a
    for k in range(nd):
        a = axes[k]
        if a.n == 1:
            continue
        if a.so == 0 and a.si < 0:
            x[0] += (a.n - 1) * a.si
            a.si = -a.si
        j = left
        while j > 0 and abs_(axes[j - 1].si) >= abs_(a.si):
            axes[j] = axes[j - 1]
            j -= 1
        axes[j] = a
        left += 1
    if left < 2:
        return left
    j = 0
    for k in range(1, left):
        a = axes[k]
        if a.si == axes[j].si * axes[j].n and a.so == axes[j].so * axes[j].n:
            axes[j].n *= a.n
        else:
            j += 1
            axes[j] = a
    return j + 1


cdef inline cnp.npy_intp abs_(cnp.npy_intp x) noexcept nogil:
    return -x if x < 0 else x


cdef void sweep(const Sweep *s, char *x, char *acc) noexcept nogil:
    """Run over all dimensions.

    The inner loop takes the dimension of the smallest stride, unless that one is short and
    another is much longer; a strided inner loop is cut into tiles and a row of accumulators
    into parts that stay in cache, and the other dimensions run inside each part.
    """
    cdef const Axis *axes = s.axes
    cdef cnp.npy_intp index[DIMS]
    cdef int other[DIMS]
    cdef int inner = 0, k, n_other = 0, d
    cdef cnp.npy_intp part, begin, m
    cdef char *px
    cdef char *pa
    cdef Axis a
    if s.nd == 0:
        line(s, x, 0, acc, 0, 1)
        return
    if s.nd == 1:
        line(s, x, axes[0].si, acc, axes[0].so, axes[0].n)
        return
    if axes[0].n < SHORT:
        for k in range(1, s.nd):
            if axes[k].n > axes[inner].n:
                inner = k
        if axes[inner].n < 4 * axes[0].n:
            inner = 0
    a = axes[inner]
    part = a.n
    if inner != 0:
        part = TILE
    elif a.so != 0:
        part = ROW
    for k in range(s.nd):
        if k != inner:
            other[n_other] = k
            index[n_other] = 0
            n_other += 1
    begin = 0
    while begin < a.n:
        m = a.n - begin
        if m > part:
            m = part
        px = x + begin * a.si
        pa = acc + begin * a.so
        k = 0
        while k < n_other:
            line(s, px, a.si, pa, a.so, m)
            k = 0
            while k < n_other:
                d = other[k]
                index[k] += 1
                px += axes[d].si
                pa += axes[d].so
                if index[k] < axes[d].n:
                    break
                px -= axes[d].n * axes[d].si
                pa -= axes[d].n * axes[d].so
                index[k] = 0
                k += 1
        begin += m


_EXTREMES = {"maximum": (-np.inf, "min"), "minimum": (np.inf, "max")}


def neutral_element(ufunc, dtype):
    """The `e` with `ufunc(e, x) == x` for all x of `dtype`, as a 0-d array.

    Raises
    ------
    LookupError
        If `ufunc` is not one that reduces here.
    """
    if ufunc.__name__ in _EXTREMES:
        infinity, extreme = _EXTREMES[ufunc.__name__]
        if dtype.kind == "b":
            return np.array(extreme == "max")
        if dtype.kind in "iu":
            return np.array(getattr(np.iinfo(dtype), extreme), dtype)
        if dtype.kind == "c":
            return np.array(complex(infinity, infinity), dtype)
        return np.array(infinity, dtype)
    if ufunc is np.add and dtype.kind in "fc":
        return np.array(complex(-0.0, -0.0) if dtype.kind == "c" else -0.0, dtype)
    if ufunc.identity is None:
        raise LookupError(f"{ufunc.__name__} has no neutral element to reduce from")
    return np.array(ufunc.identity).astype(dtype)


cdef class ReduceKernel(Kernel):
    """`ufunc` over `axes` of an array of `ndim` dimensions; the result drops them.

    Parameters
    ----------
    name : str
        The scalar operation's name.
    ufunc : numpy.ufunc
        What it is in NumPy: binary, commutative and associative, such as add or maximum.
    in_typenum, acc_typenum, out_typenum : int
        NumPy type numbers of the input, of what is accumulated in, and of the result.
    ndim : int
    axes : tuple of int
        Which dimensions go; none is negative.
    neutral : bool
        Whether the extreme of no elements is what changes no extreme, instead of an error.

    Raises
    ------
    LookupError
        If there is no loop in the accumulator's dtype.
    ValueError
        From `run`: a reduction of nothing by an operation without a value for it.
    """

    def __init__(
        self, str name, ufunc, int in_typenum, int acc_typenum, int out_typenum, int ndim, axes,
        bint neutral=False,
    ):
        cdef int k
        cdef cnp.ndarray value
        self.arity(1, 1)
        self.name = name
        self.ufunc = ufunc
        self.in_type = in_typenum
        self.acc_type = acc_typenum
        self.out_type = out_typenum
        self.ndim = ndim
        self.axes = tuple(axes)
        for k in range(DIMS):
            self.reduced[k] = False
        for axis in self.axes:
            if not 0 <= axis < ndim:
                raise ValueError(f"axis {axis} of {ndim} dimensions")
            self.reduced[<int> axis] = True
        dtype = np.dtype(cnp.PyArray_DescrFromType(acc_typenum))
        # A loop of ours may take the input as it is; otherwise tiles of it are converted.
        own = f"reduce_{name}"
        direct = find(own, (acc_typenum, in_typenum), acc_typenum, None, &self.op)
        if not (
            direct
            or find(own, (acc_typenum, acc_typenum), acc_typenum, None, &self.op)
            or find(name, (acc_typenum, acc_typenum), acc_typenum, ufunc, &self.op)
        ):
            raise LookupError(f"{name} has no loop for {dtype}")
        if not (
            find(own, (acc_typenum, acc_typenum), acc_typenum, None, &self.joined)
            or find(name, (acc_typenum, acc_typenum), acc_typenum, ufunc, &self.joined)
        ):
            raise LookupError(f"{name} has no loop for {dtype}")
        if not find("identity", (acc_typenum,), acc_typenum, None, &self.copy):
            raise LookupError(f"{dtype} cannot be copied")
        self.cast_in.function = NULL
        if in_typenum != acc_typenum and not direct:
            if not find("cast", (in_typenum,), acc_typenum, None, &self.cast_in):
                raise LookupError(f"no conversion from type number {in_typenum} to {dtype}")
        self.cast_out.function = NULL
        if out_typenum != acc_typenum:
            if not find("cast", (acc_typenum,), out_typenum, None, &self.cast_out):
                raise LookupError(f"no conversion from {dtype} to type number {out_typenum}")
        self.acc_size = dtype.itemsize
        value = neutral_element(ufunc, dtype)
        memcpy(self.neutral, cnp.PyArray_DATA(value), self.acc_size)
        self.has_empty = ufunc.identity is not None
        if self.has_empty:
            value = np.array(ufunc.identity).astype(dtype)
            memcpy(self.empty, cnp.PyArray_DATA(value), self.acc_size)
        elif neutral:
            self.has_empty = True
            memcpy(self.empty, self.neutral, self.acc_size)
        self.stop = -1
        if acc_typenum == cnp.NPY_BOOL:
            if ufunc in (np.bitwise_or, np.logical_or, np.add, np.maximum):
                self.stop = 1
            elif ufunc in (np.bitwise_and, np.logical_and, np.multiply, np.minimum):
                self.stop = 0

    cdef void start(self, Sweep *s) noexcept nogil:
        """Fill in all of a Sweep but its axes."""
        s.op = self.op
        s.cast = self.cast_in
        s.acc_size = self.acc_size
        s.neutral = self.neutral
        s.stop = self.stop

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> <object> cells[self.inp[0]]
        cdef cnp.ndarray out
        cdef const cnp.npy_intp *shape = cnp.PyArray_DIMS(x)
        cdef const cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
        cdef cnp.npy_intp out_shape[DIMS]
        cdef Sweep s
        cdef int k, n_kept = 0
        cdef cnp.npy_intp n_out = 1, n_reduced = 1, so
        cdef char *px = cnp.PyArray_BYTES(x)
        cdef char scalar[16]
        cdef char *acc
        for k in range(self.ndim):
            if self.reduced[k]:
                n_reduced *= shape[k]
            else:
                out_shape[n_kept] = shape[k]
                n_kept += 1
                n_out *= shape[k]
        if n_reduced == 0 and not self.has_empty:
            raise ValueError(
                f"{self.name} of no elements: input of shape "
                f"{tuple([shape[k] for k in range(self.ndim)])} over axes {self.axes}"
            )
        out = memory.output(cells, self.out[0], self.out_type, n_kept, out_shape)
        if n_out == 0:
            return 0
        if self.cast_out.function == NULL:
            acc = cnp.PyArray_BYTES(out)
        elif n_out == 1:
            acc = scalar
        else:
            acc = <char *> malloc(<size_t> n_out * self.acc_size)
            if acc == NULL:
                raise MemoryError()
        if n_reduced == 0:
            convert(&self.copy, self.empty, 0, acc, self.acc_size, n_out)
        else:
            convert(&self.copy, self.neutral, 0, acc, self.acc_size, n_out)
            self.start(&s)
            so = self.acc_size
            for k in range(self.ndim - 1, -1, -1):
                s.axes[k].n = shape[k]
                s.axes[k].si = strides[k]
                if self.reduced[k]:
                    s.axes[k].so = 0
                else:
                    s.axes[k].so = so
                    so *= shape[k]
            s.nd = arranged(s.axes, self.ndim, &px)
            if n_out * n_reduced >= LARGE:
                with nogil:
                    sweep(&s, px, acc)
            else:
                sweep(&s, px, acc)
        if self.cast_out.function != NULL:
            convert(
                &self.cast_out, acc, self.acc_size, cnp.PyArray_BYTES(out),
                cnp.PyArray_ITEMSIZE(out), n_out,
            )
            if acc != scalar:
                free(acc)
        return 0

    def __repr__(self):
        return f"ReduceKernel({self.name}, axes={self.axes})"
