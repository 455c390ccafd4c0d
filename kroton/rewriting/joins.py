"""Joins: of joins, of one tensor, of nothing, and what is reduced after them."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import same_extent, with_extent
from kroton.rewriting.pattern import elemwise_of
from kroton.rewriting.phases import canonicalize
from kroton.rewriting.shape import extent
from kroton.tensor.joining import Join
from kroton.tensor.reduction import CAReduce

T: Any = kroton.tensor


@canonicalize.rewriter(Join, name="join_of_joins")
def join_of_joins(fgraph: FunctionGraph, node: Apply) -> Any:
    """Joins along one dimension are one, without what has no elements."""
    axis = node.op.axis
    users = fgraph.variables[node.outputs[0]]
    if len(users) == 1 and all(user != "output" and user.op == node.op for user, _ in users):
        # The whole is looked at from there.
        return None
    pieces: list[Any] = []
    stack = node.inputs[::-1]
    while stack:
        v = stack.pop()
        inner = v.owner
        if inner is not None and inner.op == node.op and len(fgraph.variables[v]) == 1:
            stack.extend(inner.inputs[::-1])
        else:
            pieces.append(v)
    # Where its other extents are not known, an empty tensor has to be compared too.
    full = [
        v
        for v in pieces
        if v.type.shape[axis] != 0 or None in (e for d, e in enumerate(v.type.shape) if d != axis)
    ]
    others = {e for d, e in enumerate(node.outputs[0].type.shape) if d != axis}
    if full and None not in others:
        pieces = full
    if len(pieces) == 1:
        return pieces[0]
    return node.op(*pieces) if pieces != node.inputs else None


@canonicalize.rewriter(CAReduce, name="reduction_of_join")
def reduction_of_join(fgraph: FunctionGraph, node: Apply) -> Any:
    """What has been joined is reduced before it is joined, or instead of that."""
    op, (joined,) = node.op, node.inputs
    inner = joined.owner
    if inner is None or type(inner.op) is not Join or len(fgraph.variables[joined]) > 1:
        return None
    axis, pieces = inner.op.axis, list(inner.inputs)
    if (
        axis in op.axis
        and op.scalar_op.name in ("maximum", "minimum")
        and any(v.type.shape[d] in (None, 0) for v in pieces for d in op.axis)
    ):
        # The extreme of nothing is an error.
        return None
    if axis in op.axis and op.acc_dtype != op.dtype:
        return None
    for d in op.axis:
        # The join checks that the extents agree.
        for k, v in enumerate(pieces[1:], 1):
            if d != axis and not same_extent(fgraph, pieces[0], d, v, d):
                pieces[k] = v = with_extent(v, d, extent(fgraph, pieces[0], d))
    if axis not in op.axis:
        return T.join(axis - sum(d < axis for d in op.axis), *map(op, pieces))
    total = op(pieces[0])
    for v in pieces[1:]:
        total = elemwise_of(op.scalar_op.name)(total, op(v))
    return total
