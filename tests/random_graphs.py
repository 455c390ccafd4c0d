"""Random graphs of every family of Ops, and what their values are known to.

A graph is drawn from a seed, expression by expression. Each is evaluated as soon as it is made, by
the `perform` of its Applys, so that what does not fit is left out again.

*How well a value is known.* Rewriting may round differently, and two roundings of a badly
conditioned expression may have no digit in common. So the graph is evaluated a few more times
with the result of every rounding operation disturbed at random, by up to 512 units in the last
place (D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997). An element is known to eight
times the spread that this shows, and 64 units in the last place. Operations that do not round
(comparisons, maxima, indexing, layouts) are left exact, so that elements equal as written stay
equal.

*What is not compared.* An element that is NaN or infinite as written, for stabilizing it is what
rewriting promises; and the values, but not shape and dtype, of an output that depends on something
that is not finite, or beyond 1e150, as written, for 1/inf is 0 where the stable form is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kroton
import kroton.tensor as T
from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.traversal import ancestors, toposort
from kroton.tensor.cumulative import CumOp, LinearRecurrence
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.crossentropy import CrossentropySoftmaxArgmax1Hot
from kroton.tensor.products import BatchedDot, Dot
from kroton.tensor.reduction import CAReduce

ULPS = 512
LARGE = 1e150
RUNS = 4

EXACT = {
    "neg", "abs", "second", "switch", "maximum", "minimum", "identity", "sgn", "lt", "gt", "le",
    "ge",
    "eq", "neq", "isnan", "isinf", "floor", "ceil", "trunc", "and_", "or_", "xor", "invert", "clip",
}  # fmt: skip
"""Scalar operations that do not round."""

UNARY = (
    "exp", "log", "neg", "sqr", "sqrt", "tanh", "abs_", "log1p", "expm1", "reciprocal", "sin",
    "cos",
    "arctan", "sinh", "cosh", "erf", "erfc", "exp2", "log2", "log10", "sgn", "floor", "ceil",
    "arcsinh",
    "tan", "arcsin", "arccos", "gammaln", "trunc", "deg2rad",
)  # fmt: skip
TAME = (
    lambda a: T.tanh(a), lambda a: T.nnet.sigmoid(a), lambda a: T.nnet.softplus(a),
    lambda a: T.exp(-T.sqr(a)), lambda a: T.log(1 + T.exp(a)), lambda a: 1 / (1 + T.exp(-a)),
    lambda a: T.log(T.sqr(a) + 0.5), lambda a: T.sqrt(T.abs_(a) + 1.0),
    lambda a: 1 - T.nnet.sigmoid(a),
    lambda a: T.log(T.nnet.sigmoid(a)), lambda a: T.exp(T.minimum(a, 2.0)) - 1, lambda a: a * a,
    lambda a: T.clip(a, -0.5, 1.0), lambda a: a / (1 + T.abs_(a)), lambda a: T.log(T.exp(a)),
    lambda a: T.switch(a > 0, a, 0 * a), lambda a: T.nnet.relu(a),
)  # fmt: skip
BINARY = ("add", "sub", "mul", "true_div", "maximum", "minimum", "sub", "mul", "add")
ODD = ("arctan2", "hypot", "logaddexp", "mod", "int_div", "pow", "copysign")
COMPARE = ("lt", "gt", "le", "ge", "eq", "neq")
NUMBERS = (0, 1, -1, 2, 0.5, -0.25, 3.0, 0.0, 1.0)
INTEGERS = ("add", "sub", "mul", "int_div", "mod", "maximum", "minimum", "and_", "or_", "xor")


def _tensors(pool: list[Any], ndim: int | None = None, kind: str = "f") -> list[Any]:
    return [
        v for v in pool if v.type.numpy_dtype.kind in kind and (ndim is None or v.type.ndim == ndim)
    ]


@dataclass
class Draw:
    """Draws expressions over a pool of what there is already."""

    rng: random.Random
    pool: list[Any]
    values: dict[Any, Any]
    """What each Variable is."""

    def any(self, kind: str = "f", least: int = 0, most: int = 3) -> Any:
        """Something with so many dimensions; recent ones are likelier, so that graphs are deep."""
        found = [v for v in _tensors(self.pool, None, kind) if least <= v.type.ndim <= most]
        if not found:
            return None
        return self.rng.choice(found[-4:] if self.rng.random() < 0.5 else found)

    def axis(self, a: Any) -> int:
        return self.rng.randrange(a.type.ndim)

    # ---- one method for each family

    def unary(self) -> Any:
        return getattr(T, self.rng.choice(UNARY))(self.any())

    def tame(self) -> Any:
        return self.rng.choice(TAME)(self.any())

    def binary(self) -> Any:
        a, b = self.any(), self.rng.choice([self.any(), self.any(), self.rng.choice(NUMBERS)])
        if self.rng.random() < 0.5:
            a, b = b, a
        name = self.rng.choice(BINARY if self.rng.random() < 0.9 else ODD)
        if name in ("mod", "int_div"):  # what is left by noise is noise
            b = abs(b) + 0.5
        return getattr(T, name)(a, b)

    def power(self) -> Any:
        return self.any() ** self.rng.choice([0, 1, 2, 3, 4, 0.5, -1, -2, -0.5, 1.5])

    def reduction(self) -> Any:
        a = self.any()
        axes: Any = self.rng.choice([None, *range(a.type.ndim)])
        if a.type.ndim > 1 and self.rng.random() < 0.2:
            axes = tuple(range(1, a.type.ndim))
        name = self.rng.choice(["sum", "sum", "mean", "max", "min", "prod", "var", "std"])
        return getattr(T, name)(a, axis=axes, keepdims=self.rng.random() < 0.5)

    def logsumexp(self) -> Any:
        a = self.any(least=1)
        axis = self.axis(a)
        e = T.exp(a)
        total = e.sum(axis=axis, keepdims=True)
        return self.rng.choice([T.log(total), e / total, a - T.log(total), T.log(e / total)])

    def transposition(self) -> Any:
        a = self.any(least=1)
        if self.rng.random() < 0.5:
            return a.T
        order: list[Any] = [*range(a.type.ndim)] + (["x"] if a.type.ndim < 3 else [])
        self.rng.shuffle(order)
        return a.dimshuffle(*order)

    def dot(self) -> Any:
        return T.dot(self.any(least=1, most=2), self.any(least=1, most=2))

    def scaled_dot(self) -> Any:
        c = self.any(least=2, most=2)
        return c - self.rng.choice([0.5, 1.0, 2]) * T.dot(self.any(least=2), self.any(least=2))

    def batched(self) -> Any:
        a, b = self.any(least=3), self.any(least=3)
        if a is None or self.rng.random() < 0.5:
            a, b = (T.stack([self.any(least=2, most=2) for _ in range(2)]) for _ in range(2))
        return self.rng.choice([T.batched_dot(a, b), T.tensordot(a, b, axes=[[0, 2], [0, 1]])])

    def softmax(self) -> Any:
        a = self.any(least=1, most=2)
        f = self.rng.choice([T.nnet.softmax, T.nnet.logsoftmax])
        return f(a) if self.rng.random() < 0.5 else T.log(T.nnet.softmax(a))

    def crossentropy(self) -> Any:
        a, y = self.any(least=2, most=2), self.any("i", 1, 1)
        if a is None:
            return None
        labels, shape = self.values[y], self.values[a].shape
        p = T.nnet.softmax(a)
        if _are_classes(labels, shape) and self.rng.random() < 0.5:
            return T.nnet.categorical_crossentropy(p, y)
        if len(labels) > shape[0] or not ((labels >= -shape[1]) & (labels < shape[1])).all():
            return None
        return -T.log(p)[T.arange(y.shape[0]), y]

    def index(self, ndim: int) -> Any:
        """A basic index, perhaps with integer scalars of the graph."""
        choices = [0, -1, slice(None), slice(None, None, -1), slice(1, None), slice(0, 2),
                   slice(None, -1), slice(None, None, 2), None]  # fmt: skip
        scalars = _tensors(self.pool, 0, "i")
        found = [self.rng.choice(choices) for _ in range(self.rng.randint(1, ndim))]
        if scalars and self.rng.random() < 0.3:
            found[0] = self.rng.choice([self.rng.choice(scalars), slice(scalars[0], None)])
        return tuple(found)

    def subtensor(self) -> Any:
        a = self.any(least=1)
        return a[self.index(a.type.ndim)]

    def write(self) -> Any:
        a = self.any(least=1)
        index = tuple(k for k in self.index(a.type.ndim) if k is not None) or (0,)
        value = self.rng.choice([0.0, 1.5, self.any(most=0)])
        f = self.rng.choice([T.set_subtensor, T.inc_subtensor])
        return f(a[index], value)

    def advanced(self) -> Any:
        a, rows = self.any(least=1), self.any("i", 1, 1)
        choices: list[Any] = [rows, (rows, rows), a > 0, (slice(None), rows)]
        if a.type.ndim == 1:
            choices = [rows, a > 0]
        part = a[self.rng.choice(choices)]
        if self.rng.random() < 0.6:
            return part
        return self.rng.choice([T.set_subtensor, T.inc_subtensor])(part, self.rng.choice([0.5, -2]))

    def joined(self) -> Any:
        a = self.any(least=1)
        others = _tensors(self.pool, a.type.ndim)
        if self.rng.random() < 0.5:
            return T.join(self.axis(a), a, self.rng.choice(others))
        return T.stack([a, self.rng.choice(others)], axis=self.rng.choice([0, -1]))

    def split(self) -> Any:
        a = self.any(least=1)
        axis = self.axis(a)
        parts = T.split(a, [1, a.shape[axis] - 1], 2, axis=axis)
        return self.rng.choice(parts)

    def reshape(self) -> Any:
        a = self.any()
        if a.type.ndim == 2 and self.rng.random() < 0.4:
            return T.reshape(a, (a.shape[1], a.shape[0]))
        return self.rng.choice([T.flatten(a), T.reshape(a, (-1, 1)), T.reshape(a, (1, -1))])

    def filled(self) -> Any:
        a = self.any()
        like = self.any()
        shape = [like.shape[d] for d in range(like.type.ndim)]
        return self.rng.choice([
            T.zeros_like(a), T.ones_like(a), T.fill(a, self.any(most=0)),
            T.alloc(self.any(most=0), *shape), T.full_like(a, 2.0),
        ])  # fmt: skip

    def chosen(self) -> Any:
        a, b = self.any(), self.rng.choice([self.any(), 0.0, 1.0])
        condition = getattr(T, self.rng.choice(COMPARE))(self.any(), self.rng.choice([0.1, a]))
        return T.switch(condition, a, b)

    def compared(self) -> Any:
        a = self.any("fib")
        return getattr(T, self.rng.choice(COMPARE))(a, self.rng.choice([0, 1, self.any("fib")]))

    def counted(self) -> Any:
        a = self.any(least=1)
        f = self.rng.choice([T.argmax, T.argmin])
        return f(a, axis=self.rng.choice([None, self.axis(a)]))

    def cast(self) -> Any:
        a = self.any("fib")
        return T.cast(a, self.rng.choice(["float32", "float64", "float64", "float64"]))

    def running(self) -> Any:
        a = self.any(least=1)
        return self.rng.choice([T.cumsum, T.cumprod])(a, axis=self.rng.choice([None, self.axis(a)]))

    def repeated(self) -> Any:
        a = self.any(least=1, most=2)
        return self.rng.choice([
            T.repeat(a, 2, axis=self.axis(a)), T.tile(a, (2,) * a.type.ndim),
            T.roll(a, 1, self.axis(a)),
            T.flip(a, self.axis(a)),
        ])  # fmt: skip

    def diagonal(self) -> Any:
        a = self.any(least=1, most=2)
        if a.type.ndim == 1:
            return T.diag(a)
        return self.rng.choice([T.diagonal(a), T.tril(a), T.triu(a, 1), T.eye(2) + T.sum(a)])

    def integers(self) -> Any:
        a, b = self.any("i"), self.rng.choice([self.any("i"), 0, 1, 2, -1])
        return getattr(T, self.rng.choice(INTEGERS))(a, b)

    def counting(self) -> Any:
        a = self.any(least=1)
        n = a.shape[self.axis(a)]
        return self.rng.choice(
            [T.arange(n), T.arange(n) * 2 - 1, T.cast(n, "float64"), n + 1, a.size]
        )


def _are_classes(labels: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether there is one label for each row of a matrix, each the number of a column."""
    return len(labels) == shape[0] and bool(((labels >= 0) & (labels < shape[1])).all())


