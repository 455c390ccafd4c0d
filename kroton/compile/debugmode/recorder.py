"""What happened to a graph while it was optimized: every Apply, every replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kroton.graph.basic import Apply, Variable
from kroton.graph.features import Feature
from kroton.graph.fg import FunctionGraph
from kroton.printing import debugprint


@dataclass
class Replacement:
    """One replacement, with both graphs as they were."""

    reason: str | None
    """The name of the rule."""
    old: Variable
    """What was replaced."""
    new: Variable
    """By what."""
    old_graph: str
    """The replaced expression, printed at that moment."""
    new_graph: str
    """The replacement, printed at that moment."""


class Recorder(Feature):
    """Remembers the Applys that were written, and each replacement once.

    Parameters
    ----------
    graphs : bool
        Whether to print the graphs at each replacement; a recorder that only compares the
        order of events need not.
    """

    def __init__(self, graphs: bool = True) -> None:
        self.graphs = graphs
        self.written: set[Apply] = set()
        self.replacements: list[Replacement] = []
        self.events: list[str] = []
        self._seen: set[tuple[Variable, Variable]] = set()

    def on_attach(self, fgraph: FunctionGraph) -> None:
        self.written.update(fgraph.apply_nodes)

    def on_change_input(
        self, fgraph: FunctionGraph, node: Any, i: int, old: Variable, new: Variable,
        reason: str | None,
    ) -> None:  # fmt: skip
        where = "output" if node == "output" else str(node.op)
        self.events.append(f"{reason}: input {i} of {where}: {_named(old)} -> {_named(new)}")
        if (old, new) in self._seen:
            return
        self._seen.add((old, new))
        texts = ("", "")
        if self.graphs:
            texts = (_graph(old), _graph(new))
        self.replacements.append(Replacement(reason, old, new, *texts))


def _named(v: Variable) -> str:
    if v.owner is None:
        return str(v)
    return f"{v.owner.op}({', '.join(str(x) for x in v.owner.inputs)}).{v.index}"


def _graph(v: Variable) -> str:
    text: str = debugprint(v, depth=5, print_type=True, file="str")
    lines = text.splitlines()
    if len(lines) > 30:
        lines = [*lines[:30], " ..."]
    return "\n".join(lines)
