"""What this machine can do: its copy bandwidth and its rate of matrix products.

They are the two roofs of the roofline model (Williams, Waterman, Patterson: Roofline, 2009).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
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


def _best(work: object, repeat: int) -> float:
    times = []
    for _ in range(repeat):
        started = perf_counter()
        work()  # type: ignore[operator]
        times.append(perf_counter() - started)
    return min(times)


_lock = threading.Lock()
_measured: Limits | None = None


def measured_limits() -> Limits:
    """The limits of this machine: measured the first time (about 0.2 s), then remembered."""
    global _measured
    with _lock:
        if _measured is None:
            source = np.ones(4_000_000)
            target = np.empty_like(source)
            seconds = _best(lambda: np.copyto(target, source), 6)
            copy = (source.nbytes + target.nbytes) / seconds
            rates = []
            n = 768
            for dtype in ("float64", "float32"):
                a = np.full((n, n), 0.5, dtype)
                out = np.empty((n, n), dtype)
                rates.append(2 * n**3 / _best(lambda a=a, out=out: np.dot(a, a, out=out), 4))
            _measured = Limits(copy, rates[0], rates[1])
        return _measured