FAMILIES: tuple[tuple[Callable[[Draw], Any], int], ...] = (
    (Draw.unary, 4), (Draw.tame, 8), (Draw.binary, 12), (Draw.power, 2), (Draw.reduction, 6),
    (Draw.logsumexp, 2), (Draw.transposition, 3), (Draw.dot, 3), (Draw.scaled_dot, 2),
    (Draw.batched, 1),
    (Draw.softmax, 2), (Draw.crossentropy, 2), (Draw.subtensor, 5), (Draw.write, 3),
    (Draw.advanced, 2),
    (Draw.joined, 2), (Draw.split, 1), (Draw.reshape, 2), (Draw.filled, 2), (Draw.chosen, 2),
    (Draw.compared, 1), (Draw.counted, 1), (Draw.cast, 1), (Draw.running, 1), (Draw.repeated, 1),
    (Draw.diagonal, 1), (Draw.integers, 2), (Draw.counting, 1),
)  # fmt: skip
"""Each family of expressions, and how often it is drawn."""


class Evaluation:
    """Values of Variables by `perform`, each Apply once; perhaps disturbed."""

    def __init__(self, given: dict[Any, np.ndarray], seed: int | None = None) -> None:
        self.values: dict[Any, Any] = dict(given)
        self._rng = None if seed is None else np.random.default_rng(seed)
        # Upwards, downwards, and both ways twice: ties that rounding breaks show themselves.
        self._range = (-1.0, 1.0) if seed is None else ((0, 1), (-1, 0), (-1, 1), (-1, 1))[seed % 4]

    def run(self, outputs: list[Any]) -> list[Any]:
        """The values of `outputs`; raises what an Apply raises."""
        with np.errstate(all="ignore"):
            for node in toposort(outputs, list(self.values)):
                storage: list[list[Any]] = [[None] for _ in node.outputs]
                arguments = [
                    v.data if isinstance(v, Constant) else self.values[v] for v in node.inputs
                ]
                shaken = self._rng is not None and rounds(node)
                if shaken and type(node.op) is not Elemwise:  # sums of terms that may cancel
                    arguments = [self._disturbed(v) for v in arguments]
                node.op.perform(node, arguments, storage)
                for out, cell in zip(node.outputs, storage):
                    self.values[out] = self._disturbed(cell[0]) if shaken else cell[0]
        return [v.data if isinstance(v, Constant) else self.values[v] for v in outputs]

    def _disturbed(self, value: Any) -> Any:
        if self._rng is None or value.dtype.kind != "f":
            return value
        noise = self._rng.uniform(*self._range, size=value.shape) * ULPS * np.finfo(value.dtype).eps
        return (value * (1 + noise)).astype(value.dtype)


