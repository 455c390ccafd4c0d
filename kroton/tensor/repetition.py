"""Elements repeated, tensors tiled and rolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply, Constant
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.dimshuffle import normalized_axes, normalized_axis
from kroton.tensor.shape import as_dtype, product_of_extents, shape_tuple, static_extent
from kroton.tensor.type import TensorType, discrete_dtypes, integer_dtypes

__all__ = ["Repeat", "flip", "repeat", "roll", "tile"]


@dataclass(frozen=True, repr=False)
class Repeat(Op):
    """Each slice along dimension `axis`, as often as the second input says.

    That is an integer scalar, or a vector with one number for each slice.
    """

    axis: int
    """The dimension whose slices are repeated, not negative."""

    def make_node(self, x: Any, repeats: Any) -> Apply:
        x, repeats = as_tensor_variable(x), as_tensor_variable(repeats)
        if repeats.type.dtype not in integer_dtypes or repeats.type.ndim > 1:
            raise TypeError(
                f"repeats must be an integer scalar or vector, got {repeats} of {repeats.type}"
            )
        if not 0 <= self.axis < x.type.ndim:
            raise ValueError(f"{x} of type {x.type} has no dimension {self.axis}")
        repeats = as_dtype(repeats, "int64")
        n = x.type.shape[self.axis]
        count = repeats.type.shape[0] if repeats.type.ndim else None
        if n is not None and count is not None and n != count:
            raise ValueError(f"repeat of {n} slices needs as many repeats, got {count}")
        extent = None
        if isinstance(repeats, Constant):
            if (repeats.data < 0).any():
                raise ValueError(f"repeats cannot be negative, got {repeats.data.tolist()}")
            if repeats.type.ndim:
                extent = int(repeats.data.sum())
            elif n is not None:
                extent = n * int(repeats.data)
        shape = list(x.type.shape)
        shape[self.axis] = extent
        return Apply(self, [x, repeats], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, repeats = inputs
        if (repeats < 0).any():
            raise ValueError(f"{self}: repeats cannot be negative, got {repeats.tolist()}")
        if repeats.ndim and len(repeats) != x.shape[self.axis]:
            raise ValueError(
                f"{self}: an array of shape {x.shape} needs {x.shape[self.axis]} repeats, "
                f"got {len(repeats)}"
            )
        total = sum(repeats.tolist()) if repeats.ndim else int(repeats) * x.shape[self.axis]
        if total > np.iinfo(np.int64).max:
            # NumPy's repeat computes the extent modulo 2**64 and writes beyond its output.
            raise MemoryError(
                f"{self}: {repeats.tolist()} repeats of an array of shape {x.shape} "
                "are more than memory can hold"
            )
        output_storage[0][0] = np.repeat(x, repeats, axis=self.axis)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        shape = list(input_shapes[0])
        repeats = node.inputs[1]
        known = node.outputs[0].type.shape[self.axis]
        if known is not None:
            shape[self.axis] = known
        elif repeats.type.ndim:
            shape[self.axis] = T.sum(repeats)
        else:
            shape[self.axis] = product_of_extents([shape[self.axis], repeats])
        return [tuple(shape)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x, repeats), (gz,) = inputs, output_gradients
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX), DisconnectedType()()]
        if repeats.type.ndim == 0:
            extents = list(shape_tuple(x))
            extents.insert(self.axis + 1, repeats)
            gradient = T.sum(T.reshape(gz, extents), axis=self.axis + 1)
        else:
            zeros = T.zeros_like(x, dtype=gz.type.dtype)
            index = repeat(T.arange(T.shape_i(x, self.axis)), repeats)
            place = (slice(None),) * self.axis + (index,)
            gradient = T.inc_subtensor(zeros[place], gz)
        return [T.specify_shape(gradient, x.type.shape), DisconnectedType()()]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0], inputs[1])]

    def __repr__(self) -> str:
        return f"Repeat{{{self.axis}}}"

    __str__ = __repr__


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of `x`, or each slice along `axis`, repeated.

    Parameters
    ----------
    x : tensor
    repeats : int, integer scalar or vector
        How often: all alike, or a number for each slice. A vector of static length 1 counts
        for all.
    axis : int, optional
        By default `x` is flattened first.

    Raises
    ------
    TypeError
        If `repeats` does not consist of integers.
    ValueError
        If there is no dimension `axis`, a number is negative, or there are not as many as
        slices (at run time if not known before).
    """
    x, repeats = as_tensor_variable(x), as_tensor_variable(repeats)
    if axis is None:
        x, axis = T.flatten(x), 0
    if repeats.type.ndim == 1 and repeats.type.shape[0] == 1:
        repeats = T.squeeze(repeats)
    return Repeat(normalized_axis(axis, x.type.ndim))(x, repeats)


