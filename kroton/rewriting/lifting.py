"""Indexing moves towards the inputs, so that `f(x)[0]` computes one row.

An index of numbers and slices goes through what only reorders, joins or fills (`canonicalize`),
and through what computes (`specialize`, when expressions have been recognized as a whole). An
index that may be out of range stays on something that has the extent, and extents that had to
agree are still checked, so that errors stay errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import same_extent, with_extent
from kroton.rewriting.parts import (
    Part,
    composed,
    disjoint,
    is_slice,
    parts_of,
    pieces_of,
    selected,
    surely_in_range,
    taken,
)
from kroton.rewriting.phases import canonicalize, specialize
from kroton.rewriting.shape import extent, place_of_extent, source_of_extent
from kroton.tensor.argmax import Argmax, Argmin
from kroton.tensor.creation import Alloc
from kroton.tensor.cumulative import CumOp
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.indexing import FULL, slice_length
from kroton.tensor.joining import Join
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax
from kroton.tensor.products import BatchedDot, Dot
from kroton.tensor.reduction import CAReduce
from kroton.tensor.shape import AssertShape, SpecifyShape
from kroton.tensor.subtensor import IncSubtensor, Subtensor

T: Any = kroton.tensor

_READERS = 8
"""Results that more Subtensors read are computed as a whole."""

_TERMS = 8
"""So many nodes of a sum are searched for products."""


def _read_in_parts(fgraph: FunctionGraph, var: Variable) -> bool:
    """Whether only Subtensors that leave something out, and share nothing, read `var`."""
    clients = [client for client, _ in fgraph.variables[var]]
    if len(clients) > _READERS or any(
        client == "output" or type(client.op) is not Subtensor for client in clients
    ):
        return False
    read = [parts_of(client) for client in clients]
    if not all(selected(parts, var.type.shape) for parts in read):
        return False
    return all(
        any(disjoint(p, q) for p, q in zip(a, b)) for k, a in enumerate(read) for b in read[k + 1 :]
    )


# ---- through views, joins and fills --------------------------------------------------------


@canonicalize.rewriter(Subtensor, name="subtensor_of_subtensor")
def subtensor_of_subtensor(fgraph: FunctionGraph, node: Apply) -> Any:
    """An index of an index is one index, where that names the same elements for every extent."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not Subtensor:
        return None
    (x, *_), outer = inner.inputs, iter(parts_of(node))
    merged = []
    for size, part in zip(x.type.shape, parts_of(inner)):
        if is_slice(part):
            part = composed(part, next(outer), size)
            if part is None:
                return None
        merged.append(part)
    return taken(x, merged)


@canonicalize.rewriter(Subtensor, name="subtensor_of_dimshuffle")
def subtensor_of_dimshuffle(fgraph: FunctionGraph, node: Apply) -> Any:
    """Dimensions are indexed before they are reordered."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not DimShuffle:
        return None
    (x,) = inner.inputs
    parts = parts_of(node)
    chosen: list[Part] = [FULL] * x.type.ndim
    for e, part in zip(inner.op.new_order, parts):
        if e != "x":
            chosen[e] = part
        elif part not in (FULL, 0, -1):
            return None
    left: dict[int, int] = {}
    for d, part in enumerate(chosen):
        if is_slice(part):
            left[d] = len(left)
    order = [
        "x" if e == "x" else left[e] for e, part in zip(inner.op.new_order, parts) if is_slice(part)
    ]
    return T.dimshuffle(taken(x, chosen), order)


@canonicalize.rewriter(Subtensor, name="subtensor_of_alloc")
def subtensor_of_alloc(fgraph: FunctionGraph, node: Apply) -> Any:
    """Part of a filled tensor is a smaller one, where numbers are known to be in range."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not Alloc:
        return None
    (value, *extents), wide = inner.inputs, node.inputs[0]
    missing = len(extents) - value.type.ndim
    small: list[Part] = []
    shape = []
    for d, (part, size) in enumerate(zip(parts_of(node), wide.type.shape)):
        stretched = d < missing or value.type.shape[d - missing] == 1
        if stretched and not surely_in_range(part, size):
            return None
        if not stretched and part != FULL:
            value = _agreeing_with(fgraph, value, d - missing, wide, d)
        if d >= missing:
            small.append(part if not stretched else FULL if is_slice(part) else 0)
        if is_slice(part):
            shape.append(slice_length(part, extents[d] if size is None else size))
    result = taken(value, small)
    if not shape:
        return result
    return T.alloc(result, *shape) if _read_in_parts(fgraph, wide) else None


