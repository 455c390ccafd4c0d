"""What DebugMode raises. Each error says what disagreed, by how much, where, on which inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kroton.graph.basic import Apply, Variable
from kroton.graph.trace import format_trace
from kroton.linking.comparison import difference
from kroton.linking.operations import first_that_gives
from kroton.printing import debugprint


class DebugModeError(Exception):
    """Something DebugMode found wrong with a kernel, an Op, a rule or a value."""

    node: Apply | None = None
    path: str | None = None


def around(node: Apply, depth: int = 3) -> str:
    """The shortest graph around an Apply, with types."""
    text: str = debugprint(list(node.outputs), depth=depth, print_type=True, file="str")
    return text.rstrip()


MADE_BY_A_REWRITE = "made by a rewrite"


def source_lines(node: Apply) -> str:
    """Where the user made the Apply, or the nearest of its ancestors that tells."""
    where = format_trace(node.trace)
    if where:
        return f"made here (outermost call first):\n{where}"
    for v in node.inputs:
        where = format_trace(v.trace)
        if where:
            return f"input {v} was made here (outermost call first):\n{where}"
    return MADE_BY_A_REWRITE


def report(node: Apply, problem: str, inputs: Sequence[Any] = (), hint: str = "") -> str:
    """The body of a message: the problem, the Apply, its inputs, its graph and its source."""
    lines = [problem, f"Apply: {node}"]
    for k, (v, x) in enumerate(zip(node.inputs, inputs)):
        lines.append(f"  input {k}: {v} of {v.type}, {_summary(x)}")
    lines.append("Graph:")
    lines.append(around(node))
    lines.append(source_lines(node))
    if hint:
        lines.append(hint)
    return "\n".join(lines)


def _summary(x: Any) -> str:
    shape, strides = getattr(x, "shape", None), getattr(x, "strides", None)
    if shape is None:
        return repr(x)[:80]
    text = f"shape {shape}, strides {strides}"
    if x.size and x.size <= 10:
        text += f", values {x.tolist()}"
    elif x.size and x.dtype.kind in "biuf":
        text += f", from {x.min()} to {x.max()}"
    return text


class BadThunkOutput(DebugModeError):
    """A kernel and `perform` disagree, or two runs of one of them do.

    Attributes
    ----------
    r : Variable
        The output.
    thunk1, thunk2 : str
        What computed `val1` and `val2`.
    inputs_val : sequence
    """

    def __init__(
        self, r: Variable, thunk1: str, val1: Any, thunk2: str, val2: Any,
        inputs_val: Sequence[Any] = (), hint: str = "",
    ) -> None:  # fmt: skip
        self.r, self.thunk1, self.val1 = r, thunk1, val1
        self.thunk2, self.val2, self.inputs_val = thunk2, val2, inputs_val
        self.node = r.owner
        if isinstance(val2, Exception):
            problem = f"output {r.index}: {thunk1} gives a value, {thunk2} raised {val2!r}"
        else:
            how = difference(val1, val2)
            problem = f"output {r.index} differs between {thunk1} and {thunk2}{how}"
        assert r.owner is not None
        super().__init__(report(r.owner, problem, inputs_val, hint))

    def offending_op(self) -> Any:
        """The Op that computed the value."""
        assert self.r.owner is not None
        return self.r.owner.op


BadCLinkerOutput = BadThunkOutput


class BadOptimization(DebugModeError):
    """A Variable and what a rule put in its place take different values.

    Attributes
    ----------
    old_r, new_r : Variable
    old_r_val, new_r_val : values
        The second is the exception if there is none.
    reason : str
        The name of the rule.
    old_graph, new_graph : str
        Both graphs as they were when the rule fired.
    """

    def __init__(
        self, old_r: Variable, new_r: Variable, old_r_val: Any, new_r_val: Any, reason: Any,
        old_graph: str, new_graph: str, graph_inputs: Sequence[tuple[Variable, Any]] = (),
    ) -> None:  # fmt: skip
        self.old_r, self.new_r = old_r, new_r
        self.old_r_val, self.new_r_val = old_r_val, new_r_val
        self.reason, self.old_graph, self.new_graph = reason, old_graph, new_graph
        self.node = old_r.owner
        lines = [f"rule {reason!r} replaced {old_r} by {new_r}, "]
        if isinstance(new_r_val, Exception):
            lines[0] += f"which cannot be computed: {new_r_val!r}"
            lines.append(f"old value: {_shown(old_r_val)}")
        else:
            lines[0] += f"and their values differ{difference(old_r_val, new_r_val)}"
            lines += [f"old value: {_shown(old_r_val)}", f"new value: {_shown(new_r_val)}"]
        lines.extend(f"  where {v} ({v.type}) is {_summary(x)}" for v, x in graph_inputs)
        lines += ["graph before:", old_graph.rstrip(), "graph after:", new_graph.rstrip()]
        if old_r.owner is not None:
            lines.append(source_lines(old_r.owner))
        lines.append(
            f"to go on without the rule: mode.excluding({reason!r}) "
            f"or config.optimizer_excluding={reason!r}"
        )
        super().__init__("\n".join(lines))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:100] + " ... " + text[-97:]


class BadDestroyMap(DebugModeError):
    """An input changed that `destroy_map` does not announce; `old_val` is None where it was not
    kept."""

    def __init__(
        self, node: Apply, idx: int, old_val: Any, new_val: Any, perform: str,
        inputs: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.node, self.idx = node, idx
        self.old_val, self.new_val, self.perform = old_val, new_val, perform
        self.inputs = list(inputs)
        how = "" if old_val is None else difference(old_val, new_val)
        super().__init__(
            report(
                node,
                f"{perform} changed input {idx} ({node.inputs[idx]}), which destroy_map "
                f"{dict(node.op.destroy_map)} does not announce{how}",
                inputs,
                hint="announce it in destroy_map, or work on a copy",
            )
        )


class BadInplace(DebugModeError):
    """An Apply overwrites what it must not: an argument, a constant, an output, or a value that
    is read later."""


class BadViewMap(DebugModeError):
    """An output shares memory with an input or another output in a way that `view_map` does not
    announce, with itself, or with what an earlier run gave."""

    def __init__(
        self, node: Apply, output_idx: int, out_storage: Any, in_alias_idx: Any = None,
        out_alias_idx: Any = None, perform: str = "perform", inputs: Sequence[Any] = (),
        problem: str = "",
        hint: str = "announce it in view_map (of one output only), or return a copy",
    ) -> None:  # fmt: skip
        self.node, self.output_idx, self.out_storage = node, output_idx, out_storage
        self.in_alias_idx, self.out_alias_idx = in_alias_idx, out_alias_idx
        other = (
            f"input(s) {in_alias_idx}" if in_alias_idx is not None else f"output(s) {out_alias_idx}"
        )
        problem = problem or (
            f"output {output_idx} of {perform} shares memory with {other}, which view_map "
            f"{dict(node.op.view_map)} does not announce"
        )
        super().__init__(report(node, problem, inputs, hint))


class StochasticOrder(DebugModeError):
    """Optimizing the same graph again gives another sequence of replacements."""


class BadRule(DebugModeError):
    """A rule raises, makes a cycle, or is undone by another without end."""


class InvalidValueError(DebugModeError):
    """A value that its Variable's Type refuses, or one that is not finite."""

    def __init__(
        self, r: Variable, v: Any = None, client_node: Apply | None = None, hint: str = "",
        specific_hint: str = "", inputs: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.r, self.v, self.client_node = r, v, client_node
        self.hint, self.specific_hint = hint, specific_hint
        self.node = r.owner
        problem = f"{hint or 'invalid value'} for {r} of {r.type}: {specific_hint}\n  {_summary(v)}"
        if r.owner is not None:
            super().__init__(report(r.owner, problem, inputs))
        else:
            where = format_trace(r.trace)
            super().__init__(problem + (f"\nmade here:\n{where}" if where else ""))

    def name_operation(
        self, node: Apply, inputs: Sequence[Any], bad: Callable[[np.ndarray], bool]
    ) -> None:
        """If the Apply is fused, say which of its operations first gives a bad value."""
        first = first_that_gives(node, inputs, bad)
        if first is not None:
            text = f"{self.args[0]}\nThe first of its operations to give one is {first.expression}"
            where = format_trace(first.trace)
            self.args = (text + (f", made here:\n{where}" if where else ""),)


class BadInferShape(DebugModeError):
    """`infer_shape` and the value's shape differ."""


class BadBuffer(DebugModeError):
    """A kernel or `perform` goes wrong with a legal but unusual buffer or layout, reads memory
    that nobody has written, or writes beside its output."""


class BadGradient(DebugModeError):
    """An Op's gradient and finite differences disagree (`check_gradients`)."""
