"""What a profile keeps of a compiled function: its Applys, without the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from kroton._kernels.program import Timings
from kroton.compile.profiling.flops import count_flops
from kroton.compile.profiling.traffic import bytes_moved
from kroton.graph.basic import Constant
from kroton.rewriting.observer import Cost

Shape = tuple[int, ...]


@dataclass(eq=False)
class ApplyRecord:
    """One Apply of a profiled function."""

    position: int
    """In the order of execution."""
    op: Any
    """The Op; its name in a profile that has been pickled."""
    name: str
    """The Op as it is printed."""
    class_name: str
    implementation: str
    """'c' for a compiled kernel, 'py' for `perform`, 'c&py' for both."""
    inputs: list[int]
    """The numbers of its input variables."""
    outputs: list[int]
    dtypes: list[str]
    """Of inputs, then outputs; '' for what is no array."""
    types: list[str]
    aliases: dict[int, int]
    """For an output position, the input position whose memory it uses."""
    destroys: bool
    """Whether it writes over an input."""
    source: str
    """The user's line that made it, as `file:line`."""
    seconds: float = 0.0
    runs: int = 0
    shapes: dict[tuple[Shape | None, ...], int] = field(default_factory=dict)
    """The shapes seen (inputs, then outputs), and in how many of the runs looked at."""

    _costs: tuple[float, float] | None = None
    """Once pickled: what `moved` and `flops` were."""

    def __getstate__(self) -> dict[str, Any]:
        # An Op of a local class, or with a lambda, cannot be pickled: its text stands for it.
        return {
            **self.__dict__, "op": self.name, "_costs": (self.moved(), self.flops()),
        }  # fmt: skip

    @property
    def c(self) -> bool:
        """Whether a compiled kernel runs."""
        return self.implementation.startswith("c")

    @property
    def latest_shapes(self) -> tuple[Shape | None, ...]:
        """The shapes of the latest kind of run; empty if it never ran."""
        return list(self.shapes)[-1] if self.shapes else ()

    def nbytes(self, shapes: tuple[Shape | None, ...]) -> list[int]:
        """The bytes of each input and output for `shapes`."""
        sizes = []
        for shape, dtype in zip(shapes, self.dtypes):
            known = shape is not None and dtype
            sizes.append(
                prod(shape) * np.dtype(dtype).itemsize if known and shape is not None else 0
            )
        return sizes

    def output_bytes(self) -> int:
        """The bytes of its outputs in the latest kind of run."""
        return sum(self.nbytes(self.latest_shapes)[len(self.inputs) :])

    def moved(self) -> float:
        """The bytes that one run reads and writes, averaged over the runs looked at.

        An Apply that only gives a view of its input moves nothing.
        """
        return self._average(self._moved_by) if self._costs is None else self._costs[0]

    def flops(self) -> float:
        """Floating point operations of one run, averaged over the runs looked at."""
        return self._average(self._flops_of) if self._costs is None else self._costs[1]

    def _average(self, cost: Any) -> float:
        n = sum(self.shapes.values())
        return sum(cost(s) * times for s, times in self.shapes.items()) / n if n else 0.0

    def _moved_by(self, shapes: tuple[Shape | None, ...]) -> float:
        if self.aliases and not self.destroys:
            return 0.0
        sizes, n = self.nbytes(shapes), len(self.inputs)
        return float(bytes_moved(self.op, sizes[:n], sizes[n:]))

    def _flops_of(self, shapes: tuple[Shape | None, ...]) -> float:
        known = [() if shape is None else shape for shape in shapes]
        if not known:
            return 0.0
        n = len(self.inputs)
        return count_flops(self.op, known[:n], known[n:])


