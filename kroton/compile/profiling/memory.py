"""Memory of a call, from the sizes of the outputs and the times they live."""

from __future__ import annotations

from dataclasses import dataclass

from kroton.compile.profiling.records import FunctionRecord


@dataclass(frozen=True)
class Memory:
    """Bytes of the outputs of a function's Applys in one call, by three ways of counting.

    Arguments, shared values and constants are not counted; what is written over them or is a
    view of them takes nothing.
    """

    peak: int
    """The most that lives at a time, as it is run."""
    kept: int
    """What it would be if nothing were freed before the end of the call."""
    separate: int
    """What it would be if, besides, every output had memory of its own: no views, nothing in
    place."""
    peak_at: int
    """The position of the Apply at which the peak is reached; -1 without Applys."""

    @property
    def saved(self) -> int:
        """Bytes that freeing, views and working in place save."""
        return self.separate - self.peak


def memory_of(function: FunctionRecord) -> Memory:
    """Follow the life of every output through one call on the latest shapes."""
    owner: dict[int, int] = {}
    size: dict[int, int] = {}
    last: dict[int, int] = {}
    separate = 0
    applys = function.refresh()

    def root(variable: int) -> int:
        while variable in owner:
            variable = owner[variable]
        return variable

    for k, record in enumerate(applys):
        sizes = record.nbytes(record.latest_shapes)[len(record.inputs) :]
        for o, variable in enumerate(record.outputs):
            nbytes = sizes[o] if o < len(sizes) else 0
            separate += nbytes
            if o in record.aliases:
                owner[variable] = record.inputs[record.aliases[o]]
            else:
                size[variable] = nbytes
        for variable in (*record.inputs, *record.outputs):
            last[root(variable)] = k
    for variable in function.results:
        last[root(variable)] = len(applys)
    dying: dict[int, list[int]] = {}
    for variable, k in last.items():
        dying.setdefault(k, []).append(variable)
    alive = peak = 0
    peak_at = -1
    for k, record in enumerate(applys):
        alive += sum(size.get(v, 0) for v in record.outputs)
        if alive > peak or peak_at < 0:
            peak, peak_at = alive, k
        alive -= sum(size.get(v, 0) for v in dying.get(k, ()))
    return Memory(peak, sum(size.values()), separate, peak_at)
