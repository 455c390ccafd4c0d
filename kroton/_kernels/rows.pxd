# Rows of arrays: what softmax and crossentropy do to the elements along one axis.
#
# Several rows are treated at a time, so that the exponential runs over a tile in one call of the
# inner loop that elementwise kernels use, whatever the length of a row. Ships in the wheel.
cimport numpy as cnp
from libc.math cimport INFINITY, log, logf

from kroton._kernels.loops cimport Loop
from kroton._kernels.workers cimport WORTH_A_THREAD

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
    Loop subtract
    Loop multiply

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

cdef int load(Loops *loops, int typenum) except -1
cdef Rows rows_of(cnp.ndarray x, int axis) noexcept


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


cdef inline void with_one_value(
    Loop *loop, char *x, Py_ssize_t step, real *value, real *out, Py_ssize_t n
) noexcept nogil:
    """out = loop(x, value), the same value for all elements."""
    cdef char *args[3]
    cdef cnp.npy_intp dims[1]
    cdef cnp.npy_intp steps[3]
    args[0] = x
    args[1] = <char *> value
    args[2] = <char *> out
    dims[0] = n
    steps[0] = step
    steps[1] = 0
    steps[2] = sizeof(real)
    loop.function(args, dims, steps, loop.data)


cdef inline void shifted(
    Loops *loops, real *out, char *x, Py_ssize_t step, Py_ssize_t n, real by
) noexcept nogil:
    """out = x - by"""
    cdef Py_ssize_t i
    if n > SHORT:
        with_one_value(&loops.subtract, x, step, &by, out, n)
        return
    for i in range(n):
        out[i] = (<real *> (x + i * step))[0] - by


cdef inline void scaled(Loops *loops, real *x, Py_ssize_t n, real by) noexcept nogil:
    """x = x * by, in place"""
    cdef Py_ssize_t i
    if n > SHORT:
        with_one_value(&loops.multiply, <char *> x, sizeof(real), &by, x, n)
        return
    for i in range(n):
        x[i] = x[i] * by


cdef inline void gathered(real *out, char *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = (<real *> (x + i * step))[0]


cdef inline void scattered(real *x, char *out, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        (<real *> (out + i * step))[0] = x[i]


cdef inline Py_ssize_t rows_in_tile(Py_ssize_t n) noexcept nogil:
    return max(<Py_ssize_t> 1, TILE // max(n, <Py_ssize_t> 1))
