"""Indexing with arrays and masks, and the indices of what is not zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.indexing import Entries, Given, Slice, entries_repr, is_array
from kroton.tensor.subtensor import BaseIncSubtensor, BaseSubtensor, write_repr
from kroton.tensor.type import TensorType, integer_dtypes

__all__ = [
    "AdvancedIncSubtensor",
    "AdvancedIncSubtensor1",
    "AdvancedSubtensor",
    "AdvancedSubtensor1",
    "Nonzero",
    "advanced_getitem",
    "advanced_inc_subtensor1",
    "advanced_set_subtensor1",
    "advanced_subtensor1",
    "flatnonzero",
    "nonzero",
    "nonzero_values",
    "take",
    "take_along_axis",
]


def _vector_entries(op: Op, given: Sequence[Any]) -> Entries:
    if len(given) != 1:
        raise ValueError(f"{op} takes one vector of indices, got {len(given)}")
    (rows,) = given
    if rows.type.ndim != 1 or rows.type.dtype not in integer_dtypes:
        raise TypeError(f"{op} takes a vector of integers, got {rows} of type {rows.type}")
    return (Given(rows.type.dtype, 1),)


@dataclass(frozen=True)
class AdvancedSubtensor1(BaseSubtensor):
    """`x[rows]`: the rows of x that an integer vector names, in its order, as a new tensor."""

    def entries(self, given: Sequence[Any]) -> Entries:
        return _vector_entries(self, given)

    def writer(
        self, inplace: bool = False, set_instead_of_inc: bool = False
    ) -> AdvancedIncSubtensor1:
        return AdvancedIncSubtensor1(inplace, set_instead_of_inc)

    def __repr__(self) -> str:
        return "AdvancedSubtensor1"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class AdvancedIncSubtensor1(BaseIncSubtensor):
    """`x` with `y` added to, or put into, `x[rows]`; inputs x, y and an integer vector.

    Rows that occur several times get each addition, or the last value.
    """

    inplace: bool = False
    """Write over x."""
    set_instead_of_inc: bool = False
    """Put instead of add."""

    def __post_init__(self) -> None:
        if self.inplace:
            object.__setattr__(self, "destroy_map", {0: [0]})

    def entries(self, given: Sequence[Any]) -> Entries:
        return _vector_entries(self, given)

    def reader(self) -> AdvancedSubtensor1:
        return AdvancedSubtensor1()

    def __repr__(self) -> str:
        return f"AdvancedIncSubtensor1{{{write_repr(self)}}}"

    __str__ = __repr__


advanced_subtensor1 = AdvancedSubtensor1()
advanced_inc_subtensor1 = AdvancedIncSubtensor1()
advanced_set_subtensor1 = AdvancedIncSubtensor1(set_instead_of_inc=True)


def _advanced_entries(idx_list: Any) -> Entries:
    entries = tuple(Slice(e.start, e.stop, e.step) if isinstance(e, slice) else e for e in idx_list)
    if not any(map(is_array, entries)):
        raise TypeError(
            f"an index without arrays ({entries_repr(entries)}) is served by Subtensor; "
            "x[index] chooses the Op"
        )
    return entries


@dataclass(frozen=True, repr=False)
class AdvancedSubtensor(BaseSubtensor):
    """`x[index]` with at least one array or mask, and any numbers, slices and new dimensions.

    Inputs: x, and a Variable for each `Given` place in `idx_list`. Index arrays broadcast
    with one another as in NumPy, at run time; a mask of k dimensions stands for the k vectors
    of indices where it is true.
    """

    idx_list: Entries
    """Ints, `Slice`s, `Given` numbers, arrays and masks, and None for a new dimension."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "idx_list", _advanced_entries(self.idx_list))

    def entries(self, given: Sequence[Any]) -> Entries:
        return self.idx_list

    def writer(
        self, inplace: bool = False, set_instead_of_inc: bool = False
    ) -> AdvancedIncSubtensor:
        return AdvancedIncSubtensor(self.idx_list, inplace, set_instead_of_inc)

    def __repr__(self) -> str:
        return f"AdvancedSubtensor{{{entries_repr(self.idx_list)}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class AdvancedIncSubtensor(BaseIncSubtensor):
    """`x` with `y` added to, or put into, `x[index]`, for an index with arrays or masks.

    Elements that are indexed several times get each addition, or the last value.
    """

    idx_list: Entries
    """Ints, `Slice`s, `Given` numbers, arrays and masks, and None for a new dimension."""
    inplace: bool = False
    """Write over x."""
    set_instead_of_inc: bool = False
    """Put instead of add."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "idx_list", _advanced_entries(self.idx_list))
        if self.inplace:
            object.__setattr__(self, "destroy_map", {0: [0]})

    def entries(self, given: Sequence[Any]) -> Entries:
        return self.idx_list

    def reader(self) -> AdvancedSubtensor:
        return AdvancedSubtensor(self.idx_list)

    def __repr__(self) -> str:
        return f"AdvancedIncSubtensor{{{write_repr(self)}; {entries_repr(self.idx_list)}}}"

    __str__ = __repr__


def advanced_getitem(x: Any, entries: Entries, given: Sequence[Any]) -> Any:
    """`x[index]` for parsed entries with at least one array or mask."""
    if len(entries) == 1 and entries[0].ndim == 1 and entries[0].dtype != "bool":
        return advanced_subtensor1(x, *given)
    return AdvancedSubtensor(entries)(x, *given)


# ---- what is not zero ----------------------------------------------------------------------


@dataclass(frozen=True)
class Nonzero(Op):
    """The indices of the elements that are not zero: one int64 vector per dimension."""

    def make_node(self, a: Any) -> Apply:
        a = as_tensor_variable(a)
        if a.type.ndim == 0:
            raise ValueError("nonzero takes a tensor with dimensions, got a scalar")
        return Apply(self, [a], [TensorType("int64", (None,))() for _ in range(a.type.ndim)])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        for storage, found in zip(output_storage, np.nonzero(inputs[0])):
            storage[0] = found.astype("int64", copy=False)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        count = T.sum(T.neq(node.inputs[0], 0), dtype="int64")
        return [(count,)] * len(node.outputs)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False] * len(node.outputs)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [DisconnectedType()()]

    def __repr__(self) -> str:
        return "Nonzero"

    __str__ = __repr__


def nonzero(a: Any, return_matrix: bool = False) -> Any:
    """The indices of the elements that are not zero, in C order.

    Parameters
    ----------
    a : tensor with at least one dimension
    return_matrix : bool
        Return an int64 matrix with a row for each dimension instead of a tuple of vectors.

    Returns
    -------
    tuple of int64 vectors, or an int64 matrix

    Raises
    ------
    ValueError
        For a scalar.
    """
    found = Nonzero()(a, return_list=True)
    return T.stack(found, axis=0) if return_matrix else tuple(found)


def flatnonzero(a: Any) -> Any:
    """The indices of the elements that are not zero in the flattened tensor, as a vector."""
    a = as_tensor_variable(a)
    if a.type.ndim == 0:
        raise ValueError("flatnonzero takes a tensor with dimensions, got a scalar")
    return nonzero(T.flatten(a))[0]


def nonzero_values(a: Any) -> Any:
    """The elements that are not zero, in C order, as a vector."""
    a = as_tensor_variable(a)
    return T.flatten(a)[flatnonzero(a)]


# ---- along an axis -------------------------------------------------------------------------


def _axis(a: Any, axis: int) -> int:
    ndim: int = a.type.ndim
    if not -ndim <= axis < ndim:
        raise ValueError(f"there is no axis {axis} in a tensor of {ndim} dimensions")
    return int(axis) % ndim


def take(a: Any, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
    """Elements of `a` along an axis.

    Parameters
    ----------
    a : tensor
    indices : integer tensor or array_like
    axis : int, optional
        The flattened tensor by default.
    mode : {'raise', 'wrap', 'clip'}
        What becomes of indices out of range: an IndexError, counting round and round, or the
        nearest end (with which negative ones are 0).

    Returns
    -------
    tensor
        The shape is a's with the extent of `axis` replaced by the shape of `indices`.

    Raises
    ------
    ValueError
        For another mode, or an axis that is not there.
    TypeError
        If `indices` are not integers.
    """
    a, indices = as_tensor_variable(a), as_tensor_variable(indices)
    if indices.type.dtype not in integer_dtypes:
        raise TypeError(f"take needs integer indices, got {indices} of dtype {indices.type.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"mode is 'raise', 'wrap' or 'clip', got {mode!r}")
    if axis is None:
        a, axis = T.flatten(a), 0
    axis = _axis(a, axis)
    if mode != "raise":
        extent = T.shape(a)[axis]
        indices = T.cast(indices, "int64")
        if mode == "wrap":
            indices = T.mod(indices, extent)
        else:
            indices = T.clip(indices, 0, extent - 1)
    return a[(slice(None),) * axis + (indices,)]


def take_along_axis(arr: Any, indices: Any, axis: int | None = 0) -> Any:
    """For each line along `axis`, the elements that the line of `indices` there names.

    Parameters
    ----------
    arr : tensor
    indices : integer tensor
        With as many dimensions as `arr`; its other extents are those of `arr`.
    axis : int or None
        None takes from the flattened tensor, with a vector of indices.

    Returns
    -------
    tensor
        Of the shape of `indices`.

    Raises
    ------
    ValueError
        If the numbers of dimensions differ, or there is no such axis.
    """
    arr, indices = as_tensor_variable(arr), as_tensor_variable(indices)
    if axis is None:
        arr, axis = T.flatten(arr), 0
    if indices.type.ndim != arr.type.ndim:
        raise ValueError(
            f"take_along_axis needs as many dimensions in indices ({indices.type.ndim}) as in "
            f"the tensor ({arr.type.ndim})"
        )
    axis = _axis(arr, axis)
    index: list[Any] = []
    for d in range(arr.type.ndim):
        if d == axis:
            index.append(indices)
        else:
            order = ["x"] * arr.type.ndim
            order[d] = 0  # type: ignore[call-overload]
            index.append(T.dimshuffle(T.arange(T.shape(arr)[d]), order))
    return arr[tuple(index)]
