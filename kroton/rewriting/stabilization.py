"""Stabilization: expressions that overflow or lose digits become ones that do not.

Each right side is equal to its left side in exact arithmetic, and accurate wherever the value
itself is representable.
"""

from __future__ import annotations

from kroton.rewriting.pattern import (
    erf,
    erfc,
    exp,
    expm1,
    log,
    log1p,
    logaddexp,
    nary,
    reciprocal,
    sigmoid,
    softplus,
    switch,
    tanh,
    x,
    y,
    z,
)
from kroton.rewriting.phases import stabilize

rule = stabilize.rule

# ---- next to 1 and next to 0
rule(log(nary(1 + x.continuous)), log1p(x), name="log(1 + x) -> log1p(x)")
rule(log(1 - x.continuous), log1p(-x))
rule(exp(x.continuous) - 1, expm1(x))
rule(exp(x.continuous) + -1, expm1(x), name="exp(x) + -1 -> expm1(x)")
rule(1 - exp(x.continuous), -expm1(x))
rule(log1p(expm1(x.float)), x)
rule(1 + expm1(x), exp(x))
rule(1 - erf(x), erfc(x))
rule(1 - erfc(x), erf(x))

# ---- the logistic function and its logarithms
rule(log1p(exp(x.float)), softplus(x))
rule(reciprocal(1 + exp(x.float)), sigmoid(-x))
rule(exp(x.float) / (1 + exp(x)), sigmoid(x))
rule(1 - sigmoid(x), sigmoid(-x))
rule(log(sigmoid(x)), -softplus(-x))
rule(log1p(-sigmoid(x)), -softplus(x))
rule(log(exp(x.float) + exp(y)), logaddexp(x, y))

# ---- the hyperbolic tangent
rule((exp(x.float) - exp(-x)) / (exp(x) + exp(-x)), tanh(x))
rule(expm1(x.float) / (1 + exp(x)), tanh(0.5 * x))
rule(-expm1(x.float) / (1 + exp(x)), tanh(-0.5 * x))

# ---- guards: what a branch that is not taken would be is not computed with
rule(switch(z, x.float, 0) * y, switch(z, x * y, 0))
rule(switch(z, 0, x.float) * y, switch(z, 0, x * y))
rule(switch(z, x.float, 0) / y, switch(z, x / y, 0))
rule(switch(z, 0, x.float) / y, switch(z, 0, x / y))
