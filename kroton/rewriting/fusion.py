"""Fusion: regions of elementwise Applys become one, which runs tile by tile.

What becomes one is chosen in `kroton.rewriting.regions`: nothing is computed twice or more often
than before, and what a region keeps for others is one of its results.
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


@dataclass(frozen=True)
class Fusion(Pass):
    """Elementwise Applys become one `Elemwise` of a `Composite`, of one or several results."""

    max_inputs: int = 24
    """Of one Apply: each takes a register of the kernel."""
    max_instructions: int = 64
    """Of one Apply."""
    max_outputs: int = 8
    """Of one Apply: each is a stream to memory."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        limits = Limits(self.max_inputs, self.max_instructions, self.max_outputs)
        for group in groups_of(fgraph, limits):
            if len(group.nodes) == 1:
                continue
            started = perf_counter()
            made = fuse(group.nodes, group.outputs)
            made[0].owner.trace = group.outputs[-1].trace  # type: ignore[union-attr]
            seconds = perf_counter() - started
            # Users first: what is replaced later does not lose its own graph.
            for old, new in reversed(list(zip(group.outputs, made))):
                root: Any = old.owner
                started = perf_counter()
                fgraph.replace(old, new, self.name)
                seconds += perf_counter() - started
                if observer is not None:
                    observer.rule_applied(self.name, root, old, new, seconds)
                seconds = 0.0


def fuse(nodes: list[Apply], outputs: list[Variable]) -> list[Variable]:
    """`outputs`, which others use, of elementwise `nodes` as the results of one Elemwise.

    Parameters
    ----------
    nodes : list of Apply
        Each after those that it uses. Their results have equal extents.
    outputs : list of Variable
        Results of some of them. Those of all others are used by these only.
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
    results = tuple(registers[var] for var in outputs)
    composite = scalar.Composite(len(inputs), tuple(instructions), results)
    made: Any = Elemwise(composite)(*inputs, return_list=True)
    made[0].owner.tag.traces = [node.trace for node in nodes]
    return made  # type: ignore[no-any-return]


register_pass(Fusion("fusion", frozenset({"fast_run", "fusion"}), 49.0))
