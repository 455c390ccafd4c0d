"""References: the operations that NumPy has no ufunc for, written for clarity.

Each takes and returns arrays of the dtypes that its ScalarOp resolves to. SciPy is imported
when a special function is first evaluated.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def special(name: str) -> Any:
    """The function `scipy.special.<name>`, imported at its first call."""

    def function(x: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(x)

    function.__name__ = name
    return function


def psi(x: Any) -> Any:
    """The derivative of log(gamma(x)); NaN at the poles below 0.

    SciPy's loses digits beside them, where x is reflected first: Abramowitz and Stegun 6.3.7.
    """
    import scipy.special

    dtype = np.asarray(x).dtype
    x = np.asarray(x, np.float64)
    value = scipy.special.psi(np.where(x < 0, 1 - x, x))
    beside = x - np.rint(x)
    cotangent = np.where(np.abs(beside) == 0.5, 0, np.pi / np.tan(np.pi * beside))
    reflected = np.where((beside == 0) | np.isinf(x), np.nan, value - cotangent)
    return np.where(x < 0, reflected, value).astype(dtype)


def tri_gamma(x: Any) -> Any:
    """The second derivative of log(gamma(x)); infinite at the poles.

    SciPy's takes a time in proportion to -x for negative x, which are reflected first: Abramowitz
    and Stegun 6.4.7.
    """
    import scipy.special

    dtype = np.asarray(x).dtype
    x = np.asarray(x, np.float64)
    value = scipy.special.polygamma(1, np.where(x < 0, 1 - x, x))
    sine = np.sin(np.pi * (x - np.rint(x)))
    reflected = np.where(sine == 0, np.inf, np.square(np.pi / sine) - value)
    return np.where(x < 0, np.where(np.isinf(x), np.inf, reflected), value).astype(dtype)


def identity(x: Any) -> Any:
    """x"""
    return np.array(x)


def second(a: Any, b: Any) -> Any:
    """b, in the shape that a and b broadcast to."""
    return np.broadcast_arrays(a, b)[1].copy()


def switch(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, b elsewhere."""
    return np.where(condition, a, b)


def clip(x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high); NaN where any of them is."""
    return np.clip(x, low, high)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), by an exponential that cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(np.signbit(x), e / (1 + e), 1 / (1 + e)).astype(e.dtype, copy=False)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), by an exponential that cannot overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def round_half_away_from_zero(x: Any) -> Any:
    """The nearest integer, the one farther from zero of two; integers are left alone."""
    if np.asarray(x).dtype.kind in "biu":
        return np.array(x)
    size = np.abs(x)
    down = np.floor(size)
    return np.copysign(down + (size - down >= 0.5), x)


def whole(ufunc: np.ufunc) -> Any:
    """A rounding ufunc that leaves integers alone in every version of NumPy."""

    def function(x: Any) -> Any:
        return np.array(x) if np.asarray(x).dtype.kind in "biu" else ufunc(x)

    function.__name__ = ufunc.__name__
    return function


def real(x: Any) -> Any:
    """The real part."""
    return np.array(np.real(x))


def imag(x: Any) -> Any:
    """The imaginary part; 0 of a real number."""
    return np.array(np.imag(x))


def angle(x: Any) -> Any:
    """atan2(imag(x), real(x))"""
    return np.arctan2(np.imag(x), np.real(x))
