"""CAReduce: a commutative, associative operation over axes; sums, products, extremes, truth.

Statistics composed of these are in `moments`, positions of extremes in `argmax`, running
sums and products in `cumulative`.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton import scalar
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.elemwise import Elemwise, cast
from kroton.tensor.type import (
    TensorType,
    continuous_dtypes,
    discrete_dtypes,
    dtype_of,
    integer_dtypes,
)

__all__ = ["CAReduce", "all", "any", "max", "min", "prod", "sum"]

_NAMES = {
    "add": "Sum", "mul": "Prod", "maximum": "Max", "minimum": "Min", "and_": "All", "or_": "Any",
}  # fmt: skip

_EXTREMES = {scalar.maximum: -np.inf, scalar.minimum: np.inf}
"""What changes no extreme."""

_second = Elemwise(scalar.second)


def normalized_axes(name: str, axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of dimensions, none negative; None means all of them.

    Raises
    ------
    TypeError
        If an axis is not an integer.
    ValueError
        If an axis is out of range or given twice.
    """
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, Constant):
        axis = axis.data
    if isinstance(axis, np.ndarray):
        axis = axis.tolist()
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = []
    for a in given:
        if isinstance(a, Constant):
            a = a.data
        if isinstance(a, (bool, np.bool_, Variable)) or not hasattr(a, "__index__"):
            raise TypeError(f"{name}: an axis must be an integer, got {a!r}")
        try:
            index = int(a.__index__())
        except TypeError:
            raise TypeError(f"{name}: an axis must be an integer, got {a!r}") from None
        if not -ndim <= index < ndim:
            raise ValueError(f"{name}: axis {index} is out of range for {ndim} dimensions")
        axes.append(index % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: axis {axis} names a dimension twice")
    return tuple(sorted(axes))


def with_axes(reduced: Any, axes: Sequence[int]) -> Any:
    """`reduced` with the dropped `axes` back as dimensions of extent 1."""
    if not axes:
        return reduced
    ndim = reduced.type.ndim + len(axes)
    pattern: list[Any] = []
    kept = 0
    for d in range(ndim):
        if d in axes:
            pattern.append("x")
        else:
            pattern.append(kept)
            kept += 1
    return T.dimshuffle(reduced, pattern)


def spread(value: Any, axes: Sequence[int], like: Any) -> Any:
    """`value` repeated along the dropped `axes` to the shape of `like`, in the dtype of `like`."""
    if value.type.dtype != like.type.dtype:
        value = cast(value, like.type.dtype)
    return _second(like, with_axes(value, axes))


def zero_gradient(x: Any) -> Any:
    """Zeros like `x`, in floatX where its dtype is discrete."""
    return T.zeros_like(x, dtype=config.floatX if x.type.dtype in discrete_dtypes else None)


@dataclass(frozen=True, repr=False)
class CAReduce(Op):
    """`scalar_op` over the elements along `axis`, which is dropped: `out[i] = op_j x[i, j]`.

    The order of the operations is not defined, so that floating results depend on the layout
    of the input by rounding. Accumulates in `acc_dtype`, to which each element is converted;
    the result is converted to `dtype`.
    """

    scalar_op: scalar.ScalarOp
    """Binary, commutative, associative: `add`, `mul`, `maximum`, `minimum`, `and_`, `or_`."""
    axis: tuple[int, ...]
    """The dimensions that go, sorted, none negative."""
    dtype: str
    """The dtype of the result."""
    acc_dtype: str
    """The dtype that is computed in."""
    neutral: bool = False
    """Whether the extreme of no elements is -inf (maximum) or inf (minimum) instead of an error."""

    def __post_init__(self) -> None:
        if self.scalar_op.ufunc is None or not self.scalar_op.associative:
            raise ValueError(f"{self.scalar_op} is no operation to reduce with")
        if list(self.axis) != sorted(set(self.axis)) or builtins.any(a < 0 for a in self.axis):
            raise ValueError(f"axis must be sorted and not negative, got {self.axis}")
        object.__setattr__(self, "dtype", dtype_of(self.dtype))
        object.__setattr__(self, "acc_dtype", dtype_of(self.acc_dtype))
        if self.neutral and not (
            self.scalar_op in _EXTREMES and self.acc_dtype.startswith("float")
        ):
            raise TypeError(
                f"a {self.scalar_op} of {self.acc_dtype} has no infinity for no elements"
            )
        if self.acc_dtype.startswith("complex") and not self.dtype.startswith("complex"):
            raise TypeError(
                f"a result accumulated in {self.acc_dtype} cannot have dtype {self.dtype}"
            )

    @property
    def name(self) -> str:
        """What the reduction is called: Sum, Prod, Max, Min, All, Any."""
        return _NAMES.get(self.scalar_op.name, f"Reduce[{self.scalar_op.name}]")

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if self.axis and self.axis[-1] >= x.type.ndim:
            raise ValueError(
                f"{self.name}: axis {self.axis[-1]} is out of range for {x.type.ndim} dimensions"
            )
        if x.type.dtype.startswith("complex") and not (
            self.acc_dtype.startswith("complex") or self.acc_dtype == "bool"
        ):
            raise TypeError(f"{self.name} of {x.type.dtype} cannot be taken in {self.acc_dtype}")
        if x.type.dtype in continuous_dtypes and self.acc_dtype in integer_dtypes:
            raise TypeError(
                f"{self.name}: each element of {x.type.dtype} would lose its fraction when it is "
                f"accumulated in {self.acc_dtype}; cast the result instead, or, if that is meant, "
                f"x.astype({self.acc_dtype!r}) before"
            )
        shape = [e for d, e in enumerate(x.type.shape) if d not in self.axis]
        return Apply(self, [x], [TensorType(self.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        ufunc = self.scalar_op.ufunc
        assert ufunc is not None, f"{self.scalar_op} is no reduction"
        with np.errstate(all="ignore"):
            elements = x.astype(self.acc_dtype, copy=False)
            if self.neutral:
                initial = _EXTREMES[self.scalar_op]
                accumulated = ufunc.reduce(elements, axis=self.axis, initial=initial)
            else:
                accumulated = ufunc.reduce(elements, axis=self.axis, dtype=self.acc_dtype)
            value = np.asarray(accumulated).astype(self.dtype, copy=False)
        output_storage[0][0] = value.copy() if np.may_share_memory(value, x) else value

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [tuple(e for d, e in enumerate(input_shapes[0]) if d not in self.axis)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,), (out,), (g,) = inputs, outputs, output_gradients
        if x.type.dtype not in continuous_dtypes or self.dtype not in continuous_dtypes:
            return [zero_gradient(x)]
        if self.scalar_op == scalar.add:
            return [spread(g, self.axis, x)]
        if self.scalar_op == scalar.mul:
            return [T.conj(_others(x, self.axis)) * spread(g, self.axis, x)]
        if self.scalar_op in (scalar.maximum, scalar.minimum):
            chosen = T.eq(x, with_axes(out, self.axis))
            return [T.switch(chosen, spread(g, self.axis, x), _zero(x))]
        return super().L_op(inputs, outputs, output_gradients)

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if self.scalar_op == scalar.add:
            return [None if eval_points[0] is None else self(eval_points[0])]
        return super().R_op(inputs, eval_points)

    def __repr__(self) -> str:
        details = f"axes={list(self.axis)}"
        if self.acc_dtype != self.dtype:
            details += f", acc_dtype={self.acc_dtype}"
        if self.neutral:
            details += ", neutral"
        return f"{self.name}{{{details}}}"

    __str__ = __repr__


def _zero(x: Any) -> Any:
    return T.constant(0, dtype=x.type.dtype)


def _others(x: Any, axes: Sequence[int]) -> Any:
    """For each element the product of all others along `axes`, without a division.

    The product of those before it times that of those after it, which holds whatever the
    number of zeros is.
    """
    if not axes:
        return T.ones_like(x)
    ndim = x.type.ndim
    order = [d for d in range(ndim) if d not in axes] + list(axes)
    moved = T.transpose(x, order)
    flat = T.flatten(moved, ndim - len(axes) + 1) if len(axes) > 1 else moved
    last = flat.type.ndim - 1
    backwards = (slice(None),) * last + (slice(None, None, -1),)
    before = T.cumulative.shifted(T.cumprod(flat, axis=last), last, 1)
    after = T.cumulative.shifted(T.cumprod(flat[backwards], axis=last), last, 1)[backwards]
    product = before * after
    if len(axes) > 1:
        product = T.reshape(product, T.shape(moved), ndim=ndim)
    back = [order.index(d) for d in range(ndim)]
    return T.transpose(product, back)


def accumulated_dtype(dtype: str) -> str:
    """The dtype in which NumPy adds and multiplies: 64 bits for bool and integers."""
    if dtype in ("uint8", "uint16", "uint32", "uint64"):
        return "uint64"
    return "int64" if dtype in discrete_dtypes else dtype


def _reduce(
    op: scalar.ScalarOp, x: Any, axis: Any, dtype: Any, acc_dtype: Any, keepdims: bool
) -> Any:
    x = as_tensor_variable(x)
    axes = normalized_axes(_NAMES[op.name].lower(), axis, x.type.ndim)
    result = CAReduce(op, axes, dtype or x.type.dtype, acc_dtype or dtype or x.type.dtype)(x)
    return with_axes(result, axes) if keepdims else result


def sum(
    input: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
) -> Any:
    """The sum of the elements along `axis`; 0 where there are none.

    Parameters
    ----------
    input : tensor
    axis : int, sequence of int or None
        The dimensions to sum over; None means all.
    dtype : str, optional
        Of the result. As in NumPy, by default int64 for bool and signed integers, uint64 for
        unsigned ones, else that of the input.
    keepdims : bool
        Keep `axis` with extent 1.
    acc_dtype : str, optional
        What is accumulated in, by default `dtype`: float32 sums are taken in float32, pairwise
        along contiguous axes as in NumPy. Ask for float64 where that is not enough.

    Raises
    ------
    ValueError
        For an axis that is out of range or given twice.
    TypeError
        For an axis that is not an integer, complex values summed in a real dtype, or others in
        a dtype of integers.
    """
    x = as_tensor_variable(input)
    dtype = accumulated_dtype(x.type.dtype) if dtype is None else dtype_of(dtype)
    return _reduce(scalar.add, x, axis, dtype, acc_dtype, keepdims)


def prod(
    input: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False,
    acc_dtype: Any = None, no_zeros_in_input: bool = False,
) -> Any:  # fmt: skip
    """The product of the elements along `axis`; 1 where there are none.

    Parameters are those of `sum`. The gradient is right whatever the number of zeros, so that
    the lineage's `no_zeros_in_input` makes no difference.
    """
    x = as_tensor_variable(input)
    dtype = accumulated_dtype(x.type.dtype) if dtype is None else dtype_of(dtype)
    return _reduce(scalar.mul, x, axis, dtype, acc_dtype, keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element along `axis`; NaN if there is one.

    The gradient goes to each element that equals the maximum. The value of an empty axis is an
    error when it is computed.
    """
    return _reduce(scalar.maximum, x, axis, None, None, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element along `axis`; NaN if there is one.

    The gradient goes to each element that equals the minimum. The value of an empty axis is an
    error when it is computed.
    """
    return _reduce(scalar.minimum, x, axis, None, None, keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether no element along `axis` is zero (bool); true where there are none."""
    return _reduce(scalar.and_, x, axis, "bool", "bool", keepdims)


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether some element along `axis` is not zero (bool); false where there are none."""
    return _reduce(scalar.or_, x, axis, "bool", "bool", keepdims)
