# cython: language_level=3
"""Running sums, products and linear recurrences along one axis, in order, on any layout.

Where the axis is the last one, a line runs with its state in a register; otherwise whole rows
of the last dimension advance together. Complex products are taken as NumPy takes them.
"""
cimport numpy as cnp
from cpython.object cimport PyObject

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop, find

cnp.import_array()

cdef enum:
    DIMS = 64
    TILE = 512       # elements of a row that advance together, and that are converted at a time
    LARGE = 1 << 14  # elements from which the GIL is released

ctypedef fused real:
    cnp.uint64_t
    float
    double

ctypedef fused floating:
    float
    double

# Strides of a block: along the axis, and from one line to the next.
cdef struct Strides:
    cnp.npy_intp axis, line


cdef void running(
    real *kind, bint product, int parts, bint first, cnp.npy_intp n, cnp.npy_intp m,
    char *x, Strides sx, char *out, Strides so,
) noexcept nogil:
    """n steps of m lines; `first` if none has a value before; `parts` is 2 for complex.

    `kind` only tells the compiler which numbers these are.
    """
    cdef cnp.npy_intp k, j
    cdef real re, im
    cdef real *o
    cdef real *before
    cdef real *v
    for k in range(n):
        for j in range(m):
            o = <real *> (out + k * so.axis + j * so.line)
            v = <real *> (x + k * sx.axis + j * sx.line)
            if first and k == 0:
                o[0] = v[0]
                if parts == 2:
                    o[1] = v[1]
                continue
            before = <real *> (<char *> o - so.axis)
            if not product:
                o[0] = before[0] + v[0]
                if parts == 2:
                    o[1] = before[1] + v[1]
            elif parts == 1:
                o[0] = before[0] * v[0]
            else:
                re = before[0] * v[0] - before[1] * v[1]
                im = before[0] * v[1] + before[1] * v[0]
                o[0] = re
                o[1] = im


cdef void running_line(
    real *kind, bint product, bint first, cnp.npy_intp n, char *x, cnp.npy_intp sx, char *out
) noexcept nogil:
    """n steps of one line of real numbers, with the state in a register."""
    cdef cnp.npy_intp k = 0
    cdef real *o = <real *> out
    cdef real state
    if first:
        state = (<real *> x)[0]
        o[0] = state
        k = 1
    else:
        state = (o - 1)[0]
    if product:
        while k < n:
            state = state * (<real *> (x + k * sx))[0]
            o[k] = state
            k += 1
    else:
        while k < n:
            state = state + (<real *> (x + k * sx))[0]
            o[k] = state
            k += 1


cdef void recurrence(
    floating *kind, int parts, bint first, cnp.npy_intp n, cnp.npy_intp m,
    char *a, Strides sa, char *b, Strides sb, char *out, Strides so,
) noexcept nogil:
    """`out[k] = b[k] + a[k] * out[k - 1]`: n steps of m lines."""
    cdef cnp.npy_intp k, j
    cdef floating re, im
    cdef floating *o
    cdef floating *before
    cdef floating *u
    cdef floating *v
    for k in range(n):
        for j in range(m):
            o = <floating *> (out + k * so.axis + j * so.line)
            v = <floating *> (b + k * sb.axis + j * sb.line)
            if first and k == 0:
                o[0] = v[0]
                if parts == 2:
                    o[1] = v[1]
                continue
            u = <floating *> (a + k * sa.axis + j * sa.line)
            before = <floating *> (<char *> o - so.axis)
            if parts == 1:
                o[0] = v[0] + u[0] * before[0]
            else:
                re = u[0] * before[0] - u[1] * before[1]
                im = u[0] * before[1] + u[1] * before[0]
                o[0] = v[0] + re
                o[1] = v[1] + im


