"""What rules replaced, computed beside what they put in its place, and compared at every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kroton.compile.debugmode import checks
from kroton.compile.debugmode.errors import BadOptimization
from kroton.compile.debugmode.recorder import Recorder, Replacement
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import toposort


class Replaced:
    """The replacements of one graph.

    A thorough check computes every Variable there ever was and compares both sides of each
    replacement. The quick one computes those of the graph as it was written, and compares them
    with what stands in their place at the end; only where they differ are the steps between
    looked at, to find the rule.
    """

    def __init__(self, recorder: Recorder, fgraph: FunctionGraph, order: Sequence[Apply]) -> None:
        self.replacements = recorder.replacements
        self.guilty: Replacement | None = None
        final = set(order)
        known = {*fgraph.inputs, *(v for node in order for v in node.outputs)}
        roots = [v for r in self.replacements for v in (r.old, r.new)]
        self.former = [node for node in toposort(roots) if node not in final]
        successor = {r.old: r.new for r in self.replacements}
        latest = {r.old: r for r in self.replacements}
        self.pairs: list[tuple[Replacement, Variable]] = []
        for r in self.replacements:
            if latest[r.old] is not r or r.old.owner not in recorder.written or r.old in known:
                continue
            end, steps = r.new, 0
            while end not in known and end in successor and steps < len(self.replacements):
                end, steps = successor[end], steps + 1
            if end in known or isinstance(end, Constant):
                self.pairs.append((r, end))
        written = toposort([r.old for r, _ in self.pairs])
        self.written = [node for node in written if node not in final]

    def check(self, values: dict[Variable, Any], thorough: bool) -> None:
        """Compare; `values` has those of the final graph, and gets those of the others.

        Raises
        ------
        BadOptimization
            For the first replacement whose two sides differ; `guilty` is that replacement.
        """
        if not self.replacements:
            return
        if not thorough:
            _compute(self.written, values)
            wrong = [
                (r, end)
                for r, end in self.pairs
                if r.old in values
                and not agree(r.old, value_of(r.old, values), value_of(end, values))
            ]
            if not wrong:
                return
        _compute(self.former, values)
        for r in self.replacements:
            if all(v in values or isinstance(v, Constant) for v in (r.old, r.new)):
                self._compare(r, r.new, values)
        if not thorough:  # each step is within the tolerance, all of them together are not
            self._compare(*wrong[0], values)

    def _compare(self, r: Replacement, new: Variable, values: Mapping[Variable, Any]) -> None:
        a, b = value_of(r.old, values), value_of(new, values)
        if not agree(r.old, a, b):
            self.guilty = r
            raise BadOptimization(r.old, new, a, b, r.reason, r.old_graph, r.new_graph)


def agree(r: Variable, old: Any, new: Any) -> bool:
    """Whether `new` may stand for `old`: equal up to rounding, and finite where `old` is."""
    if not checks.close(r, old, new, remove_undefined=True):
        return False
    if not isinstance(new, np.ndarray) or new.dtype.kind not in "fc":
        return True
    finite = np.isfinite(new)
    return bool(finite.all() or (finite | ~np.isfinite(old)).all())


def value_of(v: Variable, values: Mapping[Variable, Any]) -> Any:
    """The value of a Variable; a Constant's is its own."""
    return v.data if isinstance(v, Constant) else values[v]


def _compute(nodes: Sequence[Apply], values: dict[Variable, Any]) -> None:
    for node in nodes:
        if node.outputs[0] in values:
            continue
        try:
            arguments = [value_of(v, values) for v in node.inputs]
            for positions in node.op.destroy_map.values():
                for i in positions:
                    arguments[i] = arguments[i].copy()
            cells: list[list[Any]] = [[None] for _ in node.outputs]
            node.op.perform(node, arguments, cells)
        except Exception:  # what was replaced may be undefined where its replacement is not
            continue
        for v, cell in zip(node.outputs, cells):
            if cell[0] is not None:
                values[v] = cell[0]
