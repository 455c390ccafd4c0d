"""The same work for each library: elementwise expressions, softmax, two training steps.

Each method of an engine prepares everything and returns a callable without arguments that does
the work once and waits for it. Preparing and calling once is what "first result" measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import kroton
import kroton.tensor as T

Work = Callable[[], Any]


@dataclass(frozen=True)
class Expression:
    """An elementwise expression of two arrays, in Python's notation; `m` has the functions."""

    text: str

    def on(self, m: Any, a: Any, b: Any) -> Any:
        """The expression with the functions of the module `m`."""
        return eval(self.text, {"m": m, "a": a, "b": b, "abs": abs})


EXPRESSIONS = {
    "a*a+b*b+2*a*b-3": Expression("a*a + b*b + 2*a*b - 3"),
    "b/(1+exp(-a))": Expression("b / (1 + m.exp(-a))"),
    "tanh(a/2)exp(-b^2)+log1p(exp(a))-sqrt(|b|+1)": Expression(
        "m.tanh(a/2) * m.exp(-b**2) + m.log1p(m.exp(a)) - m.sqrt(abs(b) + 1)"
    ),
}


@dataclass(frozen=True)
class Logistic:
    """Binary logistic regression with weight decay: `rows` examples of `features` numbers."""

    rows: int = 4
    features: int = 10
    rate: float = 0.1
    decay: float = 0.01

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Examples and labels."""
        rng = np.random.default_rng(0)
        return rng.normal(size=(self.rows, self.features)), rng.integers(0, 2, self.rows) * 1.0


@dataclass(frozen=True)
class Perceptron:
    """A network with one sigmoid layer and a softmax: 784-500-10, batches of 20, float32."""

    sizes: tuple[int, int, int] = (784, 500, 10)
    batch: int = 20
    rate: float = 0.1

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Examples and labels."""
        rng = np.random.default_rng(0)
        x = rng.random((self.batch, self.sizes[0]), "float32")
        return x, rng.integers(0, self.sizes[2], self.batch)

    def parameters(self) -> list[np.ndarray]:
        """Weights and biases of both layers."""
        rng = np.random.default_rng(1)
        n, hidden, classes = self.sizes
        return [
            (rng.normal(size=(n, hidden)) * n**-0.5).astype("float32"),
            np.zeros(hidden, "float32"),
            (rng.normal(size=(hidden, classes)) * hidden**-0.5).astype("float32"),
            np.zeros(classes, "float32"),
        ]


class Engine(Protocol):
    """What is compared; a method that returns None says that the library has no such thing."""

    name: str

    def scale(self, x: np.ndarray) -> Work | None:
        """One call of `10 * x`."""

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work | None:
        """One evaluation into a fresh array."""

    def softmax(self, x: np.ndarray) -> Work | None:
        """The softmax of each row."""

    def logistic(self, model: Logistic) -> Work | None:
        """One training step, with the gradient derived by the library."""

    def perceptron(self, model: Perceptron) -> Work | None:
        """One training step, with the gradient derived by the library."""


class Kroton:
    """This library."""

    name = "kroton"

    def scale(self, x: np.ndarray) -> Work:
        v = T.dvector("x")
        f = kroton.function([v], 10 * v)
        return lambda: f(x)

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        va, vb = T.vector("a", dtype=a.dtype), T.vector("b", dtype=b.dtype)
        f = kroton.function([va, vb], expression.on(T, va, vb))
        return lambda: f(a, b)

    def softmax(self, x: np.ndarray) -> Work:
        v = T.matrix("x", dtype=x.dtype)
        f = kroton.function([v], T.nnet.softmax(v))
        return lambda: f(x)

    def logistic(self, model: Logistic) -> Work:
        data_x, data_y = model.data()
        x, y = T.dmatrix("x"), T.dvector("y")
        w = kroton.shared(np.zeros(model.features), name="w")
        b = kroton.shared(0.0, name="b")
        p = 1 / (1 + T.exp(-T.dot(x, w) - b))
        entropy = -y * T.log(p) - (1 - y) * T.log(1 - p)
        cost = entropy.mean() + model.decay * (w**2).sum()
        gw, gb = T.grad(cost, [w, b])
        f = kroton.function(
            [x, y], cost, updates=[(w, w - model.rate * gw), (b, b - model.rate * gb)]
        )
        return lambda: f(data_x, data_y)

    def perceptron(self, model: Perceptron) -> Work:
        data_x, data_y = model.data()
        x, y = T.fmatrix("x"), T.lvector("y")
        parameters = [kroton.shared(p) for p in model.parameters()]
        w1, b1, w2, b2 = parameters
        hidden = T.nnet.sigmoid(x @ w1 + b1)
        cost = T.nnet.categorical_crossentropy(T.nnet.softmax(hidden @ w2 + b2), y).mean()
        gradients = T.grad(cost, parameters)
        updates = [(p, p - model.rate * g) for p, g in zip(parameters, gradients)]
        f = kroton.function([x, y], cost, updates=updates)
        return lambda: f(data_x, data_y)


class NumPy:
    """NumPy, with the gradients written by hand."""

    name = "numpy"

    def scale(self, x: np.ndarray) -> Work:
        return lambda: 10 * x

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        code = compile(expression.text, "expression", "eval")
        names = {"m": np, "a": a, "b": b, "abs": np.abs}
        return lambda: eval(code, names)

    def softmax(self, x: np.ndarray) -> Work:
        def work() -> np.ndarray:
            e = np.exp(x - x.max(axis=1, keepdims=True))
            e /= e.sum(axis=1, keepdims=True)
            return e

        return work

    def logistic(self, model: Logistic) -> Work:
        x, y = model.data()
        w, b = np.zeros(model.features), 0.0

        def work() -> float:
            nonlocal w, b
            p = 1 / (1 + np.exp(-x @ w - b))
            entropy = -y * np.log(p) - (1 - y) * np.log(1 - p)
            cost = entropy.mean() + model.decay * (w**2).sum()
            error = (p - y) / len(y)
            w = w - model.rate * (error @ x + 2 * model.decay * w)
            b = b - model.rate * error.sum()
            return cost

        return work

    def perceptron(self, model: Perceptron) -> Work:
        x, y = model.data()
        w1, b1, w2, b2 = model.parameters()
        rows = np.arange(model.batch)

        def work() -> float:
            hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
            z = hidden @ w2 + b2
            e = np.exp(z - z.max(axis=1, keepdims=True))
            p = e / e.sum(axis=1, keepdims=True)
            cost = -np.log(p[rows, y]).mean()
            p[rows, y] -= 1
            p /= model.batch
            back = p @ w2.T * hidden * (1 - hidden)
            for parameter, gradient in (
                (w2, hidden.T @ p), (b2, p.sum(axis=0)), (w1, x.T @ back), (b1, back.sum(axis=0)),
            ):  # fmt: skip
                gradient *= model.rate
                parameter -= gradient
            return cost

        return work
