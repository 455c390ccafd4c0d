"""Factors that leave a sum, where the sum may be over nothing.

The sum of x / n over no elements is 0, and 0 / n is not where n, the number of elements, is 0
as well: a training step on an empty batch would make all parameters NaN. So what leaves a sum is
divided by max(n, 1), which is n wherever there is something to sum. Only extents, and scalars that
are whole numbers, are looked at: other factors that are infinite or NaN, or divisors that are 0,
make the sum over nothing NaN.
"""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.shape import extent, place_of_extent, source_of_extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.shape import product_of_extents

T: Any = kroton.tensor

_DEPTH = 6
"""How far a factor is followed to the extents that it is divided by."""


def unspoilt(
    fgraph: FunctionGraph, factor: Any, x: Variable, axes: tuple[int, ...], divides: bool = False
) -> Any:
    """`factor`, with the extents that it is divided by not 0 where `x` has nothing to sum.

    Parameters
    ----------
    factor : TensorVariable
        What multiplies the sum of `x` over `axes`, or, if it `divides`, what that is divided by.
    """
    if all(x.type.shape[d] for d in axes):
        return factor
    if any(x.type.shape[d] == 0 for d in axes):
        return T.ones_like(factor)
    return _unspoilt(fgraph, factor, x, axes, divides, 0)


def _unspoilt(
    fgraph: FunctionGraph, v: Any, x: Variable, axes: tuple[int, ...], divides: bool, depth: int
) -> Any:
    if depth > _DEPTH or isinstance(v, Constant):
        return v
    places = _places(fgraph, v) if divides else []
    own = {source_of_extent(fgraph, x, d) for d in range(x.type.ndim)}
    if places and own.issuperset(places):
        return T.maximum(v, T.constant(1, dtype=v.type.dtype))
    if places or (divides and _is_count(v)):
        count = product_of_extents([extent(fgraph, x, d) for d in axes])
        return T.switch(T.gt(count, 0), v, T.constant(1, dtype=v.type.dtype))
    name = scalar_name(v)
    if name not in ("mul", "true_div", "neg", "reciprocal"):
        if v.owner is not None and type(v.owner.op) is DimShuffle:
            (source,) = v.owner.inputs
            inner = _unspoilt(fgraph, source, x, axes, divides, depth + 1)
            return v if inner is source else v.owner.op(inner)
        return v
    below = {"true_div": 1, "reciprocal": 0}.get(name)
    inputs = [
        _unspoilt(fgraph, u, x, axes, divides != (k == below), depth + 1)
        for k, u in enumerate(v.owner.inputs)
    ]
    if all(u is w for u, w in zip(inputs, v.owner.inputs)):
        return v
    return v.owner.op(*inputs)


def _is_count(v: Any) -> bool:
    """Whether `v` is a whole number that is not known, as the length of a slice or a mask is."""
    while v.owner is not None and type(v.owner.op) is DimShuffle:
        v = v.owner.inputs[0]
    if scalar_name(v).startswith("cast"):
        (v,) = v.owner.inputs
    return bool(not v.type.ndim and v.type.numpy_dtype.kind in "iu" and not isinstance(v, Constant))


def _places(fgraph: FunctionGraph, v: Any) -> list[tuple[Variable, int]]:
    """The unknown extents whose product, times numbers, `v` is; none if it is something else."""
    found: list[tuple[Variable, int]] = []
    stack = [v]
    while stack:
        u = stack.pop()
        name = scalar_name(u)
        if name.startswith("cast") or (u.owner is not None and type(u.owner.op) is DimShuffle):
            stack.append(u.owner.inputs[0])
        elif name == "mul":
            stack.extend(u.owner.inputs)
        elif uniform_value(u) is None:
            place = place_of_extent(u)
            source = source_of_extent(fgraph, *place) if isinstance(place, tuple) else 0
            if isinstance(source, int):
                return []
            found.append(source)
    return found
