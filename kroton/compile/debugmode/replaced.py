"""What rules replaced, computed beside what they put in its place, and compared at every call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kroton._kernels.kernel import CallableKernel, Kernel
from kroton.compile.debugmode import checks, memory
from kroton.compile.debugmode.errors import BadDestroyMap, BadOptimization
from kroton.compile.debugmode.recorder import Recorder, Replacement
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import toposort
from kroton.linking.kernels import select_kernel
from kroton.linking.rounding import Rounding


class Replaced:
    """The replacements of one graph.

    A thorough check computes every Variable there ever was with `perform`, and compares both sides
    of each replacement. The quick one computes those of the graph as it was written, with Kroton's
    own kernels if `kernels`, and compares them with what stands in their place at the end; only
    where they differ are the steps between looked at, with `perform`, to find the rule.
    """

    def __init__(
        self, recorder: Recorder, fgraph: FunctionGraph, order: Sequence[Apply], kernels: bool
    ) -> None:  # fmt: skip
        self.replacements = recorder.replacements
        self.guilty: Replacement | None = None
        self.recorder = recorder
        self.order = list(order)
        final = set(order)
        known = {*fgraph.inputs, *(v for node in order for v in node.outputs)}
        roots = [v for r in self.replacements for v in (r.old, r.new)]
        self.former = [node for node in toposort(roots) if node not in final]
        self.known = known
        self.successor = {r.old: r.new for r in self.replacements}
        latest = {r.old: r for r in self.replacements}
        self.pairs: list[tuple[Replacement, Variable]] = []
        for r in self.replacements:
            if latest[r.old] is not r or r.old.owner not in recorder.written or r.old in known:
                continue
            end = self._end(r)
            if end is not None:
                self.pairs.append((r, end))
        written = toposort([r.old for r, _ in self.pairs])
        self.written = [node for node in written if node not in final]
        self.kernels = kernels
        self._quick: list[tuple[Apply, Kernel | None]] | None = None
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
        BadDestroyMap
            For an Apply that is no more, whose `perform` changed an input.
        """
        if not self.replacements:
            return
        wrong: list[tuple[Replacement, Variable]] = []
        if not thorough:
            seen = dict(values)
            self._compute_quickly(seen)
            wrong = [
                (r, end) for r, end in self.pairs if r.old in seen and not agree(r.old, end, seen)
            ]
            if not wrong:
                return
        _compute(self.former, values)
        for r in self.replacements:
            if r.old in values and r.new in values:
                self._compare(r, r.new, values, self._end(r))
        # Each step is within the tolerance; all of them together may not be.
        for r, end in wrong:
            if r.old in values:
                self._compare(r, end, values)

    def _compute_quickly(self, values: dict[Variable, Any]) -> None:
        """The Variables of the graph as it was written."""
        if self._quick is None:
            self._quick = [(n, _own_kernel(n) if self.kernels else None) for n in self.written]
        for node, kernel in self._quick:
            if kernel is None:
                _compute([node], values)
                continue
            try:
                outputs = kernel(*[values[v] for v in node.inputs])
            except Exception:
                _compute([node], values)
                continue
            for v, x in zip(node.outputs, outputs):
                values[v] = x

    def _end(self, r: Replacement) -> Variable | None:
        """What stands in the place of `r.old` at the end, if anything does."""
        end, steps = r.new, 0
        while end not in self.known and end in self.successor and steps < len(self.replacements):
            end, steps = self.successor[end], steps + 1
        return end if end in self.known or isinstance(end, Constant) else None

    def _compare(
        self, r: Replacement, new: Variable, values: Mapping[Variable, Any],
        end: Variable | None = None,
    ) -> None:  # fmt: skip
        """Raise if both sides differ, unless what stands at the `end` is right again: a rule may
        lose digits on the way to a form that another one makes stable."""
        if not agree(r.old, new, values) and not (
            end is not None and end is not new and agree(r.old, end, values)
        ):
            self.guilty = r
            a, b = values[r.old], values[new]
            raise BadOptimization(r.old, new, a, b, r.reason, r.old_graph, r.new_graph)

    def blame(self, values: Mapping[Variable, Any], error: Exception) -> None:
        """Find the replacement without which there would be no `error`; none is no error here.

        What cannot be computed is taken from what stood in its place. If that makes up for all
        that is missing, the graph as it was written raises nothing.

        Raises
        ------
        BadOptimization
            For the first replacement that helped; `guilty` is that replacement.
        """
        known = dict(values)
        everything = [*self.former, *self.written, *self.order]
        helped: list[Replacement] = []
        while True:
            _compute(everything, known)
            missing = [r for r in self.replacements if r.old in known and r.new not in known]
            if not missing:
                break
            helped += missing
            for r in missing:
                known.setdefault(r.new, known[r.old])
        if helped and all(node.outputs[0] in known for node in self.recorder.written):
            r = self.guilty = helped[0]
            raise BadOptimization(
                r.old, r.new, known[r.old], error, r.reason, r.old_graph, r.new_graph
            ) from error


def agree(old: Variable, new: Variable, values: Mapping[Variable, Any]) -> bool:
    """Whether `new` may stand for `old`: equal up to rounding, and finite where `old` is.

    What rounding may do is seen where `old` is computed from what both are computed from.
    """
    a, b = values[old], values[new]
    if checks.close(old, a, b, remove_undefined=True):
        return True
    rounding = Rounding.between(old, new, values)
    return checks.close(old, a, b, remove_undefined=True, rounding=rounding)


def _own_kernel(node: Apply) -> Kernel | None:
    """Kroton's kernel; those of others are run only where it is seen what they do to memory."""
    kernel = None if node.op.destroy_map else select_kernel(node)
    if isinstance(kernel, CallableKernel) or not type(kernel).__module__.startswith("kroton."):
        return None
    return kernel


def constants(variables: Iterable[Variable]) -> dict[Variable, Any]:
    """The values of those that are Constants."""
    return {v: v.data for v in variables if isinstance(v, Constant)}


def _compute(nodes: Sequence[Apply], values: dict[Variable, Any]) -> None:
    for node in nodes:
        outputs = node.outputs
        if outputs[0] in values or any(v not in values for v in node.inputs):
            continue
        cells: list[list[Any]] = [[None] for _ in outputs]
        inputs = [values[v] for v in node.inputs]
        arguments = [checks.copied(x, "K") for x in inputs]
        try:
            node.op.perform(node, list(arguments), cells)
        except Exception:  # what was replaced may be undefined where its replacement is not
            continue
        destroyed = {i for positions in node.op.destroy_map.values() for i in positions}
        for k, (v, x, y) in enumerate(zip(node.inputs, inputs, arguments)):
            if k not in destroyed and memory.changed(v, x, y):
                raise BadDestroyMap(node, k, x, y, "perform", inputs)
        for v, cell in zip(outputs, cells):
            if cell[0] is not None:
                values[v] = cell[0]
