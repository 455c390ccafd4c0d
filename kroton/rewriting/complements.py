"""Sums of a function and a constant that cancel, at zero or far out, as the function that does not.

Each line holds for all multiples: `exp(x) - 1` also stands for `2 - 2 * exp(x)`. Those that
cancel where x is small are found among other terms too, as in `x - 1 + exp(x)`. In the tails
of a function only the two alone are replaced: beside other terms the constant may well be what
a logarithm is to be taken next to.
"""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Constant
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import agreeing
from kroton.rewriting.factors import factors_of, reduced
from kroton.rewriting.matching import instantiate, scalar_name, uniform_value
from kroton.rewriting.pattern import (
    Call,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    sigmoid,
    sin,
    sinh,
    sqr,
    tanh,
    x,
)
from kroton.rewriting.phases import stabilize
from kroton.rewriting.sums import Sum, terms_of

T: Any = kroton.tensor

_LINES: dict[str, list[tuple[float, Any, bool]]] = {}
"""By function: the constant beside it, what the sum is, and whether it cancels where x is small."""


def _multiples(lhs: Call, rhs: Any, small: bool = False) -> None:
    """c * lhs -> c * rhs, with lhs a function of x less or plus a number."""
    function, number = lhs.args
    inner = function.args[0]
    key = f"{function.head} of {inner.head}" if isinstance(inner, Call) else function.head
    sign = -1.0 if lhs.head == "sub" else 1.0
    _LINES.setdefault(key, []).append((sign * number, rhs, small))


# ---- cancelling where x is small
_multiples(exp(x) - 1, expm1(x), small=True)
_multiples(sigmoid(x) - 0.5, 0.5 * tanh(0.5 * x), small=True)
_multiples(erfc(x) - 1, -erf(x), small=True)
_multiples(cos(x) - 1, -2 * sqr(sin(0.5 * x)), small=True)
_multiples(cosh(x) - 1, 2 * sqr(sinh(0.5 * x)), small=True)

# ---- cancelling far out
_multiples(expm1(x) + 1, exp(x))
_multiples(sigmoid(x) - 1, -sigmoid(-x))
_multiples(tanh(x) + 1, 2 * sigmoid(2 * x))
_multiples(tanh(x) - 1, -2 * sigmoid(-2 * x))
_multiples(sqr(tanh(x)) - 1, -4 * (sigmoid(2 * x) * sigmoid(-2 * x)))
_multiples(erf(x) + 1, erfc(-x))
_multiples(erf(x) - 1, -erfc(x))
_multiples(erfc(x) - 2, -erfc(-x))


@stabilize.rewriter("add", "sub", name="function_less_constant", depth=5, stretches=True)
def function_less_constant(fgraph: FunctionGraph, node: Apply) -> Any:
    """c * f(x) + c * d, by the table above."""
    (out,) = node.outputs
    kind = out.type.numpy_dtype.kind
    if kind not in "fc" or not any(
        isinstance(v, Constant) or scalar_name(v) in ("add", "sub") for v in node.inputs
    ):
        return None
    found = terms_of(fgraph, out)
    if found is None or not found.numbers:
        return None
    alone = len(found.terms) == 1 and len(found.numbers) == 1
    inside = alone and _is_part_of_sum(fgraph, out)
    for term, coefficient in found.terms.items():
        function, c = _scaled(term, coefficient)
        name = _name_of(fgraph, function)
        if name not in _LINES or not c:
            continue
        argument = function.owner.inputs[0]
        if " of " in name:
            (argument,) = argument.owner.inputs
        if argument.type.numpy_dtype.kind != kind or (kind == "c" and "exp" not in name):
            continue
        for beside, rhs, small in _LINES[name]:
            if inside and not small and beside > 0:
                continue
            if (small or alone) and beside * c in found.numbers:
                found.numbers.remove(beside * c)
                del found.terms[term]
                value = instantiate(rhs, {"x": argument})
                return _with_terms(value, c, found, out.type.dtype)
    return None


def _is_part_of_sum(fgraph: FunctionGraph, out: Any) -> bool:
    """Whether the only user of `out` adds something to it."""
    users = fgraph.variables[out]
    if len(users) != 1:
        return False
    ((client, _),) = users
    return client != "output" and scalar_name(client.outputs[0]) in ("add", "sub")


