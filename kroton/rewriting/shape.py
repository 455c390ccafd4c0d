"""Shape inference: no value is computed to know a shape."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.op import ShapeError
from kroton.rewriting.phases import canonicalize
from kroton.tensor.reshape import Reshape
from kroton.tensor.shape import MakeVector, Shape, Shape_i, SpecifyShape, Unbroadcast, as_extent
from kroton.tensor.type import TensorType

T: Any = kroton.tensor


@canonicalize.rewriter(Shape, name="shape_to_extents", depth=1)
def shape_to_extents(fgraph: FunctionGraph, node: Apply) -> Any:
    """The shape as a vector of extents, each of which is inferred by itself."""
    (x,) = node.inputs
    return T.make_vector(*[T.shape_i(x, d) for d in range(x.type.ndim)], dtype="int64")


def known_shape(var: Variable) -> Any:
    """The extents of a Variable: ints where they are known, else Shape_i of it."""
    if not isinstance(var.type, TensorType):
        return ()
    return T.shape_tuple(var)


@canonicalize.rewriter(Shape_i, name="infer_extent")
def infer_extent(fgraph: FunctionGraph, node: Apply) -> Any:
    """The extent of a result from those of what it is made of."""
    (x,) = node.inputs
    d = node.op.i
    static = x.type.shape[d]
    if static is not None:
        return T.constant(static, dtype="int64")
    owner = x.owner
    if owner is None:
        return None
    try:
        shapes = owner.op.infer_shape(owner, [known_shape(v) for v in owner.inputs])
    except ShapeError:
        return None
    if shapes is None or shapes[x.index] is None:
        return None
    return as_extent(shapes[x.index][d])


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


@canonicalize.rewriter(Reshape, name="useless_reshape")
def useless_reshape(fgraph: FunctionGraph, node: Apply) -> Any:
    """A reshape to the shape that is there, or of a reshape."""
    x, shape = node.inputs
    out = node.outputs[0]
    if x.type.ndim == out.type.ndim:
        if x.type.ndim == 1 or (None not in x.type.shape and x.type == out.type):
            return x
        if _extents_of(shape, x):
            return x
    owner = x.owner
    if owner is not None and type(owner.op) is Reshape:
        return T.reshape(owner.inputs[0], shape, ndim=out.type.ndim)
    return None


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
