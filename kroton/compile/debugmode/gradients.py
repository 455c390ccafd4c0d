"""Checking an Op's gradient on the values of one Apply (`check_gradients`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kroton.compile.debugmode.errors import BadGradient, report
from kroton.graph.basic import Apply
from kroton.graph.evaluation import interpret
from kroton.graph.nulltype import DisconnectedType, NullType
from kroton.tensor.type import TensorType


def check_gradient(node: Apply, inputs: Sequence[Any]) -> None:
    """Compare `L_op` with central differences along a random direction.

    Only real floating-point Applys are checked, and only where both sides are finite: at a kink
    the two may differ, so a disagreement counts if it persists for two step sizes and both of
    their one-sided slopes agree with each other.

    Raises
    ------
    BadGradient
        If they differ by more than a thousandth of the larger.
    """
    floats = [
        k
        for k, v in enumerate(node.inputs)
        if isinstance(v.type, TensorType) and v.type.dtype in ("float32", "float64")
    ]
    if not floats or any(
        not isinstance(r.type, TensorType) or r.type.dtype not in ("float32", "float64")
        for r in node.outputs
    ):
        return
    rng = np.random.default_rng(0)
    cotangents = [r.type.make_variable() for r in node.outputs]
    gradients = node.op.L_op(node.inputs, node.outputs, cotangents)
    connected = [
        k for k in floats if not isinstance(gradients[k].type, (DisconnectedType, NullType))
    ]
    if not connected:
        return

    def outputs_at(point: Sequence[Any]) -> list[np.ndarray]:
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        node.op.perform(node, [x.copy() for x in point], storage)
        return [np.asarray(cell[0], dtype="float64") for cell in storage]

    here = outputs_at(inputs)
    weights = [np.asarray(rng.uniform(0.5, 1.5, r.shape)) for r in here]
    given = [w.astype(v.type.dtype) for w, v in zip(weights, node.outputs)]
    found = interpret([*node.inputs, *cotangents], [gradients[k] for k in connected])(
        *[x.copy() for x in inputs], *given
    )

    def cost(point: Sequence[Any]) -> float:
        return float(sum((w * r).sum() for w, r in zip(weights, outputs_at(point))))

    for k, gradient in zip(connected, found):
        if inputs[k].size == 0:
            continue
        single = node.inputs[k].type.dtype == "float32"
        direction = rng.choice([-1.0, 1.0], inputs[k].shape) * rng.uniform(0.5, 1, inputs[k].shape)
        scale = max(1.0, float(np.abs(inputs[k]).max()))
        slope = float((gradient.astype("float64") * direction).sum())
        disagreements = []
        for step in (3e-3, 1e-3) if single else (1e-5, 1e-6):
            ahead, behind = list(inputs), list(inputs)
            ahead[k] = (inputs[k] + step * scale * direction).astype(inputs[k].dtype)
            behind[k] = (inputs[k] - step * scale * direction).astype(inputs[k].dtype)
            right = (cost(ahead) - cost(inputs)) / (step * scale)
            left = (cost(inputs) - cost(behind)) / (step * scale)
            size = max(abs(slope), abs(right), abs(left), 1e-2)
            tolerance = (5e-2 if single else 1e-3) * size
            smooth = abs(right - left) <= tolerance
            numeric = (right + left) / 2
            finite = np.isfinite([slope, right, left]).all()
            disagreements.append(finite and smooth and abs(numeric - slope) > tolerance)
        if all(disagreements):
            raise BadGradient(
                report(
                    node,
                    f"along a random direction of input {k}, L_op gives the slope {slope:.6g}, "
                    f"finite differences give {numeric:.6g}",
                    inputs,
                )
            )
