"""Broadcasts vanish: fills, allocs and dimensions of extent 1 that an Elemwise stretches anyway."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import agreeing, same_extent, with_extents
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.orders import permutation
from kroton.rewriting.phases import canonicalize
from kroton.rewriting.replacement import fit
from kroton.tensor.creation import Alloc
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise

T: Any = kroton.tensor


@canonicalize.rewriter("second", name="second_to_alloc")
def second_to_alloc(fgraph: FunctionGraph, node: Apply) -> Any:
    """`second(model, value)` needs the shape of the model only."""
    return fit(node.outputs[0], node.inputs[1])


@canonicalize.rewriter(Alloc, name="useless_alloc")
def useless_alloc(fgraph: FunctionGraph, node: Apply) -> Any:
    """An alloc that stretches nothing, or one of what is a broadcast itself."""
    value, out = node.inputs[0], node.outputs[0]
    if value.type.broadcastable == out.type.broadcastable:
        value = with_extents(fgraph, value, node.inputs[1:])
        return value if out.type.in_same_class(value.type) else None
    small = None if isinstance(value, Constant) else _narrow(value)
    return None if small is None else node.op(small, *node.inputs[1:])


def _narrow(var: Variable) -> Any:
    """What `var` is a broadcast of, if it is one that an Elemwise does by itself."""
    if isinstance(var, Constant):
        if var.type.ndim:
            value = uniform_value(var)
            if value is not None:
                return T.constant(value)
        return None
    owner = var.owner
    if owner is None:
        return None
    if type(owner.op) is Alloc:
        value = owner.inputs[0]
        known = var.type.shape[var.type.ndim - value.type.ndim :]
        # An extent that is 1 here only is not broadcast where it is not known.
        return (
            value if all(e == 1 for e, wide in zip(value.type.shape, known) if wide == 1) else None
        )
    if type(owner.op) is DimShuffle:
        order = owner.op.new_order
        ndim = owner.inputs[0].type.ndim
        missing = len(order) - ndim
        if missing > 0 and order == ("x",) * missing + tuple(range(ndim)):
            return owner.inputs[0]
    return None


def _stretched(inputs: list[Any], ndim: int) -> list[bool]:
    """For each dimension of the result, whether some input has it with an extent not 1."""
    covered = [False] * ndim
    for var in inputs:
        known = var.type.shape
        for k, extent in enumerate(known):
            if extent != 1:
                covered[ndim - len(known) + k] = True
    return covered


@canonicalize.rewriter(Elemwise, name="sink_broadcast")
def sink_broadcast(fgraph: FunctionGraph, node: Apply) -> Any:
    """Operands of an Elemwise are as small as they may be.

    A broadcast operand is replaced by what it is a broadcast of, if the other operands still
    have the whole shape. Otherwise, for an alloc of the whole shape, the operation is done
    before it: `f(alloc(v, n), s)` becomes `alloc(f(v, s), n)`.
    """
    op, out = node.op, node.outputs[0]
    if op.inplace_pattern or len(node.outputs) != 1 or not out.type.ndim:
        return None
    inputs = node.inputs
    narrowed = [_narrow(var) for var in inputs]
    if not any(v is not None for v in narrowed):
        return None
    ndim = out.type.ndim
    wanted = [extent != 1 for extent in out.type.shape]
    current = list(inputs)
    changed = False
    for k, small in enumerate(narrowed):
        if small is None:
            continue
        trial = [*current[:k], small, *current[k + 1 :]]
        if max(v.type.ndim for v in trial) == ndim and _stretched(trial, ndim) == wanted:
            current = _checked(fgraph, node, current[k], small, trial)
            changed = True
    if changed:
        return _same_op(op, current, out)
    for k, small in enumerate(narrowed):
        if small is None or (isinstance(small, Constant) and isinstance(inputs[k], Constant)):
            continue
        owner = inputs[k].owner
        if type(owner.op) is not Alloc or inputs[k].type.broadcastable != out.type.broadcastable:
            continue
        inner = _same_op(op, [*inputs[:k], small, *inputs[k + 1 :]], None)
        if inner is None or inner.type.broadcastable == inputs[k].type.broadcastable:
            return None
        return owner.op(inner, *owner.inputs[1:])
    return None


def _checked(
    fgraph: FunctionGraph, node: Apply, wide: Any, small: Any, trial: list[Any]
) -> list[Any]:
    """`trial`, with the extents that `small` lacks checked on another operand if necessary."""
    wide_ndim, missing = wide.type.ndim, wide.type.ndim - small.type.ndim
    unknown: dict[int, None] = {}
    for d, extent in enumerate(wide.type.shape):
        if extent == 1 or (d >= missing and small.type.shape[d - missing] != 1):
            continue
        candidates = []
        for position, v in enumerate(trial):
            k = d - wide_ndim + v.type.ndim
            if k >= 0 and v.type.shape[k] != 1:
                if same_extent(fgraph, wide, d, v, k, node):
                    break
                candidates.append(position)
        else:
            unknown[candidates[0]] = None
    return [
        agreeing(fgraph, v, wide, without=node) if position in unknown else v
        for position, v in enumerate(trial)
    ]


def _same_op(op: Elemwise, inputs: list[Any], out: Variable | None) -> Any:
    """The Op on other inputs of the same dtypes; None if less would be known of the shape."""
    result = op(*inputs)
    if out is not None and not out.type.in_same_class(result.type):
        return None
    return result


@canonicalize.rewriter(DimShuffle, name="merge_dimshuffle")
def merge_dimshuffle(fgraph: FunctionGraph, node: Apply) -> Any:
    """Dimshuffles that change nothing, follow each other, or follow an alloc."""
    (inner,) = node.inputs
    order = node.op.new_order
    known = inner.type.shape
    if len(order) == len(known) and all(
        e == d or (e == "x" and known[d] == 1) for d, e in enumerate(order)
    ):
        return inner
    owner = inner.owner
    if owner is None:
        return None
    if type(owner.op) is DimShuffle:
        (source,) = owner.inputs
        combined = ["x" if e == "x" else owner.op.new_order[e] for e in order]
        return T.dimshuffle(source, combined)
    if type(owner.op) is Alloc:
        value, extents = owner.inputs[0], owner.inputs[1:]
        missing = len(extents) - value.type.ndim
        if value.type.ndim:
            if any(d >= missing and value.type.shape[d - missing] != 1 for d in node.op.drop):
                return None
            padded = ["x" if e == "x" or e < missing else e - missing for e in order]
            while padded and padded[0] == "x":
                padded.pop(0)
            value = T.dimshuffle(value, padded)
        return T.alloc(value, *[1 if e == "x" else extents[e] for e in order])
    return None


@canonicalize.rewriter(DimShuffle, name="lift_dimshuffle")
def lift_dimshuffle(fgraph: FunctionGraph, node: Apply) -> Any:
    """Dimensions of extent 1 are added and dropped before an elementwise operation, not after.

    Where nothing else uses its result. Transpositions stay, for products take them for free.
    """
    (inner,) = node.inputs
    owner = inner.owner
    if owner is None or type(owner.op) is not Elemwise or len(fgraph.variables[inner]) > 1:
        return None
    order = node.op.new_order
    kept = [e for e in order if e != "x"]
    if owner.op.inplace_pattern or len(owner.outputs) != 1 or kept != sorted(kept):
        return None
    ndim = inner.type.ndim
    moved = []
    for var in owner.inputs:
        missing = ndim - var.type.ndim
        # What the operand does not have is broadcast anyway; what is dropped has extent 1.
        pattern = ["x" if e == "x" or e < missing else e - missing for e in order]
        while pattern and pattern[0] == "x":
            pattern.pop(0)
        moved.append(T.dimshuffle(var, pattern) if var.type.ndim else var)
    lifted = owner.op(*moved)
    # Where no operand has the first dimension it has to be put in front of the result.
    return lifted if lifted.type.ndim == len(order) else None


@canonicalize.rewriter(DimShuffle, name="transposed_back", depth=2)
def transposed_back(fgraph: FunctionGraph, node: Apply) -> Any:
    """f(x.T, v).T is f(x, v.T), where v is smaller and nothing else uses f(x.T, v)."""
    (inner,) = node.inputs
    owner = inner.owner
    if owner is None or type(owner.op) is not Elemwise or len(fgraph.variables[inner]) > 1:
        return None
    order, ndim = node.op.new_order, inner.type.ndim
    if owner.op.inplace_pattern or len(owner.outputs) != 1 or sorted(map(str, order)) != [
        str(d) for d in range(ndim)
    ]:  # fmt: skip
        return None
    back = tuple(order.index(d) for d in range(ndim))
    found = [permutation(v) == back for v in owner.inputs]
    if not any(found) or not all(
        same or v.type.ndim < ndim or v.type.broadcastable != inner.type.broadcastable
        for same, v in zip(found, owner.inputs)
    ):
        return None
    moved = []
    for v in owner.inputs:
        missing = ndim - v.type.ndim
        pattern = ["x" if e < missing else e - missing for e in order]
        while pattern and pattern[0] == "x":
            pattern.pop(0)
        moved.append(T.dimshuffle(v, pattern) if v.type.ndim else v)
    return owner.op(*moved)


@canonicalize.rewriter(Elemwise, name="transposed_together", depth=2)
def transposed_together(fgraph: FunctionGraph, node: Apply) -> Any:
    """f(x.T, y.T) is f(x, y).T."""
    op, order, count = node.op, None, 0
    for v in node.inputs:
        if v.type.ndim:
            found = permutation(v)
            if found is None or order not in (None, found):
                return None
            order, count = found, count + 1
    if order is None or count < 2 or op.inplace_pattern or len(node.outputs) != 1:
        return None
    return T.dimshuffle(op(*[v.owner.inputs[0] if v.type.ndim else v for v in node.inputs]), order)
