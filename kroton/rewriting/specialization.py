"""Specialization: general operations become cheaper special ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.jumps import is_total, jumps
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.pattern import (
    C,
    exp,
    exp2,
    expm1,
    log,
    mul,
    pow,
    reciprocal,
    sqr,
    sqrt,
    x,
)
from kroton.rewriting.phases import specialize

T: Any = kroton.tensor

rule = specialize.rule


def _exponent(value: float) -> Any:
    return lambda m: m.value("c") == value


# ---- powers
rule(x**2, sqr(x))
rule(x * x, sqr(x))
rule(x.continuous**3, x * sqr(x))
rule(x.continuous**4, sqr(sqr(x)))
rule(x.continuous**0.5, sqrt(x))
rule(pow(x.continuous, C("c")), reciprocal(sqrt(x)), name="x ** -0.5 -> reciprocal(sqrt(x))",
     when=_exponent(-0.5))  # fmt: skip
rule(pow(x.continuous, C("c")), reciprocal(sqr(x)), name="x ** -2 -> reciprocal(sqr(x))",
     when=_exponent(-2))  # fmt: skip
rule(pow(x.continuous, C("c")), x * sqrt(x), name="x ** 1.5 -> x * sqrt(x)",
     when=_exponent(1.5))  # fmt: skip
rule(2**x.float, exp2(x))


@specialize.rewriter("pow", name="small_power", depth=1)
def small_power(fgraph: FunctionGraph, node: Apply) -> Any:
    """x ** 5 to x ** 8, of floats, by repeated squaring: two or three products and squares."""
    base, exponent = node.inputs
    value = uniform_value(exponent)
    if value is None or node.outputs[0].type.numpy_dtype.kind not in "fc":
        return None
    if value.dtype.kind not in "iuf" or value not in (5, 6, 7, 8):
        return None
    if base.type.broadcastable != node.outputs[0].type.broadcastable:
        return None
    left = int(value)
    square, result = base, None
    while left:
        if left % 2:
            result = square if result is None else result * square
        left //= 2
        if left:
            square = T.sqr(square)
    return result


# ---- products are cheaper than quotients
def _is_reciprocal_as_good(m: Any) -> bool:
    """Whether 1 / c is a number with all its digits, and rounding it does no harm."""
    value = m.value("c")
    with np.errstate(all="ignore"):
        inverse = 1 / value
    tiny = np.finfo(value.dtype).tiny
    if not (np.isfinite(inverse) and np.abs(inverse) >= tiny):
        return False
    if value.dtype.kind == "f" and np.abs(np.frexp(value)[0]) == 0.5:  # a power of two
        return True
    return not is_total(m.x) and not jumps(m.fgraph, m.out, compared=True)


rule(x / C("c").continuous, x * (1 / C("c")), name="x / c -> x * (1 / c)",
     when=_is_reciprocal_as_good)  # fmt: skip
rule(exp(x.float) * C("c") - C("c"), C("c") * expm1(x), name="c * exp(x) - c -> c * expm1(x)")
rule(mul(reciprocal(x), reciprocal(x)), reciprocal(sqr(x)))


# ---- roots, moduli, logarithms
rule(log(sqrt(x.float)), 0.5 * log(x))
rule(log(reciprocal(x.float)), -log(x))


def _where_positive(m: Any) -> Any:
    """x, and NaN where x is negative."""
    return T.switch(T.ge(m.x, 0), m.x, T.constant(np.nan, dtype=m.x.type.dtype))


rule(reciprocal(exp(x.float)), exp(-x))
rule(exp(log(x.float)), _where_positive, name="exp(log(x)) -> x")
rule(sqr(sqrt(x.float)), _where_positive, name="sqr(sqrt(x)) -> x")
rule(sqrt(x.float) * sqrt(x), _where_positive, name="sqrt(x) * sqrt(x) -> x")
