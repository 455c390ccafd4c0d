"""Sums: equal terms are collected, factors leave reductions, sums go before products."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import agreeing
from kroton.rewriting.emptiness import unspoilt
from kroton.rewriting.factors import factors_of
from kroton.rewriting.gathering import gathered
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.phases import canonicalize, specialize, stabilize
from kroton.rewriting.shape import extent
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce

T: Any = kroton.tensor

_LIMIT = 24
"""Sums of more terms are left alone, so that long chains cost no more than short ones."""


# ---- terms -------------------------------------------------------------------------------


@dataclass
class Sum:
    """The numbers and each term times its coefficient."""

    numbers: list[Any] = field(default_factory=list)
    terms: dict[Variable, Any] = field(default_factory=dict)
    repeated: bool = False
    """Whether a term came more than once."""


def terms_of(fgraph: FunctionGraph, var: Variable) -> Sum | None:
    """`var` as a sum; None if it has too many terms. Sums that others use are single terms."""
    found = Sum()
    stack: list[tuple[Any, Any]] = [(var, 1)]
    count = 0
    while stack:
        v, coefficient = stack.pop()
        count += 1
        if count > _LIMIT:
            return None
        value = uniform_value(v) if isinstance(v, Constant) else None
        if value is not None:
            found.numbers.append(coefficient * value.item())
            continue
        name = scalar_name(v) if v is var or len(fgraph.variables.get(v, ())) <= 1 else ""
        if name in ("add", "sub"):
            a, b = v.owner.inputs
            stack.extend([(b, -coefficient if name == "sub" else coefficient), (a, coefficient)])
            continue
        if name == "neg":
            stack.append((v.owner.inputs[0], -coefficient))
            continue
        if name == "mul":
            a, b = v.owner.inputs
            for x, c in ((a, b), (b, a)):
                value = uniform_value(c) if isinstance(c, Constant) else None
                if value is not None:
                    v, coefficient = x, coefficient * value.item()
                    break
        found.repeated = found.repeated or v in found.terms
        found.terms[v] = found.terms.get(v, 0) + coefficient
    return found


@canonicalize.rewriter("add", "sub", name="collect_terms", depth=3, stretches=True)
def collect_terms(fgraph: FunctionGraph, node: Apply) -> Any:
    """Equal terms of a sum are one with a coefficient, or cancel; constants are gathered."""
    (out,) = node.outputs
    if out.type.numpy_dtype.kind not in "ifc":
        return None
    users = fgraph.variables[out]
    if len(users) == 1:
        ((client, _),) = users
        if client != "output" and scalar_name(client.outputs[0]) in ("add", "sub"):
            # The whole sum is looked at from there.
            return None
    found = terms_of(fgraph, out)
    if found is None:
        return None
    dtype = out.type.dtype
    numbers = gathered(found.numbers, dtype)
    if not (found.repeated or len(numbers) < len(found.numbers)):
        return None
    total: Any = None
    # What is added comes first, so that differences are no sums with a sign.
    for v, c in sorted(found.terms.items(), key=lambda item: _is_negative(item[1])):
        if c == 0:
            continue
        scaled: Any = (
            v if c in (1, -1) else v * _constant(abs(c) if _is_real(c) else c, out.type.numpy_dtype)
        )
        if total is None:
            total = -scaled if _is_negative(c) else scaled
        else:
            total = total - scaled if _is_negative(c) else total + scaled
    for number in numbers:
        value = _constant(number, out.type.numpy_dtype)
        total = value if total is None else total + value
    if total is None:
        total = T.constant(0, dtype=dtype)
    cancelled = [v for v, c in found.terms.items() if c == 0]
    return agreeing(fgraph, total, *cancelled)


def _constant(number: Any, dtype: np.dtype) -> Any:
    """The number as a constant; integers wrap."""
    if dtype.kind in "iu":
        bits = 8 * dtype.itemsize
        number %= 2**bits
        if dtype.kind == "i" and number >= 2 ** (bits - 1):
            number -= 2**bits
    return T.constant(number, dtype=dtype.name)


def _is_real(c: Any) -> bool:
    return not isinstance(c, complex)


def _is_negative(c: Any) -> bool:
    return _is_real(c) and c < 0


# ---- factors of what is summed -------------------------------------------------------------


@stabilize.rewriter(CAReduce, name="sum_of_product", depth=4)
def sum_of_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """Factors of a product that do not vary along the axes multiply the sum.

    Also those of factors that others use as well, so that sums of gradients become the same.
    """
    op, (x,), (out,) = node.op, node.inputs, node.outputs
    if (
        op.scalar_op != scalar.add
        or not op.axis
        or not x.type.dtype == op.acc_dtype == op.dtype
        or x.type.numpy_dtype.kind != "f"
        or scalar_name(x) not in ("mul", "true_div", "neg")
        or len(fgraph.variables[x]) > 1
    ):
        return None
    found = factors_of(fgraph, x)
    if found is None:
        return None
    for v in list(found.above):
        if scalar_name(v) == "mul" and any(
            is_fixed(u, op.axis, x.type.ndim) for u in v.owner.inputs
        ):
            found.above.remove(v)
            found.above.extend(v.owner.inputs)
    parts = []
    for factors in (found.above, found.below):
        fixed = [v for v in factors if is_fixed(v, op.axis, x.type.ndim)]
        parts.append((fixed, [v for v in factors if v not in fixed]))
    (above, varying), (below, divisors) = parts
    if not (above or below or found.coefficient != 1.0) or not (varying or divisors):
        return None
    rest = type(found)(1.0, varying, divisors).build(x.type.dtype)
    if rest.type.broadcastable != x.type.broadcastable:
        return None
    dropped = [without_axes(unspoilt(fgraph, v, x, op.axis), op.axis, x.type.ndim) for v in above]
    lowered = [
        without_axes(unspoilt(fgraph, v, x, op.axis, True), op.axis, x.type.ndim) for v in below
    ]
    total = type(found)(found.coefficient, [op(rest), *dropped], lowered)
    return total.build(out.type.dtype)


def is_fixed(v: Any, axes: tuple[int, ...], ndim: int) -> bool:
    """Whether a factor is the same all along the axes of a product of `ndim` dimensions."""
    missing = ndim - v.type.ndim
    return all(d < missing or v.type.shape[d - missing] == 1 for d in axes)


def without_axes(v: Any, axes: tuple[int, ...], ndim: int) -> Any:
    """A factor that is the same along the axes, aligned with what is left when they are gone."""
    missing = ndim - v.type.ndim
    pattern = [d - missing if d >= missing else "x" for d in range(ndim) if d not in axes]
    while pattern and pattern[0] == "x":
        pattern.pop(0)
    return T.dimshuffle(v, pattern)


# ---- reductions in another order -----------------------------------------------------------


@specialize.rewriter(CAReduce, name="sum_of_dot")
def sum_of_dot(fgraph: FunctionGraph, node: Apply) -> Any:
    """The sums of a product's columns are a sum of rows times a matrix: sums go first."""
    op, (product,) = node.op, node.inputs
    inner = product.owner
    if (
        op.scalar_op != scalar.add
        or inner is None
        or type(inner.op) is not Dot
        or len(fgraph.variables[product]) > 1
        or not product.type.dtype == op.dtype == op.acc_dtype
        or product.type.ndim == 0
        or product.type.dtype == "bool"
    ):
        return None
    x, y = inner.inputs
    rows = x.type.ndim - 1
    if 0 in op.axis and rows:
        x = T.sum(x, axis=0, dtype=op.dtype, acc_dtype=op.acc_dtype)
    if rows in op.axis and y.type.ndim == 2:
        y = T.sum(y, axis=1, dtype=op.dtype, acc_dtype=op.acc_dtype)
    return inner.op(x, y)


