"""Running sums and products, and the linear recurrence that differentiates the latter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.reduction import accumulated_dtype, normalized_axes, zero_gradient
from kroton.tensor.type import TensorType, continuous_dtypes

__all__ = ["CumOp", "LinearRecurrence", "cumprod", "cumsum"]


@dataclass(frozen=True, repr=False)
class CumOp(Op):
    """The running sum or product along `axis`: `out[k] = x[0] op ... op x[k]`, in order."""

    axis: int
    """Along which dimension; not negative."""
    mode: str = "add"
    """'add' or 'mul'."""

    def __post_init__(self) -> None:
        if self.mode not in ("add", "mul"):
            raise ValueError(f"mode must be 'add' or 'mul', got {self.mode!r}")
        if self.axis < 0:
            raise ValueError(f"axis must not be negative, got {self.axis}")

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        if self.axis >= x.type.ndim:
            raise ValueError(f"{self}: the input has only {x.type.ndim} dimensions")
        return Apply(self, [x], [TensorType(accumulated_dtype(x.type.dtype), x.type.shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        accumulate = np.cumsum if self.mode == "add" else np.cumprod
        with np.errstate(all="ignore"):
            output_storage[0][0] = accumulate(
                inputs[0], axis=self.axis, dtype=node.outputs[0].type.numpy_dtype
            )

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[0]]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x,), (g,) = inputs, output_gradients
        if x.type.dtype not in continuous_dtypes:
            return [zero_gradient(x)]
        if self.mode == "add":
            backwards = (slice(None),) * self.axis + (slice(None, None, -1),)
            return [CumOp(self.axis, "add")(g[backwards])[backwards]]
        # d/dx[i] = before[i] * sum over k >= i of g[k] x[i + 1] ... x[k], right for zeros too.
        before = shifted(CumOp(self.axis, "mul")(x), self.axis, 1)
        after = LinearRecurrence(self.axis, reverse=True)(T.conj(x), g)
        return [T.conj(before) * after]

    def __repr__(self) -> str:
        return f"{'Cumsum' if self.mode == 'add' else 'Cumprod'}{{axis={self.axis}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class LinearRecurrence(Op):
    """`s[k] = b[k] + a[k] * s[k - 1]` along `axis`, from `s[0] = b[0]`; `a[0]` is not used.

    In reverse it is the transpose of that map of b, `s[k] = b[k] + a[k + 1] * s[k + 1]`, so
    that each is the other's gradient and all orders are right whatever zeros `a` has.
    """

    axis: int
    """Along which dimension; not negative."""
    reverse: bool = False
    """From the end."""

    def __post_init__(self) -> None:
        if self.axis < 0:
            raise ValueError(f"axis must not be negative, got {self.axis}")

    def make_node(self, a: Any, b: Any) -> Apply:
        a, b = as_tensor_variable(a), as_tensor_variable(b)
        if a.type.dtype not in continuous_dtypes or a.type.dtype != b.type.dtype:
            raise TypeError(
                f"{self} takes two tensors of one float or complex dtype, "
                f"got {a.type.dtype} and {b.type.dtype}"
            )
        if a.type.ndim != b.type.ndim or self.axis >= a.type.ndim:
            raise ValueError(
                f"{self} takes two tensors of one number of dimensions that has its axis, "
                f"got {a.type.ndim} and {b.type.ndim}"
            )
        shape = []
        for d, (m, n) in enumerate(zip(a.type.shape, b.type.shape)):
            if m is not None and n is not None and m != n:
                raise ValueError(f"{self}: {m} and {n} elements in dimension {d}")
            shape.append(n if m is None else m)
        return Apply(self, [a, b], [TensorType(b.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        a, b = inputs
        if a.shape != b.shape:
            raise ValueError(f"{self}: inputs of shapes {a.shape} and {b.shape}")
        s = b.copy()
        rows, factors = np.moveaxis(s, self.axis, 0), np.moveaxis(a, self.axis, 0)
        with np.errstate(all="ignore"):
            if self.reverse:
                for k in range(len(rows) - 2, -1, -1):
                    rows[k] += factors[k + 1] * rows[k + 1]
            else:
                for k in range(1, len(rows)):
                    rows[k] += factors[k] * rows[k - 1]
        output_storage[0][0] = s

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[1]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (a, _), (s,), (g,) = inputs, outputs, output_gradients
        to_b = LinearRecurrence(self.axis, not self.reverse)(T.conj(a), g)
        if self.reverse:
            return [shifted(to_b, self.axis, 0) * T.conj(s), to_b]
        return [to_b * T.conj(shifted(s, self.axis, 0)), to_b]

    def __repr__(self) -> str:
        return f"LinearRecurrence{{axis={self.axis}{', reverse' if self.reverse else ''}}}"

    __str__ = __repr__


def shifted(x: Any, axis: int, first: float) -> Any:
    """`x` moved on by one along `axis`: the last element falls out, `first` comes in."""
    before = (slice(None),) * axis
    head = T.full_like(x[(*before, slice(0, 1))], first)
    return T.join(axis, head, x[(*before, slice(None, -1))])


def _cumulative(mode: str, x: Any, axis: Any) -> Any:
    x = as_tensor_variable(x)
    if axis is None:
        return CumOp(0, mode)(T.flatten(x))
    (d,) = normalized_axes(f"cum{'sum' if mode == 'add' else 'prod'}", (axis,), x.type.ndim)
    return CumOp(d, mode)(x)


def cumsum(x: Any, axis: int | None = None) -> Any:
    """The running sum along `axis`; of the flattened tensor if that is None.

    bool and integers add up in 64 bits, as in NumPy.

    Raises
    ------
    ValueError, TypeError
        If the axis is out of range or no integer.
    """
    return _cumulative("add", x, axis)


def cumprod(x: Any, axis: int | None = None) -> Any:
    """The running product along `axis`; of the flattened tensor if that is None.

    bool and integers multiply in 64 bits, as in NumPy. The gradient is right where there are
    zeros.

    Raises
    ------
    ValueError, TypeError
        If the axis is out of range or no integer.
    """
    return _cumulative("mul", x, axis)
