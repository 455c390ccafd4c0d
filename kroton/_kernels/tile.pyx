# cython: language_level=3
"""The fused elementwise kernel: a straight-line program over arrays, run tile by tile.

Registers 0 .. n_in-1 are the inputs, then comes one register for each instruction; an
instruction is one call to a typed inner loop (`loops.pyx`) over a tile. Inputs are read where
they are, by stride; the instruction that makes an output writes to the output's memory; all
other registers live in a scratch area that stays in the first-level cache, sharing slots as
their lifetimes allow (`registers.py`). An instruction whose inputs do not vary along the row is
evaluated once per row.

Dimensions of extent 1 are dropped, the others ordered by the outputs' strides and merged where
all arrays allow, so that contiguous work is one row. Inputs may have any strides. Where only
broadcast inputs forbid that rows are merged, and rows are short, these inputs are repeated in
scratch, as far as a tile goes: a few long calls cost less than many short ones.
"""
cimport numpy as cnp
from cpython.exc cimport PyErr_Occurred
from cpython.object cimport PyObject
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from kroton._kernels.geometry cimport (
    bytes_of, dims_of, flags_of, intp, itemsize_of, lengthen, ndim_of, overlap, same_layout,
    simplify, strides_of,
)
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport Loop, canonical, find
from kroton._kernels.memory cimport output, put
from kroton._kernels.strided cimport take_loops

from kroton._kernels.workers cimport WORTH_A_THREAD, share, threads

from kroton._kernels.registers import add_copies, assign_slots

cnp.import_array()

cdef enum:
    MAX_DIMS = 64
    STACK_REGISTERS = 64
    STACK_STRIDES = 256
    STACK_SCRATCH = 32768
    CACHE = 24576           # bytes that the tiles of all streams and slots may take
    LEAST_TILE = 128
    LARGEST_TILE = 2048
    WORTH_RELEASING = 1 << 14   # element-operations for which the GIL is released
    MOST_PARTS = 16         # of one call's work
    ROWS = 4                # of a tile, at least, for which inputs are repeated
    SLOT_GAP = 128          # keeps slots from sharing their address modulo 4096


