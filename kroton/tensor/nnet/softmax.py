"""Softmax along an axis, its logarithm, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.elemwise import cast
from kroton.tensor.products import as_gradient
from kroton.tensor.type import complex_dtypes, float_dtypes

__all__ = ["LogSoftmax", "Softmax", "SoftmaxGrad", "logsoftmax", "softmax"]


def as_real(name: str, x: Any) -> Any:
    """`x` as a float tensor: integers become `config.floatX`.

    Raises
    ------
    TypeError
        If it is complex.
    """
    v = as_tensor_variable(x)
    if v.type.dtype in float_dtypes:
        return v
    if v.type.dtype in complex_dtypes:
        raise TypeError(f"{name} is defined for real numbers, got {v.type.dtype}")
    return cast(v, "floatX")


def _check_axis(name: str, axis: int | None, ndim: int) -> None:
    if axis is None:
        return
    if not 0 <= axis < ndim:
        raise ValueError(f"{name}: axis {axis} is out of range for {ndim} dimensions")


def _exponentials(x: np.ndarray, axis: int | None) -> tuple[Any, Any]:
    """x - max and exp(x - max)."""
    with np.errstate(all="ignore"):
        shifted = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
        return shifted, np.exp(shifted)


class _AlongAxis(Op):
    """What the Ops of one input and one axis have in common."""

    axis: int | None

    def _check(self, x: Any) -> Any:
        x = as_real(type(self).__name__, x)
        _check_axis(type(self).__name__, self.axis, x.type.ndim)
        return x

    def make_node(self, x: Any) -> Apply:
        x = self._check(x)
        return Apply(self, [x], [x.type()])

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[0]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}{{axis={self.axis}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)), computed from x - max(x).

    A row with a NaN, with an infinity, or of nothing but minus infinities is NaN.
    """

    axis: int | None
    """Along which the results sum to 1, counted from 0; None takes all elements together."""

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        _, e = _exponentials(x, self.axis)
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.asarray(e / e.sum(axis=self.axis, keepdims=True))

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        return [SoftmaxGrad(self.axis)(output_gradients[0], outputs[0])]

    def R_op(self, inputs: Any, eval_points: Any) -> list[Any]:
        if eval_points[0] is None:
            return [None]
        return [SoftmaxGrad(self.axis)(eval_points[0], self(*inputs))]


@dataclass(frozen=True, repr=False)
class LogSoftmax(_AlongAxis):
    """x - max(x) - log(sum(exp(x - max(x)))): the logarithm of `Softmax`, without underflow."""

    axis: int | None
    """Along which the exponentials sum to 1, counted from 0; None takes all elements together."""

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        shifted, e = _exponentials(x, self.axis)
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.asarray(
                shifted - np.log(e.sum(axis=self.axis, keepdims=True))
            )

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        (g,) = output_gradients
        total = T.sum(g, axis=self.axis, keepdims=True)
        return [as_gradient(g - total * T.exp(outputs[0]), inputs[0])]


@dataclass(frozen=True, repr=False)
class SoftmaxGrad(_AlongAxis):
    """(g - sum(g * sm)) * sm: the gradient by x of `softmax(x) = sm`; inputs g and sm."""

    axis: int | None
    """The axis of the softmax, counted from 0; None takes all elements together."""

    def make_node(self, g: Any, sm: Any) -> Apply:  # type: ignore[override]
        sm = self._check(sm)
        g = as_tensor_variable(g)
        if g.type.dtype != sm.type.dtype or g.type.ndim != sm.type.ndim:
            raise TypeError(
                f"{self}: the gradient must be {sm.type.dtype} with {sm.type.ndim} dimensions, "
                f"got {g.type.dtype} with {g.type.ndim}"
            )
        return Apply(self, [g, sm], [sm.type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        g, sm = inputs
        if g.shape != sm.shape:
            raise ValueError(f"softmax_grad: shapes {g.shape} and {sm.shape} differ")
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.asarray(
                (g - (g * sm).sum(axis=self.axis, keepdims=True)) * sm
            )

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        g, sm = inputs
        (gg,) = output_gradients
        total = T.sum(g * sm, axis=self.axis, keepdims=True)
        other = T.sum(gg * sm, axis=self.axis, keepdims=True)
        return [
            as_gradient(self(gg, sm), g),
            as_gradient(gg * (g - total) - other * g, sm),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[1]]


def _axis_of(name: str, x: Any, axis: Any) -> int | None:
    if axis is None:
        return None
    ndim: int = x.type.ndim
    if ndim == 0:
        raise TypeError(f"{name} needs at least one dimension, got a scalar")
    if not -ndim <= axis < ndim:
        raise ValueError(f"{name}: axis {axis} is out of range for {ndim} dimensions")
    return int(axis) % ndim


def softmax(c: Any, axis: int | None = -1) -> Any:
    """exp(c) / sum(exp(c)) along an axis, without overflow.

    Parameters
    ----------
    c : tensor
        Real, of at least one dimension. Integers become `config.floatX`.
    axis : int or None
        The last by default; None takes all elements together.

    Returns
    -------
    tensor
        Of the shape of `c`; not negative, and of sum 1 along the axis.

    Raises
    ------
    TypeError
        For a scalar or complex numbers.
    ValueError
        For an axis that is out of range.
    """
    x = as_real("softmax", c)
    return Softmax(_axis_of("softmax", x, axis))(x)


def logsoftmax(c: Any, axis: int | None = -1) -> Any:
    """log(softmax(c, axis)), without underflow; see `softmax`."""
    x = as_real("logsoftmax", c)
    return LogSoftmax(_axis_of("logsoftmax", x, axis))(x)