def _name_of(fgraph: FunctionGraph, function: Any) -> str:
    """By which name the table has a function.

    The square of a tanh that is needed as well has its plain name: from the tanh, the gradient
    costs a product.
    """
    name = scalar_name(function)
    if name == "pow" and uniform_value(function.owner.inputs[1]) == 2:
        name = "sqr"
    if name == "sqr" and scalar_name(function.owner.inputs[0]) == "tanh":
        inner = function.owner.inputs[0]
        if len(fgraph.variables[function]) == len(fgraph.variables[inner]) == 1:
            return "sqr of tanh"
    return name


def _scaled(term: Any, coefficient: Any) -> tuple[Any, Any]:
    """What a term is a multiple of, and its coefficient, also through products that others use."""
    name = scalar_name(term)
    if name == "neg":
        return term.owner.inputs[0], -coefficient
    if name in ("mul", "true_div"):
        a, b = term.owner.inputs
        for v, number in ((a, b), (b, a)) if name == "mul" else ((a, b),):
            value = uniform_value(number) if isinstance(number, Constant) else None
            if value is not None and value != 0:
                c = value.item()
                return v, coefficient * c if name == "mul" else coefficient / c
    return term, coefficient


def _with_terms(value: Any, coefficient: Any, rest: Sum, dtype: str) -> Any:
    """coefficient * value + rest; value is small, and is added last."""
    total: Any = None
    for v, c in [*rest.terms.items(), (value, coefficient)]:
        negative = not isinstance(c, complex) and c < 0
        size = -c if negative else c
        scaled = v if size == 1 else v * T.constant(size, dtype=dtype)
        if total is None:
            total = -scaled if negative else scaled
        else:
            total = total - scaled if negative else total + scaled
    for number in rest.numbers:
        total = total + T.constant(number, dtype=dtype)
    return total


@stabilize.rewriter(
    "add", "sub", name="p + p * tanh(x) -> 2 * p * sigmoid(2 * x)", depth=5, stretches=True
)
def product_and_its_part(fgraph: FunctionGraph, node: Apply) -> Any:
    """p + p tanh(x), and p - p tanh(x), as gradients of quotients of exponentials have them.

    They cancel far out, where the tanh is next to -1 or 1.
    """
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f" or _is_part_of_sum(fgraph, out):
        return None
    found = terms_of(fgraph, out)
    if found is None or len(found.terms) < 2:
        return None
    if not any(map(_has_tanh, found.terms)):
        return None
    products = {term: factors_of(fgraph, term, shared=True) for term in found.terms}
    products = {term: p and reduced(p) for term, p in products.items()}
    for part, p in products.items():
        if p is None:
            continue
        for t in p.above:
            if scalar_name(t) != "tanh":
                continue
            rest = list(p.above)
            rest.remove(t)
            for whole, q in products.items():
                if q is None or whole is part or not _same(rest, q.above):
                    continue
                size = found.terms[part] * p.coefficient
                wanted = found.terms[whole] * q.coefficient
                if not _same(p.below, q.below) or abs(size) != abs(wanted):
                    continue
                (x,) = t.owner.inputs
                z = x * T.constant(2, dtype=x.type.dtype)
                logistic = T.sigmoid(z if size == wanted else -z)
                c = 2 * found.terms[whole]
                del found.terms[part], found.terms[whole]
                product = agreeing(fgraph, whole * logistic, part)
                return _with_terms(product, c, found, out.type.dtype)
    return None


def _has_tanh(v: Any) -> bool:
    """Whether a tanh is a factor of `v`."""
    stack = [v]
    while stack and len(stack) < 8:
        w = stack.pop()
        name = scalar_name(w)
        if name == "tanh":
            return True
        if name in ("mul", "neg"):
            stack.extend(w.owner.inputs)
        elif name == "true_div":
            stack.append(w.owner.inputs[0])
    return False


def _same(a: list[Any], b: list[Any]) -> bool:
    """Whether both have the same members; those of sigmoids may be written differently."""
    left = [_key(v) for v in b]
    for v in a:
        if _key(v) not in left:
            return False
        left.remove(_key(v))
    return not left


def _key(v: Any) -> Any:
    """What is equal for equal factors: of a sigmoid, the terms of its argument."""
    if scalar_name(v) != "sigmoid":
        return v
    coefficients: dict[Any, float] = {}
    stack = [(v.owner.inputs[0], 1.0)]
    while stack:
        w, c = stack.pop()
        name = scalar_name(w) if len(stack) < 8 else ""
        if name in ("add", "sub"):
            a, b = w.owner.inputs
            stack.extend([(a, c), (b, -c if name == "sub" else c)])
        elif name in ("neg", "mul", "true_div") and _scaled(w, c)[0] is not w:
            stack.append(_scaled(w, c))
        else:
            coefficients[w] = coefficients.get(w, 0) + c
    return frozenset(coefficients.items())
