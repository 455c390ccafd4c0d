# cython: language_level=3
"""Indexing: views, gathers, indexed assignment and indexed addition.

An `Index` describes what stands between the brackets; `locate` finds the *region* of an array
that it names: a pointer, the extents and byte strides of the sliced dimensions, and one byte
offset for each element of the broadcast index arrays. The extents of a region are

    sliced dimensions before `first`  +  those of the index arrays  +  other sliced dimensions

as NumPy orders them. All indices are checked while the region is located, before anything is
written. Rows (the dimensions after the index arrays) are merged into as few strided loops as
their layout allows, and moved or added by loops that depend on the item size or the dtype only.

An index is described in plain Python, one item for each entry:

    7, 'scalar'                 a number; the next input, a 0-d integer array
    (start, stop, step)         a slice; each part None, a number or 'scalar'
    None                        a new dimension
    'array'                     the next input, an integer array with dimensions
    ('mask', ndim)              the next input, a boolean array

Any strides, empty arrays and any integer dtype are taken.
"""
cimport cython
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        PyObject *subtype, void *descr, int nd, cnp.npy_intp *dims,
        cnp.npy_intp *strides, void *data, int flags, PyObject *obj
    )
    int PyArray_CopyInto(object dest, object src) except -1
    object PyArray_Nonzero(object array)
    PyObject *PyArray_DESCR(object array)
    PyObject *ndarray_type "((PyObject *)&PyArray_Type)"

cdef extern from "Python.h":
    Py_ssize_t PySlice_AdjustIndices(
        Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t step
    )
    Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t PY_SSIZE_T_MIN
    void Py_INCREF "Py_INCREF"(PyObject *o)

cdef enum:
    ABSENT, FIXED, GIVEN

cdef enum:
    POINT, SLICE, NEWAXIS, ARRAY, MASK

cdef enum:
    LARGE = 1 << 14     # elements from which on the GIL is released


# ---- loops over one row ------------------------------------------------------------------

cdef struct Wide:
    cnp.npy_uint64 low
    cnp.npy_uint64 high

ctypedef fused item:
    cnp.npy_uint8
    cnp.npy_uint16
    cnp.npy_uint32
    cnp.npy_uint64
    Wide

ctypedef fused number:      # unsigned, so that overflow wraps around
    cnp.npy_uint8
    cnp.npy_uint16
    cnp.npy_uint32
    cnp.npy_uint64
    float
    double
    float complex
    double complex


