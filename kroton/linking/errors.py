"""Errors at call time: which Apply, on what, written where. Assembled only after a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton import scalar
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.trace import Trace, format_trace
from kroton.tensor.elemwise import Elemwise


def explain(error: BaseException, node: Apply, inputs: Sequence[Any]) -> None:
    """Add to `error` what a person needs to find the mistake.

    The Apply, its inputs' types, shapes, strides and small values, and the user's source lines
    where the Apply was made; under `config.exception_verbosity='high'` also the graph around
    the Apply and statistics of the values.
    """
    if getattr(error, "_kroton_explained", False):
        return
    text = describe(node, inputs)
    if (
        isinstance(error, Exception)
        and not isinstance(error, KeyError)
        and len(error.args) == 1
        and isinstance(error.args[0], str)
    ):
        error.args = (f"{error.args[0]}\n{text}",)
    else:
        error.add_note(text)
    try:
        error._kroton_explained = True  # type: ignore[attr-defined]
    except AttributeError:
        return


def describe(node: Apply, inputs: Sequence[Any]) -> str:
    """A paragraph on one Apply and the values of its inputs."""
    lines = [f"Apply node that caused the error: {node}"]
    clash = misfit(node, inputs)
    if clash is not None:
        lines.append(f"It computes {clash.expression}, of operands with the shapes {clash.shapes}")
    lines.append(f"Inputs types: {[v.type for v in node.inputs]}")
    lines.append(f"Inputs shapes: {[_shape(x) for x in inputs]}")
    lines.append(f"Inputs strides: {[_strides(x) for x in inputs]}")
    lines.append(f"Inputs values: {[_value(x) for x in inputs]}")
    where = format_trace(node.trace if clash is None else clash.trace)
    if where:
        what = "The Apply" if clash is None else f"This {clash.name}"
        lines.append(f"{what} was made here (outermost call first):")
        lines.append(where)
    else:
        for v in node.inputs:
            where = format_trace(v.trace)
            if where:
                lines.append(f"Its input {v} was made here (outermost call first):")
                lines.append(where)
                break
    if config.exception_verbosity == "high":
        from kroton.printing import debugprint

        lines.append("The graph around the Apply:")
        lines.append(debugprint(list(node.outputs), depth=4, print_type=True, file="str"))
        for v, x in zip(node.inputs, inputs):
            if isinstance(x, np.ndarray) and x.size and x.dtype.kind in "iuf":
                lines.append(
                    f"{v}: min {x.min()}, max {x.max()}, "
                    f"{int(np.isnan(x).sum()) if x.dtype.kind == 'f' else 0} NaN"
                )
    else:
        lines.append(
            "HINT: config.exception_verbosity='high' shows the graph; mode='FAST_COMPILE' or "
            "optimizer=None keeps the Applys as they were written."
        )
    return "\n".join(lines)


def _shape(x: Any) -> Any:
    return getattr(x, "shape", "no shape")


def _strides(x: Any) -> Any:
    return getattr(x, "strides", "no strides")


def _value(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.tolist() if x.size <= 5 else "not shown"
    text = repr(x)
    return text if len(text) <= 60 else "not shown"


@dataclass(frozen=True)
class Misfit:
    """An elementwise operation whose operands do not fit, which a fused Apply may be made of."""

    name: str
    expression: str
    """With the names of what it is computed from."""
    shapes: str
    trace: Trace
    """Where the user wrote it."""


def misfit(node: Apply, inputs: Sequence[Any]) -> Misfit | None:
    """The first operation of an elementwise Apply whose operands' extents do not agree."""
    op = node.op
    if not isinstance(op, Elemwise) or not all(isinstance(x, np.ndarray) for x in inputs):
        return None
    # Extents, None where they stretch, and the expression, of each register.
    extents = [
        tuple(None if s == 1 else n for s, n in zip(v.type.shape, x.shape))
        for v, x in zip(node.inputs, inputs)
    ]
    texts = [_named(v) for v in node.inputs]
    if isinstance(op.scalar_op, scalar.Composite):
        steps = [(step.op.name, step.inputs) for step in op.scalar_op.instructions]
    else:
        steps = [(op.scalar_op.name, tuple(range(len(inputs))))]
    traces = getattr(node.tag, "traces", ())
    for k, (name, operands) in enumerate(steps):
        expression = _shortened(f"{name}({', '.join(texts[i] for i in operands)})")
        result: list[int | None] = []
        for d in range(-max(len(extents[i]) for i in operands), 0):
            here = {extents[i][d] for i in operands if len(extents[i]) >= -d} - {None}
            if len(here) > 1:
                shapes = [tuple(1 if n is None else n for n in extents[i]) for i in operands]
                trace = traces[k] if k < len(traces) else node.trace
                return Misfit(name, expression, " and ".join(map(str, shapes)), trace)
            result.append(next(iter(here), None))
        extents.append(tuple(result))
        texts.append(expression)
    return None


def _named(v: Variable, depth: int = 2) -> str:
    if isinstance(v, Constant) and np.ndim(v.data) == 0:
        return str(v.data)
    if depth and v.name is None and v.owner is not None and isinstance(v.owner.op, Elemwise):
        scalar_op = v.owner.op.scalar_op
        if not isinstance(scalar_op, scalar.Composite):
            return f"{scalar_op.name}({', '.join(_named(x, depth - 1) for x in v.owner.inputs)})"
    return str(v)


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else text[:57] + " ... " + text[-57:]
