"""The same work for libraries that may be installed; none of them is required."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from engines import Engine, Expression, Logistic, Perceptron, Work


def installed() -> list[Engine]:
    """An engine for each peer that is installed here."""
    found: list[Engine] = []
    for module, engine in (
        ("pytensor", PyTensor), ("jax", Jax), ("torch", Torch), ("numexpr", NumExpr),
    ):  # fmt: skip
        if importlib.util.find_spec(module) is not None:
            found.append(engine())
    return found


class PyTensor:
    """PyTensor in its default mode."""

    name = "pytensor"

    def __init__(self) -> None:
        import pytensor
        import pytensor.tensor as pt

        self.pytensor, self.pt = pytensor, pt

    def scale(self, x: np.ndarray) -> Work:
        v = self.pt.dvector("x")
        f = self.pytensor.function([v], 10 * v)
        return lambda: f(x)

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        va, vb = self.pt.vector("a", dtype=str(a.dtype)), self.pt.vector("b", dtype=str(b.dtype))
        f = self.pytensor.function([va, vb], expression.on(self.pt, va, vb))
        return lambda: f(a, b)

    def softmax(self, x: np.ndarray) -> Work:
        v = self.pt.matrix("x", dtype=str(x.dtype))
        f = self.pytensor.function([v], self.pt.special.softmax(v, axis=1))
        return lambda: f(x)

    def logistic(self, model: Logistic) -> Work:
        pt, shared = self.pt, self.pytensor.shared
        data_x, data_y = model.data()
        x, y = pt.dmatrix("x"), pt.dvector("y")
        w, b = shared(np.zeros(model.features), name="w"), shared(0.0, name="b")
        p = 1 / (1 + pt.exp(-pt.dot(x, w) - b))
        entropy = -y * pt.log(p) - (1 - y) * pt.log(1 - p)
        cost = entropy.mean() + model.decay * (w**2).sum()
        gw, gb = pt.grad(cost, [w, b])
        updates = [(w, w - model.rate * gw), (b, b - model.rate * gb)]
        f = self.pytensor.function([x, y], cost, updates=updates)
        return lambda: f(data_x, data_y)

    def perceptron(self, model: Perceptron) -> Work:
        pt = self.pt
        data_x, data_y = model.data()
        x, y = pt.fmatrix("x"), pt.lvector("y")
        parameters = [self.pytensor.shared(p) for p in model.parameters()]
        w1, b1, w2, b2 = parameters
        hidden = pt.sigmoid(x @ w1 + b1)
        logp = pt.special.log_softmax(hidden @ w2 + b2, axis=1)
        cost = -logp[pt.arange(y.shape[0]), y].mean()
        gradients = pt.grad(cost, parameters)
        rate = np.float32(model.rate)
        f = self.pytensor.function(
            [x, y],
            cost,
            updates=[(p, (p - rate * g).astype("float32")) for p, g in zip(parameters, gradients)],
        )
        return lambda: f(data_x, data_y)


class Jax:
    """JAX under jit, with double precision switched on."""

    name = "jax"

    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.jax, self.jnp = jax, jnp

    def _wait(self, f: Any, *arrays: Any) -> Work:
        compiled = self.jax.jit(f)
        values = [self.jnp.asarray(v) for v in arrays]
        return lambda: compiled(*values).block_until_ready()

    def scale(self, x: np.ndarray) -> Work:
        return self._wait(lambda v: 10 * v, x)

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        return self._wait(lambda va, vb: expression.on(self.jnp, va, vb), a, b)

    def softmax(self, x: np.ndarray) -> Work:
        return self._wait(lambda v: self.jax.nn.softmax(v, axis=1), x)

    def _training(self, cost: Any, parameters: list[Any], rate: float, data: Any) -> Work:
        jax = self.jax

        def step(p: list[Any], x: Any, y: Any) -> tuple[Any, list[Any]]:
            value, gradients = jax.value_and_grad(cost)(p, x, y)
            return value, [v - rate * g for v, g in zip(p, gradients)]

        compiled = jax.jit(step)
        x, y = (self.jnp.asarray(v) for v in data)
        state = [self.jnp.asarray(p) for p in parameters]

        def work() -> Any:
            nonlocal state
            value, state = compiled(state, x, y)
            state[0].block_until_ready()
            return value.block_until_ready()

        return work

    def logistic(self, model: Logistic) -> Work:
        jnp = self.jnp

        def cost(parameters: list[Any], x: Any, y: Any) -> Any:
            w, b = parameters
            p = 1 / (1 + jnp.exp(-x @ w - b))
            entropy = -y * jnp.log(p) - (1 - y) * jnp.log(1 - p)
            return entropy.mean() + model.decay * (w**2).sum()

        return self._training(cost, [np.zeros(model.features), 0.0], model.rate, model.data())

    def perceptron(self, model: Perceptron) -> Work:
        jax, jnp = self.jax, self.jnp

        def cost(parameters: list[Any], x: Any, y: Any) -> Any:
            w1, b1, w2, b2 = parameters
            logp = jax.nn.log_softmax(jax.nn.sigmoid(x @ w1 + b1) @ w2 + b2)
            return -logp[jnp.arange(y.shape[0]), y].mean()

        return self._training(cost, model.parameters(), model.rate, model.data())


class Torch:
    """PyTorch, eager."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def scale(self, x: np.ndarray) -> Work:
        v = self.torch.from_numpy(x)
        return lambda: 10 * v

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        va, vb = self.torch.from_numpy(a), self.torch.from_numpy(b)
        code = compile(expression.text, "expression", "eval")
        names = {"m": self.torch, "a": va, "b": vb, "abs": abs}
        return lambda: eval(code, names)

    def softmax(self, x: np.ndarray) -> Work:
        v = self.torch.from_numpy(x)
        return lambda: self.torch.softmax(v, 1)

    def _training(self, cost: Any, parameters: list[Any], rate: float, data: Any) -> Work:
        torch = self.torch
        x, y = (torch.from_numpy(v) for v in data)
        state = [torch.tensor(p, requires_grad=True) for p in parameters]

        def work() -> Any:
            value = cost(state, x, y)
            gradients = torch.autograd.grad(value, state)
            with torch.no_grad():
                for p, g in zip(state, gradients):
                    p -= rate * g
            return value

        return work

    def logistic(self, model: Logistic) -> Work:
        torch = self.torch

        def cost(parameters: list[Any], x: Any, y: Any) -> Any:
            w, b = parameters
            p = 1 / (1 + torch.exp(-x @ w - b))
            entropy = -y * torch.log(p) - (1 - y) * torch.log(1 - p)
            return entropy.mean() + model.decay * (w**2).sum()

        parameters = [np.zeros(model.features), np.zeros(())]
        return self._training(cost, parameters, model.rate, model.data())

    def perceptron(self, model: Perceptron) -> Work:
        torch = self.torch

        def cost(parameters: list[Any], x: Any, y: Any) -> Any:
            w1, b1, w2, b2 = parameters
            return torch.nn.functional.cross_entropy(torch.sigmoid(x @ w1 + b1) @ w2 + b2, y)

        return self._training(cost, model.parameters(), model.rate, model.data())


class NumExpr:
    """numexpr: elementwise expressions only."""

    name = "numexpr"

    def __init__(self) -> None:
        import numexpr

        self.numexpr = numexpr

    def elementwise(self, expression: Expression, a: np.ndarray, b: np.ndarray) -> Work:
        text = expression.text.replace("m.", "")
        names = {"a": a, "b": b}
        return lambda: self.numexpr.evaluate(text, local_dict=names)

    def scale(self, x: np.ndarray) -> Work:
        names = {"x": x}
        return lambda: self.numexpr.evaluate("10 * x", local_dict=names)

    def softmax(self, x: np.ndarray) -> None:
        return None

    def logistic(self, model: Logistic) -> None:
        return None

    def perceptron(self, model: Perceptron) -> None:
        return None
