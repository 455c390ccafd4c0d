"""Matrix products: dot, matmul, tensordot, outer, batched_dot and their relatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.elemwise import cast
from kroton.tensor.type import TensorType, continuous_dtypes

__all__ = [
    "BatchedDot",
    "Dot",
    "batched_dot",
    "batched_tensordot",
    "dot",
    "inner",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
    "vecmat",
]


def promoted(name: str, *operands: Any) -> list[Any]:
    """The operands as tensors of the dtype that NumPy computes their product in.

    Raises
    ------
    TypeError
        If one is not numeric.
    """
    variables = [as_tensor_variable(x) for x in operands]
    dtype = np.result_type(*(v.type.numpy_dtype for v in variables)).name
    return [cast(v, dtype) for v in variables]


def conjugated(x: Any) -> Any:
    """The complex conjugate; `x` itself if it is real."""
    return T.conj(x) if x.type.dtype.startswith("complex") else x


def as_gradient(g: Any, x: Any) -> Any:
    """The gradient `g` with the static shape that `x` is known to have."""
    return g if x.type.is_super(g.type) else x.type.filter_variable(g)


def _contract(name: str, types: Sequence[TensorType], m: int | None, n: int | None) -> None:
    if m is not None and n is not None and m != n:
        raise ValueError(
            f"{name}: shapes {types[0].shape} and {types[1].shape} do not fit: "
            f"the last extent of the first is {m}, the one it meets in the second is {n}"
        )


class _Bilinear(Op):
    """A product of two inputs that is linear in each."""

    def R_op(self, inputs: Any, eval_points: Any) -> list[Any]:
        x, y = inputs
        dx, dy = eval_points
        terms = []
        if dx is not None:
            terms.append(self(dx, y))
        if dy is not None:
            terms.append(self(x, dy))
        return [None if not terms else terms[0] if len(terms) == 1 else terms[0] + terms[1]]


@dataclass(frozen=True)
class Dot(_Bilinear):
    """`numpy.dot` of vectors and matrices.

    Vector times vector is a scalar, the sum of products; a matrix times a vector, a vector
    times a matrix and a matrix times a matrix are the products of linear algebra, without
    conjugation. The dtype is NumPy's promotion of both; booleans give `any(x & y)`.
    """

    def make_node(self, x: Any, y: Any) -> Apply:
        x, y = promoted("dot", x, y)
        for k, v in enumerate((x, y)):
            if v.type.ndim not in (1, 2):
                raise TypeError(
                    f"Dot takes vectors and matrices; input {k} has {v.type.ndim} dimensions: "
                    "use T.dot or T.tensordot"
                )
        _contract("dot", (x.type, y.type), x.type.shape[-1], y.type.shape[0])
        shape = x.type.shape[:-1] + y.type.shape[1:]
        return Apply(self, [x, y], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y = inputs
        if x.shape[-1] != y.shape[0]:
            raise ValueError(
                f"dot: shapes {x.shape} and {y.shape} do not fit: the last extent of the first "
                f"is {x.shape[-1]}, the first of the second is {y.shape[0]}"
            )
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.asarray(np.dot(x, y))

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        x, y = inputs
        (g,) = output_gradients
        if x.type.dtype not in continuous_dtypes:
            return [v.zeros_like(dtype=config.floatX) for v in inputs]
        a, b = conjugated(x), conjugated(y)
        if x.type.ndim == 1 and y.type.ndim == 1:
            gx, gy = g * b, g * a
        elif y.type.ndim == 1:
            gx, gy = outer(g, b), dot(a.T, g)
        elif x.type.ndim == 1:
            gx, gy = dot(g, b.T), outer(a, g)
        else:
            gx, gy = dot(g, b.T), dot(a.T, g)
        return [as_gradient(gx, x), as_gradient(gy, y)]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, y = input_shapes
        return [tuple(x[:-1]) + tuple(y[1:])]

    def __repr__(self) -> str:
        return "dot"

    __str__ = __repr__


_dot = Dot()


def dot(l: Any, r: Any) -> Any:  # noqa: E741 - the lineage's names
    """The product of two tensors.

    Parameters
    ----------
    l, r : tensors
        A scalar (0-d) multiplies the other. Vectors and matrices multiply as in linear algebra.
        With more than two dimensions the sum runs over the last dimension of `l` and the last
        but one of `r` (the only one of a vector), as in `numpy.dot`.

    Raises
    ------
    ValueError
        If static extents contradict each other, or, when the graph runs, the actual ones.

    Examples
    --------
    >>> import kroton.tensor as T
    >>> T.dot(T.dmatrix(), T.dvector()).type
    TensorType(float64, vector)
    """
    x, y = as_tensor_variable(l), as_tensor_variable(r)
    if x.type.ndim == 0 or y.type.ndim == 0:
        return x * y
    if x.type.ndim > 2 or y.type.ndim > 2:
        return tensordot(x, y, [[x.type.ndim - 1], [max(0, y.type.ndim - 2)]])
    return _dot(x, y)


def outer(x: Any, y: Any) -> Any:
    """`x[i] * y[j]` for all i and j, of flattened operands: a matrix."""
    u, v = as_tensor_variable(x), as_tensor_variable(y)
    if u.type.ndim != 1:
        u = T.flatten(u)
    if v.type.ndim != 1:
        v = T.flatten(v)
    return dot(T.dimshuffle(u, (0, "x")), T.dimshuffle(v, ("x", 0)))


def inner(x: Any, y: Any) -> Any:
    """The sum of products over the last dimension of both; a scalar multiplies the other."""
    u, v = as_tensor_variable(x), as_tensor_variable(y)
    if u.type.ndim == 0 or v.type.ndim == 0:
        return u * v
    return tensordot(u, v, [[u.type.ndim - 1], [v.type.ndim - 1]])


def vdot(x: Any, y: Any) -> Any:
    """The sum of `conj(x) * y` over all elements of the flattened operands."""
    u, v = as_tensor_variable(x), as_tensor_variable(y)
    return dot(T.flatten(conjugated(u)), T.flatten(v))


def _axes(name: str, axes: Any, x: Any, y: Any) -> tuple[list[int], list[int]]:
    """The dimensions of `x` and of `y` to sum over, not negative."""
    nx, ny = x.type.ndim, y.type.ndim
    if isinstance(axes, (int, np.integer)) and not isinstance(axes, bool):
        count = int(axes)
        if count < 0 or count > min(nx, ny):
            raise ValueError(
                f"{name}: axes={count} must be between 0 and {min(nx, ny)} for operands of "
                f"{nx} and {ny} dimensions"
            )
        return list(range(nx - count, nx)), list(range(count))
    try:
        left, right = axes
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: axes must be an integer or two lists of integers, got {axes!r}"
        ) from None
    result = []
    for chosen, ndim, which in ((left, nx, "first"), (right, ny, "second")):
        chosen = [chosen] if isinstance(chosen, (int, np.integer)) else list(chosen)
        for a in chosen:
            if not -ndim <= a < ndim:
                raise ValueError(
                    f"{name}: axis {a} is out of range for the {which} operand of {ndim} dimensions"
                )
        chosen = [int(a) % ndim for a in chosen]
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"{name}: axes of the {which} operand repeat: {chosen}")
        result.append(chosen)
    if len(result[0]) != len(result[1]):
        raise ValueError(
            f"{name}: {len(result[0])} axes of the first operand cannot meet "
            f"{len(result[1])} of the second"
        )
    for i, j in zip(*result):
        m, n = x.type.shape[i], y.type.shape[j]
        if m is not None and n is not None and m != n:
            raise ValueError(
                f"{name}: dimension {i} of shape {x.type.shape} cannot meet "
                f"dimension {j} of shape {y.type.shape}"
            )
    return result[0], result[1]


def _extents(x: Any, axes: Sequence[int]) -> list[Any]:
    """The extents along `axes`: ints where known, else scalars."""
    return [x.type.shape[a] if x.type.shape[a] is not None else x.shape[a] for a in axes]


def _product(extents: Sequence[Any]) -> Any:
    """The product of ints and scalars; an int if all are."""
    result: Any = 1
    for e in extents:
        result = e if isinstance(result, int) and result == 1 else result * e
    return result


def _merged(x: Any, *groups: Sequence[int]) -> Any:
    """`x` with each group of its dimensions merged into one, in this order."""
    order = [a for group in groups for a in group]
    if order != list(range(x.type.ndim)):
        x = T.dimshuffle(x, order)
    if all(len(group) == 1 for group in groups):
        return x
    shape = []
    first = 0
    for group in groups:
        shape.append(_product(_extents(x, range(first, first + len(group)))))
        first += len(group)
    return T.reshape(x, shape, ndim=len(groups))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """The sum of products over chosen dimensions of both operands.

    Parameters
    ----------
    a, b : tensors
    axes : int or pair of lists of int
        How many of the last dimensions of `a` meet the first of `b`, or which meet which.

    Returns
    -------
    tensor
        Its dimensions are the others of `a`, then the others of `b`.

    Raises
    ------
    ValueError
        For axes that are out of range, repeat, do not pair up, or have static extents that
        differ.
    """
    x, y = as_tensor_variable(a), as_tensor_variable(b)
    left, right = _axes("tensordot", axes, x, y)
    free_x = [d for d in range(x.type.ndim) if d not in left]
    free_y = [d for d in range(y.type.ndim) if d not in right]
    if not left:
        pattern = [*range(x.type.ndim), *("x" for _ in free_y)]
        return (T.dimshuffle(x, pattern) if free_y else x) * y
    if len(left) == 1 and len(free_x) <= 1 and len(free_y) <= 1:
        u = x if not free_x or left == [1] else x.T
        v = y if not free_y or right == [0] else y.T
        return _dot(u, v)
    if free_x and free_y:
        flat = _dot(_merged(x, free_x, left), _merged(y, right, free_y))
    elif free_x:
        flat = _dot(_merged(x, free_x, left), _merged(y, right))
    elif free_y:
        flat = _dot(_merged(x, left), _merged(y, right, free_y))
    else:
        return _dot(_merged(x, left), _merged(y, right))
    shape = _extents(x, free_x) + _extents(y, free_y)
    if len(shape) == flat.type.ndim:
        return flat
    return T.reshape(flat, shape, ndim=len(shape))


@dataclass(frozen=True)
class BatchedDot(_Bilinear):
    """Matrix products over leading dimensions: `x[..., m, k]` by `y[..., k, n]`.

    Both operands have the same number of dimensions, at least three. A leading dimension of
    extent 1 stretches where that is known statically.
    """

    def make_node(self, x: Any, y: Any) -> Apply:
        x, y = promoted("batched_dot", x, y)
        if x.type.ndim < 3 or x.type.ndim != y.type.ndim:
            raise TypeError(
                "BatchedDot takes operands of the same number of dimensions, at least 3; "
                f"got {x.type.ndim} and {y.type.ndim}: use T.batched_dot or T.matmul"
            )
        _contract("batched_dot", (x.type, y.type), x.type.shape[-1], y.type.shape[-2])
        shape: list[int | None] = []
        for d, (m, n) in enumerate(zip(x.type.shape[:-2], y.type.shape[:-2])):
            if m is not None and n is not None and m != n and 1 not in (m, n):
                raise ValueError(
                    f"batched_dot: shapes {x.type.shape} and {y.type.shape} do not fit: "
                    f"dimension {d} has {m} and {n} elements"
                )
            shape.append(n if m == 1 or (m is None and n != 1) else m)
        shape += [x.type.shape[-2], y.type.shape[-1]]
        return Apply(self, [x, y], [TensorType(x.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y = inputs
        where = None
        if x.shape[-1] != y.shape[-2]:
            where = (
                f"the matrices are {x.shape[-2]} x {x.shape[-1]} and {y.shape[-2]} x {y.shape[-1]}"
            )
        types = [v.type for v in node.inputs]
        for d in range(x.ndim - 2):
            stretch = types[0].broadcastable[d] or types[1].broadcastable[d]
            if x.shape[d] != y.shape[d] and not stretch:
                where = f"dimension {d} has {x.shape[d]} and {y.shape[d]} elements"
        if where is not None:
            raise ValueError(f"batched_dot: shapes {x.shape} and {y.shape} do not fit: {where}")
        with np.errstate(all="ignore"):
            output_storage[0][0] = np.matmul(x, y)

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        x, y = inputs
        (g,) = output_gradients
        if x.type.dtype not in continuous_dtypes:
            return [v.zeros_like(dtype=config.floatX) for v in inputs]
        gx = self(g, _swap(conjugated(y)))
        gy = self(_swap(conjugated(x)), g)
        return [as_gradient(_unstretched(gx, x), x), as_gradient(_unstretched(gy, y), y)]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, y = input_shapes
        stretches = node.inputs[0].type.broadcastable
        batch = tuple(y[d] if stretches[d] else x[d] for d in range(len(x) - 2))
        return [(*batch, x[-2], y[-1])]

    def __repr__(self) -> str:
        return "batched_dot"

    __str__ = __repr__


_batched_dot = BatchedDot()


def _swap(x: Any) -> Any:
    """The last two dimensions exchanged."""
    n = x.type.ndim
    return T.dimshuffle(x, (*range(n - 2), n - 1, n - 2))


def _unstretched(g: Any, x: Any) -> Any:
    """The gradient of a stretched operand: summed over the dimensions that were stretched."""
    axes = [
        d for d in range(x.type.ndim - 2) if x.type.broadcastable[d] and not g.type.broadcastable[d]
    ]
    return g.sum(axis=axes, keepdims=True) if axes else g


def matmul(x1: Any, x2: Any) -> Any:
    """`x1 @ x2` with NumPy's semantics.

    A vector takes part as a row on the left and as a column on the right; the dimension it
    gained is dropped again. Leading dimensions broadcast where an extent is statically 1.

    Raises
    ------
    ValueError
        For scalars, and for static extents that contradict each other.
    """
    x, y = as_tensor_variable(x1), as_tensor_variable(x2)
    nx, ny = x.type.ndim, y.type.ndim
    if nx == 0 or ny == 0:
        raise ValueError("matmul takes no scalars; multiply with *")
    if nx <= 2 and ny <= 2:
        return _dot(x, y)
    if ny <= 2:
        return tensordot(x, y, [[nx - 1], [0]])
    if nx == 1:
        product = matmul(T.dimshuffle(x, ("x", 0)), y)
        return T.dimshuffle(product, (*range(ny - 2), ny - 1))
    x = T.dimshuffle(x, ("x",) * (ny - nx) + tuple(range(nx))) if nx < ny else x
    y = T.dimshuffle(y, ("x",) * (nx - ny) + tuple(range(ny))) if ny < nx else y
    return _batched_dot(x, y)


def _with_vectors(name: str, *operands: tuple[Any, int]) -> list[Any]:
    """The operands as tensors.

    Raises
    ------
    ValueError
        If one has fewer dimensions than asked for.
    """
    variables = []
    for given, ndim in operands:
        variable = as_tensor_variable(given)
        if variable.type.ndim < ndim:
            raise ValueError(
                f"{name} takes {'vectors' if ndim == 1 else 'matrices'} in the last "
                f"{'dimension' if ndim == 1 else 'two dimensions'}; {given} is "
                f"{variable.type.ndim}-dimensional"
            )
        variables.append(variable)
    return variables


def matvec(x1: Any, x2: Any) -> Any:
    """The products of matrices and vectors: the last two dimensions of `x1`, the last of `x2`.

    Leading dimensions broadcast where an extent is statically 1.

    Raises
    ------
    ValueError
        If `x1` is no matrix or `x2` no vector, and as `matmul`.
    """
    A, x = _with_vectors("matvec", (x1, 2), (x2, 1))
    product = matmul(A, T.dimshuffle(x, (*range(x.type.ndim), "x")))
    return T.dimshuffle(product, range(product.type.ndim - 1))


def vecmat(x1: Any, x2: Any) -> Any:
    """The products of conjugated vectors and matrices: the last dimension of `x1`, two of `x2`.

    Leading dimensions broadcast where an extent is statically 1.

    Raises
    ------
    ValueError
        If `x1` is no vector or `x2` no matrix, and as `matmul`.
    """
    x, A = _with_vectors("vecmat", (x1, 1), (x2, 2))
    n = x.type.ndim
    product = matmul(T.dimshuffle(T.conj(x), (*range(n - 1), "x", n - 1)), A)
    n = product.type.ndim
    return T.dimshuffle(product, (*range(n - 2), n - 1))


def vecdot(x1: Any, x2: Any) -> Any:
    """The scalar products of the vectors along the last dimensions, those of `x1` conjugated.

    Leading dimensions broadcast where an extent is statically 1.

    Raises
    ------
    ValueError
        If one has no dimension, and as `matmul`.
    """
    x, y = _with_vectors("vecdot", (x1, 1), (x2, 1))
    n = x.type.ndim
    product = matmul(
        T.dimshuffle(T.conj(x), (*range(n - 1), "x", n - 1)),
        T.dimshuffle(y, (*range(y.type.ndim), "x")),
    )
    return T.dimshuffle(product, range(product.type.ndim - 2))


def batched_dot(a: Any, b: Any) -> Any:
    """`dot(a[i], b[i])` for each i: the products of two sequences of vectors or matrices.

    Parameters
    ----------
    a, b : tensors of at least one dimension
        The first dimension counts the batch. With more than three dimensions the sum runs over
        the last dimension of `a` and the last but one of `b`, as `dot` has it.

    Raises
    ------
    ValueError
        For scalars, and for static extents that contradict each other.
    """
    x, y = as_tensor_variable(a), as_tensor_variable(b)
    nx, ny = x.type.ndim, y.type.ndim
    if nx == 0 or ny == 0:
        raise ValueError("batched_dot takes no scalars: the first dimension counts the batch")
    if nx == 1:
        return T.dimshuffle(x, (0, *("x",) * (ny - 1))) * y
    if ny == 1:
        return x * T.dimshuffle(y, (0, *("x",) * (nx - 1)))
    if nx > 3 or ny > 3:
        return batched_tensordot(x, y, [[nx - 1], [max(1, ny - 2)]])
    u = T.dimshuffle(x, (0, "x", 1)) if nx == 2 else x
    v = T.dimshuffle(y, (0, 1, "x")) if ny == 2 else y
    product = _batched_dot(u, v)
    kept = [0, *([1] if nx == 3 else []), *([2] if ny == 3 else [])]
    return product if len(kept) == 3 else T.dimshuffle(product, kept)


def batched_tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """`tensordot(x[i], y[i], axes)` for each i.

    Parameters
    ----------
    x, y : tensors
        The first dimension counts the batch.
    axes : int or pair of lists of int
        As for `tensordot`; dimensions are counted with the batch's, which cannot be summed.

    Raises
    ------
    ValueError
        As `tensordot`.
    """
    u, v = as_tensor_variable(x), as_tensor_variable(y)
    nu, nv = u.type.ndim, v.type.ndim
    if isinstance(axes, (int, np.integer)):
        axes = [list(range(nu - int(axes), nu)), list(range(1, int(axes) + 1))]
    left, right = _axes("batched_tensordot", axes, u, v)
    if 0 in left or 0 in right:
        raise ValueError("batched_tensordot cannot sum over the first dimension, the batch's")
    free_u = [d for d in range(1, nu) if d not in left]
    free_v = [d for d in range(1, nv) if d not in right]
    flat = _batched_dot(_merged(u, [0], free_u, left), _merged(v, [0], right, free_v))
    batch = _extents(u, [0])
    if u.type.broadcastable[0]:
        batch = _extents(v, [0])
    shape = batch + _extents(u, free_u) + _extents(v, free_v)
    if len(free_u) == 1 and len(free_v) == 1:
        return flat
    return T.reshape(flat, shape, ndim=len(shape))
