"""The operations of an elementwise Apply, one by one: which of them is at fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.trace import Trace
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction


@dataclass(frozen=True)
class Operation:
    """One step of an elementwise Apply, which is several where it is fused."""

    op: scalar.ScalarOp
    operands: tuple[int, ...]
    """The registers that it reads; the first are the Apply's inputs, then one of each step."""
    expression: str
    """With the names of what it is computed from."""
    trace: Trace
    """Where the user wrote it."""


def operations(node: Apply) -> list[Operation]:
    """The steps of an elementwise Apply, reduced or not; none of any other."""
    if not isinstance(node.op, (Elemwise, FusedReduction)):
        return []
    texts = [_named(v) for v in node.inputs]
    whole: Any = node.op.program if isinstance(node.op, FusedReduction) else node.op.scalar_op
    if isinstance(whole, scalar.Composite):
        steps = [(step.op, step.inputs) for step in whole.instructions]
    else:
        steps = [(whole, tuple(range(len(texts))))]
    traces = getattr(node.tag, "traces", ())
    found = []
    for k, (op, operands) in enumerate(steps):
        text = _shortened(f"{op.name}({', '.join(texts[i] for i in operands)})")
        found.append(Operation(op, operands, text, traces[k] if k < len(traces) else node.trace))
        texts.append(text)
    return found


@dataclass(frozen=True)
class Misfit:
    """An operation whose operands do not fit."""

    operation: Operation
    shapes: str
    """Of the operands; an extent that stretches is 1."""


def misfit(node: Apply, inputs: Sequence[Any]) -> Misfit | None:
    """The first operation of an elementwise Apply whose operands' extents do not agree."""
    steps = operations(node)
    if not all(isinstance(x, np.ndarray) for x in inputs):
        return None
    extents = [  # of each register, None where they stretch
        tuple(None if s == 1 else n for s, n in zip(v.type.shape, x.shape))
        for v, x in zip(node.inputs, inputs)
    ]
    for step in steps:
        operands = [extents[i] for i in step.operands]
        result: list[int | None] = []
        for d in range(-max(len(e) for e in operands), 0):
            here = {e[d] for e in operands if len(e) >= -d} - {None}
            if len(here) > 1:
                shapes = [tuple(1 if n is None else n for n in e) for e in operands]
                return Misfit(step, " and ".join(map(str, shapes)))
            result.append(next(iter(here), None))
        extents.append(tuple(result))
    return None


def first_that_gives(
    node: Apply, inputs: Sequence[Any], bad: Callable[[np.ndarray], bool]
) -> Operation | None:
    """The first operation of a fused Apply with a `bad` result; None if it has but one."""
    steps = operations(node)
    if len(steps) < 2:
        return None
    registers = list(inputs)
    with np.errstate(all="ignore"):
        for step in steps:
            value = np.asarray(step.op.impl(*[registers[i] for i in step.operands]))
            if bad(value):
                return step
            registers.append(value)
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
