"""Products and quotients as one set of factors: what is in both numerator and denominator goes.

Gradients of logarithms and of quotients are full of factors that cancel, and that overflow or
underflow one by one where the whole does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import agreeing
from kroton.rewriting.exponentials import share_of
from kroton.rewriting.gathering import product_is_safe
from kroton.rewriting.jumps import jumps
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.pattern import elemwise_of
from kroton.rewriting.phases import stabilize
from kroton.rewriting.shape import place_of_extent
from kroton.rewriting.softmax import softmax_for, weighted_share
from kroton.tensor.constant import constant
from kroton.tensor.type import discrete_dtypes

T: Any = kroton.tensor

_LIMIT = 24
"""Products of more factors are left alone, so that long chains cost no more than short ones."""

_OPENED = (2, 3, 4, 5, 6)
"""Exponents of powers that cancel factor by factor."""
_CANCELLING = frozenset(("add", "sub", "exp", "expm1", "sigmoid", "erfc", "cosh", "sinh"))
"""What makes the bases of these powers."""

_pow = elemwise_of("pow")
_add, _mul, _div, _neg, _reciprocal, _sigmoid = (
    elemwise_of(name) for name in ("add", "mul", "true_div", "neg", "reciprocal", "sigmoid")
)


@dataclass
class Product:
    """`coefficient * above / below`, each a list of factors."""

    coefficient: float = 1.0
    above: list[Any] = field(default_factory=list)
    below: list[Any] = field(default_factory=list)
    stabilized: bool = False
    """Whether exponentials that could overflow became a sigmoid."""
    numbers: int = 0
    """How many constants the coefficient was gathered from."""
    applys: list[Apply] = field(default_factory=list)
    """What it was made by, which goes when something else stands in its place."""

    def cost(self) -> int:
        """How many factors there are."""
        return len(self.above) + len(self.below) + (self.coefficient not in (1.0, -1.0))

    def times(self, other: Product) -> Product:
        """The product of both."""
        return Product(
            self.coefficient * other.coefficient, self.above + other.above, self.below + other.below
        )

    def build(self, dtype: str) -> Any:
        """The product as an expression; smaller factors are multiplied first."""
        above = _multiplied(self.above)
        below = _multiplied(self.below)
        number = constant(self.coefficient, dtype=dtype)
        if above is None:
            if below is None:
                return number
            return _reciprocal(below) if self.coefficient == 1.0 else _div(number, below)
        if self.coefficient not in (1.0, -1.0):
            above = _mul(above, number)
        result = above if below is None else _div(above, below)
        return _neg(result) if self.coefficient == -1.0 else result


def _multiplied(factors: list[Any]) -> Any:
    product = None
    for factor in sorted(factors, key=lambda v: v.type.ndim):
        product = factor if product is None else _mul(product, factor)
    return product


def factors_of(fgraph: FunctionGraph, var: Variable, shared: bool = False) -> Product | None:
    """`var` as a product; None if it has too many factors, or their numbers make 0 or infinity.

    Products that others use as well are single factors, unless `shared`.
    """
    found = Product()
    stack: list[tuple[Any, bool]] = [(var, True)]
    while stack:
        v, is_above = stack.pop()
        if len(found.above) + len(found.below) + len(stack) > _LIMIT:
            return None
        value = uniform_value(v) if isinstance(v, Constant) else None
        if value is not None and value.dtype.kind == "f" and value != 0:
            number = float(value)
            # The 1 of a reciprocal and the -1 of a sign are no factors.
            found.numbers += number not in (1.0, -1.0)
            with np.errstate(all="ignore"):
                found.coefficient *= number if is_above else float(1 / np.float64(number))
            continue
        whole = shared or v is var or len(fgraph.variables.get(v, ())) <= 1
        name = scalar_name(v) if whole else ""
        if name in ("mul", "true_div", "neg", "reciprocal"):
            found.applys.append(v.owner)
        if name == "mul":
            stack.extend((x, is_above) for x in reversed(v.owner.inputs))
        elif name == "true_div":
            a, b = v.owner.inputs
            stack.extend([(b, not is_above), (a, is_above)])
        elif name == "neg":
            found.coefficient = -found.coefficient
            stack.append((v.owner.inputs[0], is_above))
        elif name == "reciprocal":
            stack.append((v.owner.inputs[0], not is_above))
        else:
            (found.above if is_above else found.below).append(v)
    if found.numbers and not product_is_safe(found.coefficient, var.type.dtype):
        return None
    return found


def _logistic_argument(v: Variable) -> Any:
    """z, if `v` is 1 + exp(z)."""
    if scalar_name(v) != "add":
        return None
    for one, e in (v.owner.inputs, v.owner.inputs[::-1]):  # type: ignore[union-attr]
        if scalar_name(e) == "exp":
            value = uniform_value(one)
            if value is not None and value == 1:
                return e.owner.inputs[0]
    return None


def _sigmoid_of(z: Any, negated: bool) -> Any:
    if negated:
        z = z.owner.inputs[0] if scalar_name(z) == "neg" else _neg(z)
    return _sigmoid(z)


def reduced(product: Product) -> Product:
    """The product without factors that cancel, exp(z) / (1 + exp(z)) being sigmoid(z)."""
    above, below = _opened(product.above), _opened(product.below)
    restore: dict[Any, Any] = {}
    # 1 + exp(z) is 1 / sigmoid(-z).
    for source, target in ((above, below), (below, above)):
        for v in list(source):
            z = _logistic_argument(v)
            if z is not None:
                source.remove(v)
                s = _same(_sigmoid_of(z, True), [*above, *below, *restore])
                restore[s] = v
                target.append(s)
    stabilized = _without_exponentials(above, below)
    for v in list(above):
        twin = _same(v, below)
        if twin in below and not _is_of_integers(v):
            above.remove(v)
            below.remove(twin)
    stabilized = _quotients(above, below) or stabilized
    for bound in [v for v in below if scalar_name(v) == "maximum"]:
        n = _bounded_extent(bound)
        if n in above:
            above[above.index(n)] = T.minimum(n, constant(1, dtype=n.type.dtype))
            below.remove(bound)
    # 1 / (1 + exp(z)) stays sigmoid(-z); 1 + exp(z) is written as it was.
    stabilized = stabilized or any(v in restore for v in above)
    for v in list(below):
        if v in restore:
            below.remove(v)
            above.append(restore[v])
    if any(power_of(v)[0] is not v for v in [*product.above, *product.below]):
        above, below = _powers(above, below)
    return Product(product.coefficient, above, below, stabilized)


def _opened(factors: list[Any]) -> list[Any]:
    """The factors, with small powers of what may cancel one by one as so many factors."""
    found: list[Any] = []
    for v in factors:
        if scalar_name(v) in ("sqr", "pow"):
            base, exponent = power_of(v)
            if exponent in _OPENED and scalar_name(base) in _CANCELLING:
                found.extend([base] * int(exponent))
                continue
        found.append(v)
    return found


def _without_exponentials(above: list[Any], below: list[Any]) -> bool:
    """Replace exp(z) and what it is divided by or multiplied with; whether there was something."""
    changed = False
    for e in [v for v in above if scalar_name(v) == "exp"]:
        if e not in above:
            continue
        (z,) = e.owner.inputs
        s = _same(_sigmoid_of(z, True), above)
        if s in above:
            above.remove(s)
            above[above.index(e)] = _same(_sigmoid_of(z, False), [*above, *below])
            changed = True
            continue
        for other in above:
            merged = _product_of_exponentials(e, other)
            if merged is not None:
                above.remove(other)
                above.remove(e)
                above.extend(merged)
                changed = True
                break
        else:
            changed = _by_weighted_sum(e, above, below) or changed
            if e not in above:
                continue
            for total in dict.fromkeys(below):
                quotient = softmax_for(z, total)
                if quotient is None:
                    quotient = share_of(z, total)
                if quotient is not None:
                    below.remove(total)
                    above[above.index(e)] = quotient
                    changed = True
                    break
    return changed


def _by_weighted_sum(e: Any, above: list[Any], below: list[Any]) -> bool:
    """Replace exp(z) and its sum with weights that it is divided by; whether there was one."""
    for factors in (below, above):
        for v in factors:
            if v.owner is None or v is e:
                continue
            share = weighted_share(e.owner.inputs[0], v, factors is below)
            if share is not None:
                factors.remove(v)
                above.remove(e)
                above.extend(share)
                return True
    return False


def _product_of_exponentials(e: Any, other: Any) -> list[Any] | None:
    """The factors that stand for e * other, with e = exp(z): none if other is exp(-z).

    exp(z) exp(-c exp(z)) is exp(z - c exp(z)), of which no factor overflows.
    """
    if scalar_name(other) != "exp" or other is e:
        return None
    (z,), (exponent,) = e.owner.inputs, other.owner.inputs
    if is_negated(z, exponent):
        return [constant(1, dtype=e.type.dtype)]
    negative, stack = False, [exponent]
    while stack and len(stack) < _LIMIT:
        v = stack.pop()
        if v is e:
            return [elemwise_of("exp")(_add(z, exponent))] if negative else None
        if scalar_name(v) == "neg":
            negative = not negative
            stack.append(v.owner.inputs[0])
        elif scalar_name(v) == "mul":
            stack.extend(v.owner.inputs)
        elif (value := uniform_value(v)) is not None:
            negative ^= bool(value < 0)
    return None


def _quotients(above: list[Any], below: list[Any]) -> bool:
    """Replace f(z) / g(z) by the one function that it is; whether there was something."""
    changed = False
    for v in list(above):
        build = QUOTIENTS.get(scalar_name(v))
        if build is None:
            continue
        for w in below:
            quotient = build(v, w)
            if quotient is not None:
                above[above.index(v)] = quotient
                below.remove(w)
                changed = True
                break
    return changed


def _odds(v: Any, w: Any) -> Any:
    """exp(z) for sigmoid(z) / sigmoid(-z), and sigmoid(-z) for sigmoid(z) / exp(z)"""
    if scalar_name(w) == "exp" and v.owner.inputs[0] is w.owner.inputs[0]:
        return _sigmoid_of(v.owner.inputs[0], True)
    if scalar_name(w) != "sigmoid" or not is_negated(v.owner.inputs[0], w.owner.inputs[0]):
        return None
    return elemwise_of("exp")(v.owner.inputs[0])


def _tanh(v: Any, w: Any) -> Any:
    """tanh(z) for sinh(z) / cosh(z), and its reciprocal for cosh(z) / sinh(z)"""
    (z,) = v.owner.inputs
    if {scalar_name(v), scalar_name(w)} != {"sinh", "cosh"} or z is not w.owner.inputs[0]:
        return None
    tanh = elemwise_of("tanh")(z)
    return tanh if scalar_name(v) == "sinh" else _reciprocal(tanh)


QUOTIENTS: dict[str, Callable[[Any, Any], Any]] = {
    "sigmoid": _odds, "sinh": _tanh, "cosh": _tanh,
}  # fmt: skip
"""By the function of a numerator: what its quotient by another factor is, or None."""


def _bounded_extent(bound: Variable) -> Any:
    """n, if `bound` is max(n, 1) of an extent n: n / max(n, 1) is min(n, 1)."""
    for n, one in (bound.owner.inputs, bound.owner.inputs[::-1]):  # type: ignore[union-attr]
        value = uniform_value(one)
        source = n.owner.inputs[0] if scalar_name(n).startswith("cast") else n
        if value is not None and value == 1 and place_of_extent(source) is not None:
            return n
    return None


def is_negated(u: Variable, w: Variable) -> bool:
    """Whether u is written as -w, or w as -u."""
    for a, b in ((u, w), (w, u)):
        if scalar_name(a) == "neg" and a.owner.inputs[0] is b:  # type: ignore[union-attr]
            return True
    if scalar_name(u) == scalar_name(w) == "sub":
        return u.owner.inputs == w.owner.inputs[::-1]  # type: ignore[union-attr]
    return False


def _is_of_integers(v: Any) -> bool:
    """Whether the elements of `v` are integers, which may well be 0; extents are taken not to be.

    Of floats x / x is 1, also where x is 0 or infinite and the quotient would be NaN, as in the
    lineage: gradients of quotients and logarithms rely on it.
    """
    if not scalar_name(v).startswith("cast") or not v.type.ndim:
        return False
    return v.owner.inputs[0].type.dtype in discrete_dtypes


def _powers(above: list[Any], below: list[Any]) -> tuple[list[Any], list[Any]]:
    """The factors, with whole powers of one base gathered, which may cancel.

    Also roots and powers of what is positive, where they gather to whole powers.
    """
    exponents: dict[Any, float] = {}
    members: dict[Any, list[Any]] = {}
    for sign, factors in ((1, above), (-1, below)):
        for v in factors:
            base, exponent = power_of(v)
            exponents[base] = exponents.get(base, 0) + sign * exponent
            members.setdefault(base, []).append(v)
    for base, found in members.items():
        exponent = exponents[base]
        if len(found) == 1 or exponent != np.floor(exponent):
            continue
        above = [v for v in above if v not in found]
        below = [v for v in below if v not in found]
        if exponent:
            power = _pow(base, abs(exponent)) if abs(exponent) != 1 else base
            (above if exponent > 0 else below).append(power)
    return above, below


def power_of(v: Any) -> tuple[Any, float]:
    """A base and an exponent of which `v` is the power; whole if the base may be negative."""
    name = scalar_name(v)
    if name == "sqr":
        return v.owner.inputs[0], 2
    if name == "sqrt" and _is_positive(v.owner.inputs[0]):
        return v.owner.inputs[0], 0.5
    if name == "pow":
        base, exponent = v.owner.inputs
        value = uniform_value(exponent)
        if (
            value is not None
            and (value == np.floor(value) or _is_positive(base))
            and base.type.shape == v.type.shape
        ):
            return base, float(value)
    return v, 1


def _is_positive(v: Variable) -> bool:
    """Whether `v` is known to have no negative elements."""
    return scalar_name(v) in ("exp", "sigmoid", "sqr", "abs", "softplus")


def _same(v: Any, among: list[Any]) -> Any:
    """The member of `among` that is `v`, or the same sigmoid; `v` if there is none."""
    for other in among:
        if other is v or (
            scalar_name(v) == scalar_name(other) == "sigmoid" and _equal_arguments(v, other)
        ):
            return other
    return v


def _equal_arguments(a: Any, b: Any) -> bool:
    (x,), (y,) = a.owner.inputs, b.owner.inputs
    return x is y or (
        scalar_name(x) == scalar_name(y) == "neg" and x.owner.inputs[0] is y.owner.inputs[0]
    )


@stabilize.rewriter("mul", "true_div", "neg", "reciprocal", name="cancel_factors", depth=6,
                    stretches=True)  # fmt: skip
def cancel_factors(fgraph: FunctionGraph, node: Apply) -> Any:
    """Factors in numerator and denominator cancel, also after distributing over a sum.

    `q * (a + b)` becomes `q * a + q * b` where that has fewer factors because some of q cancel.
    """
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f" or is_part_of_product(fgraph, out):
        return None
    found = factors_of(fgraph, out)
    if found is None:
        return None
    less = reduced(found)
    gathered = found.numbers > 1 and not jumps(fgraph, out, compared=True)
    changed = less.cost() < found.cost() or less.stabilized or gathered
    dtype = out.type.dtype
    if not changed:
        # Products that others use too are opened only where that pays here.
        opened = factors_of(fgraph, out, shared=True)
        if opened is not None:
            opened = reduced(opened)
            if opened.cost() < found.cost() + opened.stabilized:
                return _agreeing(fgraph, opened, found, dtype)
    for v in less.above:
        if scalar_name(v) not in ("add", "sub") or len(fgraph.variables.get(v, ())) > 1:
            continue
        if _logistic_argument(v) is not None:
            continue
        rest = Product(1.0, [u for u in less.above if u is not v], less.below)
        if not rest.above and not rest.below:
            continue
        terms = [factors_of(fgraph, term) for term in v.owner.inputs]
        if None in terms:
            continue
        spread = [reduced(rest.times(term)) for term in terms if term is not None]
        if sum(p.cost() for p in spread) < rest.cost() + sum(t.cost() for t in terms if t):
            total = v.owner.op(*[p.build(dtype) for p in spread])
            return Product(less.coefficient, [total]).build(dtype)
    return _agreeing(fgraph, less, found, dtype) if changed else None


def _agreeing(fgraph: FunctionGraph, less: Product, whole: Product, dtype: str) -> Any:
    """The product, checked to have the extents of the factors that cancelled."""
    left = {*less.above, *less.below}
    gone = [v for v in dict.fromkeys(whole.above) if v not in left and v in whole.below]
    return agreeing(fgraph, less.build(dtype), *gone, without=whole.applys)


def is_part_of_product(fgraph: FunctionGraph, out: Variable) -> bool:
    """Whether the only user of `out` is a product that will be looked at as a whole."""
    users = fgraph.variables[out]
    if len(users) != 1:
        return False
    ((client, _),) = users
    return client != "output" and scalar_name(client.outputs[0]) in (
        "mul", "true_div", "neg", "reciprocal",
    )  # fmt: skip


@stabilize.rewriter(
    "add", "sub", name="p - p * sigmoid(x) -> p * sigmoid(-x)", depth=4, stretches=True
)
def product_less_its_part(fgraph: FunctionGraph, node: Apply) -> Any:
    """p - p sigmoid(x) with sigmoid(x) a factor of p: the derivative of a logistic function.

    Where the sigmoid is near 1 the difference has no digits left. Nor has p - 2 p sigmoid(x), the
    second derivative, where it is near 1/2: that is p tanh(-x / 2).
    """
    first, second = node.inputs
    out = node.outputs[0]
    if out.type.numpy_dtype.kind != "f" or first.type.ndim != second.type.ndim:
        return None
    if "mul" not in (scalar_name(first), scalar_name(second)):
        return None
    a, b = factors_of(fgraph, first, shared=True), factors_of(fgraph, second, shared=True)
    if a is None or b is None:
        return None
    if node.op.name == "sub":
        b.coefficient = -b.coefficient
    for whole, part in ((a, b), (b, a)):
        extra = _without(part.above, whole.above)
        if (
            part.coefficient in (-whole.coefficient, -2 * whole.coefficient)
            and extra is not None
            and len(extra) == 1
            and scalar_name(extra[0]) == "sigmoid"
            and extra[0] in whole.above
            and len(part.below) == len(whole.below)
            and _without(part.below, whole.below) == []
        ):
            (z,) = extra[0].owner.inputs
            if part.coefficient != -whole.coefficient:
                half = T.tanh(z * T.constant(-0.5, dtype=z.type.dtype))
                return whole.times(Product(1.0, [half])).build(out.type.dtype)
            return whole.times(Product(1.0, [_sigmoid_of(z, True)])).build(out.type.dtype)
    return None


def _without(factors: list[Any], taken: list[Any]) -> list[Any] | None:
    """`factors` less those of `taken`; None if some of those are not there."""
    left = list(factors)
    for v in taken:
        if v not in left:
            return None
        left.remove(v)
    return left
