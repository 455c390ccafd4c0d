"""Products with a logarithm are 0, their limit, where a factor is 0 and the logarithm infinite.

`x * log(x)` and its many spellings: entropies, `x * log2(x)`, `x * log(x / y)`,
`(1 - x) * log1p(-x)`.
"""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.factors import is_negated, is_part_of_product
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.phases import stabilize
from kroton.tensor.products import Dot

T: Any = kroton.tensor

_LIMIT = 24
"""Larger expressions are searched so far only."""
_LOGARITHMS = ("log", "log2", "log10", "log1p")
_AROUND = (*_LOGARITHMS, "add", "sub", "sqr", "pow")
"""What is, or may have in it, a logarithm that is a factor."""


@stabilize.rewriter("mul", "true_div", "neg", name="x * log(x) -> 0 at 0", depth=5)
def x_log_x(fgraph: FunctionGraph, node: Apply) -> Any:
    """x * log(x) is 0, its limit, where x is 0, also among other factors.

    So is a product of a power of x with a sum of such logarithms, and of products of x.
    """
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f" or is_part_of_product(fgraph, out):
        return None
    exponents = _exponents(out)
    if not any(scalar_name(v) in _AROUND for v in exponents):
        return None
    zeros = [v for v, exponent in exponents.items() if exponent > 0]
    if all(_is_guard(client, zeros) for client, _ in fgraph.variables[out]):
        return None
    return _Guard(zeros).around(out)


@stabilize.rewriter(Dot, name="dot(x, log(x)) -> 0 at 0")
def dot_x_log_x(fgraph: FunctionGraph, node: Apply) -> Any:
    """The sum of the x * log(x) of a vector."""
    for k, v in enumerate(node.inputs):
        if scalar_name(v) not in _LOGARITHMS or node.outputs[0].type.ndim:
            continue
        guarded = _Guard([node.inputs[1 - k]]).around(v)
        if guarded is not None:
            return node.op(*(guarded if v is w else w for w in node.inputs))
    return None


def _exponents(out: Any) -> dict[Any, float]:
    """The factors of a product with their exponents, also the bases of powers."""
    exponents: dict[Any, float] = {}
    stack: list[tuple[Any, float]] = [(out, 1.0)]
    budget = _LIMIT
    while stack and budget:
        budget -= 1
        v, exponent = stack.pop()
        if isinstance(v, Constant):
            continue
        name = scalar_name(v)
        if v is not out or name not in _PARTS:
            exponents[v] = exponents.get(v, 0) + exponent
        stack.extend((w, exponent * e) for w, e in _factors(v))
    return exponents


_PARTS = ("mul", "true_div", "neg", "reciprocal")


def _factors(v: Any) -> list[tuple[Any, float]]:
    """What `v` is a product of powers of, and the exponents: what it is 0 or infinite with."""
    name = scalar_name(v)
    if name == "mul":
        return [(w, 1.0) for w in v.owner.inputs]
    if name == "true_div":
        a, b = v.owner.inputs
        return [(a, 1.0), (b, -1.0)]
    if name in ("neg", "abs"):
        return [(v.owner.inputs[0], 1.0)]
    if name == "reciprocal":
        return [(v.owner.inputs[0], -1.0)]
    if name == "sqr":
        return [(v.owner.inputs[0], 2.0)]
    if name == "sqrt":
        return [(v.owner.inputs[0], 0.5)]
    if name == "pow":
        value = uniform_value(v.owner.inputs[1])
        return [] if value is None else [(v.owner.inputs[0], float(value))]
    return []


def _is_guard(user: Any, zeros: list[Any]) -> bool:
    """Whether it is a switch on one of `zeros` being 0."""
    if user == "output" or scalar_name(user.outputs[0]) != "switch":
        return False
    condition = user.inputs[0]
    return scalar_name(condition) in ("eq", "neq", "gt", "le") and any(
        v in zeros for v in condition.owner.inputs
    )


class _Guard:
    """Makes logarithms finite where what they are infinite with is 0."""

    def __init__(self, zeros: list[Any]):
        self.zeros = zeros
        self.budget = _LIMIT

    def around(self, v: Any) -> Any:
        """`v` with such logarithms in its factors and terms; None if there are none."""
        self.budget -= 1
        if self.budget < 0 or v.owner is None:
            return None
        name = scalar_name(v)
        inputs = v.owner.inputs
        if name in _LOGARITHMS:
            return self._logarithm(v)
        if name in ("mul", "add", "sub"):
            found = [self.around(w) for w in inputs]
        elif name == "true_div":
            found = [self.around(inputs[0]), None]
        elif name in ("neg", "sqr"):
            found = [self.around(inputs[0])]
        elif name == "pow":
            value = uniform_value(inputs[1])
            found = [None if value is None or value < 0 else self.around(inputs[0]), None]
        else:
            return None
        if all(w is None for w in found):
            return None
        return v.owner.op(*(w if new is None else new for w, new in zip(inputs, found)))

    def _logarithm(self, v: Any) -> Any:
        """The logarithm with 0 where one of the zeros makes it infinite, or None."""
        (z,) = v.owner.inputs
        if scalar_name(v) == "log1p":
            conditions = [T.eq(w, 0) for w in self.zeros if _is_next_to(w, z)]
            neutral = 0
        else:
            exponents = _exponents(z)
            found = [z] if z in self.zeros else [w for w in self.zeros if exponents.get(w)]
            conditions = [T.eq(w, 0) for w in found if w is z or not _factors(w)]
            neutral = 1
        if not conditions or any(c.type.ndim > z.type.ndim for c in conditions):
            return None
        condition = conditions[0]
        for other in conditions[1:]:
            condition = T.or_(condition, other)
        return v.owner.op(T.switch(condition, T.constant(neutral, dtype=z.type.dtype), z))


def _is_next_to(w: Variable, z: Variable) -> bool:
    """Whether `w` is 1 + z."""
    name = scalar_name(w)
    if name not in ("add", "sub"):
        return False
    a, b = w.owner.inputs  # type: ignore[union-attr]
    for one, other in ((a, b),) if name == "sub" else ((a, b), (b, a)):
        value = uniform_value(one)
        if value is not None and value == 1:
            return is_negated(z, other) if name == "sub" else other is z
    return False
