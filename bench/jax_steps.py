"""The costs of `training_steps.py` for JAX: a cost, its parameters and data, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

Work = tuple[Callable[..., Any], list[Any], list[Any]]


def _normal(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(sum(shape)).normal(scale=0.1, size=shape))


def logistic_regression() -> Work:
    """Labels 0 and 1, a bias, L2."""

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        w, b = parameters
        p = 1 / (1 + jnp.exp(-x @ w - b))
        return (-y * jnp.log(p) - (1 - y) * jnp.log(1 - p)).mean() + 0.01 * (w**2).sum()

    return cost, [_normal(10), jnp.asarray(0.0)], [_normal(64, 10), jnp.ones(64)]


def mlp() -> Work:
    """One tanh layer, softmax, the labels' log-likelihood by indexing, L2."""

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        w1, b1, w2, b2 = parameters
        z = jnp.tanh(x @ w1 + b1) @ w2 + b2
        e = jnp.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        value = -jnp.log(p)[jnp.arange(y.shape[0]), y].mean()
        return value + 0.01 * ((w1**2).sum() + (w2**2).sum())

    labels = jnp.asarray(np.arange(64) % 5)
    parameters = [_normal(20, 30), _normal(30), _normal(30, 5), _normal(5)]
    return cost, parameters, [_normal(64, 20), labels]


def batch_normalisation() -> Work:
    """A linear layer, normalised over the batch, scaled and shifted; squared error."""

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        w, gamma, beta = parameters
        h = x @ w
        mean = h.mean(axis=0)
        variance = ((h - mean) ** 2).mean(axis=0)
        normal = (h - mean) / jnp.sqrt(variance + 1e-5)
        return ((jnp.tanh(gamma * normal + beta) - y) ** 2).mean()

    parameters = [_normal(20, 30), _normal(30), _normal(30)]
    return cost, parameters, [_normal(64, 20), _normal(64, 30)]


def naive_crossentropy() -> Work:
    """Softmax without a shift, one-hot targets."""

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        w, b = parameters
        e = jnp.exp(x @ w + b)
        p = e / e.sum(axis=1, keepdims=True)
        return -(y * jnp.log(p)).sum(axis=1).mean()

    return cost, [_normal(20, 5), _normal(5)], [_normal(64, 20), jnp.eye(5)[np.arange(64) % 5]]


def gaussian() -> Work:
    """The log-density of data under a normal distribution per column."""

    def cost(parameters: Any, x: Any) -> Any:
        mu, log_sigma = parameters
        sigma = jnp.exp(log_sigma)
        density = -0.5 * ((x - mu) / sigma) ** 2 - jnp.log(sigma) - 0.5 * np.log(2 * np.pi)
        return -density.sum(axis=1).mean()

    return cost, [_normal(8), _normal(8)], [_normal(64, 8)]


def mixture() -> Work:
    """A mixture of normal distributions."""

    def cost(parameters: Any, x: Any) -> Any:
        mu, log_sigma, logits = parameters
        weights = jnp.exp(logits) / jnp.exp(logits).sum()
        standard = (x[:, None] - mu) / jnp.exp(log_sigma)
        parts = jnp.log(weights) - 0.5 * standard**2 - log_sigma - 0.5 * np.log(2 * np.pi)
        return -jnp.log(jnp.exp(parts).sum(axis=1)).mean()

    return cost, [_normal(4), _normal(4), _normal(4)], [_normal(64)]


def attention() -> Work:
    """One head of self-attention over a sequence, with a residual; squared error."""

    def cost(parameters: Any, x: Any, y: Any) -> Any:
        wq, wk, wv, wo = parameters
        q, k, v = x @ wq, x @ wk, x @ wv
        scores = q @ k.T / np.sqrt(8.0)
        e = jnp.exp(scores - scores.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return ((x + p @ v @ wo - y) ** 2).mean()

    parameters = [_normal(16, 8), _normal(16, 8), _normal(16, 8), _normal(8, 16)]
    return cost, parameters, [_normal(64, 16), _normal(64, 16)]


STEPS: dict[str, Callable[[], Work]] = {
    "logistic_regression": logistic_regression,
    "mlp": mlp,
    "batch_normalisation": batch_normalisation,
    "naive_crossentropy": naive_crossentropy,
    "gaussian": gaussian,
    "mixture": mixture,
    "attention": attention,
}
"""Each model by name."""
