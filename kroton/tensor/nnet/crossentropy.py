"""Crossentropies: of probabilities with probabilities, with classes, and fused with softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.elemwise import cast
from kroton.tensor.nnet.softmax import SoftmaxGrad, as_real
from kroton.tensor.products import as_gradient
from kroton.tensor.type import TensorType, discrete_dtypes, integer_dtypes

__all__ = [
    "CrossentropyCategorical1Hot",
    "CrossentropyCategorical1HotGrad",
    "CrossentropySoftmax1HotGrad",
    "CrossentropySoftmaxArgmax1Hot",
    "binary_crossentropy",
    "categorical_crossentropy",
    "crossentropy_softmax_1hot",
    "crossentropy_softmax_argmax_1hot",
    "sigmoid_binary_crossentropy",
]


def _classes(name: str, y: Any) -> Any:
    """`y` as a vector of class indices."""
    v = as_tensor_variable(y)
    if v.type.ndim != 1 or v.type.dtype not in integer_dtypes:
        raise TypeError(
            f"{name}: classes are a vector of integers, got {v.type.dtype} "
            f"with {v.type.ndim} dimensions"
        )
    return v


def _scores(name: str, x: Any) -> Any:
    """`x` as a matrix of floats."""
    v = as_real(name, x)
    if v.type.ndim != 2:
        raise TypeError(f"{name}: one row for each example, got {v.type.ndim} dimensions")
    return v


def _same_rows(name: str, *variables: Any) -> int | None:
    """The static number of rows."""
    known = {v.type.shape[0] for v in variables} - {None}
    if len(known) > 1:
        raise ValueError(f"{name}: inputs of {' and '.join(map(str, sorted(known)))} rows")
    return known.pop() if known else None


def _check_rows(name: str, g: np.ndarray, rows: int) -> None:
    if len(g) != rows:
        raise ValueError(f"{name}: a gradient of {len(g)} rows for {rows} rows")


@dataclass(frozen=True, repr=False)
class _OfClasses(Op):
    """Of a matrix and a class for each of its rows; shown by the name of its type."""

    by_index: bool = False
    """Whether row i and class y[i] are what `x[arange(len(y)), y]` has: classes below zero count
    from the last, and rows that are more than classes have none. One that does not exist is an
    IndexError then."""

    def check(self, name: str, y: np.ndarray, rows: int, n: int) -> None:
        """Raise ValueError, or IndexError, unless there are as many classes as rows, all of `n`."""
        error = IndexError if self.by_index else ValueError
        if len(y) > rows or (len(y) < rows and not self.by_index):
            raise error(f"{name}: {len(y)} classes for {rows} rows")
        least = -n if self.by_index else 0
        wrong = np.flatnonzero((y < least) | (y >= n))
        if wrong.size:
            r = int(wrong[0])
            raise error(
                f"{name}: row {r} has class {y[r]}, which is not one of the {n} classes "
                f"{least} to {n - 1}"
            )

    def rows(self, name: str, x: Any, *others: Any) -> int | None:
        """The static number of rows that have a class."""
        return _same_rows(name, *others, *[x] * (not self.by_index))

    def __repr__(self) -> str:
        return type(self).__name__ + "{by_index}" * self.by_index

    __str__ = __repr__


@dataclass(frozen=True, repr=False)
class CrossentropyCategorical1Hot(_OfClasses):
    """-log(p[i, y[i]]) for each row i of a matrix p of probabilities and a vector y of classes."""

    def make_node(self, coding_dist: Any, true_one_of_n: Any) -> Apply:
        p = _scores("crossentropy_categorical_1hot", coding_dist)
        y = _classes("crossentropy_categorical_1hot", true_one_of_n)
        rows = self.rows("crossentropy_categorical_1hot", p, y)
        return Apply(self, [p, y], [TensorType(p.type.dtype, (rows,))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        p, y = inputs
        self.check("crossentropy_categorical_1hot", y, *p.shape)
        with np.errstate(all="ignore"):
            output_storage[0][0] = -np.log(p[np.arange(len(y)), y])

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False]]

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        p, y = inputs
        return [
            as_gradient(
                CrossentropyCategorical1HotGrad(self.by_index)(output_gradients[0], p, y), p
            ),
            DisconnectedType()(),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [(input_shapes[1 if self.by_index else 0][0],)]


@dataclass(frozen=True, repr=False)
class CrossentropyCategorical1HotGrad(_OfClasses):
    """The gradient of `CrossentropyCategorical1Hot`: -g[i] / p[i, y[i]] at y[i], else 0.

    Inputs are the gradient g, the probabilities p and the classes y.
    """

    def make_node(self, g: Any, coding_dist: Any, true_one_of_n: Any) -> Apply:
        name = "crossentropy_categorical_1hot_grad"
        p = _scores(name, coding_dist)
        y = _classes(name, true_one_of_n)
        g = _row_gradient(name, g, p)
        rows = self.rows(name, p, y, g)
        shape = p.type.shape if self.by_index else (rows, p.type.shape[1])
        return Apply(self, [g, p, y], [TensorType(p.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        g, p, y = inputs
        self.check("crossentropy_categorical_1hot_grad", y, *p.shape)
        _check_rows("crossentropy_categorical_1hot_grad", g, len(y))
        result = np.zeros(p.shape, p.dtype)
        rows = np.arange(len(y))
        with np.errstate(all="ignore"):
            result[rows, y] = -g / p[rows, y]
        output_storage[0][0] = result

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True], [False]]

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        g, p, y = inputs
        (gg,) = output_gradients
        rows = T.arange(T.shape(y)[0])
        at = p[rows, y]
        there = gg[rows, y]
        return [
            as_gradient(-there / at, g),
            as_gradient(T.inc_subtensor(T.zeros_like(p)[rows, y], there * g / T.sqr(at)), p),
            DisconnectedType()(),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[1]]


def _row_gradient(name: str, g: Any, x: Any) -> Any:
    v = as_tensor_variable(g)
    if v.type.ndim != 1 or v.type.dtype != x.type.dtype:
        raise TypeError(
            f"{name}: the gradient is a vector of {x.type.dtype}, got {v.type.dtype} "
            f"with {v.type.ndim} dimensions"
        )
    return v


@dataclass(frozen=True, repr=False)
class CrossentropySoftmaxArgmax1Hot(_OfClasses):
    """Of a matrix x of scores and a vector y of classes: three outputs.

    1. -log(softmax(x)[i, y[i]]) for each row i, computed as log(sum(exp(x - max))) + max - x[y],
       which neither overflows nor underflows;
    2. softmax(x) along the rows;
    3. argmax(x) along the rows (int64).
    """

    def make_node(self, x: Any, y_idx: Any) -> Apply:
        x = _scores("crossentropy_softmax", x)
        y = _classes("crossentropy_softmax", y_idx)
        rows = self.rows("crossentropy_softmax", x, y)
        every = x.type.shape[0] if self.by_index else rows
        outputs = [
            TensorType(x.type.dtype, (rows,))(),
            TensorType(x.type.dtype, (every, x.type.shape[1]))(),
            TensorType("int64", (every,))(),
        ]
        return Apply(self, [x, y], outputs)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        x, y = inputs
        self.check("crossentropy_softmax", y, *x.shape)
        if x.size == 0:
            output_storage[0][0] = np.empty(len(y), x.dtype)
            output_storage[1][0] = np.empty(x.shape, x.dtype)
            output_storage[2][0] = np.zeros(len(x), np.int64)
            return
        with np.errstate(all="ignore"):
            shifted = x - x.max(axis=1, keepdims=True)
            e = np.exp(shifted)
            total = e.sum(axis=1)
            output_storage[0][0] = np.log(total[: len(y)]) - shifted[np.arange(len(y)), y]
            output_storage[1][0] = e / total[:, None]
        output_storage[2][0] = x.argmax(axis=1).astype(np.int64)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, True, False], [False, False, False]]

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        x, y = inputs
        _, sm, _ = outputs
        g_nll, g_sm, _ = output_gradients
        terms = []
        if not isinstance(g_nll.type, DisconnectedType):
            terms.append(CrossentropySoftmax1HotGrad(self.by_index)(g_nll, sm, y))
        if not isinstance(g_sm.type, DisconnectedType):
            terms.append(SoftmaxGrad(1)(g_sm, sm))
        if not terms:
            return [DisconnectedType()(), DisconnectedType()()]
        return [
            as_gradient(terms[0] if len(terms) == 1 else terms[0] + terms[1], x),
            DisconnectedType()(),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        x, y = input_shapes
        return [(y[0] if self.by_index else x[0],), x, (x[0],)]


@dataclass(frozen=True, repr=False)
class CrossentropySoftmax1HotGrad(_OfClasses):
    """g[i] * (sm[i] - one at y[i]): the gradient by x of the crossentropy of softmax(x) = sm.

    Inputs are the gradient g of each row's crossentropy, a vector or one number for all rows, the
    softmax sm and the classes y.
    """

    def make_node(self, dnll: Any, sm: Any, y_idx: Any) -> Apply:
        name = "crossentropy_softmax_grad"
        sm = _scores(name, sm)
        y = _classes(name, y_idx)
        g = as_tensor_variable(dnll)
        if g.type.ndim or g.type.dtype != sm.type.dtype:
            g = _row_gradient(name, g, sm)
        rows = self.rows(name, sm, y, *[g] * g.type.ndim)
        shape = sm.type.shape if self.by_index else (rows, sm.type.shape[1])
        return Apply(self, [g, sm, y], [TensorType(sm.type.dtype, shape)()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        g, sm, y = inputs
        self.check("crossentropy_softmax_grad", y, *sm.shape)
        n = len(y)
        if g.ndim:
            _check_rows("crossentropy_softmax_grad", g, n)
        result = np.zeros(sm.shape, sm.dtype)
        with np.errstate(all="ignore"):
            np.multiply(sm[:n], g[..., None], out=result[:n])
            result[np.arange(n), y] -= g
        output_storage[0][0] = result

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [True], [False]]

    def L_op(self, inputs: Any, outputs: Any, output_gradients: Any) -> list[Any]:
        g, sm, y = inputs
        (gg,) = output_gradients
        n = T.shape(y)[0]
        there = gg[T.arange(n), y]
        with_class = gg[:n] if self.by_index else gg
        rows = T.sum(with_class * (sm[:n] if self.by_index else sm), axis=1) - there
        back = with_class * (T.dimshuffle(g, (0, "x")) if g.type.ndim else g)
        if self.by_index:
            back = T.set_subtensor(T.zeros_like(sm)[:n], back)
        return [
            as_gradient(rows if g.type.ndim else T.sum(rows), g),
            as_gradient(back, sm),
            DisconnectedType()(),
        ]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        return [input_shapes[1]]


_categorical_1hot = CrossentropyCategorical1Hot()
_softmax_argmax_1hot = CrossentropySoftmaxArgmax1Hot()


def crossentropy_softmax_argmax_1hot(x: Any, y_idx: Any) -> list[Any]:
    """For scores x and classes y_idx: each row's crossentropy, softmax and argmax.

    Parameters
    ----------
    x : matrix
    y_idx : vector of int

    Raises
    ------
    ValueError
        When the graph runs and a class is not a column of `x`.
    """
    return list(_softmax_argmax_1hot.make_node(x, y_idx).outputs)


def crossentropy_softmax_1hot(x: Any, y_idx: Any) -> tuple[Any, Any]:
    """For scores x and classes y_idx: each row's crossentropy and softmax."""
    nll, sm, _ = crossentropy_softmax_argmax_1hot(x, y_idx)
    return nll, sm


