"""Dimensions in another order: what a DimShuffle has reordered, and how to do it again."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Variable
from kroton.tensor.dimshuffle import DimShuffle

T: Any = kroton.tensor


def permutation(v: Variable) -> tuple[int, ...] | None:
    """The order in which `v` has all the dimensions of another Variable; None if in theirs."""
    node = v.owner
    if node is None or type(node.op) is not DimShuffle or "x" in node.op.new_order:
        return None
    order: tuple[int, ...] = node.op.new_order
    return order if len(order) == node.inputs[0].type.ndim else None


def in_order(v: Any) -> Any:
    """What a DimShuffle has reordered to make `v`; `v` itself if none has."""
    node = v.owner
    return node.inputs[0] if node is not None and type(node.op) is DimShuffle else v


def reordered_as(v: Any, result: Any) -> Any:
    """`result`, of the shape of `in_order(v)`, with its dimensions as `v` has them."""
    node = v.owner
    if node is None or type(node.op) is not DimShuffle:
        return result
    return T.dimshuffle(result, node.op.new_order)
