"""Softmax, logarithms and crossentropies become fused forms that neither overflow nor lose digits.

The probabilities of a softmax may underflow to 0, of which the logarithm is minus infinity; the
fused forms never take that logarithm.
"""

from __future__ import annotations

from typing import Any

import kroton.tensor as T
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import ancestors
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import stabilize
from kroton.rewriting.softmax import scores_of
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, SoftmaxGrad
from kroton.tensor.reshape import Reshape
from kroton.tensor.subtensor import BaseIncSubtensor


@stabilize.rewriter(CrossentropyCategorical1Hot, name="crossentropy_of_softmax")
def crossentropy_of_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """-log(softmax(x)[i, y[i]]) and softmax(x) come from one fused Apply."""
    sm, y = node.inputs
    found = scores_of(sm)
    if found is None or found[1] != 1:
        return None
    x, _ = found
    nll, fused_sm, _ = CrossentropySoftmaxArgmax1Hot(node.op.by_index).make_node(x, y).outputs
    replacements = {node.outputs[0]: nll}
    if len(fgraph.variables[sm]) > 1 and sm not in ancestors([y]):
        replacements[sm] = fused_sm
    return replacements


@stabilize.rewriter(SoftmaxGrad, name="grad_of_crossentropy_of_softmax", depth=2)
def grad_of_crossentropy_of_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The gradient through -log(sm[i, y[i]]) and softmax(x) = sm is g[i] (sm[i] - one at y[i])."""
    inner, sm = node.inputs
    if node.op.axis != 1 or inner.owner is None:
        return None
    if type(inner.owner.op) is not CrossentropyCategorical1HotGrad:
        return None
    g, p, y = inner.owner.inputs
    return CrossentropySoftmax1HotGrad(inner.owner.op.by_index)(g, sm, y) if p is sm else None


@stabilize.rewriter("log", name="log_of_fused_softmax")
def log_of_fused_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The logarithm of a softmax that came with a crossentropy."""
    found = scores_of(node.inputs[0])
    return None if found is None else LogSoftmax(found[1])(found[0])


def _times(var: Variable, sm: Variable) -> Any:
    """`var * sm`, without the product, if `var` is a quotient by `sm`; None if it is none."""
    node = var.owner
    if node is None or type(node.op) is not Elemwise:
        return None
    name = node.op.name
    if name == "true_div":
        above, below = node.inputs
        if below is sm:
            return above
        beside = _beside(below, sm)
        if beside is not None:
            return above / beside
        over = _times(above, sm)
        return None if over is None else over / below
    if name == "reciprocal":
        if node.inputs[0] is sm:
            return T.constant(1, dtype=sm.type.dtype)
        beside = _beside(node.inputs[0], sm)
        return None if beside is None else T.reciprocal(beside)
    if name == "neg":
        over = _times(node.inputs[0], sm)
        return None if over is None else -over
    if name == "mul":
        a, b = node.inputs
        over = _times(a, sm)
        if over is not None:
            return over * b
        over = _times(b, sm)
        return None if over is None else a * over
    return None


def _beside(var: Variable, sm: Variable) -> Any:
    """What `sm` is multiplied with in `var`, or None."""
    node = var.owner
    if node is None or type(node.op) is not Elemwise or node.op.name != "mul":
        return None
    return node.inputs[1 - node.inputs.index(sm)] if sm in node.inputs else None


@stabilize.rewriter(SoftmaxGrad, name="grad_of_log_of_softmax", depth=5)
def grad_of_log_of_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The gradient through log(sm) and softmax(x) = sm is g - sum(g) sm, without a division."""
    quotient, sm = node.inputs
    g = _times(quotient, sm)
    if g is None:
        g = _times_moved(fgraph, quotient, sm)
    if g is None:
        return None
    if g.type.broadcastable != sm.type.broadcastable:
        g = T.fill(sm, g)
    return g - T.sum(g, axis=node.op.axis, keepdims=True) * sm


def _times_moved(fgraph: FunctionGraph, var: Variable, sm: Variable) -> Any:
    """`var * sm`, without the product, if `var` is a quotient by `sm` in another shape or order."""
    node = var.owner
    if node is None or type(node.op) not in (DimShuffle, Reshape):
        return None
    for client, _ in fgraph.clients(sm):
        if client == "output" or type(client.op) is not type(node.op):
            continue
        if type(node.op) is DimShuffle:
            there, back = client.op.new_order, node.op.new_order
            if [e if e == "x" else there[e] for e in back] != list(range(sm.type.ndim)):
                continue
        moved = client.outputs[0]
        g = _times(node.inputs[0], moved)
        if g is not None:
            return node.op(T.fill(moved, g), *node.inputs[1:])
    return None


@stabilize.rewriter(SoftmaxGrad, name="softmax_grad_of_sum", depth=6)
def softmax_grad_of_sum(fgraph: FunctionGraph, node: Apply) -> Any:
    """What several terms pass back through a softmax, apart where one of them divides by it.

    SoftmaxGrad is linear in what is passed back, and each term then finds its own stable form.
    """
    total, sm = node.inputs
    inner = total.owner
    if inner is None or type(inner.op) is not Elemwise or inner.op.name not in ("add", "sub"):
        return None
    first, second = inner.inputs
    if any(term.type.broadcastable != sm.type.broadcastable for term in (first, second)):
        return None
    if not any(_divides(term, sm) for term in (first, second)):
        return None
    return inner.op(node.op(first, sm), node.op(second, sm))


def _divides(term: Variable, sm: Variable) -> bool:
    """Whether `term`, or a term of it, is a quotient by `sm` or a crossentropy's gradient."""
    stack, seen = [term], 0
    while stack and seen < 8:
        seen += 1
        v = stack.pop()
        node = v.owner
        if node is None:
            continue
        if type(node.op) is CrossentropyCategorical1HotGrad:
            if node.inputs[1] is sm:
                return True
        elif type(node.op) is Elemwise and node.op.name in ("add", "sub"):
            stack.extend(node.inputs)
        elif _times(v, sm) is not None:
            return True
    return False


@stabilize.rewriter(SoftmaxGrad, name="grad_of_log_of_indexed_softmax", depth=6)
def grad_of_log_of_indexed_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """The gradient through log(sm[i]), put at the index into zeros, without a division."""
    spread, sm = node.inputs
    inc = spread.owner
    if inc is None or not isinstance(inc.op, BaseIncSubtensor) or inc.op.set_instead_of_inc:
        return None
    base, quotient, *given = inc.inputs
    if uniform_value(base) != 0:
        return None
    for client, _ in fgraph.clients(sm):
        if client == "output" or client.op != inc.op.reader() or client.inputs[1:] != given:
            continue
        g = _times(quotient, client.outputs[0])
        if g is not None and g.type.ndim <= quotient.type.ndim:
            put = inc.op(base, g, *given)
            return put - T.sum(put, axis=node.op.axis, keepdims=True) * sm
    return None
