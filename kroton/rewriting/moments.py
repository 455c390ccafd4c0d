"""Variances as textbooks have them, mean(x**2) - mean(x)**2, of which all digits may cancel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.phases import stabilize
from kroton.rewriting.shape import place_of_extent, source_of_extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce, with_axes
from kroton.tensor.shape import product_of_extents

T: Any = kroton.tensor

_LIMIT = 24
"""Larger products are left alone."""
_ROUNDED = 8
"""By so many roundings the reciprocal of a number of elements may be off."""


@dataclass
class _Power:
    """coefficient * core**exponent * (product of scalars, with exponents), in another order."""

    coefficient: float = 1.0
    core: Any = None
    exponent: int = 0
    scalars: dict[Any, int] = field(default_factory=dict)
    order: tuple[Any, ...] = ()
    """In which the dimensions of the core have been put; empty if in theirs."""


@stabilize.rewriter("sub", name="variance_by_hand", depth=6)
def variance_by_hand(fgraph: FunctionGraph, node: Apply) -> Any:
    """mean(x**2) - mean(x)**2 = mean((x - mean(x))**2), of which the digits do not cancel.

    With the sums divided in any way: sum(x**2) / c - sum(x)**2 / (c n), with n how many there are.
    Squares of integers wrap as they are written.
    """
    (out,) = node.outputs
    if out.type.numpy_dtype.kind != "f":
        return None
    b = _power(fgraph, node.inputs[1])
    a = _power(fgraph, node.inputs[0]) if b is not None and b.exponent == 2 else None
    if a is None or b is None or a.exponent != 1:
        return None
    op, x = b.core.owner.op, _summed_squares(a.core, b.core)
    if x is None or x.type.numpy_dtype.kind != "f" or type(op) is not CAReduce:
        return None
    if op.scalar_op != scalar.add or not op.dtype == op.acc_dtype == x.type.dtype:
        return None
    if _normal(a.order) != _normal(b.order) or not _divides(fgraph, a, b):
        return None
    axes = a.core.owner.op.axis if type(a.core.owner.op) is CAReduce else op.axis
    mean = _mean(fgraph, node.inputs[1], b, x, axes)
    centred = T.sum(T.sqr(x - with_axes(mean, axes)), axis=axes)
    result = _with_core(node.inputs[0], a.core, centred)
    missing = out.type.ndim - result.type.ndim
    return T.shape_padleft(result, missing) if missing else result


def _power(fgraph: FunctionGraph, var: Variable) -> _Power | None:
    """`var` as a power of a sum, divided by numbers and scalars; None if it is none."""
    found = _Power()
    stack: list[tuple[Any, int]] = [(var, 1)]
    budget = _LIMIT
    while stack:
        v, e = stack.pop()
        budget -= 1
        value = uniform_value(v)
        name = scalar_name(v)
        place = place_of_extent(v) if value is None else None
        if isinstance(place, tuple):
            place = source_of_extent(fgraph, *place)
        if not budget:
            return None
        if isinstance(place, int):
            value = np.asarray(place)
        if value is not None:
            with np.errstate(all="ignore"):
                found.coefficient *= float(value.astype("float64") ** e)
        elif place is not None:
            found.scalars[place] = found.scalars.get(place, 0) + e
        elif name == "mul":
            stack.extend((w, e) for w in v.owner.inputs)
        elif name == "true_div":
            stack.extend([(v.owner.inputs[0], e), (v.owner.inputs[1], -e)])
        elif name == "reciprocal":
            stack.append((v.owner.inputs[0], -e))
        elif name == "sqr":
            stack.append((v.owner.inputs[0], 2 * e))
        elif name == "pow":
            exponent = uniform_value(v.owner.inputs[1])
            if exponent is None or exponent not in (1, 2):
                return None
            stack.append((v.owner.inputs[0], int(exponent) * e))
        elif _is_wider(v) or (name.startswith("cast") and all(v.type.broadcastable)):
            stack.append((v.owner.inputs[0], e))
        elif v.owner is not None and type(v.owner.op) is DimShuffle:
            (inner,) = v.owner.inputs
            if inner.owner is not None and type(inner.owner.op) is CAReduce:
                if found.order not in ((), v.owner.op.new_order):
                    return None
                found.order = v.owner.op.new_order
            elif inner.type.ndim:
                return None
            stack.append((inner, e))
        elif v.owner is not None and type(v.owner.op) in (CAReduce, Dot):
            if found.core is not None and found.core is not v:
                return None
            found.core = v
            found.exponent += e
        elif all(v.type.broadcastable):
            found.scalars[v] = found.scalars.get(v, 0) + e
        else:
            return None
    return found if found.core is not None and np.isfinite(found.coefficient) else None


def _is_wider(v: Variable) -> bool:
    """Whether `v` is a cast of one type of floats to another one that has all its values."""
    if not scalar_name(v).startswith("cast"):
        return False
    narrow = v.owner.inputs[0].type.numpy_dtype  # type: ignore[union-attr]
    return narrow.kind == "f" == v.type.numpy_dtype.kind and np.can_cast(narrow, v.type.numpy_dtype)


def _summed_squares(squares: Any, total: Any) -> Any:
    """x, if `squares` is the sum of x**2 over what `total` is the sum of x over; else None."""
    a, b = squares.owner, total.owner
    (y,) = b.inputs if len(b.inputs) == 1 else (None,)
    if type(a.op) is Dot:
        x, twin = a.inputs
        return x if x is twin is y and y.type.ndim == 1 else None
    if type(b.op) is not CAReduce or a.op.scalar_op != b.op.scalar_op:
        return None
    x = _square_root(a.inputs[0])
    if x is y:
        return x if a.op == b.op else None
    if x is None or x.owner is None or type(x.owner.op) is not DimShuffle:
        return None
    order = x.owner.op.new_order
    if x.owner.inputs[0] is not y or "x" in order or len(order) != y.type.ndim:
        return None
    left = [e for d, e in enumerate(order) if d not in a.op.axis]
    same = left == sorted(left) and tuple(sorted(order[d] for d in a.op.axis)) == b.op.axis
    return x if same else None


def _square_root(v: Any) -> Any:
    """x, if `v` is the square of x."""
    name = scalar_name(v)
    if name == "sqr":
        return v.owner.inputs[0]
    if name == "mul" and v.owner.inputs[0] is v.owner.inputs[1]:
        return v.owner.inputs[0]
    if name == "pow":
        x, exponent = v.owner.inputs
        value = uniform_value(exponent)
        return x if value is not None and value == 2 else None
    return None


def _normal(order: tuple[Any, ...]) -> tuple[Any, ...]:
    """The order without dimensions in front that any operation puts there."""
    k = 0
    while k < len(order) and order[k] == "x":
        k += 1
    order = order[k:]
    return () if order == tuple(range(len(order))) else order


def _divides(fgraph: FunctionGraph, a: _Power, b: _Power) -> bool:
    """Whether b is divided by as many elements as are summed more than a is."""
    known, wanted = 1.0, dict[Any, int]()
    eps = np.finfo(b.core.type.dtype).eps
    (x,) = b.core.owner.inputs
    for d in b.core.owner.op.axis:
        place = source_of_extent(fgraph, x, d)
        if isinstance(place, int):
            known *= place
        else:
            wanted[place] = wanted.get(place, 0) + 1
    for s in {**a.scalars, **b.scalars}:
        wanted[s] = wanted.get(s, 0) - a.scalars.get(s, 0) + b.scalars.get(s, 0)
    return not any(wanted.values()) and bool(
        abs(a.coefficient - b.coefficient * known) <= _ROUNDED * eps * abs(a.coefficient)
    )


def _mean(fgraph: FunctionGraph, square: Any, b: _Power, x: Any, axes: tuple[int, ...]) -> Any:
    """The mean of x: what is squared, if that is it."""
    root = _square_root(square)
    n = product_of_extents([x.shape[d] for d in axes])
    if root is not None and not b.order and root.type.dtype == x.type.dtype:
        found = _power(fgraph, root)
        unit = _Power(1.0, b.core, 1)
        if found is not None and _divides(fgraph, unit, found):
            return root
    return T.sum(x, axis=axes) / T.cast(n, x.type.dtype)


def _with_core(v: Any, core: Any, new: Any) -> Any:
    """`v`, which has `core` as a factor once, with `new` instead."""
    if v is core:
        return new
    if v.owner is None or not (
        type(v.owner.op) is DimShuffle or _is_wider(v) or scalar_name(v) in ("mul", "true_div")
    ):
        return v
    return v.owner.op(*(_with_core(w, core, new) for w in v.owner.inputs))
