"""Indexing with numbers and slices, and assignment to and addition into what any index names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply, Variable
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.indexing import (
    FULL,
    Entries,
    Slice,
    check_static,
    entries_repr,
    is_array,
    parse,
    places,
    python_index,
    static_region,
    symbolic_index,
    symbolic_region,
)
from kroton.tensor.repeated_index import last_writes
from kroton.tensor.type import TensorType, discrete_dtypes

__all__ = [
    "IncSubtensor",
    "Subtensor",
    "get_idx_list",
    "getitem",
    "inc_subtensor",
    "set_subtensor",
]


class BaseSubtensor(Op):
    """`x[index]`: inputs are x and a Variable for each place in the index that is not fixed."""

    def entries(self, given: Sequence[Any]) -> Entries:
        """The entries of the index, when these Variables are given."""
        raise NotImplementedError(f"{type(self).__name__} does not define entries")

    def writer(self, inplace: bool = False, set_instead_of_inc: bool = False) -> BaseIncSubtensor:
        """The Op that adds to, or sets, the region that this Op reads."""
        raise NotImplementedError(f"{type(self).__name__} does not define writer")

    def make_node(self, x: Any, *given: Any) -> Apply:
        x = as_tensor_variable(x)
        variables = [as_tensor_variable(v) for v in given]
        entries = self.entries(variables)
        check_given(self, entries, variables)
        check_static(x.type, entries, variables)
        shape = static_region(x.type, entries, variables)
        return Apply(self, [x, *variables], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, *given = inputs
        index = python_index(self.entries(node.inputs[1:]), given)
        output_storage[0][0] = x[(*index, Ellipsis)]  # never a NumPy scalar

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, *given = node.inputs
        entries = self.entries(given)
        return [symbolic_region(x.type, entries, input_shapes[0], given, input_shapes[1:])]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True]] + [[False]] * (len(node.inputs) - 1)

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        x, *given = inputs
        disconnected = [DisconnectedType()() for _ in given]
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX), *disconnected]
        (gz,) = output_gradients
        return [self.writer()(T.zeros_like(x), gz, *given), *disconnected]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0], *inputs[1:])]


class BaseIncSubtensor(Op):
    """`x` with `y` added to, or put into, `x[index]`: inputs are x, y and the index's Variables."""

    inplace: bool
    set_instead_of_inc: bool

    def entries(self, given: Sequence[Any]) -> Entries:
        """The entries of the index, when these Variables are given."""
        raise NotImplementedError(f"{type(self).__name__} does not define entries")

    def reader(self) -> BaseSubtensor:
        """The Op that reads the region that this Op writes."""
        raise NotImplementedError(f"{type(self).__name__} does not define reader")

    def make_node(self, x: Any, y: Any, *given: Any) -> Apply:
        x = as_tensor_variable(x)
        y = value_for(x, y)
        variables = [as_tensor_variable(v) for v in given]
        entries = self.entries(variables)
        check_given(self, entries, variables)
        check_static(x.type, entries, variables)
        region = static_region(x.type, entries, variables)
        verb = "set" if self.set_instead_of_inc else "increment"
        if y.type.ndim > len(region):
            raise ValueError(
                f"cannot {verb} a region of {len(region)} dimensions with {y}, "
                f"which has {y.type.ndim}"
            )
        for here, there in zip(y.type.shape[::-1], region[::-1]):
            if here not in (None, 1) and there is not None and here != there:
                raise ValueError(
                    f"cannot {verb} a region of shape {region} with {y} of shape {y.type.shape}"
                )
        return Apply(self, [x, y, *variables], [x.type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y, *given = inputs
        index = python_index(self.entries(node.inputs[2:]), given)
        check_fit(node.inputs[1].type, y, x[(*index, Ellipsis)].shape)
        out = x if self.inplace else x.copy()
        if self.set_instead_of_inc:
            # NumPy goes through the index as it lies in memory, and the last value stays: in C
            # order "last" means the same in every layout.
            index = tuple(np.array(i, order="C") if isinstance(i, np.ndarray) else i for i in index)
            out[index] = np.array(y, order="C")
        else:
            np.add.at(out, index, y)
        output_storage[0][0] = out

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[0]]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True]] + [[False]] * (len(node.inputs) - 2)

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        x, y, *given = inputs
        (gz,) = output_gradients
        disconnected = [DisconnectedType()() for _ in given]
        if x.type.dtype in discrete_dtypes:
            zeros = [T.zeros_like(v, dtype=config.floatX) for v in (x, y)]
            return [*zeros, *disconnected]
        gx, gy = gz, self.reader()(gz, *given)
        entries = self.entries(given)
        if self.set_instead_of_inc:
            gx = self.reader().writer(set_instead_of_inc=True)(gz, 0, *given)
            last = last_writes(x, entries, given) if any(map(is_array, entries)) else None
            if last is not None:
                gy = T.switch(last, gy, 0)
        return [gx, sum_to(gy, y), *disconnected]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        x, y, *given = inputs
        dx, dy = eval_points[:2]
        if dx is None and dy is None:
            return [None]
        dx = T.zeros_like(x) if dx is None else dx
        dy = T.zeros_like(y) if dy is None else dy
        out_of_place = self.reader().writer(set_instead_of_inc=self.set_instead_of_inc)
        return [out_of_place(dx, dy, *given)]


