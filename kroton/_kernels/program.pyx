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
from copy import deepcopy

cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.exc cimport PyErr_CheckSignals
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

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


cdef inline double now() noexcept nogil:
    """Seconds of a clock that never goes back; reading it costs some 20 ns."""
    cdef timespec moment
    clock_gettime(CLOCK_MONOTONIC, &moment)
    return <double> moment.tv_sec + 1e-9 * <double> moment.tv_nsec


cdef class Timings:
    """How often, how long and on what shapes each kernel of a Program has run.

    A Program that has one and no observer fills it in C: two readings of the clock per kernel.
    All changes are made while the interpreter's lock is held, so that threads may count into
    one object. Shapes are looked at when a kernel runs for the 1st, 2nd, 4th, 8th... time.

    Parameters
    ----------
    n_kernels : int
    """

    def __cinit__(self, Py_ssize_t n_kernels, *state):
        self.n_kernels = n_kernels
        self.totals = <double *> calloc(n_kernels + 1, sizeof(double))
        self.counts = <long long *> calloc(n_kernels + 1, sizeof(long long))
        self.marks = <double *> calloc(2 * n_kernels + 1, sizeof(double))
        if self.totals == NULL or self.counts == NULL or self.marks == NULL:
            raise MemoryError()

    def __init__(self, n_kernels, *state):
        cdef Py_ssize_t k
        self.shapes = [{} for _ in range(n_kernels)]
        self.first = (0.0, 0.0)
        self.latest_call = (0.0, 0.0)
        if state:
            totals, counts, marks, self.shapes, self.calls, self.call_seconds = state[:6]
            self.failed, self.first, self.latest_call = state[6:]
            for k in range(self.n_kernels):
                self.totals[k] = totals[k]
                self.counts[k] = counts[k]
                self.marks[2 * k], self.marks[2 * k + 1] = marks[k]

    def __dealloc__(self):
        free(self.totals)
        free(self.counts)
        free(self.marks)

    def __reduce__(self):
        return (Timings, (
            self.n_kernels, self.seconds, self.runs, self.latest,
            [dict(found) for found in self.shapes], self.calls, self.call_seconds,
            self.failed, self.first, self.latest_call,
        ))

    @property
    def seconds(self):
        """The time spent in each kernel."""
        return [self.totals[k] for k in range(self.n_kernels)]

    @property
    def runs(self):
        """How often each kernel has run."""
        return [self.counts[k] for k in range(self.n_kernels)]

    @property
    def latest(self):
        """Start and end of each kernel in the latest call, on the monotonic clock."""
        return [(self.marks[2 * k], self.marks[2 * k + 1]) for k in range(self.n_kernels)]

    def called(self, double started, double ended, bint succeeded):
        """Count a call, by the monotonic clock at its start and end."""
        if self.calls + self.failed == 0:
            self.first = (ended - started, sum(self.seconds))
        if succeeded:
            self.calls += 1
        else:
            self.failed += 1
        self.call_seconds += ended - started
        self.latest_call = (started, ended)

    def add(self, Py_ssize_t k, double seconds, shapes):
        """Count a run of kernel k that has just ended; `shapes` are its inputs' and outputs'."""
        if not 0 <= k < self.n_kernels:
            raise IndexError(f"kernel {k} of {self.n_kernels}")
        self.totals[k] += seconds
        self.counts[k] += 1
        self.marks[2 * k + 1] = now()
        self.marks[2 * k] = self.marks[2 * k + 1] - seconds
        if self.counts[k] & (self.counts[k] - 1) == 0:
            found = self.shapes[k]
            shapes = tuple(shapes)
            found[shapes] = found.get(shapes, 0) + 1

    def reset(self):
        """Forget what has been counted."""
        memset(self.totals, 0, self.n_kernels * sizeof(double))
        memset(self.counts, 0, self.n_kernels * sizeof(long long))
        self.shapes = [{} for _ in range(self.n_kernels)]
        self.calls = 0
        self.failed = 0
        self.call_seconds = 0.0
        self.first = (0.0, 0.0)
        self.latest_call = (0.0, 0.0)

    cdef void finish(self, double *stamps, Py_ssize_t n) noexcept:
        """Count the first n kernels of a call, whose starts and ends are in `stamps`."""
        cdef Py_ssize_t k
        for k in range(n):
            self.totals[k] += stamps[2 * k + 1] - stamps[2 * k]
            self.counts[k] += 1
            self.marks[2 * k] = stamps[2 * k]
            self.marks[2 * k + 1] = stamps[2 * k + 1]

    cdef int look(self, Py_ssize_t k, Kernel kernel, PyObject **frame) except -1:
        """Note the shapes that kernel k has just worked on."""
        shapes = tuple(
            [shape_of(<object> frame[kernel.inp[c]]) for c in range(kernel.n_in)]
            + [shape_of(<object> frame[kernel.out[c]]) for c in range(kernel.n_out)]
        )
        found = <dict> self.shapes[k]
        found[shapes] = found.get(shapes, 0) + 1
        return 0