cdef void copy_row(
    item *_, char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    cdef item value
    if sa == sizeof(item) and sb == sizeof(item):
        memcpy(a, b, <size_t> n * sizeof(item))
    elif sb == 0:
        memcpy(&value, b, sizeof(item))
        for k in range(n):
            memcpy(a + k * sa, &value, sizeof(item))
    else:
        for k in range(n):
            memcpy(a + k * sa, b + k * sb, sizeof(item))


cdef void add_row(
    number *_, char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    cdef number value
    if sa == sizeof(number) and sb == sizeof(number):
        for k in range(n):
            (<number *> a)[k] += (<number *> b)[k]
    elif sb == 0:
        value = (<number *> b)[0]
        for k in range(n):
            (<number *> (a + k * sa))[0] += value
    else:
        for k in range(n):
            (<number *> (a + k * sa))[0] += (<number *> (b + k * sb))[0]


cdef void copy_1(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    copy_row[cnp.npy_uint8](NULL, a, sa, b, sb, n)


cdef void copy_2(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    copy_row[cnp.npy_uint16](NULL, a, sa, b, sb, n)


cdef void copy_4(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    copy_row[cnp.npy_uint32](NULL, a, sa, b, sb, n)


cdef void copy_8(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    copy_row[cnp.npy_uint64](NULL, a, sa, b, sb, n)


cdef void copy_16(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    copy_row[Wide](NULL, a, sa, b, sb, n)


cdef void add_bool(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        a[k * sa] = (a[k * sa] != 0) | (b[k * sb] != 0)


cdef void add_1(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cnp.npy_uint8](NULL, a, sa, b, sb, n)


cdef void add_2(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cnp.npy_uint16](NULL, a, sa, b, sb, n)


cdef void add_4(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cnp.npy_uint32](NULL, a, sa, b, sb, n)


cdef void add_8(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cnp.npy_uint64](NULL, a, sa, b, sb, n)


cdef void add_f(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[float](NULL, a, sa, b, sb, n)


cdef void add_d(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[double](NULL, a, sa, b, sb, n)


cdef void add_c(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cython.floatcomplex](NULL, a, sa, b, sb, n)


cdef void add_z(char *a, cnp.npy_intp sa, char *b, cnp.npy_intp sb, cnp.npy_intp n) noexcept nogil:
    add_row[cython.doublecomplex](NULL, a, sa, b, sb, n)


cdef row_loop copy_loop(int itemsize) noexcept:
    """The loop that copies items of this size, or NULL."""
    if itemsize == 8:
        return copy_8
    if itemsize == 4:
        return copy_4
    if itemsize == 1:
        return copy_1
    if itemsize == 2:
        return copy_2
    if itemsize == 16:
        return copy_16
    return NULL


cdef row_loop add_loop(int typenum) noexcept:
    """The loop `a += b` of a dtype, or NULL."""
    if typenum == cnp.NPY_FLOAT64:
        return add_d
    if typenum == cnp.NPY_FLOAT32:
        return add_f
    if typenum == cnp.NPY_COMPLEX64:
        return add_c
    if typenum == cnp.NPY_COMPLEX128:
        return add_z
    if typenum == cnp.NPY_BOOL:
        return add_bool
    if typenum == cnp.NPY_INT8 or typenum == cnp.NPY_UINT8:
        return add_1
    if typenum == cnp.NPY_INT16 or typenum == cnp.NPY_UINT16:
        return add_2
    if typenum == cnp.NPY_INT32 or typenum == cnp.NPY_UINT32:
        return add_4
    if typenum == cnp.NPY_INT64 or typenum == cnp.NPY_UINT64:
        return add_8
    return NULL


# ---- walks over strided dimensions -------------------------------------------------------

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


cdef void visit_rows(
    Region *region, char *other, cnp.npy_intp *strides, cnp.npy_intp *others, cnp.npy_intp step,
    Walk *row, row_loop loop, bint write,
) noexcept nogil:
    """For each index of the dimensions before the index arrays, each index element in turn.

    Index element k belongs to `other + others[k]`, or `other + k * step` if `others` is NULL.
    """
    cdef cnp.npy_intp counter[DIMS]
    cdef char *here = region.data
    cdef cnp.npy_intp k
    cdef int d
    for d in range(region.first):
        counter[d] = 0
    while True:
        if row.nd == 0:
            if write:
                for k in range(region.count):
                    loop(
                        here + region.offsets[k], 0,
                        other + (others[k] if others != NULL else k * step), 0, 1,
                    )
            else:
                for k in range(region.count):
                    loop(other + k * step, 0, here + region.offsets[k], 0, 1)
        elif write:
            for k in range(region.count):
                walk(
                    row, here + region.offsets[k],
                    other + (others[k] if others != NULL else k * step), loop,
                )
        else:
            for k in range(region.count):
                walk(row, other + k * step, here + region.offsets[k], loop)
        d = region.first - 1
        while d >= 0:
            counter[d] += 1
            here += region.strides[d]
            other += strides[d]
            if counter[d] < region.dims[d]:
                break
            here -= region.strides[d] * region.dims[d]
            other -= strides[d] * region.dims[d]
            counter[d] = 0
            d -= 1
        if d < 0:
            return


cdef void take_items(
    item *_, char *a, char *b, cnp.npy_intp *offsets, cnp.npy_intp n
) noexcept nogil:
    cdef cnp.npy_intp k
    for k in range(n):
        memcpy(a + k * <cnp.npy_intp> sizeof(item), b + offsets[k], sizeof(item))


cdef int visit(
    Region *region, char *other, cnp.npy_intp *strides, row_loop loop, bint write
) except -1:
    """Run `loop` between the region and `other`, which has these strides on its dimensions.

    The region is the destination if `write`, else the source; then `other` is C-contiguous.
    """
    cdef Walk row
    cdef int d, n = 0
    cdef cnp.npy_intp total = region.count, k, rest, position
    cdef cnp.npy_intp *others = NULL
    cdef cnp.npy_intp step = 0, expected = 0
    cdef bint linear = True, seen = False
    for d in range(region.nd):
        if d < region.first or d >= region.first + region.n_index:
            total *= region.dims[d]
    if total == 0:
        return 0
    for d in range(region.first + region.n_index, region.nd):
        row.dims[n] = region.dims[d]
        row.sa[n] = region.strides[d] if write else strides[d]
        row.sb[n] = strides[d] if write else region.strides[d]
        n += 1
    row.nd = n
    prepare(&row)
    if region.offsets == NULL:
        if total < LARGE:
            walk(&row, region.data if write else other, other if write else region.data, loop)
        else:
            with nogil:
                walk(&row, region.data if write else other, other if write else region.data, loop)
        return 0
    if not write and row.nd == 0 and region.first == 0 and (loop == copy_8 or loop == copy_4):
        with nogil:
            if loop == copy_8:
                take_items[cnp.npy_uint64](NULL, other, region.data, region.offsets, region.count)
            else:
                take_items[cnp.npy_uint32](NULL, other, region.data, region.offsets, region.count)
        return 0
    for d in range(region.first + region.n_index - 1, region.first - 1, -1):
        if region.dims[d] == 1:
            continue
        if not seen:
            seen = True
            step = strides[d]
        elif strides[d] != expected:
            linear = False
        expected = strides[d] * region.dims[d]
    if not linear:
        others = <cnp.npy_intp *> malloc(region.count * sizeof(cnp.npy_intp))
        if others == NULL:
            raise MemoryError()
        for k in range(region.count):
            rest, position = k, 0
            for d in range(region.first + region.n_index - 1, region.first - 1, -1):
                position += (rest % region.dims[d]) * strides[d]
                rest //= region.dims[d]
            others[k] = position
    if total < LARGE:
        visit_rows(region, other, strides, others, step, &row, loop, write)
    else:
        with nogil:
            visit_rows(region, other, strides, others, step, &row, loop, write)
    free(others)
    return 0


# ---- the index ---------------------------------------------------------------------------

cdef int integer(PyObject *value, cnp.npy_intp *result) except -1:
    """The value of a 0-d integer array. An unsigned one that is too large stays too large."""
    cdef cnp.ndarray array = <cnp.ndarray> value
    cdef void *data = cnp.PyArray_DATA(array)
    cdef int t = cnp.PyArray_TYPE(array)
    cdef cnp.npy_uint64 big
    if t == cnp.NPY_INT64:
        result[0] = <cnp.npy_intp> (<cnp.npy_int64 *> data)[0]
    elif t == cnp.NPY_INT32:
        result[0] = (<cnp.npy_int32 *> data)[0]
    elif t == cnp.NPY_INT16:
        result[0] = (<cnp.npy_int16 *> data)[0]
    elif t == cnp.NPY_INT8:
        result[0] = (<cnp.npy_int8 *> data)[0]
    elif t == cnp.NPY_UINT8:
        result[0] = (<cnp.npy_uint8 *> data)[0]
    elif t == cnp.NPY_UINT16:
        result[0] = (<cnp.npy_uint16 *> data)[0]
    elif t == cnp.NPY_UINT32:
        result[0] = <cnp.npy_intp> (<cnp.npy_uint32 *> data)[0]
    elif t == cnp.NPY_UINT64:
        big = (<cnp.npy_uint64 *> data)[0]
        result[0] = PY_SSIZE_T_MAX if big > <cnp.npy_uint64> PY_SSIZE_T_MAX else <cnp.npy_intp> big
    else:
        raise TypeError(f"an index must be an integer, got an array of dtype {array.dtype}")
    return 0


cdef Part part(object description, int *n_given) except *:
    cdef Part p
    p.value = 0
    if description is None:
        p.kind = ABSENT
    elif description == "scalar":
        p.kind = GIVEN
        n_given[0] += 1
    else:
        p.kind = FIXED
        p.value = description
    return p


cdef class Index:
    """What stands between the brackets; see the module for how it is described."""

    def __cinit__(self, description):
        cdef int k, spaces = 0, last = -1
        cdef bint adjacent = True
        self.n_entries = len(description)
        self.entries = <Entry *> calloc(self.n_entries + 1, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError()
        self.advanced = any(
            e == "array" or (isinstance(e, tuple) and e[0] == "mask") for e in description
        )
        for k in range(self.n_entries):
            e = description[k]
            self.entries[k].consumed = 1
            if e is None:
                self.entries[k].kind = NEWAXIS
                self.entries[k].consumed = 0
            elif e == "array":
                self.entries[k].kind = ARRAY
                self.n_given += 1
            elif isinstance(e, tuple) and e[0] == "mask":
                self.entries[k].kind = MASK
                self.entries[k].consumed = e[1]
                self.n_given += 1
            elif isinstance(e, tuple):
                self.entries[k].kind = SLICE
                self.entries[k].start = part(e[0], &self.n_given)
                self.entries[k].stop = part(e[1], &self.n_given)
                self.entries[k].step = part(e[2], &self.n_given)
            else:
                self.entries[k].kind = POINT
                self.entries[k].start = part(e, &self.n_given)
            self.consumed += self.entries[k].consumed
            # NumPy puts the index dimensions where the numbers and arrays stand if these are
            # neighbours, else in front.
            if self.entries[k].kind == SLICE or self.entries[k].kind == NEWAXIS:
                spaces += 1
            elif last < 0:
                self.first = spaces
                last = k
            else:
                adjacent = adjacent and last == k - 1
                last = k
        if not self.advanced or not adjacent:
            self.first = 0

    def __dealloc__(self):
        free(self.entries)

    cdef int locate(
        self, PyObject **cells, Py_ssize_t *inp, cnp.ndarray x, Region *region
    ) except -1:
        """Find the region of `x`; `cells[inp[k]]` is the k-th given index.

        The caller frees `region.offsets`.
        """
        cdef cnp.npy_intp *dims = cnp.PyArray_DIMS(x)
        cdef cnp.npy_intp *strides = cnp.PyArray_STRIDES(x)
        cdef cnp.npy_intp extents[DIMS]
        cdef cnp.npy_intp steps[DIMS]
        cdef int axes[DIMS]
        cdef Py_ssize_t start, stop, step
        cdef cnp.npy_intp value
        cdef int k, d, axis = 0, n = 0, given = 0, n_arrays = 0
        cdef Entry *e
        cdef list arrays = None
        cdef cnp.ndarray mask
        region.data = <char *> cnp.PyArray_DATA(x)
        region.first = self.first
        region.n_index = 0
        region.count = 1
        region.offsets = NULL
        if self.consumed > cnp.PyArray_NDIM(x):
            raise IndexError(
                f"too many indices: the array has {cnp.PyArray_NDIM(x)} dimensions, "
                f"but {self.consumed} were indexed"
            )
        if self.advanced:
            arrays = []
        for k in range(self.n_entries):
            e = &self.entries[k]
            if e.kind == POINT:
                value = e.start.value
                if e.start.kind == GIVEN:
                    integer(cells[inp[given]], &value)
                    given += 1
                if value < -dims[axis] or value >= dims[axis]:
                    raise IndexError(
                        f"index {value} is out of bounds for axis {axis} with size {dims[axis]}"
                    )
                if value < 0:
                    value += dims[axis]
                region.data += value * strides[axis]
            elif e.kind == SLICE:
                start, stop, step = e.start.value, e.stop.value, e.step.value
                if e.start.kind == GIVEN:
                    integer(cells[inp[given]], &value)
                    start = value
                    given += 1
                if e.stop.kind == GIVEN:
                    integer(cells[inp[given]], &value)
                    stop = value
                    given += 1
                if e.step.kind == GIVEN:
                    integer(cells[inp[given]], &value)
                    step = value
                    given += 1
                elif e.step.kind == ABSENT:
                    step = 1
                if step == 0:
                    raise ValueError(f"slice step cannot be zero (axis {axis})")
                if step < -PY_SSIZE_T_MAX:
                    step = -PY_SSIZE_T_MAX
                if e.start.kind == ABSENT:
                    start = 0 if step > 0 else PY_SSIZE_T_MAX
                if e.stop.kind == ABSENT:
                    stop = PY_SSIZE_T_MAX if step > 0 else PY_SSIZE_T_MIN
                region.dims[n] = PySlice_AdjustIndices(dims[axis], &start, &stop, step)
                region.strides[n] = strides[axis]
                if region.dims[n] > 0:
                    region.data += start * strides[axis]
                    if region.dims[n] > 1:
                        region.strides[n] = step * strides[axis]
                n += 1
            elif e.kind == NEWAXIS:
                region.dims[n] = 1
                region.strides[n] = 0
                n += 1
            elif e.kind == ARRAY:
                arrays.append(<object> cells[inp[given]])
                given += 1
                extents[n_arrays], steps[n_arrays], axes[n_arrays] = dims[axis], strides[axis], axis
                n_arrays += 1
            else:
                mask = <cnp.ndarray> cells[inp[given]]
                given += 1
                for d in range(e.consumed):
                    if cnp.PyArray_DIM(mask, d) != dims[axis + d]:
                        raise IndexError(
                            f"boolean index did not match the indexed array along axis {axis + d}: "
                            f"its size is {dims[axis + d]}, but the mask has {cnp.PyArray_DIM(mask, d)}"
                        )
                    extents[n_arrays] = dims[axis + d]
                    steps[n_arrays] = strides[axis + d]
                    axes[n_arrays] = axis + d
                    n_arrays += 1
                arrays.extend(PyArray_Nonzero(mask))
            axis += e.consumed
        for d in range(axis, cnp.PyArray_NDIM(x)):
            region.dims[n] = dims[d]
            region.strides[n] = strides[d]
            n += 1
        region.nd = n
        if self.advanced:
            self.gather(region, arrays, extents, steps, axes)
        return 0

    cdef int gather(
        self, Region *region, list arrays, cnp.npy_intp *extents, cnp.npy_intp *strides, int *axes
    ) except -1:
        """Broadcast the index arrays, check them and turn them into byte offsets."""
        cdef cnp.npy_intp shape[DIMS]
        cdef int k, d, shift, nd = 0, n_arrays = len(arrays)
        cdef cnp.npy_intp dim, j, value, extent, stride
        cdef cnp.ndarray array, contiguous
        cdef cnp.npy_int64 *values
        cdef bint same, unsigned, failed = False
        for k in range(n_arrays):
            nd = max(nd, cnp.PyArray_NDIM(<cnp.ndarray> arrays[k]))
        if region.nd + nd > DIMS:
            raise ValueError(f"the result would have {region.nd + nd} dimensions, at most {DIMS} are possible")
        for d in range(nd):
            shape[d] = 1
        for k in range(n_arrays):
            array = <cnp.ndarray> arrays[k]
            shift = nd - cnp.PyArray_NDIM(array)
            for d in range(cnp.PyArray_NDIM(array)):
                dim = cnp.PyArray_DIM(array, d)
                if dim == 1 or dim == shape[d + shift]:
                    continue
                if shape[d + shift] != 1:
                    raise IndexError(
                        "index arrays of shapes "
                        f"{', '.join([str((<object> a).shape) for a in arrays])} "
                        "cannot be broadcast together"
                    )
                shape[d + shift] = dim
        for d in range(region.nd - 1, region.first - 1, -1):
            region.dims[d + nd] = region.dims[d]
            region.strides[d + nd] = region.strides[d]
        for d in range(nd):
            region.dims[region.first + d] = shape[d]
            region.strides[region.first + d] = 0
            region.count *= shape[d]
        region.nd += nd
        region.n_index = nd
        region.offsets = <cnp.npy_intp *> malloc((region.count + 1) * sizeof(cnp.npy_intp))
        if region.offsets == NULL:
            raise MemoryError()
        try:
            for k in range(n_arrays):
                array = <cnp.ndarray> arrays[k]
                same = cnp.PyArray_NDIM(array) == nd
                for d in range(nd):
                    same = same and cnp.PyArray_DIM(array, d) == shape[d]
                unsigned = cnp.PyArray_TYPE(array) == cnp.NPY_UINT64
                contiguous = array
                if not (
                    same and cnp.PyArray_TYPE(array) == cnp.NPY_INT64 and cnp.PyArray_ISCARRAY_RO(array)
                ):
                    if not cnp.PyTypeNum_ISINTEGER(cnp.PyArray_TYPE(array)):
                        raise TypeError(
                            f"an index array must hold integers, got one of dtype {array.dtype}"
                        )
                    contiguous = memory.empty(cnp.NPY_INT64, nd, shape)
                    PyArray_CopyInto(contiguous, array)
                values = <cnp.npy_int64 *> cnp.PyArray_DATA(contiguous)
                extent, stride = extents[k], strides[k]
                with nogil:
                    for j in range(region.count):
                        value = values[j]
                        if value < 0 and not unsigned:
                            value += extent
                        if value < 0 or value >= extent:
                            failed = True
                            break
                        if k == 0:
                            region.offsets[j] = value * stride
                        else:
                            region.offsets[j] += value * stride
                if failed:
                    wrong = values[j] + (<object> 2**64 if unsigned and values[j] < 0 else 0)
                    raise IndexError(
                        f"index {wrong} is out of bounds for axis {axes[k]} with size {extent}"
                    )
        except BaseException:
            free(region.offsets)
            region.offsets = NULL
            raise
        return 0


# ---- kernels -----------------------------------------------------------------------------

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
        cdef PyObject *descr = PyArray_DESCR(x)
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
    cdef row_loop loop

    def __init__(self, int typenum, index):
        self.itemsize = cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(typenum))
        self.index = Index(index)
        self.typenum = typenum
        self.loop = copy_loop(self.itemsize)
        if not self.index.advanced:
            raise ValueError("an index without arrays gives a view")
        if self.loop == NULL:
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
            visit(&region, <char *> cnp.PyArray_DATA(out), strides, self.loop, False)
        finally:
            free(region.offsets)
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
    cdef row_loop loop
    cdef bint inplace
    cdef readonly tuple stretch

    def __init__(self, int typenum, index, stretch, bint put, bint inplace):
        cdef int itemsize = cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(typenum))
        self.index = Index(index)
        self.typenum = typenum
        self.stretch = tuple(stretch)
        self.loop = copy_loop(itemsize) if put else add_loop(typenum)
        self.inplace = inplace
        if self.loop == NULL:
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
            free(region.offsets)
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
            visit(&region, <char *> cnp.PyArray_DATA(y), strides, self.loop, True)
        finally:
            free(region.offsets)
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
