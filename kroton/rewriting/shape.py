"""Shape inference: no value is computed to know a shape."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph, InconsistencyError
from kroton.graph.op import ShapeError
from kroton.graph.traversal import equal_computations
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import canonicalize
from kroton.tensor.advanced_subtensor import (
    AdvancedIncSubtensor,
    AdvancedIncSubtensor1,
    AdvancedSubtensor,
    AdvancedSubtensor1,
)
from kroton.tensor.arange import ARange
from kroton.tensor.creation import Alloc
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.indexing import FULL, Slice
from kroton.tensor.joining import Join
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce
from kroton.tensor.reshape import Reshape
from kroton.tensor.shape import (
    AssertShape,
    MakeVector,
    Shape,
    Shape_i,
    SpecifyShape,
    Unbroadcast,
    as_extent,
)
from kroton.tensor.subtensor import IncSubtensor, Subtensor
from kroton.tensor.type import TensorType

T: Any = kroton.tensor

_KEEP_SHAPE = {
    AdvancedIncSubtensor,
    AdvancedIncSubtensor1,
    AssertShape,
    IncSubtensor,
    LogSoftmax,
    Softmax,
    SoftmaxGrad,
    SpecifyShape,
    Unbroadcast,
}
"""Ops whose result has the shape of their first input."""


@canonicalize.rewriter(Shape, name="shape_to_extents", depth=1)
def shape_to_extents(fgraph: FunctionGraph, node: Apply) -> Any:
    """The shape as a vector of extents, each of which is inferred by itself."""
    (x,) = node.inputs
    return T.make_vector(*[T.shape_i(x, d) for d in range(x.type.ndim)], dtype="int64")


_REVERSED = Slice(None, None, -1)

_LONGEST = 1000
"""Of the way to an extent: if it is longer, it may be that a rule has made a cycle."""

_sources: WeakKeyDictionary[FunctionGraph, dict[tuple[Variable, int], tuple[Variable, int]]] = (
    WeakKeyDictionary()
)


def source_of_extent(fgraph: FunctionGraph, x: Variable, d: int) -> tuple[Variable, int] | int:
    """The earliest Variable and its dimension that has the extent of dimension `d` of `x`.

    Goes through elementwise operations, dimshuffles and reductions; an int where the extent is
    known. What has been found is remembered, so that a chain is walked once, whatever
    the number of its extents that somebody asks for.
    """
    known = _sources.setdefault(fgraph, {})
    walked: list[tuple[Variable, int]] = []
    found: tuple[Variable, int] | int
    while True:
        static = x.type.shape[d]
        if static is not None:
            return int(static)
        remembered = known.get((x, d))
        if remembered is not None and remembered[0] in fgraph.variables:
            found = remembered
            break
        step = _towards_inputs(x, d)
        if step is None:
            found = (x, d)
            break
        if isinstance(step, int):
            return step
        walked.append((x, d))
        x, d = step
        if len(walked) > _LONGEST and len(walked) > len(fgraph.apply_nodes):
            raise InconsistencyError(f"the graph has a cycle through {x.owner}")
    for place in walked:
        known[place] = found
    return found


def _towards_inputs(x: Variable, d: int) -> tuple[Variable, int] | int | None:
    """The input of the Apply of `x` that dimension `d` comes from, and its dimension there."""
    node = x.owner
    if node is None:
        return None
    op = node.op
    kind = type(op)
    if kind is Elemwise:
        ndim = x.type.ndim
        for var in node.inputs:
            k = d - (ndim - var.type.ndim)
            if k >= 0 and var.type.shape[k] != 1:
                return var, k
        return 1
    if kind is DimShuffle:
        e = op.new_order[d]
        return 1 if e == "x" else (node.inputs[0], e)
    if kind is CAReduce:
        axes = op.axis
        return node.inputs[0], [k for k in range(node.inputs[0].type.ndim) if k not in axes][d]
    if kind is Dot:
        a, b = node.inputs
        rows = a.type.ndim - 1
        return (a, d) if d < rows else (b, b.type.ndim - 1)
    if kind in _KEEP_SHAPE:
        return node.inputs[0], d
    if kind is Subtensor:
        left = [k for k, entry in enumerate(op.idx_list) if isinstance(entry, Slice)]
        k = left[d] if d < len(left) else d - len(left) + len(op.idx_list)
        whole = k >= len(op.idx_list) or op.idx_list[k] in (FULL, _REVERSED)
        return (node.inputs[0], k) if whole else None
    if kind is Join and d != op.axis:
        return node.inputs[0], d
    if kind is Alloc:
        return place_of_extent(node.inputs[1 + d])
    if kind is ARange:
        start, stop, step = node.inputs
        if uniform_value(start) == 0 and uniform_value(step) == 1:
            return place_of_extent(stop) if not isinstance(stop, Constant) else None
        return None
    if kind is AdvancedSubtensor1:
        return (node.inputs[0], d) if d else (node.inputs[1], 0)
    if kind is AdvancedSubtensor and d == 0 and len(node.inputs) == 3:
        return _rows_and_columns(node)
    return None


def _rows_and_columns(node: Apply) -> tuple[Variable, int] | None:
    """y, if the index is `[arange(y.shape[0]), y]`."""
    _, rows, y = node.inputs
    if rows.owner is None or type(rows.owner.op) is not ARange or len(node.op.idx_list) != 2:
        return None
    place = place_of_extent(rows.owner.inputs[1])
    return (y, 0) if place == (y, 0) else None


def place_of_extent(e: Any) -> tuple[Variable, int] | int | None:
    """The Variable and its dimension that has the extent `e`, as far as `e` itself tells."""
    if isinstance(e, Constant):
        return int(e.data)
    owner = e.owner
    if owner is not None and type(owner.op) is Shape_i:
        return owner.inputs[0], owner.op.i
    return None


def never_negative(e: Any, depth: int = 6) -> bool:
    """Whether an extent is known not to be below 0, as what a user gives may be."""
    place = place_of_extent(e)
    if place is not None:
        return isinstance(place, tuple) or place >= 0
    owner = e.owner
    if owner is None or not depth or type(owner.op) is not Elemwise:
        return False
    known = [never_negative(v, depth - 1) for v in owner.inputs]
    name = owner.op.name
    if name == "maximum":
        return any(known)
    if name == "switch":
        return all(known[1:])
    if name in ("add", "mul", "minimum", "int_div", "identity") or name.startswith("cast"):
        return all(known)
    return False


def extent(fgraph: FunctionGraph, x: Variable, d: int, depth: int = 2) -> Any:
    """The extent of dimension `d` of `x`: an int, or a scalar that needs no value of `x`.

    Asks `infer_shape` of at most `depth` Applys on a path; beyond, it is a Shape_i that the
    engine will visit again.
    """
    found = source_of_extent(fgraph, x, d)
    if isinstance(found, int):
        return found
    source, d = found
    owner = source.owner
    if owner is None or depth == 0:
        return T.shape_i(source, d)
    shapes = None
    try:
        known = [
            tuple(extent(fgraph, v, k, depth - 1) for k in range(v.type.ndim))
            if isinstance(v.type, TensorType)
            else ()
            for v in owner.inputs
        ]
        shapes = owner.op.infer_shape(owner, known)
    except ShapeError:
        pass
    if shapes is None or shapes[source.index] is None:
        return T.shape_i(source, d)
    return shapes[source.index][d]


@canonicalize.rewriter(Shape_i, name="infer_extent")
def infer_extent(fgraph: FunctionGraph, node: Apply) -> Any:
    """The extent of a result from those of what it is made of."""
    (x,) = node.inputs
    if x.owner is None and x.type.shape[node.op.i] is None:
        return None
    inferred = as_extent(extent(fgraph, x, node.op.i))
    if (
        inferred.owner is not None
        and inferred.owner.op == node.op
        and inferred.owner.inputs[0] is x
    ):
        return None
    return inferred


@canonicalize.rewriter(SpecifyShape, Unbroadcast, name="useless_shape_statement")
def useless_shape_statement(fgraph: FunctionGraph, node: Apply) -> Any:
    """A statement about the shape that is known to hold, or one of another."""
    x, out = node.inputs[0], node.outputs[0]
    if x.type == out.type:
        return x
    owner = x.owner
    if type(node.op) is Unbroadcast and owner is not None and type(owner.op) is Unbroadcast:
        axes = sorted({*node.op.axes, *owner.op.axes})
        return T.unbroadcast(owner.inputs[0], *axes)
    return None


@canonicalize.rewriter(AssertShape, name="useless_check_of_shape")
def useless_check_of_shape(fgraph: FunctionGraph, node: Apply) -> Any:
    """A check of extents of which some are those that they are compared with."""
    x, *extents = node.inputs
    asked = []
    for d, e in zip(node.op.axes, extents):
        place = place_of_extent(e)
        if isinstance(place, tuple):
            place = source_of_extent(fgraph, *place)
        if place is not None and place == source_of_extent(fgraph, x, d):
            continue
        # Extents of what an index takes depend on several others.
        known = extent(fgraph, x, d)
        if not isinstance(known, Variable) or not equal_computations([known], [e]):
            asked.append((d, e))
    if len(asked) == len(extents):
        return None
    return AssertShape(tuple(d for d, _ in asked))(x, *(e for _, e in asked)) if asked else x


@canonicalize.rewriter(Reshape, name="useless_reshape")
def useless_reshape(fgraph: FunctionGraph, node: Apply) -> Any:
    """A reshape to the shape that is there, or of a reshape."""
    x, shape = node.inputs
    out = node.outputs[0]
    if x.type.ndim == out.type.ndim:
        if None not in x.type.shape and x.type == out.type:
            return x
        if x.type.ndim == 1 and uniform_value(shape) == -1:
            return x
        if _extents_of(shape, x):
            return x
    owner = x.owner
    if owner is not None and type(owner.op) is Reshape:
        return T.reshape(owner.inputs[0], shape, ndim=out.type.ndim)
    return None


@canonicalize.rewriter(Reshape, name="reshape_of_ones")
def reshape_of_ones(fgraph: FunctionGraph, node: Apply) -> Any:
    """A reshape that only adds or drops dimensions of extent 1 is a dimshuffle."""
    x, shape = node.inputs
    extents = _entries(shape)
    kept = [d for d, known in enumerate(x.type.shape) if known != 1]
    if extents is None or len(extents) == x.type.ndim == len(kept):
        return None
    order: list[Any] = []
    left = list(kept)
    for e in extents:
        bound = uniform_value(e)
        if bound is not None and bound == 1:
            order.append("x")
            continue
        if not left:
            return None
        d = left.pop(0)
        if bound is not None and bound == -1:
            # Beside an extent of 0 it could be any number, which is an error.
            if not all(x.type.shape[k] for k in kept if k != d):
                return None
        else:
            place = place_of_extent(e)
            if isinstance(place, tuple):
                place = source_of_extent(fgraph, *place)
            if place is None or place != source_of_extent(fgraph, x, d):
                return None
        order.append(d)
    return None if left else T.dimshuffle(x, order)


def _entries(shape: Variable) -> list[Variable] | None:
    """The elements of a vector, if they are known one by one."""
    if isinstance(shape, Constant):
        return [T.constant(e) for e in shape.data]
    owner = shape.owner
    return owner.inputs if owner is not None and type(owner.op) is MakeVector else None


def _extents_of(shape: Variable, x: Variable) -> bool:
    """Whether the vector is that of the extents of `x`."""
    owner = shape.owner
    if owner is None:
        return False
    if type(owner.op) is Shape:
        return owner.inputs[0] is x
    if type(owner.op) is not MakeVector:
        return False
    for d, extent in enumerate(owner.inputs):
        known = x.type.shape[d]
        if isinstance(extent, Constant):
            if known is None or int(extent.data) != known:
                return False
        elif not (
            extent.owner is not None
            and type(extent.owner.op) is Shape_i
            and extent.owner.op.i == d
            and extent.owner.inputs[0] is x
        ):
            return False
    return True


@canonicalize.rewriter("maximum", name="extents_are_not_negative")
def extents_are_not_negative(fgraph: FunctionGraph, node: Apply) -> Any:
    """max(extent, 0) is the extent."""
    for x, c in (node.inputs, node.inputs[::-1]):
        if x.owner is not None and type(x.owner.op) is Shape_i:
            bound = uniform_value(c)
            if bound is not None and bound <= 0:
                return x
    return None


_ALWAYS: dict[str, Any] = {
    "lt": lambda c: False if c <= 0 else None,
    "ge": lambda c: True if c <= 0 else None,
    "le": lambda c: False if c < 0 else None,
    "gt": lambda c: True if c < 0 else None,
    "eq": lambda c: False if c < 0 else None,
    "neq": lambda c: True if c < 0 else None,
}
"""What comparing an extent with a number gives, where that does not depend on the extent."""
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "neq": "neq"}


@canonicalize.rewriter(*_ALWAYS, name="comparison_of_extent")
def comparison_of_extent(fgraph: FunctionGraph, node: Apply) -> Any:
    """An extent is at least 0."""
    a, b = node.inputs
    for x, c, name in ((a, b, node.op.name), (b, a, _MIRRORED[node.op.name])):
        if x.owner is not None and type(x.owner.op) is Shape_i and x.type.ndim == c.type.ndim:
            number = uniform_value(c)
            known = None if number is None else _ALWAYS[name](number)
            if known is not None:
                return T.constant(np.array(known))
    return None
