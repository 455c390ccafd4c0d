"""Probabilities of a softmax that are selected or weighted: log(sum(w * softmax(x), axis)).

With w a row of zeros and ones for each row of x that is the likelihood of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.factors import Product, factors_of, is_part_of_product
from kroton.rewriting.matching import scalar_name
from kroton.rewriting.orders import in_order, reordered_as
from kroton.rewriting.phases import stabilize
from kroton.rewriting.softmax import scores_of, undo_keepdims
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.nnet.softmax import SoftmaxGrad
from kroton.tensor.reduction import CAReduce, with_axes

T: Any = kroton.tensor

_LIMIT = 12
"""Products of more factors are left alone."""


@dataclass
class _Selection:
    """sum(w * softmax(x), axis)"""

    weights: list[Any]
    sm: Any
    x: Any
    axis: int

    def parts(self) -> tuple[Any, Any]:
        """The logarithm of the largest probability with a weight, and w * p divided by that.

        Probabilities without a weight may be larger, and do not count.
        """
        w = self.weights[0]
        for v in self.weights[1:]:
            w = w * v
        logs, selected = T.nnet.logsoftmax(self.x, self.axis), T.neq(w, 0)
        dtype = logs.type.dtype
        lowest = T.constant(float("-inf"), dtype=dtype)
        masked = T.switch(selected, logs, lowest)
        m = CAReduce(scalar.maximum, (self.axis,), dtype, dtype, neutral=True)(masked)
        m = T.switch(T.isinf(m), T.constant(0, dtype=dtype), m)
        wide = with_axes(m, (self.axis,))
        return m, w * T.exp(T.switch(selected, logs, wide) - wide)


def _selection(total: Variable) -> _Selection | None:
    """`total` as such a sum; None if it is none."""
    node = total.owner
    if node is None or type(node.op) is not CAReduce or node.op.scalar_op != scalar.add:
        return None
    (summed,) = node.inputs
    if scalar_name(summed) != "mul" or not node.op.dtype == node.op.acc_dtype == summed.type.dtype:
        return None
    stack, factors = [summed], list[Any]()
    while stack:
        v = stack.pop()
        if scalar_name(v) == "mul":
            stack.extend(v.owner.inputs)
        else:
            factors.append(v)
        if len(factors) + len(stack) > _LIMIT:
            return None
    for k, sm in enumerate(factors):
        found = scores_of(sm)
        if found is not None and found[1] is not None and node.op.axis == (found[1],):
            if sm.type.broadcastable != summed.type.broadcastable:
                return None
            if any(v.type.dtype != sm.type.dtype for v in factors):
                return None
            return _Selection(factors[:k] + factors[k + 1 :], sm, *found)  # type: ignore[arg-type]
    return None


@stabilize.rewriter("log", name="log_of_selected_softmax", depth=5)
def log_of_selected_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(sum(w * softmax(x))) from the logarithms, without underflow."""
    (argument,) = node.inputs
    inner = in_order(argument)
    found = _selection(inner)
    if found is None:
        return None
    m, weighted = found.parts()
    total = T.log(T.sum(weighted, axis=found.axis)) + m
    return reordered_as(argument, total)


@stabilize.rewriter(SoftmaxGrad, name="grad_of_log_of_selected_softmax", depth=6)
def grad_of_log_of_selected_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The gradient through log(sum(w * sm)) and softmax(x) = sm: g (w sm / sum(w sm) - sm)."""
    inner, sm = node.inputs
    product = factors_of(fgraph, inner, shared=True)
    if product is None or node.op.axis is None:
        return None
    found = _share(product, sm.type.ndim, sm)
    if found is None:
        return None
    share, rest = found
    axis, ndim, dtype = node.op.axis, sm.type.ndim, sm.type.dtype
    if any(_varies(v, axis, ndim) for v in [*rest.above, *rest.below]):
        rest.above.append(share)
        passed = rest.build(dtype)
        return passed - T.sum(passed, axis=axis, keepdims=True) * sm
    rest.above.append(share - sm)
    return rest.build(dtype)


@stabilize.rewriter("mul", "true_div", "neg", name="share_of_selected_softmax", depth=6)
def share_of_selected_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """w softmax(x) / sum(w softmax(x)): probabilities among those that are selected."""
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f" or is_part_of_product(fgraph, out):
        return None
    if not _divides_by_sum(out):
        return None
    product = factors_of(fgraph, out, shared=True)
    if product is None or not product.below:
        return None
    found = _share(product, out.type.ndim)
    if found is None:
        return None
    share, rest = found
    rest.above.append(share)
    return rest.build(out.type.dtype)


def _divides_by_sum(out: Any) -> bool:
    """Whether `out` is a product one factor of which is a quotient by a sum along an axis."""
    stack, budget = [(out, True)], _LIMIT
    while stack and budget:
        v, above = stack.pop()
        name = scalar_name(v)
        budget -= 1
        if name in ("mul", "neg"):
            stack.extend((w, above) for w in v.owner.inputs)
        elif name == "true_div":
            stack.extend([(v.owner.inputs[0], above), (v.owner.inputs[1], not above)])
        elif name == "reciprocal":
            stack.append((v.owner.inputs[0], not above))
        elif not above and v.owner is not None and type(v.owner.op) in (CAReduce, DimShuffle):
            return True
    return False


def _share(product: Product, ndim: int, sm: Any = None) -> tuple[Any, Product] | None:
    """w sm / sum(w sm) and the other factors, if w and that sum are among those of `product`.

    And sm is, if it is not given.
    """
    for v in product.below:
        spread = undo_keepdims(v, ndim)
        found = None if spread is None else _selection(spread[0])
        if spread is None or found is None or spread[1] != (found.axis,):
            continue
        if sm is not None and found.sm is not sm:
            continue
        above = list(product.above)
        wanted = [*found.weights, *([] if sm is not None else [found.sm])]
        if any(wanted.count(w) > above.count(w) for w in wanted):
            continue
        for w in wanted:
            above.remove(w)
        below = list(product.below)
        below.remove(v)
        _, weighted = found.parts()
        share = weighted / T.sum(weighted, axis=found.axis, keepdims=True)
        return share, Product(product.coefficient, above, below)
    return None


def _varies(v: Any, axis: int, ndim: int) -> bool:
    """Whether `v` may have several elements along the axis."""
    place = axis - (ndim - v.type.ndim)
    return bool(place >= 0 and v.type.shape[place] != 1)
