"""Ops that give their input back: as a copy, or as itself under another identity."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kroton.graph.basic import Apply
from kroton.graph.op import Op


class Identity(Op):
    """An Op whose output has the value of its input; subclasses say how it is handed over."""

    def make_node(self, *inputs: Any) -> Apply:
        (x,) = inputs
        return Apply(self, [x], [x.type()])

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return list(output_gradients)

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return list(eval_points)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return list(input_shapes)


@dataclass(frozen=True)
class DeepCopyOp(Identity):
    """A copy of the input that shares no memory with it; for values of any Type."""

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = copy.deepcopy(inputs[0])

    def __repr__(self) -> str:
        return "DeepCopyOp"


@dataclass(frozen=True)
class PrivateCopy(DeepCopyOp):
    """A copy for one reader, which may overwrite it: two of different numbers never merge."""

    number: int
    """Which of a graph's private copies this is."""

    def do_constant_folding(self, node: Apply) -> bool:
        return False

    def __repr__(self) -> str:
        return f"PrivateCopy{{{self.number}}}"


@dataclass(frozen=True)
class ViewOp(Identity):
    """The input itself, as another Variable."""

    view_map = {0: [0]}

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = inputs[0]

    def __repr__(self) -> str:
        return "ViewOp"


deep_copy_op = DeepCopyOp()
view_op = ViewOp()