def tile(x: Any, reps: Any, ndim: int | None = None) -> Any:
    """`x` put side by side `reps[d]` times along each dimension d, as `numpy.tile` does.

    Parameters
    ----------
    x : tensor
    reps : int, scalar, sequence of these, or integer vector of statically known length
        Aligned with the dimensions of `x` at the right; missing ones are 1.
    ndim : int, optional
        The number of dimensions of the result, at least that of `x` and of `reps`.

    Raises
    ------
    ValueError
        If `ndim` is too small.
    """
    x = as_tensor_variable(x)
    counts = T.as_extents(reps)
    least = max(len(counts), x.type.ndim)
    if ndim is not None and ndim < least:
        raise ValueError(f"tile to ndim={ndim}, but x and reps have up to {least} dimensions")
    n = least if ndim is None else ndim
    counts = [T.as_extent(1)] * (n - len(counts)) + counts
    x = T.shape_padleft(x, n - x.type.ndim)
    extents = shape_tuple(x)
    if all(static_extent(c) == 1 for c in counts):
        return x
    pairs = [e for pair in zip(counts, extents) for e in pair]
    spread = T.alloc(x.dimshuffle([e for d in range(n) for e in ("x", d)]), *pairs)
    return T.reshape(spread, [product_of_extents(pair) for pair in zip(counts, extents)])


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """`x` with its elements moved by `shift` places along `axis`; what leaves comes in again.

    Parameters
    ----------
    x : tensor
    shift : int or integer scalar, or a sequence of these
        Positive shifts go towards higher indices.
    axis : int or sequence of int, optional
        By default `x` is rolled as if flat.
    """
    x = as_tensor_variable(x)
    if axis is None:
        return T.reshape(roll(T.flatten(x), shift, 0), shape_tuple(x)) if x.type.ndim else x
    if isinstance(axis, (tuple, list)):
        shifts = shift if isinstance(shift, (tuple, list)) else [shift] * len(axis)
        if len(shifts) != len(axis):
            raise ValueError(f"roll along {len(axis)} axes needs as many shifts, got {len(shifts)}")
        for s, a in zip(shifts, axis):
            x = roll(x, s, a)
        return x
    d = normalized_axis(axis, x.type.ndim)
    n = shape_tuple(x)[d]
    places = static_extent(T.as_extent(shift))
    cut: Any
    if places is not None and isinstance(n, int):
        if n == 0 or places % n == 0:
            return x
        cut = n - places % n
    else:
        count = T.as_extent(n)
        cut = T.sub(count, T.mod(T.as_extent(shift), T.maximum(count, 1)))
    before = (slice(None),) * d
    return T.join(d, x[(*before, slice(cut, None))], x[(*before, slice(None, cut))])


def flip(x: Any, axis: Any = None) -> Any:
    """`x` with its elements in reverse order along `axis` (int, several, or None for all)."""
    x = as_tensor_variable(x)
    axes = range(x.type.ndim) if axis is None else normalized_axes(axis, x.type.ndim)
    index = tuple(slice(None, None, -1) if d in axes else slice(None) for d in range(x.type.ndim))
    return x[index] if index else x
