"""What the gradients of textbook formulas leave behind, as somebody who knows them writes it."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import ancestors
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import stabilize
from kroton.rewriting.shape import extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.crossentropy import (
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import Softmax
from kroton.tensor.reduction import CAReduce
from kroton.tensor.shape import Shape_i

T: Any = kroton.tensor


@stabilize.rewriter(Softmax, name="softmax_beside_crossentropy", depth=1)
def softmax_beside_crossentropy(fgraph: FunctionGraph, node: Apply) -> Any:
    """A softmax whose crossentropy is computed as well comes with that."""
    (x,) = node.inputs
    if node.op.axis != 1 or x.type.ndim != 2:
        return None
    for client, _ in fgraph.variables[x]:
        if client == "output" or type(client.op) is not CrossentropySoftmaxArgmax1Hot:
            continue
        if node.outputs[0] not in ancestors([client.inputs[1]]):
            return client.outputs[1]
    return None


@stabilize.rewriter(CAReduce, name="sum_of_crossentropy_gradient")
def sum_of_crossentropy_gradient(fgraph: FunctionGraph, node: Apply) -> Any:
    """What a crossentropy of a softmax passes back sums to zero along each row."""
    (x,) = node.inputs
    if x.owner is None or type(x.owner.op) is not CrossentropySoftmax1HotGrad:
        return None
    if node.op.scalar_op != scalar.add or 1 not in node.op.axis:
        return None
    kept = [extent(fgraph, x, d) for d in range(x.type.ndim) if d not in node.op.axis]
    return T.alloc(T.constant(0, dtype=node.outputs[0].type.dtype), *kept)


@stabilize.rewriter(CAReduce, name="sum_of_centred", depth=6)
def sum_of_centred(fgraph: FunctionGraph, node: Apply) -> Any:
    """sum((x - mean(x)) * c) is zero, with c constant along the axis of sum and mean."""
    (summed,) = node.inputs
    axes = node.op.axis
    if node.op.scalar_op != scalar.add or len(axes) != 1:
        return None
    ndim = summed.type.ndim
    factors, centred = [summed], 0
    while factors:
        factor = factors.pop()
        if len(factors) > 24:
            return None
        place = axes[0] - (ndim - factor.type.ndim)
        if place < 0 or factor.type.shape[place] == 1:
            continue
        name = _name(factor)
        if name in ("mul", "neg"):
            factors.extend(factor.owner.inputs)
        elif name == "true_div":
            above, below = factor.owner.inputs
            factors.append(above)
            place = axes[0] - (ndim - below.type.ndim)
            if not (place < 0 or below.type.shape[place] == 1):
                return None
        elif name == "sub" and factor.type.ndim == ndim:
            x, m = factor.owner.inputs
            if x.type.ndim != ndim or not _is_mean(fgraph, m, x, axes):
                return None
            centred += 1
        else:
            return None
    if centred != 1:
        return None
    kept = [extent(fgraph, summed, d) for d in range(ndim) if d not in axes]
    return T.alloc(T.constant(0, dtype=node.outputs[0].type.dtype), *kept)


def _name(var: Variable) -> str:
    node = var.owner
    if node is None or type(node.op) is not Elemwise:
        return ""
    return str(node.op.name)


def _is_mean(fgraph: FunctionGraph, m: Variable, x: Variable, axes: tuple[int, ...]) -> bool:
    """Whether `m`, without or with the dimension put back, is the mean of `x` over `axes`."""
    if _name(m) != "true_div":
        node = m.owner
        if node is None or type(node.op) is not DimShuffle:
            return False
        m = node.inputs[0]
        if _name(m) != "true_div" or not _spreads(node.op.new_order, x.type.ndim, axes):
            return False
        total, count = m.owner.inputs  # type: ignore[union-attr]
    else:
        total, count = m.owner.inputs  # type: ignore[union-attr]
        node = total.owner
        if node is not None and type(node.op) is DimShuffle:
            if not _spreads(node.op.new_order, x.type.ndim, axes):
                return False
            total = node.inputs[0]
        elif axes != (0,):
            return False
    node = total.owner
    return (
        node is not None
        and type(node.op) is CAReduce
        and node.op.scalar_op == scalar.add
        and node.op.axis == axes
        and node.inputs[0] is x
        and _is_extent(fgraph, count, x, axes[0])
    )


def _spreads(order: tuple[Any, ...], ndim: int, axes: tuple[int, ...]) -> bool:
    """Whether a DimShuffle puts back the reduced dimensions where they were."""
    whole = ("x",) * (ndim - len(order)) + order
    remaining = iter(range(ndim))
    return whole == tuple("x" if d in axes else next(remaining) for d in range(ndim))


def _is_extent(fgraph: FunctionGraph, count: Variable, x: Variable, d: int) -> bool:
    """Whether `count` is extent `d` of `x`."""
    while _name(count).startswith("cast") or (
        count.owner is not None and type(count.owner.op) is DimShuffle
    ):
        count = count.owner.inputs[0]  # type: ignore[union-attr]
    if count.type.ndim and not all(count.type.broadcastable):
        return False
    found = extent(fgraph, x, d)
    if isinstance(found, int):
        value = uniform_value(count)
        return value is not None and bool(value == found)
    if found is count:
        return True
    a, b = found.owner, count.owner
    return (
        a is not None
        and b is not None
        and type(a.op) is Shape_i
        and a.op == b.op
        and a.inputs[0] is b.inputs[0]
    )
