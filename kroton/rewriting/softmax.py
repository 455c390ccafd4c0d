"""Softmax, its logarithm and the logarithm of a sum of exponentials, from their textbook forms."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import canonicalize, stabilize
from kroton.rewriting.shape import extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.softmax import Softmax, SoftmaxGrad
from kroton.tensor.reduction import CAReduce, with_axes

T: Any = kroton.tensor


def _owner(var: Variable, name: str) -> Apply | None:
    """The Apply of `var` if it is an Elemwise of that name."""
    node = var.owner
    if node is not None and type(node.op) is Elemwise and node.op.name == name:
        return node
    return None


def _undo_keepdims(var: Variable, ndim: int) -> tuple[Variable, tuple[int, ...]] | None:
    """The result of a reduction that `var` spreads over `ndim` dimensions, and over which.

    That is the result with the reduced dimensions put back, or, for leading ones, as it is.
    """
    node = var.owner
    if node is not None and type(node.op) is DimShuffle:
        order = ("x",) * (ndim - var.type.ndim) + node.op.new_order
        kept = [e for e in order if e != "x"]
        if kept != list(range(node.inputs[0].type.ndim)) or len(order) != ndim:
            return None
        return node.inputs[0], tuple(d for d, e in enumerate(order) if e == "x")
    missing = ndim - var.type.ndim
    return (var, tuple(range(missing))) if missing > 0 else None


def _sum_of_exp(total: Variable) -> tuple[Variable, tuple[int, ...]] | None:
    """x and the axes, if `total` is the sum of exp(x) over them."""
    node = total.owner
    if node is None or type(node.op) is not CAReduce or node.op.scalar_op != scalar.add:
        return None
    exponential = _owner(node.inputs[0], "exp")
    if exponential is None or node.op.dtype != node.inputs[0].type.dtype:
        return None
    x = exponential.inputs[0]
    return (x, node.op.axis) if x.type.numpy_dtype.kind == "f" else None


def _softmax_axis(x: Variable, axes: tuple[int, ...]) -> tuple[bool, int | None]:
    """Whether a softmax over these axes is one Op, and its axis."""
    if len(axes) == 1:
        return True, axes[0]
    return (len(axes) == x.type.ndim and len(axes) > 0), None


@canonicalize.rewriter("true_div", name="softmax_by_hand", depth=4, tags=("fast_run",))
def softmax_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """exp(x) / sum(exp(x))"""
    numerator, denominator = node.inputs
    exponential = _owner(numerator, "exp")
    if exponential is None:
        return None
    return softmax_for(exponential.inputs[0], denominator)


@canonicalize.rewriter("mul", name="scaled_softmax_by_hand", depth=5, tags=("fast_run",))
def scaled_softmax_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """exp(x) * (a / sum(exp(x))), as gradients have it: a * softmax(x)"""
    for exponential, factor in (node.inputs, node.inputs[::-1]):
        found = _owner(exponential, "exp")
        if found is None:
            continue
        x = found.inputs[0]
        spread = _undo_keepdims(factor, x.type.ndim)
        inner, axes = (factor, None) if spread is None else spread
        negated = _owner(inner, "neg")
        if negated is not None:
            (inner,) = negated.inputs
        quotient = _owner(inner, "true_div") or _owner(inner, "reciprocal")
        if quotient is None:
            continue
        total = quotient.inputs[-1]
        a = quotient.inputs[0] if len(quotient.inputs) == 2 else None
        if axes is not None and _sum_of_exp(total) is not None:
            if a is not None and a.type.ndim not in (0, inner.type.ndim):
                continue
            total = with_axes(total, axes)
            a = with_axes(a, axes) if a is not None and a.type.ndim else a
        result = softmax_for(x, total)
        if result is not None:
            scaled = result if a is None else a * result
            return scaled if negated is None else -scaled
    return None


def softmax_for(x: Variable, denominator: Variable) -> Any:
    """softmax(x) along the axes over which `denominator` is the sum of exp(x), or None."""
    spread = _undo_keepdims(denominator, x.type.ndim)
    if spread is None:
        return None
    total, axes = spread
    found = _sum_of_exp(total)
    if found is None or found != (x, axes):
        return None
    single, axis = _softmax_axis(x, axes)
    return T.nnet.softmax(x, axis) if single else None


@canonicalize.rewriter(Softmax, name="softmax_of_shifted", tags=("fast_run",))
def softmax_of_shifted(fgraph: FunctionGraph, node: Apply) -> Any:
    """softmax(x - m) = softmax(x) where m does not vary along the axis."""
    (shifted,) = node.inputs
    difference = _owner(shifted, "sub")
    if difference is None:
        return None
    x, m = difference.inputs
    if uniform_value(m) is not None and len(fgraph.variables[shifted]) > 1:
        # The shift is computed for others, mostly together with x.
        return None
    axis, ndim = node.op.axis, shifted.type.ndim
    if x.type.ndim != ndim or x.type.broadcastable != shifted.type.broadcastable:
        return None
    if axis is None:
        same = m.type.broadcastable == (True,) * m.type.ndim
    else:
        place = axis - (ndim - m.type.ndim)
        same = place < 0 or m.type.shape[place] == 1
    return node.op(x) if same else None


@canonicalize.rewriter("sub", name="logsoftmax_by_hand", depth=5, tags=("fast_run",))
def logsoftmax_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """x - log(sum(exp(x)))"""
    x, subtracted = node.inputs
    spread = _undo_keepdims(subtracted, x.type.ndim)
    if spread is not None:
        logarithm, axes = spread
        outer = _owner(logarithm, "log")
        found = None if outer is None else _sum_of_exp(outer.inputs[0])
    else:
        outer = _owner(subtracted, "log")
        spread = None if outer is None else _undo_keepdims(outer.inputs[0], x.type.ndim)
        if spread is None:
            return None
        total, axes = spread
        found = _sum_of_exp(total)
    if found is None or found != (x, axes):
        return None
    single, axis = _softmax_axis(x, axes)
    return T.nnet.logsoftmax(x, axis) if single else None


@stabilize.rewriter("sub", name="softmax_gradient_by_hand", depth=5)
def softmax_gradient_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """g sm - sum(g sm) sm, with sm a softmax: its gradient"""
    product, subtracted = node.inputs
    first, second = _owner(product, "mul"), _owner(subtracted, "mul")
    if first is None or second is None:
        return None
    for total, sm in (second.inputs, second.inputs[::-1]):
        if sm not in first.inputs or sm.owner is None or type(sm.owner.op) is not Softmax:
            continue
        g = first.inputs[1 - first.inputs.index(sm)]
        spread = _undo_keepdims(total, sm.type.ndim)
        if spread is None or g.type != sm.type:
            continue
        summed, axes = spread
        reduction = summed.owner
        if (
            reduction is not None
            and type(reduction.op) is CAReduce
            and reduction.op.scalar_op == scalar.add
            and _is_product(reduction.inputs[0], g, sm)
            and reduction.op.axis == axes
            and _softmax_axis(sm, axes) == (True, sm.owner.op.axis)
        ):
            return SoftmaxGrad(sm.owner.op.axis)(g, sm)
    return None


def _is_product(var: Variable, a: Variable, b: Variable) -> bool:
    """Whether `var` is a * b or b * a."""
    node = _owner(var, "mul")
    return node is not None and node.inputs in ([a, b], [b, a])


@stabilize.rewriter(CAReduce, name="sum_of_softmax_gradient")
def sum_of_softmax_gradient(fgraph: FunctionGraph, node: Apply) -> Any:
    """What a softmax passes back sums to zero, for the softmax does not see a shift."""
    (x,) = node.inputs
    if x.owner is None or type(x.owner.op) is not SoftmaxGrad or node.op.scalar_op != scalar.add:
        return None
    axis = x.owner.op.axis
    reduced = set(node.op.axis)
    if not (reduced == set(range(x.type.ndim)) if axis is None else axis in reduced):
        return None
    kept = [extent(fgraph, x, d) for d in range(x.type.ndim) if d not in reduced]
    return T.alloc(T.constant(0, dtype=node.outputs[0].type.dtype), *kept)


@stabilize.rewriter("log", name="log(softmax(x)) -> logsoftmax(x)")
def log_of_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The logarithm of a softmax, without underflow."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not Softmax:
        return None
    return T.nnet.logsoftmax(inner.inputs[0], inner.op.axis)


@stabilize.rewriter("log", name="log_sum_exp", depth=4)
def log_sum_exp(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(sum(exp(x))) = m + log(sum(exp(x - m))) with m the maximum, or 0 where that is infinite.

    P. Blanchard, D. J. Higham, N. J. Higham, "Accurately computing the log-sum-exp and softmax
    functions", IMA Journal of Numerical Analysis 41, 2021.
    """
    (argument,) = node.inputs
    inner = argument
    kept = inner.owner is not None and type(inner.owner.op) is DimShuffle
    if kept:
        inner = inner.owner.inputs[0]
    found = _sum_of_exp(inner)
    if found is None:
        return None
    x, axes = found
    if not axes or any(_is_shifted(x, d) for d in axes):
        return None
    m = CAReduce(scalar.maximum, axes, x.type.dtype, x.type.dtype, neutral=True)(x)
    m = T.switch(T.isinf(m), T.constant(0, dtype=m.type.dtype), m)
    total = T.log(T.sum(T.exp(x - with_axes(m, axes)), axis=axes)) + m
    return T.dimshuffle(total, argument.owner.op.new_order) if kept else total


def _is_shifted(x: Variable, axis: int) -> bool:
    """Whether a maximum has been subtracted along the axis already."""
    difference = _owner(x, "sub")
    if difference is None:
        return False
    m = difference.inputs[1]
    place = axis - (x.type.ndim - m.type.ndim)
    return (place < 0 or m.type.shape[place] == 1) and is_largest(m)


def is_largest(m: Variable) -> bool:
    """Whether `m` is a maximum, perhaps with infinities replaced or dimensions put back."""
    node = m.owner
    while node is not None:
        if type(node.op) is CAReduce:
            return bool(node.op.scalar_op == scalar.maximum)
        if type(node.op) is DimShuffle:
            node = node.inputs[0].owner
        elif type(node.op) is Elemwise and node.op.name == "switch":
            node = node.inputs[2].owner
        else:
            return False
    return False