_ROUNDED = frozenset(
    ("mul", "true_div", "sqr", "sqrt", "pow", "exp", "expm1", "log", "log1p", "reciprocal", "tanh",
     "sigmoid", "softplus")
)  # fmt: skip


@specialize.rewriter(CAReduce, name="sum_of_terms", depth=4)
def sum_of_terms(fgraph: FunctionGraph, node: Apply) -> Any:
    """sum(x + c) = sum(x) + n * sum(c), where c is the same along some of the axes.

    Only if x is the rounded result of something, so that no digits are lost that x + c has where
    x and -c are nearly equal: what is centred by hand stays so.
    """
    op, (x,) = node.op, node.inputs
    if op.scalar_op != scalar.add or not op.axis or scalar_name(x) not in ("add", "sub"):
        return None
    if not x.type.dtype == op.acc_dtype == op.dtype or x.type.numpy_dtype.kind != "f":
        return None
    if len(fgraph.variables[x]) > 1:
        return None
    found = terms_of(fgraph, x)
    if found is None or any(v.type.dtype != x.type.dtype for v in found.terms):
        return None
    ndim, dtype = x.type.ndim, x.type.dtype
    whole, narrow = [], []
    for v, c in found.terms.items():
        missing = ndim - v.type.ndim
        same = [d for d in op.axis if d < missing or v.type.shape[d - missing] == 1]
        if any(x.type.shape[d] != 1 for d in same):
            narrow.append((v, c, same))
        elif v.type.broadcastable == x.type.broadcastable and _is_rounded(v, c):
            whole.append((v, c))
        else:
            return None
    numbers = gathered(found.numbers, dtype)
    if not whole or not (narrow or numbers):
        return None
    # One term is summed as it is, for others may sum it too.
    total: Any = None
    checked = agreeing(fgraph, whole[0][0], *(v for v, _, _ in narrow), without=x.owner)
    for v, c in [(checked, whole[0][1]), *whole[1:]]:
        total = _plus(total, v, c)
    if len(whole) == 1:
        total = _plus(None, op(checked), whole[0][1])
    else:
        total = op(total)
    for number in numbers:
        total = total + T.constant(number, dtype=dtype) * _count(fgraph, x, op.axis)
    for v, c, same in narrow:
        part = without_axes(unspoilt(fgraph, v, x, op.axis), tuple(same), ndim)
        left = [d for d in range(ndim) if d not in same]
        shift = len(left) - part.type.ndim
        axes = tuple(k - shift for k, d in enumerate(left) if d in op.axis)
        if axes:
            part = replace(op, axis=axes)(part)
        total = _plus(total, part * _count(fgraph, x, same), c)
    return total


