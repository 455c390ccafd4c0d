# cython: language_level=3
"""Softmax, its logarithm, the crossentropies of classes, and their gradients.

Everything works on *rows*: the elements along one axis, of which the maximum, the sum and the
quotient are taken. Several rows are treated at a time, so that the exponential runs over a tile
in one call of the inner loop that elementwise kernels use, whatever the length of a row. Inputs
have any strides; outputs are C-contiguous. A row whose elements do not lie side by side in the
output is computed in a tile and scattered.

float32 and float64. A NaN, or an infinity that makes one, is a NaN in the whole row.
"""
import numpy as np

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.math cimport INFINITY, log, logf
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop, canonical, find
from kroton._kernels.workers cimport WORTH_A_THREAD, share

cnp.import_array()

cdef enum:
    TILE = 2048                 # elements treated at a time, unless a row is longer
    SHORT = 16                  # rows up to here are reduced without calling an inner loop
    LARGE = 1 << 13             # elements from which the GIL is released
    MOST_PARTS = 16             # of one call's work, for threads

ctypedef fused real:
    float
    double

cdef struct Loops:
    Loop exp
    Loop maximum
    Loop add

# The rows of an array: `count` of `n` elements. Row r starts at an offset that `advance` keeps.
cdef struct Rows:
    char *at
    Py_ssize_t n
    Py_ssize_t step             # bytes between elements of a row
    Py_ssize_t count
    int nd                      # of the other dimensions
    Py_ssize_t index[32]
    Py_ssize_t extent[32]
    Py_ssize_t stride[32]


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


cdef inline void advance(Rows *rows) noexcept nogil:
    """Go to the next row."""
    cdef int d = rows.nd - 1
    while d >= 0:
        rows.at += rows.stride[d]
        rows.index[d] += 1
        if rows.index[d] < rows.extent[d]:
            return
        rows.at -= rows.stride[d] * rows.extent[d]
        rows.index[d] = 0
        d -= 1


