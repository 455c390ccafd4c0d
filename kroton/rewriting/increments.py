"""Additions into parts of zeros, as gradients of indexing have them, go where they are added to."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import agreeing, same_extent
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.parts import parts_of, surely_in_range
from kroton.rewriting.phases import canonicalize, specialize
from kroton.rewriting.shape import extent, place_of_extent, source_of_extent
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.indexing import FULL, Slice
from kroton.tensor.subtensor import BaseIncSubtensor, IncSubtensor, Subtensor

T: Any = kroton.tensor


@canonicalize.rewriter(IncSubtensor, name="inc_subtensor_of_everything")
def inc_subtensor_of_everything(fgraph: FunctionGraph, node: Apply) -> Any:
    """Adding to x[:] is adding to x; what is put into x[:] stands in its place."""
    op, (x, y) = node.op, node.inputs[:2]
    if op.inplace or any(entry != FULL for entry in op.idx_list):
        return None
    if not op.set_instead_of_inc:
        return x + y
    if y.type.ndim != x.type.ndim or not x.type.is_super(y.type):
        return None
    read = x.owner
    if (
        read is not None
        and type(read.op) is Subtensor
        and not all(map(surely_in_range, parts_of(read), read.inputs[0].type.shape))
    ):
        return None  # an index that may be out of range has to be looked at
    agree = all(same_extent(fgraph, x, d, y, d) for d in range(x.type.ndim))
    return y if agree else None


@canonicalize.rewriter(IncSubtensor, name="idle_increment")
def idle_increment(fgraph: FunctionGraph, node: Apply) -> Any:
    """Adding 0 to a part, or putting there what is there, where the index is surely in range."""
    op, (x, y, *given) = node.op, node.inputs
    if op.inplace or not all(map(surely_in_range, parts_of(node), x.type.shape)):
        return None
    if op.set_instead_of_inc:
        read = y.owner
        same = (
            read is not None
            and type(read.op) is Subtensor
            and read.op.idx_list == op.idx_list
            and read.inputs == [x, *given]
        )
        return x if same else None
    zero = uniform_value(y)
    idle = zero is not None and zero == 0 and all(y.type.broadcastable)
    return x if idle else None


@canonicalize.rewriter(IncSubtensor, name="set_again")
def set_again(fgraph: FunctionGraph, node: Apply) -> Any:
    """Of what is put at one index twice, the first is not needed."""
    op, (x, y, *given) = node.op, node.inputs
    inner = x.owner
    if op.inplace or not op.set_instead_of_inc or inner is None:
        return None
    if type(inner.op) is not IncSubtensor or inner.op.inplace or len(fgraph.variables[x]) > 1:
        return None
    base, first, *also = inner.inputs
    if inner.op.idx_list != op.idx_list or also != given:
        return None
    # What was put there first had to fit as well.
    if not all(first.type.broadcastable) and not (
        first.type.ndim == y.type.ndim
        and all(same_extent(fgraph, first, d, y, d) for d in range(y.type.ndim))
    ):
        return None
    return op(base, y, *given)


def _into_zeros(fgraph: FunctionGraph, var: Variable) -> Apply | None:
    """The Apply that adds to a part of zeros to make `var`, if nothing else reads that."""
    node = var.owner
    if node is None or not isinstance(node.op, BaseIncSubtensor):
        return None
    if node.op.set_instead_of_inc or node.op.inplace or len(fgraph.variables[var]) > 1:
        return None
    base = uniform_value(node.inputs[0])
    return node if base is not None and bool(base == 0) else None


@specialize.rewriter(IncSubtensor, name="parts_of_zeros", depth=1)
def parts_of_zeros(fgraph: FunctionGraph, node: Apply) -> Any:
    """Zeros of which each part along a dimension gets something are a join of what they get.

    Where the parts are slices of a known extent, as the gates of a recurrent network are.
    """
    users = fgraph.variables[node.outputs[0]]
    if any(_is_part(client, node) for client, _ in users):
        return None
    pieces: dict[int, tuple[int, Any]] = {}
    current: Any = node
    axis = _axis_of(node)
    if axis is None or not _is_part(node, node):
        return None
    whole = node.outputs[0].type.shape[axis]
    while True:
        base, y = current.inputs
        taken = range(whole)[_slice(current, axis)]
        if taken.step != 1 or not len(taken) or taken.start in pieces:
            return None
        pieces[taken.start] = (taken.stop, y)
        inner = base.owner
        if inner is None or not _is_part(inner, node) or len(fgraph.variables[base]) > 1:
            break
        current = inner
    if uniform_value(base) != 0:
        return None
    stop, chosen = 0, []
    for start, (end, y) in sorted(pieces.items()):
        if start != stop or y.type.ndim != base.type.ndim or y.type.dtype != base.type.dtype:
            return None
        if y.type.shape[axis] != end - start or not all(
            _inferred(fgraph, base, d) == _inferred(fgraph, y, d)
            for d in range(y.type.ndim)
            if d != axis
        ):
            return None
        stop = end
        chosen.append(y)
    return T.join(axis, *chosen) if stop == whole and len(chosen) > 1 else None


def _inferred(fgraph: FunctionGraph, x: Any, d: int) -> Any:
    """Where the extent of dimension `d` comes from, as far as shape inference tells."""
    source = source_of_extent(fgraph, x, d)
    if isinstance(source, int):
        return source
    place = place_of_extent(T.as_tensor_variable(extent(fgraph, x, d)))
    return source_of_extent(fgraph, *place) if isinstance(place, tuple) else place or source


def _axis_of(node: Any) -> int | None:
    """The only dimension that is indexed, if its extent is known."""
    axes = [d for d, entry in enumerate(node.op.idx_list) if entry != FULL]
    if len(axes) != 1 or node.outputs[0].type.shape[axes[0]] is None:
        return None
    return axes[0]


def _is_part(client: Any, like: Any) -> bool:
    """Whether it adds to, or sets, a slice of numbers along the same dimension as `like`."""
    if client == "output" or type(client.op) is not IncSubtensor or client.op.inplace:
        return False
    if len(client.inputs) != 2 or client.outputs[0].type != like.outputs[0].type:
        return False
    axis = _axis_of(like)
    return (
        axis is not None
        and _axis_of(client) == axis
        and isinstance(client.op.idx_list[axis], Slice)
    )


def _slice(node: Any, axis: int) -> slice:
    part = node.op.idx_list[axis]
    return slice(part.start, part.stop, part.step)


@specialize.rewriter("mul", "true_div", "neg", name="scaled_increment")
def scaled_increment(fgraph: FunctionGraph, node: Apply) -> Any:
    """A scalar factor of zeros with something added to a part scales what is added."""
    if node.outputs[0].type.numpy_dtype.kind != "f":
        return None
    for k, var in enumerate(node.inputs):
        inc = _into_zeros(fgraph, var)
        if inc is None or (k == 1 and node.op.name == "true_div"):
            continue
        zeros, y, *given = inc.inputs
        factors = [v for i, v in enumerate(node.inputs) if i != k]
        if any(v.type.ndim > y.type.ndim or not all(v.type.broadcastable) for v in factors):
            continue
        operands = [y if i == k else v for i, v in enumerate(node.inputs)]
        scaled = node.op(*operands)
        return inc.op(zeros, scaled, *given) if scaled.type == y.type else None
    return None


@specialize.rewriter("add", "sub", name="sum_with_increment", depth=3)
def sum_with_increment(fgraph: FunctionGraph, node: Apply) -> Any:
    """x plus zeros with y added to a part is x with y added to that part."""
    left, right = node.inputs
    out: Any = node.outputs[0]
    if out.type.numpy_dtype.kind == "b":
        return None
    for var, x in ((right, left), (left, right)):
        inc = _into_zeros(fgraph, var)
        if inc is None or x.type.broadcastable != var.type.broadcastable:
            continue
        if type(getattr(x.owner, "op", None)) is Elemwise and len(fgraph.variables[x]) > 1:
            # It is needed as it is, so that it would be copied.
            continue
        _, y, *given = inc.inputs
        if node.op.name == "sub":
            if x is right:
                x = -x
            else:
                y = -y
        return inc.op(agreeing(fgraph, x, var, without=node), y, *given)
    return None
