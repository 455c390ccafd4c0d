"""What rules replaced, computed beside what they put in its place, and compared at every call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
        self.constants = constants(
            [
                *(v for node in (*self.former, *self.written) for v in node.inputs),
                *(v for r in self.replacements for v in (r.old, r.new)),
                *(end for _, end in self.pairs),
            ]
        )

    def check(self, values: dict[Variable, Any], thorough: bool) -> None:
        """Compare; `values` has those of the final graph and of `constants`.

        It gets those of all other Variables.

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
                if r.old in values and not agree(r.old, values[r.old], values[end])
            ]
            if not wrong:
                return
        _compute(self.former, values)
        for r in self.replacements:
            if r.old in values and r.new in values:
                self._compare(r, r.new, values)
        if not thorough:  # each step is within the tolerance, all of them together are not
            self._compare(*wrong[0], values)

    def _compare(self, r: Replacement, new: Variable, values: Mapping[Variable, Any]) -> None:
        a, b = values[r.old], values[new]
        if not agree(r.old, a, b):
            self.guilty = r
            raise BadOptimization(r.old, new, a, b, r.reason, r.old_graph, r.new_graph)


def agree(r: Variable, old: Any, new: Any) -> bool:
    """Whether `new` may stand for `old`: equal up to rounding, and finite where `old` is."""
    if not checks.close(r, old, new, remove_undefined=True):
        return False
    return checks.finite(new) or bool((np.isfinite(new) | ~np.isfinite(old)).all())


def constants(variables: Iterable[Variable]) -> dict[Variable, Any]:
    """The values of those that are Constants."""
    return {v: v.data for v in variables if isinstance(v, Constant)}


def _compute(nodes: Sequence[Apply], values: dict[Variable, Any]) -> None:
    for node in nodes:
        outputs = node.outputs
        if outputs[0] in values:
            continue
        cells: list[list[Any]] = [[None] for _ in outputs]
        try:
            arguments = [values[v] for v in node.inputs]
            for positions in node.op.destroy_map.values():
                for i in positions:
                    arguments[i] = arguments[i].copy()
            node.op.perform(node, arguments, cells)
        except Exception:  # what was replaced may be undefined where its replacement is not
            continue
        for v, cell in zip(outputs, cells):
            if cell[0] is not None:
                values[v] = cell[0]