def check_given(op: Op, entries: Entries, variables: Sequence[Any]) -> None:
    """Raise if the Variables are not what the places in the index ask for."""
    wanted = places(entries)
    if len(wanted) != len(variables):
        raise ValueError(f"{op} takes {len(wanted)} indices, got {len(variables)}")
    for place, v in zip(wanted, variables):
        if v.type.dtype != place.dtype or v.type.ndim != place.ndim:
            raise TypeError(f"{op} takes an index of type {place!r}, got {v} of type {v.type}")


def check_fit(type_: TensorType, y: np.ndarray, region: tuple[int, ...]) -> None:
    """Raise ValueError unless `y` has the shape of the region, or statically stretches to it."""
    for here, there, static in zip(y.shape[::-1], region[::-1], type_.shape[::-1]):
        if here != there and static != 1:
            hint = ""
            if here == 1:
                hint = (
                    "; an extent of 1 is stretched only where the value's type says so: "
                    "use addbroadcast"
                )
            raise ValueError(
                f"a value of shape {y.shape} does not fit into the indexed region of shape "
                f"{region}{hint}"
            )


def value_for(x: Any, y: Any) -> Any:
    """`y` as a Variable of x's dtype.

    Raises
    ------
    TypeError
        If that could lose value.
    """
    dtype = x.type.dtype
    if not isinstance(y, (Variable, Apply)) and not hasattr(y, "dtype"):
        try:
            return constant(TensorType(dtype, np.shape(y)).filter(y))
        except (TypeError, ValueError) as error:
            if not _holds_variables(y):
                why = "" if isinstance(error, TypeError) else f": {error}"
                raise TypeError(
                    f"cannot put {y!r} into {x} of dtype {dtype} without losing value{why}; "
                    f"cast it to {dtype} yourself"
                ) from None
    y = as_tensor_variable(y)
    if y.type.dtype == dtype:
        return y
    if np.promote_types(y.type.dtype, dtype) != np.dtype(dtype):
        raise TypeError(
            f"cannot put {y} of dtype {y.type.dtype} into {x} of dtype {dtype} without losing "
            f"value; cast it to {dtype} yourself"
        )
    return T.cast(y, dtype)


def _holds_variables(y: Any) -> bool:
    if isinstance(y, (list, tuple)):
        return any(map(_holds_variables, y))
    return isinstance(y, (Variable, Apply))


def sum_to(g: Any, y: Any) -> Any:
    """`g` summed over the dimensions in which `y` was broadcast to its shape."""
    extra = g.type.ndim - y.type.ndim
    if extra:
        g = T.sum(g, axis=tuple(range(extra)))
    axes = tuple(d for d in range(y.type.ndim) if y.type.shape[d] == 1 and g.type.shape[d] != 1)
    return T.sum(g, axis=axes, keepdims=True) if axes else g


