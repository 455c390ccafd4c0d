"""Softmax, its logarithm and the logarithm of a sum of exponentials, from their textbook forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.orders import in_order, permutation, reordered_as
from kroton.rewriting.phases import canonicalize, stabilize
from kroton.rewriting.shape import extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.crossentropy import CrossentropySoftmaxArgmax1Hot
from kroton.tensor.nnet.softmax import Softmax, SoftmaxGrad
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce, with_axes

T: Any = kroton.tensor


def _owner(var: Variable, name: str) -> Apply | None:
    """The Apply of `var` if it is an Elemwise of that name."""
    node = var.owner
    if node is not None and type(node.op) is Elemwise and node.op.name == name:
        return node
    return None


def undo_keepdims(var: Variable, ndim: int) -> tuple[Variable, tuple[int, ...]] | None:
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


def sum_of_exp(total: Variable) -> tuple[Variable, tuple[int, ...]] | None:
    """x and the axes, if `total` is the sum of exp(x) over them."""
    node = total.owner
    if node is None or type(node.op) is not CAReduce or node.op.scalar_op != scalar.add:
        return None
    exponential = _owner(node.inputs[0], "exp")
    if exponential is None or node.op.dtype != node.inputs[0].type.dtype:
        return None
    x = exponential.inputs[0]
    return (x, node.op.axis) if x.type.numpy_dtype.kind == "f" else None


def is_sum_of_exp(v: Variable) -> bool:
    """Whether `v` is a sum of exponentials, perhaps with the reduced dimensions put back."""
    return sum_of_exp(in_order(v)) is not None


def _softmax_axis(x: Variable, axes: tuple[int, ...]) -> tuple[bool, int | None]:
    """Whether a softmax over these axes is one Op, and its axis."""
    if len(axes) == 1:
        return True, axes[0]
    return (len(axes) == x.type.ndim and len(axes) > 0), None


@canonicalize.rewriter("true_div", name="softmax_by_hand", depth=4, tags=("fast_run",))
def softmax_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """exp(x) / sum(exp(x))"""
    numerator, denominator = node.inputs
    order = permutation(numerator)
    if order is not None:
        numerator = numerator.owner.inputs[0]
    exponential = _owner(numerator, "exp")
    if exponential is None:
        return None
    return softmax_for(exponential.inputs[0], denominator, order)


@canonicalize.rewriter("mul", name="scaled_softmax_by_hand", depth=5, tags=("fast_run",))
def scaled_softmax_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """exp(x) * (a / sum(exp(x))), as gradients have it: a * softmax(x)"""
    for exponential, factor in (node.inputs, node.inputs[::-1]):
        found = _owner(exponential, "exp")
        if found is None:
            continue
        x = found.inputs[0]
        spread = undo_keepdims(factor, x.type.ndim)
        inner, axes = (factor, None) if spread is None else spread
        negated = _owner(inner, "neg")
        if negated is not None:
            (inner,) = negated.inputs
        quotient = _owner(inner, "true_div") or _owner(inner, "reciprocal")
        if quotient is None:
            continue
        total = quotient.inputs[-1]
        a = quotient.inputs[0] if len(quotient.inputs) == 2 else None
        if axes is not None and sum_of_exp(total) is not None:
            if a is not None and a.type.ndim not in (0, inner.type.ndim):
                continue
            total = with_axes(total, axes)
            a = with_axes(a, axes) if a is not None and a.type.ndim else a
        result = softmax_for(x, total)
        if result is not None:
            scaled = result if a is None else a * result
            return scaled if negated is None else -scaled
    return None


def softmax_for(x: Variable, denominator: Variable, order: tuple[Any, ...] | None = None) -> Any:
    """softmax(x) along the axes over which `denominator` is the sum of exp(x), or None.

    `order`, if given, is that of the dimensions of x in what is divided.
    """
    spread = undo_keepdims(denominator, x.type.ndim)
    if spread is None:
        return None
    total, axes = spread
    found = sum_of_exp(total)
    if found is None:
        return None
    if order is not None and found[0] is x:
        kept = [e for d, e in enumerate(order) if d not in axes]
        if kept == sorted(kept) and found[1] == tuple(sorted(order[d] for d in axes)):
            single, axis = _softmax_axis(found[0], found[1])
            return T.dimshuffle(T.nnet.softmax(found[0], axis), order) if single else None
    if order is not None or found != (x, axes):
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
    spread = undo_keepdims(subtracted, x.type.ndim)
    if spread is not None:
        logarithm, axes = spread
        outer = _owner(logarithm, "log")
        found = None if outer is None else sum_of_exp(outer.inputs[0])
    else:
        outer = _owner(subtracted, "log")
        spread = None if outer is None else undo_keepdims(outer.inputs[0], x.type.ndim)
        if spread is None:
            return None
        total, axes = spread
        found = sum_of_exp(total)
    if found is None or found != (x, axes):
        return None
    single, axis = _softmax_axis(x, axes)
    return T.nnet.logsoftmax(x, axis) if single else None


def scores_of(sm: Variable) -> tuple[Variable, int | None] | None:
    """x and the axis, if `sm` is softmax(x)."""
    node = sm.owner
    if node is None:
        return None
    if type(node.op) is Softmax:
        return node.inputs[0], node.op.axis
    if type(node.op) is CrossentropySoftmaxArgmax1Hot and sm.index == 1:
        return node.inputs[0], 1
    return None


@stabilize.rewriter("sub", name="softmax_gradient_by_hand", depth=5)
def softmax_gradient_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """g sm - sum(g sm) sm, with sm a softmax (perhaps with a crossentropy): its gradient"""
    product, subtracted = node.inputs
    first, second = _owner(product, "mul"), _owner(subtracted, "mul")
    if first is None or second is None:
        return None
    for total, sm in (second.inputs, second.inputs[::-1]):
        scores = scores_of(sm)
        if sm not in first.inputs or scores is None:
            continue
        g = first.inputs[1 - first.inputs.index(sm)]
        spread = undo_keepdims(total, sm.type.ndim)
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
            and _softmax_axis(sm, axes) == (True, scores[1])
        ):
            return SoftmaxGrad(scores[1])(g, sm)
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
    inner = in_order(argument)
    found = sum_of_exp(inner)
    if found is None:
        return None
    x, axes = found
    if not axes or any(_is_shifted(x, d) for d in axes):
        return None
    m = CAReduce(scalar.maximum, axes, x.type.dtype, x.type.dtype, neutral=True)(x)
    m = T.switch(T.isinf(m), T.constant(0, dtype=m.type.dtype), m)
    total = T.log(T.sum(T.exp(x - with_axes(m, axes)), axis=axes)) + m
    return reordered_as(argument, total)


# ---- sums of exponentials with weights -------------------------------------------------------


@dataclass(frozen=True)
class WeightedSum:
    """sum(w * exp(x)) over some axes of x, or a product of exp(x) with a vector or matrix."""

    x: Any
    axes: tuple[int, ...]
    build: Callable[[Any], Any]
    """The sum with another exponential."""
    added: tuple[int, ...] = ()
    """Which dimensions of the result the largest elements of x do not have."""

    def top(self) -> Any:
        """The largest x along the axes."""
        dtype = self.x.type.dtype
        return CAReduce(scalar.maximum, self.axes, dtype, dtype, neutral=True)(self.x)

    def shift(self) -> Any:
        """How far the largest x along the axes are from what can be summed as it is.

        0 for ordinary values. Where the largest one has no weight, the others still count.
        """
        dtype = self.x.type.dtype
        top = self.top()
        # Infinity less infinity would be no number.
        limit = T.constant(np.finfo(dtype).max, dtype=dtype)
        top = T.clip(top, -limit, limit)
        bound = np.floor(0.8 * np.log(np.finfo(dtype).max))
        edge, zero = (T.constant(v, dtype=dtype) for v in (bound, 0))
        return T.maximum(top - edge, zero) + T.minimum(top + edge, zero)

    def shifted(self, shift: Any) -> Any:
        """exp(x - shift)"""
        return T.exp(self.x - with_axes(shift, self.axes))


def weighted_sum(total: Variable) -> WeightedSum | None:
    """`total` as such a sum, of exponentials that are not shifted already; None if it is none."""
    node = total.owner
    if node is None or total.type.numpy_dtype.kind != "f":
        return None
    if type(node.op) is Dot:
        for k, v in enumerate(node.inputs):
            exponential, other = _owner(v, "exp"), node.inputs[1 - k]
            if exponential is None or other.type.dtype != total.type.dtype:
                continue
            (x,) = exponential.inputs
            axis = x.type.ndim - 1 if k == 0 else max(x.type.ndim - 2, 0)
            if x.type.dtype == total.type.dtype and not _is_shifted(x, axis):
                build = partial(node.op, other) if k else partial(_dot_with, node.op, other)
                columns = k == 0 and other.type.ndim == 2
                return WeightedSum(x, (axis,), build, (total.type.ndim - 1,) * columns)
        return None
    if type(node.op) is not CAReduce or node.op.scalar_op != scalar.add or not node.op.axis:
        return None
    (terms,) = node.inputs
    if _owner(terms, "mul") is None or not node.op.dtype == node.op.acc_dtype == terms.type.dtype:
        return None
    stack, weights, found = [terms], list[Any](), list[Any]()
    while stack and len(weights) < 8:
        v = stack.pop()
        inner = _owner(v, "mul")
        if inner is not None:
            stack.extend(reversed(inner.inputs))
        else:
            (found if _owner(v, "exp") is not None else weights).append(v)
    if stack or len(found) != 1 or found[0].type.broadcastable != terms.type.broadcastable:
        return None
    x = found[0].owner.inputs[0]
    if x.type.dtype != terms.type.dtype or any(_is_shifted(x, d) for d in node.op.axis):
        return None
    return WeightedSum(x, node.op.axis, partial(_reduced, node.op, weights))


def _dot_with(op: Dot, other: Any, e: Any) -> Any:
    return op(e, other)


def _reduced(op: CAReduce, weights: list[Any], e: Any) -> Any:
    for w in weights:
        e = w * e
    return op(e)


@stabilize.rewriter("log", name="log_of_weighted_sum", depth=6)
def log_of_weighted_sum(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(sum(w * exp(x))) = m + log(sum(w * exp(x - m)))"""
    (argument,) = node.inputs
    inner = in_order(argument)
    found = weighted_sum(inner)
    if found is None:
        return None
    m = found.shift()
    total = T.log(found.build(found.shifted(m))) + with_axes(m, found.added)
    return reordered_as(argument, total)


