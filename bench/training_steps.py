"""Training steps as their authors write them, for any library with the lineage's interface.

Each function takes a `Library` and returns what `function` is called with: inputs, outputs and
updates. `tests/rewriting/test_models.py` shows what Kroton's optimizer makes of them,
`compile_time.py` how long that takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Step = tuple[list[Any], Any, list[tuple[Any, Any]]]


@dataclass(frozen=True)
class Library:
    """Kroton, or a library with the same interface."""

    tensor: Any
    shared: Callable[..., Any]
    grad: Callable[..., Any]
    function: Callable[..., Any]

    @classmethod
    def kroton(cls) -> Library:
        """Kroton itself."""
        import kroton
        import kroton.tensor

        return cls(kroton.tensor, kroton.shared, kroton.tensor.grad, kroton.function)

    @classmethod
    def pytensor(cls) -> Library:
        """PyTensor, if it is installed."""
        import pytensor
        import pytensor.tensor

        return cls(pytensor.tensor, pytensor.shared, pytensor.tensor.grad, pytensor.function)

    def weights(self, name: str, *shape: int) -> Any:
        """A shared variable of small numbers."""
        values = np.random.default_rng(len(name) + sum(shape)).normal(scale=0.1, size=shape)
        return self.shared(values, name=name)

    def descent(self, cost: Any, parameters: list[Any], rate: float) -> list[tuple[Any, Any]]:
        """One step down the gradient."""
        return [(p, p - rate * g) for p, g in zip(parameters, self.grad(cost, parameters))]


def logistic_regression(lib: Library) -> Step:
    """Labels 0 and 1, a bias, L2; the likelihood written out."""
    T = lib.tensor
    x, y = T.dmatrix("x"), T.dvector("y")
    w, b = lib.weights("w", 10), lib.shared(0.0, name="b")
    p = 1 / (1 + T.exp(-T.dot(x, w) - b))
    entropy = -y * T.log(p) - (1 - y) * T.log(1 - p)
    cost = entropy.mean() + 0.01 * (w**2).sum()
    return [x, y], cost, lib.descent(cost, [w, b], 0.1)


def mlp(lib: Library) -> Step:
    """One tanh layer, softmax, the labels' log-likelihood by indexing, L2."""
    T = lib.tensor
    x, y = T.dmatrix("x"), T.lvector("y")
    w1, b1 = lib.weights("w1", 20, 30), lib.weights("b1", 30)
    w2, b2 = lib.weights("w2", 30, 5), lib.weights("b2", 5)
    hidden = T.tanh(T.dot(x, w1) + b1)
    z = T.dot(hidden, w2) + b2
    e = T.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    cost = -T.log(p)[T.arange(y.shape[0]), y].mean()
    cost = cost + 0.01 * ((w1**2).sum() + (w2**2).sum())
    return [x, y], cost, lib.descent(cost, [w1, b1, w2, b2], 0.1)


def batch_normalisation(lib: Library) -> Step:
    """A linear layer, normalised over the batch, scaled and shifted; squared error."""
    T = lib.tensor
    x, y = T.dmatrix("x"), T.dmatrix("y")
    w = lib.weights("w", 20, 30)
    gamma, beta = lib.weights("gamma", 30), lib.weights("beta", 30)
    h = T.dot(x, w)
    mean = h.mean(axis=0)
    variance = ((h - mean) ** 2).mean(axis=0)
    normal = (h - mean) / T.sqrt(variance + 1e-5)
    cost = ((T.tanh(gamma * normal + beta) - y) ** 2).mean()
    return [x, y], cost, lib.descent(cost, [w, gamma, beta], 0.1)


def naive_crossentropy(lib: Library) -> Step:
    """Softmax without a shift, one-hot targets, sums of products with the logarithm."""
    T = lib.tensor
    x, y = T.dmatrix("x"), T.dmatrix("y")
    w, b = lib.weights("w", 20, 5), lib.weights("b", 5)
    e = T.exp(T.dot(x, w) + b)
    p = e / e.sum(axis=1, keepdims=True)
    cost = -(y * T.log(p)).sum(axis=1).mean()
    return [x, y], cost, lib.descent(cost, [w, b], 0.1)


def gaussian(lib: Library) -> Step:
    """The log-density of data under a normal distribution per column."""
    T = lib.tensor
    x = T.dmatrix("x")
    mu, log_sigma = lib.weights("mu", 8), lib.weights("log_sigma", 8)
    sigma = T.exp(log_sigma)
    density = -0.5 * ((x - mu) / sigma) ** 2 - T.log(sigma) - 0.5 * np.log(2 * np.pi)
    cost = -density.sum(axis=1).mean()
    return [x], cost, lib.descent(cost, [mu, log_sigma], 0.1)


def mixture(lib: Library) -> Step:
    """A mixture of normal distributions: log of a sum of exponentials, as in the textbook."""
    T = lib.tensor
    x = T.dvector("x")
    mu, log_sigma = lib.weights("mu", 4), lib.weights("log_sigma", 4)
    logits = lib.weights("logits", 4)
    weights = T.exp(logits) / T.exp(logits).sum()
    standard = (x.dimshuffle(0, "x") - mu) / T.exp(log_sigma)
    parts = T.log(weights) - 0.5 * standard**2 - log_sigma - 0.5 * np.log(2 * np.pi)
    cost = -T.log(T.exp(parts).sum(axis=1)).mean()
    return [x], cost, lib.descent(cost, [mu, log_sigma, logits], 0.1)


def attention(lib: Library) -> Step:
    """One head of self-attention over a sequence, with a residual; squared error."""
    T = lib.tensor
    x, y = T.dmatrix("x"), T.dmatrix("y")
    wq, wk = lib.weights("wq", 16, 8), lib.weights("wk", 16, 8)
    wv, wo = lib.weights("wv", 16, 8), lib.weights("wo", 8, 16)
    q, k, v = T.dot(x, wq), T.dot(x, wk), T.dot(x, wv)
    scores = T.dot(q, k.T) / np.sqrt(8.0)
    e = T.exp(scores - scores.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    out = x + T.dot(T.dot(p, v), wo)
    cost = ((out - y) ** 2).mean()
    return [x, y], cost, lib.descent(cost, [wq, wk, wv, wo], 0.1)


MODELS: dict[str, Callable[[Library], Step]] = {
    "logistic_regression": logistic_regression,
    "mlp": mlp,
    "batch_normalisation": batch_normalisation,
    "naive_crossentropy": naive_crossentropy,
    "gaussian": gaussian,
    "mixture": mixture,
    "attention": attention,
}
"""Each model by name."""


def _normal(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(scale=0.1, size=shape)


DATA: dict[str, Callable[[], list[Any]]] = {
    "logistic_regression": lambda: [_normal(64, 10), np.ones(64)],
    "mlp": lambda: [_normal(64, 20), np.arange(64) % 5],
    "batch_normalisation": lambda: [_normal(64, 20), _normal(64, 30)],
    "naive_crossentropy": lambda: [_normal(64, 20), np.eye(5)[np.arange(64) % 5]],
    "gaussian": lambda: [_normal(64, 8)],
    "mixture": lambda: [_normal(64)],
    "attention": lambda: [_normal(64, 16), _normal(64, 16)],
}
"""Arguments for one step of each model."""
