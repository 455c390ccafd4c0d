"""What happened to a graph while it was optimized: every Apply, every replacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kroton.compile.debugmode.errors import BadRule, source_lines
from kroton.graph.basic import Apply, Variable
from kroton.graph.features import Feature
from kroton.graph.fg import FunctionGraph
from kroton.graph.trace import format_trace
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
    careful : bool
        Whether to raise BadRule at the replacement that makes a cycle: for each, all that it
        depends on is looked at.
    expected : Recorder, optional
        What was recorded when a copy of the graph was optimized.

    Attributes
    ----------
    events : list of str
        Each change of an input, in order.
    changed : list of Variable
        What the input was, for each event.
    """

    def __init__(
        self, graphs: bool = True, careful: bool = False, expected: Recorder | None = None
    ) -> None:
        self.graphs, self.careful, self.expected = graphs, careful, expected
        self.written: set[Apply] = set()
        self.replacements: list[Replacement] = []
        self.events: list[str] = []
        self.changed: list[Variable] = []
        self._seen: set[tuple[Variable, Variable]] = set()

    def on_attach(self, fgraph: FunctionGraph) -> None:
        self.written.update(fgraph.apply_nodes)

    def on_change_input(
        self, fgraph: FunctionGraph, node: Any, i: int, old: Variable, new: Variable,
        reason: str | None,
    ) -> None:  # fmt: skip
        where = "output" if node == "output" else str(node.op)
        self.events.append(f"{reason}: input {i} of {where}: {_named(old)} -> {_named(new)}")
        self.changed.append(old)
        if self.careful and node != "output" and _depends(new, node):
            raise BadRule(
                f"rule {reason!r} replaced {_named(old)} by what is computed from it, "
                f"{_named(new)}: a cycle\n{origin(old)}"
            )
        if (old, new) in self._seen:
            return
        self._seen.add((old, new))
        texts = ("", "")
        if self.graphs:
            texts = (_graph(old), _graph(new))
        self.replacements.append(Replacement(reason, old, new, *texts))


def origin(v: Variable) -> str:
    """Where the user wrote `v`."""
    if v.owner is not None:
        return source_lines(v.owner)
    where = format_trace(v.trace)
    return f"{v} was made here (outermost call first):\n{where}" if where else ""


def _depends(v: Variable, node: Apply) -> bool:
    """Whether `v` is computed from an output of `node`, in a graph that may have a cycle."""
    seen: set[Apply] = set()
    stack = [v.owner]
    while stack:
        owner = stack.pop()
        if owner is node:
            return True
        if owner is not None and owner not in seen:
            seen.add(owner)
            stack.extend(x.owner for x in owner.inputs)
    return False


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
