# cython: language_level=3
"""The threads that large kernels share their work with.

How many is `set_threads`'s to say; the kernels decide by the size of their work whether to ask
for any. The pool is one for the process (`workers.h`).
"""

cdef extern from "workers.h" nogil:
    void kroton_pool_run(Task task, void *context, int parts, int threads)
    int kroton_usable_cores()

cdef int limit = kroton_usable_cores()


cdef void share(Task task, void *context, int parts) noexcept nogil:
    """Call `task(context, part)` for each part, in up to as many threads as are allowed.

    Returns when all parts are done. A caller that finds the threads at work for another runs all
    parts itself.
    """
    kroton_pool_run(task, context, parts, limit)


cdef int threads() noexcept nogil:
    """How many threads one call may use, the caller's among them."""
    return limit


def set_threads(int count):
    """Allow `count` threads for one call; 0 stands for as many as there are usable cores."""
    global limit
    if count < 0:
        raise ValueError(f"the number of threads cannot be negative, got {count}")
    limit = count if count > 0 else kroton_usable_cores()


def get_threads():
    """How many threads one call may use."""
    return limit
