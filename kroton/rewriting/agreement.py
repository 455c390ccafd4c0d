"""Which extents are known to be equal, so that no rule takes a check of shapes away."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.shape import extent, place_of_extent, source_of_extent
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.shape import AssertShape

T: Any = kroton.tensor

Place = tuple[Variable, int]

_REBUILDS = 8
"""How often the checks of a graph are collected anew, so that the cost stays linear."""


class _Checks:
    """Which extents the elementwise Applys of a graph check against each other."""

    def __init__(self) -> None:
        self.edges: dict[Place, dict[tuple[Place, Apply], None]] = {}
        self.builds = 0

    def build(self, fgraph: FunctionGraph) -> None:
        """Collect the checks of the graph as it is now."""
        self.builds += 1
        self.edges.clear()
        for node in fgraph.apply_nodes:
            if type(node.op) is not Elemwise or len(node.inputs) < 2:
                continue
            for d in range(1, node.outputs[0].type.ndim + 1):
                places = []
                for v in node.inputs:
                    known = v.type.shape
                    if d <= len(known) and known[-d] is None:
                        found = source_of_extent(fgraph, v, len(known) - d)
                        if not isinstance(found, int):
                            places.append(found)
                for a, b in pairwise(places):
                    if a != b:
                        self.edges.setdefault(a, {})[b, node] = None
                        self.edges.setdefault(b, {})[a, node] = None

    def connect(
        self, fgraph: FunctionGraph, a: Place, b: Place, without: Collection[Apply]
    ) -> bool:
        """Whether Applys that are not in `without` check that the extents are equal."""
        seen = {a}
        stack = [a]
        while stack:
            for place, node in self.edges.get(stack.pop(), ()):
                if node in without or place in seen or node not in fgraph.apply_nodes:
                    continue
                if place == b:
                    return True
                seen.add(place)
                stack.append(place)
        return False


_checks: WeakKeyDictionary[FunctionGraph, _Checks] = WeakKeyDictionary()


def same_extent(
    fgraph: FunctionGraph, x: Variable, i: int, y: Variable, j: int,
    without: Apply | Collection[Apply] | None = None,
) -> bool:  # fmt: skip
    """Whether dimension `i` of `x` is known to be as large as dimension `j` of `y`.

    Because it is the same one, or, with `without`, because some Apply other than that, or those,
    checks it.
    """
    a, b = source_of_extent(fgraph, x, i), source_of_extent(fgraph, y, j)
    if a == b:
        return True
    if without is None or isinstance(a, int) or isinstance(b, int):
        return False
    if isinstance(without, Apply):
        without = (without,)
    checks = _checks.get(fgraph)
    if checks is None:
        _checks[fgraph] = checks = _Checks()
    elif checks.connect(fgraph, a, b, without):
        return True
    if checks.builds >= _REBUILDS:
        return False
    checks.build(fgraph)
    return checks.connect(fgraph, a, b, without)


def agreeing(
    fgraph: FunctionGraph, x: Any, *others: Any, without: Apply | Collection[Apply] | None = None
) -> Any:
    """`x`, checked to have the extents of `others` that were to be combined with it elementwise.

    For rules that drop operands: what is known to agree (see `same_extent`), or stretches, is
    not checked.
    """
    axes: list[int] = []
    extents: list[Any] = []
    for v in others:
        for d in range(1, min(x.type.ndim, v.type.ndim) + 1):
            i, k = x.type.ndim - d, v.type.ndim - d
            if x.type.shape[i] == 1 or v.type.shape[k] == 1 or i in axes:
                continue
            if not same_extent(fgraph, x, i, v, k, without):
                axes.append(i)
                extents.append(extent(fgraph, v, k))
    return AssertShape(tuple(axes))(x, *extents) if axes else x


def with_extent(x: Any, d: int, e: Any) -> Any:
    """`x`, checked to have the extent `e` in dimension `d`."""
    return T.specify_shape(x, [e if k == d else None for k in range(x.type.ndim)])


def with_extents(fgraph: FunctionGraph, x: Any, extents: list[Any]) -> Any:
    """`x`, checked to have these extents, as far as that is not known."""
    unknown = []
    for d, e in enumerate(extents):
        place = place_of_extent(e)
        if isinstance(place, tuple):
            place = source_of_extent(fgraph, *place)
        if place is None or place != source_of_extent(fgraph, x, d):
            unknown.append(d)
    return AssertShape(tuple(unknown))(x, *(extents[d] for d in unknown)) if unknown else x
