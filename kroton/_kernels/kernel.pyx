# cython: language_level=3
"""Kernel: reads its input cells, writes its output cells, knows nothing else.

A *cell* holds a strong reference to one value (nearly always an ndarray) or NULL. A kernel is
immutable once bound, so that several threads may run one kernel on different cells.

The contract of `run(cells)`:

* inputs are `cells[self.inp[k]]`, never NULL, arrays of the dtype and ndim that the kernel was
  built for, aligned and in native byte order, with any strides (negative, zero, broadcast),
  any extent (0 included), perhaps read-only, perhaps sharing memory with one another;
* an output cell is NULL or holds an array that may be written over when it has the right
  dtype and shape, is writeable and shares memory with no input (`memory.output` decides);
* every output cell holds a new array, a view of an input (announced by the Op's `view_map`),
  or a destroyed input (announced by its `destroy_map`) when `run` returns 0;
* on failure an exception is set and -1 returned; no input has changed.

`check(cells)` answers whether `run` would succeed on these inputs without running: 1 for
"certainly", 0 for "cannot tell", -1 with the exception that `run` would have raised.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cnp.import_array()


cdef class Kernel:
    """One step of a `Program`; also callable by itself on arrays, for tests and DebugMode."""

    def __dealloc__(self):
        free(self.inp)
        free(self.out)

    cdef int arity(self, Py_ssize_t n_in, Py_ssize_t n_out) except -1:
        """Set the number of inputs and outputs; bound to cells 0, 1, ... until `bind`."""
        cdef Py_ssize_t k
        free(self.inp)
        free(self.out)
        self.inp = <Py_ssize_t *> malloc((n_in + 1) * sizeof(Py_ssize_t))
        self.out = <Py_ssize_t *> malloc((n_out + 1) * sizeof(Py_ssize_t))
        if self.inp == NULL or self.out == NULL:
            raise MemoryError()
        self.n_in = n_in
        self.n_out = n_out
        for k in range(n_in):
            self.inp[k] = k
        for k in range(n_out):
            self.out[k] = n_in + k
        return 0

    cpdef bind(self, in_cells, out_cells):
        """Tell which cells of the Program this kernel reads and writes."""
        cdef Py_ssize_t k
        if len(in_cells) != self.n_in or len(out_cells) != self.n_out:
            raise ValueError(
                f"{self!r} has {self.n_in} inputs and {self.n_out} outputs, "
                f"bound to {len(in_cells)} and {len(out_cells)} cells"
            )
        for k in range(self.n_in):
            self.inp[k] = in_cells[k]
        for k in range(self.n_out):
            self.out[k] = out_cells[k]

    @property
    def in_cells(self):
        return tuple([self.inp[k] for k in range(self.n_in)])

    @property
    def out_cells(self):
        return tuple([self.out[k] for k in range(self.n_out)])

    cdef int run(self, PyObject **cells) except -1:
        raise NotImplementedError(f"{type(self).__name__} does not define run")

    cdef int check(self, PyObject **cells) except -1:
        return 0

    def __call__(self, *inputs, outputs=None):
        """Run on `inputs` alone. Returns a list.

        `outputs` may be a list of arrays to offer as output buffers. It is emptied: an array
        that nobody else refers to may be written over and returned.
        """
        cdef Py_ssize_t k, n = 0
        cdef object offered
        cdef PyObject **cells
        if self.n_in != len(inputs):
            raise TypeError(f"{self!r} takes {self.n_in} inputs, got {len(inputs)}")
        if outputs is not None and len(outputs) != self.n_out:
            raise TypeError(f"{self!r} has {self.n_out} outputs, got {len(outputs)}")
        for k in range(self.n_in):
            n = max(n, self.inp[k] + 1)
        for k in range(self.n_out):
            n = max(n, self.out[k] + 1)
        cells = <PyObject **> malloc((n + 1) * sizeof(PyObject *))
        if cells == NULL:
            raise MemoryError()
        memset(cells, 0, (n + 1) * sizeof(PyObject *))
        try:
            for k in range(self.n_in):
                offered = inputs[k]
                if cnp.PyArray_CheckScalar(offered):
                    offered = cnp.PyArray_FROM_O(offered)
                _put(cells, self.inp[k], offered)
            offered = None
            if outputs is not None:
                for k in range(self.n_out):
                    offered = outputs[k]
                    outputs[k] = None
                    if offered is not None:
                        _put(cells, self.out[k], offered)
                    offered = None
            self.run(cells)
            return [<object> cells[self.out[k]] for k in range(self.n_out)]
        finally:
            for k in range(n):
                Py_XDECREF(cells[k])
            free(cells)

    def would_run(self, *inputs):
        """What `check` answers for these inputs: True, or None for "cannot tell"."""
        cdef Py_ssize_t k
        cdef PyObject **cells = <PyObject **> malloc((self.n_in + self.n_out + 1) * sizeof(PyObject *))
        if cells == NULL:
            raise MemoryError()
        memset(cells, 0, (self.n_in + self.n_out + 1) * sizeof(PyObject *))
        saved_in, saved_out = self.in_cells, self.out_cells
        if saved_in != tuple(range(self.n_in)):
            free(cells)
            raise RuntimeError("would_run serves kernels that are not bound to a Program")
        try:
            for k in range(self.n_in):
                _put(cells, k, inputs[k])
            return True if self.check(cells) == 1 else None
        finally:
            for k in range(self.n_in):
                Py_XDECREF(cells[k])
            free(cells)

    def __repr__(self):
        return type(self).__name__


cdef inline void _put(PyObject **cells, Py_ssize_t cell, object value):
    Py_INCREF(value)
    Py_XDECREF(cells[cell])
    cells[cell] = <PyObject *> value


cdef class CallableKernel(Kernel):
    """Runs a Python function `fn(inputs, output_storage)`: the fallback of every linker.

    `output_storage` is a list of one-element lists, as the lineage's `perform` has them;
    each must hold a value when `fn` returns.
    """

    cdef readonly object fn
    cdef readonly str name

    def __init__(self, fn, Py_ssize_t n_in, Py_ssize_t n_out, name="perform"):
        self.arity(n_in, n_out)
        self.fn = fn
        self.name = name

    cdef int run(self, PyObject **cells) except -1:
        cdef Py_ssize_t k
        cdef list inputs = [<object> cells[self.inp[k]] for k in range(self.n_in)]
        cdef list storage = [
            [<object> cells[self.out[k]] if cells[self.out[k]] != NULL else None]
            for k in range(self.n_out)
        ]
        cdef object value
        self.fn(inputs, storage)
        for k in range(self.n_out):
            value = storage[k][0]
            if value is None:
                raise ValueError(f"{self.name} left its output {k} empty")
            _put(cells, self.out[k], value)
        return 0

    def __repr__(self):
        return f"CallableKernel({self.name})"
