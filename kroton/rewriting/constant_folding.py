"""Constant folding: what depends on nothing is computed while compiling."""

from __future__ import annotations

from math import prod
from typing import Any

from kroton.graph.basic import Apply, Constant
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.engine import ANY
from kroton.rewriting.phases import canonicalize
from kroton.tensor.type import TensorType

LIMIT = 65_536
"""Larger results are kept as expressions, unless the inputs are as large."""


@canonicalize.rewriter(ANY, name="constant_folding", depth=1)
def constant_folding(fgraph: FunctionGraph, node: Apply) -> list[Any] | None:
    """The values of an Apply whose inputs are all constants.

    Where `perform` raises, the expression stays: its error belongs to the call.
    """
    for var in node.inputs:
        if not isinstance(var, Constant):
            return None
    op = node.op
    if op.destroy_map or not op.do_constant_folding(node):
        return None
    given = sum(getattr(var.data, "size", 1) for var in node.inputs)
    for out in node.outputs:
        if not isinstance(out.type, TensorType):
            return None
        extents: Any = out.type.shape
        if None not in extents and prod(extents) > max(LIMIT, given):
            return None
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    try:
        op.perform(node, [var.data for var in node.inputs], storage)
    except Exception:
        return None
    if sum(cell[0].size for cell in storage) > max(LIMIT, given):
        return None
    folded = []
    for out, (value,) in zip(node.outputs, storage):
        type_ = TensorType(out.type.dtype, value.shape)
        # The result may be a view of an input; a constant's own memory is its own.
        folded.append(type_.make_constant(value.copy()))
    return folded
