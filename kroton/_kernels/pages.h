/* Large blocks: aligned, and backed by huge pages where the system offers them. */
#ifndef KROTON_PAGES_H
#define KROTON_PAGES_H
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

static inline void *kroton_pages_new(size_t bytes)
{
    void *data = NULL;
    size_t alignment = bytes >= ((size_t)1 << 22) ? ((size_t)1 << 21) : 64;
    if (posix_memalign(&data, alignment, bytes) != 0) {
        return NULL;
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= ((size_t)1 << 22)) {
        (void)madvise(data, bytes, MADV_HUGEPAGE);
    }
#endif
    return data;
}
#endif
