"""The rows of the table of accuracy in the manual: expressions that lose their value as written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.rewriting import stabilize

mp = mpmath.mp.clone()
mp.prec = 4000

PLAIN = Mode("py", None)
SMALLEST = float(np.finfo(np.float64).tiny)
FAST = Mode("c|py", "fast_run")


@dataclass(frozen=True)
class Row:
    """An expression, and an argument at which evaluating it as it is written goes wrong."""

    text: str
    """As somebody would write it."""
    build: Callable[..., Any]
    """The expression of a vector `x`, or of a matrix `x` and, if there are any, labels `y`."""
    truth: Callable[[list[Any]], list[Any]]
    """The same by mpmath: all results from the vector, or from the only row of the matrix."""
    at: tuple[float, ...]
    """The value of `x`."""
    shown: int = 0
    """Which element of result and gradient the table shows."""
    labels: tuple[int, ...] = ()
    rows: bool = False
    """Whether `x` is a matrix (of one row) even without labels."""
    gradient: bool = True
    """Whether the row shows the gradient of the sum of all results as well."""


def each(function: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    """`function` applied to every element."""
    return lambda values: [function(v) for v in values]


def logsumexp(values: list[Any]) -> Any:
    """The logarithm of the sum of exponentials."""
    return mp.log(mp.fsum(mp.exp(v) for v in values))


def softmax(values: list[Any]) -> list[Any]:
    """exp(x) / sum(exp(x))"""
    total = mp.fsum(mp.exp(v) for v in values)
    return [mp.exp(v) / total for v in values]


def logsoftmax(values: list[Any]) -> list[Any]:
    """x - logsumexp(x)"""
    total = logsumexp(values)
    return [v - total for v in values]


def _guarded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`function` of positive numbers, and zero for the others."""
    return lambda x: function(x) if x > 0 else mp.mpf(0)


def _by_hand(x: Any) -> Any:
    e = T.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def _likelihood(p: Any, y: Any) -> Any:
    return -T.log(p)[T.arange(y.shape[0]), y]


def _hot(x: Any, y: Any) -> Any:
    return T.eq(y[:, None], T.arange(x.shape[1]))


def _back(of: Callable[..., Any]) -> Callable[..., Any]:
    """What is passed back to `x`, summed along rows."""
    return lambda x, *y: T.grad(T.sum(of(x, *y)), x).sum(axis=1)


def _entropy(p: Any) -> Any:
    return (p * T.log(p)).sum(axis=1)


def _both(x: Any, y: Any) -> Any:
    p = T.nnet.softmax(x)
    return T.nnet.categorical_crossentropy(p, y) + T.log(p).sum(axis=1)


def _penalty(x: Any, y: Any) -> Any:
    p = T.nnet.softmax(x)
    return _likelihood(p, y) + (p**2).sum(axis=1)


WEIGHTS = np.array([3.0, 1.0, 0.7])
CHOSEN = np.array([1.0, 1.0, 0.0])

