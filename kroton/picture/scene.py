"""Scenes: the nodes and edges of a picture of a graph, with what is said of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.traversal import toposort
from kroton.picture.layout import Layout, layered

_CHARACTER = 6.6


@dataclass
class Node:
    """One thing that is drawn."""

    label: str
    kind: str
    """'apply', 'input', 'shared', 'constant' or 'output'."""
    details: dict[str, Any] = field(default_factory=dict)
    """What is shown of it, in order: label to text."""
    implementation: str = ""
    """'c', 'py', 'c&py', or '' where it is not known."""
    position: int = -1
    """In the order of execution; -1 for what is not executed."""
    weight: float = 0.0
    """Between 0 and 1: how large and how hot it is drawn."""

    longest: int = 34
    """Characters of the label that are drawn."""

    @property
    def text(self) -> str:
        """The label as it is drawn."""
        n = max(self.longest, 1)
        return self.label if len(self.label) <= n else self.label[: n - 1] + "…"

    @property
    def size(self) -> tuple[float, float]:
        """Width and height."""
        width = max(36.0, len(self.text) * _CHARACTER + 18)
        if self.kind != "apply":
            return width, 20.0
        grow = sqrt(max(self.weight, 0.0))
        return width + 40 * grow, 24.0 + 34 * grow


@dataclass
class Scene:
    """A picture before it is placed: edges go from number to number of `nodes`."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[int, int, str]] = field(default_factory=list)
    """From, to, and what flows along."""

    def layout(self) -> Layout:
        """Where everything is drawn."""
        return layered([node.size for node in self.nodes], [(a, b) for a, b, _ in self.edges])

    def as_dict(self) -> dict[str, Any]:
        """Scene and layout as the page's script reads it."""
        layout = self.layout()
        nodes = []
        for node, x, y in zip(self.nodes, layout.x, layout.y):
            w, h = node.size
            nodes.append({
                "x": round(x, 1), "y": round(y, 1), "w": round(w, 1), "h": round(h, 1),
                "text": node.text, "label": node.label, "kind": node.kind,
                "impl": node.implementation, "position": node.position,
                "weight": round(node.weight, 4), "details": node.details,
            })  # fmt: skip
        edges = [
            {"from": a, "to": b, "label": label, "via": [[round(x, 1), round(y, 1)] for x, y in p]}
            for (a, b, label), p in zip(self.edges, layout.paths)
        ]
        return {
            "name": self.name, "nodes": nodes, "edges": edges,
            "width": round(layout.width, 1), "height": round(layout.height, 1),
        }  # fmt: skip


def scene_of(obj: Any, name: str | None = None) -> Scene:
    """The picture of a Variable, Apply, list of these, FunctionGraph or compiled function.

    Raises
    ------
    TypeError
        For anything else.
    """
    implementations: dict[Apply, str] = {}
    maker = getattr(obj, "maker", None)
    if maker is not None:
        order = list(maker.linked.order)
        results = list(maker.fgraph.outputs)
        implementations = dict(zip(order, maker.linked.implementations))
        title = name or obj.name or "function"
    else:
        if hasattr(obj, "toposort") and hasattr(obj, "outputs"):
            results = list(obj.outputs)
        else:
            results = []
            for item in obj if isinstance(obj, (list, tuple)) else [obj]:
                if isinstance(item, Apply):
                    results.extend(item.outputs)
                elif isinstance(item, Variable):
                    results.append(item)
                else:
                    raise TypeError(
                        "a picture is drawn of a Variable, an Apply, a list of these, a "
                        f"FunctionGraph or a compiled function, not of {type(item).__name__}"
                    )
        order = list(toposort(results))
        title = name or "graph"
    scene = Scene(title)
    numbers: dict[Variable, int] = {}
    for k, node in enumerate(order):
        details: dict[str, Any] = {"Op": str(node.op), "class": type(node.op).__name__}
        details["inputs"] = [_typed(v) for v in node.inputs]
        details["outputs"] = [_typed(v) for v in node.outputs]
        source = source_line(node)
        if source:
            details["source"] = source
        scene.nodes.append(Node(str(node.op), "apply", details, implementations.get(node, ""), k))
        for v in node.outputs:
            numbers[v] = k
    for k, node in enumerate(order):
        for v in node.inputs:
            scene.edges.append((_number(scene, numbers, v), k, _typed(v)))
    for k, v in enumerate(results):
        scene.nodes.append(Node(v.name or f"output {k}", "output", {"type": str(v.type)}))
        end = len(scene.nodes) - 1
        scene.edges.append((_number(scene, numbers, v), end, _typed(v)))
    return scene


def _number(scene: Scene, numbers: dict[Variable, int], v: Variable) -> int:
    if v not in numbers or isinstance(v, Constant):
        numbers[v] = len(scene.nodes)
        kind = "input"
        if isinstance(v, Constant):
            kind = "constant"
        elif hasattr(v, "container"):
            kind = "shared"
        scene.nodes.append(Node(str(v)[:60], kind, {"type": str(v.type)}))
    return numbers[v]


def _typed(v: Variable) -> str:
    name = v.name or (str(v)[:30] if v.owner is None else "")
    return f"{name}: {v.type}" if name else str(v.type)


def source_line(node: Any) -> str:
    """The user's line that made an Apply, as `file:line`; '' if it is not known."""
    if not node.trace:
        return ""
    code, line = node.trace[0]
    return f"{code.co_filename}:{line}"
