"""Hooks: what a mode lets watch compilation and calls."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from kroton._kernels.program import Program, Timings
from kroton.graph.basic import Apply
from kroton.graph.fg import FunctionGraph


class Hook:
    """Watches the functions compiled under a mode. Override what is of interest.

    A mode without hooks runs a loop that knows nothing of them. What a hook raises ends the
    compilation or the call. Shared variables then keep their values, except where
    `call_finished` raises: the call has succeeded by then, and its updates stay.

    A hook that only wants to know times and shapes sets `needs_values` to False. If all hooks
    of a mode do, nothing is called around an Apply and nothing is copied: the Program counts into
    `function.timings` (`kroton._kernels.program.Timings`), which every function with hooks has.
    """

    needs_values: bool = True
    """Whether `before_apply` and `after_apply` are to be called, with the values."""

    def compile_started(self, fgraph: FunctionGraph, mode: Any) -> None:
        """The graph has been built and is about to be optimized."""

    def rewrite_observer(self, fgraph: FunctionGraph) -> Any:
        """Return an observer of passes and rules (`kroton.rewriting.engine.Observer`) or None."""
        return None

    def optimizer_finished(self, fgraph: FunctionGraph, mode: Any) -> None:
        """The graph has been optimized and is about to be linked."""

    def compile_finished(self, function: Any, seconds: dict[str, float]) -> None:
        """`function` is ready; `seconds` has the time of each phase."""

    def call_started(self, function: Any, inputs: Sequence[Any]) -> None:
        """`function` has been called; `inputs` are its arguments as arrays."""

    def before_apply(self, function: Any, position: int, node: Apply, inputs: list[Any]) -> None:
        """Apply `position` of the schedule is about to run on `inputs`, the very arrays."""

    def after_apply(
        self, function: Any, position: int, node: Apply, inputs: list[Any], outputs: list[Any],
        seconds: float,
    ) -> None:  # fmt: skip
        """Apply `position` has run in `seconds` (of the kernel alone).

        `inputs` are what they were before; those that the Apply writes over are copies.
        """

    def call_finished(self, function: Any, outputs: Sequence[Any], seconds: float) -> None:
        """The call has succeeded and its updates are done; `seconds` covers all of it."""

    def call_failed(self, function: Any, node: Apply | None, error: BaseException) -> None:
        """The call failed, at `node` if an Apply raised."""


def _shares(x: Any, written: Any) -> bool:
    """Whether writing over `written` may change `x`."""
    if isinstance(x, np.ndarray) and isinstance(written, np.ndarray):
        return np.may_share_memory(x, written)
    return x is written


class Observer:
    """What a Program with hooks calls: hands each event to every hook with its Apply.

    Attributes
    ----------
    hooks : tuple of Hook
        Those that need values.
    timings : Timings
        What has run how often and how long.
    """

    def __init__(self, hooks: Sequence[Hook], order: Sequence[Apply]) -> None:
        self.hooks = tuple(hook for hook in hooks if getattr(hook, "needs_values", True))
        self.order = tuple(order)
        self.destroyed = tuple(
            sorted({i for positions in node.op.destroy_map.values() for i in positions})
            for node in order
        )
        self.function: Any = None
        self.timings = Timings(len(order))

    def watch(self, program: Program) -> None:
        """Be told of each kernel of `program`, or have it count by itself if that is enough."""
        if self.hooks:
            program.observer = self
        else:
            program.timings = self.timings

    def before(self, position: int, inputs: list[Any]) -> None:
        """Tell the hooks that Apply `position` starts.

        In `inputs` what it writes over becomes a copy, for `after`: a list that is the caller's
        own, from which the kernel does not read.
        """
        for hook in self.hooks:
            hook.before_apply(self.function, position, self.order[position], inputs)
        destroyed = self.destroyed[position]
        if not destroyed:
            return
        written = [inputs[i] for i in destroyed]
        for k, x in enumerate(inputs):
            if any(_shares(x, y) for y in written):
                inputs[k] = x.copy(order="K") if isinstance(x, np.ndarray) else deepcopy(x)

    def after(self, position: int, inputs: list[Any], outputs: list[Any], seconds: float) -> None:
        """Count, and tell the hooks, that Apply `position` has run."""
        shapes = [getattr(value, "shape", None) for value in (*inputs, *outputs)]
        self.timings.add(position, seconds, shapes)
        node = self.order[position]
        for hook in self.hooks:
            hook.after_apply(self.function, position, node, inputs, outputs, seconds)
