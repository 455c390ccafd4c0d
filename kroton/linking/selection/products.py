"""Kernels for matrix products."""

from __future__ import annotations

from typing import Any

from kroton._kernels.products import (
    BatchedDotKernel,
    DotKernel,
    GemmKernel,
    GemvKernel,
    GerKernel,
)
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
from kroton.tensor.products import BatchedDot, Dot


@kernel_for(Dot, Dot22)
def dot(node: Apply) -> Any:
    """A `DotKernel`."""
    x, y = node.inputs
    return DotKernel(x.type.numpy_dtype.num, x.type.ndim, y.type.ndim)


@kernel_for(Dot22Scalar)
def dot_scaled(node: Apply) -> Any:
    """A `DotKernel` with a factor."""
    return DotKernel(node.outputs[0].type.numpy_dtype.num, 2, 2, True)


@kernel_for(BatchedDot)
def batched_dot(node: Apply) -> Any:
    """A `BatchedDotKernel` that stretches where extents are statically 1."""
    x, y = (v.type for v in node.inputs)
    stretches = [(a, b) for a, b in zip(x.broadcastable[:-2], y.broadcastable[:-2])]
    return BatchedDotKernel(
        x.numpy_dtype.num,
        tuple(a and not b for a, b in stretches),
        tuple(b and not a for a, b in stretches),
    )


@kernel_for(Gemm)
def gemm(node: Apply) -> Any:
    """A `GemmKernel`."""
    return GemmKernel(node.outputs[0].type.numpy_dtype.num, node.op.inplace)


@kernel_for(Gemv)
def gemv(node: Apply) -> Any:
    """A `GemvKernel`."""
    return GemvKernel(node.outputs[0].type.numpy_dtype.num, node.op.inplace)


@kernel_for(Ger)
def ger(node: Apply) -> Any:
    """A `GerKernel`."""
    return GerKernel(node.outputs[0].type.numpy_dtype.num, node.op.inplace)
