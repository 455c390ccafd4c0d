"""Logarithms of what may overflow, underflow or round to 1, and the tails of the error function.

Where a function is evaluated on one side of a bound only, its argument is limited to that side,
which also keeps these rules from being applied to their own results.
"""

from __future__ import annotations

from math import log as number_log
from math import pi, prod
from math import sqrt as number_sqrt
from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.factors import is_negated
from kroton.rewriting.matching import Match, scalar_name, uniform_value
from kroton.rewriting.pattern import (
    C,
    abs,
    erf,
    erfc,
    exp,
    log,
    log1p,
    sqr,
    x,
    y,
)
from kroton.rewriting.phases import stabilize
from kroton.tensor.advanced_subtensor import AdvancedSubtensor, AdvancedSubtensor1
from kroton.tensor.nnet.softmax import Softmax
from kroton.tensor.subtensor import Subtensor

T: Any = kroton.tensor

rule = stabilize.rule
c = C("c")

_HALF = -number_log(2)
_TAILS = {"float32": 9.0, "float64": 25.0}
"""From where on erfc is computed from its expansion; a little further it underflows."""
_NEAR = 0.5
"""Up to where erf, and from where on erfc, has the digits of log(erfc(x))."""
_RATIOS = {"float32": 5.5, "float64": 10.0}
"""From where on exp(-x**2) / erfc(x) is; exp(-x**2) has lost a digit by then."""


# ---- logarithms of products and powers of what is positive ---------------------------------

rule(log(exp(x.float) * y), x + log(y))
rule(log(exp(x.float) / y), x - log(y))
rule(log(y / exp(x.float)), log(y) - x)
rule(log(sqr(x.float)), 2 * log(abs(x)))


def _log_of_power(m: Match) -> Any:
    exponent = float(m.value("c"))
    base = T.abs_(m.x) if exponent % 2 == 0 else m.x
    return T.log(base) * T.constant(exponent, dtype=m.out.type.dtype)


rule(log(x.float ** C("c").float), _log_of_power, name="log(x ** c) -> c * log(x)",
     when=lambda m: m.value("c") != 0)  # fmt: skip


def _log_of_shifted(m: Match) -> Any:
    number = T.constant(np.log(m.value("c")), dtype=m.out.type.dtype)
    return T.logaddexp(m.x, number)


rule(log(exp(x.float) + c.float), _log_of_shifted, name="log(exp(x) + c) -> logaddexp(x, log(c))",
     when=lambda m: m.value("c") > 0 and m.value("c") != 1)  # fmt: skip


# ---- at 0 ---------------------------------------------------------------------------------


@stabilize.rewriter("mul", name="x * log(x) -> 0 at 0")
def x_log_x(fgraph: FunctionGraph, node: Apply) -> Any:
    """x * log(x) is 0, its limit, where x is 0."""
    (out,) = node.outputs
    for a, b in (node.inputs, node.inputs[::-1]):
        if scalar_name(b) == "log" and b.owner.inputs[0] is a and a.type.numpy_dtype.kind == "f":
            users = [client for client, _ in fgraph.variables[out]]
            if all(_is_guard(user, a) for user in users):
                return None
            return a * T.log(T.switch(T.eq(a, 0), T.constant(1, dtype=a.type.dtype), a))
    return None


def _is_guard(user: Any, x: Variable) -> bool:
    """Whether it is a switch on x being 0."""
    if user == "output" or scalar_name(user.outputs[0]) != "switch":
        return False
    condition = user.inputs[0]
    return scalar_name(condition) in ("eq", "neq", "gt", "le") and x in condition.owner.inputs


# ---- next to 1 -----------------------------------------------------------------------------


