"""What this machine can do: its copy bandwidth and its rate of matrix products.

They are the two roofs of the roofline model (Williams, Waterman, Patterson: Roofline, 2009).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from time import perf_counter

import numpy as np


@dataclass(frozen=True)
class Limits:
    """Rates measured on this machine."""

    copy: float
    """Bytes read and written per second by a copy of an array larger than the caches."""
    gemm64: float
    """Floating point operations per second of a float64 matrix product."""
    gemm32: float
    """The same in float32."""

    def gemm(self, dtype: str) -> float:
        """The rate for results of `dtype`."""
        return self.gemm32 if dtype in ("float32", "complex64") else self.gemm64


_SECONDS = 0.2
"""How long each kind of work is tried for."""


def _best(work: Callable[[], object]) -> float:
    """The shortest of the runs in `_SECONDS`: others than the first three, in which memory is
    touched for the first time and the library's threads start."""
    for _ in range(3):
        work()
    best = inf
    end = perf_counter() + _SECONDS
    while (started := perf_counter()) < end or best == inf:
        work()
        best = min(best, perf_counter() - started)
    return best


def _gemm_rate(dtype: str) -> float:
    # A small product runs in one thread. A large one uses all, and where others keep the cores
    # busy it waits for the last of them, so that it may well be slower by a factor of ten.
    rates = []
    for n in (64, 384, 768):
        a = np.full((n, n), 0.5, dtype)
        out = np.empty((n, n), dtype)
        rates.append(2 * n**3 / _best(partial(np.dot, a, a, out)))
    return max(rates)


_lock = threading.Lock()
_measured: Limits | None = None


def measured_limits() -> Limits:
    """The limits of this machine: measured the first time (some 2 s), then remembered for
    as long as the process lives.

    The best of many runs, since whatever else the machine does can only slow a run down. Products
    use as many threads as NumPy's BLAS takes, where that is faster than one.
    """
    global _measured
    with _lock:
        if _measured is None:
            source = np.ones(4_000_000)
            target = np.empty_like(source)
            seconds = _best(lambda: np.copyto(target, source))
            copy = (source.nbytes + target.nbytes) / seconds
            rates = [_gemm_rate(dtype) for dtype in ("float64", "float32")]
            _measured = Limits(copy, rates[0], rates[1])
        return _measured
