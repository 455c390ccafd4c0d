# cython: language_level=3
"""Fences: NumPy's own allocations filled with a pattern and between guard bytes, for DebugMode.

Kernels allocate through `memory`, which `set_poison` prepares. A `perform` and a kernel written
in Python allocate through NumPy; within `Fences(pattern)` what NumPy hands out on this thread
comes from `malloc`, filled with `pattern`, with 64 guard bytes on either side. When the memory
is freed, damaged guards are counted.

All of it runs under the GIL. Layout of one allocation: | size, magic (16 bytes) | 48 guards | data | 64 guards |.
"""
cimport numpy as cnp

cnp.import_array()

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include "numpy/arrayobject.h"

    #define KROTON_FENCE 64
    #define KROTON_MAGIC ((uint64_t) 0x6b726f746f6e0000ULL)

    static int kroton_damaged = 0;

    static void kroton_fence_build(unsigned char *block, size_t size, unsigned char pattern) {
        uint64_t head[2];
        head[0] = (uint64_t) size;
        head[1] = KROTON_MAGIC | pattern;
        memcpy(block, head, 16);
        memset(block + 16, pattern, KROTON_FENCE - 16);
        memset(block + KROTON_FENCE + size, pattern, KROTON_FENCE);
    }

    static size_t kroton_fence_inspect(unsigned char *block) {
        uint64_t head[2];
        size_t size, k;
        unsigned char pattern;
        int bad = 0;
        memcpy(head, block, 16);
        if ((head[1] & ~(uint64_t) 0xff) != KROTON_MAGIC) {
            kroton_damaged++;
            return 0;
        }
        size = (size_t) head[0];
        pattern = (unsigned char) (head[1] & 0xff);
        for (k = 16; k < KROTON_FENCE; k++) bad |= block[k] != pattern;
        for (k = 0; k < KROTON_FENCE; k++) bad |= block[KROTON_FENCE + size + k] != pattern;
        if (bad) kroton_damaged++;
        return size;
    }

    static void *kroton_fence_malloc(void *ctx, size_t size) {
        unsigned char pattern = (unsigned char) (uintptr_t) ctx;
        unsigned char *block = (unsigned char *) malloc(size + 2 * KROTON_FENCE);
        if (block == NULL) return NULL;
        memset(block + KROTON_FENCE, pattern, size);
        kroton_fence_build(block, size, pattern);
        return block + KROTON_FENCE;
    }

    static void *kroton_fence_calloc(void *ctx, size_t n, size_t each) {
        void *data;
        if (each != 0 && n > ((size_t) -1) / 2 / each) return NULL;
        data = kroton_fence_malloc(ctx, n * each);
        if (data != NULL) memset(data, 0, n * each);
        return data;
    }

    static void kroton_fence_free(void *ctx, void *data, size_t size) {
        if (data == NULL) return;
        kroton_fence_inspect((unsigned char *) data - KROTON_FENCE);
        free((unsigned char *) data - KROTON_FENCE);
    }

    static void *kroton_fence_realloc(void *ctx, void *data, size_t size) {
        void *fresh = kroton_fence_malloc(ctx, size);
        size_t before;
        if (fresh == NULL || data == NULL) return fresh;
        before = kroton_fence_inspect((unsigned char *) data - KROTON_FENCE);
        memcpy(fresh, data, before < size ? before : size);
        free((unsigned char *) data - KROTON_FENCE);
        return fresh;
    }

    static PyObject *kroton_fence_handler(unsigned char pattern) {
        static PyDataMem_Handler handlers[256];
        PyDataMem_Handler *h = &handlers[pattern];
        strcpy(h->name, "kroton_fences");
        h->version = 1;
        h->allocator.ctx = (void *) (uintptr_t) pattern;
        h->allocator.malloc = kroton_fence_malloc;
        h->allocator.calloc = kroton_fence_calloc;
        h->allocator.realloc = kroton_fence_realloc;
        h->allocator.free = kroton_fence_free;
        return PyCapsule_New(h, "mem_handler", NULL);
    }
    """
    int kroton_damaged
    object kroton_fence_handler(unsigned char pattern)
    object PyDataMem_SetHandler(object handler)


cdef class Fences:
    """Context manager: NumPy's allocations on this thread are filled with `pattern` and guarded."""

    cdef unsigned char pattern
    cdef object before

    def __init__(self, unsigned char pattern):
        self.pattern = pattern
        self.before = None

    def __enter__(self):
        self.before = PyDataMem_SetHandler(kroton_fence_handler(self.pattern))
        return self

    def __exit__(self, *error):
        PyDataMem_SetHandler(self.before)
        self.before = None
        return False


def damaged():
    """How many freed allocations had damaged guards since this was last asked."""
    global kroton_damaged
    cdef int n = kroton_damaged
    kroton_damaged = 0
    return n
