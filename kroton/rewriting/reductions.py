"""Canonicalization of reductions: factors and signs move out, what reduces nothing goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.emptiness import unspoilt
from kroton.rewriting.phases import canonicalize
from kroton.rewriting.shape import never_negative
from kroton.tensor.creation import Alloc
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise, cast
from kroton.tensor.reduction import CAReduce
from kroton.tensor.shape import product_of_extents

T: Any = kroton.tensor


def _without(x: Variable, axes: tuple[int, ...]) -> Any:
    """`x` without dimensions of extent 1."""
    return T.dimshuffle(x, [d for d in range(x.type.ndim) if d not in axes])


@canonicalize.rewriter(CAReduce, name="reduction_of_nothing", depth=1)
def reduction_of_nothing(fgraph: FunctionGraph, node: Apply) -> Any:
    """A reduction over no dimension, or over extents of 1, is a cast."""
    op, (x,) = node.op, node.inputs
    if op.scalar_op.name in ("and_", "or_") and x.type.dtype != "bool":
        return None
    if any(x.type.shape[d] != 1 for d in op.axis):
        return None
    return cast(cast(_without(x, op.axis), op.acc_dtype), op.dtype)


@canonicalize.rewriter(CAReduce, name="reduction_of_reduction")
def reduction_of_reduction(fgraph: FunctionGraph, node: Apply) -> Any:
    """Reductions by the same operation one after the other are one over all their axes."""
    op, (x,) = node.op, node.inputs
    inner = x.owner
    if inner is None or type(inner.op) is not CAReduce or inner.op.scalar_op != op.scalar_op:
        return None
    if not inner.op.acc_dtype == inner.op.dtype == op.acc_dtype or inner.op.neutral != op.neutral:
        return None
    if len(fgraph.variables[x]) > 1:
        return None
    (source,) = inner.inputs
    left = [d for d in range(source.type.ndim) if d not in inner.op.axis]
    axes = tuple(sorted([*inner.op.axis, *(left[d] for d in op.axis)]))
    return replace(op, axis=axes)(source)


@canonicalize.rewriter(CAReduce, name="reduction_of_dimshuffle")
def reduction_of_dimshuffle(fgraph: FunctionGraph, node: Apply) -> Any:
    """The order of the dimensions that are reduced does not matter."""
    op, (x,) = node.op, node.inputs
    inner = x.owner
    if inner is None or type(inner.op) is not DimShuffle:
        return None
    (source,) = inner.inputs
    order = inner.op.new_order
    kept = [e for d, e in enumerate(order) if d not in op.axis]
    if "x" in kept or kept != sorted(kept):
        return None
    axes = tuple(d for d in range(source.type.ndim) if d not in kept)
    return replace(op, axis=axes)(source)


@canonicalize.rewriter(CAReduce, name="sum_of_alloc")
def sum_of_alloc(fgraph: FunctionGraph, node: Apply) -> Any:
    """The sum of one value n times is n times the value."""
    op, (x,) = node.op, node.inputs
    inner = x.owner
    if op.scalar_op != scalar.add or inner is None or type(inner.op) is not Alloc:
        return None
    value, extents = inner.inputs[0], inner.inputs[1:]
    missing = len(extents) - value.type.ndim
    if any(d >= missing and value.type.shape[d - missing] != 1 for d in op.axis):
        return None
    static = x.type.shape
    if not all(static[d] is not None or never_negative(extents[d]) for d in op.axis):
        return None
    count = product_of_extents([extents[d] if static[d] is None else static[d] for d in op.axis])
    dropped = tuple(d - missing for d in op.axis if d >= missing)
    spoilt = not isinstance(count, int) and unspoilt(fgraph, value, x, op.axis) is not value
    summed = cast(_without(value, dropped), op.acc_dtype)
    if not isinstance(count, int):
        count = cast(count, op.acc_dtype)
    total = cast(summed * T.constant(count, dtype=op.acc_dtype) if isinstance(count, int)
                 else summed * count, op.dtype)  # fmt: skip
    if spoilt:
        # 1 / n is infinite where the sum is over nothing, which is 0.
        total = T.switch(T.gt(count, 0), total, T.constant(0, dtype=op.dtype))
    left = [e for d, e in enumerate(extents) if d not in op.axis]
    return T.alloc(total, *left) if left else total


@canonicalize.rewriter(CAReduce, name="sum_of_scaled")
def sum_of_scaled(fgraph: FunctionGraph, node: Apply) -> Any:
    """Signs, and factors that do not vary along the axes, move out of a sum."""
    op, (x,) = node.op, node.inputs
    inner = x.owner
    if (
        op.scalar_op != scalar.add
        or not op.axis
        or inner is None
        or type(inner.op) is not Elemwise
        or not x.type.dtype == op.acc_dtype == op.dtype
        or len(fgraph.variables[x]) > 1
    ):
        return None
    name = inner.op.name
    if name == "neg":
        return -op(inner.inputs[0])
    if name not in ("mul", "true_div"):
        return None
    a, b = inner.inputs
    ndim = x.type.ndim
    if a.type.ndim == ndim and _constant_along(b, op.axis, ndim, x):
        summed, factor = a, b
    elif name == "mul" and b.type.ndim == ndim and _constant_along(a, op.axis, ndim, x):
        summed, factor = b, a
    else:
        return None
    if summed.type.broadcastable != x.type.broadcastable:
        return None
    missing = ndim - factor.type.ndim
    factor = unspoilt(fgraph, factor, x, op.axis, divides=name == "true_div")
    factor = _without(factor, tuple(d - missing for d in op.axis if d >= missing))
    return inner.op(op(summed), factor)


def _constant_along(v: Any, axes: tuple[int, ...], ndim: int, x: Any) -> bool:
    """Whether `v` is the same all along the axes; those that it has before them vanish."""
    missing = ndim - v.type.ndim
    if any(d >= missing and v.type.shape[d - missing] != 1 for d in axes):
        return False
    # Dimensions align at the right: none that is kept may lie before one that goes.
    kept = [d for d in range(missing, ndim) if d not in axes]
    return not kept or all(d < kept[0] or d < missing or d >= missing for d in axes)