@dataclass(eq=False)
class FunctionRecord:
    """One compiled function: how it was compiled, and counters that its calls fill in."""

    name: str
    applys: list[ApplyRecord]
    variables: list[str]
    """What each numbered variable is called; '' for intermediates."""
    kinds: list[str]
    """'input', 'shared', 'constant' or 'intermediate' for each variable."""
    results: list[int]
    """The numbers of the graph's outputs."""
    phases: dict[str, float]
    """Seconds of each phase of compilation."""
    passes: dict[str, Cost]
    rules: dict[tuple[str, str], Cost]
    timings: Timings

    def __getstate__(self) -> dict[str, Any]:
        self.refresh()
        return dict(self.__dict__)

    @property
    def calls(self) -> int:
        """Calls that have succeeded."""
        return int(self.timings.calls)

    @property
    def failed(self) -> int:
        """Calls that have raised."""
        return int(self.timings.failed)

    @property
    def seconds(self) -> float:
        """Time in calls, also in those that failed, from the first line of `f(...)` to the last."""
        return float(self.timings.call_seconds)

    @property
    def first(self) -> tuple[float, float]:
        """Seconds of the first call, and of its Applys."""
        return self.timings.first  # type: ignore[no-any-return]

    def steady(self) -> tuple[int, float, float]:
        """Number and seconds of the calls after the first, and of their Applys.

        The first call finds cold caches and asks for memory, so it may take several times as
        long. Where it is the only one, it is what is given.
        """
        n, seconds, thunks = self.calls + self.failed, self.seconds, self.thunk_seconds()
        if n < 2:
            return n, seconds, thunks
        return n - 1, seconds - self.first[0], thunks - self.first[1]

    def refresh(self) -> list[ApplyRecord]:
        """The Applys with the counters' present values."""
        for record, seconds, runs, shapes in zip(
            self.applys, self.timings.seconds, self.timings.runs, self.timings.shapes
        ):
            record.seconds, record.runs, record.shapes = seconds, runs, dict(shapes)
        return self.applys

    def thunk_seconds(self) -> float:
        """Time in the Applys."""
        return float(sum(self.timings.seconds))

    @property
    def compile_seconds(self) -> float:
        """Time of compilation."""
        return sum(self.phases.values())


def record_function(function: Any, phases: dict[str, float], rewriting: Any) -> FunctionRecord:
    """Describe `function`, which has just been compiled."""
    maker = function.maker
    numbers: dict[Any, int] = {}
    labels: list[str] = []
    kinds: list[str] = []
    n_explicit = len(maker.fgraph.inputs) - len(maker.shared)

    def number(variable: Any, kind: str, label: str = "") -> int:
        if variable not in numbers:
            numbers[variable] = len(numbers)
            labels.append(label)
            kinds.append(kind)
        return numbers[variable]

    for k, variable in enumerate(maker.fgraph.inputs):
        number(variable, "input" if k < n_explicit else "shared", str(variable))
    applys = []
    order = maker.linked.order
    for k, (node, kind) in enumerate(zip(order, maker.linked.implementations)):
        for variable in node.inputs:
            if isinstance(variable, Constant):
                number(variable, "constant", str(variable)[:40])
        aliases = {o: i[0] for o, i in _aliases(node)}
        variables = [*node.inputs, *node.outputs]
        record = ApplyRecord(
            k, node.op, str(node.op), type(node.op).__name__, kind,
            [number(v, "input") for v in node.inputs],
            [number(v, "intermediate", v.name or "") for v in node.outputs],
            [getattr(v.type, "dtype", "") or "" for v in variables],
            [str(v.type) for v in variables],
            aliases, bool(node.op.destroy_map), _source(node),
        )  # fmt: skip
        applys.append(record)
    results = [number(v, "constant", str(v)[:40]) for v in maker.fgraph.outputs]
    return FunctionRecord(
        function.name or "", applys, labels, kinds, results, dict(phases),
        {} if rewriting is None else rewriting.passes,
        {} if rewriting is None else rewriting.rules,
        function.timings,
    )  # fmt: skip


def _aliases(node: Any) -> Iterator[tuple[int, list[int]]]:
    yield from node.op.view_map.items()
    yield from node.op.destroy_map.items()


def _source(node: Any) -> str:
    if not node.trace:
        return ""
    code, line = node.trace[0]
    return f"{code.co_filename}:{line}"
