"""Fusion: regions of elementwise Applys become one, which runs tile by tile.

Reductions of a region's results are computed with it: the terms of a sum that nobody else reads
are never in memory as a whole. What becomes one is chosen in `kroton.rewriting.regions`: nothing is
computed twice or more often than before, and what a region keeps for others is one of its results.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any

from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.observer import Observer
from kroton.rewriting.passes import Pass, Selection, register_pass
from kroton.rewriting.regions import Limits, groups_of
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.reduction import CAReduce

Result = tuple[Variable, Apply | None]


@dataclass(frozen=True)
class Fusion(Pass):
    """Elementwise Applys become one `Elemwise` of a `Composite`, of one or several results."""

    max_inputs: int = 24
    """Of one Apply: each takes a register of the kernel."""
    max_instructions: int = 64
    """Of one Apply."""
    max_outputs: int = 8
    """Of one Apply: each is a stream to memory."""
    max_results: int = 12
    """Of one Apply: those, and reductions of them."""
    reductions: bool = True
    """Whether reductions of a region's results are computed with it."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        limits = Limits(self.max_inputs, self.max_instructions, self.max_outputs)
        for group in groups_of(fgraph, limits):
            plain: list[Result] = [(out, None) for out in group.outputs]
            results = plain
            if self.reductions:
                inside = set(group.nodes)
                results = [r for out in group.outputs for r in _results(fgraph, out, inside)]
                if len(results) > self.max_results:
                    results = plain
            if len(group.nodes) == 1 and all(node is None for _, node in results):
                continue
            started = perf_counter()
            made = fuse(group.nodes, results)
            olds = [out if node is None else node.outputs[0] for out, node in results]
            made[0].owner.trace = olds[-1].trace  # type: ignore[union-attr]
            seconds = perf_counter() - started
            # Users first: what is replaced later does not lose its own graph.
            for old, new in reversed(list(zip(olds, made))):
                root: Any = old.owner
                started = perf_counter()
                fgraph.replace(old, new, self.name)
                seconds += perf_counter() - started
                if observer is not None:
                    observer.rule_applied(self.name, root, old, new, seconds)
                seconds = 0.0


def _results(fgraph: FunctionGraph, out: Variable, inside: set[Apply]) -> list[Result]:
    """What others make of a result of a region: it is used as it is, or reduced, or both."""
    reductions: dict[Apply, None] = {}
    kept = False
    for client, _ in fgraph.variables[out]:
        if client in inside:
            continue
        if client != "output" and type(client.op) is CAReduce and client.op.axis:
            reductions[client] = None
        else:
            kept = True
    results: list[Result] = [(out, None)] if kept else []
    return results + [(out, node) for node in reductions]


def fuse(nodes: list[Apply], results: list[Result]) -> list[Variable]:
    """Results of elementwise `nodes` and reductions of them as the outputs of one Apply.

    Parameters
    ----------
    nodes : list of Apply
        Each after those that it uses. Their results have equal extents.
    results : list of (Variable, Apply or None)
        Results of some of them, each with a reduction that replaces it, or None. Those that are
        not listed are used by `nodes` only.
    """
    inner = {node.outputs[0] for node in nodes}
    registers: dict[Variable, int] = {}
    for node in nodes:
        for var in node.inputs:
            if var not in inner and var not in registers:
                registers[var] = len(registers)
    inputs = list(registers)
    instructions = []
    for node in nodes:
        (out,) = node.outputs
        reads = tuple(registers[var] for var in node.inputs)
        dtypes = tuple(var.type.dtype for var in node.inputs)
        instructions.append(scalar.Instruction(node.op.scalar_op, reads, dtypes, out.type.dtype))
        registers[out] = len(registers)
    outputs = tuple(registers[var] for var, _ in results)
    composite = scalar.Composite(len(inputs), tuple(instructions), outputs)
    op: Any = Elemwise(composite)
    if any(node is not None for _, node in results):
        reductions = tuple(None if node is None else node.op for _, node in results)
        op = FusedReduction(composite, reductions)
    made: Any = op(*inputs, return_list=True)
    made[0].owner.tag.traces = [node.trace for node in nodes]
    return made  # type: ignore[no-any-return]


register_pass(Fusion("fusion", frozenset({"fast_run", "fusion"}), 49.0))
