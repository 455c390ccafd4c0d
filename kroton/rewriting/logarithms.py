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
from kroton.rewriting.exponentials import Term, sum_of_exponentials
from kroton.rewriting.factors import QUOTIENTS, Product, factors_of, power_of, reduced
from kroton.rewriting.matching import Match, scalar_name, uniform_value
from kroton.rewriting.pattern import (
    C,
    abs,
    cosh,
    erf,
    erfc,
    log,
    log1p,
    sinh,
    sqr,
    x,
)
from kroton.rewriting.phases import stabilize
from kroton.rewriting.softmax import is_sum_of_exp, weighted_sum
from kroton.tensor.advanced_subtensor import AdvancedSubtensor, AdvancedSubtensor1
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.nnet.softmax import Softmax
from kroton.tensor.reshape import Reshape
from kroton.tensor.subtensor import Subtensor

T: Any = kroton.tensor

rule = stabilize.rule

_HALF = -number_log(2)
_TAILS = {"float32": 9.0, "float64": 25.0}
"""From where on erfc is computed from its expansion; a little further it underflows."""
_NEAR = 0.5
"""Up to where erf, and from where on erfc, has the digits of log(erfc(x))."""
_RATIOS = {"float32": 5.5, "float64": 10.0}
"""From where on exp(-x**2) / erfc(x) is; exp(-x**2) has lost a digit by then."""


# ---- logarithms of products and powers of what is positive ---------------------------------

rule(log(sqr(x.float)), 2 * log(abs(x)))


def _log_of_power(m: Match) -> Any:
    exponent = float(m.value("c"))
    base = T.abs_(m.x) if exponent % 2 == 0 else m.x
    return T.log(base) * T.constant(exponent, dtype=m.out.type.dtype)


rule(log(x.float ** C("c").float), _log_of_power, name="log(x ** c) -> c * log(x)",
     when=lambda m: m.value("c") != 0)  # fmt: skip


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

rule(log1p(erf(x)), log(erfc(-x)), when=lambda m: not _is_limited(m.x))
rule(log1p(-erf(x)), log(erfc(x)), when=lambda m: not _is_limited(m.x))


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
    """The logarithm of erfc or half of it, also where erfc underflows or that is near 1."""
    (tail,) = node.inputs
    half = _half_of(tail)
    tail = tail if half is None else half
    bound = _TAILS.get(tail.type.dtype)
    if scalar_name(tail) != "erfc" or bound is None:
        return None
    (z,) = tail.owner.inputs
    if _is_limited(z):
        return None
    edge, near = (T.constant(v, dtype=z.type.dtype) for v in (bound, _NEAR))
    far = T.maximum(z, edge)
    beyond = T.log1p(_series(far)) - T.log(far * number_sqrt(pi)) - T.sqr(far)
    between = T.erfc(T.minimum(z, edge))
    below = -T.erf(T.minimum(z, near))
    if half is not None:
        beyond = beyond + T.constant(_HALF, dtype=z.type.dtype)
        between, below = 0.5 * between, -0.5 * T.erfc(-T.minimum(z, near))
    return T.switch(T.gt(z, edge), beyond, T.switch(T.gt(z, near), T.log(between), T.log1p(below)))


def _half_of(v: Variable) -> Any:
    """x, if `v` is half of x."""
    if scalar_name(v) != "mul":
        return None
    for a, b in (v.owner.inputs, v.owner.inputs[::-1]):  # type: ignore[union-attr]
        value = uniform_value(a)
        if value is not None and value == 0.5:
            return b
    return None


def _ratio_of_mills(density: Any, tail: Any) -> Any:
    """exp(-z**2) / erfc(z), as the gradient of log(erfc(z)) has it, also where both underflow."""
    bound = _RATIOS.get(tail.type.dtype)
    if scalar_name(tail) != "erfc" or bound is None:
        return None
    (z,) = tail.owner.inputs
    if _is_limited(z) or not _is_gaussian(density, z):
        return None
    edge = T.constant(bound, dtype=z.type.dtype)
    far, near = T.maximum(z, edge), T.minimum(z, edge)
    return T.switch(
        T.gt(z, bound),
        far * number_sqrt(pi) / (1 + _series(far, terms=12)),
        T.exp(-T.sqr(near)) / T.erfc(near),
    )


