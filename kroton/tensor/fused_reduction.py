"""FusedReduction: an elementwise program and the reductions of its results, as one Op."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kroton import scalar
from kroton.graph.basic import Apply
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.reduction import CAReduce


@dataclass(frozen=True, repr=False)
class FusedReduction(Op):
    """`reduction(program(inputs))` for each result of an elementwise program.

    What is reduced is never in memory as a whole. Inputs broadcast as those of an `Elemwise` do;
    a sum's terms are added in another order than NumPy's on some layouts. Made by fusion.
    """

    program: scalar.Composite
    """What is done to each element."""
    reductions: tuple[CAReduce | None, ...]
    """For each output of the program how it is reduced; None for one that is as it is."""
    inplace_pattern: tuple[tuple[int, int], ...] = ()
    """Pairs (output, input): the output, which is not reduced, is written over the input."""

    def __post_init__(self) -> None:
        if len(self.reductions) != self.program.nout:
            raise ValueError(
                f"a program of {self.program.nout} outputs with {len(self.reductions)} reductions"
            )
        if self.inplace_pattern:
            destroyed = {o: [i] for o, i in self.inplace_pattern}
            object.__setattr__(self, "destroy_map", destroyed)

    @property
    def elementwise(self) -> Elemwise:
        """The program, as an Op of its own."""
        return Elemwise(self.program)

    def make_node(self, *inputs: Any) -> Apply:
        elements = self.elementwise.make_node(*inputs)
        types = [
            v.type if r is None else r.make_node(v).outputs[0].type
            for v, r in zip(elements.outputs, self.reductions)
        ]
        return Apply(self, elements.inputs, [t() for t in types])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        cells: list[list[Any]] = [[None] for _ in self.reductions]
        elements = self.elementwise.make_node(*node.inputs)
        elements.op.perform(elements, inputs, cells)
        for reduction, cell, storage in zip(self.reductions, cells, output_storage):
            if reduction is None:
                storage[0] = cell[0]
            else:
                reduction.perform(node, cell, [storage])
        for k, i in self.inplace_pattern:
            inputs[i][...] = cells[k][0]
            output_storage[k][0] = inputs[i]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        ndim = max((v.type.ndim for v in node.inputs), default=0)
        shape = [1] * ndim
        for d in range(-ndim, 0):
            for v, s in zip(node.inputs, input_shapes):
                if v.type.ndim >= -d and v.type.shape[d] != 1:
                    shape[d] = s[d]
                    break
        return [
            tuple(e for d, e in enumerate(shape) if r is None or d not in r.axis)
            for r in self.reductions
        ]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        elements = self.elementwise(*inputs, return_list=True)
        gradients = []
        for v, r, out, g in zip(elements, self.reductions, outputs, output_gradients):
            if r is None or isinstance(g.type, DisconnectedType):
                gradients.append(g)
            else:
                gradients.append(r.L_op([v], [out], [g])[0])
        return self.elementwise.L_op(inputs, elements, gradients)

    def __repr__(self) -> str:
        kinds = ", ".join("-" if r is None else repr(r) for r in self.reductions)
        inplace = f", inplace={dict(self.inplace_pattern)}" if self.inplace_pattern else ""
        return f"FusedReduction{{{self.program}: {kinds}{inplace}}}"

    __str__ = __repr__
