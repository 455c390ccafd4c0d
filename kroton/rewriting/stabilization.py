"""Stabilization: expressions that overflow or lose digits become ones that do not.

Each right side is equal to its left side in exact arithmetic, and accurate wherever the value
itself is representable.
"""

from __future__ import annotations

from math import log as number_log

from kroton.rewriting.pattern import (
    C,
    cosh,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    nary,
    reciprocal,
    sigmoid,
    sinh,
    softplus,
    sqrt,
    switch,
    tanh,
    x,
    y,
    z,
)
from kroton.rewriting.phases import stabilize

rule = stabilize.rule

c = C("c")
_PER_LOG_2, _PER_LOG_10 = 1 / number_log(2), 1 / number_log(10)

# ---- next to 1 and next to 0
rule(log(nary(1 + x.continuous)), log1p(x), name="log(1 + x) -> log1p(x)")
rule(log(1 - x.continuous), log1p(-x))
rule(log1p(expm1(x.float)), x)
rule(log2(nary(1 + x.float)), _PER_LOG_2 * log1p(x), name="log2(1 + x) -> log1p(x) / log(2)")
rule(log10(nary(1 + x.float)), _PER_LOG_10 * log1p(x), name="log10(1 + x) -> log1p(x) / log(10)")
rule(log2(1 - x.float), _PER_LOG_2 * log1p(-x), name="log2(1 - x) -> log1p(-x) / log(2)")
rule(log10(1 - x.float), _PER_LOG_10 * log1p(-x), name="log10(1 - x) -> log1p(-x) / log(10)")

# ---- the logistic function and its logarithms
rule(log1p(exp(x.float)), softplus(x))
rule(reciprocal(exp(x.float)), exp(-x))
rule(c / exp(x.float), c * exp(-x))
rule(reciprocal(1 + exp(x.float)), sigmoid(-x))
rule(exp(x.float) / (1 + exp(x)), sigmoid(x))
rule(sigmoid(x.float) - sigmoid(-x), tanh(0.5 * x))
rule(sigmoid(-x.float) - sigmoid(x), tanh(-0.5 * x))
rule(log(sigmoid(x)), -softplus(-x))
rule(log1p(-sigmoid(x)), -softplus(x))
rule(log(exp(x.float) + exp(y)), logaddexp(x, y))

# ---- roots
rule(log(sqrt(x.float)), 0.5 * log(x))

# ---- the hyperbolic tangent
rule((exp(x.float) - exp(-x)) / (exp(x) + exp(-x)), tanh(x))
rule(sinh(x.float) / cosh(x), tanh(x))
rule(expm1(x.float) / (1 + exp(x)), tanh(0.5 * x))
rule(-expm1(x.float) / (1 + exp(x)), tanh(-0.5 * x))

# ---- guards: what a branch that is not taken would be is not computed with
rule(switch(z, x.float, 0) * y, switch(z, x * y, 0))
rule(switch(z, 0, x.float) * y, switch(z, 0, x * y))
rule(switch(z, x.float, 0) / y, switch(z, x / y, 0))
rule(switch(z, 0, x.float) / y, switch(z, 0, x / y))
