# cython: language_level=3
"""Softmax, its logarithm, and the gradient of the softmax.

Everything works on *rows*: the elements along one axis, of which the maximum, the sum and the
quotient are taken. Inputs have any strides; outputs are C-contiguous. A row whose elements do
not lie side by side in the output is computed in a tile and scattered.

Exponentials are multiplied by the reciprocal of their sum, which is never below 1: half a unit in
the last place is lost, and the time of a division for each element gained.

float32 and float64. A NaN, or an infinity that makes one, is a NaN in the whole row.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.rows cimport (
    LARGE, Loops, Rows, advance, exponentials, gathered, largest, load, logarithm, product_total,
    real, restrict_to, rows_in_tile, rows_of, rows_of_a_part, scaled, scattered, shifted, total,
)
from kroton._kernels.workers cimport share

cnp.import_array()


cdef void softmax_rows(
    Loops *loops, real *tag, Rows x, Rows out, bint adjacent, bint logs, real *tile, real *spare
) noexcept nogil:
    """Each row of x into the same row of out: exp(x - max) / sum, or its logarithm.

    Rows of `out` that are not `adjacent` elements are computed in `tile`; the exponentials
    whose sum the logarithm needs are in `spare`.
    """
    cdef Py_ssize_t n = x.n, done = 0, many, r, i
    cdef Py_ssize_t at_once = rows_in_tile(n)
    cdef real *first
    cdef real *row
    cdef real shift
    if n == 0:
        return
    while done < x.count:
        many = min(at_once, x.count - done)
        first = <real *> out.at if adjacent else tile
        for r in range(many):
            shifted(loops, first + r * n, x.at, x.step, n, largest(loops, tag, x.at, x.step, n))
            advance(&x)
        if logs:
            exponentials(loops, first, spare, many * n)
        else:
            exponentials(loops, first, first, many * n)
        for r in range(many):
            row = first + r * n
            if logs:
                shift = logarithm(total(loops, spare + r * n, n))
                for i in range(n):
                    row[i] = row[i] - shift
            else:
                scaled(loops, row, n, 1 / total(loops, row, n))
            if not adjacent:
                scattered(row, out.at, out.step, n)
                advance(&out)
        if adjacent:
            out.at += many * n * sizeof(real)
        done += many


cdef void softmax_grad_rows(
    real *tag, Rows g, Rows sm, Rows out, real *tile
) noexcept nogil:
    """out = (g - sum(g * sm)) * sm for each row; `tile` has room for three rows."""
    cdef Py_ssize_t n = g.n, r, i
    cdef real *p
    cdef real *q
    cdef real *target
    cdef real s
    cdef Py_ssize_t item = sizeof(real)
    for r in range(g.count):
        p = <real *> g.at
        q = <real *> sm.at
        target = <real *> out.at
        if g.step != item:
            p = tile
            gathered(p, g.at, g.step, n)
        if sm.step != item:
            q = tile + n
            gathered(q, sm.at, sm.step, n)
        if out.step != item:
            target = tile + 2 * n
        s = product_total(p, q, n)
        for i in range(n):
            target[i] = (p[i] - s) * q[i]
        if out.step != item:
            scattered(target, out.at, out.step, n)
        advance(&g)
        advance(&sm)
        advance(&out)


cdef struct SoftmaxWork:
    Loops *loops
    Rows source, target
    int typenum
    bint adjacent, logs
    Py_ssize_t rows             # of a part
    char *room                  # of all parts
    Py_ssize_t room_bytes       # of one
    Py_ssize_t in_tile


cdef void softmax_part(void *context, int part) noexcept nogil:
    cdef SoftmaxWork *work = <SoftmaxWork *> context
    cdef Rows source = work.source, target = work.target
    cdef char *room = work.room + part * work.room_bytes
    restrict_to(&source, part * work.rows, work.rows)
    restrict_to(&target, part * work.rows, work.rows)
    if work.adjacent:           # its rows are one after the other, whatever the other dimensions
        target.at = work.target.at + part * work.rows * target.n * target.step
    if work.typenum == cnp.NPY_FLOAT32:
        softmax_rows(work.loops, <float *> NULL, source, target, work.adjacent, work.logs,
                     <float *> room, <float *> room + work.in_tile)
    else:
        softmax_rows(work.loops, <double *> NULL, source, target, work.adjacent, work.logs,
                     <double *> room, <double *> room + work.in_tile)


cdef class SoftmaxKernel(Kernel):
    """softmax(x) along an axis, or its logarithm.

    Parameters
    ----------
    typenum : int
        float32 or float64
    axis : int or None
        None takes all elements as one row.
    logs : bool
    """

    cdef int typenum, axis
    cdef bint whole, logs
    cdef Loops loops

    def __init__(self, int typenum, axis, bint logs=False):
        self.arity(1, 1)
        self.typenum = typenum
        self.whole = axis is None
        self.axis = 0 if axis is None else axis
        self.logs = logs
        load(&self.loops, typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray out
        cdef SoftmaxWork work
        cdef Py_ssize_t size = cnp.PyArray_SIZE(x), item = cnp.PyArray_ITEMSIZE(x)
        cdef int parts
        work.room = NULL
        work.room_bytes = work.in_tile = 0
        out = memory.output(
            cells, self.out[0], self.typenum, cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x)
        )
        if self.whole:
            x = cnp.PyArray_GETCONTIGUOUS(x)
            work.source = whole_of(x)
            work.target = whole_of(out)
        else:
            work.source = rows_of(x, self.axis)
            work.target = rows_of(out, self.axis)
        if work.source.count == 0:
            return 0
        work.loops = &self.loops
        work.typenum = self.typenum
        work.logs = self.logs
        work.adjacent = self.whole or self.axis == cnp.PyArray_NDIM(x) - 1
        work.rows = rows_of_a_part(work.source.n, work.source.count, 4)
        parts = <int> ((work.source.count + work.rows - 1) // work.rows)
        if not work.adjacent or self.logs:
            work.in_tile = min(rows_in_tile(work.source.n), work.source.count) * work.source.n
            work.room_bytes = 2 * work.in_tile * item + 64
            work.room = <char *> malloc(parts * work.room_bytes)
            if work.room == NULL:
                raise MemoryError(f"no memory for rows of {work.source.n} elements")
        try:
            if size >= LARGE:
                with nogil:
                    share(softmax_part, &work, parts)
            else:
                softmax_part(&work, 0)
        finally:
            free(work.room)
        return 0

    def __repr__(self):
        return "SoftmaxKernel(log)" if self.logs else "SoftmaxKernel()"


cdef Rows whole_of(cnp.ndarray x) noexcept:
    """A C-contiguous array as one row."""
    cdef Rows rows
    rows.at = cnp.PyArray_BYTES(x)
    rows.n = cnp.PyArray_SIZE(x)
    rows.step = cnp.PyArray_ITEMSIZE(x)
    rows.count = 1
    rows.nd = 0
    return rows


cdef int same_shape(str name, cnp.ndarray x, cnp.ndarray y) except -1:
    cdef int d
    for d in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIM(x, d) != cnp.PyArray_DIM(y, d):
            raise ValueError(
                f"{name}: shapes {(<object> x).shape} and {(<object> y).shape} differ"
            )
    return 0


cdef class SoftmaxGradKernel(Kernel):
    """(g - sum(g * sm)) * sm along an axis: the gradient by x of softmax(x) = sm.

    Parameters
    ----------
    typenum : int
        float32 or float64
    axis : int or None
    """

    cdef int typenum, axis
    cdef bint whole

    def __init__(self, int typenum, axis):
        self.arity(2, 1)
        self.typenum = typenum
        self.whole = axis is None
        self.axis = 0 if axis is None else axis

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray g = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray sm = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef Rows gs, sms, outs
        cdef char *room
        same_shape("softmax_grad", g, sm)
        out = memory.output(
            cells, self.out[0], self.typenum, cnp.PyArray_NDIM(g), cnp.PyArray_DIMS(g)
        )
        if self.whole:
            g = cnp.PyArray_GETCONTIGUOUS(g)
            sm = cnp.PyArray_GETCONTIGUOUS(sm)
            gs, sms, outs = whole_of(g), whole_of(sm), whole_of(out)
        else:
            gs, sms, outs = rows_of(g, self.axis), rows_of(sm, self.axis), rows_of(out, self.axis)
        room = <char *> malloc(3 * gs.n * cnp.PyArray_ITEMSIZE(g) + 1)
        if room == NULL:
            raise MemoryError(f"no memory for rows of {gs.n} elements")
        try:
            with nogil:
                if self.typenum == cnp.NPY_FLOAT32:
                    softmax_grad_rows(<float *> NULL, gs, sms, outs, <float *> room)
                else:
                    softmax_grad_rows(<double *> NULL, gs, sms, outs, <double *> room)
        finally:
            free(room)
        return 0
