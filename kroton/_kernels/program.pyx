# cython: language_level=3
"""Program: kernels in order, the cells they share, and what happens around a call.

A call takes a *frame* (one array of cells) from a list of idle frames, so that one Program may
run in several threads and in itself. It loads the constants, the arguments and the values of
the shared cells, runs the kernels, drops every intermediate after its last reader, and only
when all kernels have succeeded stores the updates: all of them or none.

Kernels from `commit` on write over shared values. They run after all others; before the first
of them starts, each must have promised (`Kernel.check`) that it will succeed, or work on a
copy; and a value that anybody but its shared variable and this frame refers to is copied first.
"""
import threading
from time import perf_counter

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

from kroton._kernels.kernel cimport Kernel

cnp.import_array()

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject *o)


cdef class Cell:
    """Holds the value of a shared variable, or of an input with a default."""

    def __init__(self, value=None):
        self.value = value

    def __reduce__(self):
        return (Cell, (self.value,))

    def __repr__(self):
        return f"Cell({self.value!r})"


cdef Py_ssize_t *numbers(values) except NULL:
    cdef Py_ssize_t n = len(values), k
    cdef Py_ssize_t *result = <Py_ssize_t *> malloc((n + 1) * sizeof(Py_ssize_t))
    if result == NULL:
        raise MemoryError()
    for k in range(n):
        result[k] = values[k]
    return result


