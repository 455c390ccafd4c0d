"""Kernels for reductions, positions of extremes and running sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton._kernels.cumulative import CumKernel, RecurrenceKernel
from kroton._kernels.positions import ArgmaxKernel
from kroton._kernels.reductions import ReduceKernel
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.argmax import Argmax, Argmin
from kroton.tensor.cumulative import CumOp, LinearRecurrence
from kroton.tensor.reduction import CAReduce


@kernel_for(CAReduce)
def reduction(node: Apply) -> Any:
    """A `ReduceKernel`, if the operation has a loop in the accumulator's dtype."""
    op = node.op
    (x,) = node.inputs
    try:
        return ReduceKernel(
            op.scalar_op.name, op.scalar_op.ufunc, x.type.numpy_dtype.num,
            np.dtype(op.acc_dtype).num, np.dtype(op.dtype).num, x.type.ndim, op.axis,
            op.neutral,
        )  # fmt: skip
    except LookupError:
        return None


@kernel_for(Argmax, Argmin)
def position(node: Apply) -> Any:
    """An `ArgmaxKernel`."""
    x = node.inputs[0].type
    return ArgmaxKernel(x.numpy_dtype.num, x.ndim, node.op.axis, isinstance(node.op, Argmin))


@kernel_for(CumOp)
def running(node: Apply) -> Any:
    """A `CumKernel`."""
    x, out = node.inputs[0].type, node.outputs[0].type
    product = node.op.mode == "mul"
    return CumKernel(product, x.numpy_dtype.num, out.numpy_dtype.num, x.ndim, node.op.axis)


@kernel_for(LinearRecurrence)
def recurrence(node: Apply) -> Any:
    """A `RecurrenceKernel`."""
    x = node.inputs[0].type
    return RecurrenceKernel(x.numpy_dtype.num, x.ndim, node.op.axis, node.op.reverse)
