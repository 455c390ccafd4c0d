"""A layered layout of a directed acyclic graph, in time linear in the graph up to sorting.

After Sugiyama, Tagawa, Toda (Methods for visual understanding of hierarchical system structures,
1981): nodes are put into layers along the edges; long edges get a bend in each layer they cross;
each layer is sorted by the mean place of its neighbours; places are the least squares solution
of "be where your neighbours are" under "do not overlap", found by pooling adjacent violators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

_GAP_X = 18.0
_GAP_Y = 34.0
_BEND = 8.0
_BENDS = 8
"""Edges over more layers than this are drawn straight through."""
_SWEEPS = 8


@dataclass(frozen=True)
class Layout:
    """Where nodes are, by their centres, and the points edges go through."""

    x: list[float]
    y: list[float]
    paths: list[list[tuple[float, float]]]
    """For each edge the centres of its bends, without its ends."""
    width: float
    height: float


def layered(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]
) -> Layout:  # fmt: skip
    """Place nodes of the given (width, height); edges go from above to below.

    Nodes must be numbered so that every edge goes from a smaller to a larger number, but for
    nodes without incoming edges, which may have any number.

    Raises
    ------
    ValueError
        If the edges have a cycle.
    """
    n = len(sizes)
    if n == 0:
        return Layout([], [], [], 0.0, 0.0)
    layer = _layers(n, edges)
    widths = [w + _GAP_X for w, _ in sizes]  # with the gap to the next
    neighbours: list[list[int]] = [[] for _ in range(n)]
    bends: list[list[int]] = []
    for a, b in edges:
        span = layer[b] - layer[a]
        chain: list[int] = []
        if 1 < span <= _BENDS:
            for level in range(layer[a] + 1, layer[b]):
                chain.append(len(layer))
                layer.append(level)
                widths.append(_BEND)
                neighbours.append([])
        bends.append(chain)
        path = [a, *chain, b]
        for u, v in pairwise(path):
            neighbours[u].append(v)
            neighbours[v].append(u)
    rows: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for node, level in enumerate(layer):
        rows[level].append(node)

    x = _places(rows, layer, widths, neighbours)
    left = min(x[k] - widths[k] / 2 for k in range(len(x)))
    x = [place - left for place in x]
    y = [0.0] * len(layer)
    top = _GAP_Y / 2
    for row in rows:
        tallest = max((sizes[k][1] for k in row if k < n), default=0.0)
        for k in row:
            y[k] = top + tallest / 2
        top += tallest + _GAP_Y + min(40.0, 0.6 * sqrt(len(row)) * 4)
    paths = [[(x[k], y[k]) for k in chain] for chain in bends]
    right = max(x[k] + widths[k] / 2 for k in range(len(x)))
    return Layout(x[:n], y[:n], paths, right, top)


def _layers(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each node: below all it comes from, in layers of limited width; what comes
    from nowhere stands just above its first reader."""
    sources: list[list[int]] = [[] for _ in range(n)]
    readers: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        sources[b].append(a)
        readers[a].append(b)
    missing = [len(s) for s in sources]
    order = [k for k in range(n) if not missing[k]]
    for k in order:
        for reader in readers[k]:
            missing[reader] -= 1
            if not missing[reader]:
                order.append(reader)
    if len(order) < n:
        raise ValueError("the edges have a cycle")
    widest = max(10, ceil(1.2 * sqrt(n)))
    layer = [0] * n
    count: dict[int, int] = {}
    for k in order:
        if not sources[k]:
            continue
        level = 1 + max(layer[s] for s in sources[k])
        while count.get(level, 0) >= widest:
            level += 1
        layer[k] = level
        count[level] = count.get(level, 0) + 1
    for k in range(n):
        if not sources[k] and readers[k]:
            layer[k] = max(0, min(layer[r] for r in readers[k]) - 1)
    used = {level: place for place, level in enumerate(sorted(set(layer)))}
    return [used[level] for level in layer]


def _places(
    rows: list[list[int]], layer: list[int], widths: list[float], neighbours: list[list[int]]
) -> list[float]:
    x = [0.0] * len(layer)
    for row in rows:
        total = sum(widths[k] for k in row)
        place = -total / 2
        for k in row:
            x[k] = place + widths[k] / 2
            place += widths[k]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        both = sweep >= _SWEEPS - 2
        for row in rows if down else reversed(rows):
            wanted = []
            for k in row:
                level = layer[k]
                near = [x[v] for v in neighbours[k] if both or (layer[v] < level) == down]
                wanted.append(sum(near) / len(near) if near else x[k])
            placed = sorted(range(len(row)), key=lambda i: (wanted[i], x[row[i]]))
            spots = _spread([wanted[i] for i in placed], [widths[row[i]] for i in placed])
            for i, spot in zip(placed, spots):
                x[row[i]] = spot
            row[:] = [row[i] for i in placed]
    return x


def _spread(wanted: list[float], widths: list[float]) -> list[float]:
    """The places nearest to `wanted` (sorted) at which things of `widths` do not overlap."""
    offsets: list[float] = []
    reach = 0.0
    for k, width in enumerate(widths):
        if k:
            reach += (widths[k - 1] + width) / 2
        offsets.append(reach)
    blocks: list[list[float]] = []  # mean, count
    for k, place in enumerate(wanted):
        blocks.append([place - offsets[k], 1.0])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * count) / (before[1] + count)
            before[1] += count
    spots: list[float] = []
    for mean, count in blocks:
        spots += [mean] * int(count)
    return [spot + offset for spot, offset in zip(spots, offsets)]
