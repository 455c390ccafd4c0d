"""Reshape: the same elements in another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.shape import (
    MakeVector,
    Shape,
    Shape_i,
    as_dtype,
    as_extents,
    product_of_extents,
    shape_tuple,
    static_extent,
    vector_item,
)
from kroton.tensor.type import TensorType, discrete_dtypes, integer_dtypes

__all__ = ["Reshape", "flatten", "ravel", "reshape"]


@dataclass(frozen=True, repr=False)
class Reshape(Op):
    """The elements of a tensor, in C order, in the shape that an int64 vector says.

    One extent may be -1 and is then what makes the number of elements right. The result is a
    view where the layout of the input allows it.
    """

    ndim: int
    """The number of dimensions of the result, which is the length of the vector."""

    view_map = {0: [0]}

    def make_node(self, x: Any, shape: Any) -> Apply:
        x = as_tensor_variable(x)
        shape = as_tensor_variable(shape)
        if isinstance(shape, Constant) and shape.type.shape == (0,):
            shape = constant(np.zeros(0, dtype="int64"))
        if shape.type.ndim != 1 or shape.type.dtype not in integer_dtypes:
            raise TypeError(f"a shape must be an integer vector, got {shape} of type {shape.type}")
        if shape.type.shape[0] not in (None, self.ndim):
            raise ValueError(
                f"{self} takes {self.ndim} extents, the shape {shape} has {shape.type.shape[0]}"
            )
        shape = as_dtype(shape, "int64")
        static = static_target(x.type.shape, _stated(shape, self.ndim))
        return Apply(self, [x, shape], [TensorType(x.type.dtype, static)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, shape = inputs
        if len(shape) != self.ndim:
            raise ValueError(f"{self} takes {self.ndim} extents, got {len(shape)}: {shape}")
        extents = tuple(int(e) for e in shape)
        try:
            if any(e < -1 for e in extents):
                raise ValueError("NumPy takes every negative extent for -1")
            output_storage[0][0] = np.reshape(x, extents)
        except ValueError:
            raise ValueError(
                f"Reshape: an array of shape {x.shape} ({x.size} elements) cannot have shape "
                f"{extents}"
            ) from None

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        target = node.inputs[1]
        stated = _stated(target, self.ndim)
        items = [vector_item(target, k) if e is None else e for k, e in enumerate(stated)]
        total = product_of_extents(input_shapes[0])
        result: list[Any] = []
        for k, known in enumerate(node.outputs[0].type.shape):
            if known is not None:
                result.append(known)
                continue
            others = product_of_extents(items[:k] + items[k + 1 :])
            if stated[k] == -1:
                result.append(T.int_div(total, others))
            elif -1 in stated or never_negative(items[k]):
                result.append(items[k])
            else:
                rest = T.int_div(total, T.maximum(T.neg(others), 1))
                result.append(T.switch(T.eq(items[k], -1), rest, items[k]))
        return [tuple(result)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        x = inputs[0]
        if x.type.dtype in discrete_dtypes:
            gradient = T.zeros_like(x, dtype=config.floatX)
        else:
            gradient = reshape(output_gradients[0], shape_tuple(x))
        return [gradient, DisconnectedType()()]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0], inputs[1])]

    def __repr__(self) -> str:
        return f"Reshape{{{self.ndim}}}"

    __str__ = __repr__


def _stated(shape: Any, ndim: int) -> list[int | None]:
    """What is statically known of the elements of a vector of extents (-1 among them)."""
    if isinstance(shape, Constant):
        return [int(e) for e in shape.data]
    if shape.owner is not None:
        if type(shape.owner.op) is MakeVector:
            return [static_extent(e) for e in shape.owner.inputs]
        if type(shape.owner.op) is Shape:
            return list(shape.owner.inputs[0].type.shape)
    return [None] * ndim


def static_target(source: Sequence[int | None], stated: Sequence[int | None]) -> list[int | None]:
    """The static shape of a tensor of static shape `source` reshaped to `stated`.

    Raises
    ------
    ValueError
        If the numbers of elements contradict each other, or `stated` is no shape.
    """
    if any(e is not None and e < -1 for e in stated) or stated.count(-1) > 1:
        raise ValueError(f"{tuple(stated)} is no shape: at most one extent may be negative, -1")
    result = [None if e == -1 else e for e in stated]
    if None in source:
        return result
    total, known = prod(source), prod(e for e in result if e is not None)  # type: ignore[arg-type]
    missing = result.count(None)
    fits = total == known
    if missing:
        # A zero among the known extents leaves -1 without a meaning.
        fits = (total == 0 and -1 not in stated) if known == 0 else total % known == 0
    if not fits:
        raise ValueError(f"a tensor of shape {tuple(source)} cannot have shape {tuple(stated)}")
    if missing == 1 and known:
        # A symbolic extent may also be -1, with the same result.
        result[result.index(None)] = total // known
    return result


def never_negative(e: Any) -> bool:
    """Whether an extent is seen to be no -1: an int or constant, an extent, a product of such."""
    value = static_extent(e)
    if value is not None:
        return value >= 0
    owner = e.owner if isinstance(e, Variable) else None
    if owner is None:
        return False
    if type(owner.op) is Shape_i:
        return True
    return getattr(owner.op, "name", None) in ("mul", "add") and all(
        never_negative(v) for v in owner.inputs
    )


def reshape(x: Any, newshape: Any, ndim: int | None = None) -> Any:
    """The elements of `x`, in C order, in another shape: a view where the layout allows it.

    Parameters
    ----------
    x : tensor
    newshape : int, scalar, sequence of these, or integer vector
        One extent may be -1: it is what makes the number of elements right.
    ndim : int, optional
        The length of `newshape`, needed where that is a vector of unknown length.

    Raises
    ------
    TypeError
        If `newshape` does not consist of integers.
    ValueError
        If `newshape` is a vector of unknown length and `ndim` is not given, or if the numbers
        of elements differ (at run time where they are not known before).
    """
    x = as_tensor_variable(x)
    if isinstance(newshape, Variable) and newshape.type.ndim == 1:
        length = newshape.type.shape[0]
        if ndim is None:
            if length is None:
                raise ValueError(
                    f"reshape needs ndim=: the length of the vector {newshape} is not "
                    "statically known"
                )
            ndim = length
        return Reshape(ndim)(x, newshape)
    extents = as_extents(newshape)
    if ndim is not None and ndim != len(extents):
        raise ValueError(f"reshape to {len(extents)} extents cannot have ndim={ndim}")
    return Reshape(len(extents))(x, T.make_vector(*extents, dtype="int64"))


def flatten(x: Any, ndim: int | None = None, outdim: int | None = None) -> Any:
    """`x` with its last dimensions merged into one, so that `ndim` (by default 1) remain.

    Parameters
    ----------
    x : tensor
    ndim : int, optional
        The number of dimensions of the result, from 1 to that of `x` (a scalar may become a
        vector).
    outdim : int, optional
        The lineage's older name for `ndim`.

    Raises
    ------
    ValueError
        If `ndim` is out of range, or both names are given.
    """
    x = as_tensor_variable(x)
    if outdim is not None:
        if ndim is not None:
            raise ValueError("give ndim or outdim, not both")
        ndim = outdim
    if ndim is None:
        ndim = 1
    if ndim < 1 or (ndim > x.type.ndim and (x.type.ndim, ndim) != (0, 1)):
        raise ValueError(f"cannot flatten a tensor of {x.type.ndim} dimensions to {ndim}")
    if ndim == x.type.ndim:
        return x
    if x.type.ndim == 0:
        return T.shape_padleft(x)
    kept = shape_tuple(x)[: ndim - 1]
    last = x.type.shape[ndim - 1 :]
    merged: Any = -1
    if None not in last:
        merged = prod(last)
    elif any(e != 1 for e in kept):
        # -1 has no meaning when another extent is 0.
        merged = product_of_extents(shape_tuple(x)[ndim - 1 :])
    return reshape(x, (*kept, merged))


def ravel(x: Any) -> Any:
    """`x` as a vector."""
    return flatten(x, 1)