def _is_rounded(v: Any, coefficient: Any) -> bool:
    """Whether `v` times the coefficient has been rounded."""
    return math.frexp(abs(coefficient))[0] != 0.5 or scalar_name(v) in _ROUNDED


def _count(fgraph: FunctionGraph, x: Variable, axes: Iterable[int]) -> Any:
    """The number of elements along the axes."""
    count: Any = 1
    for d in axes:
        count = count * extent(fgraph, x, d)
    return T.cast(count, x.type.dtype)


def _plus(total: Any, v: Any, coefficient: Any) -> Any:
    """`total`, or nothing if that is None, plus the coefficient times `v`."""
    size = abs(coefficient)
    scaled = v if size == 1 else v * T.constant(size, dtype=v.type.dtype)
    if total is None:
        return -scaled if coefficient < 0 else scaled
    return total - scaled if coefficient < 0 else total + scaled


@canonicalize.rewriter(CAReduce, name="extreme_of_negated")
def extreme_of_negated(fgraph: FunctionGraph, node: Apply) -> Any:
    """max(-x) = -min(x), and min(-x) = -max(x)."""
    op, (x,) = node.op, node.inputs
    if op.scalar_op not in (scalar.maximum, scalar.minimum) or scalar_name(x) != "neg":
        return None
    if len(fgraph.variables[x]) > 1 or x.type.numpy_dtype.kind != "f":
        return None
    other = scalar.minimum if op.scalar_op == scalar.maximum else scalar.maximum
    return -replace(op, scalar_op=other)(x.owner.inputs[0])