def _agreeing_with(fgraph: FunctionGraph, x: Any, i: int, y: Any, j: int) -> Any:
    """`x`, checked to have as many elements in dimension `i` as `y` in dimension `j`."""
    return x if same_extent(fgraph, x, i, y, j) else with_extent(x, i, extent(fgraph, y, j))


@canonicalize.rewriter(Subtensor, name="subtensor_of_checked")
def subtensor_of_checked(fgraph: FunctionGraph, node: Apply) -> Any:
    """What takes all along the dimensions that are checked is checked afterwards."""
    checked: Any = node.inputs[0]
    inner = checked.owner
    if inner is None or len(fgraph.variables[checked]) > 1:
        return None
    x, *extents = inner.inputs
    parts, kind = parts_of(node), type(inner.op)
    if kind is AssertShape:
        asked = dict(zip(inner.op.axes, extents))
    elif kind is SpecifyShape:
        asked = {d: e for d, e in enumerate(inner.op.shape) if e is not None}
    else:
        return None
    if any(parts[d] != FULL for d in asked):
        return None
    left = [asked.get(d) for d, part in enumerate(parts) if is_slice(part)]
    return T.specify_shape(taken(x, parts), left)


@canonicalize.rewriter(Subtensor, name="subtensor_of_join")
def subtensor_of_join(fgraph: FunctionGraph, node: Apply) -> Any:
    """Of joined tensors only those are looked at that the index takes something of."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not Join:
        return None
    axis, pieces = inner.op.axis, list(inner.inputs)
    parts = parts_of(node)
    sizes = [v.type.shape[axis] for v in pieces]
    found = pieces_of(parts[axis], sizes)
    if found is None and (k := _whole_piece(fgraph, parts[axis], pieces, axis)) is not None:
        found = [(k, FULL)]
    if found is None:
        if parts[axis] != FULL:
            return None
        found = [(k, FULL) for k in range(len(pieces))]
    if not found or (len(found) > 1 and not _read_in_parts(fgraph, node.inputs[0])):
        return None
    if len(found) < len(pieces):
        first = found[0][0]
        others = [v for k, v in enumerate(pieces) if k not in dict(found)]
        pieces[first] = _agreeing_beside(fgraph, pieces[first], axis, others)
    elif any(p != FULL for d, p in enumerate(parts) if d != axis):
        # Only some of the other extents are compared from now on.
        pieces[0] = _agreeing_beside(fgraph, pieces[0], axis, pieces[1:])
    chosen = [taken(pieces[k], [*parts[:axis], p, *parts[axis + 1 :]]) for k, p in found]
    if len(chosen) == 1:
        return chosen[0]
    return T.join(sum(map(is_slice, parts[:axis])), *chosen)


def _whole_piece(fgraph: FunctionGraph, part: Part, pieces: list[Any], axis: int) -> int | None:
    """Which piece the part takes, if its bound is where the first of them ends."""
    if not is_slice(part) or part.step not in (None, 1):
        return None
    first = source_of_extent(fgraph, pieces[0], axis)
    if part.start in (None, 0) and isinstance(part.stop, Variable):
        return 0 if _names(fgraph, part.stop, first) else None
    if part.stop is None and isinstance(part.start, Variable) and len(pieces) == 2:
        return 1 if _names(fgraph, part.start, first) else None
    return None


def _names(fgraph: FunctionGraph, bound: Variable, source: Any) -> bool:
    """Whether the bound of a slice is the extent that comes from there."""
    place = place_of_extent(bound)
    return isinstance(place, tuple) and source_of_extent(fgraph, *place) == source


def _agreeing_beside(fgraph: FunctionGraph, x: Any, axis: int, others: list[Any]) -> Any:
    """`x`, checked to have the extents of others but for those along `axis`."""
    for v in others:
        for d in range(x.type.ndim):
            if d != axis:
                x = _agreeing_with(fgraph, x, d, v, d)
    return x


# ---- of what has been written to -----------------------------------------------------------


@canonicalize.rewriter(Subtensor, name="subtensor_of_inc_subtensor")
def subtensor_of_inc_subtensor(fgraph: FunctionGraph, node: Apply) -> Any:
    """What was put at an index is read there again; what is elsewhere is as it was."""
    inner = node.inputs[0].owner
    if inner is None or type(inner.op) is not IncSubtensor or inner.op.inplace:
        return None
    x, y = inner.inputs[:2]
    if node.op.idx_list == inner.op.idx_list and node.inputs[1:] == inner.inputs[2:]:
        region = node.op(x, *node.inputs[1:])
        if not inner.op.set_instead_of_inc:
            return region + y
        if _is_whole(fgraph, node, x, y, region):
            return y
        # Reads the region, so that the index and the extents are checked.
        return IncSubtensor((), set_instead_of_inc=True)(region, y)
    read, written = parts_of(node), parts_of(inner)
    if y.type.ndim and not all(y.type.broadcastable):
        return None
    if not any(disjoint(a, b) for a, b in zip(read, written)):
        return None
    for size, a, b in zip(x.type.shape, read, written):
        # Reading has to fail wherever writing does.
        if not surely_in_range(b, size) and not (
            isinstance(a, int) and isinstance(b, int) and (0 <= b <= a or a <= b < 0)
        ):
            return None
    return node.op(x, *node.inputs[1:])


def _is_whole(fgraph: FunctionGraph, node: Apply, x: Any, y: Any, region: Any) -> bool:
    """Whether `y` has the shape of the region, and the index is in range."""
    if y.type.ndim != region.type.ndim or not region.type.is_super(y.type):
        return False
    sizes = []
    for d, part in enumerate(parts_of(node)):
        if not surely_in_range(part, x.type.shape[d]):
            return False
        if is_slice(part):
            sizes.append((d, part))
    for k, (d, part) in enumerate(sizes):
        known = region.type.shape[k]
        if known is not None and known == y.type.shape[k]:
            continue
        if part != FULL or not same_extent(fgraph, x, d, y, k):
            return False
    return True


# ---- through what computes -----------------------------------------------------------------


@specialize.rewriter(Subtensor, name="subtensor_of_elemwise")
def subtensor_of_elemwise(fgraph: FunctionGraph, node: Apply) -> Any:
    """f(x, y)[i] is f(x[i], y[i]), where nothing else of the result is read."""
    out: Any = node.inputs[0]
    inner = out.owner
    if inner is None or type(inner.op) is not Elemwise or len(inner.outputs) != 1:
        return None
    if inner.op.inplace_pattern or not _read_in_parts(fgraph, out):
        return None
    if len(fgraph.variables[out]) > 1 and _adds_products(fgraph, inner):
        # Gates of a recurrent network: the products are made as wholes, and accumulate.
        return None
    return inner.op(*_indexed(fgraph, inner.inputs, out, parts_of(node)))


def _adds_products(fgraph: FunctionGraph, node: Apply) -> bool:
    """Whether it is a sum with a product of matrices among its terms."""
    stack = [node]
    for _ in range(_TERMS):
        if not stack:
            return False
        current = stack.pop()
        if type(current.op) is Elemwise and current.op.name in ("add", "sub"):
            for v in current.inputs:
                if v.owner is not None and len(fgraph.variables[v]) == 1:
                    if type(v.owner.op) is Dot:
                        return True
                    stack.append(v.owner)
    return False


def _indexed(
    fgraph: FunctionGraph, operands: Sequence[Any], out: Any, parts: Sequence[Part]
) -> list[Any]:
    """The operands of an elementwise operation, indexed as its result `out` is."""
    moved: list[Any] = []
    # More may be known of the operands than when the result got its type.
    ndim = out.type.ndim
    wide = [
        any(d >= ndim - v.type.ndim and v.type.shape[d - ndim] != 1 for v in operands)
        for d in range(ndim)
    ]
    for k, v in enumerate(operands):
        missing = ndim - v.type.ndim
        chosen = []
        for d, part in enumerate(parts[missing:], missing):
            stretched = v.type.shape[d - missing] == 1 and wide[d]
            chosen.append(part if not stretched else FULL if is_slice(part) else 0)
            if not stretched and part != FULL:
                v = _agreeing_in(fgraph, v, d - missing, operands[:k], out.owner)
        moved.append(taken(v, chosen))
    return moved


def _agreeing_in(fgraph: FunctionGraph, x: Any, d: int, others: Sequence[Any], node: Apply) -> Any:
    """`x`, checked to have the extent of the others in dimension `d`, which will be indexed."""
    for v in others:
        k = d - x.type.ndim + v.type.ndim
        if k >= 0 and v.type.shape[k] != 1:
            if same_extent(fgraph, x, d, v, k, node):
                return x
            return with_extent(x, d, extent(fgraph, v, k))
    return x


@specialize.rewriter(Subtensor, name="subtensor_of_product")
def subtensor_of_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(x, y)[i, j] is dot(x[i], y[:, j]), where nothing else of the product is read."""
    product: Any = node.inputs[0]
    inner = product.owner
    if inner is None or type(inner.op) is not Dot or len(fgraph.variables[product]) > 1:
        return None
    parts = parts_of(node)
    if not selected(parts, product.type.shape):
        return None
    x, y = inner.inputs
    rows = x.type.ndim - 1
    return inner.op(taken(x, [*parts[:rows], FULL]), taken(y, [FULL, *parts[rows:]]))


