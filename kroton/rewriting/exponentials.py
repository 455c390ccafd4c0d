"""Sums of exponentials with weights: c_1 w_1 exp(z_1) + c_2 w_2 exp(z_2) + ... + c_0.

Each exponential may overflow or underflow where quotients and logarithms of the sum do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import kroton.tensor
from kroton.graph.basic import Constant, Variable
from kroton.rewriting.matching import scalar_name, uniform_value

T: Any = kroton.tensor

_LIMIT = 24
"""Larger expressions are left alone."""


@dataclass
class Term:
    """coefficient * weights * exp(argument)"""

    coefficient: float
    weights: tuple[Any, ...]
    argument: Any
    """None for the constant, which has no weights."""
    dtype: str

    def built(self, exponential: Any) -> Any:
        """The term with `exponential` (None for 1) in place of exp(argument)."""
        result = exponential
        for w in self.weights:
            result = w if result is None else w * result
        if result is None or self.coefficient != 1:
            number = T.constant(self.coefficient, dtype=self.dtype)
            result = number if result is None else number * result
        return result


def sum_of_exponentials(var: Variable) -> list[Term] | None:
    """The terms of `var`, among them an exponential; None if it is no such sum."""
    if var.type.numpy_dtype.kind != "f":
        return None
    found: list[Term] = []
    stack: list[tuple[Any, float]] = [(var, 1.0)]
    budget = _LIMIT
    while stack:
        v, c = stack.pop()
        budget -= 1
        if not budget:
            return None
        value = uniform_value(v) if isinstance(v, Constant) else None
        if value is not None:
            found.append(Term(c * float(value), (), None, var.type.dtype))
            continue
        name = scalar_name(v)
        if name in ("add", "sub"):
            a, b = v.owner.inputs
            stack.extend([(b, -c if name == "sub" else c), (a, c)])
        elif name == "neg":
            stack.append((v.owner.inputs[0], -c))
        elif name in ("mul", "true_div") and (scaled := _scaled(v)) is not None:
            stack.append((scaled[0], c * scaled[1]))
        elif name == "expm1" and v.owner.inputs[0].type.dtype == var.type.dtype:
            found.append(Term(c, (), v.owner.inputs[0], var.type.dtype))
            found.append(Term(-c, (), None, var.type.dtype))
        else:
            term = _term(v, c)
            if term is None:
                return None
            found.append(term)
    return _merged(found)


def _scaled(v: Any) -> tuple[Any, float] | None:
    """What `v` is a multiple of, and by which number."""
    a, b = v.owner.inputs
    division = scalar_name(v) == "true_div"
    for x, number in ((a, b),) if division else ((a, b), (b, a)):
        value = uniform_value(number) if isinstance(number, Constant) else None
        if value is not None and value != 0:
            return x, 1 / float(value) if division else float(value)
    return None


def _term(var: Variable, c: float) -> Term | None:
    """`var`, a product with exactly one exponential, times c."""
    weights: list[Any] = []
    argument = None
    stack: list[Any] = [var]
    while stack:
        v = stack.pop()
        if len(weights) + len(stack) > _LIMIT:
            return None
        value = uniform_value(v) if isinstance(v, Constant) else None
        name = scalar_name(v)
        if value is not None:
            c *= float(value)
        elif name == "mul":
            stack.extend(reversed(v.owner.inputs))
        elif name == "neg":
            c = -c
            stack.append(v.owner.inputs[0])
        elif name == "true_div" and (scaled := _scaled(v)) is not None:
            c *= scaled[1]
            stack.append(scaled[0])
        elif name == "exp":
            if argument is not None:
                return None
            argument = v.owner.inputs[0]
            if argument.type.dtype != var.type.dtype:
                return None
        else:
            weights.append(v)
    if argument is None or c == 0:
        return None
    return Term(c, tuple(weights), argument, var.type.dtype)


def _merged(terms: list[Term]) -> list[Term] | None:
    """Terms of one exponential without weights are one, and so are constants."""
    kept: list[Term] = []
    for term in terms:
        for other in kept:
            if not term.weights and not other.weights and term.argument is other.argument:
                other.coefficient += term.coefficient
                break
        else:
            kept.append(term)
    kept = [term for term in kept if term.coefficient]
    return kept if any(term.argument is not None for term in kept) else None


def share_of(z: Any, total: Variable) -> Any:
    """exp(z) / total, if `total` is a sum of which exp(z) is a term, without overflow; else None.

    The reciprocal of the sum of exp(z_k - z), a sigmoid for two of equal weight.
    """
    terms = sum_of_exponentials(total)
    if terms is None or len(terms) < 2:
        return None
    own = [term for term in terms if term.argument is z]
    if len(own) != 1:
        return None
    others = [term for term in terms if term is not own[0]]
    equal = own[0].coefficient == others[0].coefficient
    if equal and len(others) == 1 and not own[0].weights and not others[0].weights:
        y = others[0].argument
        share = T.sigmoid(z if y is None else z - y)
        return share if own[0].coefficient == 1 else share / own[0].built(None)
    result = own[0].built(None)
    for term in others:
        y = term.argument
        result = result + term.built(T.exp(-z if y is None else y - z))
    return T.reciprocal(result)
