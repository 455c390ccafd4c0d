"""What stands between the brackets: entries of an index, and the shape of the region they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply, Constant, Variable
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.type import TensorType, integer_dtypes

__all__: list[str] = []


@dataclass(frozen=True, repr=False)
class Given:
    """The place of an index that is an input of the Apply: a number, an array or a mask."""

    dtype: str
    """An integer dtype, or bool for a mask."""
    ndim: int = 0
    """0 for a number."""

    def __repr__(self) -> str:
        return self.dtype if self.ndim == 0 else f"{self.dtype}[{self.ndim}d]"


@dataclass(frozen=True, repr=False)
class Slice:
    """`start:stop:step`; each part None, an int or a `Given` number."""

    start: Any = None
    stop: Any = None
    step: Any = None

    def __repr__(self) -> str:
        parts = ["" if p is None else repr(p) for p in (self.start, self.stop, self.step)]
        return ":".join(parts[:2] if self.step is None else parts)


FULL = Slice()

Entry = Any  # an int, a Slice, a Given, or None for a new dimension
Entries = tuple[Entry, ...]


def entries_repr(entries: Entries) -> str:
    """`::2, int64, newaxis`."""
    return ", ".join("newaxis" if e is None else repr(e) for e in entries)


def is_array(entry: Entry) -> bool:
    """Whether the entry is an index array or a mask."""
    return isinstance(entry, Given) and entry.ndim > 0


def consumed(entry: Entry) -> int:
    """How many dimensions of the indexed tensor the entry uses up."""
    if entry is None:
        return 0
    return entry.ndim if is_array(entry) and entry.dtype == "bool" else 1


# ---- reading what the user wrote -----------------------------------------------------------


def parse(x: Any, index: Any) -> tuple[Entries, list[Any]]:
    """The entries of `x[index]`, and the Variables that stand at their `Given` places.

    Ellipsis becomes full slices, trailing full slices are dropped, numbers known now become
    ints.

    Raises
    ------
    TypeError
        For floats, booleans without dimensions and anything else that does not index.
    IndexError
        For too many indices, several Ellipses, or a number out of the range that the static
        shape allows.
    """
    items = index if isinstance(index, tuple) else (index,)
    entries: list[Entry] = []
    given: list[Any] = []
    ellipsis_at = None
    for item in items:
        if item is Ellipsis:
            if ellipsis_at is not None:
                raise IndexError("an index can only have a single Ellipsis ('...')")
            ellipsis_at = len(entries)
        elif item is None:
            entries.append(None)
        elif isinstance(item, slice):
            entries.append(_slice(item, given))
        else:
            entry, variable = _number_or_array(item)
            entries.append(entry)
            if variable is not None:
                given.append(variable)
    used = sum(consumed(e) for e in entries)
    if used > x.type.ndim:
        raise IndexError(
            f"too many indices: {x} of type {x.type} has {x.type.ndim} dimensions, "
            f"but {used} were indexed"
        )
    if ellipsis_at is not None:
        entries[ellipsis_at:ellipsis_at] = [FULL] * (x.type.ndim - used)
    while entries and entries[-1] == FULL:
        entries.pop()
    check_static(x.type, entries, given)
    return tuple(entries), given


def check_static(type_: TensorType, entries: Sequence[Entry], given: Sequence[Any]) -> None:
    """Raise IndexError for numbers and masks that the static shape excludes."""
    if sum(map(consumed, entries)) > type_.ndim:
        raise IndexError(f"{entries_repr(tuple(entries))} has too many indices for {type_}")
    variables = iter(given)
    axis = 0
    for entry in entries:
        if isinstance(entry, int):
            _check_range(entry, axis, type_.shape[axis])
        elif isinstance(entry, Given):
            v = next(variables)
            if entry.dtype == "bool":
                for k in range(entry.ndim):
                    there, here = type_.shape[axis + k], v.type.shape[k]
                    if there is not None and here is not None and there != here:
                        raise IndexError(
                            f"boolean index did not match the indexed tensor along axis "
                            f"{axis + k}: its size is {there}, but the mask has {here}"
                        )
            elif entry.ndim and isinstance(v, Constant) and v.data.size:
                _check_range(int(v.data.min()), axis, type_.shape[axis])
                _check_range(int(v.data.max()), axis, type_.shape[axis])
        elif isinstance(entry, Slice):
            for part in (entry.start, entry.stop, entry.step):
                if isinstance(part, Given):
                    next(variables)
        axis += consumed(entry)


def _check_range(number: int, axis: int, extent: int | None) -> None:
    if extent is not None and not -extent <= number < extent:
        raise IndexError(f"index {number} is out of bounds for axis {axis} with size {extent}")


def _slice(item: slice, given: list[Any]) -> Slice:
    parts: list[Any] = []
    for part in (item.start, item.stop, item.step):
        if part is None:
            parts.append(None)
            continue
        entry, variable = _number_or_array(part)
        if is_array(entry):
            raise TypeError(f"the parts of a slice are numbers, got {part!r}")
        parts.append(entry)
        if variable is not None:
            given.append(variable)
    start, stop, step = parts
    if isinstance(step, int):
        if step == 0:
            raise ValueError("slice step cannot be zero")
        if step == 1:
            step = None
    if start == 0 and type(start) is int and (step is None or (type(step) is int and step > 0)):
        start = None
    return Slice(start, stop, step)


def _number_or_array(item: Any) -> tuple[Entry, Any]:
    """The entry, and the Variable if it is not an int."""
    if isinstance(item, (bool, np.bool_)):
        raise TypeError(
            f"a boolean without dimensions ({item}) does not index; "
            "use an int, a mask with dimensions, or T.switch"
        )
    if not isinstance(item, Variable):
        if hasattr(item, "__index__") and not isinstance(item, np.ndarray):
            return int(item.__index__()), None
        if isinstance(item, (str, bytes)) or not (
            isinstance(item, (list, tuple, range, Apply)) or hasattr(item, "__array__")
        ):
            raise TypeError(
                "only integers, slices, Ellipsis, None, and integer or boolean arrays index a "
                f"tensor, got {item!r} of type {type(item).__name__}"
            )
        if isinstance(item, (list, tuple, range)) and len(item) == 0:
            item = np.zeros(0, "int64")
    variable = as_tensor_variable(item)
    dtype, ndim = variable.type.dtype, variable.type.ndim
    if dtype == "bool" and ndim == 0:
        raise TypeError(
            f"a boolean without dimensions ({variable}) does not index; use T.switch, or a mask "
            "with dimensions"
        )
    if dtype != "bool" and dtype not in integer_dtypes:
        raise TypeError(
            f"an index must be an integer or boolean, got {variable} of dtype {dtype}; "
            "cast it to int64"
        )
    if ndim == 0 and isinstance(variable, Constant):
        return int(variable.data), None
    return Given(dtype, ndim), variable


# ---- values in the places ------------------------------------------------------------------


def filled(entries: Entries, values: Sequence[Any]) -> Entries:
    """The entries with a value, Variable or array at each `Given` place."""
    supply = iter(values)

    def value(part: Any) -> Any:
        return next(supply) if isinstance(part, Given) else part

    result = []
    for entry in entries:
        if isinstance(entry, Slice):
            result.append(Slice(value(entry.start), value(entry.stop), value(entry.step)))
        else:
            result.append(value(entry))
    return tuple(result)


def places(entries: Entries) -> list[Given]:
    """The `Given` places in order."""
    found: list[Given] = []
    for e in entries:
        for part in (e.start, e.stop, e.step) if isinstance(e, Slice) else (e,):
            if isinstance(part, Given):
                found.append(part)
    return found


def python_index(entries: Entries, values: Sequence[Any]) -> tuple[Any, ...]:
    """What indexes a NumPy array: `array[python_index(entries, values)]`."""
    result: list[Any] = []
    for entry in filled(entries, values):
        if isinstance(entry, Slice):
            parts = (entry.start, entry.stop, entry.step)
            result.append(slice(*(None if p is None else int(p) for p in parts)))
        elif isinstance(entry, np.ndarray) and entry.ndim == 0:
            result.append(int(entry))
        else:
            result.append(entry)
    return tuple(result)


def symbolic_index(entries: Entries, variables: Sequence[Any]) -> tuple[Any, ...]:
    """What indexes a Variable: `x[symbolic_index(entries, variables)]`."""
    return tuple(
        slice(e.start, e.stop, e.step) if isinstance(e, Slice) else e
        for e in filled(entries, variables)
    )


# ---- shapes --------------------------------------------------------------------------------


def region_shape(
    entries: Entries,
    extents: Sequence[Any],
    length: Callable[[Slice, Any], Any],
    arrays: Sequence[Any] | None,
) -> tuple[Any, ...]:
    """The extents of the region that `entries` name in a tensor with these extents.

    Parameters
    ----------
    entries : tuple
    extents : sequence
        One for each dimension of the indexed tensor.
    length : callable
        `length(slice, extent)` gives the extent of a slice.
    arrays : sequence or None
        The common extents of the index arrays; None without arrays.

    Notes
    -----
    As in NumPy, the dimensions of the index arrays stand where the arrays and numbers stand if
    these are neighbours, else in front.
    """
    spaces: list[Any] = []
    axis = 0
    first, last, adjacent = 0, -1, True
    for k, entry in enumerate(entries):
        if entry is None:
            spaces.append(1)
        elif isinstance(entry, Slice):
            spaces.append(length(entry, extents[axis]))
        else:
            if last < 0:
                first = len(spaces)
            elif last != k - 1:
                adjacent = False
            last = k
        axis += consumed(entry)
    spaces.extend(extents[axis:])
    if arrays is None:
        return tuple(spaces)
    if not adjacent:
        first = 0
    return (*spaces[:first], *arrays, *spaces[first:])


def static_region(type_: TensorType, entries: Entries, given: Sequence[Any]) -> tuple[Any, ...]:
    """What is known of the region's extents from the types and the constants."""
    shapes: list[tuple[int | None, ...]] = []
    for place, v in zip(places(entries), given):
        if place.ndim == 0:
            continue
        if place.dtype == "bool":
            shapes.append((int(v.data.sum()),) if isinstance(v, Constant) else (None,))
        else:
            shapes.append(v.type.shape)
    return region_shape(entries, type_.shape, _static_length, _merged(shapes, _static_merge))