@specialize.rewriter(Subtensor, name="subtensor_of_batched_product")
def subtensor_of_batched_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """batched_dot(x, y)[i] is dot(x[i], y[i]), where nothing else of the products is read."""
    product: Any = node.inputs[0]
    inner = product.owner
    if inner is None or type(inner.op) is not BatchedDot or len(fgraph.variables[product]) > 1:
        return None
    parts = parts_of(node)
    batch, rest = parts[:-2], parts[-2:]
    if not selected(batch, product.type.shape) or rest != [FULL, FULL]:
        return None
    moved: list[Any] = []
    for v, other in (inner.inputs, inner.inputs[::-1]):
        chosen = []
        for d, part in enumerate(batch):
            stretched = v.type.shape[d] == 1 != other.type.shape[d]
            chosen.append(part if not stretched else FULL if is_slice(part) else 0)
            if moved and not stretched and part != FULL and other.type.shape[d] != 1:
                v = _agreeing_in(fgraph, v, d, [other], inner)
        moved.append(taken(v, [*chosen, FULL, FULL]))
    a, b = moved
    return T.dot(a, b) if a.type.ndim == 2 else inner.op(a, b)


@specialize.rewriter(Subtensor, name="subtensor_of_reduction")
def subtensor_of_reduction(fgraph: FunctionGraph, node: Apply) -> Any:
    """sum(x, axis=1)[i] is sum(x[i]), where nothing else of the sums is read."""
    reduced: Any = node.inputs[0]
    inner = reduced.owner
    if inner is None or type(inner.op) is not CAReduce or not _read_in_parts(fgraph, reduced):
        return None
    (x,) = inner.inputs
    parts = iter(parts_of(node))
    chosen: list[Part] = []
    axes = []
    kept = 0
    for d in range(x.type.ndim):
        part = FULL if d in inner.op.axis else next(parts)
        if d in inner.op.axis:
            axes.append(kept)
        kept += is_slice(part)
        chosen.append(part)
    op = replace(inner.op, axis=tuple(axes))
    return op(taken(x, chosen))


