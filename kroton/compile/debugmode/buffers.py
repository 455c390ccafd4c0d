"""Arrays as awkward as is legal: guarded, reversed, strided, Fortran, unaligned, too large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

PAD = 64
BUFFERS = frozenset(
    {"ALL", "initial", "previous", "c_contiguous", "f_contiguous", "strided", "wrong_size"}
)
"""What `offered` understands."""


class Guarded:
    """A copy of an array with the same shape, strides and values, in a buffer of its own.

    Around and between the elements lies `pattern`; `trespassed` tells whether it was written
    over, and a result that depends on it was computed from what is not the array's.
    """

    def __init__(self, x: np.ndarray, pattern: int) -> None:
        low = high = 0
        for n, stride in zip(x.shape, x.strides):
            if n > 1:
                if stride < 0:
                    low += (n - 1) * stride
                else:
                    high += (n - 1) * stride
        size = high - low + x.itemsize if x.size else 0
        self.pattern = pattern
        self.buffer = np.empty(size + 2 * PAD + 64, dtype=np.uint8)
        start = PAD + (-(self.buffer.ctypes.data + PAD + (-low) % 64)) % 64
        first = start - low + (low % 64)
        self._ends = (slice(0, first + low), slice(first + low + size, None))
        self._mine: np.ndarray | None = None
        if x.flags.forc:  # nothing lies between the elements
            for end in self._ends:
                self.buffer[end] = pattern
        else:
            self.buffer[...] = pattern
            self._mine = np.zeros(self.buffer.shape, dtype=bool)
            covered = np.ndarray(
                (*x.shape, x.itemsize),
                bool,
                buffer=self._mine.data,
                offset=first,
                strides=(*x.strides, 1),
            )
            covered[...] = True
        self.array = np.empty(x.shape, x.dtype)
        if x.size:
            self.array = np.ndarray(
                x.shape, x.dtype, buffer=self.buffer.data, offset=first, strides=x.strides
            )
        self.array[...] = x

    @property
    def trespassed(self) -> bool:
        """Whether a byte that belongs to no element has changed."""
        if self._mine is not None:
            return bool(((self.buffer != self.pattern) & ~self._mine).any())
        ends = [self.buffer[end] for end in self._ends]
        return any(e.tobytes() != bytes([self.pattern]) * e.size for e in ends)


def layouts(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Copies of `x` laid out in other legal ways, each with a name."""
    if x.ndim == 0 or x.size == 0:
        return
    if x.ndim > 1:
        yield "Fortran order", np.array(x, order="F")
    reverse = (slice(None, None, -1),) * x.ndim
    yield "negative strides", np.array(x[reverse], order="C")[reverse]
    wide = np.zeros(tuple(2 * n + 1 for n in x.shape), dtype=x.dtype)
    strided = wide[tuple(slice(1, 2 * n + 1, 2) for n in x.shape)]
    strided[...] = x
    yield "every second element of a larger array", strided
    yield "C order", np.array(x, order="C")


class Offer:
    """A buffer that is offered for an output, until it is taken.

    Kernels write over arrays that own their memory and that nobody else knows: no reference is
    kept. What lies beside such an array is guarded by the `Fences` in which it is made; between
    the elements of others lie those of `guarded`.
    """

    def __init__(self, array: np.ndarray, guarded: Guarded | None = None) -> None:
        self._array: np.ndarray | None = array
        self._guarded = guarded

    def take(self) -> Any:
        """The buffer."""
        array, self._array = self._array, None
        return array

    @property
    def trespassed(self) -> bool:
        """Whether something was written between the elements."""
        return self._guarded is not None and self._guarded.trespassed


def _used(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    a = np.empty(shape, dtype)
    bytewise = a.ndim and a.flags.c_contiguous
    a.view(np.uint8 if bytewise else dtype).fill(0x5B if bytewise else 1)
    return a


def _strided(shape: tuple[int, ...], dtype: np.dtype) -> Offer:
    wide = np.ones(tuple(2 * n for n in shape), dtype)
    guarded = Guarded(wide[(slice(None, None, 2),) * len(shape)], 0x5B)
    return Offer(guarded.array, guarded)


def _read_only(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    a = np.ones(shape, dtype)
    a.flags.writeable = False
    return a


def offered(
    shape: tuple[int, ...], dtype: np.dtype, which: str
) -> Iterator[tuple[str, Callable[[], Offer]]]:
    """Output buffers that may be offered: pairs (name, function that makes one).

    `which` is some of `BUFFERS`, separated by ':'.
    """
    wanted = set(which.split(":")) if which else set()
    everything = "ALL" in wanted
    if everything or wanted & {"c_contiguous", "previous", "initial"}:
        yield "a used buffer", lambda: Offer(_used(shape, dtype))
    if (everything or "f_contiguous" in wanted) and len(shape) > 1:
        yield "a buffer in Fortran order", lambda: Offer(np.ones(shape, dtype, order="F"))
    if (everything or "strided" in wanted) and shape:
        reverse = (slice(None, None, -1),) * len(shape)
        yield "a strided buffer", lambda: _strided(shape, dtype)
        yield "a reversed buffer", lambda: Offer(np.ones(shape, dtype)[reverse])
    if (everything or "wrong_size" in wanted) and shape:
        yield "a larger buffer", lambda: Offer(np.ones(tuple(n + 1 for n in shape), dtype))
        yield "an empty buffer", lambda: Offer(np.ones((0,) * len(shape), dtype))
    if everything and shape and dtype.itemsize > 1:
        n = int(np.prod(shape)) * dtype.itemsize
        yield (
            "an unaligned buffer",
            lambda: Offer(np.ones(n + 1, np.uint8)[1:].view(dtype).reshape(shape)),
        )
    if everything and shape:
        yield "a read-only buffer", lambda: Offer(_read_only(shape, dtype))
