"""Kernels for elementwise Applys: one scalar operation, or a fused program of them."""

from __future__ import annotations

from typing import Any

from kroton import scalar
from kroton._kernels.tile import ElementwiseKernel
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.elemwise import Elemwise


@kernel_for(Elemwise)
def elementwise(node: Apply) -> Any:
    """An `ElementwiseKernel`, if there is a loop for each scalar operation."""
    types = [v.type for v in node.inputs]
    in_types = [t.numpy_dtype.num for t in types]
    op = node.op.scalar_op
    if isinstance(op, scalar.Composite):
        instructions: list[Any] = []
        for i in op.instructions:
            out = _num(i.out_dtype)
            instructions.append(
                (i.op.name, i.op.ufunc, i.inputs, tuple(_num(d) for d in i.in_dtypes), out)
            )
        outputs = op.outputs
    else:
        out = node.outputs[0].type.numpy_dtype.num
        registers = tuple(range(len(types)))
        instructions = [(op.name, op.ufunc, registers, tuple(in_types), out)]
        outputs = (len(types),)
    try:
        return ElementwiseKernel(
            tuple(in_types),
            tuple(t.broadcastable for t in types),
            tuple(instructions),
            tuple(outputs),
            dict(node.op.inplace_pattern),
        )
    except LookupError:
        return None


_nums: dict[str, int] = {}


def _num(dtype: str) -> int:
    num = _nums.get(dtype)
    if num is None:
        import numpy as np

        _nums[dtype] = num = np.dtype(dtype).num
    return num