cdef class Program:
    """Runs `kernels` on the values of its cells.

    Parameters
    ----------
    kernels : list of Kernel
        Bound to cells, in the order of execution.
    n_cells : int
    inputs, outputs : sequences of int
        The cells of the arguments and of the results.
    constants : sequence of (cell, value)
    shared, updates : sequences of (Cell, cell)
        Loaded before, stored after the kernels have run.
    drops : sequence of sequences of int
        For each kernel the cells that nobody reads after it.
    commit : int
        The first kernel that writes over a shared value; `len(kernels)` if none does.
    guards : dict from kernel number to a sequence of (cell, references)
        The cells such a kernel writes over, and how many references to the value are known.
    """

    def __init__(self, kernels, n_cells, inputs, outputs, constants=(), shared=(), updates=(),
                 drops=None, commit=None, guards=None):
        cdef Py_ssize_t k
        self.kernels = list(kernels)
        self.n_cells = n_cells
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.constants = tuple(constants)
        self.shared = tuple(shared)
        self.updates = tuple(updates)
        self.drops = tuple([tuple(d) for d in drops]) if drops is not None else ((),) * len(self.kernels)
        if len(self.drops) != len(self.kernels):
            raise ValueError("drops must name the dying cells of every kernel")
        guards = dict(guards or {})
        self.guards = tuple([tuple(guards.get(k, ())) for k in range(len(self.kernels))])
        self.commit = len(self.kernels) if commit is None else commit
        self.n_kernels = len(self.kernels)
        self.n_inputs = len(self.inputs)
        self.n_outputs = len(self.outputs)
        self.n_shared = len(self.shared)
        self.n_updates = len(self.updates)
        self.n_constants = len(self.constants)
        self.runs = <PyObject **> malloc((self.n_kernels + 1) * sizeof(PyObject *))
        if self.runs == NULL:
            raise MemoryError()
        for k in range(self.n_kernels):
            if not isinstance(self.kernels[k], Kernel):
                raise TypeError(f"step {k} is no Kernel: {self.kernels[k]!r}")
            self.runs[k] = <PyObject *> self.kernels[k]
        self.input_cells = numbers(self.inputs)
        self.output_cells = numbers(self.outputs)
        self.shared_cells = numbers([cell for _, cell in self.shared])
        self.update_cells = numbers([cell for _, cell in self.updates])
        flat, ends = [], []
        for d in self.drops:
            flat.extend(d)
            ends.append(len(flat))
        self.drop_cells = numbers(flat)
        self.drop_ends = numbers(ends)
        flat, ends = [], []
        for g in self.guards:
            for cell, references in g:
                flat.append(cell)
                flat.append(references)
            ends.append(len(flat))
        self.guard_cells = numbers(flat)
        self.guard_ends = numbers(ends)
        self.lock = threading.RLock() if self.updates else None

    def __dealloc__(self):
        cdef Py_ssize_t k, c
        for k in range(self.n_frames):
            for c in range(self.n_cells):
                Py_XDECREF(self.frames[k][c])
            free(self.frames[k])
        free(self.frames)
        free(self.runs)
        free(self.input_cells)
        free(self.output_cells)
        free(self.shared_cells)
        free(self.update_cells)
        free(self.drop_cells)
        free(self.drop_ends)
        free(self.guard_cells)
        free(self.guard_ends)

    cdef PyObject **acquire(self) except NULL:
        cdef PyObject **frame
        cdef Py_ssize_t k
        if self.n_frames > 0:
            self.n_frames -= 1
            return self.frames[self.n_frames]
        frame = <PyObject **> calloc(self.n_cells + 1, sizeof(PyObject *))
        if frame == NULL:
            raise MemoryError()
        for cell, value in self.constants:
            Py_INCREF(value)
            frame[<Py_ssize_t> cell] = <PyObject *> value
        return frame

    cdef void release(self, PyObject **frame) noexcept:
        """Give a frame back, holding nothing but the constants."""
        cdef Py_ssize_t c
        cdef PyObject *old
        cdef PyObject ***frames
        for c in range(self.n_constants, self.n_cells):
            old = frame[c]
            if old != NULL:
                frame[c] = NULL
                Py_XDECREF(old)
        frames = <PyObject ***> realloc(self.frames, (self.n_frames + 1) * sizeof(PyObject **))
        if frames == NULL:
            for c in range(self.n_constants):
                Py_XDECREF(frame[c])
            free(frame)
            return
        self.frames = frames
        self.frames[self.n_frames] = frame
        self.n_frames += 1

    cdef int protect(self, PyObject **frame, Py_ssize_t k, bint certain) except -1:
        """Copy what kernel k writes over if somebody else refers to it, or if k might fail."""
        cdef Py_ssize_t g = self.guard_ends[k - 1] if k > 0 else 0
        cdef Py_ssize_t cell
        cdef PyObject *old
        cdef object copy
        while g < self.guard_ends[k]:
            cell = self.guard_cells[g]
            if not certain or Py_REFCNT(frame[cell]) > self.guard_cells[g + 1]:
                copy = cnp.PyArray_NewCopy(<cnp.ndarray> frame[cell], cnp.NPY_KEEPORDER)
                old = frame[cell]
                Py_INCREF(copy)
                frame[cell] = <PyObject *> copy
                Py_XDECREF(old)
            g += 2
        return 0

    cdef int steps(self, PyObject **frame, Py_ssize_t *position) except -1:
        cdef Py_ssize_t k, d = 0, stop, answer
        cdef PyObject *old
        for k in range(self.n_kernels):
            position[0] = k
            if k == self.commit:
                for stop in range(k, self.n_kernels):
                    position[0] = stop
                    answer = (<Kernel> self.runs[stop]).check(frame)
                    self.protect(frame, stop, answer == 1)
                position[0] = k
            if k < self.commit and self.guard_ends[k] > (self.guard_ends[k - 1] if k > 0 else 0):
                self.protect(frame, k, False)
            (<Kernel> self.runs[k]).run(frame)
            stop = self.drop_ends[k]
            while d < stop:
                old = frame[self.drop_cells[d]]
                frame[self.drop_cells[d]] = NULL
                Py_XDECREF(old)
                d += 1
            if k < self.commit:
                PyErr_CheckSignals()
        return 0

    cdef int observed(self, PyObject **frame, Py_ssize_t *position) except -1:
        """The same, telling the observer. Shared values are copied before they are written
        over, since what an observer raises must leave them as they were."""
        cdef Py_ssize_t k, c, d = 0, stop
        cdef PyObject *old
        cdef object observer = self.observer
        cdef Kernel kernel
        for k in range(self.n_kernels):
            position[0] = k
            kernel = <Kernel> self.kernels[k]
            self.protect(frame, k, False)
            inputs = [<object> frame[kernel.inp[c]] for c in range(kernel.n_in)]
            observer.before(k, inputs)
            started = perf_counter()
            kernel.run(frame)
            seconds = perf_counter() - started
            observer.after(
                k, inputs, [<object> frame[kernel.out[c]] for c in range(kernel.n_out)], seconds
            )
            inputs = None
            stop = self.drop_ends[k]
            while d < stop:
                old = frame[self.drop_cells[d]]
                frame[self.drop_cells[d]] = NULL
                Py_XDECREF(old)
                d += 1
            PyErr_CheckSignals()
        return 0

    cdef list execute(self, tuple arguments):
        cdef PyObject **frame = self.acquire()
        cdef Py_ssize_t k, position = -1
        cdef object value
        cdef list results
        cdef Kernel kernel
        try:
            for k in range(self.n_inputs):
                value = arguments[k]
                Py_INCREF(value)
                frame[self.input_cells[k]] = <PyObject *> value
            value = None
            for k in range(self.n_shared):
                value = (<Cell> (<tuple> self.shared[k])[0]).value
                Py_INCREF(value)
                frame[self.shared_cells[k]] = <PyObject *> value
            value = None
            if self.observer is None:
                self.steps(frame, &position)
            else:
                self.observed(frame, &position)
            position = -1
            results = []
            for k in range(self.n_outputs):
                results.append(<object> frame[self.output_cells[k]])
            for k in range(self.n_updates):
                (<Cell> (<tuple> self.updates[k])[0]).value = <object> frame[self.update_cells[k]]
            return results
        except BaseException as error:
            if self.on_error is not None and position >= 0:
                kernel = <Kernel> self.kernels[position]
                self.on_error(error, position, [
                    <object> frame[kernel.inp[k]] if frame[kernel.inp[k]] != NULL else None
                    for k in range(kernel.n_in)
                ])
            raise
        finally:
            self.release(frame)

    def __call__(self, *arguments):
        """Run on `arguments`, which must be arrays that fit; returns the list of results."""
        if len(arguments) != self.n_inputs:
            raise TypeError(f"the program takes {self.n_inputs} arguments, got {len(arguments)}")
        if self.lock is None:
            return self.execute(arguments)
        with self.lock:
            return self.execute(arguments)

    def __reduce__(self):
        raise TypeError("a Program cannot be pickled; pickle the function that it belongs to")


