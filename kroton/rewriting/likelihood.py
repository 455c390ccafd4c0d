"""The log-likelihood of classes as it is written by hand: `log(softmax(x))[arange(n), y]`."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
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


def _one_class_a_row(fgraph: FunctionGraph, x: Variable, op: Any, given: list[Any]) -> bool:
    """Whether the index is `[arange(n), y]` with as many rows as `y` has classes."""
    if x.type.ndim != 2 or len(op.idx_list) != 2 or not all(map(is_array, op.idx_list)):
        return False
    rows, y = given
    node = rows.owner
    if y.type.ndim != 1 or y.type.dtype == "bool" or rows.type.ndim != 1:
        return False
    if node is None:
        known = getattr(rows, "data", None)
        return (
            known is not None
            and y.type.shape[0] == x.type.shape[0] == len(known)
            and np.array_equal(known, np.arange(len(known)))
        )
    if type(node.op) is not ARange:
        return False
    start, stop, step = node.inputs
    if uniform_value(start) != 0 or uniform_value(step) != 1:
        return False
    for v in (y, x):
        found = extent(fgraph, v, 0)
        if isinstance(found, int):
            bound = uniform_value(stop)
            if bound is not None and int(bound) == found:
                return True
        elif (
            stop.owner is not None
            and found.owner is not None
            and type(stop.owner.op) is Shape_i
            and stop.owner.op == found.owner.op
            and stop.owner.inputs[0] is found.owner.inputs[0]
        ):
            return True
    return False


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
    if len(fgraph.variables[scores]) > 1 or not _one_class_a_row(fgraph, scores, node.op, given):
        return None
    return -CrossentropyCategorical1Hot()(Softmax(1)(inner.inputs[0]), given[1])


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
        if not _one_class_a_row(fgraph, spread, inc.op, given):
            return None
        if g.type.ndim != 1 or g.type.shape[0] == 1 != spread.type.shape[0]:
            if g.type.ndim > 1 or (g.type.ndim == 1 and g.type.shape[0] != 1):
                return None
            g = T.alloc(g, extent(fgraph, spread, 0))
        return CrossentropySoftmax1HotGrad()(-g, sm, given[1])
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