@dataclass(frozen=True, repr=False)
class Subtensor(BaseSubtensor):
    """`x[index]` with numbers and slices: a view.

    Inputs: x, and a 0-d integer for each `Given` place in `idx_list`.

    Raises
    ------
    IndexError
        When a number is out of range: while the graph is built if the extent is known then,
        else at run time.
    """

    idx_list: Entries
    """An int, a `Slice` or a `Given` number for each of the leading dimensions."""

    view_map = {0: [0]}

    def __post_init__(self) -> None:
        object.__setattr__(self, "idx_list", basic_entries(self.idx_list))

    def entries(self, given: Sequence[Any]) -> Entries:
        return self.idx_list

    def writer(self, inplace: bool = False, set_instead_of_inc: bool = False) -> IncSubtensor:
        return IncSubtensor(self.idx_list, inplace, set_instead_of_inc)

    def __repr__(self) -> str:
        return f"Subtensor{{{entries_repr(self.idx_list)}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class IncSubtensor(BaseIncSubtensor):
    """`x` with `y` added to, or put into, `x[index]`, for an index of numbers and slices.

    Inputs: x, y, and a 0-d integer for each `Given` place in `idx_list`. y is stretched over
    the region where it has fewer dimensions or an extent that is statically 1.
    """

    idx_list: Entries
    """An int, a `Slice` or a `Given` number for each of the leading dimensions."""
    inplace: bool = False
    """Write over x."""
    set_instead_of_inc: bool = False
    """Put instead of add."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "idx_list", basic_entries(self.idx_list))
        if self.inplace:
            object.__setattr__(self, "destroy_map", {0: [0]})

    def entries(self, given: Sequence[Any]) -> Entries:
        return self.idx_list

    def reader(self) -> Subtensor:
        return Subtensor(self.idx_list)

    def __repr__(self) -> str:
        return f"IncSubtensor{{{write_repr(self)}; {entries_repr(self.idx_list)}}}"

    __str__ = __repr__


def write_repr(op: BaseIncSubtensor) -> str:
    """`Inc`, `Set`, `InplaceInc` or `InplaceSet`."""
    return ("Inplace" if op.inplace else "") + ("Set" if op.set_instead_of_inc else "Inc")


def basic_entries(idx_list: Any) -> Entries:
    """`idx_list` as a tuple with `slice` objects as `Slice`; TypeError for arrays and None."""
    entries = tuple(Slice(e.start, e.stop, e.step) if isinstance(e, slice) else e for e in idx_list)
    for e in entries:
        if e is None or is_array(e) or isinstance(e, (bool, Variable)):
            raise TypeError(
                f"an idx_list holds ints, slices and Given numbers, got {e!r}; "
                "x[index] chooses the Op"
            )
    return entries


# ---- what the user calls -------------------------------------------------------------------


def getitem(x: Any, index: Any) -> Any:
    """`x[index]`, as NumPy means it.

    Parameters
    ----------
    x : tensor
    index : int, slice, None, Ellipsis, array, mask, or a tuple of these
        Numbers, the parts of slices, integer arrays and boolean masks may be symbolic. Lists
        are read as arrays.

    Returns
    -------
    tensor
        A view for numbers and slices, a new tensor for arrays and masks.

    Raises
    ------
    TypeError
        For floats, strings, and booleans without dimensions.
    IndexError
        For too many indices, or numbers that are out of range; at run time when the extent is
        not known before.
    """
    x = as_tensor_variable(x)
    entries, given = parse(x, index)
    if any(map(is_array, entries)):
        return T.advanced_getitem(x, entries, given)
    pattern: list[Any] = []
    kept = 0
    for e in entries:
        if e is None:
            pattern.append("x")
        elif isinstance(e, Slice):
            pattern.append(kept)
            kept += 1
    basic = [e for e in entries if e is not None]
    while basic and basic[-1] == FULL:
        basic.pop()
    new = "x" in pattern
    if basic or not new:
        x = Subtensor(tuple(basic))(x, *given)
    if new:
        x = T.dimshuffle(x, (*pattern, *range(kept, x.type.ndim)))
    return x


def get_idx_list(inputs: Sequence[Any], idx_list: Entries) -> tuple[Any, ...]:
    """The index of an Apply of Subtensor, as `x[...]` takes it: ints, slices and Variables.

    `inputs` are those of the Apply: x first, then the Variables for the `Given` places.
    """
    return symbolic_index(idx_list, inputs[1:])


def set_subtensor(
    x: Any, y: Any, inplace: bool = False, tolerate_inplace_aliasing: bool = False
) -> Any:
    """The indexed tensor with `y` put at the index: `set_subtensor(x[2:4], y)`.

    Parameters
    ----------
    x : tensor
        An indexed expression, with any kind of index; also one that was then reshaped or
        dimshuffled.
    y : tensor or array_like
        Stretched over the region where it has fewer dimensions or an extent that is
        statically 1. Its dtype must fit into x's.
    inplace : bool
        Write over the indexed tensor. Optimization does this where it is safe.
    tolerate_inplace_aliasing : bool
        Of the lineage; has no effect, since y may always share memory with x.

    Returns
    -------
    tensor
        Of the type of the tensor that was indexed, not of the region. An element that is
        indexed several times gets the last value.

    Raises
    ------
    TypeError
        If x is not an indexed expression, or y's dtype does not fit.
    ValueError
        If y's shape does not fit.

    Examples
    --------
    >>> import kroton.tensor as T
    >>> x = T.dvector("x")
    >>> z = T.set_subtensor(x[0], 10.0)
    """
    return inc_subtensor(x, y, inplace, True, tolerate_inplace_aliasing)


def inc_subtensor(
    x: Any,
    y: Any,
    inplace: bool = False,
    set_instead_of_inc: bool = False,
    tolerate_inplace_aliasing: bool = False,
) -> Any:
    """The indexed tensor with `y` added at the index: `inc_subtensor(x[2:4], y)`.

    An element that is indexed several times gets each addition. Parameters and errors are
    those of `set_subtensor`; `set_instead_of_inc` puts instead of adding.
    """
    x = as_tensor_variable(x)
    y = value_for(x, y)
    name = "set_subtensor" if set_instead_of_inc else "inc_subtensor"
    if y.type.ndim > x.type.ndim:
        raise ValueError(
            f"{name}: the region {x} has {x.type.ndim} dimensions, but the value {y} has "
            f"{y.type.ndim}"
        )
    op = x.owner.op if x.owner is not None else None
    if isinstance(op, BaseSubtensor):
        source, *given = x.owner.inputs
        return op.writer(inplace, set_instead_of_inc)(source, y, *given)
    if isinstance(op, T.DimShuffle):
        (source,) = x.owner.inputs
        y = _unshuffled(op.new_order, y, x.type.ndim, source.type.ndim)
        if source.owner is None or not _leads_to_index(source):
            if tuple(e for e in op.new_order if e != "x") == tuple(range(source.type.ndim)):
                # x[None]: the whole tensor, with new dimensions
                return IncSubtensor((), inplace, set_instead_of_inc)(source, y)
        else:
            return inc_subtensor(source, y, inplace, set_instead_of_inc)
    elif isinstance(op, T.Reshape) and _leads_to_index(x.owner.inputs[0]):
        source = x.owner.inputs[0]
        y = T.reshape(T.fill(x, y), T.shape(source), ndim=source.type.ndim)
        return inc_subtensor(source, y, inplace, set_instead_of_inc)
    raise TypeError(
        f"{name} takes an indexed expression such as x[2:4], got {x}"
        + (f", the result of {op}" if op is not None else ", which is not indexed")
    )


def _leads_to_index(x: Any) -> bool:
    while x.owner is not None and isinstance(x.owner.op, (T.DimShuffle, T.Reshape)):
        x = x.owner.inputs[0]
    return x.owner is not None and isinstance(x.owner.op, BaseSubtensor)


def _unshuffled(new_order: Sequence[Any], y: Any, ndim: int, source_ndim: int) -> Any:
    """`y`, which fits into `source.dimshuffle(new_order)`, made to fit into `source`."""
    y = T.shape_padleft(y, ndim - y.type.ndim)
    new = [k for k, e in enumerate(new_order) if e == "x" and y.type.shape[k] != 1]
    if new:
        y = T.addbroadcast(y, *new)
    order = list(new_order)
    return T.dimshuffle(y, [order.index(d) if d in order else "x" for d in range(source_ndim)])
