"""Kernels for shapes, views, and arrays made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton._kernels.copying import PassKernel
from kroton._kernels.filling import (
    AllocDiagKernel,
    AllocEmptyKernel,
    AllocKernel,
    ARangeKernel,
    EyeKernel,
)
from kroton._kernels.shaping import (
    JoinKernel,
    MakeVectorKernel,
    RepeatKernel,
    ShapeIKernel,
    ShapeKernel,
)
from kroton._kernels.views import (
    AssertShapeKernel,
    DimShuffleKernel,
    ExtractDiagKernel,
    ReshapeKernel,
    SpecifyShapeKernel,
    SplitKernel,
)
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.arange import ARange
from kroton.tensor.creation import Alloc, AllocEmpty
from kroton.tensor.diagonal import AllocDiag, ExtractDiag, Eye
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.joining import Join, Split
from kroton.tensor.repetition import Repeat
from kroton.tensor.reshape import Reshape
from kroton.tensor.shape import (
    AssertShape,
    MakeVector,
    Shape,
    Shape_i,
    SpecifyShape,
    Unbroadcast,
)


def _num(var: Any) -> int:
    return int(var.type.numpy_dtype.num)


@kernel_for(DimShuffle)
def dimshuffle(node: Apply) -> Any:
    """A view with dimensions reordered."""
    order = tuple(-1 if e == "x" else e for e in node.op.new_order)
    return DimShuffleKernel(node.inputs[0].type.ndim, order)


@kernel_for(Reshape)
def reshape(node: Apply) -> Any:
    """A view in another shape, or a copy."""
    return ReshapeKernel(node.op.ndim)


@kernel_for(Split)
def split(node: Apply) -> Any:
    """Views of the parts."""
    return SplitKernel(node.op.len_splits, node.op.axis)


@kernel_for(ExtractDiag)
def extract_diag(node: Apply) -> Any:
    """A view of the diagonal."""
    return ExtractDiagKernel(node.op.offset, node.op.axis1, node.op.axis2)


@kernel_for(SpecifyShape)
def specify_shape(node: Apply) -> Any:
    """The input, checked."""
    return SpecifyShapeKernel(tuple(-1 if e is None else e for e in node.op.shape))


@kernel_for(AssertShape)
def assert_shape(node: Apply) -> Any:
    """The input, checked."""
    return AssertShapeKernel(node.op.axes)


@kernel_for(Unbroadcast)
def unbroadcast(node: Apply) -> Any:
    """The input."""
    return PassKernel()


@kernel_for(Shape)
def shape(node: Apply) -> Any:
    """The extents."""
    return ShapeKernel(node.inputs[0].type.ndim)


@kernel_for(Shape_i)
def shape_i(node: Apply) -> Any:
    """One extent."""
    return ShapeIKernel(node.op.i)


@kernel_for(MakeVector)
def make_vector(node: Apply) -> Any:
    """The scalars side by side."""
    return MakeVectorKernel(_num(node.outputs[0]), len(node.inputs))


@kernel_for(Alloc)
def alloc(node: Apply) -> Any:
    """A filled array."""
    value = node.inputs[0]
    return AllocKernel(_num(value), value.type.broadcastable, len(node.inputs) - 1)


@kernel_for(AllocEmpty)
def alloc_empty(node: Apply) -> Any:
    """An array that is not filled."""
    return AllocEmptyKernel(_num(node.outputs[0]), len(node.inputs))


@kernel_for(Join)
def join(node: Apply) -> Any:
    """The inputs copied into one array."""
    out = node.outputs[0]
    return JoinKernel(_num(out), out.type.ndim, node.op.axis, len(node.inputs))


@kernel_for(Repeat)
def repeat(node: Apply) -> Any:
    """Slices copied several times."""
    x, repeats = node.inputs
    return RepeatKernel(_num(x), x.type.ndim, node.op.axis, repeats.type.ndim == 1)


@kernel_for(ARange)
def arange(node: Apply) -> Any:
    """Numbers counted up."""
    return ARangeKernel(_num(node.inputs[0]), _num(node.outputs[0]))


@kernel_for(Eye)
def eye(node: Apply) -> Any:
    """Zeros with ones on a diagonal."""
    one = np.ones((), dtype=node.op.dtype).tobytes()
    return EyeKernel(_num(node.outputs[0]), one)


@kernel_for(AllocDiag)
def alloc_diag(node: Apply) -> Any:
    """Zeros with the input on a diagonal."""
    op, out = node.op, node.outputs[0]
    return AllocDiagKernel(_num(out), out.type.ndim, op.offset, op.axis1, op.axis2)
