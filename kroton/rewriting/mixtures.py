"""Sums of exponentials over an axis among other terms: 1 + sum(exp(x)), exp(y) + sum(exp(x)).

Their logarithms, and quotients of an exponential by such a sum, neither overflow nor underflow
where the exponentials do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import scalar_name, uniform_value
from kroton.rewriting.phases import stabilize
from kroton.rewriting.softmax import SHARES, WeightedSum, sum_of_exp, undo_keepdims
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.reduction import with_axes

T: Any = kroton.tensor

_LIMIT = 8
"""Sums of more terms are left alone."""
_LARGEST = 1e30
"""Multiples of exponentials beyond this, or below its reciprocal, are left alone."""


@dataclass
class _Sum:
    """coefficient * sum(exp(x)) over axes, or coefficient * exp(x) over none."""

    coefficient: float
    x: Any
    axes: tuple[int, ...]
    order: tuple[Any, ...] | None = None
    """In which a DimShuffle has put the dimensions of the result."""

    def reduces(self, axes: tuple[int, ...]) -> bool:
        """Whether the sum is over these axes, or has those that it is over put back for none."""
        if self.order is None:
            return self.axes == axes
        kept = iter(range(self.x.type.ndim))
        back = tuple("x" if d in self.axes else next(kept) for d in range(self.x.type.ndim))
        return not axes and self.order == back

    def _moved(self, v: Any) -> Any:
        return v if self.order is None else T.dimshuffle(v, self.order)

    def _whole(self) -> WeightedSum:
        return WeightedSum(self.x, self.axes, lambda e: T.sum(e, axis=self.axes))

    def top(self) -> Any:
        """The largest exponent."""
        return self._moved(self._whole().top()) if self.axes else self.x

    def shifted(self, m: Any) -> Any:
        """The sum divided by exp(m), of which no part overflows if m is at least its shift."""
        if self.axes:
            own = self._whole().shift()
            total = self._moved(T.sum(T.exp(self.x - with_axes(own, self.axes)), axis=self.axes))
            total = total * T.exp(self._moved(own) - m)
        else:
            total = T.exp(self.x - m)
        return total if self.coefficient == 1 else total * self.coefficient


@dataclass
class Mixture:
    """The sum of several such sums and of a positive number."""

    sums: list[_Sum]
    number: float
    dtype: str

    def shift(self, beside: bool) -> Any:
        """How far the largest exponent is from what can be summed as it is; 0 for ordinary ones.

        With a number beside, nothing underflows that counts.
        """
        top: Any = None
        for s in self.sums:
            top = s.top() if top is None else T.maximum(top, s.top())
        limit = float(np.finfo(self.dtype).max)
        bound = np.floor(0.8 * np.log(limit))
        # Infinity less infinity would be no number.
        limits = [T.constant(v, dtype=self.dtype) for v in (-limit, limit)]
        edge, zero = (T.constant(v, dtype=self.dtype) for v in (bound, 0))
        top = T.clip(top, *limits)
        m = T.maximum(top - edge, zero)
        return m if beside else m + T.minimum(top + edge, zero)

    def shifted(self, m: Any, scaled: bool) -> Any:
        """The sum divided by exp(m); the number, next to what is not, only if `scaled`."""
        total: Any = None
        for s in self.sums:
            v = s.shifted(m)
            total = v if total is None else total + v
        if self.number:
            number = T.constant(self.number, dtype=self.dtype)
            total = total + (number * T.exp(-m) if scaled else number)
        return total


def mixture(var: Variable) -> Mixture | None:
    """`var` as such a sum, one of its terms over an axis; None if it is none."""
    dtype = var.type.dtype
    if var.type.numpy_dtype.kind != "f":
        return None
    found = Mixture([], 0.0, dtype)
    stack: list[tuple[Any, float]] = [(var, 1.0)]
    while stack:
        v, c = stack.pop()
        if len(stack) + len(found.sums) > _LIMIT or not 1 / _LARGEST < c < _LARGEST:
            return None
        name = scalar_name(v)
        value = uniform_value(v) if isinstance(v, Constant) else None
        if value is not None:
            found.number += c * float(value)
        elif name == "add":
            stack.extend((w, c) for w in reversed(v.owner.inputs))
        elif name == "mul" and (scaled := _scaled(v)) is not None:
            stack.append((scaled[0], c * scaled[1]))
        elif name == "exp":
            found.sums.append(_Sum(c, v.owner.inputs[0], ()))
        else:
            order = None
            if v.owner is not None and type(v.owner.op) is DimShuffle:
                order, v = v.owner.op.new_order, v.owner.inputs[0]
            inner = sum_of_exp(v)
            if inner is None or not inner[1]:
                return None
            found.sums.append(_Sum(c, *inner, order))
    if not any(s.axes for s in found.sums) or any(s.x.type.dtype != dtype for s in found.sums):
        return None
    bound = np.exp(0.4 * np.log(float(np.finfo(dtype).max)))
    return found if 0 <= found.number < bound else None


def _scaled(v: Any) -> tuple[Any, float] | None:
    """What a product is a multiple of, and by which number."""
    for x, number in (v.owner.inputs, v.owner.inputs[::-1]):
        value = uniform_value(number) if isinstance(number, Constant) else None
        if value is not None:
            return x, float(value)
    return None


@stabilize.rewriter("log", "log1p", name="log_of_mixture", depth=6, stretches=True)
def log_of_mixture(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(c + exp(y) + sum(exp(x))) = m + log(c + exp(y - m) + sum(exp(x - m)))

    m is how far the largest exponent is beyond what may overflow or underflow: 0 for
    ordinary values, which are computed as they are written.
    """
    (argument,) = node.inputs
    if scalar_name(argument) != "add" and node.op.name != "log1p":
        return None
    found = mixture(argument)
    if found is None:
        return None
    beside = bool(found.number) or node.op.name == "log1p"
    m = found.shift(beside)
    return node.op(found.shifted(m, scaled=False)) + m


def share_of_mixture(z: Any, factor: Variable, divides: bool) -> list[Any] | None:
    """The factors that stand for exp(z) / total, where exp(z) is part of a mixture.

    `factor` is total, if `divides`, else a quotient by it: what is above it remains.
    """
    spread = undo_keepdims(factor, z.type.ndim)
    inner, axes = (factor, ()) if spread is None else spread
    above = []
    if not divides:
        if scalar_name(inner) not in ("true_div", "reciprocal"):
            return None
        *above, inner = inner.owner.inputs  # type: ignore[union-attr]
    if scalar_name(inner) != "add":
        return None
    found = mixture(inner)
    if found is None or not any(s.x is z and s.reduces(axes) for s in found.sums):
        return None
    m = found.shift(bool(found.number))
    total = found.shifted(m, scaled=True)
    return [
        T.exp(z - with_axes(m, axes)),
        *(with_axes(a, axes) if a.type.ndim else a for a in above),
        T.reciprocal(with_axes(total, axes)),
    ]


SHARES.append(share_of_mixture)
