"""Elementwise functions: NumPy's ufuncs on symbolic tensors, under the lineage's names.

Each function applies one shared `Elemwise`; a few at the end are compositions. Inputs are
Variables or whatever `as_tensor_variable` takes; they broadcast and promote as `Elemwise` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton import scalar
from kroton.scalar.promotion import to_float
from kroton.tensor.elemwise import Elemwise, cast

elementwise: dict[str, Elemwise] = {}
"""The shared Elemwise of each scalar operation, by its name."""


def _elementwise(name: str, formula: str) -> Any:
    """The public function of scalar operation `name`, documented by its formula."""
    op = Elemwise(scalar.ops[name])
    elementwise[name] = op
    function: Any
    if op.scalar_op.nin == 1:

        def function(x: Any) -> Any:
            return op(x)

        names = "x"
    elif op.scalar_op.nin == 2:

        def function(a: Any, b: Any) -> Any:
            return op(a, b)

        names = "a, b"
    else:
        raise TypeError(f"{name} has {op.scalar_op.nin} inputs: write its function out")
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name}({names}) = {formula}, for each element.\n\n"
        "    Inputs are tensors, or what can be read as tensors; the result has their broadcast\n"
        "    shape and the dtype that NumPy gives (float32 where that would be float16).\n"
    )
    function.op = op
    return function


def _comparison(name: str, formula: str) -> Any:
    """The public function of a comparison, which is exact for every Python integer."""
    function = _elementwise(name, formula)

    def compare(a: Any, b: Any) -> Any:
        if type(b) is int:
            return _compare_integer(name, a, b)
        if type(a) is int:
            return _compare_integer(_MIRRORED[name], b, a)
        return function(a, b)

    compare.__name__ = compare.__qualname__ = name
    compare.__doc__ = function.__doc__
    compare.op = function.op  # type: ignore[attr-defined]
    return compare


_MIRRORED = {"eq": "eq", "neq": "neq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
"""The comparison with its two sides exchanged."""

_BEYOND = {
    "eq": ("lt", "gt"), "lt": ("lt", "le"), "le": ("lt", "le"),
    "neq": ("ge", "le"), "gt": ("ge", "gt"), "ge": ("ge", "gt"),
}  # fmt: skip
"""What to ask of the least, and of the largest integer, instead of one below, and above them."""


def _compare_integer(name: str, x: Any, value: int) -> Any:
    """A comparison of `x` with a Python integer, which need not fit into the dtype of `x`.

    No element is beyond the range of its dtype, so that comparing with the end of the range
    (`x < least` never holds, `x >= least` always) answers for a value beyond it, as NumPy does.
    """
    from kroton.tensor.constant import as_tensor_variable

    op = elementwise[name]
    x = as_tensor_variable(x)
    dtype = x.type.numpy_dtype
    if dtype.kind not in "biu":
        return op(x, value)
    range_ = np.iinfo(np.int64 if dtype.kind == "b" else dtype)
    if range_.min <= value <= range_.max:
        return op(x, value)
    end = range_.min if value < range_.min else range_.max
    return elementwise[_BEYOND[name][value > range_.max]](x, end)


def _chained(name: str, formula: str) -> Any:
    """The public function of an associative operation, for two or more inputs."""
    op = Elemwise(scalar.ops[name])
    elementwise[name] = op

    def chained(a: Any, b: Any, *more: Any) -> Any:
        result = op(a, b)
        for x in more:
            result = op(result, x)
        return result

    function: Any = chained
    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name}(a, b, ...) = {formula}, for each element, from the left to the right.\n\n"
        "    Inputs are tensors, or what can be read as tensors; the result has their broadcast\n"
        "    shape and the dtype that NumPy gives.\n"
    )
    function.op = op
    return function


# Arithmetic
add = _chained("add", "a + b + ...")
sub = _elementwise("sub", "a - b")
mul = _chained("mul", "a * b * ...")
true_div = _elementwise("true_div", "a / b, in floating point")
int_div = _elementwise("int_div", "floor(a / b)")
mod = _elementwise("mod", "a - floor(a / b) * b, which has the sign of b")
pow = _elementwise("pow", "a to the power b")
neg = _elementwise("neg", "-x")
abs_ = _elementwise("abs", "the absolute value `|x|`, of a complex number its modulus")
sgn = _elementwise("sgn", "-1, 0 or 1 as x is negative, zero or positive")
sqr = _elementwise("sqr", "x * x")
sqrt = _elementwise("sqrt", "the square root of x; NaN for a negative real number")
reciprocal = _elementwise("reciprocal", "1 / x, in floating point")
copysign = _elementwise("copysign", "`|a|` with the sign of b")
hypot = _elementwise("hypot", "sqrt(a**2 + b**2), without overflow on the way")
cbrt = _elementwise("cbrt", "the cube root of x, negative for a negative one")
fmod = _elementwise("fmod", "a - trunc(a / b) * b, which has the sign of a")
float_power = _elementwise("float_power", "a to the power b, in float64 or complex128")
gcd = _elementwise("gcd", "the greatest common divisor of two integers")
lcm = _elementwise("lcm", "the least common multiple of two integers")
heaviside = _elementwise("heaviside", "0 for a < 0, b for a == 0, 1 for a > 0")
nextafter = _elementwise("nextafter", "the floating-point number next to a in the direction of b")

# Exponentials and logarithms
exp = _elementwise("exp", "e**x")
exp2 = _elementwise("exp2", "2**x")
expm1 = _elementwise("expm1", "e**x - 1, exact near 0")
log = _elementwise("log", "the natural logarithm of x")
log2 = _elementwise("log2", "the logarithm of x to base 2")
log10 = _elementwise("log10", "the logarithm of x to base 10")
log1p = _elementwise("log1p", "log(1 + x), exact near 0")
logaddexp = _elementwise("logaddexp", "log(e**a + e**b), without overflow on the way")
logaddexp2 = _elementwise("logaddexp2", "log2(2**a + 2**b), without overflow on the way")
sigmoid = _elementwise("sigmoid", "1 / (1 + e**-x)")
softplus = _elementwise("softplus", "log(1 + e**x), without overflow on the way")

# Circular and hyperbolic functions
sin = _elementwise("sin", "the sine of x radians")
cos = _elementwise("cos", "the cosine of x radians")
tan = _elementwise("tan", "sin(x) / cos(x)")
arcsin = _elementwise("arcsin", "the angle in [-pi/2, pi/2] whose sine is x")
arccos = _elementwise("arccos", "the angle in [0, pi] whose cosine is x")
arctan = _elementwise("arctan", "the angle in (-pi/2, pi/2) whose tangent is x")
arctan2 = _elementwise("arctan2", "the angle in [-pi, pi] of the point with ordinate a, abscissa b")
sinh = _elementwise("sinh", "(e**x - e**-x) / 2")
cosh = _elementwise("cosh", "(e**x + e**-x) / 2")
tanh = _elementwise("tanh", "sinh(x) / cosh(x)")
arcsinh = _elementwise("arcsinh", "log(x + sqrt(x**2 + 1))")
arccosh = _elementwise("arccosh", "log(x + sqrt(x**2 - 1)), NaN for x < 1")
arctanh = _elementwise("arctanh", "log((1 + x) / (1 - x)) / 2")
deg2rad = _elementwise("deg2rad", "x * pi / 180")
rad2deg = _elementwise("rad2deg", "x * 180 / pi")

# Rounding
ceil = _elementwise("ceil", "the smallest integer that is not below x")
floor = _elementwise("floor", "the largest integer that is not above x")
trunc = _elementwise("trunc", "x without its fractional part")
round_half_to_even = _elementwise(
    "round_half_to_even", "the nearest integer, of two equally near ones the even one"
)
round_half_away_from_zero = _elementwise(
    "round_half_away_from_zero", "the nearest integer, of two equally near ones the larger in size"
)

# Comparison
eq = _comparison("eq", "a == b (bool)")
neq = _comparison("neq", "a != b (bool)")
lt = _comparison("lt", "a < b (bool)")
le = _comparison("le", "a <= b (bool)")
gt = _comparison("gt", "a > b (bool)")
ge = _comparison("ge", "a >= b (bool)")
isnan = _elementwise("isnan", "whether x is NaN (bool)")
isinf = _elementwise("isinf", "whether x is infinite (bool)")
isfinite = _elementwise("isfinite", "whether x is neither infinite nor NaN (bool)")
signbit = _elementwise("signbit", "whether the sign of x is negative, also that of -0.0 (bool)")
maximum = _elementwise("maximum", "the larger of a and b; NaN if either is")
minimum = _elementwise("minimum", "the smaller of a and b; NaN if either is")
fmax = _elementwise("fmax", "the larger of a and b; if one is NaN, the other")
fmin = _elementwise("fmin", "the smaller of a and b; if one is NaN, the other")

# Logic
logical_and = _elementwise("logical_and", "whether neither of a and b is zero (bool)")
logical_or = _elementwise("logical_or", "whether a or b is not zero (bool)")
logical_xor = _elementwise("logical_xor", "whether one of a and b is zero, and one not (bool)")
logical_not = _elementwise("logical_not", "whether x is zero (bool)")

# Bits
and_ = _elementwise("and_", "a & b: bits in both; logical for bool")
or_ = _elementwise("or_", "a | b: bits in either; logical for bool")
xor = _elementwise("xor", "a ^ b: bits in exactly one; logical for bool")
invert = _elementwise("invert", "~x: each bit inverted; logical for bool")
left_shift = _elementwise("left_shift", "a << b")
right_shift = _elementwise("right_shift", "a >> b")
bitwise_count = _elementwise("bitwise_count", "the number of ones in the bits of `|x|` (uint8)")

# Special functions
erf = _elementwise("erf", "2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x")
erfc = _elementwise("erfc", "1 - erf(x), exact where erf(x) is near 1")
gamma = _elementwise("gamma", "the integral of t**(x-1) * e**-t from 0 to infinity; (x-1)!")
gammaln = _elementwise("gammaln", "`log(|gamma(x)|)`")
psi = _elementwise("psi", "the derivative of log(gamma(x)), the digamma function")
tri_gamma = _elementwise("tri_gamma", "the derivative of psi(x), the trigamma function")

# Complex numbers
conj = _elementwise("conj", "the complex conjugate of x")
real = _elementwise("real", "the real part of x")
imag = _elementwise("imag", "the imaginary part of x; 0 for a real number")
angle = _elementwise("angle", "arctan2(imag(x), real(x)), the phase of x")

# Copies
identity = _elementwise("identity", "x, under another identity")
second = _elementwise("second", "b, in the shape that a and b broadcast to")

_switch = elementwise["switch"] = Elemwise(scalar.ops["switch"])
_clip = elementwise["clip"] = Elemwise(scalar.ops["clip"])


def switch(cond: Any, ift: Any, iff: Any) -> Any:
    """switch(cond, ift, iff) = ift where cond holds, iff elsewhere.

    All three broadcast; a condition that is not bool holds where it is not 0. No gradient
    flows to the condition, and none to the branch that is not taken.
    """
    return _switch(cond, ift, iff)


def clip(x: Any, min: Any, max: Any) -> Any:
    """clip(x, min, max) = minimum(maximum(x, min), max), for each element; NaN where one is.

    Either bound may be None.
    """
    if min is None and max is None:
        raise TypeError("clip needs at least one bound: both min and max are None")
    if min is None:
        return minimum(x, max)
    if max is None:
        return maximum(x, min)
    return _clip(x, min, max)


abs = absolute = abs_
sign = sgn
square = sqr
inv = reciprocal
divide = true_div
floor_div = floor_divide = int_div
remainder = mod
power = pow
where = switch
conjugate = conj
bitwise_and, bitwise_or, bitwise_xor = and_, or_, xor
bitwise_not = bitwise_invert = invert
bitwise_left_shift, bitwise_right_shift = left_shift, right_shift
radians, degrees = deg2rad, rad2deg
digamma = psi
subtract, multiply, true_divide, negative, positive = sub, mul, true_div, neg, identity
equal, not_equal, less, less_equal, greater, greater_equal = eq, neq, lt, le, gt, ge
acos, asin, atan, atan2 = arccos, arcsin, arctan, arctan2
acosh, asinh, atanh = arccosh, arcsinh, arctanh
rint = round_half_to_even


def fabs(x: Any) -> Any:
    """`|x|` of a real number, in floating point."""
    from kroton.tensor.constant import as_tensor_variable

    x = as_tensor_variable(x)
    dtype = to_float(x.type.numpy_dtype)
    if dtype.kind != "f":
        raise TypeError(f"fabs takes real numbers, got dtype {x.type.dtype}; see abs")
    return abs_(x if dtype == x.type.numpy_dtype else cast(x, dtype.name))


_ROUNDINGS = {
    "half_to_even": round_half_to_even,
    "half_away_from_zero": round_half_away_from_zero,
}


def round(a: Any, mode: str | None = None) -> Any:
    """The nearest integer, in the dtype of `a`.

    Parameters
    ----------
    a : tensor
    mode : {'half_to_even', 'half_away_from_zero'}, optional
        What becomes of a value in the middle of two integers. NumPy's, 'half_to_even', by
        default.

    Raises
    ------
    ValueError
        For another mode.
    """
    rounding = _ROUNDINGS.get("half_to_even" if mode is None else mode)
    if rounding is None:
        raise ValueError(f"round's mode is one of {', '.join(_ROUNDINGS)}, got {mode!r}")
    return rounding(a)


def iround(a: Any, mode: str | None = None) -> Any:
    """`round(a, mode)` as int64."""
    return cast(round(a, mode), "int64")


def divmod(x: Any, y: Any) -> tuple[Any, Any]:
    """The pair `(int_div(x, y), mod(x, y))`."""
    return int_div(x, y), mod(x, y)


def ceil_intdiv(a: Any, b: Any) -> Any:
    """ceil(a / b), in integers."""
    quotient = int_div(a, b)
    return quotient + cast(neq(mod(a, b), 0), quotient.type.dtype)


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether `|a - b| <= atol + rtol * |b|`, for each element (bool).

    Infinities are close to themselves only, NaN to nothing, or to NaN with `equal_nan`.
    """
    from kroton.tensor.constant import as_tensor_variable

    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if b.type.numpy_dtype.kind not in "fc":
        # differences of unsigned integers and of bool are not what is meant
        b = cast(b, "float64")
    near = and_(le(abs_(a - b), atol + rtol * abs_(b)), invert(isinf(b)))
    close = or_(near, eq(a, b))
    return or_(close, and_(isnan(a), isnan(b))) if equal_nan else close


def allclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether `isclose` holds for all elements (a bool scalar)."""
    import kroton.tensor as T

    return T.all(isclose(a, b, rtol, atol, equal_nan))


def xlogy0(x: Any, y: Any) -> Any:
    """x * log(y), and 0 where x is 0 whatever y is.

    The gradient is that of x * log(y) where y is positive and finite; elsewhere it is 0 for
    x = 0.
    """
    harmless = and_(gt(y, 0), invert(isinf(y)))
    return x * log(switch(and_(eq(x, 0), invert(harmless)), 1, y))


def xlogx(x: Any) -> Any:
    """x * log(x), and 0 where x is 0, where the gradient is taken to be 0 too."""
    return xlogy0(x, x)


__all__ = [
    "abs",
    "abs_",
    "absolute",
    "acos",
    "acosh",
    "add",
    "allclose",
    "and_",
    "angle",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "cbrt",
    "ceil",
    "ceil_intdiv",
    "clip",
    "conj",
    "conjugate",
    "copysign",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "digamma",
    "divide",
    "divmod",
    "eq",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fabs",
    "float_power",
    "floor",
    "floor_div",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "gamma",
    "gammaln",
    "gcd",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "heaviside",
    "hypot",
    "identity",
    "imag",
    "int_div",
    "inv",
    "invert",
    "iround",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "lcm",
    "le",
    "left_shift",
    "less",
    "less_equal",
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
    "multiply",
    "neg",
    "negative",
    "neq",
    "nextafter",
    "not_equal",
    "or_",
    "positive",
    "pow",
    "power",
    "psi",
    "rad2deg",
    "radians",
    "real",
    "reciprocal",
    "remainder",
    "right_shift",
    "rint",
    "round",
    "round_half_away_from_zero",
    "round_half_to_even",
    "second",
    "sgn",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "softplus",
    "sqr",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "switch",
    "tan",
    "tanh",
    "tri_gamma",
    "true_div",
    "true_divide",
    "trunc",
    "where",
    "xlogx",
    "xlogy0",
    "xor",
]