def _static_length(s: Slice, extent: int | None) -> int | None:
    parts = (s.start, s.stop, s.step)
    if s.start is None and s.stop is None and s.step in (None, -1):
        return extent
    if any(isinstance(p, Given) for p in parts):
        return None
    if extent is None:
        start, step = s.start or 0, s.step or 1
        return 0 if s.stop is not None and step > 0 and 0 <= s.stop <= start else None
    return len(range(*slice(*parts).indices(extent)))


def _static_merge(a: int | None, b: int | None) -> int | None:
    if a == 1 or (a is None and b != 1):
        return b
    if b is not None and b != 1 and a is not None and a != b:
        raise IndexError(f"index arrays with {a} and {b} elements in one dimension do not match")
    return a


def _merged(
    shapes: Sequence[Sequence[Any]], merge: Callable[[Any, Any], Any]
) -> tuple[Any, ...] | None:
    """The common shape of index arrays, aligned at the right; None without arrays."""
    if not shapes:
        return None
    result: list[Any] = [1] * max(map(len, shapes))
    for shape in shapes:
        for d in range(-len(shape), 0):
            result[d] = merge(result[d], shape[d])
    return tuple(result)


def symbolic_region(
    type_: TensorType,
    entries: Entries,
    extents: Sequence[Any],
    given: Sequence[Any],
    given_shapes: Sequence[Any],
) -> tuple[Any, ...]:
    """The region's extents as ints and 0-d int64 Variables, for `infer_shape`."""
    known = static_region(type_, entries, given)
    shapes: list[Any] = []
    for place, v, shape in zip(places(entries), given, given_shapes):
        if place.ndim == 0:
            continue
        if place.dtype == "bool":
            count = T.sum(v, dtype="int64")
            shapes.append((int(v.data.sum()) if isinstance(v, Constant) else count,))
        else:
            shapes.append(shape)
    computed = region_shape(
        _full_values(entries, given), extents, slice_length, _merged(shapes, _symbolic_merge)
    )
    return tuple(c if k is None else k for k, c in zip(known, computed))


