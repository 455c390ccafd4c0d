"""Regions: which elementwise Applys may become one, without a cycle, in linear time.

First an Apply joins the region of its users, if all of them are in one, so that nothing is kept
that only the region reads. Then regions of equal extents that read the same arrays, or each
other, become one group with several results. No cycle may arise: the graph is scheduled region
by region, and only what one run of the schedule holds is grouped. What is not elementwise runs
as early as it can, then everything ready of one class, the smaller ones first, since they are
what larger ones read. That equal extents are proven by sharing arrays, and that groups are made
in one sweep over a schedule, is after K. Kennedy, K. McKinley, "Typed Fusion with Applications to
Parallel and Sequential Code Generation", Rice University TR 93-208 (1993).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.tensor.elemwise import Elemwise


@dataclass(frozen=True)
class Limits:
    """How large a group may become."""

    inputs: int
    instructions: int
    outputs: int


@dataclass(eq=False)
class Region:
    """Elementwise Applys with one result that others read: that of the first member."""

    pattern: tuple[bool, ...]
    """Which extents of the results are 1."""
    members: list[Apply] = field(default_factory=list)
    """Users before what they use."""
    inputs: dict[Variable, None] = field(default_factory=dict)
    late: bool = False
    """Whether nothing but updates reads the result, directly or through others that are late."""

    @property
    def result(self) -> Variable:
        """What others read."""
        return self.members[0].outputs[0]  # type: ignore[no-any-return]


@dataclass
class Group:
    """Applys that become one, each after those that it uses, and which results others read."""

    nodes: list[Apply]
    outputs: list[Variable]


def fusable(node: Apply) -> bool:
    """Whether the Apply may be part of a region."""
    op = node.op
    return (
        type(op) is Elemwise
        and not op.inplace_pattern
        and not isinstance(op.scalar_op, scalar.Composite)
    )


def groups_of(fgraph: FunctionGraph, limits: Limits) -> list[Group]:
    """The groups of all fusable Applys, each after those that it uses."""
    order = fgraph.toposort()
    regions, region_of = _regions(fgraph, order, limits)
    if any(node.op.destroy_map for node in order):
        # What is read before it is overwritten restricts the order further.
        return [Group(r.members[::-1], [r.result]) for r in reversed(regions)]
    updated: dict[int, Variable] = getattr(fgraph, "updated_inputs", {})
    for region in regions:
        region.late = all(
            (i in updated if client == "output" else client in region_of)
            and (client == "output" or region_of[client].late)
            for client, i in fgraph.variables[region.result]
        )
    groups: list[Group] = []
    for run in _runs(fgraph, order, region_of):
        groups.extend(_groups_of_run(fgraph, run, region_of, limits))
    return groups


# ---- regions of one result ---------------------------------------------------------------


def _regions(
    fgraph: FunctionGraph, order: list[Apply], limits: Limits
) -> tuple[list[Region], dict[Apply, Region]]:
    """The regions, each before those that it uses, and which one each Apply is in."""
    regions: list[Region] = []
    region_of: dict[Apply, Region] = {}
    for node in reversed(order):
        if not fusable(node):
            continue
        (out,) = node.outputs
        region = _shared_region(fgraph, out, region_of, limits)
        if region is None:
            region = Region(out.type.broadcastable)
            regions.append(region)
        else:
            del region.inputs[out]
        region_of[node] = region
        region.members.append(node)
        region.inputs.update(dict.fromkeys(node.inputs))
    return regions, region_of


def _shared_region(
    fgraph: FunctionGraph, out: Variable, region_of: dict[Any, Region], limits: Limits
) -> Region | None:
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
        or len(region.members) >= limits.instructions
    ):
        return None
    added = sum(v not in region.inputs for v in dict.fromkeys(out.owner.inputs))  # type: ignore[union-attr]
    return region if len(region.inputs) - 1 + added <= limits.inputs else None


# ---- groups of several results -----------------------------------------------------------


class _Forest:
    """Disjoint sets that can be united (Tarjan 1975)."""

    def __init__(self) -> None:
        self._parent: dict[Any, Any] = {}

    def find(self, x: Any) -> Any:
        """The representative of the set of `x`."""
        parent = self._parent
        while True:
            up = parent.get(x, x)
            if up is x:
                return x
            above = parent.get(up, up)
            parent[x] = above
            x = above

    def unite(self, x: Any, y: Any) -> None:
        """Let `x` and `y` be in one set."""
        x, y = self.find(x), self.find(y)
        if x is not y:
            self._parent[x] = y


def _extents(nodes: Iterable[Apply]) -> _Forest:
    """Sets of Variables that have equal extents, or one of the Applys is an error."""
    forest = _Forest()
    known: dict[Any, Variable] = {}
    for node in nodes:
        out = node.outputs[0]
        pattern = out.type.broadcastable
        for var in (*node.inputs, out):
            if var.type.broadcastable == pattern:
                forest.unite(var, out)
                if None not in var.type.shape:
                    forest.unite(known.setdefault(var.type.shape, var), out)
    return forest


def _runs(
    fgraph: FunctionGraph, order: list[Apply], region_of: dict[Apply, Region]
) -> list[list[Region]]:
    """A schedule of all regions, cut into runs of one class: equal extents, equally late."""
    forest = _extents(region_of)
    waiting: dict[Any, int] = {}
    for node in order:
        unit: Any = region_of.get(node, node)
        count = waiting.get(unit, 0)
        for var in node.inputs:
            owner = var.owner
            if owner is not None and region_of.get(owner, owner) is not unit:
                count += 1
        waiting[unit] = count
    others: deque[Apply] = deque()
    ready: dict[Any, list[Region]] = {}
    queue: list[tuple[bool, int, int, Any]] = []
    arrivals = 0

    def make_ready(unit: Any) -> None:
        nonlocal arrivals
        if not isinstance(unit, Region):
            others.append(unit)
            return
        key = (forest.find(unit.result), unit.late)
        waiting_regions = ready.get(key)
        if waiting_regions is None:
            ready[key] = waiting_regions = []
            heappush(queue, (unit.late, unit.pattern.count(False), arrivals, key))
            arrivals += 1
        waiting_regions.append(unit)

    def release(var: Variable) -> None:
        for client, _ in fgraph.variables[var]:
            if client != "output":
                unit = region_of.get(client, client)
                waiting[unit] -= 1
                if not waiting[unit]:
                    make_ready(unit)

    for unit, count in list(waiting.items()):
        if not count:
            make_ready(unit)
    runs: list[list[Region]] = []
    while others or queue:
        while others:
            for out in others.popleft().outputs:
                release(out)
        if queue:
            key = heappop(queue)[-1]
            run = ready[key]
            for region in run:  # which grows meanwhile
                release(region.result)
            del ready[key]
            runs.append(run)
    return runs


def _groups_of_run(
    fgraph: FunctionGraph, run: list[Region], region_of: dict[Apply, Region], limits: Limits
) -> list[Group]:
    """The regions of a run that read the same arrays or each other, as far as limits allow."""
    if len(run) == 1:
        return [Group(run[0].members[::-1], [run[0].result])]
    together = _Forest()
    here = dict.fromkeys(run)
    reader: dict[Variable, Region] = {}
    for region in run:
        for var in region.inputs:
            if var.type.broadcastable != region.pattern or isinstance(var, Constant):
                continue
            together.unite(reader.setdefault(var, region), region)
            source = region_of.get(var.owner) if var.owner is not None else None
            if source in here:
                together.unite(source, region)
    parts: dict[Region, list[Region]] = {}
    for region in run:
        parts.setdefault(together.find(region), []).append(region)
    groups = []
    for part in parts.values():
        for chosen in _within_limits(fgraph, part, limits) if len(part) > 1 else (part,):
            nodes = [node for region in chosen for node in reversed(region.members)]
            inside = dict.fromkeys(nodes)
            outputs = [
                region.result
                for region in chosen
                if any(client not in inside for client, _ in fgraph.variables[region.result])
            ]
            groups.append(Group(nodes, outputs))
    return groups


def _within_limits(
    fgraph: FunctionGraph, part: list[Region], limits: Limits
) -> Iterable[list[Region]]:
    """Regions in order of execution, cut where a group would become too large."""
    chosen: list[Region] = []
    inputs: dict[Variable, None] = {}
    unread: dict[Variable, int] = {}
    size = 0
    for region in part:
        added = {v: None for v in region.inputs if v not in inputs and v not in unread}
        unread_then = _read(unread, region)
        kept = sum(count > 0 for count in unread_then.values())
        if chosen and (
            size + len(region.members) > limits.instructions
            or len(inputs) + len(added) > limits.inputs
            or kept + 1 > limits.outputs
        ):
            yield chosen
            chosen, inputs, unread_then, size = [], {}, {}, 0
            added = dict(region.inputs)
        chosen.append(region)
        inputs.update(added)
        unread = unread_then
        unread[region.result] = len(fgraph.variables[region.result])
        size += len(region.members)
    if chosen:
        yield chosen


def _read(unread: dict[Variable, int], region: Region) -> dict[Variable, int]:
    """How often each result is read after `region`."""
    left = dict(unread)
    for node in region.members:
        for var in node.inputs:
            if var in left:
                left[var] -= 1
    return left