def rounds(node: Apply) -> bool:
    """Whether an Op's results are rounded."""
    op: Any = node.op
    if type(op) is Elemwise:
        operation = op.scalar_op
        if type(operation) is scalar.Cast:
            return bool(node.outputs[0].type.dtype == "float32")
        return op.name not in EXACT
    if type(op) is CAReduce:
        return op.scalar_op.name in ("add", "mul")
    return isinstance(op, (Dot, BatchedDot, CumOp, LinearRecurrence)) or type(
        op
    ).__module__.startswith(CrossentropySoftmaxArgmax1Hot.__module__.rpartition(".")[0])


@dataclass
class Graph:
    """Outputs and gradients over inputs, with what is known of their values."""

    inputs: list[Any]
    outputs: list[Any]
    values: list[np.ndarray]
    families: set[str] = field(default_factory=set)
    expected: list[np.ndarray] = field(default_factory=list)
    known_to: list[Any] = field(default_factory=list)
    """For each output the error that is tolerated; None where values are not compared."""


def random_graph(seed: int) -> Graph | None:
    """The graph of a seed with the gradients of a cost made of it; None if nothing came of it."""
    rng = random.Random(seed)
    n = rng.choice([1, 2, 3, 3])
    numbers = np.random.default_rng(seed)
    inputs: list[Any] = [
        T.dmatrix("m"), T.dmatrix("w"), T.dvector("v"), T.dscalar("s"), T.lvector("k"),
        T.lscalar("i"),
    ]  # fmt: skip
    values: list[np.ndarray] = [
        numbers.uniform(-2, 2, size=(n, n)), numbers.uniform(0, 1, size=(n, n)),
        numbers.uniform(-2, 2, size=n), np.array(numbers.uniform(-1, 1)),
        numbers.integers(0, n, size=n), np.array(numbers.integers(0, n)),
    ]  # fmt: skip
    evaluation = Evaluation(dict(zip(inputs, values)))
    draw = Draw(rng, list(inputs), evaluation.values)
    makers, weights = zip(*FAMILIES)
    graph = Graph(inputs, [], values)
    wild = rng.random() < 0.1
    for _ in range(rng.randint(2, 9)):
        maker = rng.choices(makers, weights)[0]
        try:
            made = maker(draw)
            if made is None:
                continue
            value = evaluation.run([made])[0]
        except (TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
            continue
        if made.type.ndim > 3 or value.size > 200:
            continue
        if not wild and not (np.isfinite(value).all() and np.abs(value).max(initial=0) < 1e8):
            continue
        graph.families.add(maker.__name__)
        draw.pool.append(made)
    outputs = draw.pool[len(inputs) :][-3:]
    if not outputs:
        return None
    cost: Any = T.constant(0.0)
    for k, out in enumerate(outputs):
        if out.type.numpy_dtype.kind == "f":
            cost = cost + T.sum(T.tanh(out) * (1.0 + k))
    gradients = kroton.grad(cost, inputs[:4], disconnected_inputs="ignore")
    graph.outputs = [*outputs, *gradients]
    try:
        graph.expected = evaluation.run(graph.outputs)
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    spread = [np.zeros(np.shape(v)) for v in graph.expected]
    comparable = [_is_tame(out, evaluation) for out in graph.outputs]
    for run in range(RUNS):
        try:
            found = Evaluation(dict(zip(inputs, values)), seed * RUNS + run).run(graph.outputs)
        except (ValueError, IndexError, ZeroDivisionError):
            return None
        for k, (a, b) in enumerate(zip(found, graph.expected)):
            if np.shape(a) != np.shape(b):  # as many elements as some condition holds for
                return None
            with np.errstate(all="ignore"):
                spread[k] = np.fmax(spread[k], np.abs(_wide(a) - _wide(b)))
    for b, s, known in zip(graph.expected, spread, comparable):
        eps = np.finfo(b.dtype).eps if b.dtype.kind == "f" else 0.0
        graph.known_to.append(8 * s + 64 * eps * (np.abs(_wide(b)) + 1e-30) if known else None)
    return graph


def _wide(value: Any) -> Any:
    return np.asarray(value, dtype="float64")


def _is_tame(out: Variable, evaluation: Evaluation) -> bool:
    """Whether nothing that `out` depends on is, as written, not finite or very large."""
    for var in ancestors([out]):
        if isinstance(var, Constant) or var not in evaluation.values:
            continue
        value = evaluation.values[var]
        if value.dtype.kind == "f":
            with np.errstate(all="ignore"):
                limit = LARGE if value.dtype == np.float64 else 1e18
                if not np.isfinite(value).all() or np.abs(value).max(initial=0) > limit:
                    return False
    return True


def difference(graph: Graph, found: list[Any]) -> str | None:
    """What is wrong with the values that a function returned; None if nothing is."""
    for k, (a, b, tolerated) in enumerate(zip(found, graph.expected, graph.known_to)):
        a = np.asarray(a)
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {k}: {a.dtype}{a.shape} instead of {b.dtype}{b.shape}"
        if tolerated is None:
            continue
        with np.errstate(all="ignore"):
            wrong = ~(np.abs(_wide(a) - _wide(b)) <= tolerated)
        if wrong.any():
            close = f"known to {tolerated[wrong][:3]}"
            return f"output {k}: {a[wrong][:3]} instead of {b[wrong][:3]}, {close}"
    return None
