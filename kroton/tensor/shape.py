"""Shapes as values, and what is stated about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton import scalar
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.elemwise import Elemwise, cast
from kroton.tensor.type import TensorType, discrete_dtypes, dtype_of, integer_dtypes

__all__ = [
    "AssertShape",
    "MakeVector",
    "Shape",
    "Shape_i",
    "SpecifyShape",
    "Unbroadcast",
    "addbroadcast",
    "as_extent",
    "as_extents",
    "make_vector",
    "patternbroadcast",
    "shape",
    "shape_i",
    "shape_tuple",
    "size",
    "specify_shape",
    "tensor_copy",
    "unbroadcast",
]


@dataclass(frozen=True, repr=False)
class Shape(Op):
    """The shape of a tensor, as an int64 vector."""

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        return Apply(self, [x], [TensorType("int64", (x.type.ndim,))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.array(inputs[0].shape, dtype="int64")

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [(node.inputs[0].type.ndim,)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [DisconnectedType()()]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [None]

    def __repr__(self) -> str:
        return "Shape"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Shape_i(Op):
    """The extent of dimension `i` of a tensor, as an int64 scalar."""

    i: int
    """The dimension, not negative."""

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if not 0 <= self.i < x.type.ndim:
            raise TypeError(f"there is no dimension {self.i} in {x} of type {x.type}")
        return Apply(self, [x], [TensorType("int64", ())()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.array(inputs[0].shape[self.i], dtype="int64")

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [DisconnectedType()()]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [None]

    def __repr__(self) -> str:
        return f"Shape_i{{{self.i}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class MakeVector(Op):
    """A vector of `dtype` whose elements are the 0-d inputs."""

    dtype: str = "int64"
    """The dtype of the vector, to which inputs are cast if that keeps their values."""

    def make_node(self, *inputs: Any) -> Apply:
        variables = []
        for k, x in enumerate(inputs):
            x = as_tensor_variable(x)
            if x.type.ndim != 0:
                raise TypeError(f"input {k} of {self} must be a scalar, got {x} of type {x.type}")
            if x.type.dtype != self.dtype:
                # int64 holds every extent, so uint64 is welcome in a vector of them.
                if not np.can_cast(x.type.dtype, self.dtype, "safe") and not (
                    self.dtype == "int64" and x.type.dtype in integer_dtypes
                ):
                    raise TypeError(
                        f"input {k} of {self}, {x} of dtype {x.type.dtype}, "
                        f"does not fit into dtype {self.dtype}"
                    )
                x = as_dtype(x, self.dtype)
            variables.append(x)
        return Apply(self, variables, [TensorType(self.dtype, (len(variables),))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = np.array(inputs, dtype=self.dtype)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [(len(node.inputs),)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (gz,) = output_gradients
        if self.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX) for x in inputs]
        return [gz[k] for k in range(len(inputs))]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if all(e is None for e in eval_points):
            return [None]
        return [self(*(T.zeros_like(x) if e is None else e for x, e in zip(inputs, eval_points)))]

    def __repr__(self) -> str:
        return f"MakeVector{{{self.dtype}}}"

    __str__ = __repr__


def make_vector(*scalars: Any, dtype: Any = None) -> Any:
    """The vector of 0-d `scalars`, of `dtype` or the dtype that NumPy promotes theirs to."""
    variables = [as_tensor_variable(x) for x in scalars]
    if dtype is None:
        name = (
            dtype_of(np.result_type(*(v.type.dtype for v in variables))) if variables else "int64"
        )
    else:
        name = dtype_of(dtype)
    if all(isinstance(v, Constant) and v.type.ndim == 0 for v in variables):
        return constant(np.array([v.data for v in variables], dtype=name))
    return MakeVector(name)(*variables)


def as_dtype(v: Any, dtype: str) -> Any:
    """`v` cast to `dtype`; a constant stays a constant, so that it says a static shape."""
    if isinstance(v, Constant) and v.type.dtype != dtype:
        return constant(v.data.astype(dtype))
    return cast(v, dtype)


# ---- extents -----------------------------------------------------------------------------


def as_extent(e: Any) -> Any:
    """`e` as a 0-d int64 Variable.

    Raises
    ------
    TypeError
        If it is no integer scalar.
    """
    v = as_tensor_variable(e)
    if v.type.ndim != 0 or v.type.dtype not in integer_dtypes:
        raise TypeError(f"an extent must be an integer scalar, got {e!r} of type {v.type}")
    return as_dtype(v, "int64")


def as_extents(shape: Any) -> list[Any]:
    """The extents that `shape` names, each a 0-d int64 Variable.

    Parameters
    ----------
    shape : int, scalar, sequence of these, or integer vector of statically known length

    Raises
    ------
    TypeError
        If it is no shape.
    ValueError
        If it is a vector whose length is not statically known.
    """
    if isinstance(shape, Apply):
        shape = shape.default_output()
    if isinstance(shape, (tuple, list)):
        return [as_extent(e) for e in shape]
    v = as_tensor_variable(shape)
    if v.type.dtype not in integer_dtypes and not (
        isinstance(v, Constant) and v.type.shape == (0,)
    ):
        raise TypeError(f"a shape consists of integers, got {shape!r} of type {v.type}")
    if v.type.ndim == 0:
        return [as_extent(v)]
    if v.type.ndim > 1:
        raise TypeError(f"a shape is a vector, got {shape!r} of type {v.type}")
    if isinstance(v, Constant):
        return [constant(int(e), dtype="int64") for e in v.data]
    n = v.type.shape[0]
    if n is None:
        raise ValueError(
            f"the number of dimensions cannot be known from the vector {v}, whose length is not "
            "statically known; give a tuple of scalars, or state it with specify_shape"
        )
    return [vector_item(v, k) for k in range(n)]


def vector_item(v: Any, k: int) -> Any:
    """Element k of a vector of extents, as a 0-d int64 Variable, looking through its making."""
    if isinstance(v, Constant):
        return constant(int(v.data[k]), dtype="int64")
    if v.owner is not None:
        if type(v.owner.op) is MakeVector:
            return as_extent(v.owner.inputs[k])
        if type(v.owner.op) is Shape:
            return shape_i(v.owner.inputs[0], k)
    return as_extent(v[k])


def static_extent(e: Any) -> int | None:
    """The value of an extent if it is a constant, else None."""
    if isinstance(e, Constant):
        return int(e.data)
    return None if isinstance(e, Variable) else int(e)


def shape(x: Any) -> Any:
    """The shape of `x` as an int64 vector: a constant if all extents are statically known."""
    x = as_tensor_variable(x)
    if None not in x.type.shape:
        return constant(np.array(x.type.shape, dtype="int64"))
    return Shape()(x)


def shape_i(x: Any, i: int) -> Any:
    """The extent of dimension `i` of `x` as an int64 scalar: a constant if statically known.

    Raises
    ------
    ValueError
        If there is no such dimension.
    """
    x = as_tensor_variable(x)
    if not -x.type.ndim <= i < x.type.ndim:
        raise ValueError(f"there is no dimension {i} in {x} of type {x.type}")
    i %= x.type.ndim
    if x.type.shape[i] is not None:
        return constant(x.type.shape[i], dtype="int64")
    return Shape_i(i)(x)


def shape_tuple(x: Any) -> tuple[Any, ...]:
    """The extents of `x`: Python ints where statically known, else 0-d int64 Variables."""
    x = as_tensor_variable(x)
    return tuple(Shape_i(k)(x) if e is None else e for k, e in enumerate(x.type.shape))


def product_of_extents(extents: Sequence[Any]) -> Any:
    """The product of extents, which are ints or scalars: an int if all are."""
    known, product = 1, None
    for e in extents:
        value = static_extent(e)
        if value is not None:
            known *= value
        else:
            product = e if product is None else T.mul(product, e)
    if product is None or known == 0:
        return known
    return product if known == 1 else T.mul(product, constant(known, dtype="int64"))


def sum_of_extents(extents: Sequence[Any]) -> Any:
    """The sum of extents, which are ints or scalars: an int if all are."""
    known, total = 0, None
    for e in extents:
        value = static_extent(e)
        if value is not None:
            known += value
        else:
            total = e if total is None else T.add(total, e)
    if total is None:
        return known
    return total if known == 0 else T.add(total, constant(known, dtype="int64"))


def size(x: Any) -> Any:
    """The number of elements of `x`, as an int64 scalar."""
    product = product_of_extents(shape_tuple(x))
    return constant(product, dtype="int64") if isinstance(product, int) else product


# ---- statements about shapes -------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class SpecifyShape(Op):
    """Its input, checked to have the extents `shape`; None says nothing about a dimension."""

    shape: tuple[int | None, ...]
    """The extents that the value must have."""

    view_map = {0: [0]}

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if x.type.ndim != len(self.shape):
            raise ValueError(
                f"{x} has {x.type.ndim} dimensions, the shape {self.shape} that is specified for "
                f"it has {len(self.shape)}"
            )
        merged = []
        for d, (known, stated) in enumerate(zip(x.type.shape, self.shape)):
            if known is not None and stated is not None and known != stated:
                raise ValueError(
                    f"{x} has static shape {x.type.shape}; dimension {d} cannot have "
                    f"{stated} elements as the shape {self.shape} says"
                )
            merged.append(known if stated is None else stated)
        return Apply(self, [x], [TensorType(x.type.dtype, merged)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        if any(e is not None and e != n for e, n in zip(self.shape, x.shape)):
            stated = ", ".join("?" if e is None else str(e) for e in self.shape)
            raise ValueError(
                f"SpecifyShape: got shape {x.shape}, expected shape "
                f"({stated}{',' if len(self.shape) == 1 else ''})"
            )
        output_storage[0][0] = x

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        (shape,) = input_shapes
        return [tuple(e if s is None else s for s, e in zip(self.shape, shape))]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,) = inputs
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX)]
        return [specify_shape(output_gradients[0], self.shape)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [specify_shape(eval_points[0], self.shape)]

    def __repr__(self) -> str:
        inside = ",".join("?" if e is None else str(e) for e in self.shape)
        return f"SpecifyShape{{{inside}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class AssertShape(Op):
    """Its first input, checked to have the other inputs as extents of the dimensions `axes`."""

    axes: tuple[int, ...]
    """The dimension that each further input is the extent of."""

    view_map = {0: [0]}

    def make_node(self, x: Any, *extents: Any) -> Apply:
        x = as_tensor_variable(x)
        if len(extents) != len(self.axes):
            raise ValueError(f"{self} takes {len(self.axes)} extents, got {len(extents)}")
        for d in self.axes:
            if not 0 <= d < x.type.ndim:
                raise ValueError(f"there is no dimension {d} in {x} of type {x.type}")
        return Apply(self, [x, *map(as_extent, extents)], [x.type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, *extents = inputs
        for d, e in zip(self.axes, extents):
            if x.shape[d] != e:
                raise ValueError(
                    f"SpecifyShape: got shape {x.shape}, expected {int(e)} elements "
                    f"in dimension {d}"
                )
        output_storage[0][0] = x

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [tuple(input_shapes[0])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], *([False] for _ in self.axes)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        x, (gz,) = inputs[0], output_gradients
        if x.type.dtype in discrete_dtypes:
            gz = T.zeros_like(x, dtype=config.floatX)
        return [gz, *(DisconnectedType()() for _ in self.axes)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [eval_points[0]]

    def __repr__(self) -> str:
        return f"AssertShape{{{','.join(map(str, self.axes))}}}"

    __str__ = __repr__


def specify_shape(x: Any, shape: Any) -> Any:
    """`x`, stated to have `shape`: known to the rewrites, checked at run time.

    Parameters
    ----------
    x : tensor
    shape : sequence of int, None or scalar, or integer vector
        None says nothing about a dimension. Ints and constants become part of the type.

    Returns
    -------
    TensorVariable
        `x` itself if its type says all of that already.

    Raises
    ------
    ValueError
        If the number of dimensions or a known extent differs; at run time (naming both
        shapes) if the value's shape differs.
    """
    x = as_tensor_variable(x)
    if isinstance(shape, (tuple, list)):
        entries = [None if e is None else as_extent(e) for e in shape]
    elif isinstance(shape, Variable) and shape.type.ndim == 1 and shape.type.shape[0] is None:
        entries = as_extents(specify_shape(shape, (x.type.ndim,)))
    else:
        entries = list(as_extents(shape))
    if len(entries) != x.type.ndim:
        raise ValueError(
            f"{x} has {x.type.ndim} dimensions, the shape that is specified for it {len(entries)}"
        )
    stated = tuple(None if e is None else static_extent(e) for e in entries)
    new = tuple(None if s == known else s for s, known in zip(stated, x.type.shape))
    if any(s is not None for s in new):
        x = SpecifyShape(new)(x)
    symbolic = [(d, e) for d, e in enumerate(entries) if e is not None and stated[d] is None]
    if symbolic:
        x = AssertShape(tuple(d for d, _ in symbolic))(x, *(e for _, e in symbolic))
    return x


@dataclass(frozen=True, repr=False)
class Unbroadcast(Op):
    """Its input, with nothing known of the extents of the dimensions `axes`."""

    axes: tuple[int, ...]
    """The dimensions, not negative, in increasing order."""

    view_map = {0: [0]}

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        for d in self.axes:
            if not 0 <= d < x.type.ndim:
                raise ValueError(f"there is no dimension {d} in {x} of type {x.type}")
        shape = [None if d in self.axes else e for d, e in enumerate(x.type.shape)]
        return Apply(self, [x], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = inputs[0]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [tuple(input_shapes[0])]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,) = inputs
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX)]
        return [specify_shape(output_gradients[0], x.type.shape)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0])]

    def __repr__(self) -> str:
        return f"Unbroadcast{{{','.join(map(str, self.axes))}}}"

    __str__ = __repr__


def _dimensions(x: Any, axes: Sequence[int]) -> list[int]:
    for d in axes:
        if not -x.type.ndim <= d < x.type.ndim:
            raise ValueError(f"there is no dimension {d} in {x} of type {x.type}")
    return sorted({d % x.type.ndim for d in axes})


def unbroadcast(x: Any, *axes: int) -> Any:
    """`x` with the dimensions `axes` not statically 1 any more, so that they do not stretch."""
    x = as_tensor_variable(x)
    chosen = tuple(d for d in _dimensions(x, axes) if x.type.shape[d] == 1)
    return Unbroadcast(chosen)(x) if chosen else x


def addbroadcast(x: Any, *axes: int) -> Any:
    """`x` with the dimensions `axes` statically 1, so that they stretch; checked at run time."""
    x = as_tensor_variable(x)
    chosen = _dimensions(x, axes)
    return specify_shape(x, [1 if d in chosen else None for d in range(x.type.ndim)])


def patternbroadcast(x: Any, broadcastable: Sequence[bool]) -> Any:
    """`x` with exactly the dimensions statically 1 for which `broadcastable` is True."""
    x = as_tensor_variable(x)
    if len(broadcastable) != x.type.ndim:
        raise ValueError(
            f"{x} has {x.type.ndim} dimensions, the broadcast pattern {len(broadcastable)}"
        )
    x = addbroadcast(x, *(d for d, b in enumerate(broadcastable) if b))
    return unbroadcast(x, *(d for d, b in enumerate(broadcastable) if not b))


def tensor_copy(x: Any) -> Any:
    """A copy of `x`: the same value under another identity."""
    return Elemwise(scalar.identity)(as_tensor_variable(x))
