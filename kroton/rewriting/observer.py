"""Observers of rewriting: what ProfileMode, DebugMode and rewrite traces listen to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    from kroton.graph.basic import Apply, Variable
    from kroton.graph.fg import FunctionGraph


class Observer:
    """Told of what an optimizer does. Each method may do nothing."""

    def pass_started(self, pass_: Any, fgraph: FunctionGraph) -> None:
        """Called before a pass."""

    def pass_finished(self, pass_: Any, fgraph: FunctionGraph, seconds: float) -> None:
        """Called after a pass."""

    def rule_applied(
        self, name: str, node: Apply, old: Variable, new: Variable, seconds: float
    ) -> None:
        """Called after `old`, an output of `node`, was replaced by `new`.

        `seconds` is the time of matching, building and replacing. The graph of `old` can still
        be followed through its owner, though its Applys may have left the FunctionGraph.
        """

    def rule_tried(self, name: str, node: Apply, seconds: float) -> None:
        """Called after a rule had nothing to do for `node`."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers = tuple(observers)

    def pass_started(self, pass_: Any, fgraph: FunctionGraph) -> None:
        for observer in self.observers:
            observer.pass_started(pass_, fgraph)

    def pass_finished(self, pass_: Any, fgraph: FunctionGraph, seconds: float) -> None:
        for observer in self.observers:
            observer.pass_finished(pass_, fgraph, seconds)

    def rule_applied(
        self, name: str, node: Apply, old: Variable, new: Variable, seconds: float
    ) -> None:
        for observer in self.observers:
            observer.rule_applied(name, node, old, new, seconds)

    def rule_tried(self, name: str, node: Apply, seconds: float) -> None:
        for observer in self.observers:
            observer.rule_tried(name, node, seconds)


class Replacement(NamedTuple):
    """One line of a rewrite trace."""

    pass_name: str
    rule: str
    old: str
    """The Apply whose output was replaced."""
    new: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.rule}: {self.old} -> {self.new}"


class RewriteTrace(Observer):
    """The list of replacements, in order.

    Parameters
    ----------
    file : text file, optional
        Where each is printed as it happens.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.replacements: list[Replacement] = []
        self._file = file
        self._pass = ""

    def pass_started(self, pass_: Any, fgraph: FunctionGraph) -> None:
        self._pass = pass_.name

    def rule_applied(
        self, name: str, node: Apply, old: Variable, new: Variable, seconds: float
    ) -> None:
        made = str(new) if new.owner is None else str(new.owner)
        line = Replacement(self._pass, name, str(node), made, seconds)
        self.replacements.append(line)
        if self._file is not None:
            print(line, file=self._file)


@dataclass
class Cost:
    """What a pass or a rule has cost."""

    calls: int = 0
    """Passes run; Applys on which the rule was tried."""
    replacements: int = 0
    seconds: float = 0.0


class RewriteProfile(Observer):
    """Time and counts by pass and by (pass, rule).

    Attributes
    ----------
    passes : dict from pass name to Cost
    rules : dict from (pass name, rule name) to Cost
    """

    def __init__(self) -> None:
        self.passes: dict[str, Cost] = {}
        self.rules: dict[tuple[str, str], Cost] = {}
        self._pass = ""

    def pass_started(self, pass_: Any, fgraph: FunctionGraph) -> None:
        self._pass = pass_.name

    def pass_finished(self, pass_: Any, fgraph: FunctionGraph, seconds: float) -> None:
        cost = self.passes.setdefault(pass_.name, Cost())
        cost.calls += 1
        cost.seconds += seconds

    def rule_applied(
        self, name: str, node: Apply, old: Variable, new: Variable, seconds: float
    ) -> None:
        cost = self.rules.setdefault((self._pass, name), Cost())
        cost.calls += 1
        cost.replacements += 1
        cost.seconds += seconds
        self.passes.setdefault(self._pass, Cost()).replacements += 1

    def rule_tried(self, name: str, node: Apply, seconds: float) -> None:
        cost = self.rules.setdefault((self._pass, name), Cost())
        cost.calls += 1
        cost.seconds += seconds