ROWS: list[Row] = [
    # ---- next to 1 and next to 0
    Row("log(1 + x)", lambda x: T.log(1 + x), each(lambda x: mp.log(1 + x)), (1e-20,)),
    Row("log(1 - x)", lambda x: T.log(1 - x), each(lambda x: mp.log(1 - x)), (1e-20,)),
    Row("exp(x) - 1", lambda x: T.exp(x) - 1, each(mp.expm1), (1e-20,)),
    Row("-1 + exp(x)", lambda x: -1 + T.exp(x), each(mp.expm1), (1e-20,)),
    Row("1 - exp(x)", lambda x: 1 - T.exp(x), each(lambda x: -mp.expm1(x)), (-1e-18,)),
    Row("3*exp(x) - 3", lambda x: 3 * T.exp(x) - 3, each(lambda x: 3 * mp.expm1(x)), (1e-20,)),
    Row("2 - 2*exp(x)", lambda x: 2 - 2 * T.exp(x), each(lambda x: -2 * mp.expm1(x)), (1e-20,)),
    Row("x - 1 + exp(x)", lambda x: x - 1 + T.exp(x), each(lambda x: x + mp.expm1(x)), (1e-20,)),
    Row("1 - cos(x)", lambda x: 1 - T.cos(x), each(lambda x: 2 * mp.sin(x / 2) ** 2), (1e-10,)),
    Row("cosh(x) - 1", lambda x: T.cosh(x) - 1, each(lambda x: 2 * mp.sinh(x / 2) ** 2), (1e-10,)),
    Row("log2(1 + x)", lambda x: T.log2(1 + x), each(lambda x: mp.log(1 + x, 2)), (1e-20,)),
    Row("log2(1 - x)", lambda x: T.log2(1 - x), each(lambda x: mp.log(1 - x, 2)), (1e-20,)),
    Row("log10(1 + x)", lambda x: T.log10(1 + x), each(lambda x: mp.log10(1 + x)), (1e-20,)),
    Row("log10(1 - x)", lambda x: T.log10(1 - x), each(lambda x: mp.log10(1 - x)), (1e-20,)),
    Row("log(sqrt(1 + x))", lambda x: T.log(T.sqrt(1 + x)), each(lambda x: mp.log(1 + x) / 2),
        (1e-20,)),
    Row("log(sqrt(exp(x)))", lambda x: T.log(T.sqrt(T.exp(x))), each(lambda x: x / 2), (1000.0,)),
    Row("log1p(expm1(x))", lambda x: T.log1p(T.expm1(x)), each(lambda x: x), (1000.0,)),
    Row("log(exp(x))", lambda x: T.log(T.exp(x)), each(lambda x: x), (-1000.0,)),
    # ---- logistic function, softplus, logaddexp
    Row("log(1 + exp(x))", lambda x: T.log(1 + T.exp(x)),
        each(lambda x: mp.log(1 + mp.exp(x))), (1000.0,)),
    Row("log(1 + exp(x))", lambda x: T.log(1 + T.exp(x)),
        each(lambda x: mp.log(1 + mp.exp(x))), (-100.0,)),
    Row("1/(1 + exp(-x))", lambda x: 1 / (1 + T.exp(-x)),
        each(lambda x: 1 / (1 + mp.exp(-x))), (-400.0,)),
    Row("exp(x)/(1 + exp(x))", lambda x: T.exp(x) / (1 + T.exp(x)),
        each(lambda x: 1 / (1 + mp.exp(-x))), (710.0,)),
    Row("3*exp(x)/(1 + exp(x))", lambda x: T.exp(x) / (1 + T.exp(x)) * 3,
        each(lambda x: 3 / (1 + mp.exp(-x))), (710.0,)),
    Row("1 - sigmoid(x)", lambda x: 1 - T.nnet.sigmoid(x),
        each(lambda x: 1 / (1 + mp.exp(x))), (50.0,)),
    Row("log(sigmoid(x))", lambda x: T.log(T.nnet.sigmoid(x)),
        each(lambda x: -mp.log(1 + mp.exp(-x))), (-1000.0,)),
    Row("log(1 - sigmoid(x))", lambda x: T.log(1 - T.nnet.sigmoid(x)),
        each(lambda x: -mp.log(1 + mp.exp(x))), (900.0,)),
    Row("log1p(-sigmoid(x))", lambda x: T.log1p(-T.nnet.sigmoid(x)),
        each(lambda x: -mp.log(1 + mp.exp(x))), (900.0,)),
    Row("log(1 - 1/(1 + exp(-x)))", lambda x: T.log(1 - 1 / (1 + T.exp(-x))),
        each(lambda x: -mp.log(1 + mp.exp(x))), (900.0,)),
    Row("log(exp(x) + exp(-x))", lambda x: T.log(T.exp(x) + T.exp(-x)),
        each(lambda x: mp.log(mp.exp(x) + mp.exp(-x))), (900.0,)),
    Row("1/(1 + 2*exp(-x))", lambda x: 1 / (1 + 2 * T.exp(-x)),
        each(lambda x: 1 / (1 + 2 * mp.exp(-x))), (-800.0,)),
    Row("1/(1 + 1/exp(x))", lambda x: 1 / (1 + 1 / T.exp(x)),
        each(lambda x: 1 / (1 + mp.exp(-x))), (-800.0,)),
    Row("1/(1 + 2/exp(x))", lambda x: 1 / (1 + 2 / T.exp(x)),
        each(lambda x: 1 / (1 + 2 * mp.exp(-x))), (-800.0,)),
    Row("1/(exp(x) - 1)", lambda x: 1 / (T.exp(x) - 1), each(lambda x: 1 / mp.expm1(x)), (800.0,)),
    Row("1 - exp(-exp(x))", lambda x: 1 - T.exp(-T.exp(x)),
        each(lambda x: -mp.expm1(-mp.exp(x))), (800.0,)),
    Row("1/(1 + exp(x))**2", lambda x: 1 / (1 + T.exp(x)) ** 2,
        each(lambda x: 1 / (1 + mp.exp(x)) ** 2), (300.0,)),
    Row("exp(x)*exp(-x)", lambda x: T.exp(x) * T.exp(-x), each(lambda x: 1 + 0 * x), (800.0,)),
    Row("exp(x)/(1 + exp(x))**2", lambda x: T.exp(x) / (1 + T.exp(x)) ** 2,
        each(lambda x: mp.exp(x) / (1 + mp.exp(x)) ** 2), (800.0,)),
    Row("exp(x)/(1 + exp(x))**2", lambda x: T.exp(x) / (1 + T.exp(x)) ** 2,
        each(lambda x: mp.exp(x) / (1 + mp.exp(x)) ** 2), (1e-20,)),
    Row("log(s/(1 - s)) with s = sigmoid(x)",
        lambda x: T.log(T.sigmoid(x) / (1 - T.sigmoid(x))), each(lambda x: x), (1e-20,)),
    Row("log(s*(1 - s)) with s = sigmoid(x)",
        lambda x: T.log(T.sigmoid(x) * (1 - T.sigmoid(x))),
        each(lambda x: -mp.log(1 + mp.exp(-x)) - mp.log(1 + mp.exp(x))), (-800.0,)),
    Row("log(s*(1 - s)) with s = sigmoid(x)",
        lambda x: T.log(T.sigmoid(x) * (1 - T.sigmoid(x))),
        each(lambda x: -mp.log(1 + mp.exp(-x)) - mp.log(1 + mp.exp(x))), (1e-20,)),
    Row("sigmoid(-x) - sigmoid(x)", lambda x: T.sigmoid(-x) - T.sigmoid(x),
        each(lambda x: mp.tanh(-x / 2)), (1e-20,)),
    Row("sigmoid(x) - sigmoid(-x)", lambda x: T.sigmoid(x) - T.sigmoid(-x),
        each(lambda x: mp.tanh(x / 2)), (1e-20,)),
    Row("log(sigmoid(x)**2)", lambda x: T.log(T.sigmoid(x) ** 2),
        each(lambda x: -2 * mp.log(1 + mp.exp(-x))), (-800.0,)),
    Row("log(sigmoid(x)**1.5)", lambda x: T.log(T.sigmoid(x) ** 1.5),
        each(lambda x: -1.5 * mp.log(1 + mp.exp(-x))), (-800.0,)),
    Row("log(exp(-x)/(1 + exp(-x)))", lambda x: T.log(T.exp(-x) / (1 + T.exp(-x))),
        each(lambda x: -mp.log(1 + mp.exp(x))), (-300.0,)),
    Row("log(1 + 2*exp(x))", lambda x: T.log(1 + 2 * T.exp(x)),
        each(lambda x: mp.log(1 + 2 * mp.exp(x))), (800.0,)),
    Row("log((exp(x) + exp(-x))/2)", lambda x: T.log((T.exp(x) + T.exp(-x)) / 2),
        each(lambda x: mp.log(mp.cosh(x))), (-800.0,)),
    Row("log(exp(x) + exp(2*x) + exp(3*x))",
        lambda x: T.log(T.exp(x) + T.exp(2 * x) + T.exp(3 * x)),
        each(lambda x: mp.log(mp.exp(x) + mp.exp(2 * x) + mp.exp(3 * x))), (-800.0,)),
    Row("log(exp(x) - 1)", lambda x: T.log(T.exp(x) - 1), each(lambda x: mp.log(mp.expm1(x))),
        (800.0,)),
    Row("log(cosh(x))", lambda x: T.log(T.cosh(x)), each(lambda x: mp.log(mp.cosh(x))), (-800.0,)),
    Row("log(sinh(x))", lambda x: T.log(T.sinh(x)), each(lambda x: mp.log(mp.sinh(x))), (800.0,)),
    # ---- the hyperbolic tangent
    Row("0.5*(1 + tanh(0.5*x))", lambda x: 0.5 * (1 + T.tanh(0.5 * x)),
        each(lambda x: 1 / (1 + mp.exp(-x))), (-100.0,)),
    Row("1 - tanh(x)", lambda x: 1 - T.tanh(x), each(lambda x: 2 / (1 + mp.exp(2 * x))), (40.0,)),
    Row("1 - tanh(x)**2", lambda x: 1 - T.tanh(x) ** 2, each(lambda x: 1 - mp.tanh(x) ** 2),
        (20.0,), gradient=False),
    Row("1 - sqr(tanh(x))", lambda x: 1 - T.sqr(T.tanh(x)), each(lambda x: 1 - mp.tanh(x) ** 2),
        (20.0,), gradient=False),
    Row("2*sigmoid(2*x) - 1", lambda x: 2 * T.sigmoid(2 * x) - 1, each(mp.tanh), (1e-20,)),
    Row("2/(1 + exp(-2*x)) - 1", lambda x: 2 / (1 + T.exp(-2 * x)) - 1, each(mp.tanh), (1e-20,)),
    Row("1 - 2/(1 + exp(2*x))", lambda x: 1 - 2 / (1 + T.exp(2 * x)), each(mp.tanh), (1e-20,)),
    Row("sinh(x)/cosh(x)", lambda x: T.sinh(x) / T.cosh(x), each(mp.tanh), (800.0,)),
    Row("(exp(x) - exp(-x))/(exp(x) + exp(-x))",
        lambda x: (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x)), each(mp.tanh), (1e-17,)),
    Row("(exp(x) - exp(-x))/(exp(x) + exp(-x))",
        lambda x: (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x)), each(mp.tanh), (1000.0,)),
    Row("(exp(x) - exp(-x))/(exp(x) + exp(-x))",
        lambda x: (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x)), each(mp.tanh), (-40.0,)),
    Row("(exp(2*x) - 1)/(exp(2*x) + 1)", lambda x: (T.exp(2 * x) - 1) / (T.exp(2 * x) + 1),
        each(mp.tanh), (1e-17,)),
    Row("(1 - exp(-2*x))/(1 + exp(-2*x))", lambda x: (1 - T.exp(-2 * x)) / (1 + T.exp(-2 * x)),
        each(mp.tanh), (-400.0,)),
    # ---- the error function
    Row("1 - erf(x)", lambda x: 1 - T.erf(x), each(mp.erfc), (10.0,)),
    Row("1 - erfc(x)", lambda x: 1 - T.erfc(x), each(mp.erf), (1e-20,)),
    Row("1 + erf(x)", lambda x: 1 + T.erf(x), each(lambda x: mp.erfc(-x)), (-10.0,)),
    Row("erf(x) - 1", lambda x: T.erf(x) - 1, each(lambda x: -mp.erfc(x)), (10.0,)),
    Row("2 - erfc(x)", lambda x: 2 - T.erfc(x), each(lambda x: mp.erfc(-x)), (-10.0,)),
    Row("0.5 + 0.5*erf(x)", lambda x: 0.5 + 0.5 * T.erf(x), each(lambda x: mp.erfc(-x) / 2),
        (-10.0,)),
    Row("log(0.5 + 0.5*erf(x))", lambda x: T.log(0.5 + 0.5 * T.erf(x)),
        each(lambda x: mp.log(mp.erfc(-x) / 2)), (-40.0,)),
    Row("log(0.5 + 0.5*erf(x))", lambda x: T.log(0.5 + 0.5 * T.erf(x)),
        each(lambda x: mp.log(mp.erfc(-x) / 2)), (10.0,)),
    Row("log(1 - 0.5*erfc(x))", lambda x: T.log(1 - 0.5 * T.erfc(x)),
        each(lambda x: mp.log(mp.erfc(-x) / 2)), (-30.0,)),
    Row("exp(-x**2)/erfc(x)", lambda x: T.exp(-(x**2)) / T.erfc(x),
        each(lambda x: mp.exp(-x * x) / mp.erfc(x)), (40.0,), gradient=False),
    Row("exp(-x**2/2)/erfc(x/sqrt(2))", lambda x: T.exp(-(x**2) / 2) / T.erfc(x / np.sqrt(2)),
        each(lambda x: mp.exp(-x * x / 2) / mp.erfc(x / mp.sqrt(2))), (100.0,), gradient=False),
    Row("erfc(x)*exp(x**2)", lambda x: T.erfc(x) * T.exp(x**2),
        each(lambda x: mp.erfc(x) * mp.exp(x * x)), (40.0,), gradient=False),
    Row("log1p(erf(x))", lambda x: T.log1p(T.erf(x)), each(lambda x: mp.log(mp.erfc(-x))),
        (-10.0,)),
    Row("log1p(-erf(x))", lambda x: T.log1p(-T.erf(x)), each(lambda x: mp.log(mp.erfc(x))),
        (10.0,)),
    Row("log(erfc(x))", lambda x: T.log(T.erfc(x)), each(lambda x: mp.log(mp.erfc(x))), (30.0,)),
    Row("log(0.5*erfc(x))", lambda x: T.log(0.5 * T.erfc(x)),
        each(lambda x: mp.log(mp.erfc(x) / 2)), (40.0,)),
    # ---- logarithms
    Row("log(1 - exp(x))", lambda x: T.log(1 - T.exp(x)), each(lambda x: mp.log(-mp.expm1(x))),
        (-1e-20,)),
    Row("log(1 - exp(x))", lambda x: T.log(1 - T.exp(x)), each(lambda x: mp.log(-mp.expm1(x))),
        (-50.0,)),
    Row("log(exp(x)*x)", lambda x: T.log(T.exp(x) * x), each(lambda x: x + mp.log(x)), (1000.0,)),
    Row("log(exp(x)/x)", lambda x: T.log(T.exp(x) / x), each(lambda x: x - mp.log(x)), (1000.0,)),
    Row("log(x/exp(x))", lambda x: T.log(x / T.exp(x)), each(lambda x: mp.log(x) - x), (1000.0,)),
    Row("log(x*x)", lambda x: T.log(T.sqr(x)), each(lambda x: 2 * mp.log(abs(x))), (-1e200,)),
    Row("log(x**3)", lambda x: T.log(x**3), each(lambda x: 3 * mp.log(x)), (1e150,)),
    Row("log(exp(x) + 3)", lambda x: T.log(T.exp(x) + 3), each(lambda x: mp.log(mp.exp(x) + 3)),
        (1000.0,)),
    Row("log(x*x*x*x)", lambda x: T.log(x * x * x * x), each(lambda x: 4 * mp.log(abs(x))),
        (-1e100,)),
    Row("log(x**2*(1 + x)**2)", lambda x: T.log(x**2 * (1 + x) ** 2),
        each(lambda x: 2 * mp.log(abs(x * (1 + x)))), (1e120,)),
    Row("log(prod(exp(x)))", lambda x: T.log(T.prod(T.exp(x))), lambda x: [mp.fsum(x)],
        (500.0, 501.0), gradient=False),
    Row("log(prod(sigmoid(x)))", lambda x: T.log(T.prod(T.sigmoid(x))),
        lambda x: [mp.fsum(-mp.log(1 + mp.exp(-v)) for v in x)], (-500.0, -501.0),
        gradient=False),
    Row("x*log(x)", lambda x: x * T.log(x), each(lambda x: mp.mpf(0)), (0.0,), gradient=False),
    Row("-x*log(x) - (1 - x)*log(1 - x)",
        lambda x: -x * T.log(x) - (1 - x) * T.log(1 - x), each(lambda x: mp.mpf(0)), (1.0,),
        gradient=False),
    Row("binary_crossentropy(x, x)", lambda x: T.nnet.binary_crossentropy(x, x),
        each(lambda x: mp.mpf(0)), (1.0,), gradient=False),
    Row("2*x*log2(x)", lambda x: 2 * x * T.log2(x), each(lambda x: mp.mpf(0)), (0.0,),
        gradient=False),
    Row("x*(log(x)/log(2))", lambda x: x * (T.log(x) / T.log(2.0)), each(lambda x: mp.mpf(0)),
        (0.0,), gradient=False),
    Row("x*log(x/w)", lambda x: x * T.log(x / WEIGHTS[:1]), each(lambda x: mp.mpf(0)), (0.0,),
        gradient=False),
    Row("x*(log(x) - log(w))", lambda x: x * (T.log(x) - T.log(WEIGHTS[:1])),
        each(lambda x: mp.mpf(0)), (0.0,), gradient=False),
    Row("x**2*log(x)", lambda x: x**2 * T.log(x),
        each(lambda x: x * x * mp.log(x) if x > 0 else mp.mpf(0)), (0.0,), gradient=False),
    Row("dot(x, log(x))", lambda x: T.dot(x, T.log(x)),
        lambda x: [mp.fsum(v * mp.log(v) if v else mp.mpf(0) for v in x)], (0.0, 0.5),
        gradient=False),
    # ---- powers, products, quotients
    Row("sqrt(x**2)", lambda x: T.sqrt(x**2), each(abs), (1e200,)),
    Row("sqrt(x)*sqrt(x)", lambda x: T.sqrt(x) * T.sqrt(x), each(lambda x: x), (0.0,)),
    Row("x/abs(x)", lambda x: x / abs(x), each(mp.sign), (1e-310,)),
    Row("abs(x)/x", lambda x: abs(x) / x, each(mp.sign), (-1e-310,)),
    Row("switch(x > 0, x*log(x), 0)", lambda x: T.switch(x > 0, x * T.log(x), 0.0),
        each(_guarded(lambda x: x * mp.log(x))), (-1.0,)),
    Row("switch(x <= 0, 0, x*log(x))", lambda x: T.switch(x <= 0, 0.0, x * T.log(x)),
        each(_guarded(lambda x: x * mp.log(x))), (-1.0,)),
    Row("switch(x > 0, sqrt(x), 0)", lambda x: T.switch(x > 0, T.sqrt(x), 0.0),
        each(_guarded(mp.sqrt)), (-1.0,)),
    Row("switch(x <= 0, 0, sqrt(x))", lambda x: T.switch(x <= 0, 0.0, T.sqrt(x)),
        each(_guarded(mp.sqrt)), (-1.0,)),
    Row("(x/exp(x))*exp(x)", lambda x: (x / T.exp(x)) * T.exp(x), each(lambda x: x), (800.0,)),
    Row("sum(x - mean(x))", lambda x: (x - T.mean(x, axis=0)).sum(axis=0),
        lambda x: [mp.mpf(0)], (0.1, 0.2, 0.4)),
    Row("mean(x**2) - mean(x)**2", lambda x: T.mean(x**2) - T.mean(x) ** 2,
        lambda x: [mp.fsum((v - mp.fsum(x) / len(x)) ** 2 for v in x) / len(x)],
        (1e8, 1e8 + 1, 1e8 + 2), gradient=False),
    Row("mean(x*x, keepdims) - mean(x, keepdims)**2",
        lambda x: T.mean(x * x, keepdims=True) - T.mean(x, keepdims=True) ** 2,
        lambda x: [mp.fsum((v - mp.fsum(x) / len(x)) ** 2 for v in x) / len(x)],
        (1e8, 1e8 + 1, 1e8 + 2), gradient=False),
    Row("(sum(x**2) - sum(x)**2/n)/(n - 1)",
        lambda x: (T.sum(x**2) - T.sum(x) ** 2 / x.shape[0]) / (x.shape[0] - 1),
        lambda x: [mp.fsum((v - mp.fsum(x) / len(x)) ** 2 for v in x) / (len(x) - 1)],
        (1e8, 1e8 + 1, 1e8 + 3), gradient=False),
    # ---- logsumexp and softmax
    Row("log(sum(exp(x)))", lambda x: T.log(T.exp(x).sum()),
        lambda x: [logsumexp(x)], (1000.0, 999.0)),
    Row("log(sum(exp(x)))", lambda x: T.log(T.exp(x).sum()),
        lambda x: [logsumexp(x)], (-1000.0, -999.0)),
    Row("log(mean(exp(x)))", lambda x: T.log(T.exp(x).mean()),
        lambda x: [logsumexp(x) - mp.log(len(x))], (1000.0, 999.0)),
    Row("log(2*sum(exp(x)))", lambda x: T.log(2 * T.exp(x).sum()),
        lambda x: [logsumexp(x) + mp.log(2)], (-1000.0, -999.0)),
    Row("log(sum(w*exp(x)))", lambda x: T.log((WEIGHTS[:2] * T.exp(x)).sum()),
        lambda x: [mp.log(3 * mp.exp(x[0]) + mp.exp(x[1]))], (1000.0, 999.0)),
    Row("log(dot(exp(x), w))", lambda x: T.log(T.dot(T.exp(x), WEIGHTS[:2])),
        lambda x: [mp.log(3 * mp.exp(x[0]) + mp.exp(x[1]))], (-1000.0, -999.0), rows=True),
    Row("log2(sum(exp(x)))", lambda x: T.log2(T.exp(x).sum()),
        lambda x: [logsumexp(x) / mp.log(2)], (1000.0, 999.0)),
    Row("log10(exp(x))", lambda x: T.log10(T.exp(x)), each(lambda x: x / mp.log(10)), (-1000.0,)),
    Row("log(1 + sum(exp(x)))", lambda x: T.log(1 + T.exp(x).sum()),
        lambda x: [mp.log(1 + mp.fsum(mp.exp(v) for v in x))], (1000.0, 999.0)),
    Row("log(exp(x/2) + sum(exp(x)))", lambda x: T.log(T.exp(x / 2) + T.exp(x).sum()),
        lambda x: [mp.log(mp.exp(v / 2) + mp.fsum(mp.exp(w) for w in x)) for v in x],
        (-2000.0, -1999.0), gradient=False),
    Row("log(exp(x).sum(axis=1).reshape((-1, 1)))",
        lambda x: T.log(T.exp(x).sum(axis=1).reshape((-1, 1))),
        lambda x: [logsumexp(x)], (1000.0, 999.0), rows=True),
    Row("exp(x)/exp(x).sum(axis=1).reshape((-1, 1))",
        lambda x: T.exp(x) / T.exp(x).sum(axis=1).reshape((-1, 1)), softmax, (1000.0, 999.0),
        rows=True),
    Row("log(softmax(x).T)", lambda x: T.log(T.nnet.softmax(x).T), logsoftmax, (0.0, 1000.0),
        rows=True),
    Row("(exp(x).T/exp(x).sum(axis=1)).T", lambda x: (T.exp(x).T / T.exp(x).sum(axis=1)).T,
        softmax, (1000.0, 999.0), rows=True),
    Row("log(p[:, 0]/p[:, 1]) with p = softmax(x)",
        lambda x: T.log(T.nnet.softmax(x)[:, 0] / T.nnet.softmax(x)[:, 1]),
        lambda x: [x[0] - x[1]], (-1000.0, 0.0), rows=True),
    Row("x - log(sum(exp(x)))", lambda x: x - T.log(T.exp(x).sum(keepdims=True)),
        logsoftmax, (1000.0, 999.0)),
    Row("log(softmax(x))", lambda x: T.log(T.nnet.softmax(x)), logsoftmax, (0.0, 1000.0)),
    Row("exp(x)/sum(exp(x))", lambda x: T.exp(x) / T.exp(x).sum(), softmax, (1000.0, 999.0)),
    Row("log(exp(x)/sum(exp(x)))", lambda x: T.log(T.exp(x) / T.exp(x).sum()), logsoftmax,
        (-1000.0, 0.0)),
    Row("p*log(p).sum() with p = exp(x)/sum(exp(x))", lambda x: _entropy(_by_hand(x)),
        lambda x: [mp.fsum(p * mp.log(p) for p in softmax(x))], (0.0, 1000.0), rows=True),
    Row("(exp(x)/sum(exp(x)))**2", lambda x: _by_hand(x) ** 2, lambda x: [p**2 for p in softmax(x)],
        (1000.0, 999.0), rows=True),
    Row("grad(sum(c*softmax(x)), x).sum()", _back(lambda x: T.nnet.softmax(x) * WEIGHTS),
        lambda x: [mp.mpf(0)], (0.1, 0.2, 0.4), rows=True, gradient=False),
    # ---- crossentropy
    Row("categorical_crossentropy(softmax(x), y)",
        lambda x, y: T.nnet.categorical_crossentropy(T.nnet.softmax(x), y),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log(softmax(x))[arange(n), y]", lambda x, y: _likelihood(T.nnet.softmax(x), y),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log(softmax(x)[arange(n), y])",
        lambda x, y: -T.log(T.nnet.softmax(x)[T.arange(y.shape[0]), y]),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log(exp(x)/sum(exp(x)))[arange(n), y]", lambda x, y: _likelihood(_by_hand(x), y),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log((exp(x)/sum(exp(x)))[arange(n), y])",
        lambda x, y: -T.log(_by_hand(x)[T.arange(y.shape[0]), y]),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log((exp(x).T/exp(x).sum(axis=1)).T[arange(x.shape[0]), y])",
        lambda x, y: -T.log((T.exp(x).T / T.exp(x).sum(axis=1)).T[T.arange(x.shape[0]), y]),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log((softmax(x)*eq(y, arange(2))).sum(axis=1))",
        lambda x, y: -T.log((T.nnet.softmax(x) * _hot(x, y)).sum(axis=1)),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log((exp(x)/sum(exp(x))*eq(y, arange(2))).sum(axis=1))",
        lambda x, y: -T.log((_by_hand(x) * _hot(x, y)).sum(axis=1)),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("p*w/sum(p*w) with p = softmax(x)",
        lambda x: T.nnet.softmax(x) * CHOSEN / (T.nnet.softmax(x) * CHOSEN).sum(1, keepdims=True),
        lambda x: [*softmax(x[:2]), mp.mpf(0)], (-1000.0, -1001.0, 0.0), rows=True, gradient=False),
    Row("categorical_crossentropy(p, y) + log(p).sum(axis=1)", _both,
        lambda x: [-logsoftmax(x)[0] + mp.fsum(logsoftmax(x))], (0.0, 1000.0), labels=(0,)),
    Row("-log(exp(x)/sum(exp(x)))[arange(n), y].mean()",
        lambda x, y: -T.log(_by_hand(x))[T.arange(y.shape[0]), y].mean(),
        lambda x: [-logsoftmax(x)[0]], (0.0, 1000.0), labels=(0,)),
    Row("-log(p)[arange(n), y] + (p**2).sum(axis=1)", _penalty,
        lambda x: [-logsoftmax(x)[0] + mp.fsum(p**2 for p in softmax(x))], (0.0, 1000.0),
        labels=(0,)),
    Row("grad(categorical_crossentropy(p, y), x).sum()",
        _back(lambda x, y: T.nnet.categorical_crossentropy(T.nnet.softmax(x), y)),
        lambda x: [mp.mpf(0)], (0.1, 0.2, 0.4), labels=(1,), gradient=False),
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A number as written, as Kroton computes it, and as it is."""

    plain: float
    found: float
    true: Any

    @property
    def error(self) -> float:
        """The relative error of what Kroton computes.

        What is smaller than the smallest normal number is measured by that.
        """
        difference = abs(mp.mpf(self.found) - self.true)
        return float(difference / max(abs(self.true), mp.mpf(SMALLEST)))

    @property
    def plain_is_wrong(self) -> bool:
        """Whether what is written gives no number, or one without right digits."""
        difference = abs(self.plain - self.true) if np.isfinite(self.plain) else mp.inf
        return bool(difference > 1e-3 * max(abs(self.true), mp.mpf(SMALLEST)))


@dataclass(frozen=True)
class Outcome:
    """What became of a Row."""

    value: Answer
    gradient: Answer | None
    fired: tuple[str, ...]
    """The rules that replaced something in the function of both, in order."""


def outcome_of(row: Row) -> Outcome:
    """Evaluate a Row as written and optimized, and by mpmath."""
    x: Any
    if row.labels:
        x, y = T.dmatrix("x"), T.lvector("y")
        inputs, values = [x, y], [np.array([row.at]), np.array(row.labels)]
    elif row.rows:
        x = T.dmatrix("x")
        inputs, values = [x], [np.array([row.at])]
    else:
        x = T.dvector("x")
        inputs, values = [x], [np.array(row.at)]
    out = row.build(*inputs)
    wanted = [out, T.grad(T.sum(out) if out.type.ndim else out, x)] if row.gradient else [out]
    exact = [mp.mpf(v) for v in row.at]
    truths = [row.truth(exact)[min(row.shown, len(row.truth(exact)) - 1)]]
    if row.gradient:

        def total(t: Any) -> Any:
            return mp.fsum(row.truth([*exact[: row.shown], t, *exact[row.shown + 1 :]]))

        truths.append(mp.diff(total, exact[row.shown]))
    found = []
    for mode in (PLAIN, FAST):
        f = kroton.function(inputs, wanted, mode=mode, on_unused_input="ignore")
        with np.errstate(all="ignore"):
            results = [np.asarray(v).ravel() for v in f(*values)]
        found.append([float(v[min(row.shown, v.size - 1)]) for v in results])
    answers = [Answer(*numbers) for numbers in zip(*found, truths)]
    trace = kroton.printing.rewrite_trace(f)
    return Outcome(
        answers[0],
        answers[1] if row.gradient else None,
        tuple(dict.fromkeys(line.rule for line in trace.replacements)),
    )


STABILIZING_ELSEWHERE = (
    "log(exp(x)) -> x",
    "logsoftmax_by_hand",
    "sgn(x) * (sgn(x) / abs(x)) -> reciprocal(abs(x))",
    "softmax_by_hand",
    "sqrt(sqr(x)) -> abs(x)",
    "sqr(sqrt(x)) -> x",
    "x / abs(x) -> sgn(x)",
    "abs(x) / x -> sgn(x)",
)
"""Rules of other phases that keep digits, or keep from overflow."""


def stabilizing_rules() -> list[str]:
    """The rules of which the table must show that they fire."""
    return [rule.name for rule in stabilize.rules] + list(STABILIZING_ELSEWHERE)


HEADER = """.. list-table::
   :header-rows: 1
   :widths: 24 10 14 14 14 8 16

   * - {kind}
     - x
     - as written
     - Kroton
     - true value
     - relative error
     - rules
"""


def table(outcomes: list[tuple[Row, Outcome]]) -> str:
    """The tables of values and of gradients in reStructuredText."""
    known = set(stabilizing_rules())
    parts = []
    for kind in ("value", "gradient"):
        lines = [HEADER.format(kind=kind)]
        for row, outcome in outcomes:
            answer = outcome.value if kind == "value" else outcome.gradient
            if answer is None:
                continue
            rules = [f"``{name}``" for name in outcome.fired if name in known]
            cells = [
                f"``{row.text}``",
                ", ".join(f"{v:g}" for v in row.at),
                f"**{answer.plain:.9g}**" if answer.plain_is_wrong else f"{answer.plain:.9g}",
                f"{answer.found:.9g}",
                mp.nstr(answer.true, 9),
                f"{answer.error:.0e}",
            ]
            if kind == "value":
                cells.append(", ".join(rules))
            lines += [f"   {'*' if k == 0 else ' '} - {cell}" for k, cell in enumerate(cells)]
        parts.append("\n".join(lines))
    parts[1] = parts[1].replace("\n     - rules", "").replace(" 8 16", " 8")
    return "\n\n".join(parts) + "\n"
