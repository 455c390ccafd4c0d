"""In-place: results overwrite what nobody reads any more.

Runs last, on the final schedule. An Op that can overwrite one of its inputs says so:

    @inplace_version(Gemm)
    def gemm_in_place(node):
        if not node.op.inplace:
            yield 0, Gemm(inplace=True)     # overwrites input 0; its destroy_map says the same

A compiler tells through attributes of the FunctionGraph which inputs may be overwritten:
`mutable_inputs` (a list), `updated_inputs` (from the position of an output to the input
whose new value it is) and `borrowed_outputs` (positions of those that may be in the memory of a
mutable input: the caller gets back the array that was given).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.observer import Observer
from kroton.rewriting.passes import Pass, Selection, register_pass
from kroton.tensor.advanced_subtensor import AdvancedIncSubtensor, AdvancedIncSubtensor1
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.subtensor import IncSubtensor

_ELEMENTWISE = (Elemwise, FusedReduction)

Choices = Iterable[tuple[int, Any]]
Announcement = Callable[[Apply], Choices]

_announced: dict[type, Announcement] = {}


def inplace_version(*op_types: type) -> Callable[[Announcement], Announcement]:
    """Register a function from an Apply to pairs (input, Op that makes output 0 over it).

    The first pair that is safe is taken. The input must have the type of the output.
    """

    def register(announce: Announcement) -> Announcement:
        for op_type in op_types:
            _announced[op_type] = announce
        return announce

    return register


@inplace_version(IncSubtensor, AdvancedIncSubtensor, AdvancedIncSubtensor1)
def inc_subtensor_in_place(node: Apply) -> Choices:
    """An indexed assignment or addition into its first input."""
    if not node.op.inplace:
        yield 0, replace(node.op, inplace=True)


class _Memory:
    """Who may share memory with whom, and until when it is read, on a fixed schedule."""

    def __init__(self, fgraph: FunctionGraph, schedule: list[Apply]) -> None:
        self.roots: dict[Variable, tuple[Variable, ...]] = {}
        self.last_read: dict[Variable, int] = {}
        self.kept: set[Variable] = set()
        self._same: dict[Variable, Variable] = {}
        for var in fgraph.variables:
            if var.owner is None:
                self.roots[var] = (var,)
        for position, node in enumerate(schedule):
            for var in node.inputs:
                for root in self.roots[var]:
                    self.last_read[root] = position
            sharing = _sharing(node.op)
            for k, out in enumerate(node.outputs):
                shared = [r for i in sharing.get(k, ()) for r in self.roots[node.inputs[i]]]
                self.roots[out] = tuple(dict.fromkeys(shared)) or (out,)
        for out in fgraph.outputs:
            self.kept.update(self.roots[out])

    def roots_of(self, var: Variable) -> tuple[Variable, ...]:
        """The Variables whose memory `var` may be in."""
        return tuple(dict.fromkeys(self._find(root) for root in self.roots[var]))

    def _find(self, root: Variable) -> Variable:
        top = root
        while top in self._same:
            top = self._same[top]
        while root is not top:
            self._same[root], root = top, self._same[root]
        return top

    def hand_over(self, root: Variable, out: Variable, new: Variable) -> None:
        """From now on `out`, which becomes `new`, is in the memory of `root`."""
        self._same[out] = root
        self.roots[new] = (root,)
        self.last_read[root] = max(self.last_read.get(root, -1), self.last_read.get(out, -1))
        if out in self.kept:
            self.kept.add(root)

    def rename(self, out: Variable, new: Variable) -> None:
        """From now on `out` is `new`."""
        self.roots[new] = self.roots[out]


def _sharing(op: Any) -> dict[int, list[int]]:
    """For each output the inputs whose memory it may share."""
    if not op.destroy_map:
        return op.view_map  # type: ignore[no-any-return]
    merged: dict[int, list[int]] = {}
    for given in (op.view_map, op.destroy_map):
        for k, positions in given.items():
            merged.setdefault(k, []).extend(positions)
    return merged


class _Placement:
    """Decides which result overwrites which input."""

    def __init__(self, fgraph: FunctionGraph, schedule: list[Apply]) -> None:
        self.fgraph = fgraph
        self.memory = _Memory(fgraph, schedule)
        self.updated: dict[int, Variable] = getattr(fgraph, "updated_inputs", {})
        self.mutable = set(getattr(fgraph, "mutable_inputs", ()))
        self.borrowed: set[int] = getattr(fgraph, "borrowed_outputs", set())
        self.given = set(fgraph.inputs)
        self.overwritten: set[Variable] = set(self.mutable)

    def own(self, out: Variable) -> list[Variable]:
        """The inputs whose new value `out` is."""
        return [
            self.updated[client[1]]
            for client in self.fgraph.variables[out]
            if client[0] == "output" and client[1] in self.updated
        ]

    def best(
        self, node: Apply, position: int, out: Variable, candidates: Iterable[int]
    ) -> int | None:
        """The first of the inputs that `out` may overwrite; its own old value before others."""
        memory, own, best = self.memory, self.own(out), None
        for k in candidates:
            var = node.inputs[k]
            roots = memory.roots_of(var)
            if len(roots) != 1 or var.type != out.type:
                continue
            (root,) = roots
            if isinstance(root, Constant) or root in memory.kept:
                continue
            if memory.last_read.get(root, -1) > position or not _alone(memory, node, k, root):
                continue
            if root in self.given:
                # A shared variable by its own new value, or what the user lends for scratch.
                if var is root and root in own:
                    return k
                if root not in self.mutable or not self.may_be_lent(out):
                    continue
            if best is None:
                best = k
        return best

    def may_be_lent(self, out: Variable) -> bool:
        """Whether all outputs in the memory of `out` may be in that of a mutable input."""
        roots = self.memory.roots_of(out)
        return self.memory.kept.isdisjoint(roots) or all(
            k in self.borrowed
            for k, output in enumerate(self.fgraph.outputs)
            if not set(self.memory.roots_of(output)).isdisjoint(roots)
        )

    def announced(self, node: Apply, position: int) -> tuple[Any, dict[int, int]]:
        """The Op that makes output 0 in place, and {0: over which input}, empty for nowhere."""
        ops: dict[int, Any] = {}
        for k, op in _announced[type(node.op)](node):
            ops.setdefault(k, op)
        found = self.best(node, position, node.outputs[0], ops)
        return (None, {}) if found is None else (ops[found], {0: found})

    def elementwise(self, node: Apply, position: int) -> tuple[Any, dict[int, int]]:
        """The same for an elementwise Op: each result over another input of its type."""
        pattern: dict[int, int] = {}
        order = list(range(len(node.outputs)))
        if type(node.op) is FusedReduction:
            order = [k for k in order if node.op.reductions[k] is None]
        if len(order) > 1:
            # New values of shared variables claim the old ones first.
            order.sort(key=lambda k: not self.own(node.outputs[k]))
        for k in order:
            out = node.outputs[k]
            if not out.type.ndim:
                continue
            free = [i for i in range(len(node.inputs)) if i not in pattern.values()]
            found = self.best(node, position, out, free)
            if found is not None:
                pattern[k] = found
        return replace(node.op, inplace_pattern=tuple(sorted(pattern.items()))), pattern

    def take(self, node: Apply, op: Any, pattern: dict[int, int], reason: str) -> list[Variable]:
        """Replace `node` by `op`; return its results."""
        memory = self.memory
        twin = node.rebuilt(node.inputs)
        twin.op = op
        for k, i in pattern.items():
            (root,) = memory.roots_of(node.inputs[i])
            memory.hand_over(root, node.outputs[k], twin.outputs[k])
            if root in self.given:
                self.overwritten.add(root)
        for k, (out, new) in enumerate(zip(node.outputs, twin.outputs)):
            if k not in pattern:
                memory.rename(out, new)
        self.fgraph.replace_all(list(zip(node.outputs, twin.outputs)), reason)
        return twin.outputs


@dataclass(frozen=True)
class InPlace(Pass):
    """Results overwrite inputs that are not read later; attaches a DestroyHandler."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        schedule = fgraph.toposort()
        placement = _Placement(fgraph, schedule)
        destroys = any(node.op.destroy_map for node in schedule)
        for position, node in enumerate(schedule):
            elementwise = type(node.op) in _ELEMENTWISE
            if node.op.destroy_map or not (elementwise or type(node.op) in _announced):
                continue
            started = perf_counter()
            choose = placement.elementwise if elementwise else placement.announced
            op, pattern = choose(node, position)
            if not pattern:
                continue
            made = placement.take(node, op, pattern, self.name)
            destroys = True
            if observer is not None:
                seconds = perf_counter() - started
                for out, new in zip(node.outputs, made):
                    observer.rule_applied(self.name, node, out, new, seconds)
                    seconds = 0.0
        if destroys:
            protected = [var for var in fgraph.inputs if var not in placement.overwritten]
            fgraph.attach_feature(DestroyHandler(protected))


def _alone(memory: _Memory, node: Apply, k: int, root: Variable) -> bool:
    """Whether no input but number k is in the memory of `root`.

    An elementwise Op reads an element before it writes it: it may have the same input twice.
    """
    same_is_fine = type(node.op) in _ELEMENTWISE
    for i, var in enumerate(node.inputs):
        if i == k or (same_is_fine and var is node.inputs[k]):
            continue
        if root in memory.roots_of(var):
            return False
    return True


register_pass(InPlace("inplace", frozenset({"fast_run", "inplace"}), 75.0))
