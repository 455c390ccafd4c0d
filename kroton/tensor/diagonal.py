"""Diagonals and triangles of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.dimshuffle import normalized_axis
from kroton.tensor.elemwise import cast
from kroton.tensor.shape import as_extent, shape_tuple, static_extent, sum_of_extents
from kroton.tensor.type import TensorType, discrete_dtypes, dtype_of

__all__ = [
    "AllocDiag",
    "ExtractDiag",
    "Eye",
    "diag",
    "diagonal",
    "eye",
    "identity_like",
    "tri",
    "tril",
    "triu",
]


@dataclass(frozen=True, repr=False)
class Eye(Op):
    """The n by m matrix with ones on diagonal k and zeros elsewhere; inputs n, m, k."""

    dtype: str
    """The dtype of the result."""

    def make_node(self, n: Any, m: Any, k: Any) -> Apply:
        inputs = [as_extent(n), as_extent(m), as_extent(k)]
        shape = [static_extent(e) for e in inputs[:2]]
        if any(e is not None and e < 0 for e in shape):
            raise ValueError(f"an extent cannot be negative, got shape {tuple(shape)}")
        return Apply(self, inputs, [TensorType(self.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        n, m, k = (int(v) for v in inputs)
        if n < 0 or m < 0:
            raise ValueError(f"Eye: an extent cannot be negative, got shape {(n, m)}")
        output_storage[0][0] = np.eye(n, m, k, dtype=self.dtype)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        static = node.outputs[0].type.shape
        return [tuple(v if e is None else e for e, v in zip(static, node.inputs))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[False]] * 3

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        return [DisconnectedType()() for _ in inputs]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        return [None]

    def do_constant_folding(self, node: Apply) -> bool:
        n, m = node.outputs[0].type.shape
        return n is not None and m is not None and n * m <= 1024

    def __repr__(self) -> str:
        return f"Eye{{{self.dtype}}}"

    __str__ = __repr__


def eye(n: Any, m: Any = None, k: Any = 0, dtype: Any = None) -> Any:
    """The `n` by `m` matrix with ones on diagonal `k` and zeros elsewhere.

    Parameters
    ----------
    n : int or integer scalar
    m : int or integer scalar, optional
        `n` by default.
    k : int or integer scalar
        0 is the main diagonal, positive ones are above it.
    dtype : str, optional
        `config.floatX` by default.
    """
    return Eye(dtype_of(dtype or config.floatX))(n, n if m is None else m, k)


def identity_like(x: Any, dtype: Any = None) -> Any:
    """The matrix of the shape of matrix `x` with ones on its main diagonal."""
    x = as_tensor_variable(x)
    if x.type.ndim != 2:
        raise TypeError(f"identity_like takes a matrix, got {x} of type {x.type}")
    return eye(T.shape_i(x, 0), T.shape_i(x, 1), 0, dtype or x.type.dtype)


def tri(N: Any, M: Any = None, k: Any = 0, dtype: Any = None) -> Any:
    """The `N` by `M` matrix with ones on and below diagonal `k` and zeros above it.

    Parameters
    ----------
    N : int or integer scalar
    M : int or integer scalar, optional
        `N` by default.
    k : int or integer scalar
    dtype : str, optional
        `config.floatX` by default.
    """
    rows = T.shape_padright(T.arange(as_extent(N)))
    columns = T.shape_padleft(T.arange(as_extent(N if M is None else M)))
    return cast(T.ge(T.add(rows, as_extent(k)), columns), dtype or config.floatX)


def tril(m: Any, k: Any = 0) -> Any:
    """`m` with zeros above diagonal `k` of its last two dimensions."""
    m = _matrices("tril", m)
    zero = constant(0, dtype=m.type.dtype)
    return T.switch(tri(T.shape_i(m, -2), T.shape_i(m, -1), k, "bool"), m, zero)


def triu(m: Any, k: Any = 0) -> Any:
    """`m` with zeros below diagonal `k` of its last two dimensions."""
    m = _matrices("triu", m)
    zero = constant(0, dtype=m.type.dtype)
    below = T.sub(as_extent(k), constant(1, dtype="int64"))
    return T.switch(tri(T.shape_i(m, -2), T.shape_i(m, -1), below, "bool"), zero, m)


def _matrices(name: str, m: Any) -> Any:
    m = as_tensor_variable(m)
    if m.type.ndim < 2:
        raise TypeError(f"{name} takes a tensor of at least 2 dimensions, got {m} of {m.type}")
    return m


def diagonal_length(n: int, m: int, offset: int) -> int:
    """The number of elements of diagonal `offset` of an n by m matrix."""
    return max(0, min(n + min(offset, 0), m - max(offset, 0)))


@dataclass(frozen=True, repr=False)
class ExtractDiag(Op):
    """A view of diagonal `offset` over two dimensions, which becomes the last dimension."""

    offset: int = 0
    """0 is the main diagonal, positive ones are above it."""
    axis1: int = 0
    """The dimension of rows, not negative."""
    axis2: int = 1
    """The dimension of columns, not negative."""

    view_map = {0: [0]}

    def make_node(self, x: Any) -> Apply:
        x = as_tensor_variable(x)
        ndim = x.type.ndim
        if ndim < 2 or self.axis1 == self.axis2 or min(self.axis1, self.axis2) < 0:
            raise ValueError(f"{self} takes two different dimensions of a tensor, got {x.type}")
        if max(self.axis1, self.axis2) >= ndim:
            raise ValueError(f"{self}: {x} of type {x.type} has too few dimensions")
        n, m = x.type.shape[self.axis1], x.type.shape[self.axis2]
        length = None if n is None or m is None else diagonal_length(n, m, self.offset)
        rest = [e for d, e in enumerate(x.type.shape) if d not in (self.axis1, self.axis2)]
        return Apply(self, [x], [TensorType(x.type.dtype, [*rest, length])()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        view = x.diagonal(self.offset, self.axis1, self.axis2)
        view.flags.writeable = x.flags.writeable  # NumPy's is read-only; an Apply may overwrite it
        output_storage[0][0] = view

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        shape = input_shapes[0]
        length = node.outputs[0].type.shape[-1]
        if length is None:
            n, m = shape[self.axis1], shape[self.axis2]
            if self.offset > 0:
                m = T.sub(m, self.offset)
            elif self.offset < 0:
                n = T.add(n, self.offset)
            length = T.maximum(T.minimum(n, m), 0)
        rest = [e for d, e in enumerate(shape) if d not in (self.axis1, self.axis2)]
        return [(*rest, length)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x,), (gz,) = inputs, output_gradients
        if x.type.dtype in discrete_dtypes:
            return [T.zeros_like(x, dtype=config.floatX)]
        n, m = T.shape_i(x, self.axis1), T.shape_i(x, self.axis2)
        gradient = AllocDiag(self.offset, self.axis1, self.axis2)(gz, n, m)
        return [T.specify_shape(gradient, x.type.shape)]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0])]

    def __repr__(self) -> str:
        return f"ExtractDiag{{{self.offset}, {self.axis1}, {self.axis2}}}"

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class AllocDiag(Op):
    """Zeros, with the last dimension of the first input as diagonal `offset`.

    The two further inputs are the extents of dimensions `axis1` and `axis2` of the result.
    """

    offset: int = 0
    """0 is the main diagonal, positive ones are above it."""
    axis1: int = 0
    """The dimension of rows of the result, not negative."""
    axis2: int = 1
    """The dimension of columns of the result, not negative."""

    def make_node(self, diagonal: Any, n: Any, m: Any) -> Apply:
        diagonal = as_tensor_variable(diagonal)
        ndim = diagonal.type.ndim + 1
        if ndim < 2:
            raise TypeError(f"{self} takes a tensor of at least one dimension, got {diagonal}")
        if self.axis1 == self.axis2 or not (0 <= self.axis1 < ndim and 0 <= self.axis2 < ndim):
            raise ValueError(f"{self} takes two different dimensions of the {ndim} of the result")
        inputs = [diagonal, as_extent(n), as_extent(m)]
        rest = iter(diagonal.type.shape[:-1])
        extents = {self.axis1: static_extent(inputs[1]), self.axis2: static_extent(inputs[2])}
        shape = [extents[d] if d in extents else next(rest) for d in range(ndim)]
        known = (extents[self.axis1], extents[self.axis2], diagonal.type.shape[-1])
        if None not in known:
            self._check(*known)  # type: ignore[arg-type]
        return Apply(self, inputs, [TensorType(diagonal.type.dtype, shape)()])

    def _check(self, n: int, m: int, length: int) -> None:
        if length != diagonal_length(n, m, self.offset):
            raise ValueError(
                f"{self}: diagonal {self.offset} of a {n} by {m} matrix has "
                f"{diagonal_length(n, m, self.offset)} elements, got {length}"
            )

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        diagonal, n, m = inputs[0], int(inputs[1]), int(inputs[2])
        if n < 0 or m < 0:
            raise ValueError(f"{self}: an extent cannot be negative, got {n} by {m}")
        self._check(n, m, diagonal.shape[-1])
        rest = iter(diagonal.shape[:-1])
        extents = {self.axis1: n, self.axis2: m}
        result = np.zeros(
            [extents[d] if d in extents else next(rest) for d in range(diagonal.ndim + 1)],
            dtype=diagonal.dtype,
        )
        matrices = np.moveaxis(result, (self.axis1, self.axis2), (-2, -1))
        rows = np.arange(diagonal.shape[-1]) + max(-self.offset, 0)
        matrices[..., rows, rows + self.offset] = diagonal
        output_storage[0][0] = result

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        rest = iter(input_shapes[0][:-1])
        extents = {self.axis1: node.inputs[1], self.axis2: node.inputs[2]}
        shape = [
            extents[d] if d in extents else next(rest) for d in range(len(input_shapes[0]) + 1)
        ]
        static = node.outputs[0].type.shape
        return [tuple(s if e is None else e for e, s in zip(static, shape))]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False], [False]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        rest = [DisconnectedType()(), DisconnectedType()()]
        if inputs[0].type.dtype in discrete_dtypes:
            return [T.zeros_like(inputs[0], dtype=config.floatX), *rest]
        gradient = ExtractDiag(self.offset, self.axis1, self.axis2)(output_gradients[0])
        return [T.specify_shape(gradient, inputs[0].type.shape), *rest]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        if eval_points[0] is None:
            return [None]
        return [self(eval_points[0], *inputs[1:])]

    def __repr__(self) -> str:
        return f"AllocDiag{{{self.offset}, {self.axis1}, {self.axis2}}}"

    __str__ = __repr__


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Diagonal `offset` over dimensions `axis1` and `axis2` of `a`, as the last dimension.

    Parameters
    ----------
    a : tensor
        Of at least two dimensions.
    offset : int
        0 is the main diagonal, positive ones are above it.
    axis1, axis2 : int
    """
    a = as_tensor_variable(a)
    first, second = normalized_axis(axis1, a.type.ndim), normalized_axis(axis2, a.type.ndim)
    return ExtractDiag(int(offset), first, second)(a)


def diag(v: Any, k: int = 0) -> Any:
    """The square matrix with vector `v` as diagonal `k`, or diagonal `k` of the matrix `v`.

    Raises
    ------
    ValueError
        If `v` has neither one nor two dimensions.
    """
    v = as_tensor_variable(v)
    if v.type.ndim == 2:
        return diagonal(v, k)
    if v.type.ndim != 1:
        raise ValueError(f"diag takes a vector or a matrix, got {v} of type {v.type}")
    n = sum_of_extents([*shape_tuple(v), abs(int(k))])
    return AllocDiag(int(k))(v, n, n)
