"""Features: listeners on the changes of a FunctionGraph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kroton.graph.basic import Apply, Variable
    from kroton.graph.fg import FunctionGraph


class AlreadyThere(Exception):
    """Raised by `on_attach` when the graph has an equivalent feature."""


class Feature:
    """Told of every change of a FunctionGraph it is attached to. Each method may do nothing."""

    def on_attach(self, fgraph: FunctionGraph) -> None:
        """Called when attached; may raise AlreadyThere."""

    def on_detach(self, fgraph: FunctionGraph) -> None:
        """Called when removed."""

    def on_import(self, fgraph: FunctionGraph, node: Apply, reason: str | None) -> None:
        """Called after `node` has become part of the graph."""

    def on_prune(self, fgraph: FunctionGraph, node: Apply, reason: str | None) -> None:
        """Called after `node` has been dropped because nobody uses it."""

    def on_change_input(
        self, fgraph: FunctionGraph, node: Apply | str, i: int, old: Variable, new: Variable,
        reason: str | None,
    ) -> None:  # fmt: skip
        """Called after input `i` of `node` (or output `i`, for "output") went from old to new."""

    def orderings(self, fgraph: FunctionGraph) -> Mapping[Apply, Sequence[Apply]]:
        """What must be executed before an Apply, beside what it depends on."""
        return {}

    def validate(self, fgraph: FunctionGraph) -> None:
        """Raise InconsistencyError if the graph is not in order."""
