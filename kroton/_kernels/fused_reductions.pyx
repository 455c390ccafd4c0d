# cython: language_level=3
"""Reductions of what an elementwise program computes, which is never in memory as a whole.

The program runs on a block of elements at a time, which lies in a scratch area that stays in
cache; the block is reduced into the accumulators, as `reductions.pyx` reduces an array, and the
next one takes its place. Results that are not reduced go to memory as ever.

Blocks are cut along one dimension, those behind it are whole. A floating sum over everything that
a cut goes through is the sum of two halves, each of them cut on (halves of a multiple of eight, as
the pairwise sum of a whole row is taken), so that a sum over contiguous rows has the bits that it
has without fusion. Everywhere else partial results are added up block by block: the error of a sum
of n terms grows with n over the block's rows, and with the logarithm of those. Large work is
halved along its first dimension into parts for several threads, whatever their number is.
"""
cimport numpy as cnp
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from kroton._kernels.geometry cimport (
    bytes_of, dims_of, intp, itemsize_of, ndim_of, simplify, strides_of,
)
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.memory cimport output, put
from kroton._kernels.reductions cimport (
    ReduceKernel, Sweep, arranged, combine, convert, sweep,
)
from kroton._kernels.tile cimport ElementwiseKernel
from kroton._kernels.workers cimport WORTH_A_THREAD, share

from kroton._kernels.reductions import ReduceKernel as _ReduceKernel
from kroton._kernels.tile import ElementwiseKernel as _ElementwiseKernel

cnp.import_array()

cdef enum:
    MAX_DIMS = 64
    MAX_RESULTS = 16
    STACK_INPUTS = 64
    VALUE = 16              # bytes of the largest element
    BLOCK = 2048            # elements at most
    LEAST_BLOCK = 256
    SCRATCH = 32768         # bytes
    GAP = 192               # keeps the results of a block from sharing addresses modulo 4096
    TABLE = 768             # strides that need no allocation
    WORTH_RELEASING = 1 << 14
    DEPTH = 4               # of halving for threads
    MOST_PARTS = 16
    LEAST_ROWS = 16         # of a part
    MOST_PRIVATE = 1 << 16  # bytes of a part's own accumulators


cdef struct Task:
    int nd
    int cut             # the dimension that blocks are cut along
    int n               # arrays of the program: inputs, then outputs
    int n_all           # those and one accumulator for each reduction
    bint halving        # whether some reduction is taken by halves
    bint odd            # whether halves are those of complex numbers
    char by_halves[MAX_RESULTS]
    intp rows           # of a block, at most
    intp elements       # of a block, at most
    int depth           # how often the first dimension is halved for threads
    intp length         # the extent of the first dimension, or of a part of it
    intp *extents
    intp *strides       # strides[d * n_all + k] is array k's in dimension d
    char **base         # where each array starts at the present position
    intp *local         # extents, strides and bases of one block