cdef inline void restrict_to(Rows *rows, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Make `rows` those from `first`: `count` of them, or as many as there are."""
    cdef int d = rows.nd - 1
    rows.count = min(count, rows.count - first)
    while d >= 0 and first > 0:
        rows.index[d] = first % rows.extent[d]
        rows.at += rows.index[d] * rows.stride[d]
        first //= rows.extent[d]
        d -= 1


cdef inline Py_ssize_t rows_of_a_part(Py_ssize_t n, Py_ssize_t count, Py_ssize_t steps) noexcept nogil:
    """How many of `count` rows of `n` elements one thread takes at a time: whole tiles of rows.

    `steps` is how many operations an element costs, roughly.
    """
    cdef Py_ssize_t tile = rows_in_tile(n)
    cdef Py_ssize_t parts = min(n * count * steps // WORTH_A_THREAD, <Py_ssize_t> MOST_PARTS)
    if parts < 2:
        return max(count, <Py_ssize_t> 1)
    return (count + parts * tile - 1) // (parts * tile) * tile


cdef inline void reduce_row(Loop *loop, char *accumulator, char *x, Py_ssize_t step, Py_ssize_t n
                            ) noexcept nogil:
    cdef char *args[3]
    cdef cnp.npy_intp dims[1]
    cdef cnp.npy_intp steps[3]
    args[0] = args[2] = accumulator
    args[1] = x
    dims[0] = n
    steps[0] = steps[2] = 0
    steps[1] = step
    loop.function(args, dims, steps, loop.data)


cdef inline real largest(Loops *loops, real *tag, char *x, Py_ssize_t step, Py_ssize_t n
                         ) noexcept nogil:
    """The largest element. A NaN among few may be passed over: it spoils the sum later."""
    cdef real result = -INFINITY
    cdef real value
    cdef Py_ssize_t i
    if n > SHORT:
        result = (<real *> x)[0]
        reduce_row(&loops.maximum, <char *> &result, x, step, n)
        return result
    for i in range(n):
        value = (<real *> (x + i * step))[0]
        if value > result:
            result = value
    return result


cdef inline real total(Loops *loops, real *x, Py_ssize_t n) noexcept nogil:
    """The sum of adjacent elements."""
    cdef real result = 0
    cdef Py_ssize_t i
    if n > SHORT:
        reduce_row(&loops.add, <char *> &result, <char *> x, sizeof(real), n)
    else:
        for i in range(n):
            result += x[i]
    return result


cdef inline real product_total(real *x, real *y, Py_ssize_t n) noexcept nogil:
    """The sum of products of adjacent elements, in eight parts."""
    cdef real part[8]
    cdef Py_ssize_t i = 0, k
    for k in range(8):
        part[k] = 0
    while i + 8 <= n:
        for k in range(8):
            part[k] += x[i + k] * y[i + k]
        i += 8
    while i < n:
        part[0] += x[i] * y[i]
        i += 1
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))


cdef inline void exponentials(Loops *loops, real *x, real *out, Py_ssize_t n) noexcept nogil:
    cdef char *args[2]
    cdef cnp.npy_intp dims[1]
    cdef cnp.npy_intp steps[2]
    args[0] = <char *> x
    args[1] = <char *> out
    dims[0] = n
    steps[0] = steps[1] = sizeof(real)
    loops.exp.function(args, dims, steps, loops.exp.data)


cdef inline real logarithm(real x) noexcept nogil:
    if real is float:
        return logf(x)
    else:
        return log(x)


cdef inline void shifted(real *out, char *x, Py_ssize_t step, Py_ssize_t n, real by) noexcept nogil:
    """out = x - by"""
    cdef Py_ssize_t i
    if step == sizeof(real):
        for i in range(n):
            out[i] = (<real *> x)[i] - by
    else:
        for i in range(n):
            out[i] = (<real *> (x + i * step))[0] - by


cdef inline void gathered(real *out, char *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = (<real *> (x + i * step))[0]


cdef inline void scattered(real *x, char *out, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        (<real *> (out + i * step))[0] = x[i]


cdef inline void quotients(real *x, Py_ssize_t n, real by) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = x[i] / by


cdef inline Py_ssize_t rows_in_tile(Py_ssize_t n) noexcept nogil:
    return max(<Py_ssize_t> 1, TILE // max(n, <Py_ssize_t> 1))


# ---- softmax and its logarithm --------------------------------------------------------------


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
            shifted(first + r * n, x.at, x.step, n, largest(loops, tag, x.at, x.step, n))
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
                quotients(row, n, total(loops, row, n))
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


# ---- crossentropy of classes ----------------------------------------------------------------


cdef inline int64_t class_at(char *at, int typenum) noexcept nogil:
    """A class index of any integer dtype (one of `canonical`)."""
    if typenum == cnp.NPY_INT64:
        return (<int64_t *> at)[0]
    if typenum == cnp.NPY_INT32:
        return (<int32_t *> at)[0]
    if typenum == cnp.NPY_INT16:
        return (<int16_t *> at)[0]
    if typenum == cnp.NPY_INT8:
        return (<int8_t *> at)[0]
    if typenum == cnp.NPY_UINT64:
        return <int64_t> (<uint64_t *> at)[0]
    if typenum == cnp.NPY_UINT32:
        return (<uint32_t *> at)[0]
    if typenum == cnp.NPY_UINT16:
        return (<uint16_t *> at)[0]
    return (<uint8_t *> at)[0]


cdef int check_classes(
    str name, cnp.ndarray classes, int typenum, Py_ssize_t rows, Py_ssize_t n
) except -1:
    """One class for each row, each in 0 .. n-1."""
    cdef Py_ssize_t r
    cdef char *at = cnp.PyArray_BYTES(classes)
    cdef Py_ssize_t step = cnp.PyArray_STRIDE(classes, 0)
    cdef int64_t y
    if cnp.PyArray_DIM(classes, 0) != rows:
        raise ValueError(f"{name}: {cnp.PyArray_DIM(classes, 0)} classes for {rows} rows")
    for r in range(rows):
        y = class_at(at + r * step, typenum)
        if y < 0 or y >= n:
            raise ValueError(
                f"{name}: row {r} has class {(<object> classes)[r]}, "
                f"which is not one of the {n} classes 0 to {n - 1}"
            )
    return 0


cdef void crossentropy_rows(
    Loops *loops, Rows x, char *classes, Py_ssize_t class_step, int class_type,
    real *nll, real *sm, int64_t *winner
) noexcept nogil:
    """For each row: log(sum(exp(x - max))) - (x[y] - max), softmax(x), argmax(x)."""
    cdef Py_ssize_t n = x.n, done = 0, many, r, i
    cdef Py_ssize_t at_once = rows_in_tile(n)
    cdef real *row
    cdef real s
    cdef Rows again = x
    while done < x.count:
        many = min(at_once, x.count - done)
        for r in range(many):
            row = sm + (done + r) * n
            shifted(row, x.at, x.step, n, largest(loops, sm, x.at, x.step, n))
            winner[done + r] = first_zero(row, n)
            nll[done + r] = -row[class_at(classes + (done + r) * class_step, class_type)]
            advance(&x)
        exponentials(loops, sm + done * n, sm + done * n, many * n)
        for r in range(many):
            row = sm + (done + r) * n
            s = total(loops, row, n)
            nll[done + r] = nll[done + r] + logarithm(s)
            quotients(row, n, s)
            if s != s:
                winner[done + r] = first_maximum(row, again.at, again.step, n)
            advance(&again)
        done += many


cdef inline int64_t first_zero(real *row, Py_ssize_t n) noexcept nogil:
    """The position of the first element that is not negative (in a row of no positive ones)."""
    cdef Py_ssize_t i = 0, k
    cdef int found
    while i + 16 <= n:
        found = 0
        for k in range(16):
            found |= not (row[i + k] < 0)
        if found:
            break
        i += 16
    while i < n and row[i] < 0:
        i += 1
    return i


cdef int64_t first_maximum(real *tag, char *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    """The position of the first NaN, else of the first maximum, as `numpy.argmax` has it."""
    cdef Py_ssize_t i, best = 0
    cdef real value
    cdef real top = (<real *> x)[0]
    for i in range(n):
        value = (<real *> (x + i * step))[0]
        if value != value:
            return i
        if value > top:
            top = value
            best = i
    return best


cdef class CrossentropyKernel(Kernel):
    """(nll, softmax, argmax) of the rows of a matrix and their classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    """

    cdef int typenum, class_type
    cdef Loops loops

    def __init__(self, int typenum, int class_typenum):
        self.arity(2, 3)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)
        load(&self.loops, typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray nll, sm, winner
        cdef Rows source = rows_of(x, 1)
        cdef char *classes = cnp.PyArray_BYTES(y)
        cdef Py_ssize_t step = cnp.PyArray_STRIDE(y, 0)
        cdef char *nlls
        cdef char *sms
        cdef int64_t *winners
        cdef cnp.npy_intp count[1]
        check_classes("crossentropy_softmax", y, self.class_type, source.count, source.n)
        count[0] = source.count
        nll = memory.output(cells, self.out[0], self.typenum, 1, count)
        sm = memory.output(cells, self.out[1], self.typenum, 2, cnp.PyArray_DIMS(x))
        winner = memory.output(cells, self.out[2], cnp.NPY_INT64, 1, count)
        nlls, sms = cnp.PyArray_BYTES(nll), cnp.PyArray_BYTES(sm)
        winners = <int64_t *> cnp.PyArray_BYTES(winner)
        if source.count * source.n >= LARGE:
            with nogil:
                self.rows(source, classes, step, nlls, sms, winners)
        else:
            self.rows(source, classes, step, nlls, sms, winners)
        return 0

    cdef void rows(
        self, Rows x, char *classes, Py_ssize_t step, char *nll, char *sm, int64_t *winner
    ) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT32:
            crossentropy_rows(&self.loops, x, classes, step, self.class_type,
                              <float *> nll, <float *> sm, winner)
        else:
            crossentropy_rows(&self.loops, x, classes, step, self.class_type,
                              <double *> nll, <double *> sm, winner)


cdef void crossentropy_grad_rows(
    real *out, char *g, Py_ssize_t g_step, Rows sm, char *classes, Py_ssize_t class_step,
    int class_type
) noexcept nogil:
    """out[r] = g[r] * (sm[r] - one at the class of r)"""
    cdef Py_ssize_t r, i, n = sm.n
    cdef real factor
    cdef real *p
    for r in range(sm.count):
        factor = (<real *> (g + r * g_step))[0]
        if sm.step == sizeof(real):
            p = <real *> sm.at
            for i in range(n):
                out[i] = p[i] * factor
        else:
            for i in range(n):
                out[i] = (<real *> (sm.at + i * sm.step))[0] * factor
        i = class_at(classes + r * class_step, class_type)
        out[i] = out[i] - factor
        out += n
        advance(&sm)


cdef class CrossentropyGradKernel(Kernel):
    """dnll * (softmax - one at the class): inputs dnll, softmax, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    """

    cdef int typenum, class_type

    def __init__(self, int typenum, int class_typenum):
        self.arity(3, 1)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray g = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray sm = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[2]]
        cdef cnp.ndarray out
        cdef Rows rows = rows_of(sm, 1)
        cdef char *outs
        cdef char *gs = cnp.PyArray_BYTES(g)
        cdef char *classes = cnp.PyArray_BYTES(y)
        cdef Py_ssize_t g_step = cnp.PyArray_STRIDE(g, 0), step = cnp.PyArray_STRIDE(y, 0)
        check_rows("crossentropy_softmax_grad", g, rows.count)
        check_classes("crossentropy_softmax_grad", y, self.class_type, rows.count, rows.n)
        out = memory.output(cells, self.out[0], self.typenum, 2, cnp.PyArray_DIMS(sm))
        outs = cnp.PyArray_BYTES(out)
        with nogil:
            if self.typenum == cnp.NPY_FLOAT32:
                crossentropy_grad_rows(
                    <float *> outs, gs, g_step, rows, classes, step, self.class_type
                )
            else:
                crossentropy_grad_rows(
                    <double *> outs, gs, g_step, rows, classes, step, self.class_type
                )
        return 0


cdef int check_rows(str name, cnp.ndarray g, Py_ssize_t rows) except -1:
    if cnp.PyArray_DIM(g, 0) != rows:
        raise ValueError(f"{name}: a gradient of {cnp.PyArray_DIM(g, 0)} rows for {rows} rows")
    return 0


cdef void categorical_rows(
    real *nll, Rows p, char *classes, Py_ssize_t step, int class_type
) noexcept nogil:
    """nll[r] = -log(p[r, class of r])"""
    cdef Py_ssize_t r
    cdef int64_t y
    for r in range(p.count):
        y = class_at(classes + r * step, class_type)
        nll[r] = -logarithm((<real *> (p.at + y * p.step))[0])
        advance(&p)


cdef void categorical_grad_rows(
    real *out, char *g, Py_ssize_t g_step, Rows p, char *classes, Py_ssize_t step, int class_type
) noexcept nogil:
    """out[r, class of r] = -g[r] / p[r, class of r]; the rest is zero already"""
    cdef Py_ssize_t r
    cdef int64_t y
    for r in range(p.count):
        y = class_at(classes + r * step, class_type)
        out[r * p.n + y] = -(<real *> (g + r * g_step))[0] / (<real *> (p.at + y * p.step))[0]
        advance(&p)


cdef class CategoricalKernel(Kernel):
    """-log of each row's probability of its class: inputs probabilities, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    """

    cdef int typenum, class_type

    def __init__(self, int typenum, int class_typenum):
        self.arity(2, 1)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray p = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef Rows rows = rows_of(p, 1)
        cdef cnp.npy_intp count[1]
        check_classes("crossentropy_categorical_1hot", y, self.class_type, rows.count, rows.n)
        count[0] = rows.count
        out = memory.output(cells, self.out[0], self.typenum, 1, count)
        if self.typenum == cnp.NPY_FLOAT32:
            categorical_rows(<float *> cnp.PyArray_BYTES(out), rows, cnp.PyArray_BYTES(y),
                             cnp.PyArray_STRIDE(y, 0), self.class_type)
        else:
            categorical_rows(<double *> cnp.PyArray_BYTES(out), rows, cnp.PyArray_BYTES(y),
                             cnp.PyArray_STRIDE(y, 0), self.class_type)
        return 0


cdef class CategoricalGradKernel(Kernel):
    """-g / p at each row's class, else zero: inputs g, probabilities p, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    """

    cdef int typenum, class_type

    def __init__(self, int typenum, int class_typenum):
        self.arity(3, 1)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray g = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray p = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[2]]
        cdef cnp.ndarray out
        cdef Rows rows = rows_of(p, 1)
        check_rows("crossentropy_categorical_1hot_grad", g, rows.count)
        check_classes("crossentropy_categorical_1hot_grad", y, self.class_type, rows.count, rows.n)
        out = memory.output(cells, self.out[0], self.typenum, 2, cnp.PyArray_DIMS(p))
        memset(cnp.PyArray_BYTES(out), 0, cnp.PyArray_NBYTES(out))
        if self.typenum == cnp.NPY_FLOAT32:
            categorical_grad_rows(
                <float *> cnp.PyArray_BYTES(out), cnp.PyArray_BYTES(g), cnp.PyArray_STRIDE(g, 0),
                rows, cnp.PyArray_BYTES(y), cnp.PyArray_STRIDE(y, 0), self.class_type
            )
        else:
            categorical_grad_rows(
                <double *> cnp.PyArray_BYTES(out), cnp.PyArray_BYTES(g), cnp.PyArray_STRIDE(g, 0),
                rows, cnp.PyArray_BYTES(y), cnp.PyArray_STRIDE(y, 0), self.class_type
            )
        return 0