def _full_values(entries: Entries, given: Sequence[Any]) -> Entries:
    """Variables in the parts of slices; index arrays and numbers stay places."""
    supply: Iterator[Any] = iter(given)
    result: list[Any] = []
    for entry in entries:
        if isinstance(entry, Slice):
            parts = [
                T.cast(next(supply), "int64") if isinstance(p, Given) else p
                for p in (entry.start, entry.stop, entry.step)
            ]
            result.append(Slice(*parts))
        else:
            if isinstance(entry, Given):
                next(supply)
            result.append(entry)
    return tuple(result)


def _symbolic_merge(a: Any, b: Any) -> Any:
    if isinstance(a, int):
        return b if a == 1 else a
    if isinstance(b, int):
        return a if b == 1 else b
    if a is b:
        return a
    return T.switch(T.eq(a, 1), b, a)


def slice_length(s: Slice, extent: Any) -> Any:
    """The number of elements that a slice takes from an extent, each an int or a Variable.

    For a positive step, with start and stop counted from the end where negative and limited
    to 0..extent, it is max(0, ceil((stop - start) / step)).
    """
    parts = (s.start, s.stop, s.step)
    if s.start is None and s.stop is None and (s.step is None or s.step == -1):
        return extent
    if isinstance(extent, int) and not any(isinstance(p, Variable) for p in parts):
        return len(range(*slice(*parts).indices(extent)))
    step = 1 if s.step is None else s.step
    if not isinstance(step, int):
        return T.switch(T.gt(step, 0), _forward(s, step, extent), _backward(s, step, extent))
    return _forward(s, step, extent) if step > 0 else _backward(s, step, extent)


