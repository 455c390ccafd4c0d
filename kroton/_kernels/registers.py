"""Registers of a fused elementwise program: where each of its values is kept.

A program is a list of steps `(name, ufunc, in_registers, in_types, out_type)`; registers
0 .. n_in-1 are the inputs, step k writes register n_in + k.
"""

from __future__ import annotations

from typing import Any

Step = tuple[Any, ...]


def add_copies(
    program: list[Step], outputs: list[int], types: list[int], source: dict[int, int], n_in: int
) -> None:
    """Give each output an instruction of its own that may write to its final memory.

    A copy is added for an output that is an input or another output's register, and where an
    output would overwrite an input that a later instruction reads.
    """

    def copy(k: int) -> None:
        register = outputs[k]
        program.append(("identity", None, (register,), (types[register],), types[register]))
        types.append(types[register])
        outputs[k] = n_in + len(program) - 1

    if len(set(source.values())) != len(source):
        raise ValueError(f"two outputs cannot take over one input: {source}")
    for k, i in source.items():
        if not 0 <= k < len(outputs) or not 0 <= i < n_in or types[outputs[k]] != types[i]:
            raise ValueError(f"output {k} cannot take over input {i}: not of one type")
    for k in range(len(outputs)):
        if outputs[k] < n_in or outputs[k] in outputs[:k]:
            copy(k)
    for k, i in source.items():
        if any(i in step[2] for step in program[outputs[k] - n_in + 1 :]):
            copy(k)


def assign_slots(
    program: list[Step], outputs: list[int], sizes: list[int], n_in: int
) -> tuple[list[int], list[int]]:
    """A slot for each register that is neither input nor output.

    Returns (the slot of each register or -1, the itemsize of each slot). The result of an
    instruction may take the slot of a register that is read there for the last time: loops read
    an element before they write it. Linear scan: M. Poletto, V. Sarkar, "Linear Scan Register
    Allocation", ACM TOPLAS 21 (1999).
    """
    last = list(range(n_in + len(program)))
    for k, step in enumerate(program):
        for register in step[2]:
            last[register] = n_in + k
    slot = [-1] * len(last)
    slots: list[int] = []
    free: dict[int, list[int]] = {}
    written = set(outputs)
    for k, step in enumerate(program):
        result = n_in + k
        for register in sorted(set(step[2])):
            if last[register] == result and slot[register] >= 0:
                free.setdefault(sizes[register], []).append(slot[register])
        if result in written:
            continue
        available = free.get(sizes[result])
        if available:
            slot[result] = available.pop()
        else:
            slot[result] = len(slots)
            slots.append(sizes[result])
        if last[result] == result:  # nobody reads it
            free.setdefault(sizes[result], []).append(slot[result])
    return slot, slots