SHARES: list[Callable[[Any, Variable, bool], list[Any] | None]] = []
"""What else finds the factors that stand for exp(z) / total, as `weighted_share` does."""


def weighted_share(z: Any, factor: Variable, divides: bool) -> list[Any] | None:
    """The factors that stand for exp(z) / total, where total is a sum of it with weights.

    `factor` is total, if `divides`, else a quotient by it: what is above it remains.
    """
    if not divides and factor.owner is not None and type(factor.owner.op) is Dot:
        return _share_by_product(z, factor.owner)
    spread = undo_keepdims(factor, z.type.ndim)
    inner, axes = (factor, ()) if spread is None else spread
    above = []
    if not divides:
        quotient = _owner(inner, "true_div") or _owner(inner, "reciprocal")
        if quotient is None:
            return None
        *above, inner = quotient.inputs
    found = weighted_sum(inner)
    if found is None or found.x is not z or found.added or found.axes != axes:
        for share in SHARES:
            factors = share(z, factor, divides)
            if factors is not None:
                return factors
        return None
    m = found.shift()
    total = with_axes(found.build(found.shifted(m)), axes)
    return [found.shifted(m), *(with_axes(a, axes) for a in above), T.reciprocal(total)]


def _share_by_product(z: Any, product: Apply) -> list[Any] | None:
    """weighted_share for the gradient of dot(exp(z), w): the product of a / total and w.T."""
    for k, g in enumerate(product.inputs):
        column = (0, "x") if k == 0 else ("x", 0)
        g, outer = _without_dimension(g, column)
        quotient = _owner(g, "true_div") or _owner(g, "reciprocal")
        if quotient is None or z.type.ndim != 2:
            continue
        *above, total = quotient.inputs
        total, inner = _without_dimension(total, column)
        found = weighted_sum(total)
        if found is None or found.x is not z or found.axes != (1 - k,):
            continue
        m = found.shift()
        total = found.build(found.shifted(m))
        total = T.dimshuffle(total, column) if inner else total
        share = above[0] / total if above else T.reciprocal(total)
        share = T.dimshuffle(share, column) if outer else share
        other = product.inputs[1 - k]
        return [
            found.shifted(m),
            product.op(share, other) if k == 0 else product.op(other, share),
        ]
    return None


def _without_dimension(v: Any, order: tuple[Any, ...]) -> tuple[Any, bool]:
    """What a DimShuffle of that order is made from and True, or `v` and False."""
    node = v.owner
    if node is not None and type(node.op) is DimShuffle and node.op.new_order == order:
        return node.inputs[0], True
    return v, False


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
        if type(node.op) is DimShuffle or (
            type(node.op) is Elemwise and node.op.name in ("add", "sub", "maximum", "clip")
        ):
            node = node.inputs[0].owner
        elif type(node.op) is Elemwise and node.op.name == "switch":
            node = node.inputs[2].owner
        else:
            return False
    return False
