"""What is there already is used: sums of sums, softmaxes beside their logarithms.

These rules look at what else is made of the same Variable, so they are applied when all that a
graph computes is decided (see `kroton.rewriting.arrangement`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import same_extent
from kroton.rewriting.arrangement import arrange
from kroton.rewriting.emptiness import unspoilt
from kroton.rewriting.matching import scalar_name
from kroton.rewriting.softmax import is_largest
from kroton.rewriting.sums import is_fixed, without_axes
from kroton.tensor.creation import Alloc
from kroton.tensor.nnet.crossentropy import CrossentropySoftmax1HotGrad
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax
from kroton.tensor.reduction import CAReduce, with_axes

T: Any = kroton.tensor

_USERS = 16
"""What has more users is not searched among them, so that the cost stays linear."""


def _users(fgraph: FunctionGraph, var: Variable) -> list[Apply]:
    """The Applys that read `var`; none if there are many."""
    users = fgraph.variables[var]
    if len(users) > _USERS:
        return []
    return [client for client, _ in users if client != "output"]


@arrange.rewriter(CAReduce, name="sum_of_finer_sum", depth=1)
def sum_of_finer_sum(fgraph: FunctionGraph, node: Apply) -> Any:
    """The sum over all of what is summed over one dimension as well is the sum of these sums."""
    op, (x,) = node.op, node.inputs
    if len(op.axis) < 2 or x.type.numpy_dtype.kind not in "fc" or op.scalar_op != scalar.add:
        return None
    for other in _users(fgraph, x):
        finer = other.op
        if (
            type(finer) is CAReduce
            and finer.axis
            and set(finer.axis) < set(op.axis)
            and (finer.scalar_op, finer.dtype, finer.acc_dtype)
            == (op.scalar_op, op.dtype, op.acc_dtype)
            and op.acc_dtype == op.dtype
        ):
            left = [d for d in range(x.type.ndim) if d not in finer.axis]
            axes = tuple(k for k, d in enumerate(left) if d in op.axis)
            return replace(op, axis=axes)(other.outputs[0])
    return None


@arrange.rewriter(CAReduce, name="sum_of_multiple", depth=2)
def sum_of_multiple(fgraph: FunctionGraph, node: Apply) -> Any:
    """sum(c * x) = c * sum(x), where sum(x) is computed anyway and c is the same along the axes."""
    op, (product,) = node.op, node.inputs
    if op.scalar_op != scalar.add or not op.axis or scalar_name(product) != "mul":
        return None
    if product.type.numpy_dtype.kind != "f" or not product.type.dtype == op.dtype == op.acc_dtype:
        return None
    inputs = product.owner.inputs
    for x, c in (inputs, inputs[::-1]):
        if x.type.dtype != op.dtype or x.type.broadcastable != product.type.broadcastable:
            continue
        if not is_fixed(c, op.axis, product.type.ndim):
            continue
        for other in _users(fgraph, x):
            if other.op == op:
                factor = unspoilt(fgraph, c, product, op.axis)
                return other.outputs[0] * without_axes(factor, op.axis, product.type.ndim)
    return None


@arrange.rewriter(CrossentropySoftmax1HotGrad, name="one_weight_for_all_rows", depth=2)
def one_weight_for_all_rows(fgraph: FunctionGraph, node: Apply) -> Any:
    """Rows that all count as much, as in a mean, need no vector of weights."""
    weights, sm, y = node.inputs
    filled = weights.owner
    if filled is None or type(filled.op) is not Alloc:
        return None
    value = filled.inputs[0]
    if not all(value.type.broadcastable):
        return None
    counted = [y] if node.op.by_index else [y, sm]
    if not any(same_extent(fgraph, weights, 0, v, 0) for v in counted):
        return None
    return node.op(T.dimshuffle(value, ()), sm, y)


@arrange.rewriter(Softmax, name="softmax_beside_its_logarithm", depth=1)
def softmax_beside_its_logarithm(fgraph: FunctionGraph, node: Apply) -> Any:
    """softmax(x) = exp(logsoftmax(x)), or exp(x - m) / sum(exp(x - m)), where that is there.

    Spares a pass over x for its maximum and one for the sum. As the exponential of a rounded
    logarithm, 1e-20 has an error of at most 46 units in the last place.
    """
    (x,), axis = node.inputs, node.op.axis
    for user in _users(fgraph, x):
        if type(user.op) is LogSoftmax and user.op.axis == axis:
            return T.exp(user.outputs[0])
        found = None if axis is None else _shifted_exponentials(fgraph, user, axis)
        if found is not None:
            powers, total = found
            return powers / with_axes(total, (axis,))
    return None


def _shifted_exponentials(fgraph: FunctionGraph, node: Apply, axis: int) -> Any:
    """exp(x - m) and its sum along the axis, if they are made of `node`, which is x - m."""
    if scalar_name(node.outputs[0]) != "sub" or not is_largest(node.inputs[1]):
        return None
    for user in _users(fgraph, node.outputs[0]):
        (powers, *_) = user.outputs
        if scalar_name(powers) != "exp":
            continue
        for reader in _users(fgraph, powers):
            op = reader.op
            if type(op) is CAReduce and op.scalar_op == scalar.add and op.axis == (axis,):
                return powers, reader.outputs[0]
    return None
