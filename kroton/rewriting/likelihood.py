"""The log-likelihood of classes as it is written by hand: `log(softmax(x))[arange(n), y]`."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import same_extent
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import canonicalize, stabilize
from kroton.rewriting.shape import extent
from kroton.tensor.advanced_subtensor import AdvancedIncSubtensor, AdvancedSubtensor
from kroton.tensor.arange import ARange
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.indexing import is_array
from kroton.tensor.nnet.crossentropy import CrossentropyCategorical1Hot, CrossentropySoftmax1HotGrad
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax
from kroton.tensor.reduction import CAReduce
from kroton.tensor.shape import Shape_i

T: Any = kroton.tensor


def _classes(fgraph: FunctionGraph, x: Variable, op: Any, given: list[Any]) -> Any:
    """y, if the index of the matrix `x` is `[arange(n), y]` with n the classes in y; else None.

    Where n is the number of rows of `x`, y is checked to have as many.
    """
    if x.type.ndim != 2 or len(op.idx_list) != 2 or not all(map(is_array, op.idx_list)):
        return None
    rows, y = given
    node = rows.owner
    if y.type.ndim != 1 or y.type.dtype == "bool" or rows.type.ndim != 1:
        return None
    if node is None:
        known = getattr(rows, "data", None)
        if known is None or y.type.shape[0] != len(known):
            return None
        return y if np.array_equal(known, np.arange(len(known))) else None
    if type(node.op) is not ARange:
        return None
    start, stop, step = node.inputs
    if uniform_value(start) != 0 or uniform_value(step) != 1:
        return None
    if _counts(fgraph, stop, y):
        return y
    if not _counts(fgraph, stop, x):
        return None
    return y if same_extent(fgraph, y, 0, x, 0) else T.AssertShape((0,))(y, extent(fgraph, x, 0))


def _counts(fgraph: FunctionGraph, stop: Variable, v: Variable) -> bool:
    """Whether `stop` is the number of rows of `v`."""
    found = extent(fgraph, v, 0)
    if isinstance(found, int):
        bound = uniform_value(stop)
        return bound is not None and int(bound) == found
    return (
        stop.owner is not None
        and found.owner is not None
        and type(stop.owner.op) is Shape_i
        and stop.owner.op == found.owner.op
        and stop.owner.inputs[0] is found.owner.inputs[0]
    )


@canonicalize.rewriter("exp", name="exp(logsoftmax(x)) -> softmax(x)", tags=("fast_run",))
def exp_of_logsoftmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The exponential of a logsoftmax, as its gradient has it."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not LogSoftmax:
        return None
    return Softmax(inner.op.axis)(inner.inputs[0])


@stabilize.rewriter(AdvancedSubtensor, name="likelihood_by_hand", depth=3)
def likelihood_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """logsoftmax(x)[arange(n), y] is minus the crossentropy of softmax(x)."""
    scores, *given = node.inputs
    inner = scores.owner
    if inner is None or type(inner.op) is not LogSoftmax or inner.op.axis != 1:
        return None
    if len(fgraph.variables[scores]) > 1:
        return None
    y = _classes(fgraph, scores, node.op, given)
    if y is None:
        return None
    return -CrossentropyCategorical1Hot(by_index=True)(Softmax(1)(inner.inputs[0]), y)


@stabilize.rewriter("sub", name="gradient_of_likelihood", depth=4)
def gradient_of_likelihood(fgraph: FunctionGraph, node: Apply) -> Any:
    """e - sum(e) sm, where row i of e is g[i] at y[i] and zero elsewhere: g[i] (one - sm[i])."""
    spread: Any
    spread, product = node.inputs
    inc = spread.owner
    if inc is None or type(inc.op) is not AdvancedIncSubtensor or inc.op.set_instead_of_inc:
        return None
    base, g, *given = inc.inputs
    if uniform_value(base) != 0 or product.owner is None or type(product.owner.op) is not Elemwise:
        return None
    if product.owner.op.name != "mul" or product.type != spread.type:
        return None
    for total, sm in (product.owner.inputs, product.owner.inputs[::-1]):
        if _row_sums(total) is not spread or sm.type != spread.type:
            continue
        y = _classes(fgraph, spread, inc.op, given)
        if y is None:
            return None
        if g.type.ndim != 1 or g.type.shape[0] == 1 != y.type.shape[0]:
            if g.type.ndim > 1 or (g.type.ndim == 1 and g.type.shape[0] != 1):
                return None
            g = T.alloc(g, extent(fgraph, y, 0))
        return CrossentropySoftmax1HotGrad(by_index=True)(-g, sm, y)
    return None


def _row_sums(var: Variable) -> Any:
    """x, if `var` is the sum of each row of the matrix x as a column."""
    node = var.owner
    if node is None or type(node.op) is not DimShuffle or node.op.new_order != (0, "x"):
        return None
    total = node.inputs[0].owner
    if total is None or type(total.op) is not CAReduce or total.op.scalar_op.name != "add":
        return None
    return total.inputs[0] if total.op.axis == (1,) else None
