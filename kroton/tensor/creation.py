"""Tensors made of a shape and a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

import kroton.tensor as T
from kroton import scalar
from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.elemwise import Elemwise, cast
from kroton.tensor.shape import as_extent, as_extents, shape_tuple, static_extent
from kroton.tensor.type import TensorType, discrete_dtypes, dtype_of

__all__ = [
    "Alloc",
    "AllocEmpty",
    "alloc",
    "empty",
    "empty_like",
    "fill",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

_FOLDED = 1024
"""Results of at most this many elements are worth keeping as constants."""


def _static(extents: Sequence[Any]) -> tuple[int | None, ...]:
    static = tuple(static_extent(e) for e in extents)
    if any(e is not None and e < 0 for e in static):
        raise ValueError(f"an extent cannot be negative, got shape {static}")
    return static


def _foldable(node: Apply) -> bool:
    shape = node.outputs[0].type.shape
    return None not in shape and prod(shape) <= _FOLDED


def _runtime_shape(name: str, extents: Sequence[Any]) -> tuple[int, ...]:
    shape = tuple(int(e) for e in extents)
    if any(e < 0 for e in shape):
        raise ValueError(f"{name}: an extent cannot be negative, got shape {shape}")
    return shape


@dataclass(frozen=True, repr=False)
class Alloc(Op):
    """A tensor of the given extents, filled with a value that is broadcast into it.

    Inputs are the value, with at most as many dimensions as there are extents and aligned at
    the right, and the extents as integer scalars. As everywhere, an extent of the value
    stretches only where it is statically 1.
    """

    def make_node(self, value: Any, *extents: Any) -> Apply:
        value = as_tensor_variable(value)
        scalars = [as_extent(e) for e in extents]
        missing = len(scalars) - value.type.ndim
        if missing < 0:
            raise TypeError(
                f"alloc: the value {value} has {value.type.ndim} dimensions, more than the "
                f"{len(scalars)} of the result"
            )
        shape = list(_static(scalars))
        for d, e in enumerate(value.type.shape, missing):
            if e is None or e == 1:
                continue
            if shape[d] is None:
                shape[d] = e
            elif shape[d] != e:
                raise ValueError(
                    f"alloc: a value of shape {value.type.shape} does not fit into shape "
                    f"{_static(scalars)}: dimension {d} has {e} and {shape[d]} elements"
                )
        return Apply(self, [value, *scalars], [TensorType(value.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        value, *extents = inputs
        shape = _runtime_shape("Alloc", extents)
        missing = len(shape) - value.ndim
        for d, e in enumerate(value.shape, missing):
            if e != shape[d] and not node.inputs[0].type.broadcastable[d - missing]:
                raise ValueError(
                    f"Alloc: a value of shape {value.shape} does not fit into shape {shape}: "
                    f"dimension {d} has {e} and {shape[d]} elements"
                    + ("; only extents that are statically 1 stretch" if e == 1 else "")
                )
        result = np.empty(shape, dtype=value.dtype)
        result[...] = value
        output_storage[0][0] = result

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        static = node.outputs[0].type.shape
        return [tuple(s if e is None else e for e, s in zip(static, node.inputs[1:]))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], *([False] for _ in node.inputs[1:])]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        value, (gz,) = inputs[0], output_gradients
        rest = [DisconnectedType()() for _ in inputs[1:]]
        if value.type.dtype in discrete_dtypes:
            return [T.zeros_like(value, dtype=config.floatX), *rest]
        missing = len(inputs) - 1 - value.type.ndim
        if missing:
            gz = T.sum(gz, axis=list(range(missing)))
        stretched = [
            d
            for d, b in enumerate(value.type.broadcastable)
            if b and outputs[0].type.shape[d + missing] != 1
        ]
        if stretched:
            gz = T.sum(gz, axis=stretched, keepdims=True)
        return [gz, *rest]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0], *inputs[1:])]

    def do_constant_folding(self, node: Apply) -> bool:
        return _foldable(node)

    def __repr__(self) -> str:
        return "Alloc"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class AllocEmpty(Op):
    """A tensor of the given extents whose elements are undefined."""

    undefined_output: ClassVar[bool] = True

    dtype: str
    """The dtype of the result."""

    def make_node(self, *extents: Any) -> Apply:
        scalars = [as_extent(e) for e in extents]
        return Apply(self, scalars, [TensorType(self.dtype, _static(scalars))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.empty(_runtime_shape("AllocEmpty", inputs), dtype=self.dtype)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        static = node.outputs[0].type.shape
        return [tuple(s if e is None else e for e, s in zip(static, node.inputs))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False] for _ in node.inputs]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [DisconnectedType()() for _ in inputs]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [T.zeros(tuple(inputs), dtype=self.dtype)]

    def do_constant_folding(self, node: Apply) -> bool:
        return False

    def __repr__(self) -> str:
        return f"AllocEmpty{{{self.dtype}}}"

    __str__ = __repr__


_alloc = Alloc()


def alloc(value: Any, *shape: Any) -> Any:
    """A tensor of `shape` filled with `value`, which is broadcast into it.

    Parameters
    ----------
    value : tensor
    *shape : int or integer scalar
        Or one argument that is a sequence of these or an integer vector.

    Raises
    ------
    TypeError
        If the value has more dimensions than there are extents.
    ValueError
        If an extent is negative or the value does not fit (at run time if not known before).
    """
    if len(shape) == 1:
        shape = tuple(as_extents(shape[0]))
    value = as_tensor_variable(value)
    if not shape and value.type.ndim == 0:
        return value
    return _alloc(value, *shape)


def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros of `shape` (ints and scalars, or a vector) and `dtype` (`config.floatX`)."""
    return full(shape, 0, dtype or config.floatX)


