"""Errors at call time: which Apply, on what, written where. Assembled only after a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.trace import format_trace
from kroton.linking.operations import misfit


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
        lines.append(
            f"It computes {clash.operation.expression}, of operands with the shapes {clash.shapes}"
        )
    lines.append(f"Inputs types: {[v.type for v in node.inputs]}")
    lines.append(f"Inputs shapes: {[_shape(x) for x in inputs]}")
    lines.append(f"Inputs strides: {[_strides(x) for x in inputs]}")
    lines.append(f"Inputs values: {[_value(x) for x in inputs]}")
    where = format_trace(node.trace if clash is None else clash.operation.trace)
    if where:
        what = "The Apply" if clash is None else f"This {clash.operation.op.name}"
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