cdef struct Slot:
    int typenum
    int nd
    cnp.npy_intp *dims      # NULL where no extent is known; -1 for an unknown one


cdef class Entry:
    """A callable on a Program: takes the short way when the arguments fit as they are.

    A subclass gives `convert(args, kwargs)`, which returns the tuple of arrays for everything
    else (keywords, defaults, lists, other dtypes), and may give `finish(results)`.

    Parameters
    ----------
    program : Program
    slots : sequence of (typenum, shape) or None
        What each positional argument must be; None sends the call through `convert`.
    unpack : {'one', 'none', 'list', 'finish'}
        What a call returns: the first result, None, a list, or `self.finish(results)`.
    """

    cdef public Program program
    cdef Slot *slots
    cdef Py_ssize_t n_slots
    cdef bint direct
    cdef int unpack
    cdef Py_ssize_t n_returned

    def __init__(self, Program program, slots, unpack="list", n_returned=None):
        cdef Py_ssize_t k, d
        self.program = program
        self.n_slots = len(slots)
        self.direct = True
        self.slots = <Slot *> calloc(self.n_slots + 1, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError()
        for k in range(self.n_slots):
            if slots[k] is None:
                self.direct = False
                continue
            typenum, shape = slots[k]
            self.slots[k].typenum = typenum
            self.slots[k].nd = len(shape)
            if any(extent is not None for extent in shape):
                self.slots[k].dims = <cnp.npy_intp *> malloc(len(shape) * sizeof(cnp.npy_intp))
                if self.slots[k].dims == NULL:
                    raise MemoryError()
                for d in range(len(shape)):
                    self.slots[k].dims[d] = -1 if shape[d] is None else shape[d]
        self.unpack = ("one", "none", "list", "finish").index(unpack)
        self.n_returned = self.program.n_outputs if n_returned is None else n_returned

    def __dealloc__(self):
        cdef Py_ssize_t k
        if self.slots != NULL:
            for k in range(self.n_slots):
                free(self.slots[k].dims)
            free(self.slots)

    cdef inline bint fits(self, Py_ssize_t k, object value):
        cdef cnp.ndarray array
        cdef int d
        if not cnp.PyArray_CheckExact(value):
            return False
        array = <cnp.ndarray> value
        if (
            cnp.PyArray_TYPE(array) != self.slots[k].typenum
            or cnp.PyArray_NDIM(array) != self.slots[k].nd
            or not cnp.PyArray_ISALIGNED(array)
            or not cnp.PyArray_ISNOTSWAPPED(array)
        ):
            return False
        if self.slots[k].dims != NULL:
            for d in range(self.slots[k].nd):
                if self.slots[k].dims[d] >= 0 and self.slots[k].dims[d] != cnp.PyArray_DIM(array, d):
                    return False
        return True

    def __call__(self, *args, **kwargs):
        cdef Py_ssize_t k
        cdef list results
        cdef bint direct = self.direct and len(args) == self.n_slots and not kwargs
        if direct:
            for k in range(self.n_slots):
                if not self.fits(k, args[k]):
                    direct = False
                    break
        if not direct:
            args = self.convert(args, kwargs)
        if self.program.lock is None:
            results = self.program.execute(<tuple> args)
        else:
            with self.program.lock:
                results = self.program.execute(<tuple> args)
        if self.unpack == 0:
            return results[0]
        if self.unpack == 1:
            return None
        if self.unpack == 2:
            return results
        return self.finish(results)
