"""Kernels for elementwise Applys: one scalar operation, a fused program, one that is reduced."""

from __future__ import annotations

from typing import Any

from kroton import scalar
from kroton._kernels.fused_reductions import FusedReductionKernel
from kroton._kernels.tile import ElementwiseKernel
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction


@kernel_for(Elemwise)
def elementwise(node: Apply) -> Any:
    """An `ElementwiseKernel`, if there is a loop for each scalar operation."""
    types = [v.type for v in node.inputs]
    in_types = [t.numpy_dtype.num for t in types]
    op = node.op.scalar_op
    if isinstance(op, scalar.Composite):
        instructions = steps_of(op)
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


@kernel_for(FusedReduction)
def fused_reduction(node: Apply) -> Any:
    """A `FusedReductionKernel`, if there is a loop for each operation."""
    op = node.op
    reductions = [
        None
        if r is None
        else (
            r.scalar_op.name,
            r.scalar_op.ufunc,
            _num(r.acc_dtype),
            _num(r.dtype),
            r.axis,
            r.neutral,
        )
        for r in op.reductions
    ]
    types = [v.type for v in node.inputs]
    try:
        return FusedReductionKernel(
            tuple(t.numpy_dtype.num for t in types),
            tuple(t.broadcastable for t in types),
            tuple(steps_of(op.program)),
            op.program.outputs,
            tuple(reductions),
            dict(op.inplace_pattern),
        )
    except LookupError:
        return None


def steps_of(program: scalar.Composite) -> list[Any]:
    """The instructions of a program as kernels take them."""
    return [
        (
            i.op.name, i.op.ufunc, i.inputs, tuple(_num(d) for d in i.in_dtypes),
            _num(i.out_dtype),
        )
        for i in program.instructions
    ]  # fmt: skip


_nums: dict[str, int] = {}


def _num(dtype: str) -> int:
    num = _nums.get(dtype)
    if num is None:
        import numpy as np

        _nums[dtype] = num = np.dtype(dtype).num
    return num
