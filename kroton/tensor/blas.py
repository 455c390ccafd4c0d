"""The Ops of BLAS that rewriting puts in the place of products: Gemm, Gemv, Ger, Dot22 and kin.

Their operands are floats or complex numbers of one dtype. They need no transposition flags: an
operand may be a view with any strides, of which the kernels see whether BLAS can take it. As in
BLAS, where beta is 0 what it scales is not read, and where alpha is 0 the product is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.products import as_gradient, conjugated, dot, outer
from kroton.tensor.type import TensorType, continuous_dtypes

__all__ = [
    "Dot22",
    "Dot22Scalar",
    "Gemm",
    "Gemv",
    "Ger",
    "dot22",
    "dot22scalar",
    "gemm",
    "gemv",
    "ger",
]


def _operands(name: str, operands: Sequence[Any], ndims: Sequence[int]) -> list[Any]:
    """The operands as tensors, of these numbers of dimensions and the dtype of the first."""
    if len(operands) != len(ndims):
        raise TypeError(f"{name} takes {len(ndims)} inputs, got {len(operands)}")
    first = as_tensor_variable(operands[0])
    dtype = first.type.dtype
    if dtype not in continuous_dtypes:
        raise TypeError(f"{name} computes in {', '.join(continuous_dtypes)}, got {dtype}")
    variables = []
    for k, (x, ndim) in enumerate(zip(operands, ndims)):
        v = T.constant(x, dtype=dtype) if isinstance(x, (int, float)) else as_tensor_variable(x)
        if v.type.ndim != ndim or v.type.dtype != dtype:
            raise TypeError(
                f"{name}: input {k} must be {dtype} with {ndim} dimensions, "
                f"got {v.type.dtype} with {v.type.ndim}"
            )
        variables.append(v)
    return variables


def _known(name: str, *extents: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """What is known of extents that several operands share.

    Raises
    ------
    ValueError
        If two known extents contradict each other.
    """
    result = []
    for shared in extents:
        values = {e for e in shared if e is not None}
        if len(values) > 1:
            raise ValueError(
                f"{name}: extents that must be equal are {' and '.join(map(str, sorted(values)))}"
            )
        result.append(values.pop() if values else None)
    return tuple(result)


def _accumulated(z: Any, alpha: Any, beta: Any, product: Any, target: Any) -> None:
    """Store `beta * z + alpha * product()` in `target`, reading neither factor of a zero."""
    with np.errstate(all="ignore"):
        if beta == 0:
            target[...] = 0
        elif target is not z or beta != 1:
            np.multiply(z, beta, out=target)
        if alpha != 0:
            target += alpha * product


def _refuse(name: str, z: Any, x: Any, y: Any) -> None:
    if x.shape[-1] != y.shape[0] or z.shape != x.shape[:-1] + y.shape[1:]:
        raise ValueError(
            f"{name}: the product of shapes {x.shape} and {y.shape} "
            f"cannot be added to shape {z.shape}"
        )


def _scalar_gradient(g: Any, x: Any) -> Any:
    """The gradient by a factor of `x`: the sum of products with the conjugate."""
    return (g * conjugated(x)).sum()


@dataclass(frozen=True)
class _Accumulate(Op):
    """`beta * z + alpha * product`, over z if `inplace`; beta is the last input."""

    inplace: bool = False
    """Whether the result is written over what is scaled by beta."""

    def __post_init__(self) -> None:
        if self.inplace:
            object.__setattr__(self, "destroy_map", {0: [0]})

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        z, alpha, x, y, beta = inputs
        _refuse(type(self).__name__.lower(), z, x, y)
        target = z if self.inplace else np.empty(z.shape, z.dtype)
        with np.errstate(all="ignore"):
            product = np.dot(x, y)
        _accumulated(z, np.copy(alpha), np.copy(beta), product, target)
        output_storage[0][0] = target

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[0]]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}{{inplace}}" if self.inplace else name

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Gemm(_Accumulate):
    """`beta * z + alpha * dot(x, y)` of matrices; inputs z, alpha, x, y, beta.

    alpha and beta are scalars. The dtype is a float or complex one, the same for all.
    """

    def make_node(self, z: Any, alpha: Any, x: Any, y: Any, beta: Any) -> Apply:
        z, x, y, alpha, beta = _operands("gemm", (z, x, y, alpha, beta), (2, 2, 2, 0, 0))
        zs, xs, ys = z.type.shape, x.type.shape, y.type.shape
        rows, cols, _ = _known("gemm", (zs[0], xs[0]), (zs[1], ys[1]), (xs[1], ys[0]))
        shape = zs if self.inplace else (rows, cols)
        return Apply(self, [z, alpha, x, y, beta], [TensorType(z.type.dtype, shape)()])

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        z, alpha, x, y, beta = inputs
        (g,) = output_gradients
        scaled = conjugated(alpha) * g
        return [
            as_gradient(conjugated(beta) * g, z),
            _scalar_gradient(g, dot(x, y)),
            as_gradient(dot(scaled, conjugated(y).T), x),
            as_gradient(dot(conjugated(x).T, scaled), y),
            _scalar_gradient(g, z),
        ]


@dataclass(frozen=True, repr=False)
class Gemv(_Accumulate):
    """`beta * y + alpha * dot(A, x)` of a matrix and vectors; inputs y, alpha, A, x, beta.

    alpha and beta are scalars. The dtype is a float or complex one, the same for all.
    """

    def make_node(self, y: Any, alpha: Any, A: Any, x: Any, beta: Any) -> Apply:
        y, A, x, alpha, beta = _operands("gemv", (y, A, x, alpha, beta), (1, 2, 1, 0, 0))
        ys, As, xs = y.type.shape, A.type.shape, x.type.shape
        rows, _ = _known("gemv", (ys[0], As[0]), (As[1], xs[0]))
        shape = ys if self.inplace else (rows,)
        return Apply(self, [y, alpha, A, x, beta], [TensorType(y.type.dtype, shape)()])

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        y, alpha, A, x, beta = inputs
        (g,) = output_gradients
        scaled = conjugated(alpha) * g
        return [
            as_gradient(conjugated(beta) * g, y),
            _scalar_gradient(g, dot(A, x)),
            as_gradient(outer(scaled, conjugated(x)), A),
            as_gradient(dot(conjugated(A).T, scaled), x),
            _scalar_gradient(g, y),
        ]


@dataclass(frozen=True, repr=False)
class Ger(_Accumulate):
    """`A + alpha * outer(x, y)` of a matrix and vectors; inputs A, alpha, x, y.

    Nothing is conjugated. The dtype is a float or complex one, the same for all.
    """

    def make_node(self, A: Any, alpha: Any, x: Any, y: Any) -> Apply:
        A, alpha, x, y = _operands("ger", (A, alpha, x, y), (2, 0, 1, 1))
        As = A.type.shape
        rows, cols = _known("ger", (As[0], x.type.shape[0]), (As[1], y.type.shape[0]))
        shape = As if self.inplace else (rows, cols)
        return Apply(self, [A, alpha, x, y], [TensorType(A.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        A, alpha, x, y = inputs
        _refuse("ger", A, x[:, None], y[None, :])
        target = A if self.inplace else np.empty(A.shape, A.dtype)
        with np.errstate(all="ignore"):
            product = np.outer(x, y)
        _accumulated(A, np.copy(alpha), 1, product, target)
        output_storage[0][0] = target

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        A, alpha, x, y = inputs
        (g,) = output_gradients
        factor = conjugated(alpha)
        return [
            as_gradient(g, A),
            _scalar_gradient(g, outer(x, y)),
            as_gradient(factor * dot(g, conjugated(y)), x),
            as_gradient(factor * dot(conjugated(x), g), y),
        ]


@dataclass(frozen=True, repr=False)
class Dot22(Op):
    """`dot(x, y)` of two matrices of one float or complex dtype."""

    def make_node(self, x: Any, y: Any) -> Apply:
        x, y = _operands("dot22", (x, y), (2, 2))
        xs, ys = x.type.shape, y.type.shape
        _known("dot22", (xs[1], ys[0]))
        return Apply(self, [x, y], [TensorType(x.type.dtype, (xs[0], ys[1]))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y = inputs
        if x.shape[1] != y.shape[0]:
            raise ValueError(
                f"dot22: shapes {x.shape} and {y.shape} do not fit: the first has {x.shape[1]} "
                f"columns, the second {y.shape[0]} rows"
            )
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.dot(x, y)

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        x, y = inputs
        (g,) = output_gradients
        return [
            as_gradient(dot(g, conjugated(y).T), x),
            as_gradient(dot(conjugated(x).T, g), y),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, y = input_shapes
        return [(x[0], y[1])]

    def __repr__(self) -> str:
        return "Dot22"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class Dot22Scalar(Op):
    """`alpha * dot(x, y)` of two matrices and a scalar of one float or complex dtype."""

    def make_node(self, x: Any, y: Any, alpha: Any) -> Apply:
        x, y, alpha = _operands("dot22scalar", (x, y, alpha), (2, 2, 0))
        xs, ys = x.type.shape, y.type.shape
        _known("dot22scalar", (xs[1], ys[0]))
        return Apply(self, [x, y, alpha], [TensorType(x.type.dtype, (xs[0], ys[1]))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y, alpha = inputs
        if x.shape[1] != y.shape[0]:
            raise ValueError(
                f"dot22scalar: shapes {x.shape} and {y.shape} do not fit: the first has "
                f"{x.shape[1]} columns, the second {y.shape[0]} rows"
            )
        target = np.empty((x.shape[0], y.shape[1]), x.dtype)
        with np.errstate(all="ignore"):
            product = np.dot(x, y)
        _accumulated(target, alpha, 0, product, target)
        output_storage[0][0] = target

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        x, y, alpha = inputs
        (g,) = output_gradients
        scaled = conjugated(alpha) * g
        return [
            as_gradient(dot(scaled, conjugated(y).T), x),
            as_gradient(dot(conjugated(x).T, scaled), y),
            _scalar_gradient(g, dot(x, y)),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, y, _ = input_shapes
        return [(x[0], y[1])]

    def __repr__(self) -> str:
        return "Dot22Scalar"

    __str__ = __repr__


gemm = Gemm()
gemv = Gemv()
ger = Ger()
dot22 = Dot22()
dot22scalar = Dot22Scalar()