@specialize.rewriter(Subtensor, name="subtensor_of_argmax")
def subtensor_of_argmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """argmax(x, axis=1)[i] is argmax(x[i], axis=0), where nothing else of it is read."""
    whole: Any = node.inputs[0]
    inner = whole.owner
    if inner is None or type(inner.op) not in (Argmax, Argmin):
        return None
    if not _read_in_parts(fgraph, whole):
        return None
    (x,) = inner.inputs
    parts = iter(parts_of(node))
    chosen = [FULL if d in inner.op.axis else next(parts) for d in range(x.type.ndim)]
    axes = tuple(sum(map(is_slice, chosen[:d])) for d in inner.op.axis)
    return type(inner.op)(axes)(taken(x, chosen))


@specialize.rewriter(Subtensor, name="subtensor_of_cumulative")
def subtensor_of_cumulative(fgraph: FunctionGraph, node: Apply) -> Any:
    """cumsum(x, axis=1)[i] is cumsum(x[i], axis=0), where nothing else of it is read."""
    whole: Any = node.inputs[0]
    inner = whole.owner
    if inner is None or type(inner.op) is not CumOp:
        return None
    parts, axis = parts_of(node), inner.op.axis
    if parts[axis] != FULL or not _read_in_parts(fgraph, whole):
        return None
    op = CumOp(sum(map(is_slice, parts[:axis])), inner.op.mode)
    return op(taken(inner.inputs[0], parts))


@specialize.rewriter(Subtensor, name="subtensor_of_softmax")
def subtensor_of_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """softmax(x, axis=1)[i] is softmax(x[i]), where nothing else of it is read."""
    whole: Any = node.inputs[0]
    inner = whole.owner
    if inner is None or type(inner.op) not in (Softmax, LogSoftmax) or inner.op.axis is None:
        return None
    parts = parts_of(node)
    axis = inner.op.axis
    if parts[axis] != FULL or not _read_in_parts(fgraph, whole):
        return None
    return type(inner.op)(sum(map(is_slice, parts[:axis])))(taken(inner.inputs[0], parts))