cdef class FusedReductionKernel(Kernel):
    """An elementwise program whose results are reduced, all or some of them.

    Parameters
    ----------
    in_types, in_broadcast, instructions :
        The program, as `ElementwiseKernel` takes it.
    registers : tuple of int
        For each result the register that it is made of.
    reductions : tuple of (name, ufunc, acc_typenum, out_typenum, axes, neutral) or None
        For each result how it is reduced, as `ReduceKernel` takes it; None for one that is not.
    inplace : dict of int to int
        Result k, which is not reduced, takes over the memory of input `inplace[k]`, when that is
        writeable and has the full shape.

    Raises LookupError where an instruction or a reduction has no loop.
    """

    cdef ElementwiseKernel program
    cdef list kernels           # one ReduceKernel for each reduction
    cdef int n_reductions
    cdef int ndim
    cdef int *result            # of each reduction: the position among the results
    cdef int *source            # of each reduction: which of the program's outputs
    cdef int *plain             # of each of the program's outputs: its result, or -1 for scratch
    cdef intp *itemsize         # of each of the program's outputs
    cdef intp *offset           # of its scratch: bytes for each element of a block
    cdef intp scratch_bytes     # of one element
    cdef int n_scratch
    cdef Sweep *sweeps          # what each reduction's have in common

    def __init__(
        self, in_types, in_broadcast, instructions, registers, reductions, inplace=None
    ):
        cdef int k, n, p
        cdef ReduceKernel kernel
        cdef dict position = {}
        cdef list types = list(in_types) + [step[4] for step in instructions]
        if len(registers) != len(reductions) or not registers:
            raise ValueError(f"{len(registers)} results, {len(reductions)} reductions")
        if len(registers) > MAX_RESULTS:
            raise LookupError(f"{len(registers)} results, at most {MAX_RESULTS} are possible")
        if self.result != NULL:
            raise RuntimeError("a kernel is built once")
        # Results that are not reduced have arrays of their own; reductions share what is there.
        outputs = []
        sources = [None] * len(registers)
        for k, (register, reduction) in enumerate(zip(registers, reductions)):
            if reduction is None:
                position.setdefault(register, len(outputs))
                sources[k] = len(outputs)
                outputs.append(register)
        for k, (register, reduction) in enumerate(zip(registers, reductions)):
            if reduction is not None:
                if register not in position:
                    position[register] = len(outputs)
                    outputs.append(register)
                sources[k] = position[register]
        over = {sources[k]: i for k, i in (inplace or {}).items() if reductions[k] is None}
        self.program = _ElementwiseKernel(
            in_types, in_broadcast, instructions, tuple(outputs), over
        )
        self.ndim = self.program.ndim
        self.arity(len(in_types), len(registers))
        n = len(outputs)
        self.kernels = []
        self.result = <int *> calloc(len(registers) + 1, sizeof(int))
        self.source = <int *> calloc(len(registers) + 1, sizeof(int))
        self.plain = <int *> calloc(n, sizeof(int))
        self.itemsize = <intp *> calloc(n, sizeof(intp))
        self.offset = <intp *> calloc(n, sizeof(intp))
        self.sweeps = <Sweep *> calloc(len(registers) + 1, sizeof(Sweep))
        if (
            self.result == NULL or self.source == NULL or self.plain == NULL
            or self.itemsize == NULL or self.offset == NULL or self.sweeps == NULL
        ):
            raise MemoryError()
        for p in range(n):
            self.plain[p] = -1
            self.itemsize[p] = cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(types[outputs[p]]))
        for k, (register, reduction, p) in enumerate(zip(registers, reductions, sources)):
            if reduction is None:
                self.plain[p] = k
                continue
            name, ufunc, acc, out, axes, neutral = reduction
            kernel = _ReduceKernel(name, ufunc, types[register], acc, out, self.ndim, axes, neutral)
            kernel.start(&self.sweeps[self.n_reductions])
            self.kernels.append(kernel)
            self.result[self.n_reductions] = k
            self.source[self.n_reductions] = p
            self.n_reductions += 1
        for p in range(n):
            if self.plain[p] < 0:
                self.offset[p] = self.scratch_bytes
                self.scratch_bytes += self.itemsize[p]
                self.n_scratch += 1

    def __dealloc__(self):
        free(self.result)
        free(self.source)
        free(self.plain)
        free(self.itemsize)
        free(self.offset)
        free(self.sweeps)

    def __repr__(self):
        return f"FusedReductionKernel({self.program!r}, {self.kernels!r})"

    cpdef bind(self, in_cells, out_cells):
        Kernel.bind(self, in_cells, out_cells)
        self.program.bind(in_cells, [0] * self.program.n_out)

    cdef int check(self, PyObject **cells) except -1:
        cdef intp shape[MAX_DIMS]
        cdef int r
        self.program.shape_of(cells, shape)
        for r in range(self.n_reductions):
            if not (<ReduceKernel> self.kernels[r]).has_empty:
                return 0
        return 0 if self.program.may_raise else 1

    cdef int run(self, PyObject **cells) except -1:
        cdef intp shape[MAX_DIMS]
        cdef intp kept[MAX_DIMS]
        cdef PyObject *stack[STACK_INPUTS]
        cdef PyObject **inputs = stack
        cdef list copies = None         # keeps them alive
        cdef char *acc[MAX_RESULTS]
        cdef char single[VALUE * MAX_RESULTS]
        cdef intp count[MAX_RESULTS]
        cdef char *first
        cdef int r, k, d, n_kept, source
        cdef intp size = 1, reduced
        cdef ReduceKernel kernel
        self.program.shape_of(cells, shape)
        for d in range(self.ndim):
            size *= shape[d]
        for r in range(self.n_reductions):
            kernel = <ReduceKernel> self.kernels[r]
            acc[r] = NULL
            count[r] = reduced = 1
            for d in range(self.ndim):
                if kernel.reduced[d]:
                    reduced *= shape[d]
                else:
                    count[r] *= shape[d]
            if reduced == 0 and not kernel.has_empty:
                raise ValueError(
                    f"{kernel.name} of no elements: a result of shape "
                    f"{tuple([shape[d] for d in range(self.ndim)])} over axes {kernel.axes}"
                )
        if self.n_in > STACK_INPUTS:
            inputs = <PyObject **> malloc(self.n_in * sizeof(PyObject *))
            if inputs == NULL:
                raise MemoryError()
        try:
            for k in range(self.n_in):
                inputs[k] = cells[self.inp[k]]
            for k in range(self.program.n_out):
                if self.plain[k] < 0:
                    continue
                source = self.program.out_source[k]
                if source >= 0 and self.program.reusable(cells, k, shape):
                    copies = self.program.protect(inputs, source, self.program.written[k], copies)
                    put(cells, self.out[self.plain[k]], <object> cells[self.inp[source]])
                else:
                    output(
                        cells, self.out[self.plain[k]], self.program.out_types[k], self.ndim, shape
                    )
            for r in range(self.n_reductions):
                kernel = <ReduceKernel> self.kernels[r]
                n_kept = 0
                for d in range(self.ndim):
                    if not kernel.reduced[d]:
                        kept[n_kept] = shape[d]
                        n_kept += 1
                k = self.out[self.result[r]]
                output(cells, k, kernel.out_type, n_kept, kept)
                if kernel.cast_out.function == NULL:
                    acc[r] = bytes_of(cells[k])
                elif count[r] == 1:
                    acc[r] = single + VALUE * r
                else:
                    acc[r] = <char *> malloc(max(count[r], 1) * kernel.acc_size)
                    if acc[r] == NULL:
                        raise MemoryError()
                first = kernel.neutral
                if size == 0:
                    first = kernel.empty
                convert(&kernel.copy, first, 0, acc[r], kernel.acc_size, count[r])
            if size:
                self.compute(cells, inputs, shape, acc, count, size)
            for r in range(self.n_reductions):
                kernel = <ReduceKernel> self.kernels[r]
                if kernel.cast_out.function != NULL:
                    k = self.out[self.result[r]]
                    convert(
                        &kernel.cast_out, acc[r], kernel.acc_size, bytes_of(cells[k]),
                        itemsize_of(cells[k]), count[r],
                    )
        finally:
            if inputs != stack:
                free(inputs)
            for r in range(self.n_reductions):
                kernel = <ReduceKernel> self.kernels[r]
                if kernel.cast_out.function != NULL and count[r] != 1:
                    free(acc[r])
        if self.program.may_raise and PyErr_Occurred() != NULL:
            return -1
        return 0

    cdef int compute(
        self, PyObject **cells, PyObject **inputs, intp *shape, char **acc, intp *count, intp size
    ) except -1:
        """Fill the accumulators and the results that are not reduced."""
        cdef intp stack[TABLE]
        cdef intp *table = stack
        cdef Task task
        cdef intp needed = self.n_in + self.program.n_out + self.n_reductions
        cdef int result
        needed = (needed + 1) * (self.ndim + 1) + needed
        if needed > TABLE:
            table = <intp *> malloc(needed * sizeof(intp))
            if table == NULL:
                raise MemoryError()
        try:
            self.prepare(&task, table, cells, inputs, shape, acc)
            if self.may_be_cut(&task, count, size):
                self.in_parts(&task, acc, count)
                return 0
            if size * self.program.n_instructions > WORTH_RELEASING:
                with nogil:
                    result = self.rows_from(&task, 0, task.extents[0], acc)
            else:
                result = self.rows_from(&task, 0, task.extents[0], acc)
            if result < 0:
                raise MemoryError()
        finally:
            if table != stack:
                free(table)
        return 0

    cdef void prepare(
        self, Task *t, intp *table, PyObject **cells, PyObject **inputs, intp *shape, char **acc
    ):
        """Fill in the task as a whole: all but `length`, `local` and where scratch is."""
        cdef PyObject *array
        cdef int k, d, r, axis
        cdef intp rows, inner = 1, step
        cdef ReduceKernel kernel
        t.n = self.n_in + self.program.n_out
        t.n_all = t.n + self.n_reductions
        t.strides = table
        t.extents = t.strides + t.n_all * (self.ndim + 1)
        t.base = <char **> (t.extents + self.ndim + 1)
        t.nd = 0
        for d in range(self.ndim):
            if shape[d] == 1:
                continue
            t.extents[t.nd] = shape[d]
            for k in range(t.n):
                array = self.array_of(cells, inputs, k)
                step = 0
                if array != NULL:
                    axis = d - (self.ndim - ndim_of(array))
                    if axis >= 0 and dims_of(array)[axis] != 1:
                        step = strides_of(array)[axis]
                t.strides[t.nd * t.n_all + k] = step
            t.nd += 1
        for k in range(t.n):
            array = self.array_of(cells, inputs, k)
            t.base[k] = NULL if array == NULL else bytes_of(array)
        for r in range(self.n_reductions):
            kernel = <ReduceKernel> self.kernels[r]
            t.base[t.n + r] = acc[r]
            step = kernel.acc_size
            k = t.nd
            for d in range(self.ndim - 1, -1, -1):
                if shape[d] == 1:
                    continue
                k -= 1
                if kernel.reduced[d]:
                    t.strides[k * t.n_all + t.n + r] = 0
                else:
                    t.strides[k * t.n_all + t.n + r] = step
                    step *= shape[d]
        if t.nd == 0:
            t.extents[0] = 1
            for k in range(t.n_all):
                t.strides[k] = 0
            t.nd = 1
        merge(t)
        rows = SCRATCH // max(self.scratch_bytes, 1)
        rows = min(max(rows, LEAST_BLOCK), BLOCK)
        t.cut = t.nd - 1
        while t.cut > 0 and inner * t.extents[t.cut] <= rows:
            inner *= t.extents[t.cut]
            t.cut -= 1
        t.rows = rows // inner
        t.elements = min(rows, inner * min(t.rows, t.extents[t.cut]))
        t.halving = t.odd = False
        for r in range(self.n_reductions):
            kernel = <ReduceKernel> self.kernels[r]
            t.by_halves[r] = (
                kernel.name == "add"
                and (cnp.PyTypeNum_ISFLOAT(kernel.acc_type)
                     or cnp.PyTypeNum_ISCOMPLEX(kernel.acc_type))
                and t.extents[t.cut] > t.rows
            )
            for d in range(t.cut, t.nd):
                if t.strides[d * t.n_all + t.n + r] != 0:
                    t.by_halves[r] = False
            if t.by_halves[r]:
                t.halving = True
                t.odd = cnp.PyTypeNum_ISCOMPLEX(kernel.acc_type)

    cdef bint may_be_cut(self, Task *t, intp *count, intp size) noexcept:
        """Set how often the first dimension is halved for several threads; whether it is."""
        cdef intp work = size * self.program.n_instructions
        cdef intp private = 0
        cdef int r
        t.depth = 0
        while (
            t.depth < DEPTH and work >> (t.depth + 1) >= WORTH_A_THREAD
            and t.extents[0] >> (t.depth + 1) >= LEAST_ROWS
        ):
            t.depth += 1
        if t.depth == 0 or self.program.may_raise:
            return False
        for r in range(self.n_reductions):
            if t.strides[t.n + r] == 0:
                private += count[r] * VALUE
        return private <= MOST_PRIVATE

    cdef int in_parts(self, Task *t, char **acc, intp *count) except -1:
        """Halves of halves of the first dimension, by several threads.

        A reduction over that dimension goes to an accumulator for each part; these are combined
        as the halves are. How the work is cut does not depend on the number of threads.
        """
        cdef Shared shared
        cdef ReduceKernel kernel
        cdef intp bytes = 0, offset = 0
        cdef char *private
        cdef int r, part, parts = 1 << t.depth, step
        shared.kernel = <void *> self
        shared.task = t
        shared.result = 0
        halves(t, 0, t.extents[0], t.depth, shared.begin, shared.rows, 0)
        for r in range(self.n_reductions):
            if t.strides[t.n + r] == 0:
                bytes += (count[r] * self.sweeps[r].acc_size + 63) // 64 * 64
        private = <char *> malloc(bytes * parts + 64)
        if private == NULL:
            raise MemoryError()
        for r in range(self.n_reductions):
            kernel = <ReduceKernel> self.kernels[r]
            for part in range(parts):
                shared.acc[part][r] = acc[r]
                if t.strides[t.n + r] == 0:
                    shared.acc[part][r] = private + part * bytes + offset
                    convert(
                        &kernel.copy, kernel.neutral, 0, shared.acc[part][r], kernel.acc_size,
                        count[r],
                    )
            if t.strides[t.n + r] == 0:
                offset += (count[r] * kernel.acc_size + 63) // 64 * 64
        with nogil:
            share(run_part, &shared, parts)
        for r in range(self.n_reductions):
            if t.strides[t.n + r] != 0:
                continue
            kernel = <ReduceKernel> self.kernels[r]
            step = 1
            while step < parts:
                for part in range(0, parts, 2 * step):
                    combine(
                        &kernel.joined, kernel.acc_size, shared.acc[part + step][r],
                        shared.acc[part][r], count[r],
                    )
                step *= 2
            combine(&kernel.joined, kernel.acc_size, shared.acc[0][r], acc[r], count[r])
        free(private)
        if shared.result < 0:
            raise MemoryError()
        return 0

    cdef int rows_from(self, const Task *whole, intp begin, intp rows, char **acc) noexcept nogil:
        """Some rows of the first dimension, reduced into `acc`; -1 if there is no memory."""
        cdef intp table_stack[TABLE]
        cdef char scratch_stack[SCRATCH + MAX_RESULTS * GAP]
        cdef intp *table = table_stack
        cdef char *scratch = scratch_stack
        cdef Task own = whole[0]
        cdef Task *t = &own
        cdef intp bytes
        cdef int k, d = 0, result
        bytes = (t.n + 1) * (t.nd + 1) + t.n + t.n_all
        if bytes > TABLE:
            table = <intp *> malloc(bytes * sizeof(intp))
            if table == NULL:
                return -1
        bytes = self.scratch_bytes * t.elements + self.n_scratch * GAP + 64
        if bytes > SCRATCH + MAX_RESULTS * GAP:
            scratch = <char *> malloc(bytes)
            if scratch == NULL:
                if table != table_stack:
                    free(table)
                return -1
        t.length = rows
        t.base = <char **> table
        t.local = table + t.n_all
        for k in range(t.n_all):
            t.base[k] = whole.base[k] if k < t.n else acc[k - t.n]
            t.base[k] += begin * t.strides[k]
        for k in range(self.program.n_out):
            if self.plain[k] < 0:
                bytes = (self.offset[k] * t.elements + 63) // 64 * 64 + d * GAP
                t.base[self.n_in + k] = scratch + (64 - <size_t> scratch % 64) + bytes
                d += 1
        result = self.everything(t)
        if scratch != scratch_stack:
            free(scratch)
        if table != table_stack:
            free(table)
        return result

    cdef inline PyObject *array_of(self, PyObject **cells, PyObject **inputs, int k) noexcept:
        """The array of an input or an output of the program, NULL for one in scratch."""
        if k < self.n_in:
            return inputs[k]
        k = self.plain[k - self.n_in]
        return cells[self.out[k]] if k >= 0 else NULL

    cdef int everything(self, Task *t) noexcept nogil:
        """All blocks at every position of the dimensions before the cut."""
        cdef intp counter[MAX_DIMS]
        cdef intp extent
        cdef int d, k
        for d in range(t.cut):
            counter[d] = 0
        while True:
            if self.along_the_cut(t) < 0:
                return -1
            d = t.cut - 1
            while d >= 0:
                counter[d] += 1
                for k in range(t.n_all):
                    t.base[k] += t.strides[d * t.n_all + k]
                extent = t.length if d == 0 else t.extents[d]
                if counter[d] < extent:
                    break
                for k in range(t.n_all):
                    t.base[k] -= t.strides[d * t.n_all + k] * extent
                counter[d] = 0
                d -= 1
            if d < 0:
                return 0

    cdef int along_the_cut(self, Task *t) noexcept nogil:
        cdef intp begin = 0, length = t.length if t.cut == 0 else t.extents[t.cut]
        cdef char partial[VALUE * MAX_RESULTS]
        cdef int r
        if t.halving:
            if self.by_halves(t, 0, length, partial) < 0:
                return -1
            for r in range(self.n_reductions):
                if t.by_halves[r]:
                    self.add_up(r, partial, t.base[t.n + r])
            return 0
        while begin < length:
            if self.block(t, begin, min(t.rows, length - begin), NULL) < 0:
                return -1
            begin += t.rows
        return 0

    cdef int by_halves(self, Task *t, intp begin, intp rows, char *partial) noexcept nogil:
        """`partial` becomes the sums over `rows` of the cut dimension from `begin` on."""
        cdef char right[VALUE * MAX_RESULTS]
        cdef intp half
        cdef int r
        if rows <= t.rows:
            for r in range(self.n_reductions):
                if t.by_halves[r]:
                    memcpy(partial + VALUE * r, self.sweeps[r].neutral, self.sweeps[r].acc_size)
            return self.block(t, begin, rows, partial)
        half = half_of(t, rows)
        if self.by_halves(t, begin, half, partial) < 0:
            return -1
        if self.by_halves(t, begin + half, rows - half, right) < 0:
            return -1
        for r in range(self.n_reductions):
            if t.by_halves[r]:
                self.add_up(r, right, partial + VALUE * r)
        return 0

    cdef inline void add_up(self, int r, char *partials, char *acc) noexcept nogil:
        combine(&self.sweeps[r].op, self.sweeps[r].acc_size, partials + VALUE * r, acc, 1)

    cdef int block(self, Task *t, intp begin, intp rows, char *partial) noexcept nogil:
        """Run the program on some rows of the cut dimension and reduce what it gives."""
        cdef intp *extents = t.local
        cdef intp *strides = extents + t.nd + 1
        cdef char **base = <char **> (strides + t.n * (t.nd + 1))
        cdef int nd = 0, d, k, r, n = t.n
        cdef intp extent, step
        cdef char *x
        cdef char *acc
        cdef Sweep s
        for d in range(t.cut, t.nd):
            extent = rows if d == t.cut else t.extents[d]
            if extent == 1 and d < t.nd - 1:
                continue
            extents[nd] = extent
            memcpy(strides + nd * n, t.strides + d * t.n_all, n * sizeof(intp))
            nd += 1
        for k in range(self.program.n_out):
            if self.plain[k] >= 0:
                continue
            step = self.itemsize[k]
            for d in range(nd - 1, -1, -1):
                strides[d * n + self.n_in + k] = step
                step *= extents[d]
        for k in range(n):
            base[k] = t.base[k] + begin * t.strides[t.cut * t.n_all + k]
        if nd > 1:
            nd = simplify(strides, extents, nd, n, self.n_in)
        if self.program.iterate(base, strides, extents, nd) < 0:
            return -1
        for r in range(self.n_reductions):
            s.op = self.sweeps[r].op
            s.cast = self.sweeps[r].cast
            s.acc_size = self.sweeps[r].acc_size
            s.neutral = self.sweeps[r].neutral
            s.stop = self.sweeps[r].stop
            s.nd = 0
            k = self.source[r]
            step = self.itemsize[k]
            for d in range(t.nd - 1, t.cut - 1, -1):
                extent = rows if d == t.cut else t.extents[d]
                s.axes[s.nd].n = extent
                if self.plain[k] < 0:
                    s.axes[s.nd].si = step
                    step *= extent
                else:
                    s.axes[s.nd].si = t.strides[d * t.n_all + self.n_in + k]
                s.axes[s.nd].so = t.strides[d * t.n_all + n + r]
                s.nd += 1
            x = t.base[self.n_in + k] + begin * t.strides[t.cut * t.n_all + self.n_in + k]
            if partial != NULL and t.by_halves[r]:
                acc = partial + VALUE * r
            else:
                acc = t.base[n + r] + begin * t.strides[t.cut * t.n_all + n + r]
            s.nd = arranged(s.axes, s.nd, &x)
            sweep(&s, x, acc)
        return 0


