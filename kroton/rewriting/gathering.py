"""Which constants of an expression may be computed with each other when a graph is compiled.

(x + c) + d is x + (c + d) for numbers, but not for floating-point ones: in (1 - x) + 1e-10 the
second constant keeps a logarithm finite at 1, and in x * 1e200 * 1e200 the product is beyond
what a double holds while the results need not be. Integers wrap, in any order alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kroton.rewriting.matching import Match

RATIO = 16.0
"""Of two constants that are added, although their sum is rounded, neither is this much larger:
the smaller one loses four bits at most."""


def sum_is_safe(c: Any, d: Any, dtype: Any) -> bool:
    """Whether x + (c + d) has the digits of (x + c) + d, also where x is near -c."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "fc":
        return True
    with np.errstate(all="ignore"):
        c, d = np.asarray(c).astype(dtype), np.asarray(d).astype(dtype)
        total = c + d
        if not np.isfinite(total):
            return not (np.isfinite(c) and np.isfinite(d))
        small, large = sorted((np.abs(c), np.abs(d)))
        return bool(large <= RATIO * small or (total - c == d and total - d == c))


def product_is_safe(product: Any, dtype: Any, *factors: Any) -> bool:
    """Whether `product`, of constant factors or quotients of them, is as good as these are.

    It is not if it overflows, underflows or loses digits to underflow and they do not.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "fc":
        return True
    tiny = np.finfo(dtype).tiny
    with np.errstate(all="ignore"):
        size = np.abs(np.asarray(product).astype(dtype))
        if np.isfinite(size) and size >= tiny:
            return True
        sizes = [np.abs(np.asarray(f).astype(dtype)) for f in factors]
    return any(f == 0 or not np.isfinite(f) for f in sizes)


def added(sign: int = 1) -> Callable[[Match], bool]:
    """The condition of a rule that makes c + sign * d of the constants c and d."""

    def when(m: Match) -> bool:
        dtype = m.out.type.numpy_dtype
        if dtype.kind not in "fc":
            return True  # integers wrap, in whatever order they are added
        return sum_is_safe(m.value("c"), sign * m.value("d"), dtype)

    return when


def multiplied(compute: Callable[[Any, Any], Any]) -> Callable[[Match], bool]:
    """The condition of a rule that makes compute(c, d), a product or quotient, of c and d."""

    def when(m: Match) -> bool:
        dtype = m.out.type.numpy_dtype
        if dtype.kind not in "fc":
            return True
        with np.errstate(all="ignore"):
            c, d = m.value("c").astype(dtype), m.value("d").astype(dtype)
            return product_is_safe(compute(c, d), dtype, c, d)

    return when


def gathered(numbers: list[Any], dtype: Any) -> list[Any]:
    """The numbers of a sum, those added that may be; the largest first, without zeros."""
    found: list[Any] = []
    for number in sorted(numbers, key=abs, reverse=True):
        for k, other in enumerate(found):
            if sum_is_safe(other, number, dtype):
                found[k] = other + number
                break
        else:
            found.append(number)
    return [number for number in sorted(found, key=abs, reverse=True) if number != 0]
