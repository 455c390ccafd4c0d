from cpython.object cimport PyObject
from kroton._kernels.kernel cimport Kernel


cdef class Cell:
    cdef public object value
    cdef object __weakref__


cdef class Timings:
    cdef readonly Py_ssize_t n_kernels
    cdef readonly Py_ssize_t calls           # calls that have succeeded
    cdef readonly Py_ssize_t failed          # calls that have raised
    cdef readonly double call_seconds        # spent in calls of both kinds, all included
    cdef readonly tuple first                # seconds of the first call, and of its kernels
    cdef readonly tuple latest_call          # when the latest call started and ended
    cdef readonly list shapes                # for each kernel a dict from shapes to a count
    cdef double *totals                      # seconds in each kernel
    cdef long long *counts                   # how often each has run
    cdef double *marks                       # start and end of each in the latest call

    cdef void finish(self, double *stamps, Py_ssize_t n) noexcept
    cdef int look(self, Py_ssize_t k, Kernel kernel, PyObject **frame) except -1


cdef class Program:
    cdef readonly list kernels
    cdef readonly Py_ssize_t n_cells
    cdef readonly Py_ssize_t commit          # kernels from here on write over shared values
    cdef readonly tuple inputs, outputs, constants, shared, updates, drops, guards
    cdef public object observer              # None, or what is told of every kernel
    cdef public Timings timings              # with an observer of None: None, or what is counted
    cdef public object on_error              # None, or called (exception, kernel, inputs)
    cdef public object label                 # what kernel k is, for people: a function of k
    cdef public object lock                  # None, or held while a call with updates runs
    cdef PyObject **runs                     # borrowed from `kernels`
    cdef Py_ssize_t n_kernels, n_inputs, n_outputs, n_shared, n_updates, n_constants
    cdef Py_ssize_t *input_cells
    cdef Py_ssize_t *output_cells
    cdef Py_ssize_t *shared_cells
    cdef Py_ssize_t *update_cells
    cdef Py_ssize_t *drop_cells              # flattened; those of kernel k end at drop_ends[k]
    cdef Py_ssize_t *drop_ends
    cdef Py_ssize_t *guard_cells
    cdef Py_ssize_t *guard_ends
    cdef PyObject ***frames                  # idle frames
    cdef Py_ssize_t n_frames

    cdef PyObject **acquire(self) except NULL
    cdef void release(self, PyObject **frame) noexcept
    cdef int steps(self, PyObject **frame, Py_ssize_t *position) except -1
    cdef int timed(self, PyObject **frame, Py_ssize_t *position) except -1
    cdef int observed(self, PyObject **frame, Py_ssize_t *position) except -1
    cdef int protect(self, PyObject **frame, Py_ssize_t k, bint certain) except -1
    cdef int thaw(self, PyObject **frame, Py_ssize_t k) except -1
    cdef list execute(self, tuple arguments)
