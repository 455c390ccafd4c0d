"""Fusion: regions of elementwise Applys become one, which runs tile by tile.

A region has one result. An Apply joins the region of its users if all of them are in it, and
if its result has the same extents, so that nothing is computed twice or more often than
before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.observer import Observer
from kroton.rewriting.passes import Pass, Selection, register_pass
from kroton.tensor.elemwise import Elemwise


@dataclass(eq=False)
class _Region:
    """Applys that become one."""

    pattern: tuple[bool, ...]
    """Which extents of the results are 1."""
    members: list[Apply] = field(default_factory=list)
    """Users before what they use."""
    inputs: dict[Variable, None] = field(default_factory=dict)


@dataclass(frozen=True)
class Fusion(Pass):
    """Elementwise Applys become one `Elemwise` of a `Composite`."""

    max_inputs: int = 24
    """Of one region: each takes a register of the kernel."""
    max_instructions: int = 64
    """Of one region."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        for region in reversed(self._regions(fgraph)):
            if len(region.members) == 1:
                continue
            started = perf_counter()
            root = region.members[0]
            old = root.outputs[0]
            new: Any = fuse(region.members[::-1])
            new.owner.trace = root.trace
            fgraph.replace(old, new, self.name)
            if observer is not None:
                observer.rule_applied(self.name, root, old, new, perf_counter() - started)

    def _regions(self, fgraph: FunctionGraph) -> list[_Region]:
        """The regions, each before those that it uses."""
        regions: list[_Region] = []
        region_of: dict[Any, _Region] = {}
        for node in reversed(fgraph.toposort()):
            if not fusable(node):
                continue
            (out,) = node.outputs
            region = self._shared_region(fgraph, out, region_of)
            if region is None:
                region = _Region(out.type.broadcastable)
                regions.append(region)
            else:
                del region.inputs[out]
            region_of[node] = region
            region.members.append(node)
            region.inputs.update(dict.fromkeys(node.inputs))
        return regions

    def _shared_region(
        self, fgraph: FunctionGraph, out: Variable, region_of: dict[Any, _Region]
    ) -> _Region | None:
        """The region of all users of `out`, if it has room for the Apply of `out`."""
        region = None
        for client, _ in fgraph.variables[out]:
            found = region_of.get(client)
            if found is None or (region is not None and found is not region):
                return None
            region = found
        if (
            region is None
            or out.type.broadcastable != region.pattern
            or len(region.members) >= self.max_instructions
        ):
            return None
        added = sum(v not in region.inputs for v in dict.fromkeys(out.owner.inputs))  # type: ignore[union-attr]
        return region if len(region.inputs) - 1 + added <= self.max_inputs else None


def fusable(node: Apply) -> bool:
    """Whether the Apply may be part of a region."""
    op = node.op
    return (
        type(op) is Elemwise
        and not op.inplace_pattern
        and not isinstance(op.scalar_op, scalar.Composite)
    )


def fuse(nodes: list[Apply]) -> Variable:
    """The result of the last of `nodes` as one Elemwise.

    Parameters
    ----------
    nodes : list of Apply
        Elementwise, each after those that it uses. The results of all but the last are used
        by these only.
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
    composite = scalar.Composite(len(inputs), tuple(instructions), (registers[out],))
    return Elemwise(composite)(*inputs)  # type: ignore[no-any-return]


register_pass(Fusion("fusion", frozenset({"fast_run", "fusion"}), 49.0))