QUOTIENTS["exp"] = _ratio_of_mills


def _is_gaussian(v: Variable, z: Variable, sign: int = -1) -> bool:
    """Whether v is exp(sign * z**2), also with z a multiple of what is squared: exp(-x**2 / 2)."""
    if scalar_name(v) != "exp":
        return False
    (exponent,) = v.owner.inputs  # type: ignore[union-attr]
    (c, square), (d, base) = _monomial(exponent), _monomial(z)
    eps = float(np.finfo(z.type.dtype).eps)
    if len(base) != 1 or square != {x: 2 * e for x, e in base.items()}:
        return False
    return bool(np.abs(c - sign * d**2) <= 4 * eps * d**2)


def _monomial(v: Any) -> tuple[float, dict[Any, int]]:
    """A number and powers of which `v` is the product."""
    c, powers = 1.0, dict[Any, int]()
    stack: list[tuple[Any, int]] = [(v, 1)]
    while stack:
        w, e = stack.pop()
        value = uniform_value(w) if isinstance(w, Constant) else None
        name = scalar_name(w) if len(stack) < 4 else ""
        if value is not None and value != 0:
            c *= float(value) ** e
        elif name == "neg":
            c *= (-1) ** e
            stack.append((w.owner.inputs[0], e))
        elif name == "mul":
            stack.extend((u, e) for u in w.owner.inputs)
        elif name == "true_div":
            stack.extend([(w.owner.inputs[0], e), (w.owner.inputs[1], -e)])
        elif name == "sqr" or (
            name == "pow" and (value := uniform_value(w.owner.inputs[1])) is not None and value == 2
        ):
            stack.append((w.owner.inputs[0], 2 * e))
        else:
            powers[w] = powers.get(w, 0) + e
    return c, powers


@stabilize.rewriter("mul", name="erfc(x) * exp(x**2) where both are far out", depth=5)
def scaled_erfc(fgraph: FunctionGraph, node: Apply) -> Any:
    """exp(z**2) erfc(z), by its expansion where the one overflows and the other underflows."""
    for tail, growth in (node.inputs, node.inputs[::-1]):
        bound = _RATIOS.get(tail.type.dtype)
        if scalar_name(tail) != "erfc" or scalar_name(growth) != "exp" or bound is None:
            continue
        (z,) = tail.owner.inputs
        if _is_limited(z) or not _is_gaussian(growth, z, 1):
            continue
        edge = T.constant(bound, dtype=z.type.dtype)
        far, near = T.maximum(z, edge), T.minimum(z, edge)
        return T.switch(
            T.gt(z, edge),
            (1 + _series(far, terms=12)) / (far * number_sqrt(pi)),
            T.exp(T.sqr(near)) * T.erfc(near),
        )
    return None


# ---- an element of a softmax ---------------------------------------------------------------


@stabilize.rewriter("log", name="log(softmax(x)[i]) -> logsoftmax(x)[i]", depth=3)
def log_of_indexed_softmax(fgraph: FunctionGraph, node: Apply) -> Any:
    """Elements of a softmax are indexed, and put in another order, after the logarithm.

    That is made without underflow.
    """
    return _log_of_element(node.inputs[0])


def _log_of_element(v: Variable) -> Any:
    """The logarithm of `v` if that is an element of a softmax, or one in another shape."""
    moved = v.owner
    if moved is None or type(moved.op) not in _MOVES:
        return None
    whole = moved.inputs[0].owner
    if whole is None or type(whole.op) is not Softmax:
        return None
    return moved.op(T.nnet.logsoftmax(whole.inputs[0], whole.op.axis), *moved.inputs[1:])


