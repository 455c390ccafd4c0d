"""Constants, and everything that can be read as a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.tensor.type import TensorType, dtype_of
from kroton.tensor.var import TensorConstant, TensorVariable

_scalars: dict[tuple[str, bytes], TensorConstant] = {}


def constant(x: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None) -> Any:
    """A Variable whose value is `x`, with a static shape.

    Parameters
    ----------
    x : array_like
        Copied. A Python float gets `config.floatX`, a Python int int64.
    name : str, optional
    ndim : int, optional
        Extents of 1 are put in front to reach this number.
    dtype : str, optional
        Floats may be rounded to it; anything else must have its value in it.

    Raises
    ------
    TypeError
        If `x` is not numeric, is a masked array, has more than `ndim` dimensions, or would lose
        a fraction, an imaginary part or digits in `dtype`.
    OverflowError
        If a Python int does not fit into `dtype`.
    """
    if isinstance(x, Constant):
        if (ndim is None or x.type.ndim == ndim) and (
            dtype is None or x.type.dtype == dtype_of(dtype)
        ):
            return x
        x = x.data
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them first")
    if dtype is not None:
        wanted = dtype_of(dtype)
    elif type(x) is float:
        wanted = config.floatX
    else:
        wanted = None
    try:
        data = np.array(x, dtype=wanted)
    except (ValueError, TypeError) as error:
        raise TypeError(f"cannot make a constant of {x!r}: {error}") from None
    if dtype is not None and type(x) not in (int, bool):
        _refuse_loss(x, data)
    if data.dtype.kind not in "biufc":
        raise TypeError(f"cannot make a numeric constant of {x!r} (dtype {data.dtype})")
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    if ndim is not None:
        if data.ndim > ndim:
            raise TypeError(f"a constant of {data.ndim} dimensions cannot have ndim={ndim}")
        data = data.reshape((1,) * (ndim - data.ndim) + data.shape)
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    type_ = TensorType(dtype_of(data.dtype), data.shape)
    if data.ndim == 0 and name is None:
        key = (type_.dtype, data.tobytes())
        known = _scalars.get(key)
        if known is None:
            known = TensorConstant(type_, data)
            if len(_scalars) < 10_000:
                _scalars[key] = known
        return known
    return TensorConstant(type_, data, name)


def _refuse_loss(x: Any, data: np.ndarray) -> None:
    """Raise TypeError if `data` lacks a fraction, an imaginary part or digits that `x` has."""
    if data.dtype.kind == "c":
        return
    given = np.asarray(x)
    if data.dtype.kind == "f":
        lost = given.dtype.kind == "c" and bool(np.any(given.imag))
    else:
        lost = given.dtype != data.dtype and not np.array_equal(given, data)
    if lost:
        raise TypeError(
            f"cannot make a constant of dtype {data.dtype} of {x!r} without losing value; round "
            f"it first, or let T.cast do what NumPy's astype does"
        )


def as_tensor_variable(
    x: Any, name: str | None = None, ndim: int | None = None, dtype: Any = None
) -> Any:
    """`x` as a tensor Variable: a Variable as it is, an Apply's output, numbers, lists, arrays.

    A list or tuple that contains Variables is stacked.

    Parameters
    ----------
    x : Variable, Apply, array_like or nested sequence of these
    name : str, optional
        For the constant that is made.
    ndim : int, optional
        Extents of 1 are put in front to reach this number of dimensions.
    dtype : str, optional
        For the constant that is made; a Variable must have it.

    Raises
    ------
    TypeError
        If `x` is not numeric, has another dtype than asked for, or too many dimensions.
    """
    if isinstance(x, TensorVariable) or (
        isinstance(x, Variable) and isinstance(x.type, TensorType)
    ):
        if dtype is not None and x.type.dtype != dtype_of(dtype):
            raise TypeError(f"{x} has dtype {x.type.dtype}, not {dtype}")
        if ndim is None or x.type.ndim == ndim:
            return x
        if x.type.ndim > ndim:
            raise TypeError(f"{x} has {x.type.ndim} dimensions, more than {ndim}")
        import kroton.tensor as T

        return T.shape_padleft(x, ndim - x.type.ndim)
    if isinstance(x, Apply):
        return as_tensor_variable(x.default_output(), name, ndim, dtype)
    if isinstance(x, Variable):
        raise TypeError(f"{x} of type {x.type} is not a tensor")
    if isinstance(x, (list, tuple)) and _has_variable(x):
        import kroton.tensor as T

        stacked = T.stack([as_tensor_variable(item, dtype=dtype) for item in x])
        return as_tensor_variable(stacked, ndim=ndim)
    if hasattr(x, "_as_TensorVariable"):
        return x._as_TensorVariable()
    return constant(x, name, ndim, dtype)


as_tensor = as_tensor_variable


def _has_variable(x: Any) -> bool:
    if isinstance(x, (Variable, Apply)):
        return True
    return isinstance(x, (list, tuple)) and any(_has_variable(item) for item in x)


def get_scalar_constant_value(v: Any) -> np.ndarray:
    """The value of `v` as a 0-d array if it is a constant of which all elements are equal.

    Looks through broadcasts (`alloc`, `second`, `dimshuffle`) of constants.

    Raises
    ------
    NotScalarConstantError
        If it is not.
    """
    while True:
        if isinstance(v, Constant):
            data = np.asarray(v.data)
            if data.ndim == 0:
                return data
            if data.size and (data == data.flat[0]).all():
                return np.asarray(data.flat[0])
            break
        if not isinstance(v, Variable):
            return np.asarray(v)
        owner = v.owner
        if owner is None:
            break
        kind = type(owner.op).__name__
        if kind in ("Alloc", "DimShuffle", "Unbroadcast", "SpecifyShape", "DeepCopyOp"):
            v = owner.inputs[0]
        elif kind == "Elemwise" and owner.op.name == "second":
            v = owner.inputs[1]
        else:
            break
    raise NotScalarConstantError(f"{v} is not a constant of equal elements")


class NotScalarConstantError(Exception):
    """Not a constant of which all elements are equal."""
