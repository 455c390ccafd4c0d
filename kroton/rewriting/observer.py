"""Observers of rewriting: what ProfileMode, DebugMode and rewrite traces listen to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from kroton.printing import outline

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


class Replacement(NamedTuple):
    """One line of a rewrite trace."""

    pass_name: str
    rule: str
    old: str
    """The expression that was replaced; `...` stands for what is far from its root."""
    new: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.pass_name}: {self.rule}: {self.old} -> {self.new}"


_SHOWN = 15
"""How many rules the text of a trace lists one by one."""


class RewriteTrace(Observer):
    """The list of replacements, in order; its text has the time of each pass and rule, too.

    Parameters
    ----------
    file : text file, optional
        Where each is printed as it happens.

    Attributes
    ----------
    replacements : list of Replacement
    profile : RewriteProfile
        What each pass and rule has cost, with the Applys on which nothing was to be done.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self.replacements: list[Replacement] = []
        self.profile = RewriteProfile()
        self._file = file
        self._pass = ""

    def pass_started(self, pass_: Any, fgraph: FunctionGraph) -> None:
        self._pass = pass_.name
        self.profile.pass_started(pass_, fgraph)

    def pass_finished(self, pass_: Any, fgraph: FunctionGraph, seconds: float) -> None:
        self.profile.pass_finished(pass_, fgraph, seconds)

    def rule_tried(self, name: str, node: Apply, seconds: float) -> None:
        self.profile.rule_tried(name, node, seconds)

    def rule_applied(
        self, name: str, node: Apply, old: Variable, new: Variable, seconds: float
    ) -> None:
        self.profile.rule_applied(name, node, old, new, seconds)
        was, made = outline(old), outline(new)
        if was == made:  # the same mathematics by another Op, as for results in place
            was, made = str(node.op), str(new if new.owner is None else new.owner.op)
        line = Replacement(self._pass, name, was, made, seconds)
        self.replacements.append(line)
        if self._file is not None:
            print(line, file=self._file)

    def __str__(self) -> str:
        """The replacements pass by pass, then what the slowest rules took."""
        lines = []
        for name, cost in self.profile.passes.items():
            lines.append(f"{name}: {cost.replacements} replacements, {1e3 * cost.seconds:.2f} ms")
            for line in self.replacements:
                if line.pass_name != name:
                    continue
                lines.append(f"  {1e6 * line.seconds:6.0f} us  {line.rule}")
                lines.append(f"             {line.old}  ->  {line.new}")
        lines += ["", "   time us  tried  replaced  rule"]
        rules = sorted(self.profile.rules.items(), key=lambda item: -item[1].seconds)
        for (pass_name, rule), cost in rules[:_SHOWN]:
            counts = f"{1e6 * cost.seconds:10.0f} {cost.calls:6} {cost.replacements:9}"
            lines.append(f"{counts}  {pass_name}: {rule}")
        rest = [cost for _, cost in rules[_SHOWN:]]
        if rest:
            counts = f"{1e6 * sum(c.seconds for c in rest):10.0f} {sum(c.calls for c in rest):6}"
            replaced = sum(c.replacements for c in rest)
            lines.append(f"{counts} {replaced:9}  {len(rest)} more rules")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{len(self.replacements)} replacements in {len(self.profile.passes)} passes>"