cdef int outer_dimensions(int ndim, int axis, int inner, int *outer) noexcept nogil:
    """The dimensions other than the axis and the inner one; returns how many."""
    cdef int k, n = 0
    for k in range(ndim):
        if k != axis and k != inner:
            outer[n] = k
            n += 1
    return n


cdef bint advance(
    int n_outer, const int *outer, cnp.npy_intp *index, const cnp.npy_intp *shape,
    int n_pointers, char **pointers, const cnp.npy_intp **strides,
) noexcept nogil:
    """Move the pointers to the next position of the outer dimensions; False after the last."""
    cdef int k = n_outer - 1, d, p
    while k >= 0:
        d = outer[k]
        index[k] += 1
        for p in range(n_pointers):
            pointers[p] += strides[p][d]
        if index[k] < shape[d]:
            return True
        for p in range(n_pointers):
            pointers[p] -= shape[d] * strides[p][d]
        index[k] = 0
        k -= 1
    return False


cdef class CumKernel(Kernel):
    """The running sum or product of an array of `ndim` dimensions along `axis`.

    Parameters
    ----------
    product : bool
    in_typenum, out_typenum : int
        NumPy type numbers; the output's is of 64-bit integers, a float or a complex dtype.
    ndim, axis : int

    Raises LookupError for other dtypes.
    """

    cdef readonly bint product
    cdef readonly int ndim, axis, in_type, out_type
    cdef Loop cast
    cdef int width, parts

    def __init__(self, bint product, int in_typenum, int out_typenum, int ndim, int axis):
        self.arity(1, 1)
        self.product = product
        self.ndim = ndim
        self.axis = axis
        self.in_type = in_typenum
        self.out_type = out_typenum
        self.parts = 1
        if out_typenum in (cnp.NPY_INT64, cnp.NPY_UINT64):
            self.width = 0
        elif out_typenum in (cnp.NPY_FLOAT32, cnp.NPY_COMPLEX64):
            self.width = 4
        elif out_typenum in (cnp.NPY_FLOAT64, cnp.NPY_COMPLEX128):
            self.width = 8
        else:
            raise LookupError(f"no running sums and products in type number {out_typenum}")
        if out_typenum in (cnp.NPY_COMPLEX64, cnp.NPY_COMPLEX128):
            self.parts = 2
        self.cast.function = NULL
        if in_typenum != out_typenum:
            if not find("cast", (in_typenum,), out_typenum, None, &self.cast):
                raise LookupError(f"no conversion from type number {in_typenum}")

    cdef void block(
        self, bint first, cnp.npy_intp n, cnp.npy_intp m, char *x, Strides sx, char *out, Strides so
    ) noexcept nogil:
        if m == 1 and self.parts == 1 and self.axis == self.ndim - 1:
            if self.width == 0:
                running_line(<cnp.uint64_t *> out, self.product, first, n, x, sx.axis, out)
            elif self.width == 4:
                running_line(<float *> out, self.product, first, n, x, sx.axis, out)
            else:
                running_line(<double *> out, self.product, first, n, x, sx.axis, out)
        elif self.width == 0:
            running(<cnp.uint64_t *> out, self.product, 1, first, n, m, x, sx, out, so)
        elif self.width == 4:
            running(<float *> out, self.product, self.parts, first, n, m, x, sx, out, so)
        else:
            running(<double *> out, self.product, self.parts, first, n, m, x, sx, out, so)

    cdef void lines(
        self, cnp.npy_intp n, cnp.npy_intp m, char *x, Strides sx, char *out, Strides so
    ) noexcept nogil:
        """All n steps of m lines, m at most TILE; converts the input tile by tile."""
        cdef char tile[TILE * 16]
        cdef char *args[2]
        cdef cnp.npy_intp steps[2]
        cdef Strides st
        cdef cnp.npy_intp k, size, count
        if self.cast.function == NULL:
            self.block(True, n, m, x, sx, out, so)
            return
        size = self.parts * (self.width if self.width else 8)  # of an element of the tile
        steps[1] = size
        args[1] = tile
        k = 0
        while k < n:
            args[0] = x + k * sx.axis
            if m > 1:
                count = 1
                steps[0] = sx.line
                self.cast.function(args, &m, steps, self.cast.data)
                st.axis = 0
                st.line = size
            else:
                count = n - k if n - k < TILE else TILE
                steps[0] = sx.axis
                self.cast.function(args, &count, steps, self.cast.data)
                st.axis = size
                st.line = 0
            self.block(k == 0, count, m, tile, st, out + k * so.axis, so)
            k += count

    cdef void all_lines(
        self, const cnp.npy_intp *shape, char *x, const cnp.npy_intp *x_strides,
        char *out, const cnp.npy_intp *out_strides,
    ) noexcept nogil:
        cdef int inner = -1 if self.axis == self.ndim - 1 else self.ndim - 1
        cdef int outer[DIMS]
        cdef cnp.npy_intp index[DIMS]
        cdef int n_outer = outer_dimensions(self.ndim, self.axis, inner, outer)
        cdef char *pointers[2]
        cdef const cnp.npy_intp *strides[2]
        cdef Strides sx, so
        cdef cnp.npy_intp begin, m
        cdef int k
        for k in range(n_outer):
            index[k] = 0
        pointers[0] = x
        pointers[1] = out
        strides[0] = x_strides
        strides[1] = out_strides
        sx.axis = x_strides[self.axis]
        so.axis = out_strides[self.axis]
        sx.line = 0
        so.line = 0
        while True:
            if inner < 0:
                self.lines(shape[self.axis], 1, pointers[0], sx, pointers[1], so)
            else:
                sx.line = x_strides[inner]
                so.line = out_strides[inner]
                begin = 0
                while begin < shape[inner]:
                    m = shape[inner] - begin
                    if m > TILE:
                        m = TILE
                    self.lines(
                        shape[self.axis], m, pointers[0] + begin * sx.line, sx,
                        pointers[1] + begin * so.line, so,
                    )
                    begin += m
            if not advance(n_outer, outer, index, shape, 2, pointers, strides):
                return

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> <object> cells[self.inp[0]]
        cdef cnp.ndarray out = memory.output(
            cells, self.out[0], self.out_type, self.ndim, cnp.PyArray_DIMS(x)
        )
        cdef cnp.npy_intp size = cnp.PyArray_SIZE(x)
        if size >= LARGE:
            with nogil:
                self.all_lines(
                    cnp.PyArray_DIMS(x), cnp.PyArray_BYTES(x), cnp.PyArray_STRIDES(x),
                    cnp.PyArray_BYTES(out), cnp.PyArray_STRIDES(out),
                )
        elif size > 0:
            self.all_lines(
                cnp.PyArray_DIMS(x), cnp.PyArray_BYTES(x), cnp.PyArray_STRIDES(x),
                cnp.PyArray_BYTES(out), cnp.PyArray_STRIDES(out),
            )
        return 0

    def __repr__(self):
        return f"CumKernel({'mul' if self.product else 'add'}, axis={self.axis})"


