"""The table of scalar operations, under the lineage's names.

An operation that is a NumPy ufunc takes its dtypes and its reference from the ufunc. Names
that are Python keywords or would not read well end in an underscore, as in the lineage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kroton.scalar import reference
from kroton.scalar.op import Rule, ScalarOp, named
from kroton.scalar.promotion import (
    alike,
    by_ufunc,
    component,
    integers_alone,
    second_rule,
    switch_rule,
)

__all__ = [
    "abs",
    "add",
    "and_",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "bitwise_count",
    "cbrt",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "eq",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "float_power",
    "floor",
    "fmax",
    "fmin",
    "fmod",
    "gamma",
    "gammaln",
    "gcd",
    "ge",
    "gt",
    "heaviside",
    "hypot",
    "identity",
    "imag",
    "int_div",
    "invert",
    "isfinite",
    "isinf",
    "isnan",
    "lcm",
    "le",
    "left_shift",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "neg",
    "neq",
    "nextafter",
    "or_",
    "pow",
    "psi",
    "rad2deg",
    "real",
    "reciprocal",
    "right_shift",
    "round_half_away_from_zero",
    "round_half_to_even",
    "second",
    "sgn",
    "sigmoid",
    "signbit",
    "sin",
    "sinh",
    "softplus",
    "sqr",
    "sqrt",
    "sub",
    "switch",
    "tan",
    "tanh",
    "tri_gamma",
    "true_div",
    "trunc",
    "xor",
]


def _ufunc(name: str, ufunc: np.ufunc, **properties: Any) -> ScalarOp:
    """A row of the table that is a NumPy ufunc."""
    properties = {"reference": ufunc, "rule": by_ufunc, **properties}
    named[name] = ScalarOp(name, ufunc.nin, ufunc=ufunc, **properties)
    return named[name]


def _own(name: str, nin: int, function: Callable[..., Any], rule: Rule) -> ScalarOp:
    """A row of the table that is not."""
    named[name] = ScalarOp(name, nin, reference=function, rule=rule)
    return named[name]


def _real_analysis(name: str, function: Callable[..., Any]) -> ScalarOp:
    """A function of a real number, computed in floating point."""
    return _own(name, 1, function, alike("f", floating=True))


# Arithmetic. On bool, add is "or" and mul is "and"; sub and neg are not defined.
add = _ufunc("add", np.add, commutative=True, associative=True, identity=0)
sub = _ufunc("sub", np.subtract)
mul = _ufunc("mul", np.multiply, commutative=True, associative=True, identity=1)
true_div = _ufunc("true_div", np.true_divide)
int_div = _ufunc("int_div", np.floor_divide)
mod = _ufunc("mod", np.remainder)
pow = _ufunc("pow", np.power)
neg = _ufunc("neg", np.negative)
abs = _ufunc("abs", np.absolute)
sgn = _ufunc("sgn", np.sign)
sqr = _ufunc("sqr", np.square)
sqrt = _ufunc("sqrt", np.sqrt)
reciprocal = _ufunc("reciprocal", np.reciprocal, rule=alike("fc", floating=True))
copysign = _ufunc("copysign", np.copysign)
hypot = _ufunc("hypot", np.hypot, commutative=True)
cbrt = _ufunc("cbrt", np.cbrt)
fmod = _ufunc("fmod", np.fmod)
float_power = _ufunc("float_power", np.float_power)
gcd = _ufunc("gcd", np.gcd, commutative=True, associative=True)
lcm = _ufunc("lcm", np.lcm, commutative=True)
heaviside = _ufunc("heaviside", np.heaviside)
nextafter = _ufunc("nextafter", np.nextafter)

# Exponentials and logarithms.
exp = _ufunc("exp", np.exp)
exp2 = _ufunc("exp2", np.exp2)
expm1 = _ufunc("expm1", np.expm1)
log = _ufunc("log", np.log)
log2 = _ufunc("log2", np.log2)
log10 = _ufunc("log10", np.log10)
log1p = _ufunc("log1p", np.log1p)
logaddexp = _ufunc("logaddexp", np.logaddexp, commutative=True)
logaddexp2 = _ufunc("logaddexp2", np.logaddexp2, commutative=True)
sigmoid = _real_analysis("sigmoid", reference.sigmoid)
softplus = _real_analysis("softplus", reference.softplus)

# Circular and hyperbolic functions.
sin = _ufunc("sin", np.sin)
cos = _ufunc("cos", np.cos)
tan = _ufunc("tan", np.tan)
sinh = _ufunc("sinh", np.sinh)
cosh = _ufunc("cosh", np.cosh)
tanh = _ufunc("tanh", np.tanh)
arcsin = _ufunc("arcsin", np.arcsin)
arccos = _ufunc("arccos", np.arccos)
arctan = _ufunc("arctan", np.arctan)
arctan2 = _ufunc("arctan2", np.arctan2)
arcsinh = _ufunc("arcsinh", np.arcsinh)
arccosh = _ufunc("arccosh", np.arccosh)
arctanh = _ufunc("arctanh", np.arctanh)
deg2rad = _ufunc("deg2rad", np.deg2rad)
rad2deg = _ufunc("rad2deg", np.rad2deg)

# Rounding. Integers and bool are left alone.
ceil = _ufunc("ceil", np.ceil, reference=reference.whole(np.ceil), rule=integers_alone(by_ufunc))
floor = _ufunc(
    "floor", np.floor, reference=reference.whole(np.floor), rule=integers_alone(by_ufunc)
)
trunc = _ufunc(
    "trunc", np.trunc, reference=reference.whole(np.trunc), rule=integers_alone(by_ufunc)
)
round_half_to_even = _ufunc(
    "round_half_to_even",
    np.rint,
    reference=reference.whole(np.rint),
    rule=integers_alone(by_ufunc),
)
round_half_away_from_zero = _own(
    "round_half_away_from_zero", 1, reference.round_half_away_from_zero, alike("biuf")
)

# Comparison and choice.
eq = _ufunc("eq", np.equal, commutative=True)
neq = _ufunc("neq", np.not_equal, commutative=True)
lt = _ufunc("lt", np.less)
le = _ufunc("le", np.less_equal)
gt = _ufunc("gt", np.greater)
ge = _ufunc("ge", np.greater_equal)
isnan = _ufunc("isnan", np.isnan)
isinf = _ufunc("isinf", np.isinf)
isfinite = _ufunc("isfinite", np.isfinite)
signbit = _ufunc("signbit", np.signbit)
maximum = _ufunc("maximum", np.maximum, commutative=True, associative=True)
minimum = _ufunc("minimum", np.minimum, commutative=True, associative=True)
fmax = _ufunc("fmax", np.fmax, commutative=True, associative=True)
fmin = _ufunc("fmin", np.fmin, commutative=True, associative=True)
clip = _own("clip", 3, reference.clip, alike("biuf"))
switch = _own("switch", 3, reference.switch, switch_rule)

# Logic: any number but zero is true.
logical_and = _ufunc("logical_and", np.logical_and, commutative=True)
logical_or = _ufunc("logical_or", np.logical_or, commutative=True)
logical_xor = _ufunc("logical_xor", np.logical_xor, commutative=True)
logical_not = _ufunc("logical_not", np.logical_not)

# Bits; on bool these are the logical operations.
and_ = _ufunc("and_", np.bitwise_and, commutative=True, associative=True, identity=-1)
or_ = _ufunc("or_", np.bitwise_or, commutative=True, associative=True, identity=0)
xor = _ufunc("xor", np.bitwise_xor, commutative=True, associative=True, identity=0)
invert = _ufunc("invert", np.invert)
left_shift = _ufunc("left_shift", np.left_shift)
right_shift = _ufunc("right_shift", np.right_shift)
bitwise_count = _ufunc("bitwise_count", np.bitwise_count)

# Special functions.
erf = _real_analysis("erf", reference.special("erf"))
erfc = _real_analysis("erfc", reference.special("erfc"))
gamma = _real_analysis("gamma", reference.special("gamma"))
gammaln = _real_analysis("gammaln", reference.special("gammaln"))
psi = _real_analysis("psi", reference.psi)
tri_gamma = _real_analysis("tri_gamma", reference.tri_gamma)

# Complex numbers.
conj = _ufunc("conj", np.conjugate)
real = _own("real", 1, reference.real, component(floating=False))
imag = _own("imag", 1, reference.imag, component(floating=False))
angle = _own("angle", 1, reference.angle, component(floating=True))

# Copies.
identity = _own("identity", 1, reference.identity, alike("biufc"))
second = _own("second", 2, reference.second, second_rule)
