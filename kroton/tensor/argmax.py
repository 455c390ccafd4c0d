"""Argmax and Argmin: where the extremes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.nulltype import disconnected_type
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.reduction import normalized_axes, with_axes
from kroton.tensor.type import TensorType

__all__ = ["Argmax", "Argmin", "argmax", "argmin", "max_and_argmax"]


@dataclass(frozen=True, repr=False)
class _ArgExtreme(Op):
    """The position (int64) of an extreme along `axis`, which is dropped.

    Over several axes it is the position in the C-ordered, flattened array of those axes. The
    first of equal elements counts, and NaN is more extreme than any number.
    """

    axis: tuple[int, ...]
    """The dimensions that go, sorted, none negative."""

    def __post_init__(self) -> None:
        if list(self.axis) != sorted(set(self.axis)) or (self.axis and self.axis[0] < 0):
            raise ValueError(f"axis must be sorted and not negative, got {self.axis}")

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if self.axis and self.axis[-1] >= x.type.ndim:
            raise ValueError(
                f"{type(self).__name__}: axis {self.axis[-1]} is out of range for "
                f"{x.type.ndim} dimensions"
            )
        shape = [e for d, e in enumerate(x.type.shape) if d not in self.axis]
        return Apply(self, [x], [TensorType("int64", shape)()])

    def _flattened(self, x: np.ndarray) -> np.ndarray:
        kept = [d for d in range(x.ndim) if d not in self.axis]
        shape = [x.shape[d] for d in kept]
        size = int(np.prod([x.shape[d] for d in self.axis], dtype=np.int64))
        return x.transpose([*kept, *self.axis]).reshape([*shape, size])

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [tuple(e for d, e in enumerate(input_shapes[0]) if d not in self.axis)]

    def connection_pattern(self, node: Apply) -> list[list[bool]] | None:
        return [[False]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        return [disconnected_type()]

    def __repr__(self) -> str:
        return f"{type(self).__name__}{{axes={list(self.axis)}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Argmax(_ArgExtreme):
    """The position of the largest element along `axis`; see `argmax`."""

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.asarray(np.argmax(self._flattened(inputs[0]), axis=-1), np.int64)


@dataclass(frozen=True, repr=False)
class Argmin(_ArgExtreme):
    """The position of the smallest element along `axis`; see `argmin`."""

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.asarray(np.argmin(self._flattened(inputs[0]), axis=-1), np.int64)


def _position(op_type: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    x = as_tensor_variable(x)
    axes = normalized_axes(op_type.__name__.lower(), axis, x.type.ndim)
    result = op_type(axes)(x)
    return with_axes(result, axes) if keepdims else result


def argmax(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The position (int64) of the largest element along `axis`, the first if there are several.

    Parameters
    ----------
    x : tensor
    axis : int, sequence of int or None
        Several axes count as one, flattened in C order; None means all.
    keepdims : bool
        Keep `axis` with extent 1.

    NaN counts as larger than any number. It has no gradient. An empty axis is an error when the
    value is computed.
    """
    return _position(Argmax, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The position (int64) of the smallest element along `axis`, the first if there are several.

    Parameters are those of `argmax`. NaN counts as smaller than any number.
    """
    return _position(Argmin, x, axis, keepdims)


def max_and_argmax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element along `axis` and its position: `[max(a), argmax(a)]`."""
    a = as_tensor_variable(a)
    return [T.max(a, axis, keepdims), argmax(a, axis, keepdims)]