_MOVES = (AdvancedSubtensor, AdvancedSubtensor1, DimShuffle, Reshape, Subtensor)


# ---- products --------------------------------------------------------------------------------


@stabilize.rewriter("log", name="log_of_product", depth=6, stretches=True)
def log_of_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """Factors of which the logarithm is known, and powers of them, are terms of the logarithm.

    The others stay in one logarithm, for two negative ones have a positive product.
    """
    (argument,) = node.inputs
    if argument.type.numpy_dtype.kind != "f" or scalar_name(argument) not in _PRODUCTS:
        return None
    product = factors_of(fgraph, argument, shared=True)
    if product is None:
        return None
    product = reduced(product)
    terms: list[Any] = []
    left: list[list[Any]] = [[], []]
    for factors, sign, rest in zip((product.above, product.below), (1.0, -1.0), left):
        for v in factors:
            base, exponent = power_of(v)
            known = known_log(base)
            if known is None:
                rest.append(v)
                continue
            exponent *= sign
            terms.append(
                known if exponent == 1 else known * T.constant(exponent, dtype=known.dtype)
            )
    if not terms or (product.coefficient < 0 and not any(left)):
        return None
    total = sum(terms[1:], start=terms[0])
    if any(left) or product.coefficient != 1:
        rest = Product(product.coefficient, left[0], left[1]).build(argument.type.dtype)
        total = T.log(rest) + total
    return total


_PRODUCTS = ("mul", "true_div", "neg", "reciprocal")


def known_log(v: Any) -> Any:
    """The logarithm of `v` where it is known to be positive and that is no new logarithm of it."""
    name = scalar_name(v)
    if name == "exp":
        return v.owner.inputs[0]
    if name == "sigmoid":
        return -T.softplus(-v.owner.inputs[0])
    if name == "erfc":
        return T.log(v)
    if v.owner is not None and type(v.owner.op) is Softmax:
        return T.nnet.logsoftmax(v.owner.inputs[0], v.owner.op.axis)
    if is_sum_of_exp(v):
        return T.log(v)
    terms = sum_of_exponentials(v)
    if terms is not None and all(t.coefficient > 0 and not t.weights for t in terms):
        return T.log(v)
    return _log_of_element(v)


# ---- other bases ------------------------------------------------------------------------------


@stabilize.rewriter("log2", "log10", name="logarithm_to_a_base", depth=6, stretches=True)
def logarithm_to_a_base(fgraph: FunctionGraph, node: Apply) -> Any:
    """log2 and log10 of what has a stable natural logarithm are multiples of that."""
    (argument,) = node.inputs
    if argument.type.numpy_dtype.kind != "f" or not _is_exponential(fgraph, argument):
        return None
    per = 1 / number_log(2 if node.op.name == "log2" else 10)
    return T.log(argument) * T.constant(per, dtype=argument.type.dtype)


def _is_exponential(fgraph: FunctionGraph, v: Variable) -> bool:
    """Whether `v`, or a factor of it, may overflow or underflow where its logarithm does not."""
    if scalar_name(v) not in _PRODUCTS:
        inner = v.owner.inputs[0] if v.owner is not None and type(v.owner.op) is DimShuffle else v
        return known_log(v) is not None or weighted_sum(inner) is not None
    product = factors_of(fgraph, v, shared=True)
    return product is not None and any(
        known_log(factor) is not None for factor in [*product.above, *product.below]
    )


# ---- logarithms of sums of exponentials ------------------------------------------------------


