# cython: language_level=3
"""Regions: what an index names in an array, found, checked, and read or written.

An `Index` describes what stands between the brackets; `locate` finds the *region* of an array
that it names: a pointer, the extents and byte strides of the sliced dimensions, and one byte
offset for each element of the broadcast index arrays. The extents of a region are

    sliced dimensions before `first`  +  those of the index arrays  +  other sliced dimensions

as NumPy orders them. All indices are checked while the region is located, before anything is
written. The moving and adding is `kroton._kernels.strided`'s.

An index is described in plain Python, one item for each entry:

    7, 'scalar'                 a number; the next input, a 0-d integer array
    (start, stop, step)         a slice; each part None, a number or 'scalar'
    None                        a new dimension
    'array'                     the next input, an integer array with dimensions
    ('mask', ndim)              the next input, a boolean array

Any strides, empty arrays and any integer dtype are taken.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free, malloc

from kroton._kernels cimport memory
from kroton._kernels.strided cimport DIMS, Loops, Walk, prepare, walk

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    int PyArray_CopyInto(cnp.ndarray dest, cnp.ndarray src) except -1
    object PyArray_Nonzero(cnp.ndarray array)
    cnp.npy_intp PyArray_CountNonzero(cnp.ndarray array) except -1

cdef extern from "Python.h":
    Py_ssize_t PySlice_AdjustIndices(
        Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t step
    )
    Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t PY_SSIZE_T_MIN

cdef enum:
    ABSENT, FIXED, GIVEN

cdef enum:
    POINT, SLICE, NEWAXIS, ARRAY, MASK

cdef enum:
    LARGE = 1 << 14     # elements from which on the GIL is released


# ---- regions -----------------------------------------------------------------------------

cdef void visit_rows(
    Region *region, char *other, cnp.npy_intp *strides, cnp.npy_intp *others, cnp.npy_intp step,
    Walk *row, Loops *loops, bint write,
) noexcept nogil:
    """For each index of the dimensions before the index arrays, each index element in turn.

    Index element k belongs to `other + others[k]`, or `other + k * step` if `others` is NULL.
    """
    cdef cnp.npy_intp counter[DIMS]
    cdef char *here = region.data
    cdef char *there
    cdef cnp.npy_intp k
    cdef int d
    for d in range(region.first):
        counter[d] = 0
    while True:
        if row.nd == 0 and others == NULL:
            loops.each(here, region.offsets, other, step, region.count)
        else:
            for k in range(region.count):
                there = other + (others[k] if others != NULL else k * step)
                if write:
                    walk(row, here + region.offsets[k], there, loops.row)
                else:
                    walk(row, there, here + region.offsets[k], loops.row)
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


cdef int visit(
    Region *region, char *other, cnp.npy_intp *strides, Loops *loops, bint write
) except -1:
    """Move between the region and `other`, which has these strides on the region's dimensions.

    The region is the destination if `write`, else the source.
    """
    cdef Walk row
    cdef int d, n = 0, last = region.first + region.n_index
    cdef cnp.npy_intp total = region.count, k, rest, position, step = 0, expected = 0
    cdef cnp.npy_intp *others = NULL
    cdef bint linear = True, seen = False
    for d in range(region.nd):
        if d < region.first or d >= last:
            total *= region.dims[d]
    if total == 0:
        return 0
    for d in range(last, region.nd):
        row.dims[n] = region.dims[d]
        row.sa[n] = region.strides[d] if write else strides[d]
        row.sb[n] = strides[d] if write else region.strides[d]
        n += 1
    row.nd = n
    prepare(&row)
    if region.offsets == NULL:
        if total < LARGE:
            walk(&row, region.data if write else other, other if write else region.data, loops.row)
        else:
            with nogil:
                walk(&row, region.data if write else other, other if write else region.data, loops.row)
        return 0
    for d in range(last - 1, region.first - 1, -1):
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
            for d in range(last - 1, region.first - 1, -1):
                position += (rest % region.dims[d]) * strides[d]
                rest //= region.dims[d]
            others[k] = position
    if total < LARGE:
        visit_rows(region, other, strides, others, step, &row, loops, write)
    else:
        with nogil:
            visit_rows(region, other, strides, others, step, &row, loops, write)
    free(others)
    return 0


cdef void release(Region *region) noexcept:
    """Free what `Index.locate` allocated."""
    if region.offsets != region.few:
        free(region.offsets)
    region.offsets = NULL


cdef int reserve(Region *region) except -1:
    """Memory for `region.count` offsets, and one more."""
    region.offsets = region.few
    if region.count >= FEW:
        region.offsets = <cnp.npy_intp *> malloc((region.count + 1) * sizeof(cnp.npy_intp))
        if region.offsets == NULL:
            raise MemoryError()
    return 0


cdef int open_up(Region *region, int nd, cnp.npy_intp *shape) except -1:
    """Insert the dimensions of the index arrays into those of the region."""
    cdef int d
    if region.nd + nd > DIMS:
        raise ValueError(
            f"the result would have {region.nd + nd} dimensions, at most {DIMS} are possible"
        )
    for d in range(region.nd - 1, region.first - 1, -1):
        region.dims[d + nd] = region.dims[d]
        region.strides[d + nd] = region.strides[d]
    for d in range(nd):
        region.dims[region.first + d] = shape[d]
        region.strides[region.first + d] = 0
        region.count *= shape[d]
    region.nd += nd
    region.n_index = nd
    return 0


cdef cnp.npy_intp offset(
    cnp.npy_int64 *values, cnp.npy_intp n, cnp.npy_intp extent, cnp.npy_intp stride,
    cnp.npy_intp *offsets, bint first, bint unsigned,
) noexcept nogil:
    """Turn the values along one axis into offsets; return the place of a wrong one, or -1."""
    cdef cnp.npy_intp k, value
    for k in range(n):
        value = values[k]
        if value < 0 and not unsigned:
            value += extent
        if value < 0 or value >= extent:
            return k
        if first:
            offsets[k] = value * stride
        else:
            offsets[k] += value * stride
    return -1


cdef int mask_offsets(Region *region, cnp.ndarray mask, cnp.npy_intp *strides) except -1:
    """The offsets of the elements that a C-contiguous mask chooses, in C order."""
    cdef cnp.npy_intp counter[DIMS]
    cdef cnp.npy_intp *dims = cnp.PyArray_DIMS(mask)
    cdef char *bits = <char *> cnp.PyArray_DATA(mask)
    cdef int d, last = cnp.PyArray_NDIM(mask) - 1
    cdef cnp.npy_intp found = 0, k, position = 0, here
    if region.count == 0:
        return 0
    for d in range(last):
        counter[d] = 0
    with nogil:
        while True:
            here = position
            for k in range(dims[last]):
                region.offsets[found] = here    # kept if the next line counts it
                found += bits[k] != 0
                here += strides[last]
            bits += dims[last]
            d = last - 1
            while d >= 0:
                counter[d] += 1
                position += strides[d]
                if counter[d] < dims[d]:
                    break
                position -= strides[d] * dims[d]
                counter[d] = 0
                d -= 1
            if d < 0:
                break
    return 0


cdef int gather(
    Region *region, int n_arrays, PyObject **arrays, cnp.npy_intp *extents, cnp.npy_intp *strides,
    int *axes,
) except -1:
    """Broadcast the index arrays, check them and turn them into byte offsets."""
    cdef cnp.npy_intp shape[DIMS]
    cdef int k, d, shift, nd = 0
    cdef cnp.npy_intp dim, wrong
    cdef cnp.ndarray array
    cdef cnp.npy_int64 *values
    cdef bint same, unsigned
    for k in range(n_arrays):
        nd = max(nd, cnp.PyArray_NDIM(<cnp.ndarray> arrays[k]))
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
                shapes = ", ".join([str((<object> arrays[j]).shape) for j in range(n_arrays)])
                raise IndexError(f"index arrays of shapes {shapes} cannot be broadcast together")
            shape[d + shift] = dim
    open_up(region, nd, shape)
    reserve(region)
    try:
        for k in range(n_arrays):
            array = <cnp.ndarray> arrays[k]
            unsigned = cnp.PyArray_TYPE(array) == cnp.NPY_UINT64
            same = cnp.PyArray_TYPE(array) == cnp.NPY_INT64 and cnp.PyArray_NDIM(array) == nd
            for d in range(nd):
                same = same and cnp.PyArray_DIM(array, d) == shape[d]
            if not same or not cnp.PyArray_ISCARRAY_RO(array):
                if not cnp.PyTypeNum_ISINTEGER(cnp.PyArray_TYPE(array)):
                    raise TypeError(f"an index array must hold integers, got dtype {array.dtype}")
                array = memory.empty(cnp.NPY_INT64, nd, shape)
                PyArray_CopyInto(array, <object> arrays[k])
            values = <cnp.npy_int64 *> cnp.PyArray_DATA(array)
            if region.count < LARGE:
                wrong = offset(
                    values, region.count, extents[k], strides[k], region.offsets, k == 0, unsigned
                )
            else:
                with nogil:
                    wrong = offset(
                        values, region.count, extents[k], strides[k], region.offsets, k == 0, unsigned
                    )
            if wrong >= 0:
                number = <object> values[wrong]
                if unsigned and values[wrong] < 0:
                    number += 2**64
                raise IndexError(
                    f"index {number} is out of bounds for axis {axes[k]} with size {extents[k]}"
                )
    except BaseException:
        release(region)
        raise
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
        cdef int n_arrays = 0
        self.n_entries = len(description)
        self.entries = <Entry *> calloc(self.n_entries + 1, sizeof(Entry))
        if self.entries == NULL:
            raise MemoryError()
        for k in range(self.n_entries):
            e = description[k]
            self.entries[k].consumed = 1
            if e is None:
                self.entries[k].kind = NEWAXIS
                self.entries[k].consumed = 0
            elif e == "array":
                self.entries[k].kind = ARRAY
                self.n_given += 1
                n_arrays += 1
            elif isinstance(e, tuple) and e[0] == "mask":
                self.entries[k].kind = MASK
                self.entries[k].consumed = e[1]
                self.n_given += 1
                n_arrays += 1
                self.sole_mask = True
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
        self.advanced = n_arrays > 0
        self.sole_mask = self.sole_mask and n_arrays == 1
        if not self.advanced or not adjacent:
            self.first = 0

    def __dealloc__(self):
        free(self.entries)

    cdef int locate(
        self, PyObject **cells, Py_ssize_t *inp, cnp.ndarray x, Region *region
    ) except -1:
        """Find the region of `x`; `cells[inp[k]]` is the k-th given index.

        The caller calls `release` on the region.
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
        cdef PyObject *arrays[DIMS]
        cdef list kept = None       # keeps alive what a mask turned into
        cdef tuple indices
        cdef cnp.ndarray mask, sole = None
        cdef int sole_axis = 0
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
                arrays[n_arrays] = cells[inp[given]]
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
                if self.sole_mask:
                    sole = mask
                    sole_axis = axis
                else:
                    kept = [] if kept is None else kept
                    indices = PyArray_Nonzero(mask)
                    kept.append(indices)
                    for d in range(e.consumed):
                        arrays[n_arrays] = <PyObject *> indices[d]
                        extents[n_arrays] = dims[axis + d]
                        steps[n_arrays] = strides[axis + d]
                        axes[n_arrays] = axis + d
                        n_arrays += 1
            axis += e.consumed
        for d in range(axis, cnp.PyArray_NDIM(x)):
            region.dims[n] = dims[d]
            region.strides[n] = strides[d]
            n += 1
        region.nd = n
        if sole is not None:
            if not cnp.PyArray_IS_C_CONTIGUOUS(sole):
                sole = cnp.PyArray_NewCopy(sole, cnp.NPY_CORDER)
            region.count = PyArray_CountNonzero(sole)
            value = region.count
            region.count = 1
            open_up(region, 1, &value)
            reserve(region)
            mask_offsets(region, sole, strides + sole_axis)
        elif n_arrays > 0:
            gather(region, n_arrays, arrays, extents, steps, axes)
        return 0
