"""Statistics and norms along axes, composed of reductions."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Variable
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.elemwise import cast
from kroton.tensor.reduction import normalized_axes
from kroton.tensor.shape import product_of_extents, shape_i
from kroton.tensor.type import discrete_dtypes, dtype_of

__all__ = ["largest", "logsumexp", "mean", "norm", "ptp", "smallest", "std", "var"]


def _count(x: Any, axes: Sequence[int], dtype: str) -> Any:
    """How many elements there are along `axes`, as a scalar of a float or complex `dtype`."""
    count = product_of_extents([shape_i(x, d) for d in axes])
    return T.constant(count, dtype=dtype) if isinstance(count, int) else cast(count, dtype)


def mean(
    input: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
) -> Any:
    """The mean along `axis`: the sum divided by the number of elements; NaN where there are none.

    Parameters
    ----------
    input : tensor
    axis : int, sequence of int or None
        None means all dimensions.
    dtype : str, optional
        A float or complex dtype for the result; by default float64 for bool and integers, else
        that of the input.
    keepdims : bool
        Keep `axis` with extent 1.
    acc_dtype : str, optional
        What the sum is accumulated in, by default `dtype`.

    Raises
    ------
    ValueError, TypeError
        For a wrong axis as in `sum`; TypeError for an integer or bool `dtype`.
    """
    x = as_tensor_variable(input)
    if dtype is None:
        dtype = "float64" if x.type.dtype in discrete_dtypes else x.type.dtype
    dtype = dtype_of(dtype)
    if dtype in discrete_dtypes:
        raise TypeError(f"a mean needs a float or complex dtype, got {dtype}; cast the result")
    axes = normalized_axes("mean", axis, x.type.ndim)
    total = T.sum(x, axis=axes, dtype=dtype, keepdims=keepdims, acc_dtype=acc_dtype)
    return total / _count(x, axes, dtype)


def var(
    input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False
) -> Any:
    """The variance along `axis`: the mean of `abs(x - mean(x))**2`, in two passes.

    Parameters
    ----------
    input : tensor
        float64 is used for bool and integers. The variance of complex values is real.
    axis : int, sequence of int or None
        None means all dimensions.
    ddof : int
        The sum of squares is divided by the number of elements minus `ddof`.
    keepdims : bool
        Keep `axis` with extent 1.
    corrected : bool
        Subtract the error that rounding the mean makes, `sum(x - mean(x))**2 / n` from the sum
        of squares (T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing the
        sample variance", The American Statistician 37, 1983).
    """
    x = as_tensor_variable(input)
    if x.type.dtype in discrete_dtypes:
        x = cast(x, "float64")
    axes = normalized_axes("var", axis, x.type.ndim)
    centered = x - mean(x, axis=axes, keepdims=True)
    squares = _squared_modulus(centered)
    total = T.sum(squares, axis=axes, keepdims=keepdims)
    count = _count(x, axes, squares.type.dtype)
    if corrected:
        error = T.sum(centered, axis=axes, keepdims=keepdims)
        total = total - _squared_modulus(error) / count
    return total / (count - T.constant(ddof, dtype=squares.type.dtype) if ddof else count)


def _squared_modulus(x: Any) -> Any:
    if x.type.dtype.startswith("complex"):
        return T.sqr(T.real(x)) + T.sqr(T.imag(x))
    return T.sqr(x)


def std(
    input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False, corrected: bool = False
) -> Any:
    """The standard deviation along `axis`: the square root of `var`, with its parameters."""
    return T.sqrt(var(input, axis=axis, ddof=ddof, keepdims=keepdims, corrected=corrected))


def norm(x: Any, L: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The L-norm of the elements along `axis`: `sum(abs(x)**L)**(1/L)`.

    Parameters
    ----------
    x : tensor
    L : number, scalar tensor, 'fro', 'inf', '-inf' or None
        None and 'fro' are 2 (of a matrix, the Frobenius norm). 0 counts the elements that are
        not zero, inf and -inf give the largest and the smallest modulus, 1 and 2 are computed
        without a power.
    axis : int, sequence of int or None
        None means all dimensions.
    keepdims : bool
        Keep `axis` with extent 1.

    Raises
    ------
    TypeError, ValueError
        For another L.
    """
    if L is None or isinstance(L, str):
        orders = {None: 2, "fro": 2, "inf": math.inf, "-inf": -math.inf}
        if L not in orders:
            raise ValueError(f"norm: L is a number, 'fro', 'inf', '-inf' or None, got {L!r}")
        L = orders[L]
    elif isinstance(L, np.generic):
        L = L.item()
    if not isinstance(L, (int, float, Variable)):
        raise TypeError(f"norm: L is a number, 'fro', 'inf', '-inf' or None, got {L!r}")
    x = as_tensor_variable(x)
    if x.type.dtype in discrete_dtypes:
        x = cast(x, "float64")
    if isinstance(L, (int, float)):
        if L == 0:
            nonzero = cast(T.neq(x, 0), T.abs_(x).type.dtype)
            return T.sum(nonzero, axis=axis, keepdims=keepdims)
        if L == 1:
            return T.sum(T.abs_(x), axis=axis, keepdims=keepdims)
        if L == 2:
            return T.sqrt(T.sum(_squared_modulus(x), axis=axis, keepdims=keepdims))
        if math.isinf(L):
            extreme = T.max if L > 0 else T.min
            return extreme(T.abs_(x), axis=axis, keepdims=keepdims)
    order: Any = L
    powers = T.sum(T.pow(T.abs_(x), order), axis=axis, keepdims=keepdims)
    return T.pow(powers, 1.0 / order)


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """`log(sum(exp(x)))` along `axis`, without overflow: the maximum is taken out first.

    Minus infinity where all elements are minus infinity.
    """
    x = as_tensor_variable(x)
    if x.type.dtype in discrete_dtypes:
        x = cast(x, "float64")
    axes = normalized_axes("logsumexp", axis, x.type.ndim)
    top = T.max(x, axis=axes, keepdims=True)
    top = T.switch(T.isinf(top), T.constant(0, dtype=x.type.dtype), top)
    total = T.log(T.sum(T.exp(x - top), axis=axes, keepdims=True)) + top
    if keepdims:
        return total
    return T.dimshuffle(total, [d for d in range(x.type.ndim) if d not in axes])


def ptp(a: Any, axis: Any = None) -> Any:
    """The largest minus the smallest element along `axis` ("peak to peak")."""
    return T.max(a, axis) - T.min(a, axis)


def smallest(*args: Any) -> Any:
    """The elementwise minimum of one or more tensors; NaN where there is one.

    Raises
    ------
    ValueError
        If there is no argument.
    """
    return _extreme("smallest", T.minimum, args)


def largest(*args: Any) -> Any:
    """The elementwise maximum of one or more tensors; NaN where there is one.

    Raises
    ------
    ValueError
        If there is no argument.
    """
    return _extreme("largest", T.maximum, args)


def _extreme(name: str, of_two: Any, args: Sequence[Any]) -> Any:
    if not args:
        raise ValueError(f"{name} needs at least one tensor")
    return functools.reduce(of_two, args[1:], as_tensor_variable(args[0]))