def _forward(s: Slice, step: Any, extent: Any) -> Any:
    stop = extent if s.stop is None else _limited(s.stop, extent, 0)
    start = 0 if s.start is None else _limited(s.start, extent, 0)
    span = stop if isinstance(start, int) and start == 0 else stop - start
    if isinstance(start, int) and start == 0 and isinstance(step, int) and step == 1:
        return span
    return _larger(_ceil_div(span, step), 0)


def _backward(s: Slice, step: Any, extent: Any) -> Any:
    start = extent - 1 if s.start is None else _limited(s.start, extent, -1)
    stop = -1 if s.stop is None else _limited(s.stop, extent, -1)
    return _larger(_ceil_div(start - stop, -step), 0)


def _limited(part: Any, extent: Any, low: int) -> Any:
    """A part of a slice as a position from `low` (0 or -1) to `extent + low`."""
    high = extent if low == 0 else extent + low
    if isinstance(part, int):
        return _smaller(part, high) if part >= 0 else _larger(extent + part, low)
    counted = T.switch(T.lt(part, 0), part + extent, part)
    return _larger(_smaller(counted, high), low)


def _smaller(a: Any, b: Any) -> Any:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else T.minimum(a, b)


def _larger(a: Any, b: Any) -> Any:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else T.maximum(a, b)


def _ceil_div(a: Any, b: Any) -> Any:
    if isinstance(b, int) and b == 1:
        return a
    return -((-a) // b)
