"""How many floating point operations an Apply does, from the shapes it works on.

A fused multiply-add counts as two, as benchmarks of BLAS count it; an elementwise operation,
transcendental or not, counts as one for each element and each instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

Shape = tuple[int, ...]
Counter = Callable[[Any, list[Shape], list[Shape]], float]

_counters: dict[type, Counter] = {}


def flops_of(*op_types: type) -> Callable[[Counter], Counter]:
    """Register `count(op, input_shapes, output_shapes)` for Op types and their subclasses."""

    def register(count: Counter) -> Counter:
        for op_type in op_types:
            _counters[op_type] = count
        return count

    return register


def count_flops(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
    """Floating point operations of one run; 0 for an Op that only moves data or is not known."""
    _register_known()
    for cls in type(op).__mro__:
        counter = _counters.get(cls)
        if counter is not None:
            return float(counter(op, inputs, outputs))
    return 0.0


def _elements(shapes: list[Shape]) -> int:
    return max((prod(shape) for shape in shapes), default=0)


def _broadcast(shapes: list[Shape]) -> Shape:
    """The common shape of arrays aligned at the right; an extent of 1 stretches."""
    ndim = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(0 if 0 in extents else max(extents) for extents in zip(*padded))


def _register_known() -> None:
    """Register the package's Ops; put off until asked, since importing them takes time."""
    from kroton.scalar.composite import Composite
    from kroton.tensor.argmax import Argmax
    from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
    from kroton.tensor.cumulative import CumOp
    from kroton.tensor.elemwise import Elemwise
    from kroton.tensor.fused_reduction import FusedReduction
    from kroton.tensor.nnet.crossentropy import (
        CrossentropySoftmax1HotGrad,
        CrossentropySoftmaxArgmax1Hot,
    )
    from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad
    from kroton.tensor.products import BatchedDot, Dot
    from kroton.tensor.reduction import CAReduce

    if Elemwise in _counters:
        return

    @flops_of(Elemwise)
    def elemwise(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        scalar = op.scalar_op
        steps = len(scalar.instructions) if isinstance(scalar, Composite) else 1
        if scalar.name in ("cast", "identity", "second"):
            return 0
        return float(steps * _elements(outputs))

    @flops_of(CAReduce, CumOp, Argmax)
    def reduction(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        return prod(inputs[0])

    @flops_of(FusedReduction)
    def fused(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        reduced = sum(r is not None for r in op.reductions)
        return float((len(op.program.instructions) + reduced) * prod(_broadcast(inputs)))

    @flops_of(Dot, Dot22, Dot22Scalar)
    def product(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        return 2 * prod(outputs[0]) * (inputs[0][-1] if inputs[0] else 1)

    @flops_of(BatchedDot)
    def batched(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        return 2 * prod(outputs[0]) * (inputs[0][-1] if len(inputs[0]) > 1 else 1)

    @flops_of(Gemm, Gemv)
    def accumulate(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        """z + alpha A B: a product and a sum for each term; A is the first matrix after z."""
        matrix = next((shape for shape in inputs[1:] if len(shape) == 2), ())
        return 2 * prod(outputs[0]) * (matrix[-1] if matrix else 1)

    @flops_of(Ger)
    def outer(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        return 2 * prod(outputs[0])

    @flops_of(Softmax, LogSoftmax, SoftmaxGrad)
    def softmax(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        """Maximum, difference, exponential, sum, quotient; as many in the gradient."""
        return 5 * prod(outputs[0])

    @flops_of(CrossentropySoftmaxArgmax1Hot, CrossentropySoftmax1HotGrad)
    def crossentropy(op: Any, inputs: list[Shape], outputs: list[Shape]) -> float:
        return 5 * _elements(inputs)
