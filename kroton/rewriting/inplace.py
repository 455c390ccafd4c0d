"""In-place: results overwrite what nobody reads any more.

Runs last, on the final schedule. An Op that can overwrite one of its inputs says so:

    @inplace_version(Gemm)
    def gemm_in_place(node):
        if not node.op.inplace:
            yield 0, Gemm(inplace=True)     # overwrites input 0; its destroy_map says the same

A compiler tells through attributes of the FunctionGraph which inputs may be overwritten:
`mutable_inputs` (a list) and `updated_inputs` (from the position of an output to the input
whose new value it is).
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
from kroton.tensor.subtensor import IncSubtensor

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


@inplace_version(Elemwise)
def elemwise_in_place(node: Apply) -> Choices:
    """An Elemwise over any input of its result's type."""
    op = node.op
    if op.inplace_pattern or len(node.outputs) != 1:
        return
    wanted = node.outputs[0].type
    for k, var in enumerate(node.inputs):
        if var.type == wanted and wanted.ndim:
            yield k, Elemwise(op.scalar_op, ((0, k),))


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


def _sharing(op: Any) -> dict[int, list[int]]:
    """For each output the inputs whose memory it may share."""
    if not op.destroy_map:
        return op.view_map  # type: ignore[no-any-return]
    merged: dict[int, list[int]] = {}
    for given in (op.view_map, op.destroy_map):
        for k, positions in given.items():
            merged.setdefault(k, []).extend(positions)
    return merged


@dataclass(frozen=True)
class InPlace(Pass):
    """Results overwrite inputs that are not read later; attaches a DestroyHandler."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        schedule = fgraph.toposort()
        memory = _Memory(fgraph, schedule)
        updated: dict[int, Variable] = getattr(fgraph, "updated_inputs", {})
        mutable = set(getattr(fgraph, "mutable_inputs", ()))
        given = set(fgraph.inputs)
        overwritten: set[Variable] = set(mutable)
        destroys = any(node.op.destroy_map for node in schedule)
        for position, node in enumerate(schedule):
            announce = _announced.get(type(node.op))
            if announce is None or node.op.destroy_map:
                continue
            started = perf_counter()
            out = node.outputs[0]
            own = [
                updated[client[1]]
                for client in fgraph.variables[out]
                if client[0] == "output" and client[1] in updated
            ]
            choice = None
            for k, op in announce(node):
                var = node.inputs[k]
                roots = memory.roots_of(var)
                if len(roots) != 1 or var.type != out.type:
                    continue
                (root,) = roots
                if isinstance(root, Constant) or root in memory.kept:
                    continue
                if memory.last_read.get(root, -1) > position or not _alone(memory, node, k, root):
                    continue
                if root in given:
                    # A shared variable by its own new value, or what the user lends for scratch.
                    if var is root and root in own:
                        choice = (k, op, root)
                        break
                    if root not in mutable or not memory.kept.isdisjoint(memory.roots_of(out)):
                        continue
                if choice is None:
                    choice = (k, op, root)
            if choice is None:
                continue
            k, op, root = choice
            twin = node.rebuilt(node.inputs)
            twin.op = op
            new = twin.outputs[0]
            memory.hand_over(root, out, new)
            fgraph.replace(out, new, self.name)
            destroys = True
            if root in given:
                overwritten.add(root)
            if observer is not None:
                observer.rule_applied(self.name, node, out, new, perf_counter() - started)
        if destroys:
            protected = [var for var in fgraph.inputs if var not in overwritten]
            fgraph.attach_feature(DestroyHandler(protected))


def _alone(memory: _Memory, node: Apply, k: int, root: Variable) -> bool:
    """Whether no input but number k is in the memory of `root`.

    An Elemwise reads an element before it writes it, so that it may have the same input twice.
    """
    same_is_fine = type(node.op) is Elemwise
    for i, var in enumerate(node.inputs):
        if i == k or (same_is_fine and var is node.inputs[k]):
            continue
        if root in memory.roots_of(var):
            return False
    return True


register_pass(InPlace("inplace", frozenset({"fast_run", "inplace"}), 75.0))