cdef object shape_of(object value):
    return value.shape if cnp.PyArray_Check(value) else None


cdef inline int run_all(
    Program self, PyObject **frame, Py_ssize_t *position, double *stamps, bint timed
) except -1:
    """Run the kernels in order. `timed` is a constant in both calls, so that the C compiler
    makes two loops of this one, and the untimed one has no trace of the other."""
    cdef Py_ssize_t k, d = 0, stop, answer
    cdef long long seen
    cdef PyObject *old
    for k in range(self.n_kernels):
        position[0] = k
        if k == self.commit:
            for stop in range(k, self.n_kernels):
                position[0] = stop
                self.thaw(frame, stop)
                answer = (<Kernel> self.runs[stop]).check(frame)
                self.protect(frame, stop, answer == 1)
            position[0] = k
        if k < self.commit and self.guard_ends[k] > (self.guard_ends[k - 1] if k > 0 else 0):
            self.protect(frame, k, False)
        if timed:
            stamps[2 * k] = now()
        (<Kernel> self.runs[k]).run(frame)
        if timed:
            stamps[2 * k + 1] = now()
            seen = self.timings.counts[k]
            if (seen & (seen + 1)) == 0:
                self.timings.look(k, <Kernel> self.runs[k], frame)
        stop = self.drop_ends[k]
        while d < stop:
            old = frame[self.drop_cells[d]]
            frame[self.drop_cells[d]] = NULL
            Py_XDECREF(old)
            d += 1
        if k < self.commit:
            PyErr_CheckSignals()
    return 0


