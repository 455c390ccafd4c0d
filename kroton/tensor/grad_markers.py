"""Ops that give their input back and change only what is differentiated through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.identity import ViewOp
from kroton.graph.nulltype import DisconnectedType, disconnected_type, grad_undefined


@dataclass(frozen=True)
class ConsiderConstant(ViewOp):
    """The input; the gradient through it is zero."""

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,) = inputs
        kind = x.type.numpy_dtype.kind
        return [T.zeros_like(x, x.type.dtype if kind in "fc" else config.floatX)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [T.zeros_like(inputs[0])]

    def __repr__(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, repr=False)
class ZeroGrad(ConsiderConstant):
    """The input; the gradient through it is zero (the lineage's second name for this)."""


@dataclass(frozen=True)
class DisconnectedGrad(ViewOp):
    """The input; what is before it is disconnected from the cost."""

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [disconnected_type()]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [None]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]

    def __repr__(self) -> str:
        return "DisconnectedGrad"


@dataclass(frozen=True)
class UndefinedGrad(ViewOp):
    """The input; it is an error to ask for the gradient through it."""

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [grad_undefined(self, 0, inputs[0], "It was declared so by undefined_grad.")]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [grad_undefined(self, 0, inputs[0], "It was declared so by undefined_grad.")]

    def __repr__(self) -> str:
        return "UndefinedGrad"


@dataclass(frozen=True)
class GradClip(ViewOp):
    """The input; the gradient through it is limited to an interval."""

    clip_lower_bound: float
    """The smallest value of an element of the gradient."""
    clip_upper_bound: float
    """The largest value of an element of the gradient."""

    def __post_init__(self) -> None:
        if not self.clip_lower_bound <= self.clip_upper_bound:
            raise ValueError(
                "grad_clip needs lower_bound <= upper_bound, got "
                f"{self.clip_lower_bound} and {self.clip_upper_bound}"
            )

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (g,) = output_gradients
        if isinstance(g.type, DisconnectedType):
            return [g]
        return [T.clip(g, self.clip_lower_bound, self.clip_upper_bound)]

    def __repr__(self) -> str:
        return f"GradClip{{{self.clip_lower_bound}, {self.clip_upper_bound}}}"


@dataclass(frozen=True)
class GradScale(ViewOp):
    """The input; the gradient through it is multiplied."""

    multiplier: float
    """What it is multiplied by."""

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (g,) = output_gradients
        return [g if isinstance(g.type, DisconnectedType) else g * self.multiplier]

    def __repr__(self) -> str:
        return f"GradScale{{{self.multiplier}}}"


MARKERS: tuple[type[ViewOp], ...] = (
    ConsiderConstant, ZeroGrad, DisconnectedGrad, UndefinedGrad, GradClip, GradScale,
)  # fmt: skip
"""All of them; once gradients are taken each is its input."""

consider_constant_ = ConsiderConstant()
zero_grad_ = ZeroGrad()
disconnected_grad_ = DisconnectedGrad()
undefined_grad_ = UndefinedGrad()


def consider_constant(x: Any) -> Any:
    """`x`, with a zero gradient: what it is computed from does not see the cost."""
    return consider_constant_(T.as_tensor_variable(x))


def zero_grad(x: Any) -> Any:
    """`x`, with a zero gradient."""
    return zero_grad_(T.as_tensor_variable(x))


def disconnected_grad(x: Any) -> Any:
    """`x`, with what it is computed from disconnected from the cost.

    Like `zero_grad`, but a variable that the cost depends on in no other way counts as
    disconnected: `grad` complains about it unless told otherwise.
    """
    return disconnected_grad_(T.as_tensor_variable(x))


def undefined_grad(x: Any) -> Any:
    """`x`, with an undefined gradient: `grad` raises NullTypeGradError when it meets it."""
    return undefined_grad_(T.as_tensor_variable(x))


def grad_clip(x: Any, lower_bound: float, upper_bound: float) -> Any:
    """`x`, with each element of the gradient through it limited to an interval.

    Parameters
    ----------
    x : tensor
    lower_bound, upper_bound : float

    Raises
    ------
    ValueError
        If the bounds are the wrong way round.
    """
    return GradClip(lower_bound, upper_bound)(T.as_tensor_variable(x))


def grad_scale(x: Any, multiplier: float) -> Any:
    """`x`, with the gradient through it multiplied by `multiplier`."""
    return GradScale(multiplier)(T.as_tensor_variable(x))