def _target(target: Any, dtype: str) -> Any:
    """Integer targets count as numbers of the outputs' dtype."""
    v = as_tensor_variable(target)
    return cast(v, dtype) if v.type.dtype in discrete_dtypes else v


def categorical_crossentropy(coding_dist: Any, true_dist: Any) -> Any:
    """-sum(true_dist * log(coding_dist)) along the last axis.

    Parameters
    ----------
    coding_dist : tensor
        Probabilities of the classes along the last axis, of sum 1.
    true_dist : tensor
        Either probabilities, of the same number of dimensions, or the index of the true class
        (integers), of one dimension less.

    Returns
    -------
    tensor
        Of one dimension less than `coding_dist`.

    Raises
    ------
    TypeError
        For other numbers of dimensions, or classes that are not integers.
    ValueError
        When the graph runs and a class is out of range.
    """
    p = as_real("categorical_crossentropy", coding_dist)
    y = as_tensor_variable(true_dist)
    n = p.type.ndim
    if n > 0 and y.type.ndim == n:
        return -T.sum(_target(y, p.type.dtype) * T.log(p), axis=n - 1)
    if n == 0 or y.type.ndim != n - 1:
        raise TypeError(
            "categorical_crossentropy: true_dist must have as many dimensions as coding_dist "
            f"({n}), or one less for class indices; it has {y.type.ndim}"
        )
    if y.type.dtype not in integer_dtypes:
        raise TypeError(f"categorical_crossentropy: class indices are integers, got {y.type.dtype}")
    if n == 2:
        return _categorical_1hot(p, y)
    if n == 1:
        rows = _categorical_1hot(T.dimshuffle(p, ("x", 0)), T.dimshuffle(y, ("x",)))
        return T.dimshuffle(rows, ())
    classes = p.type.shape[-1] if p.type.shape[-1] is not None else T.shape(p)[n - 1]
    rows = _categorical_1hot(T.reshape(p, (-1, classes), ndim=2), T.flatten(y))
    return T.reshape(rows, T.shape(y), ndim=n - 1)


def binary_crossentropy(output: Any, target: Any) -> Any:
    """-(target * log(output) + (1 - target) * log(1 - output)), elementwise.

    Parameters
    ----------
    output : tensor
        Probabilities.
    target : tensor
        Probabilities, 0 or 1 where the truth is known.
    """
    p = as_real("binary_crossentropy", output)
    t = _target(target, p.type.dtype)
    return -(t * T.log(p) + (1.0 - t) * T.log(1.0 - p))


def sigmoid_binary_crossentropy(output: Any, target: Any) -> Any:
    """`binary_crossentropy(sigmoid(output), target)` without overflow or cancellation.

    target * softplus(-output) + (1 - target) * softplus(output), whose gradient by the output
    is sigmoid(output) - target everywhere.
    """
    x = as_real("sigmoid_binary_crossentropy", output)
    t = _target(target, x.type.dtype)
    return t * T.softplus(-x) + (1.0 - t) * T.softplus(x)
