"""What an index of numbers and slices takes of each dimension, and how such parts compose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kroton.graph.basic import Apply, Variable
from kroton.tensor.indexing import FULL, Given, Slice
from kroton.tensor.subtensor import Subtensor

Part = Any
"""What is taken of one dimension: an int, a scalar Variable, or a Slice of ints and Variables."""


def parts_of(node: Apply) -> list[Part]:
    """What the Subtensor or IncSubtensor takes of each dimension."""
    op: Any = node.op
    skipped = 1 if type(op) is Subtensor else 2
    given = iter(node.inputs[skipped:])

    def value(part: Any) -> Any:
        return next(given) if isinstance(part, Given) else part

    parts: list[Part] = []
    for entry in op.idx_list:
        if isinstance(entry, Slice):
            parts.append(Slice(value(entry.start), value(entry.stop), value(entry.step)))
        else:
            parts.append(value(entry))
    return parts + [FULL] * (node.inputs[0].type.ndim - len(parts))


def taken(x: Any, parts: Sequence[Part]) -> Any:
    """`x` indexed with one part for each of its dimensions; `x` itself if that is all of it."""
    parts = list(parts)
    while parts and parts[-1] == FULL:
        parts.pop()
    if not parts:
        return x
    entries: list[Any] = []
    given: list[Variable] = []

    def entry(part: Any) -> Any:
        if not isinstance(part, Variable):
            return part
        given.append(part)
        return Given(part.type.dtype, 0)

    for part in parts:
        if isinstance(part, Slice):
            entries.append(Slice(entry(part.start), entry(part.stop), entry(part.step)))
        else:
            entries.append(entry(part))
    return Subtensor(tuple(entries))(x, *given)


def constant_bounds(s: Slice) -> bool:
    return not any(isinstance(p, Variable) for p in (s.start, s.stop, s.step))


def is_slice(part: Part) -> bool:
    return isinstance(part, Slice)


def _selects(part: Part, size: int | None) -> bool:
    """Whether the part leaves something out of `size` elements that is worth it.

    A slice that leaves out a fixed number, as `1:` does, mostly leaves nearly all.
    """
    if not is_slice(part):
        return size != 1
    if part.step not in (None, 1, -1):
        return True
    low, high = part.start, part.stop
    if isinstance(low, Variable) or isinstance(high, Variable):
        return True
    if size is not None:
        return 2 * len(range(size)[low:high]) <= size
    return (high is not None and high >= 0) or (low is not None and low < 0)


def selected(parts: Sequence[Part], shape: Sequence[int | None]) -> bool:
    """Whether the parts may leave something out of a tensor of this shape."""
    return any(map(_selects, parts, shape))


def surely_in_range(part: Part, size: int | None) -> bool:
    """Whether a number, if the part is one, is known to be in range."""
    return is_slice(part) or (isinstance(part, int) and size is not None and -size <= part < size)


def disjoint(a: Part, b: Part) -> bool:
    """Whether two parts are known to have no element in common, whatever the extent."""
    if isinstance(a, int) and isinstance(b, int):
        return (a < 0) == (b < 0) and a != b
    bounds = []
    for part in (a, b):
        if isinstance(part, int) and part >= 0:
            bounds.append((part, part + 1))
        elif is_slice(part) and constant_bounds(part) and (part.step is None or part.step > 0):
            low, high = part.start or 0, part.stop
            if low < 0 or (high is not None and high < 0):
                return False
            bounds.append((low, high))
        else:
            return False
    (a_low, a_high), (b_low, b_high) = bounds
    return (a_high is not None and a_high <= b_low) or (b_high is not None and b_high <= a_low)


def composed(first: Slice, second: Part, size: int | None) -> Part | None:
    """The part that takes `second` of what `first` takes; None if there is none."""
    if first == FULL:
        return second
    if second == FULL:
        return first
    if not constant_bounds(first) or isinstance(second, Variable):
        return None
    if is_slice(second) and not constant_bounds(second):
        return None
    if size is not None:
        chosen: Any = range(size)[first.start : first.stop : first.step]
        if isinstance(second, int):
            return chosen[second] if -len(chosen) <= second < len(chosen) else None
        chosen = chosen[second.start : second.stop : second.step]
        if not chosen:
            return Slice(None, 0, None)
        return Slice(chosen.start, None if chosen.stop < 0 else chosen.stop, chosen.step)
    if first == Slice(None, None, -1):
        return _from_the_end(second)
    if (first.step or 1) < 0 or (first.start or 0) < 0:
        return None
    if (first.stop or 0) < 0 or (is_slice(second) and (second.stop or 0) < 0):
        return _before_the_end(first, second)
    low, high, step = first.start or 0, first.stop, first.step or 1
    if isinstance(second, int):
        inside = second >= 0 and (high is None or low + second * step < high)
        return low + second * step if inside else None
    if (second.start or 0) < 0 or (second.step or 1) < 0:
        return None
    start = low + (second.start or 0) * step
    stop = high if second.stop is None else low + second.stop * step
    if high is not None and stop is not None:
        stop = min(stop, high)
    step *= second.step or 1
    return Slice(start or None, stop, step if step != 1 else None)


def _from_the_end(second: Part) -> Part | None:
    """The part that takes `second` of all elements in reversed order."""
    if isinstance(second, int):
        return -1 - second
    low, high, step = second.start or 0, second.stop, second.step or 1
    if second == Slice(None, None, -1):
        return FULL
    if low < 0 or (high or 0) < 0 or step < 0:
        return None
    return Slice(-1 - low if low else None, None if high is None else -1 - high, -step)


def _before_the_end(first: Slice, second: Part) -> Part | None:
    """The part that takes `second` of what `first` takes, if one stops that far from the end."""
    low, high = first.start or 0, first.stop or 0
    if first.step not in (None, 1) or high > 0 or first.stop == 0:
        return None
    if isinstance(second, int):
        return second + high if second < 0 and not low else None
    if (second.start or 0) < 0 or (second.step or 1) < 0:
        return None
    if second.stop is None:
        stop = first.stop
    elif second.stop < 0:
        stop = high + second.stop
    else:
        return None
    return Slice(low + (second.start or 0) or None, stop, second.step)


def pieces_of(part: Part, sizes: list[int | None]) -> list[tuple[int, Part]] | None:
    """Which pieces of these extents the part takes, and what of each; None if not known."""
    if isinstance(part, int):
        order = list(enumerate(sizes)) if part >= 0 else list(enumerate(sizes))[::-1]
        left = part if part >= 0 else -1 - part
        for k, size in order:
            # In the last one the index is out of range where it is in the whole.
            if size is None and k != order[-1][0]:
                return None
            if size is None or left < size:
                return [(k, left if part >= 0 else -1 - left)]
            left -= size
        return None
    if not is_slice(part) or not constant_bounds(part) or part.step not in (None, 1):
        return None
    if part == FULL:
        return None
    low, high = part.start or 0, part.stop
    if None not in sizes:
        low, high, _ = slice(part.start, part.stop).indices(sum(s for s in sizes if s is not None))
    elif low < 0 or (high is not None and high < 0):
        return None
    found: list[tuple[int, Part]] = []
    start = 0
    for k, size in enumerate(sizes):
        a = max(low - start, 0)
        b = None if high is None else high - start
        if b is not None and b <= 0:
            break
        if size is None:
            return [*found, (k, Slice(a or None, b))] if k == len(sizes) - 1 else None
        if b is None or b >= size:
            b = None
        if a < (size if b is None else b):
            found.append((k, Slice(a or None, b)))
        start += size
    return found
