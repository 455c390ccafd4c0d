# Large work in several threads: a task is called once for each of its parts.
#
# A kernel cuts its work into parts that do not depend on the number of threads, so that results
# have the same bits with any; each part is as if it were all there is.
ctypedef void (*Task)(void *context, int part) noexcept nogil

cdef enum:
    WORTH_A_THREAD = 1 << 17    # element-operations that outweigh waking a thread up

cdef void share(Task task, void *context, int parts) noexcept nogil
cdef int threads() noexcept nogil