cdef int put_copy(PyObject **frame, Py_ssize_t cell) except -1:
    """Replace the value in a cell by a copy, whatever its Type."""
    cdef PyObject *old = frame[cell]
    cdef object copy
    if cnp.PyArray_Check(<object> old):
        copy = cnp.PyArray_NewCopy(<cnp.ndarray> old, cnp.NPY_KEEPORDER)
    else:
        copy = deepcopy(<object> old)
    Py_INCREF(copy)
    frame[cell] = <PyObject *> copy
    Py_XDECREF(old)
    return 0


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
        while g < self.guard_ends[k]:
            cell = self.guard_cells[g]
            if not certain or Py_REFCNT(frame[cell]) > self.guard_cells[g + 1]:
                put_copy(frame, cell)
            g += 2
        return 0

    cdef int thaw(self, PyObject **frame, Py_ssize_t k) except -1:
        """Copy what kernel k writes over where it is read-only, as a borrowed value may be."""
        cdef Py_ssize_t g = self.guard_ends[k - 1] if k > 0 else 0
        cdef PyObject *value
        while g < self.guard_ends[k]:
            value = frame[self.guard_cells[g]]
            if cnp.PyArray_Check(<object> value):
                if not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> value):
                    put_copy(frame, self.guard_cells[g])
            g += 2
        return 0

    cdef int steps(self, PyObject **frame, Py_ssize_t *position) except -1:
        return run_all(self, frame, position, NULL, False)

    cdef int timed(self, PyObject **frame, Py_ssize_t *position) except -1:
        """The same, reading the clock around each kernel."""
        cdef Timings timings = self.timings
        cdef double *stamps = <double *> malloc((2 * self.n_kernels + 1) * sizeof(double))
        if stamps == NULL:
            raise MemoryError()
        position[0] = 0
        try:
            run_all(self, frame, position, stamps, True)
            position[0] = self.n_kernels
        finally:
            timings.finish(stamps, position[0])
            free(stamps)
        return 0

    cdef int observed(self, PyObject **frame, Py_ssize_t *position) except -1:
        """The same, telling the observer. Shared values are copied before they are written
        over, since what an observer raises must leave them as they were."""
        cdef Py_ssize_t k, c, d = 0, stop
        cdef PyObject *old
        cdef object observer = self.observer
        cdef Kernel kernel
        cdef double started, seconds
        for k in range(self.n_kernels):
            position[0] = k
            kernel = <Kernel> self.kernels[k]
            self.protect(frame, k, False)
            inputs = [<object> frame[kernel.inp[c]] for c in range(kernel.n_in)]
            observer.before(k, inputs)
            started = now()
            kernel.run(frame)
            seconds = now() - started
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
            if self.observer is not None:
                self.observed(frame, &position)
            elif self.timings is not None:
                self.timed(frame, &position)
            else:
                self.steps(frame, &position)
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

    def __repr__(self):
        """The kernels in order, each with the cells that it reads and writes."""
        lines = [f"Program of {self.n_kernels} kernels on {self.n_cells} cells"]
        for k, kernel in enumerate(self.kernels):
            what = self.label(k) if self.label is not None else repr(kernel)
            lines.append(f"{k:4d}  {what}  {list(kernel.in_cells)} -> {list(kernel.out_cells)}")
        return "\n".join(lines)

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

    cdef inline bint all_fit(self, tuple args, dict kwargs):
        cdef Py_ssize_t k
        if not self.direct or len(args) != self.n_slots or kwargs:
            return False
        for k in range(self.n_slots):
            if not self.fits(k, args[k]):
                return False
        return True

    def __call__(self, *args, **kwargs):
        if not self.all_fit(args, kwargs):
            args = self.convert(args, kwargs)
        return self.unpacked(self.executed(<tuple> args))

    cdef inline list executed(self, tuple args):
        if self.program.lock is None:
            return self.program.execute(args)
        with self.program.lock:
            return self.program.execute(args)

    cdef inline object unpacked(self, list results):
        if self.unpack == 0:
            return results[0]
        if self.unpack == 1:
            return None
        if self.unpack == 2:
            return results
        return self.finish(results)


cdef class ObservedEntry(Entry):
    """An Entry whose calls are timed and told of.

    A subclass has the attributes `timings` (Timings), and `starters`, `finishers` and `failers`,
    tuples of what is called as `starter(self, arguments)`, `finisher(self, results, seconds)`
    and `failer(self, node, error)`.
    """

    def __call__(self, *args, **kwargs):
        cdef double started = now(), ended
        cdef list results
        try:
            if not self.all_fit(args, kwargs):
                args = self.convert(args, kwargs)
            for starter in <tuple> self.starters:
                starter(self, args)
            results = self.executed(<tuple> args)
        except BaseException as error:
            (<Timings> self.timings).called(started, now(), False)
            for failer in <tuple> self.failers:
                failer(self, getattr(error, "_kroton_node", None), error)
            raise
        ended = now()
        (<Timings> self.timings).called(started, ended, True)
        for finisher in <tuple> self.finishers:
            finisher(self, results, ended - started)
        return self.unpacked(results)
