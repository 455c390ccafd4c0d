"""Kernels for Ops that give their input back."""

from __future__ import annotations

from typing import Any

from kroton._kernels.copying import CopyKernel, PassKernel
from kroton.graph.basic import Apply
from kroton.graph.identity import DeepCopyOp, PrivateCopy, ViewOp
from kroton.linking.kernels import kernel_for
from kroton.tensor.grad_markers import MARKERS
from kroton.tensor.type import TensorType


@kernel_for(DeepCopyOp, PrivateCopy)
def deep_copy(node: Apply) -> Any:
    """A copy, of tensors."""
    return CopyKernel() if isinstance(node.inputs[0].type, TensorType) else None


@kernel_for(ViewOp, *MARKERS)
def view(node: Apply) -> Any:
    """The value itself."""
    return PassKernel()
