# cython: language_level=3
"""Memory: arrays whose large buffers come back to a pool when the last reference is dropped.

A fresh large buffer costs a page fault per page at its first touch, often more than the
arithmetic that fills it. Buffers of at least `POOLED` bytes are therefore owned by a `Block`,
the base object of the array; when the user drops the array, the block's memory returns to the
pool, most recently used first. Smaller arrays are NumPy's own.

All of it runs under the GIL.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free
from libc.string cimport memset

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(
        void *subtype, void *descr, int nd, cnp.npy_intp *dims,
        cnp.npy_intp *strides, void *data, int flags, PyObject *obj
    )
    void *ndarray_type "((void *)&PyArray_Type)"

cdef extern from "pages.h":
    void *kroton_pages_new(size_t bytes) nogil

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o)

cdef extern from *:
    """
    #define KROTON_CLASSES 160
    #define KROTON_DEPTH 16
    static void *kroton_free_blocks[KROTON_CLASSES][KROTON_DEPTH];
    static int kroton_free_count[KROTON_CLASSES];
    static size_t kroton_cached = 0;
    """
    void *kroton_free_blocks[160][16]
    int kroton_free_count[160]
    size_t kroton_cached

cdef enum:
    POOLED = 1 << 16
    CLASSES = 160
    DEPTH = 16
    GUARD = 64

cdef int poison = -1
cdef size_t limit = <size_t> 1 << 30


cdef inline int size_class(size_t bytes, size_t *capacity) noexcept nogil:
    """Four classes to each power of two, so that at most a quarter of a block is unused."""
    cdef int power = 16
    cdef size_t quarter
    cdef int q
    while (<size_t> 1 << (power + 1)) <= bytes:
        power += 1
    quarter = (<size_t> 1 << power) >> 2
    q = <int> ((bytes - (<size_t> 1 << power) + quarter - 1) // quarter)
    capacity[0] = (<size_t> 1 << power) + q * quarter
    return (power - 16) * 4 + q


cdef class Block:
    """Owns one buffer of the pool; the base object of the arrays that use it."""

    cdef void *data
    cdef size_t capacity
    cdef int cls
    cdef int pattern        # of the guard bytes around a poisoned array, -1 if there are none
    cdef size_t used

    def __dealloc__(self):
        global kroton_cached
        if self.data == NULL:
            return
        if kroton_free_count[self.cls] < DEPTH and kroton_cached + self.capacity <= limit:
            kroton_free_blocks[self.cls][kroton_free_count[self.cls]] = self.data
            kroton_free_count[self.cls] += 1
            kroton_cached += self.capacity
        else:
            free(self.data)


cdef Block new_block(size_t bytes):
    global kroton_cached
    cdef Block block = Block.__new__(Block)
    block.pattern = -1
    if bytes < POOLED:
        bytes = POOLED
    block.cls = size_class(bytes, &block.capacity)
    if block.cls >= CLASSES:
        raise MemoryError(f"cannot allocate {bytes} bytes")
    if kroton_free_count[block.cls] > 0:
        kroton_free_count[block.cls] -= 1
        block.data = kroton_free_blocks[block.cls][kroton_free_count[block.cls]]
        kroton_cached -= block.capacity
    else:
        block.data = kroton_pages_new(block.capacity)
        if block.data == NULL:
            raise MemoryError(f"cannot allocate {bytes} bytes")
    return block


cdef cnp.ndarray empty(int typenum, int nd, cnp.npy_intp *dims):
    """A fresh C-contiguous array of a builtin dtype, its contents undefined."""
    cdef cnp.dtype descr = cnp.PyArray_DescrFromType(typenum)
    cdef size_t bytes = cnp.PyDataType_ELSIZE(descr)
    cdef Block block
    cdef object array
    cdef char *data
    cdef int k
    for k in range(nd):
        if dims[k] <= 0:
            bytes = 0
            break
        if bytes > (<size_t> 1 << 62) // <size_t> dims[k]:
            raise MemoryError(
                f"cannot allocate an array of shape {tuple([dims[i] for i in range(nd)])}"
            )
        bytes *= <size_t> dims[k]
    if bytes < POOLED and poison < 0:
        return cnp.PyArray_EMPTY(nd, dims, typenum, 0)
    if poison < 0:
        block = new_block(bytes)
        data = <char *> block.data
    else:
        block = new_block(bytes + 2 * GUARD)
        memset(block.data, poison, bytes + 2 * GUARD)
        block.pattern = poison
        block.used = bytes
        data = <char *> block.data + GUARD
    Py_INCREF(descr)
    array = PyArray_NewFromDescr(
        ndarray_type, <void *> descr, nd, dims, NULL, data,
        cnp.NPY_ARRAY_CARRAY, NULL,
    )
    cnp.set_array_base(array, block)
    return array


cdef cnp.ndarray output(
    PyObject **cells, Py_ssize_t cell, int typenum, int nd, cnp.npy_intp *dims
):
    """The array for an output cell: the one it holds if that can be written over, else fresh.

    Offered arrays are used only when C-contiguous, aligned, writeable, in native byte order, of
    the right dtype and shape, owners of their memory and referenced by nobody but the cell.
    """
    cdef PyObject *held = cells[cell]
    cdef cnp.ndarray array
    cdef int k
    if held != NULL and Py_REFCNT(held) == 1 and cnp.PyArray_CheckExact(<object> held):
        array = <cnp.ndarray> held
        if (
            cnp.PyArray_TYPE(array) == typenum
            and cnp.PyArray_NDIM(array) == nd
            and cnp.PyArray_ISCARRAY(array)
            and (cnp.PyArray_BASE(array) == NULL or isinstance(<object> cnp.PyArray_BASE(array), Block))
        ):
            for k in range(nd):
                if cnp.PyArray_DIM(array, k) != dims[k]:
                    break
            else:
                return array
    array = empty(typenum, nd, dims)
    put(cells, cell, array)
    return array


cdef int put(PyObject **cells, Py_ssize_t cell, object value) except -1:
    """Store a new reference to `value` in a cell."""
    cdef PyObject *old = cells[cell]
    Py_INCREF(value)
    cells[cell] = <PyObject *> value
    Py_XDECREF(old)
    return 0


def set_poison(int pattern):
    """Fill fresh arrays, and guard bytes around them, with `pattern`; -1 stops that.

    For DebugMode: a result that depends on the pattern read memory that nobody had written.
    Returns the pattern that was in force.
    """
    global poison
    cdef int before = poison
    poison = pattern if pattern < 0 else pattern & 0xFF
    return before


def guards_intact(array):
    """False if something was written beside the memory of an array made under `set_poison`."""
    cdef cnp.ndarray a = array
    cdef Block block
    cdef unsigned char *bytes
    cdef size_t k
    if cnp.PyArray_BASE(a) == NULL or not isinstance(<object> cnp.PyArray_BASE(a), Block):
        return True
    block = <Block> cnp.PyArray_BASE(a)
    if block.pattern < 0:
        return True
    bytes = <unsigned char *> block.data
    for k in range(GUARD):
        if bytes[k] != block.pattern or bytes[GUARD + block.used + k] != block.pattern:
            return False
    return True


def pool_info():
    """Bytes held for reuse, and the limit: `{'cached': int, 'limit': int}`."""
    return {"cached": kroton_cached, "limit": limit}


def set_pool_limit(size_t bytes):
    """Keep at most `bytes` for reuse (0 turns the pool off); what is above is given back."""
    global limit, kroton_cached
    cdef int c
    cdef size_t capacity
    limit = bytes
    for c in range(CLASSES):
        while kroton_free_count[c] > 0 and kroton_cached > limit:
            kroton_free_count[c] -= 1
            free(kroton_free_blocks[c][kroton_free_count[c]])
            capacity = (<size_t> 1 << (c // 4 + 16)) + (c % 4) * ((<size_t> 1 << (c // 4 + 16)) >> 2)
            kroton_cached -= capacity


def empty_array(dtype, shape):
    """`memory.empty` from Python, for tests."""
    cdef cnp.npy_intp dims[32]
    cdef int k
    for k in range(len(shape)):
        dims[k] = shape[k]
    return empty((<cnp.dtype> dtype).num, len(shape), dims)