@stabilize.rewriter("log", "log1p", name="log_of_exponentials", depth=6, stretches=True)
def log_of_exponentials(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(sum of c_k exp(z_k)) = m + log(sum of c_k exp(z_k - m)), also with weights.

    m is how far the largest z_k is beyond a bound from which on the exponentials may overflow or
    underflow: 0 for ordinary values, which are computed as they are written.
    """
    (argument,) = node.inputs
    dtype = argument.type.dtype
    if scalar_name(argument) not in _SUMS:
        return None
    terms = sum_of_exponentials(argument)
    if terms is None or any(_is_shifted(term.argument) for term in terms):
        return None
    arguments = list(dict.fromkeys(term.argument for term in terms if term.argument is not None))
    terms.sort(key=lambda term: term.argument is None)
    constants = [term for term in terms if term.argument is None]
    beside = node.op.name == "log1p" or bool(constants)
    bound = _bound_for(terms, beside, dtype)
    if bound is None:
        return None
    if len(arguments) == 1 and not (beside and terms[0].coefficient > 0):
        return None
    edge, zero = (T.constant(v, dtype=dtype) for v in (bound, 0))
    if len(arguments) == 1:
        (z,) = arguments
        m = T.maximum(z - edge, zero)
        exponentials = {z: T.exp(T.minimum(z, edge))}
    else:
        m = _excess(arguments, edge, zero, beside)
        exponentials = {z: T.exp(z - m) for z in arguments}
    total: Any = None
    for term in terms:
        v = term.built(None if term.argument is None else exponentials[term.argument])
        total = v if total is None else total + v
    return node.op(total) + m


_SUMS = ("add", "sub", "mul", "true_div", "neg", "expm1")


def _bound_for(terms: list[Term], beside: bool, dtype: str) -> float | None:
    """Up to where no sum of these terms overflows; None where constants are not negligible there.

    A constant that stands beside is left as it is although the others are scaled by exp(-m).
    """
    sizes = [np.abs(term.coefficient) for term in terms if term.argument is not None]
    span = float(np.log(np.finfo(dtype).max)) - 2
    weighted = any(term.weights for term in terms)
    bound = span - max(np.log(sum(sizes)), 0) - max(-np.log(min(sizes)), 0) - weighted * span / 10
    if bound < span / 2:
        return None
    if beside:
        constants = [np.abs(term.coefficient) for term in terms if term.argument is None]
        positive = all(term.coefficient > 0 for term in terms) or len(sizes) == 1
        if weighted or not positive or max(constants, default=1) > np.exp(bound / 2):
            return None
    return float(np.floor(bound))


def _excess(arguments: list[Any], edge: Any, zero: Any, beside: bool) -> Any:
    """How far the largest argument is above the edge or, with nothing beside, below minus it."""
    top = arguments[0]
    for z in arguments[1:]:
        top = T.maximum(top, z)
    # Infinity less infinity would be no number.
    limit = T.constant(np.finfo(edge.type.dtype).max, dtype=edge.type.dtype)
    top = T.clip(top, -limit, limit)
    m = T.maximum(top - edge, zero)
    return m if beside else m + T.minimum(top + edge, zero)


def _is_shifted(z: Variable | None) -> bool:
    """Whether `z` is limited, or has something limited as a term."""
    stack = [] if z is None else [z]
    for _ in range(8):
        if not stack:
            break
        v = stack.pop()
        if _is_limited(v):
            return True
        if scalar_name(v) in ("add", "sub", "neg"):
            stack.extend(v.owner.inputs)  # type: ignore[union-attr]
    return False


rule(log(cosh(x.float)), lambda m: _log_of_hyperbolic(m, T.cosh, T.abs_(m.x)),
     name="log(cosh(x)) where it overflows", when=lambda m: not _is_limited(m.x))  # fmt: skip
rule(log(sinh(x.float)), lambda m: _log_of_hyperbolic(m, T.sinh, m.x),
     name="log(sinh(x)) where it overflows", when=lambda m: not _is_limited(m.x))  # fmt: skip


def _log_of_hyperbolic(m: Match, function: Any, z: Any) -> Any:
    """log(function(z)), which is z - log(2) far out."""
    dtype = m.out.type.dtype
    edge = T.constant(np.floor(np.log(np.finfo(dtype).max)) - 1, dtype=dtype)
    return T.log(function(T.minimum(z, edge))) + T.maximum(z - edge, T.constant(0, dtype=dtype))