cdef class RecurrenceKernel(Kernel):
    """`s[k] = b[k] + a[k] * s[k - 1]` along `axis`, or from its end with `a[k + 1] * s[k + 1]`.

    Parameters
    ----------
    typenum : int
        NumPy's number of a float or complex dtype, of both inputs and the output.
    ndim, axis : int
    reverse : bool

    Raises
    ------
    LookupError
        For another dtype.
    ValueError
        From `run`, if the shapes of a and b differ.
    """

    cdef readonly int typenum, ndim, axis
    cdef readonly bint reverse
    cdef int parts
    cdef bint single

    def __init__(self, int typenum, int ndim, int axis, bint reverse):
        self.arity(2, 1)
        if typenum not in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64, cnp.NPY_COMPLEX64, cnp.NPY_COMPLEX128):
            raise LookupError(f"no recurrences in type number {typenum}")
        self.typenum = typenum
        self.ndim = ndim
        self.axis = axis
        self.reverse = reverse
        self.parts = 2 if typenum in (cnp.NPY_COMPLEX64, cnp.NPY_COMPLEX128) else 1
        self.single = typenum in (cnp.NPY_FLOAT32, cnp.NPY_COMPLEX64)

    cdef void all_lines(
        self, const cnp.npy_intp *shape, char *a, const cnp.npy_intp *a_strides,
        char *b, const cnp.npy_intp *b_strides, char *out, const cnp.npy_intp *out_strides,
    ) noexcept nogil:
        cdef int inner = -1 if self.axis == self.ndim - 1 else self.ndim - 1
        cdef int outer[DIMS]
        cdef cnp.npy_intp index[DIMS]
        cdef int n_outer = outer_dimensions(self.ndim, self.axis, inner, outer)
        cdef char *pointers[3]
        cdef const cnp.npy_intp *strides[3]
        cdef Strides sa, sb, so
        cdef cnp.npy_intp n = shape[self.axis], m = 1
        cdef int k
        for k in range(n_outer):
            index[k] = 0
        strides[0] = a_strides
        strides[1] = b_strides
        strides[2] = out_strides
        sa.axis = a_strides[self.axis]
        sb.axis = b_strides[self.axis]
        so.axis = out_strides[self.axis]
        sa.line = sb.line = so.line = 0
        if inner >= 0:
            m = shape[inner]
            sa.line = a_strides[inner]
            sb.line = b_strides[inner]
            so.line = out_strides[inner]
        if self.reverse:
            a += n * sa.axis
            b += (n - 1) * sb.axis
            out += (n - 1) * so.axis
            sa.axis = -sa.axis
            sb.axis = -sb.axis
            so.axis = -so.axis
        pointers[0] = a
        pointers[1] = b
        pointers[2] = out
        while True:
            if self.single:
                recurrence(
                    <float *> out, self.parts, True, n, m,
                    pointers[0], sa, pointers[1], sb, pointers[2], so,
                )
            else:
                recurrence(
                    <double *> out, self.parts, True, n, m,
                    pointers[0], sa, pointers[1], sb, pointers[2], so,
                )
            if not advance(n_outer, outer, index, shape, 3, pointers, strides):
                return

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray a = <cnp.ndarray> <object> cells[self.inp[0]]
        cdef cnp.ndarray b = <cnp.ndarray> <object> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef cnp.npy_intp size = cnp.PyArray_SIZE(b)
        cdef int k
        for k in range(self.ndim):
            if cnp.PyArray_DIM(a, k) != cnp.PyArray_DIM(b, k):
                raise ValueError(
                    f"LinearRecurrence: inputs of shapes {(<object> a).shape} "
                    f"and {(<object> b).shape}"
                )
        out = memory.output(cells, self.out[0], self.typenum, self.ndim, cnp.PyArray_DIMS(b))
        if size >= LARGE:
            with nogil:
                self.all_lines(
                    cnp.PyArray_DIMS(b), cnp.PyArray_BYTES(a), cnp.PyArray_STRIDES(a),
                    cnp.PyArray_BYTES(b), cnp.PyArray_STRIDES(b),
                    cnp.PyArray_BYTES(out), cnp.PyArray_STRIDES(out),
                )
        elif size > 0:
            self.all_lines(
                cnp.PyArray_DIMS(b), cnp.PyArray_BYTES(a), cnp.PyArray_STRIDES(a),
                cnp.PyArray_BYTES(b), cnp.PyArray_STRIDES(b),
                cnp.PyArray_BYTES(out), cnp.PyArray_STRIDES(out),
            )
        return 0

    def __repr__(self):
        return f"RecurrenceKernel(axis={self.axis}{', reverse' if self.reverse else ''})"
