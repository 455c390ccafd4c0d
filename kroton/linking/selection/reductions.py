"""Kernels for reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton._kernels.reductions import ReduceKernel
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
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
        )  # fmt: skip
    except LookupError:
        return None
