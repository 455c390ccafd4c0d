"""Activations: functions of single elements."""

from __future__ import annotations

from typing import Any

import kroton.tensor as T
from kroton.tensor.constant import as_tensor_variable

__all__ = ["elu", "hard_sigmoid", "relu", "selu", "sigmoid", "softplus", "softsign", "tanh"]


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return T.sigmoid(x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return T.softplus(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return T.tanh(x)


def softsign(x: Any) -> Any:
    """x / (1 + abs(x))"""
    v = as_tensor_variable(x)
    return v / (1.0 + abs(v))


def hard_sigmoid(x: Any) -> Any:
    """A piecewise linear approximation of the sigmoid: 0.2 x + 0.5, limited to 0 and 1."""
    return T.clip(as_tensor_variable(x) * 0.2 + 0.5, 0.0, 1.0)


def relu(x: Any, alpha: Any = 0) -> Any:
    """The rectifier: x where x > 0, elsewhere alpha x.

    Parameters
    ----------
    x : tensor
    alpha : number or tensor
        The slope for negative x: 0, a small number (leaky), or one to be learned
        (parametric). Broadcast with `x`.
    """
    v = as_tensor_variable(x)
    if isinstance(alpha, (int, float)) and alpha == 0:
        return T.maximum(v, 0)
    return T.switch(v > 0, v, alpha * v)


def elu(x: Any, alpha: Any = 1) -> Any:
    """The exponential linear unit: x where x > 0, elsewhere alpha (exp(x) - 1).

    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", 2016.
    """
    v = as_tensor_variable(x)
    # The branch that is not taken must not overflow: its gradient would be 0 times infinity.
    return T.switch(v > 0, v, alpha * T.expm1(T.minimum(v, 0)))


def selu(x: Any) -> Any:
    """The scaled exponential linear unit, which keeps mean 0 and variance 1.

    Klambauer, Unterthiner, Mayr and Hochreiter, "Self-normalizing neural networks", 2017.
    """
    return 1.0507009873554805 * elu(x, 1.6732632423543772)