def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones of `shape` (ints and scalars, or a vector) and `dtype` (`config.floatX`)."""
    return full(shape, 1, dtype or config.floatX)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of `shape` filled with `fill_value`, of its dtype or `dtype`."""
    value = as_tensor_variable(fill_value)
    return alloc(value if dtype is None else cast(value, dtype), *as_extents(shape))


def full_like(a: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of the shape of `a` filled with `fill_value`, of the dtype of `a` or `dtype`."""
    a = as_tensor_variable(a)
    value = cast(as_tensor_variable(fill_value), dtype or a.type.dtype)
    return alloc(value, *shape_tuple(a))


def zeros_like(model: Any, dtype: Any = None, opt: bool = False) -> Any:
    """Zeros of the shape of `model` and its dtype, or `dtype`.

    A constant for a scalar. `opt` is the lineage's and changes nothing.
    """
    return _filled(model, 0, dtype)


def ones_like(model: Any, dtype: Any = None, opt: bool = False) -> Any:
    """Ones of the shape of `model` and its dtype, or `dtype`.

    A constant for a scalar. `opt` is the lineage's and changes nothing.
    """
    return _filled(model, 1, dtype)


def _filled(model: Any, value: int, dtype: Any) -> Any:
    model = as_tensor_variable(model)
    filling = constant(value, dtype=model.type.dtype if dtype is None else dtype)
    return _alloc(filling, *shape_tuple(model)) if model.type.ndim else filling


def fill(model: Any, value: Any) -> Any:
    """`value` broadcast to the shape that `model` and `value` have together: `T.second`.

    The dtype is that of `value`; `model` gives no more than its shape.
    """
    return Elemwise(scalar.second)(as_tensor_variable(model), as_tensor_variable(value))


def empty(shape: Any, dtype: Any = None) -> Any:
    """A tensor of `shape` and `dtype` (`config.floatX`) whose elements are undefined."""
    return AllocEmpty(dtype_of(dtype or config.floatX))(*as_extents(shape))


def empty_like(model: Any, dtype: Any = None) -> Any:
    """A tensor like `model`, or of `dtype`, whose elements are undefined."""
    model = as_tensor_variable(model)
    return empty(shape_tuple(model), dtype or model.type.dtype)
