# cython: language_level=3
"""Strided rows: copied, added, gathered from and scattered to byte offsets.

Copies depend on the item size only, additions on the dtype; integers are added unsigned, so
that overflow wraps around. A `Walk` is a nest of rows over two arrays of one shape; `prepare`
brings it to as few and as long rows as the layouts allow.
"""
cimport cython
cimport numpy as cnp
from libc.string cimport memcpy

cnp.import_array()


cdef struct Wide:
    cnp.npy_uint64 low
    cnp.npy_uint64 high

ctypedef fused item:
    cnp.npy_uint8
    cnp.npy_uint16
    cnp.npy_uint32
    cnp.npy_uint64
    Wide

ctypedef fused number:
    cnp.npy_uint8
    cnp.npy_uint16
    cnp.npy_uint32
    cnp.npy_uint64
    float
    double
    float complex
    double complex


# ---- a[k * sa] from b[k * sb]

cdef void copy_row(
    item *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    cdef item value
    if sa == sizeof(item) and sb == sizeof(item):
        memcpy(a, b, <size_t> n * sizeof(item))
    elif sb == 0:
        memcpy(&value, b, sizeof(item))
        for k in range(n):
            memcpy(<char *> a + k * sa, &value, sizeof(item))
    else:
        for k in range(n):
            memcpy(<char *> a + k * sa, b + k * sb, sizeof(item))


cdef void add_row(
    number *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    cdef number value
    if sa == sizeof(number) and sb == sizeof(number):
        for k in range(n):
            a[k] += (<number *> b)[k]
    elif sb == 0:
        value = (<number *> b)[0]
        for k in range(n):
            (<number *> (<char *> a + k * sa))[0] += value
    else:
        for k in range(n):
            (<number *> (<char *> a + k * sa))[0] += (<number *> (b + k * sb))[0]


cdef void or_row(
    char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        a[k * sa] = (a[k * sa] != 0) | (b[k * sb] != 0)


# ---- elements at offsets

cdef void take_each(
    item *base, cnp.npy_intp *offsets, char *other, cnp.npy_intp step, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    if step == sizeof(item):
        for k in range(n):
            memcpy(other + k * <cnp.npy_intp> sizeof(item), <char *> base + offsets[k], sizeof(item))
    else:
        for k in range(n):
            memcpy(other + k * step, <char *> base + offsets[k], sizeof(item))


cdef void put_each(
    item *base, cnp.npy_intp *offsets, char *other, cnp.npy_intp step, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        memcpy(<char *> base + offsets[k], other + k * step, sizeof(item))


cdef void add_each(
    number *base, cnp.npy_intp *offsets, char *other, cnp.npy_intp step, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        (<number *> (<char *> base + offsets[k]))[0] += (<number *> (other + k * step))[0]


cdef void or_each(
    char *base, cnp.npy_intp *offsets, char *other, cnp.npy_intp step, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        base[offsets[k]] = (base[offsets[k]] != 0) | (other[k * step] != 0)


# ---- which loop

cdef Loops take_loops(int itemsize) noexcept:
    """Loops whose source has the offsets, for items of this size; NULLs if there are none."""
    cdef Loops loops = put_loops(itemsize)
    if itemsize == 1:
        loops.each = <offset_loop> take_each[cnp.npy_uint8]
    elif itemsize == 2:
        loops.each = <offset_loop> take_each[cnp.npy_uint16]
    elif itemsize == 4:
        loops.each = <offset_loop> take_each[cnp.npy_uint32]
    elif itemsize == 8:
        loops.each = <offset_loop> take_each[cnp.npy_uint64]
    elif itemsize == 16:
        loops.each = <offset_loop> take_each[Wide]
    return loops


cdef Loops put_loops(int itemsize) noexcept:
    """Loops whose destination has the offsets, for items of this size; NULLs if there are none."""
    cdef Loops loops
    loops.row = NULL
    loops.each = NULL
    if itemsize == 1:
        loops.row = <row_loop> copy_row[cnp.npy_uint8]
        loops.each = <offset_loop> put_each[cnp.npy_uint8]
    elif itemsize == 2:
        loops.row = <row_loop> copy_row[cnp.npy_uint16]
        loops.each = <offset_loop> put_each[cnp.npy_uint16]
    elif itemsize == 4:
        loops.row = <row_loop> copy_row[cnp.npy_uint32]
        loops.each = <offset_loop> put_each[cnp.npy_uint32]
    elif itemsize == 8:
        loops.row = <row_loop> copy_row[cnp.npy_uint64]
        loops.each = <offset_loop> put_each[cnp.npy_uint64]
    elif itemsize == 16:
        loops.row = <row_loop> copy_row[Wide]
        loops.each = <offset_loop> put_each[Wide]
    return loops


cdef Loops add_loops(int typenum) noexcept:
    """Loops `a += b` of a dtype (or, for booleans), or NULLs."""
    cdef Loops loops
    loops.row = NULL
    loops.each = NULL
    if typenum == cnp.NPY_BOOL:
        loops.row = or_row
        loops.each = or_each
    elif typenum == cnp.NPY_INT8 or typenum == cnp.NPY_UINT8:
        loops.row = <row_loop> add_row[cnp.npy_uint8]
        loops.each = <offset_loop> add_each[cnp.npy_uint8]
    elif typenum == cnp.NPY_INT16 or typenum == cnp.NPY_UINT16:
        loops.row = <row_loop> add_row[cnp.npy_uint16]
        loops.each = <offset_loop> add_each[cnp.npy_uint16]
    elif typenum == cnp.NPY_INT32 or typenum == cnp.NPY_UINT32:
        loops.row = <row_loop> add_row[cnp.npy_uint32]
        loops.each = <offset_loop> add_each[cnp.npy_uint32]
    elif typenum == cnp.NPY_INT64 or typenum == cnp.NPY_UINT64:
        loops.row = <row_loop> add_row[cnp.npy_uint64]
        loops.each = <offset_loop> add_each[cnp.npy_uint64]
    elif typenum == cnp.NPY_FLOAT32:
        loops.row = <row_loop> add_row[float]
        loops.each = <offset_loop> add_each[float]
    elif typenum == cnp.NPY_FLOAT64:
        loops.row = <row_loop> add_row[double]
        loops.each = <offset_loop> add_each[double]
    elif typenum == cnp.NPY_COMPLEX64:
        loops.row = <row_loop> add_row[cython.floatcomplex]
        loops.each = <offset_loop> add_each[cython.floatcomplex]
    elif typenum == cnp.NPY_COMPLEX128:
        loops.row = <row_loop> add_row[cython.doublecomplex]
        loops.each = <offset_loop> add_each[cython.doublecomplex]
    return loops


# ---- nests of rows

cdef inline cnp.npy_intp magnitude(cnp.npy_intp s) noexcept nogil:
    return s if s >= 0 else -s


cdef void prepare(Walk *w) noexcept nogil:
    """Drop extents of 1, put long strides of the destination outside, merge what is one row."""
    cdef int d, k, n = 0
    cdef cnp.npy_intp dim, sa, sb
    for d in range(w.nd):
        dim, sa, sb = w.dims[d], w.sa[d], w.sb[d]
        if dim == 0:
            w.nd = -1
            return
        if dim == 1:
            continue
        k = n
        while k > 0 and magnitude(w.sa[k - 1]) < magnitude(sa):
            w.dims[k], w.sa[k], w.sb[k] = w.dims[k - 1], w.sa[k - 1], w.sb[k - 1]
            k -= 1
        w.dims[k], w.sa[k], w.sb[k] = dim, sa, sb
        n += 1
    k = 0
    for d in range(1, n):
        if w.sa[k] == w.sa[d] * w.dims[d] and w.sb[k] == w.sb[d] * w.dims[d]:
            w.dims[k] *= w.dims[d]
        else:
            k += 1
            w.dims[k] = w.dims[d]
        w.sa[k], w.sb[k] = w.sa[d], w.sb[d]
    w.nd = k + 1 if n > 0 else 0


cdef void walk(Walk *w, char *a, char *b, row_loop loop) noexcept nogil:
    """`loop` on every row of a prepared walk; `a` is the destination."""
    cdef cnp.npy_intp counter[DIMS]
    cdef int d, last = w.nd - 1
    if w.nd < 0:
        return
    if w.nd == 0:
        loop(a, 0, b, 0, 1)
        return
    for d in range(last):
        counter[d] = 0
    while True:
        loop(a, w.sa[last], b, w.sb[last], w.dims[last])
        d = last - 1
        while d >= 0:
            counter[d] += 1
            a += w.sa[d]
            b += w.sb[d]
            if counter[d] < w.dims[d]:
                break
            a -= w.sa[d] * w.dims[d]
            b -= w.sb[d] * w.dims[d]
            counter[d] = 0
            d -= 1
        if d < 0:
            return