cdef intp half_of(const Task *t, intp rows) noexcept nogil:
    """Where NumPy's pairwise sum cuts so many terms in two, if they are enough."""
    cdef intp half = (rows - rows % 8) // 2 if t.odd else rows // 2 - rows // 2 % 8
    return half if half > 0 else rows // 2


# -- in several threads -----------------------------------------------------------------------------

cdef struct Shared:
    void *kernel
    const Task *task
    intp begin[MOST_PARTS]
    intp rows[MOST_PARTS]
    char *acc[MOST_PARTS][MAX_RESULTS]
    int result


cdef int halves(
    const Task *t, intp begin, intp rows, int depth, intp *begins, intp *lengths, int n
) noexcept nogil:
    """The parts after halving `depth` times, in order; how many there are with the `n` before."""
    cdef intp half
    if depth == 0:
        begins[n] = begin
        lengths[n] = rows
        return n + 1
    half = half_of(t, rows)
    n = halves(t, begin, half, depth - 1, begins, lengths, n)
    return halves(t, begin + half, rows - half, depth - 1, begins, lengths, n)


cdef int rows_from(
    FusedReductionKernel kernel, const Task *whole, intp begin, intp rows, char **acc
) noexcept nogil:
    return kernel.rows_from(whole, begin, rows, acc)


# A task has no reference of its own to the kernel; its caller has one.
ctypedef int (*RowsFrom)(void *, const Task *, intp, intp, char **) noexcept nogil


cdef void run_part(void *context, int part) noexcept nogil:
    cdef Shared *shared = <Shared *> context
    if (<RowsFrom> rows_from)(
        shared.kernel, shared.task, shared.begin[part], shared.rows[part], shared.acc[part]
    ) < 0:
        shared.result = -1


cdef void merge(Task *t) noexcept nogil:
    """Make one of neighbouring dimensions that all arrays and accumulators run through as one."""
    cdef int d, k, last = 0, n = t.n_all
    cdef bint one
    for d in range(1, t.nd):
        one = True
        for k in range(n):
            if t.strides[last * n + k] != t.strides[d * n + k] * t.extents[d]:
                one = False
                break
        if one:
            t.extents[last] *= t.extents[d]
            memcpy(t.strides + last * n, t.strides + d * n, n * sizeof(intp))
        else:
            last += 1
            t.extents[last] = t.extents[d]
            if last != d:
                memcpy(t.strides + last * n, t.strides + d * n, n * sizeof(intp))
    t.nd = last + 1
