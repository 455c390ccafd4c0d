"""Arrangement: products are multiplied in the order in which least is done for each element.

    (x * c / a) / b     x * (c / a / b)      x a matrix; a, b, c rows, columns or scalars

What is the same for all rows, or for all elements, is computed once, and where that is divided by,
so is its reciprocal: a product instead of a quotient for each element, with one rounding more.
Runs after BLAS, which takes scalars for nothing, and nothing is written otherwise afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.engine import Phase
from kroton.rewriting.factors import Product, factors_of
from kroton.rewriting.jumps import is_total, jumps
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.passes import PhasePass, register_pass
from kroton.tensor.blas import Dot22, Dot22Scalar
from kroton.tensor.reduction import CAReduce

T: Any = kroton.tensor

arrange = Phase("arrange", tags=("fast_run", "arrange"))
"""The same values with less to do for each element."""

register_pass(
    PhasePass("arrange", frozenset({"fast_run", "arrange"}), 12.0, phases=(arrange,)),
)

Pattern = tuple[bool, ...]
"""For each dimension whether a factor varies along it."""

_DIVISION = 4
"""A quotient costs as much as so many products."""


@dataclass
class _Part:
    """The factors that vary along the same dimensions."""

    above: list[Any] = field(default_factory=list)
    below: list[Any] = field(default_factory=list)
    coefficient: float = 1.0

    def take(self, other: _Part) -> None:
        """Multiply by `other`."""
        self.above += other.above
        self.below += other.below
        self.coefficient *= other.coefficient


def _pattern(v: Any, ndim: int) -> Pattern:
    known: Pattern = tuple(e != 1 for e in v.type.shape)
    return (False,) * (ndim - len(known)) + known


def _within(a: Pattern, b: Pattern) -> bool:
    """Whether all dimensions of `a` are among those of `b`."""
    return all(y or not x for x, y in zip(a, b))


def _is_factor(fgraph: FunctionGraph, out: Variable) -> bool:
    """Whether the only user of `out` is a product that is looked at as a whole."""
    users = fgraph.variables[out]
    if len(users) != 1:
        return False
    ((client, _),) = users
    return client != "output" and _is_product(client.outputs[0])


def _is_product(v: Any) -> bool:
    return scalar_name(v) in ("mul", "true_div", "neg", "reciprocal")


def _is_least(node: Apply, full: Pattern) -> bool:
    """Whether nothing can be gained: two factors, and no quotient by a smaller one."""
    if any(map(_is_product, node.inputs)):
        return False
    return node.op.name != "true_div" or _pattern(node.inputs[1], len(full)) == full


def _cost(fgraph: FunctionGraph, out: Any, full: Pattern) -> int:
    """What is done for each element to make the product `out` of factors."""
    cost = 0
    stack = [out]
    while stack:
        v = stack.pop()
        if v is not out and len(fgraph.variables.get(v, ())) > 1:
            continue
        name = scalar_name(v)
        if not _is_product(v) or _pattern(v, len(full)) != full:
            continue
        cost += _DIVISION if name in ("true_div", "reciprocal") else 1
        stack.extend(v.owner.inputs)
    return cost


@arrange.rewriter("mul", "true_div", "neg", "reciprocal", name="arrange_factors", depth=6)
def arrange_factors(fgraph: FunctionGraph, node: Apply) -> Any:
    """Factors are multiplied from those that vary least to those that vary most."""
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f" or not out.type.ndim or _is_factor(fgraph, out):
        return None
    # The inputs may be known better than the result, whose type is from when it was made.
    patterns = [_pattern(v, out.type.ndim) for v in node.inputs]
    full = tuple(map(any, zip(*patterns)))
    if True not in full or _is_least(node, full):
        return None
    found = factors_of(fgraph, out)
    if found is None or any(v.type.dtype != out.type.dtype for v in found.above + found.below):
        # Integers wrap, and single precision rounds, where they are multiplied with each other.
        return None
    parts: dict[Pattern, _Part] = {full: _Part()}
    for v in found.above:
        parts.setdefault(_pattern(v, len(full)), _Part()).above.append(v)
    for v in found.below:
        parts.setdefault(_pattern(v, len(full)), _Part()).below.append(v)
    all_of_it = parts.pop(full)
    roots = sum(_without_roots(part) for part in (all_of_it, *parts.values()))
    # A coefficient and factors of few dimensions go with those of a few more.
    small = sorted(parts, key=sum)
    if found.coefficient != 1.0:
        if small:
            parts[small[0]].coefficient = found.coefficient
        elif found.coefficient == -1.0 or not all_of_it.above:
            all_of_it.coefficient = found.coefficient
        else:
            parts[()] = _Part(coefficient=found.coefficient)
    for k, pattern in enumerate(small):
        larger = next((p for p in small[k + 1 :] if _within(pattern, p)), None)
        if larger is not None:
            parts[larger].take(parts.pop(pattern))
    above = len(all_of_it.above) + len(parts)
    cost = max(above - 1, 0) + _DIVISION * len(all_of_it.below) + (all_of_it.coefficient == -1.0)
    if not roots and cost >= _cost(fgraph, out, full):
        return None
    if _is_mean(found) or jumps(fgraph, out, compared=found.coefficient not in (1.0, -1.0)):
        return None
    dtype = out.type.dtype
    factors = [Product(p.coefficient, p.above, p.below).build(dtype) for p in parts.values()]
    whole = Product(all_of_it.coefficient, [*factors, *all_of_it.above], all_of_it.below)
    return whole.build(dtype)


@arrange.rewriter(Dot22, Dot22Scalar, name="outer_product", depth=1)
def outer_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """A column times a row is a product of elements, which what uses it can take in."""
    x, y, *alpha = node.inputs
    if x.type.shape[1] != 1 or y.type.shape[0] != 1 or 1 in node.outputs[0].type.shape:
        return None
    product = x * y
    return product * alpha[0] if alpha else product


def _is_mean(found: Product) -> bool:
    """Whether it is a sum that is divided, as means are: the mean of equal numbers is exact."""
    return len(found.above) == 1 and len(found.below) == 1 and is_total(found.above[0])


def _without_roots(part: _Part) -> int:
    """Replace pairs of the same square root by what it is the root of; return how many."""
    pairs = 0
    for factors in (part.above, part.below):
        for v in [v for v in factors if scalar_name(v) == "sqrt"]:
            if factors.count(v) > 1 and _never_negative(v.owner.inputs[0]):
                factors.remove(v)
                factors[factors.index(v)] = v.owner.inputs[0]
                pairs += 1
    return pairs


def _never_negative(v: Any, depth: int = 8) -> bool:
    """Whether no element can be less than 0: squares, exponentials, counts, and sums of these."""
    value = uniform_value(v)
    if value is not None:
        return bool(value >= 0)
    node = v.owner
    if node is None or not depth:
        return False
    if type(node.op) is CAReduce and node.op.scalar_op in (scalar.add, scalar.maximum):
        return _never_negative(node.inputs[0], depth - 1)
    name = scalar_name(v)
    if name in ("sqr", "abs", "exp", "sqrt", "softplus", "sigmoid"):
        return v.type.numpy_dtype.kind == "f"  # type: ignore[no-any-return]
    if name in ("add", "mul", "true_div", "maximum") or name.startswith("cast"):
        return all(_never_negative(x, depth - 1) for x in node.inputs)
    return type(node.op).__name__ == "Shape_i"