@stabilize.rewriter("log", "log1p", name="log(1 - exp(x))", depth=3)
def log_of_one_minus_exp(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(-expm1(x)) for x near 0, log1p(-exp(x)) for others.

    M. Maechler, "Accurately computing log(1 - exp(-|a|))", 2012 (vignette of the R package Rmpfr).
    """
    (negated,) = node.inputs
    wanted = "expm1" if node.op.name == "log" else "exp"
    if scalar_name(negated) != "neg" or negated.type.numpy_dtype.kind != "f":
        return None
    (inner,) = negated.owner.inputs
    if scalar_name(inner) != wanted:
        return None
    (z,) = inner.owner.inputs
    if _is_limited(z):
        return None
    bound = T.constant(_HALF, dtype=z.type.dtype)
    near = T.log(-T.expm1(T.maximum(z, bound)))
    return T.switch(T.gt(z, bound), near, T.log1p(-T.exp(T.minimum(z, bound))))


def _is_limited(z: Variable) -> bool:
    """Whether z is a maximum or a minimum with a constant."""
    return scalar_name(z) in ("maximum", "minimum") and any(
        isinstance(v, Constant) or uniform_value(v) is not None
        for v in z.owner.inputs  # type: ignore[union-attr]
    )


# ---- the error function --------------------------------------------------------------------

rule(1 + erf(x), erfc(-x))
rule(erf(x) - 1, -erfc(x))
rule(log1p(erf(x)), log(erfc(-x)), when=lambda m: not _is_limited(m.x))
rule(log1p(-erf(x)), log(erfc(x)), when=lambda m: not _is_limited(m.x))
rule(log(c.float * erfc(x)), lambda m: T.constant(np.log(m.value("c"))) + T.log(T.erfc(m.x)),
     name="log(c * erfc(x)) -> log(c) + log(erfc(x))",
     when=lambda m: m.value("c") > 0)  # fmt: skip


def _series(z: Any, terms: int = 6) -> Any:
    """erfcx(z) z sqrt(pi) - 1 for large z: -u + 3 u**2 - 15 u**3 + ... with u = 1 / (2 z**2).

    NIST Digital Library of Mathematical Functions, 7.12.1.
    """
    u = 0.5 / T.sqr(z)
    factors = [(-1.0) ** k * prod(range(1, 2 * k, 2)) for k in range(1, terms + 1)]
    total = factors.pop()
    while factors:
        total = factors.pop() + u * total
    return u * total


@stabilize.rewriter("log", name="log(erfc(x))", depth=3)
def log_of_erfc(fgraph: FunctionGraph, node: Apply) -> Any:
    """The logarithm of erfc, also where erfc underflows or is near 1."""
    (tail,) = node.inputs
    bound = _TAILS.get(tail.type.dtype)
    if scalar_name(tail) != "erfc" or bound is None:
        return None
    (z,) = tail.owner.inputs
    if _is_limited(z):
        return None
    edge, near = (T.constant(v, dtype=z.type.dtype) for v in (bound, _NEAR))
    far = T.maximum(z, edge)
    beyond = T.log1p(_series(far)) - T.log(far * number_sqrt(pi)) - T.sqr(far)
    between = T.log(T.erfc(T.minimum(z, edge)))
    below = T.log1p(-T.erf(T.minimum(z, near)))
    return T.switch(T.gt(z, edge), beyond, T.switch(T.gt(z, near), between, below))


@stabilize.rewriter("true_div", name="exp(-x**2) / erfc(x)", depth=5)
def ratio_of_mills(fgraph: FunctionGraph, node: Apply) -> Any:
    """The ratio, as the gradient of log(erfc(x)) has it, also where both underflow."""
    above, below = node.inputs
    bound = _RATIOS.get(below.type.dtype)
    if scalar_name(below) != "erfc" or bound is None:
        return None
    (z,) = below.owner.inputs
    if _is_limited(z):
        return None
    factors: list[Any] = []
    stack = [above]
    density = None
    while stack:
        v = stack.pop()
        if scalar_name(v) in ("mul", "neg") and len(stack) + len(factors) < 8:
            stack.extend(v.owner.inputs)
            if scalar_name(v) == "neg":
                factors.append(T.constant(-1, dtype=v.type.dtype))
        elif density is None and _is_gaussian(v, z):
            density = v
        else:
            factors.append(v)
    if density is None:
        return None
    edge = T.constant(bound, dtype=z.type.dtype)
    far, near = T.maximum(z, edge), T.minimum(z, edge)
    ratio = T.switch(
        T.gt(z, bound),
        far * number_sqrt(pi) / (1 + _series(far, terms=12)),
        T.exp(-T.sqr(near)) / T.erfc(near),
    )
    for factor in factors:
        ratio = factor * ratio
    return ratio


def _is_gaussian(v: Variable, z: Variable) -> bool:
    """Whether v is exp(-z**2)."""
    if scalar_name(v) != "exp":
        return False
    (negated,) = v.owner.inputs  # type: ignore[union-attr]
    if scalar_name(negated) != "neg":
        return False
    square = negated.owner.inputs[0]
    name = scalar_name(square)
    if name == "pow":
        value = uniform_value(square.owner.inputs[1])
        if value is None or value != 2:
            return False
    elif name != "sqr":
        return False
    base = square.owner.inputs[0]
    return base is z or is_negated(base, z)


# ---- an element of a softmax ---------------------------------------------------------------


@stabilize.rewriter("log", name="log(softmax(x)[i]) -> logsoftmax(x)[i]", depth=3)
def log_of_indexed_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """Elements of a softmax are indexed after the logarithm, which is made without underflow."""
    indexed = node.inputs[0].owner
    if indexed is None or type(indexed.op) not in (
        Subtensor, AdvancedSubtensor, AdvancedSubtensor1,
    ):  # fmt: skip
        return None
    whole = indexed.inputs[0].owner
    if whole is None or type(whole.op) is not Softmax:
        return None
    return indexed.op(T.nnet.logsoftmax(whole.inputs[0], whole.op.axis), *indexed.inputs[1:])
