"""Tensors joined along a dimension, and split again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.dimshuffle import normalized_axis
from kroton.tensor.shape import as_dtype, static_extent, sum_of_extents, vector_item
from kroton.tensor.type import TensorType, discrete_dtypes, dtype_of, integer_dtypes

__all__ = [
    "Join",
    "Split",
    "concatenate",
    "horizontal_stack",
    "join",
    "split",
    "stack",
    "stacklists",
    "vertical_stack",
]


@dataclass(frozen=True, repr=False)
class Join(Op):
    """Tensors one after the other along dimension `axis`.

    The inputs have one number of dimensions and are cast to the dtype that NumPy promotes
    theirs to. All extents but those along `axis` must be equal.
    """

    axis: int
    """The dimension along which they are joined, not negative."""

    def make_node(self, *tensors: Any) -> Apply:
        if not tensors:
            raise ValueError("join needs at least one tensor")
        variables = [as_tensor_variable(t) for t in tensors]
        ndim = variables[0].type.ndim
        if any(v.type.ndim != ndim for v in variables):
            raise TypeError(
                "join needs tensors of one number of dimensions, got "
                + ", ".join(f"{v} of type {v.type}" for v in variables)
            )
        if not 0 <= self.axis < ndim:
            raise ValueError(f"tensors of {ndim} dimensions cannot be joined along {self.axis}")
        dtype = dtype_of(np.result_type(*(v.type.dtype for v in variables)))
        variables = [as_dtype(v, dtype) for v in variables]
        shape: list[int | None] = []
        for d in range(ndim):
            extents = [v.type.shape[d] for v in variables]
            if d == self.axis:
                shape.append(None if None in extents else sum(extents))
                continue
            known = {e for e in extents if e is not None}
            if len(known) > 1:
                raise ValueError(
                    f"join along dimension {self.axis} needs equal extents in dimension {d}, "
                    f"got tensors of shapes {', '.join(str(v.type.shape) for v in variables)}"
                )
            shape.append(known.pop() if known else None)
        return Apply(self, variables, [TensorType(dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        first = inputs[0].shape
        for k, x in enumerate(inputs):
            for d, e in enumerate(x.shape):
                if d != self.axis and e != first[d]:
                    raise ValueError(
                        f"Join along dimension {self.axis}: input {k} of shape {x.shape} has {e} "
                        f"elements in dimension {d}, input 0 of shape {first} has {first[d]}"
                    )
        output_storage[0][0] = np.concatenate(inputs, axis=self.axis)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        shape = [s if e is None else e for e, s in zip(node.outputs[0].type.shape, input_shapes[0])]
        if node.outputs[0].type.shape[self.axis] is None:
            shape[self.axis] = sum_of_extents([s[self.axis] for s in input_shapes])
        return [tuple(shape)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        if outputs[0].type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX) for x in inputs]
        sizes = T.make_vector(*(T.shape_i(x, self.axis) for x in inputs), dtype="int64")
        pieces = split(output_gradients[0], sizes, len(inputs), self.axis)
        return [T.specify_shape(g, x.type.shape) for g, x in zip(pieces, inputs)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if all(e is None for e in eval_points):
            return [None]
        return [self(*(T.zeros_like(x) if e is None else e for x, e in zip(inputs, eval_points)))]

    def __repr__(self) -> str:
        return f"Join{{{self.axis}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Split(Op):
    """A tensor cut along dimension `axis` into `len_splits` views.

    The second input is an integer vector of the extents of the parts, whose sum must be the
    extent of the tensor.
    """

    len_splits: int
    """The number of parts."""
    axis: int = 0
    """The dimension that is cut, not negative."""

    def __post_init__(self) -> None:
        if self.len_splits < 1:
            raise ValueError(f"a tensor is split into at least one part, got {self.len_splits}")
        object.__setattr__(self, "view_map", {k: [0] for k in range(self.len_splits)})

    def make_node(self, x: Any, sizes: Any) -> Apply:
        x, sizes = as_tensor_variable(x), as_tensor_variable(sizes)
        if sizes.type.ndim != 1 or sizes.type.dtype not in integer_dtypes:
            raise TypeError(
                f"the sizes of the parts must be an integer vector, got {sizes} of {sizes.type}"
            )
        if sizes.type.shape[0] not in (None, self.len_splits):
            raise ValueError(
                f"a split into {self.len_splits} parts needs as many sizes, "
                f"got {sizes.type.shape[0]}"
            )
        if not 0 <= self.axis < x.type.ndim:
            raise ValueError(f"{x} of {x.type.ndim} dimensions cannot be split along {self.axis}")
        sizes = as_dtype(sizes, "int64")
        known: list[int | None] = [None] * self.len_splits
        if isinstance(sizes, Constant) or (
            sizes.owner is not None and type(sizes.owner.op) is T.MakeVector
        ):
            known = [static_extent(vector_item(sizes, k)) for k in range(self.len_splits)]
        total = x.type.shape[self.axis]
        if any(e is not None and e < 0 for e in known):
            raise ValueError(f"the size of a part cannot be negative, got {known}")
        if total is not None and None not in known and sum(known) != total:  # type: ignore[arg-type]
            raise ValueError(f"parts of {known} elements do not make up the {total} of {x}")
        outputs = []
        for e in known:
            shape = list(x.type.shape)
            shape[self.axis] = e
            outputs.append(TensorType(x.type.dtype, shape)())
        return Apply(self, [x, sizes], outputs)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, sizes = inputs
        if len(sizes) != self.len_splits:
            raise ValueError(f"{self}: expected {self.len_splits} sizes, got {len(sizes)}")
        if (sizes < 0).any() or sizes.sum() != x.shape[self.axis]:
            raise ValueError(
                f"{self}: parts of {sizes.tolist()} elements do not make up the "
                f"{x.shape[self.axis]} of an array of shape {x.shape}"
            )
        start = 0
        for storage, n in zip(output_storage, sizes.tolist()):
            storage[0] = x[(slice(None),) * self.axis + (slice(start, start + n),)]
            start += n

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        shapes = []
        for k, out in enumerate(node.outputs):
            shape = list(input_shapes[0])
            known = out.type.shape[self.axis]
            shape[self.axis] = vector_item(node.inputs[1], k) if known is None else known
            shapes.append(tuple(shape))
        return shapes

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True] * self.len_splits, [False] * self.len_splits]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        x = inputs[0]
        sizes = DisconnectedType()()
        if all(isinstance(g.type, DisconnectedType) for g in output_gradients):
            return [DisconnectedType()(), sizes]
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX), sizes]
        parts = [
            T.zeros_like(out) if isinstance(g.type, DisconnectedType) else g
            for g, out in zip(output_gradients, outputs)
        ]
        return [T.specify_shape(join(self.axis, *parts), x.type.shape), sizes]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None] * self.len_splits
        return self(eval_points[0], inputs[1], return_list=True)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"Split{{{self.len_splits}, axis={self.axis}}}"

    __str__ = __repr__


def _constant_axis(axis: Any) -> int:
    if isinstance(axis, Constant) and axis.type.ndim == 0:
        axis = axis.data.item()
    if isinstance(axis, Variable):
        raise TypeError(
            f"the axis must be known while the graph is built, got the symbolic variable {axis}"
        )
    try:
        return int(axis.__index__())
    except (AttributeError, TypeError):
        raise TypeError(f"an axis is an integer, got {axis!r}") from None


def join(axis: Any, *tensors_list: Any) -> Any:
    """Tensors one after the other along dimension `axis`.

    Parameters
    ----------
    axis : int
        Known while the graph is built; negative ones count from the end.
    *tensors_list : tensors
        Of one number of dimensions, at least one.

    Returns
    -------
    TensorVariable
        Of the dtype that NumPy promotes theirs to; a single tensor as it is.

    Raises
    ------
    TypeError
        If `axis` is symbolic, or the numbers of dimensions differ.
    ValueError
        If there is no such dimension, or extents differ that should be equal (at run time if
        not known before).
    """
    if not tensors_list:
        raise ValueError("join needs at least one tensor")
    variables = [as_tensor_variable(t) for t in tensors_list]
    if variables[0].type.ndim == 0:
        raise TypeError("scalars cannot be joined; stack them")
    d = normalized_axis(_constant_axis(axis), variables[0].type.ndim)
    return variables[0] if len(variables) == 1 else Join(d)(*variables)


def concatenate(tensor_list: Sequence[Any], axis: Any = 0) -> Any:
    """The tensors of a sequence one after the other along dimension `axis`; see `join`."""
    if not isinstance(tensor_list, (tuple, list)):
        raise TypeError(
            "concatenate takes a list or tuple of tensors, got "
            f"{tensor_list!r}; to concatenate tensors a and b write concatenate([a, b])"
        )
    return join(axis, *tensor_list)


def stack(*tensors: Any, axis: Any = 0) -> Any:
    """Tensors of equal shape side by side along a new dimension: `stack([a, b])`.

    Parameters
    ----------
    tensors : sequence of tensors
        In the lineage's older way they may also be the arguments, `stack(a, b)`.
    axis : int
        The position of the new dimension in the result; after a sequence the second argument.

    Raises
    ------
    TypeError
        If `tensors` is no sequence, or the numbers of dimensions differ.
    ValueError
        If it is empty or the shapes differ (at run time if not known before).
    """
    parts: Any = tensors[0] if tensors else ()
    if len(tensors) == 2 and _is_axis(tensors[1]) and not _is_axis(parts):
        axis = tensors[1]
    elif len(tensors) > 1:
        parts = tensors
    if isinstance(parts, Variable) and parts.type.ndim:
        parts = [*iter(parts)]  # type: ignore[call-overload]
    if not isinstance(parts, (tuple, list)):
        raise TypeError(f"stack takes a list or tuple of tensors, got {parts!r}")
    if not parts:
        raise ValueError("stack needs at least one tensor")
    variables = [as_tensor_variable(t) for t in parts]
    ndim = variables[0].type.ndim
    if any(v.type.ndim != ndim for v in variables):
        raise TypeError(
            "stack needs tensors of one number of dimensions, got "
            + ", ".join(f"{v} of type {v.type}" for v in variables)
        )
    d = normalized_axis(_constant_axis(axis), ndim + 1)
    if ndim == 0:
        return T.make_vector(*variables)
    return join(d, *(T.expand_dims(v, d) for v in variables))


def _is_axis(value: Any) -> bool:
    if isinstance(value, Constant):
        return value.type.ndim == 0 and value.type.dtype in integer_dtypes
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def stacklists(arg: Any) -> Any:
    """Nested lists of tensors of equal shape as one tensor, outer lists giving outer dimensions.

    Examples
    --------
    >>> import kroton.tensor as T
    >>> a, b, c, d = T.scalars("a b c d")
    >>> T.stacklists([[a, b], [c, d]]).type.shape
    (2, 2)
    """
    if isinstance(arg, (tuple, list)):
        return stack([stacklists(item) for item in arg])
    return as_tensor_variable(arg)


def _matrices(name: str, tensors: Sequence[Any]) -> list[Any]:
    variables = [as_tensor_variable(t) for t in tensors]
    for v in variables:
        if v.type.ndim != 2:
            raise TypeError(f"{name} takes matrices, got {v} of type {v.type}")
    return variables


def horizontal_stack(*args: Any) -> Any:
    """Matrices with as many rows each, one beside the other."""
    return join(1, *_matrices("horizontal_stack", args))


def vertical_stack(*args: Any) -> Any:
    """Matrices with as many columns each, one below the other."""
    return join(0, *_matrices("vertical_stack", args))


def split(x: Any, splits_size: Any, n_splits: int, axis: Any = 0) -> list[Any]:
    """`x` cut into `n_splits` parts along dimension `axis`, as views.

    Parameters
    ----------
    x : tensor
    splits_size : integer vector or sequence of integer scalars
        The extent of each part; their sum is that of `x`.
    n_splits : int
        The number of parts.
    axis : int

    Raises
    ------
    ValueError
        If the sizes are not `n_splits` in number, or do not add up (at run time if not known
        before).
    """
    x = as_tensor_variable(x)
    d = normalized_axis(_constant_axis(axis), x.type.ndim)
    if isinstance(splits_size, (tuple, list)):
        splits_size = T.make_vector(*T.as_extents(splits_size), dtype="int64")
    return Split(n_splits, d)(x, splits_size, return_list=True)  # type: ignore[no-any-return]