cdef class ElementwiseKernel(Kernel):
    """A program of elementwise instructions; the outputs have the inputs' common shape.

    Parameters
    ----------
    in_types : tuple of int
        NumPy's type number of each input.
    in_broadcast : tuple of tuple of bool
        For each input, for each of its dimensions, whether the extent is 1 by type, and so
        broadcast. Inputs align at the right. Other extents must agree.
    instructions : tuple of (name, ufunc or None, in_registers, in_typenums, out_typenum)
        What `loops.find` needs, and the registers to read.
    out_registers : tuple of int
        The registers that are outputs.
    inplace : dict of int to int
        Output k takes over the memory of input `inplace[k]`, when that is writeable and has
        the full shape.

    Raises LookupError for an instruction that has no loop, ValueError for a program that does
    not make sense.
    """

    def __init__(self, in_types, in_broadcast, instructions, out_registers, inplace=None):
        cdef list program = [tuple(step) for step in instructions]
        cdef list outputs = list(out_registers)
        cdef list types = [canonical(t) for t in in_types]
        cdef dict source = dict(inplace or {})
        cdef int n_in = len(types), k, d, register
        if len(in_broadcast) != n_in:
            raise ValueError(f"{n_in} input types, but {len(in_broadcast)} broadcast patterns")
        for k, step in enumerate(program):
            name, ufunc, registers, loop_types, out = step
            if len(registers) != len(loop_types) or len(registers) >= MAX_ARGUMENTS:
                raise ValueError(f"instruction {k} ({name}) has {len(registers)} inputs")
            for register, t in zip(registers, loop_types):
                if not 0 <= register < n_in + k or types[register] != canonical(t):
                    raise ValueError(
                        f"instruction {k} ({name}) reads register {register} as type {t}"
                    )
            types.append(canonical(out))
        if not outputs:
            raise ValueError("a program without outputs")
        for register in outputs:
            if not 0 <= register < len(types):
                raise ValueError(f"output register {register} is never written")
        if any(loop_may_raise(step) for step in program):
            source = {}     # no input may have changed when an instruction raises
        add_copies(program, outputs, types, source, n_in)
        self.plan(program, outputs, types, source, n_in, in_broadcast)

    def plan(self, list program, list outputs, list types, dict source, int n_in, in_broadcast):
        """Fill in the C tables from a program in which each output has its own instruction."""
        cdef int k, d, j, register, n_registers = n_in + len(program)
        cdef Loop loop
        cdef Instruction *step
        if self.instructions != NULL:
            raise RuntimeError("a kernel is built once")
        self.arity(n_in, len(outputs))
        self.n_instructions = len(program)
        self.origins = []
        self.instructions = <Instruction *> calloc(len(program) + 1, sizeof(Instruction))
        self.in_ndim = <int *> calloc(n_in + 1, sizeof(int))
        self.in_broadcast = <cnp.npy_uint64 *> calloc(n_in + 1, sizeof(cnp.npy_uint64))
        self.out_types = <int *> calloc(len(outputs) + 1, sizeof(int))
        self.out_register = <int *> calloc(len(outputs) + 1, sizeof(int))
        self.out_source = <int *> calloc(len(outputs) + 1, sizeof(int))
        self.written = <int *> calloc(len(outputs) + 1, sizeof(int))
        self.last_read = <int *> calloc(n_in + 1, sizeof(int))
        self.in_itemsize = <intp *> calloc(n_in + 1, sizeof(intp))
        self.slot = <int *> calloc(n_registers + 1, sizeof(int))
        self.slot_offset = <intp *> calloc(n_registers + 1, sizeof(intp))
        if (
            self.instructions == NULL or self.in_ndim == NULL or self.in_broadcast == NULL
            or self.out_types == NULL or self.out_register == NULL or self.out_source == NULL
            or self.written == NULL or self.last_read == NULL or self.slot == NULL
            or self.slot_offset == NULL or self.in_itemsize == NULL
        ):
            raise MemoryError()
        for k in range(n_in):
            self.in_ndim[k] = len(in_broadcast[k])
            if self.in_ndim[k] > MAX_DIMS:
                raise ValueError(f"input {k} has {self.in_ndim[k]} dimensions, at most 64 do")
            self.ndim = max(self.ndim, self.in_ndim[k])
            for d in range(self.in_ndim[k]):
                if in_broadcast[k][self.in_ndim[k] - 1 - d]:
                    self.in_broadcast[k] |= <cnp.npy_uint64> 1 << d
        sizes = [cnp.PyDataType_ELSIZE(cnp.PyArray_DescrFromType(t)) for t in types]
        for k in range(n_in):
            self.in_itemsize[k] = sizes[k]
        for k in range(len(program)):
            name, ufunc, registers, loop_types, out = program[k]
            if not find(name, tuple(loop_types), out, ufunc, &loop):
                raise LookupError(
                    f"no loop for {name} with input types {tuple(loop_types)}, output type {out}"
                )
            step = &self.instructions[k]
            step.function = loop.function
            step.data = loop.data
            step.nin = len(registers)
            step.out = n_in + k
            step.itemsize = sizes[n_in + k]
            self.may_raise |= loop.may_raise
            self.origins.append("numpy" if loop.origin == NULL else f"own:{loop.origin.decode()}")
            for j in range(step.nin):
                step.inputs[j] = registers[j]
                if registers[j] < n_in:
                    self.last_read[<int> registers[j]] = k
        for k in range(len(outputs)):
            self.out_register[k] = outputs[k]
            self.out_types[k] = types[outputs[k]]
            self.out_source[k] = source.get(k, -1)
            self.written[k] = outputs[k] - n_in
        assigned, slots = assign_slots(program, outputs, sizes, n_in)
        for k in range(n_registers):
            self.slot[k] = assigned[k]
        self.n_slots = len(slots)
        total = 0
        for k in range(self.n_slots):
            self.slot_offset[k] = total
            total += slots[k]
        self.scratch_bytes = total
        streams = total + sum(sizes[:n_in]) + sum([sizes[r] for r in outputs])
        self.tile = min(max(CACHE // max(streams, 1), LEAST_TILE), LARGEST_TILE) // 64 * 64
        if self.n_instructions == 1:
            self.tile = (<size_t> -1) >> 1

    def __dealloc__(self):
        free(self.instructions)
        free(self.in_ndim)
        free(self.in_broadcast)
        free(self.out_types)
        free(self.out_register)
        free(self.out_source)
        free(self.written)
        free(self.last_read)
        free(self.in_itemsize)
        free(self.slot)
        free(self.slot_offset)

    @property
    def loop_origins(self):
        """Where the loop of each instruction comes from: 'numpy' or 'own:' and the ISA."""
        return list(self.origins)

    def __repr__(self):
        n = self.n_instructions
        return f"ElementwiseKernel({n} instruction{'s' if n != 1 else ''})"

    cdef int shape_of(self, PyObject **cells, intp *shape) except -1:
        """The common shape of the inputs; a ValueError that names the inputs that disagree."""
        cdef int k, d, nd, ndim = self.ndim
        cdef int owner[MAX_DIMS]
        cdef PyObject *array
        cdef intp *dims
        for d in range(ndim):
            shape[d] = -1
        for k in range(self.n_in):
            array = cells[self.inp[k]]
            nd = ndim_of(array)
            if nd != self.in_ndim[k]:
                raise ValueError(
                    f"input {k} has {nd} dimensions, the kernel was built for {self.in_ndim[k]}"
                )
            dims = dims_of(array)
            for d in range(nd):
                if self.in_broadcast[k] >> d & 1:
                    if dims[nd - 1 - d] != 1:
                        raise ValueError(
                            f"input {k} has {dims[nd - 1 - d]} elements in dimension "
                            f"{ndim - 1 - d}, but its type says 1"
                        )
                elif shape[ndim - 1 - d] == -1:
                    shape[ndim - 1 - d] = dims[nd - 1 - d]
                    owner[ndim - 1 - d] = k
                elif shape[ndim - 1 - d] != dims[nd - 1 - d]:
                    mismatch(
                        k, dims[nd - 1 - d], ndim - 1 - d,
                        owner[ndim - 1 - d], shape[ndim - 1 - d],
                    )
        for d in range(ndim):
            if shape[d] == -1:
                shape[d] = 1
        return 0

    cdef int check(self, PyObject **cells) except -1:
        cdef intp shape[MAX_DIMS]
        self.shape_of(cells, shape)
        return 0 if self.may_raise else 1

    cdef bint reusable(self, PyObject **cells, int k, intp *shape):
        """Whether output k can take over the memory of the input it is meant to."""
        cdef PyObject *array = cells[self.inp[self.out_source[k]]]
        cdef int d
        if not flags_of(array) & cnp.NPY_ARRAY_WRITEABLE or ndim_of(array) != self.ndim:
            return False
        for d in range(self.ndim):
            if dims_of(array)[d] != shape[d] or (shape[d] > 1 and strides_of(array)[d] == 0):
                return False
        return True

    cdef list protect(self, PyObject **inputs, int source, int written, list copies):
        """Copy the inputs that writing to `source`'s memory would spoil before they are read.

        An input that is laid out exactly as `source` needs no copy: each tile of it is read
        before it is written, unless an instruction after the writing one reads it.
        """
        cdef int k
        cdef object copy
        for k in range(self.n_in):
            if k == source or not overlap(inputs[k], inputs[source]):
                continue
            if same_layout(inputs[k], inputs[source]) and self.last_read[k] <= written:
                continue
            copy = cnp.PyArray_NewCopy(<cnp.ndarray> inputs[k], cnp.NPY_KEEPORDER)
            inputs[k] = <PyObject *> copy
            if copies is None:
                copies = []
            copies.append(copy)
        return copies

    cdef int run(self, PyObject **cells) except -1:
        cdef intp shape[MAX_DIMS]
        cdef PyObject *stack[STACK_REGISTERS]
        cdef PyObject **arrays = stack      # the inputs, then the outputs
        cdef int k
        cdef list copies = None             # keeps them alive
        self.shape_of(cells, shape)
        if self.n_in + self.n_out > STACK_REGISTERS:
            arrays = <PyObject **> malloc((self.n_in + self.n_out) * sizeof(PyObject *))
            if arrays == NULL:
                raise MemoryError()
        try:
            for k in range(self.n_in):
                arrays[k] = cells[self.inp[k]]
            for k in range(self.n_out):
                if self.out_source[k] >= 0 and self.reusable(cells, k, shape):
                    if self.n_in > 1:
                        copies = self.protect(
                            arrays, self.out_source[k], self.written[k], copies
                        )
                    put(cells, self.out[k], <object> cells[self.inp[self.out_source[k]]])
                else:
                    output(cells, self.out[k], self.out_types[k], self.ndim, shape)
                arrays[self.n_in + k] = cells[self.out[k]]
            self.run_all(arrays, shape)
        finally:
            if arrays != stack:
                free(arrays)
        if self.may_raise and PyErr_Occurred() != NULL:
            return -1
        return 0

    cdef int run_all(self, PyObject **arrays, intp *shape) except -1:
        """Run on allocated outputs: as one row where everything is contiguous or one element."""
        cdef char *base_stack[STACK_REGISTERS]
        cdef intp step_stack[STACK_REGISTERS]
        cdef char **base = base_stack
        cdef intp *step = step_stack
        cdef int k, d, n = self.n_in + self.n_out
        cdef intp size = 1, elements
        cdef bint flat = True, release
        for d in range(self.ndim):
            size *= shape[d]
        if size == 0:
            return 0
        release = size * self.n_instructions > WORTH_RELEASING
        if n > STACK_REGISTERS:
            base = <char **> malloc(n * (sizeof(char *) + sizeof(intp)))
            if base == NULL:
                raise MemoryError()
            step = <intp *> (base + n)
        try:
            for k in range(n):
                base[k] = bytes_of(arrays[k])
                elements = 1
                for d in range(ndim_of(arrays[k])):
                    elements *= dims_of(arrays[k])[d]
                if elements == size and flags_of(arrays[k]) & cnp.NPY_ARRAY_C_CONTIGUOUS:
                    step[k] = itemsize_of(arrays[k])
                elif elements == 1:
                    step[k] = 0
                else:
                    flat = False
                    break
            if not flat:
                for k in range(n):
                    base[k] = bytes_of(arrays[k])
                self.run_strided(base, arrays, shape, release)
            elif release:
                with nogil:
                    k = self.spread(base, step, &size, 1, size)
                if k < 0:
                    raise MemoryError()
            elif self.iterate(base, step, &size, 1) < 0:
                raise MemoryError()
        finally:
            if base != base_stack:
                free(base)
        return 0

    cdef int run_strided(
        self, char **base, PyObject **arrays, intp *shape, bint release
    ) except -1:
        """Run over the fewest dimensions that the arrays' strides allow."""
        cdef intp stack[STACK_STRIDES]
        cdef intp extents[MAX_DIMS]
        cdef intp *strides = stack          # strides[d * n + k] is array k's in dimension d
        cdef int n = self.n_in + self.n_out
        cdef intp size = 1
        cdef int k, d, nd = 0, axis, result
        if n * (self.ndim + 1) > STACK_STRIDES:
            strides = <intp *> malloc(n * (self.ndim + 1) * sizeof(intp))
            if strides == NULL:
                raise MemoryError()
        for d in range(self.ndim):
            if shape[d] == 1:
                continue
            extents[nd] = shape[d]
            for k in range(n):
                axis = d - (self.ndim - ndim_of(arrays[k]))
                if axis < 0 or dims_of(arrays[k])[axis] == 1:
                    strides[nd * n + k] = 0
                else:
                    strides[nd * n + k] = strides_of(arrays[k])[axis]
            nd += 1
        if nd == 0:     # one element
            extents[0] = 1
            for k in range(n):
                strides[k] = itemsize_of(arrays[k])
            nd = 1
        nd = simplify(strides, extents, nd, n, self.n_in)
        for d in range(nd):
            size *= extents[d]
        if release:
            with nogil:
                result = self.spread(base, strides, extents, nd, size)
        else:
            result = self.iterate(base, strides, extents, nd)
        if strides != stack:
            free(strides)
        if result < 0:
            raise MemoryError()
        return 0

    cdef int spread(
        self, char **base, intp *strides, intp *extents, int nd, intp size
    ) noexcept nogil:
        """`iterate`, by several threads where the work is worth it."""
        cdef Shared shared
        cdef intp unit = 1
        cdef intp parts = size * self.n_instructions // WORTH_A_THREAD
        if (
            parts < 2 or self.may_raise or self.n_in + self.n_out > STACK_REGISTERS
            or (self.n_in + self.n_out) * nd > STACK_STRIDES or threads() == 1
        ):
            return self.iterate(base, strides, extents, nd)
        shared.axis = 0
        if extents[0] < 2 * MOST_PARTS or nd == 1:
            # Parts of rows end where tiles do.
            shared.axis = nd - 1
            unit = 1024 if self.n_instructions == 1 else self.tile
        parts = min(parts, MOST_PARTS)
        shared.chunk = (extents[shared.axis] + parts * unit - 1) // (parts * unit) * unit
        parts = (extents[shared.axis] + shared.chunk - 1) // shared.chunk
        if parts < 2:
            return self.iterate(base, strides, extents, nd)
        shared.kernel = <void *> self
        shared.base = base
        shared.strides = strides
        shared.extents = extents
        shared.nd = nd
        shared.n = self.n_in + self.n_out
        shared.result = 0
        share(run_part, &shared, <int> parts)
        return shared.result

    cdef int iterate(self, char **base, intp *strides, intp *extents, int nd) noexcept nogil:
        """Run over `nd` >= 1 dimensions, the last of them the row; -1 if there is no memory.

        Strides and extents may have changed afterwards.
        """
        if self.n_instructions == 1:
            lengthen(strides, extents, nd, self.n_in + self.n_out)
            self.iterate_single(base, strides, extents, nd)
            return 0
        return self.iterate_program(base, strides, extents, nd)

    cdef void iterate_single(
        self, char **base, intp *strides, intp *extents, int nd
    ) noexcept nogil:
        """One instruction: its loop runs over whole rows, with no registers between."""
        cdef Instruction *step = self.instructions
        cdef char *args[MAX_ARGUMENTS]
        cdef char *row[MAX_ARGUMENTS]
        cdef intp steps[MAX_ARGUMENTS]
        cdef intp counter[MAX_DIMS]
        cdef int operand[MAX_ARGUMENTS]
        cdef int n = self.n_in + self.n_out, j, d
        for j in range(step.nin):
            operand[j] = step.inputs[j]
        operand[step.nin] = self.n_in
        for j in range(step.nin + 1):
            row[j] = args[j] = base[operand[j]]
            steps[j] = strides[(nd - 1) * n + operand[j]]
        if nd == 1:
            step.function(args, extents, steps, step.data)
            return
        for d in range(nd):
            counter[d] = 0
        while True:
            for j in range(step.nin + 1):
                args[j] = row[j]
            step.function(args, extents + (nd - 1), steps, step.data)
            d = nd - 2
            while d >= 0:
                counter[d] += 1
                for j in range(step.nin + 1):
                    row[j] += strides[d * n + operand[j]]
                if counter[d] < extents[d]:
                    break
                for j in range(step.nin + 1):
                    row[j] -= strides[d * n + operand[j]] * extents[d]
                counter[d] = 0
                d -= 1
            if d < 0:
                return

    cdef intp flatten(
        self, intp *strides, intp *extents, int nd, Repeated *repeated, int *count
    ) noexcept nogil:
        """Merge the last two dimensions by repeating inputs; the extent of the last one.

        0 if that is impossible or not worth it.
        """
        cdef int n = self.n_in + self.n_out, k, d
        cdef intp length, rows
        cdef intp *inner
        cdef intp *outer
        count[0] = 0
        if nd < 2 or self.n_in > STACK_REGISTERS:
            return 0
        length = extents[nd - 1]
        rows = extents[nd - 2]
        if length * ROWS > self.tile or rows < ROWS:
            return 0
        inner = strides + (nd - 1) * n
        outer = inner - n
        for k in range(n):
            if outer[k] == inner[k] * length:
                continue
            if k >= self.n_in or (outer[k] != 0 and inner[k] != 0):
                count[0] = 0
                return 0
            repeated[count[0]].register = k
            repeated[count[0]].each = inner[k] == 0
            repeated[count[0]].stride = outer[k] if inner[k] == 0 else inner[k]
            repeated[count[0]].itemsize = self.in_itemsize[k]
            count[0] += 1
        for k in range(n):
            outer[k] = inner[k]
        for k in range(count[0]):
            outer[repeated[k].register] = repeated[k].itemsize
        extents[nd - 2] = length * rows
        return length

    cdef int iterate_program(
        self, char **base, intp *strides, intp *extents, int nd
    ) noexcept nogil:
        """Several instructions, tile by tile along each row."""
        cdef Workspace stack
        cdef Workspace *work = &stack
        cdef Repeated repeated[STACK_REGISTERS]
        cdef char scratch_stack[STACK_SCRATCH]
        cdef char *scratch = scratch_stack
        cdef char *slots
        cdef intp counter[MAX_DIMS]
        cdef intp length, rounded, bytes, period, tiles, tile = self.tile
        cdef intp *inner
        cdef int n = self.n_in + self.n_out, k, d, r, n_repeated
        cdef int n_registers = self.n_in + self.n_instructions
        period = self.flatten(strides, extents, nd, repeated, &n_repeated)
        if period:
            nd -= 1
        else:
            lengthen(strides, extents, nd, n)
            period = 64
        length = extents[nd - 1]
        tile = tile // period * period
        if length < 3 * tile:
            # Equal tiles; at most a quarter longer, so that no short one is left over.
            tiles = max((length + 3 * tile // 4 - 1) // tile, 1)
            tile = ((length + tiles - 1) // tiles + period - 1) // period * period
        rounded = (min(length, tile) + 63) // 64 * 64
        bytes = self.scratch_bytes * rounded + self.n_slots * SLOT_GAP + 64
        if n_repeated:
            for k in range(n_repeated):
                bytes += repeated[k].itemsize * rounded + SLOT_GAP
        if bytes > STACK_SCRATCH:
            scratch = <char *> malloc(bytes)
            if scratch == NULL:
                return -1
        if allocate(work, n_registers) < 0:
            if scratch != scratch_stack:
                free(scratch)
            return -1
        slots = scratch + (64 - <size_t> scratch % 64)
        inner = strides + (nd - 1) * n
        for k in range(self.n_in):
            work.step[k] = inner[k]
            work.uniform[k] = inner[k] == 0
        for k in range(self.n_instructions):
            r = self.n_in + k
            work.uniform[r] = self.slot[r] >= 0
            for d in range(self.instructions[k].nin):
                work.uniform[r] &= work.uniform[self.instructions[k].inputs[d]]
            if self.slot[r] < 0:
                continue    # an output: below
            if work.uniform[r]:
                work.pointer[r] = work.single + 16 * r
                work.step[r] = 0
            else:
                work.pointer[r] = (
                    slots + self.slot_offset[self.slot[r]] * rounded + self.slot[r] * SLOT_GAP
                )
                work.step[r] = self.instructions[k].itemsize
        for k in range(self.n_out):
            work.step[self.out_register[k]] = inner[self.n_in + k]
        if n_repeated:
            slots += self.scratch_bytes * rounded + self.n_slots * SLOT_GAP
            for k in range(n_repeated):
                repeated[k].copy = take_row(repeated[k].itemsize)
                repeated[k].buffer = slots
                slots += repeated[k].itemsize * rounded + SLOT_GAP
        for d in range(nd):
            counter[d] = 0
        while True:
            for k in range(self.n_in):
                work.pointer[k] = base[k]
            for k in range(self.n_out):
                work.pointer[self.out_register[k]] = base[self.n_in + k]
            if n_repeated:
                run_repeated_rows(self.instructions, self.n_instructions, work, length, tile,
                                  period, repeated, n_repeated, self.n_in, self.out_register,
                                  self.n_out)
            else:
                run_row(self.instructions, self.n_instructions, work, length, tile,
                        self.n_in, self.out_register, self.n_out)
            d = nd - 2
            while d >= 0:
                counter[d] += 1
                for k in range(n):
                    base[k] += strides[d * n + k]
                if counter[d] < extents[d]:
                    break
                for k in range(n):
                    base[k] -= strides[d * n + k] * extents[d]
                counter[d] = 0
                d -= 1
            if d < 0:
                break
        if scratch != scratch_stack:
            free(scratch)
        release_workspace(work)
        return 0


# -- in several threads -----------------------------------------------------------------------------

cdef struct Shared:
    void *kernel
    char **base
    intp *strides
    intp *extents
    int nd
    int n               # arrays
    int axis            # the dimension that is cut
    intp chunk          # how much of it is one part
    int result


cdef int iterate(
    ElementwiseKernel kernel, char **base, intp *strides, intp *extents, int nd
) noexcept nogil:
    return kernel.iterate(base, strides, extents, nd)


# A task has no reference of its own to the kernel; its caller has one.
ctypedef int (*Iterate)(void *kernel, char **, intp *, intp *, int) noexcept nogil


cdef void run_part(void *context, int part) noexcept nogil:
    cdef Shared *shared = <Shared *> context
    cdef char *base[STACK_REGISTERS]
    cdef intp extents[MAX_DIMS]
    cdef intp strides[STACK_STRIDES]
    cdef intp start = part * shared.chunk
    cdef int k
    for k in range(shared.n):
        base[k] = shared.base[k] + start * shared.strides[shared.axis * shared.n + k]
    for k in range(shared.nd):
        extents[k] = shared.extents[k]
    extents[shared.axis] = min(shared.chunk, extents[shared.axis] - start)
    for k in range(shared.nd * shared.n):
        strides[k] = shared.strides[k]
    if (<Iterate> iterate)(shared.kernel, base, strides, extents, shared.nd) < 0:
        shared.result = -1


# -- running ---------------------------------------------------------------------------------------

cdef struct Workspace:
    char **pointer      # where each register's next element is
    intp *step          # from one element to the next
    char *uniform       # whether it is one value for the whole row
    char *single        # 16 bytes for each such value
    void *heap
    char *pointer_stack[STACK_REGISTERS]
    intp step_stack[STACK_REGISTERS]
    char uniform_stack[STACK_REGISTERS]
    double single_stack[2 * STACK_REGISTERS]


cdef int allocate(Workspace *work, int n) noexcept nogil:
    """Room for n registers, on the stack when there are few."""
    work.heap = NULL
    if n <= STACK_REGISTERS:
        work.pointer = work.pointer_stack
        work.step = work.step_stack
        work.uniform = work.uniform_stack
        work.single = <char *> work.single_stack
        return 0
    work.heap = malloc(n * (16 + sizeof(char *) + sizeof(intp) + 1))
    if work.heap == NULL:
        return -1
    work.single = <char *> work.heap
    work.pointer = <char **> (work.single + 16 * n)
    work.step = <intp *> (work.pointer + n)
    work.uniform = <char *> (work.step + n)
    return 0


cdef void release_workspace(Workspace *work) noexcept nogil:
    free(work.heap)


cdef inline void call(
    const Instruction *step, Workspace *work, intp n, bint uniform
) noexcept nogil:
    cdef char *args[MAX_ARGUMENTS]
    cdef intp steps[MAX_ARGUMENTS]
    cdef int j, r
    for j in range(step.nin):
        r = step.inputs[j]
        args[j] = work.pointer[r]
        steps[j] = work.step[r]
    args[step.nin] = work.pointer[step.out]
    # A step of 0 on an output would mean a reduction to NumPy's loops.
    steps[step.nin] = step.itemsize if uniform else work.step[step.out]
    step.function(args, &n, steps, step.data)


cdef void run_row(
    const Instruction *instructions, int n_instructions, Workspace *work, intp length, intp tile,
    int n_in, const int *out_register, int n_out,
) noexcept nogil:
    """All instructions on each tile of one row; moves the pointers of inputs and outputs."""
    cdef intp n
    cdef int k
    for k in range(n_instructions):
        if work.uniform[instructions[k].out]:
            call(&instructions[k], work, 1, True)
    while length > 0:
        n = min(length, tile)
        for k in range(n_instructions):
            if not work.uniform[instructions[k].out]:
                call(&instructions[k], work, n, False)
        length -= n
        if length == 0:
            return
        for k in range(n_in):
            work.pointer[k] += n * work.step[k]
        for k in range(n_out):
            work.pointer[out_register[k]] += n * work.step[out_register[k]]


cdef inline row_loop take_row(intp itemsize) noexcept nogil:
    """The loop that copies elements of this size; one of 1, 2, 4, 8 and 16 bytes."""
    return ROW_LOOPS[itemsize]


cdef void run_repeated_rows(
    const Instruction *instructions, int n_instructions, Workspace *work, intp length, intp tile,
    intp period, const Repeated *repeated, int n_repeated, int n_in, const int *out_register,
    int n_out,
) noexcept nogil:
    """`run_row` for rows of `period` elements that are one row but for the repeated inputs."""
    cdef const Repeated *r
    cdef char *source[STACK_REGISTERS]
    cdef intp n, filled, row
    cdef int k
    for k in range(n_repeated):
        r = &repeated[k]
        source[k] = work.pointer[r.register]
        work.pointer[r.register] = r.buffer
        if r.each:
            continue
        n = min(length, tile) * r.itemsize
        r.copy(r.buffer, r.itemsize, source[k], r.stride, period)
        filled = period * r.itemsize
        while filled < n:
            memcpy(r.buffer + filled, r.buffer, min(filled, n - filled))
            filled *= 2
    for k in range(n_instructions):
        if work.uniform[instructions[k].out]:
            call(&instructions[k], work, 1, True)
    while length > 0:
        n = min(length, tile)
        for k in range(n_repeated):
            r = &repeated[k]
            if r.each:
                for row in range(n // period):
                    r.copy(
                        r.buffer + row * period * r.itemsize, r.itemsize, source[k], 0, period
                    )
                    source[k] += r.stride
        for k in range(n_instructions):
            if not work.uniform[instructions[k].out]:
                call(&instructions[k], work, n, False)
        length -= n
        if length == 0:
            return
        for k in range(n_in):
            work.pointer[k] += n * work.step[k]
        for k in range(n_out):
            work.pointer[out_register[k]] += n * work.step[out_register[k]]
        for k in range(n_repeated):
            work.pointer[repeated[k].register] = repeated[k].buffer


# The loop that copies elements of each size.
cdef row_loop ROW_LOOPS[17]
for _size in (1, 2, 4, 8, 16):
    ROW_LOOPS[<int> _size] = take_loops(_size).row


# -- building --------------------------------------------------------------------------------------

def mismatch(int k, intp given, int dimension, int owner, intp expected):
    """Raise the error for two inputs whose extents disagree."""
    message = (
        f"input {k} has {given} elements in dimension {dimension}, "
        f"but input {owner} has {expected}"
    )
    if given == 1 or expected == 1:
        message += "; an extent of 1 is broadcast only where the type says that it is 1"
    raise ValueError(message)


def loop_may_raise(step):
    """Whether an instruction has a loop that may raise; False also where it has no loop."""
    cdef Loop loop
    name, ufunc, _, loop_types, out = step
    return bool(find(name, tuple(loop_types), out, ufunc, &loop)) and bool(loop.may_raise)
