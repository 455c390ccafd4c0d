"""DimShuffle: dimensions reordered, dropped and inserted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.type import TensorType, discrete_dtypes

__all__ = [
    "DimShuffle",
    "dimshuffle",
    "expand_dims",
    "moveaxis",
    "shape_padaxis",
    "shape_padleft",
    "shape_padright",
    "squeeze",
    "swapaxes",
    "transpose",
]

Order = tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class DimShuffle(Op):
    """A view with dimension k being dimension `new_order[k]` of the input, or new if 'x'.

    Dimensions of the input that `new_order` does not mention are dropped; their extent must
    be statically 1. New dimensions have extent 1.
    """

    input_broadcastable: tuple[bool, ...]
    """For each dimension of the input, whether its extent is statically 1."""
    new_order: Order
    """For each dimension of the output, a dimension of the input or 'x'."""

    view_map = {0: [0]}

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_broadcastable", tuple(map(bool, self.input_broadcastable)))
        ndim = len(self.input_broadcastable)
        order = tuple(_entry(e, ndim) for e in self.new_order)
        object.__setattr__(self, "new_order", order)
        kept = [e for e in order if e != "x"]
        if len(set(kept)) != len(kept):
            raise ValueError(f"the pattern {order} takes a dimension twice")
        for d in range(ndim):
            if d not in kept and not self.input_broadcastable[d]:
                raise ValueError(
                    f"the pattern {order} drops dimension {d}, whose extent is not statically 1; "
                    "index or reduce it, or state that it is 1 with addbroadcast"
                )

    @property
    def drop(self) -> tuple[int, ...]:
        """The dimensions of the input that are dropped."""
        return tuple(d for d in range(len(self.input_broadcastable)) if d not in self.new_order)

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if x.type.ndim != len(self.input_broadcastable):
            raise TypeError(
                f"{self} takes a tensor of {len(self.input_broadcastable)} dimensions, "
                f"got {x} of type {x.type}"
            )
        for d in self.drop:
            if x.type.shape[d] != 1:
                raise TypeError(
                    f"{self} drops dimension {d}, whose extent must be statically 1; "
                    f"got {x} of type {x.type}"
                )
        shape = [1 if e == "x" else x.type.shape[e] for e in self.new_order]
        return Apply(self, [x], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        kept = [e for e in self.new_order if e != "x"]
        for d in self.drop:
            if x.shape[d] != 1:
                raise ValueError(
                    f"{self} drops dimension {d}, but the array of shape {x.shape} "
                    f"has {x.shape[d]} elements there"
                )
        view = x.transpose([*kept, *self.drop])
        view = view[(..., *(0 for _ in self.drop))]
        for k, e in enumerate(self.new_order):
            if e == "x":
                view = np.expand_dims(view, k)
        output_storage[0][0] = view

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        (shape,) = input_shapes
        return [tuple(1 if e == "x" else shape[e] for e in self.new_order)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,), (gz,) = inputs, output_gradients
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX)]
        new = [k for k, e in enumerate(self.new_order) if e == "x"]
        gz = T.addbroadcast(gz, *new)
        order = [
            self.new_order.index(d) if d in self.new_order else "x" for d in range(x.type.ndim)
        ]
        return [dimshuffle(gz, order)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0])]

    def __repr__(self) -> str:
        order = ",".join(map(str, self.new_order))
        return f"DimShuffle{{{order}}}"

    __str__ = __repr__


def _entry(e: Any, ndim: int) -> Any:
    if isinstance(e, str):
        if e != "x":
            raise ValueError(f"a pattern holds dimensions and 'x', got {e!r}")
        return "x"
    try:
        d = int(e.__index__())
    except (AttributeError, TypeError):
        raise TypeError(f"a pattern holds dimensions and 'x', got {e!r}") from None
    if not -ndim <= d < ndim:
        raise ValueError(f"there is no dimension {d} in a tensor of {ndim} dimensions")
    return d % ndim


def normalized_axis(axis: Any, ndim: int) -> int:
    """`axis` as a dimension from 0 to ndim - 1."""
    try:
        d = int(axis.__index__())
    except (AttributeError, TypeError):
        raise TypeError(f"an axis is an integer, got {axis!r}") from None
    if not -ndim <= d < ndim:
        raise ValueError(f"axis {d} is out of bounds for a tensor of {ndim} dimensions")
    return d % ndim


def normalized_axes(axis: Any, ndim: int) -> list[int]:
    """An axis or several as dimensions from 0 to ndim - 1, each once."""
    axes = [normalized_axis(a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else [axis])]
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names a dimension twice")
    return axes


def dimshuffle(x: Any, pattern: Sequence[Any]) -> Any:
    """Dimensions of `x` reordered, dropped and inserted, as a view.

    Parameters
    ----------
    x : tensor
    pattern : sequence of int and 'x'
        Dimension k of the result is dimension `pattern[k]` of `x`, or a new one of extent 1 if
        it is 'x'. Dimensions that are not mentioned are dropped; they must be statically 1.

    Returns
    -------
    TensorVariable
        `x` itself if nothing changes. A dimshuffle of a dimshuffle is one dimshuffle.

    Raises
    ------
    ValueError
        If a dimension is mentioned twice, does not exist, or is dropped and not statically 1.
    """
    x = as_tensor_variable(x)
    ndim = x.type.ndim
    order: Order = tuple(_entry(e, ndim) for e in pattern)
    op = DimShuffle(x.type.broadcastable, order)
    while x.owner is not None and type(x.owner.op) is DimShuffle:
        inner: Order = x.owner.op.new_order
        order = tuple("x" if e == "x" else inner[e] for e in order)
        x = x.owner.inputs[0]
        op = DimShuffle(x.type.broadcastable, order)
    if order == tuple(range(x.type.ndim)):
        return x
    return op(x)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """`x` with its dimensions permuted: dimension k of the result is dimension `axes[k]`.

    Parameters
    ----------
    x : tensor
    axes : sequence of int, optional
        A permutation; by default the dimensions in reverse order.
    """
    x = as_tensor_variable(x)
    ndim = x.type.ndim
    if axes is None:
        return dimshuffle(x, tuple(range(ndim))[::-1])
    order = [normalized_axis(a, ndim) for a in axes]
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"axes {tuple(axes)} is no permutation of {ndim} dimensions")
    return dimshuffle(x, order)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """`x` with dimensions `axis1` and `axis2` exchanged."""
    x = as_tensor_variable(x)
    a, b = normalized_axis(axis1, x.type.ndim), normalized_axis(axis2, x.type.ndim)
    order = list(range(x.type.ndim))
    order[a], order[b] = order[b], order[a]
    return dimshuffle(x, order)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """`x` with the dimensions `source` (an int or several) at the positions `destination`."""
    x = as_tensor_variable(x)
    ndim = x.type.ndim
    sources, targets = normalized_axes(source, ndim), normalized_axes(destination, ndim)
    if len(sources) != len(targets):
        raise ValueError(
            f"source {source} and destination {destination} must name as many dimensions"
        )
    order = [d for d in range(ndim) if d not in sources]
    for target, s in sorted(zip(targets, sources)):
        order.insert(target, s)
    return dimshuffle(x, order)


def expand_dims(x: Any, axis: Any) -> Any:
    """`x` with new dimensions of extent 1 at the positions `axis` (int or tuple) of the result."""
    x = as_tensor_variable(x)
    n_new = len(axis) if isinstance(axis, (tuple, list)) else 1
    ndim = x.type.ndim + n_new
    new = normalized_axes(axis, ndim)
    old = iter(range(x.type.ndim))
    return dimshuffle(x, ["x" if d in new else next(old) for d in range(ndim)])


def squeeze(x: Any, axis: Any = None) -> Any:
    """`x` without dimensions of extent 1.

    Parameters
    ----------
    x : tensor
    axis : int or tuple of int, optional
        The dimensions to drop, by default all that are statically 1. Where the extent is not
        known it is checked at run time.

    Raises
    ------
    ValueError
        If a dimension in `axis` is known to have another extent than 1.
    """
    x = as_tensor_variable(x)
    ndim = x.type.ndim
    if axis is None:
        gone = [d for d in range(ndim) if x.type.broadcastable[d]]
    else:
        gone = normalized_axes(axis, ndim)
        for d in gone:
            if x.type.shape[d] not in (1, None):
                raise ValueError(
                    f"cannot squeeze dimension {d} of {x}, which has {x.type.shape[d]} elements"
                )
        x = T.addbroadcast(x, *gone)
    return dimshuffle(x, [d for d in range(ndim) if d not in gone])


def shape_padleft(t: Any, n_ones: int = 1) -> Any:
    """`t` with `n_ones` new dimensions of extent 1 in front."""
    t = as_tensor_variable(t)
    return dimshuffle(t, ["x"] * n_ones + list(range(t.type.ndim)))


def shape_padright(t: Any, n_ones: int = 1) -> Any:
    """`t` with `n_ones` new dimensions of extent 1 at the end."""
    t = as_tensor_variable(t)
    return dimshuffle(t, list(range(t.type.ndim)) + ["x"] * n_ones)


def shape_padaxis(t: Any, axis: int) -> Any:
    """`t` with a new dimension of extent 1 that becomes dimension `axis` of the result."""
    t = as_tensor_variable(t)
    if not -t.type.ndim - 1 <= axis <= t.type.ndim:
        raise IndexError(f"axis {axis} is out of range [{-t.type.ndim - 1}, {t.type.ndim}] for {t}")
    return expand_dims(t, axis)
