"""Specialization: general operations become cheaper special ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton.rewriting.pattern import C, exp, exp2, expm1, mul, pow, reciprocal, sqr, sqrt, x
from kroton.rewriting.phases import specialize

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


# ---- products are cheaper than quotients
def _has_reciprocal(m: Any) -> bool:
    value = m.value("c")
    with np.errstate(all="ignore"):
        inverse = 1 / value
    tiny = np.finfo(value.dtype).tiny
    return bool(np.isfinite(inverse) and abs(inverse) >= tiny)


rule(x / C("c").continuous, x * (1 / C("c")), name="x / c -> x * (1 / c)", when=_has_reciprocal)
rule(exp(x.float) * C("c") - C("c"), C("c") * expm1(x), name="c * exp(x) - c -> c * expm1(x)")
rule(mul(reciprocal(x), reciprocal(x)), reciprocal(sqr(x)))
