"""Kernels for softmax and crossentropies."""

from __future__ import annotations

from typing import Any

from kroton._kernels.crossentropy import (
    CategoricalGradKernel,
    CategoricalKernel,
    CrossentropyGradKernel,
    CrossentropyKernel,
)
from kroton._kernels.softmax import SoftmaxGradKernel, SoftmaxKernel
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad


def _nums(node: Apply) -> tuple[int, int]:
    """The type numbers of the result and of the last input."""
    return node.outputs[0].type.numpy_dtype.num, node.inputs[-1].type.numpy_dtype.num


@kernel_for(Softmax, LogSoftmax)
def softmax(node: Apply) -> Any:
    """A `SoftmaxKernel`; a scalar, with axis None, has none."""
    if node.inputs[0].type.ndim == 0:
        return None
    return SoftmaxKernel(_nums(node)[0], node.op.axis, isinstance(node.op, LogSoftmax))


@kernel_for(SoftmaxGrad)
def softmax_grad(node: Apply) -> Any:
    """A `SoftmaxGradKernel`; a scalar, with axis None, has none."""
    if node.inputs[0].type.ndim == 0:
        return None
    return SoftmaxGradKernel(_nums(node)[0], node.op.axis)


@kernel_for(CrossentropySoftmaxArgmax1Hot)
def crossentropy_softmax(node: Apply) -> Any:
    """A `CrossentropyKernel`."""
    return CrossentropyKernel(*_nums(node), node.op.by_index)


@kernel_for(CrossentropySoftmax1HotGrad)
def crossentropy_softmax_grad(node: Apply) -> Any:
    """A `CrossentropyGradKernel`."""
    return CrossentropyGradKernel(*_nums(node), node.op.by_index)


@kernel_for(CrossentropyCategorical1Hot)
def crossentropy_categorical(node: Apply) -> Any:
    """A `CategoricalKernel`."""
    return CategoricalKernel(*_nums(node), node.op.by_index)


@kernel_for(CrossentropyCategorical1HotGrad)
def crossentropy_categorical_grad(node: Apply) -> Any:
    """A `CategoricalGradKernel`."""
    return CategoricalGradKernel(*_nums(node), node.op.by_index)
