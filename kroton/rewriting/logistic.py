"""The crossentropy of a logistic model and its gradient, as experts write them for the scores.

With s = sigmoid(z), the crossentropy -a log(s) - (1 - a) log(1 - s) has been stabilized to
a softplus(-z) + (1 - a) softplus(z), and its gradient to a difference of two products.
"""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.factors import Product, factors_of, is_negated
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.phases import specialize

T: Any = kroton.tensor

_PRODUCTS = ("mul", "true_div", "neg")


def _is_complement(u: Variable, a: Variable) -> bool:
    """Whether u is 1 - a."""
    if scalar_name(u) != "sub":
        return False
    one, subtracted = u.owner.inputs  # type: ignore[union-attr]
    value = uniform_value(one)
    return subtracted is a and value is not None and bool(value == 1)


def _without(factors: list[Any], *taken: Any) -> list[Any]:
    left = list(factors)
    for v in taken:
        left.remove(v)
    return left


def _same_factors(a: list[Any], b: list[Any]) -> bool:
    left = list(b)
    for v in a:
        if v not in left:
            return False
        left.remove(v)
    return not left


def _paired(p: Product, q: Product, name: str) -> tuple[Any, Any, Product] | None:
    """z, a and the common factors, if p is f(z) a and q is f(-z) (1 - a), times these."""
    if not _same_factors(p.below, q.below):
        return None
    for f in p.above:
        if scalar_name(f) != name:
            continue
        (z,) = f.owner.inputs
        for g in q.above:
            if scalar_name(g) != name or not is_negated(z, g.owner.inputs[0]):
                continue
            for a in p.above:
                for u in q.above:
                    if _is_complement(u, a):
                        rest = _without(p.above, f, a)
                        if _same_factors(rest, _without(q.above, g, u)):
                            return z, a, Product(1.0, rest, p.below)
    return None


@specialize.rewriter("add", "sub", name="logistic_crossentropy", depth=4)
def logistic_crossentropy(fgraph: FunctionGraph, node: Apply) -> Any:
    """One softplus in place of two, and one sigmoid in the gradient.

    a softplus(z) + (1 - a) softplus(-z) = softplus(-abs(z)) + (max(-z, 0) + a z), where nothing
    cancels for a of 0 or 1, and (1 - a) sigmoid(-z) - a sigmoid(z) = sigmoid(-z) - a.
    """
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f":
        return None
    if any(scalar_name(v) not in _PRODUCTS for v in node.inputs):
        return None
    p, q = (factors_of(fgraph, v) for v in node.inputs)
    if p is None or q is None:
        return None
    if node.op.name == "sub":
        q = Product(-q.coefficient, q.above, q.below)
    for first, second in ((p, q), (q, p)):
        if first.coefficient == second.coefficient:
            found = _paired(first, second, "softplus")
            if found is not None:
                z, a, rest = found
                loss = T.softplus(-abs(z)) + (T.maximum(-z, 0) + a * z)
                return Product(first.coefficient, [loss]).times(rest).build(out.type.dtype)
        elif first.coefficient == -second.coefficient:
            found = _paired(first, second, "sigmoid")
            if found is not None:
                z, a, rest = found
                error = T.sigmoid(-z) - a
                return Product(second.coefficient, [error]).times(rest).build(out.type.dtype)
    return None
