"""Canonicalization of elementwise arithmetic: one way to write an expression.

Neutral and absorbing elements vanish, signs and reciprocals move outwards, constants are
gathered, casts that change nothing go.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.identity import ViewOp
from kroton.rewriting.agreement import agreeing
from kroton.rewriting.gathering import added, multiplied
from kroton.rewriting.jumps import jumps
from kroton.rewriting.matching import Match, uniform_value
from kroton.rewriting.pattern import (
    C,
    abs,
    and_,
    eq,
    exp,
    ge,
    gt,
    identity,
    invert,
    le,
    log,
    lt,
    maximum,
    minimum,
    neg,
    neq,
    or_,
    reciprocal,
    sgn,
    sigmoid,
    sqr,
    sqrt,
    switch,
    w,
    x,
    y,
    z,
)
from kroton.rewriting.phases import canonicalize
from kroton.rewriting.replacement import stretch

T: Any = kroton.tensor

_USERS = 16
"""What has more users is not searched for twins among them, so that the cost stays linear."""

c, d = C("c"), C("d")
rule = canonicalize.rule


def _smooth(m: Any) -> bool:
    """Whether a quotient may be rounded otherwise: nothing rounds it to integers or compares it."""
    return not jumps(m.fgraph, m.out, compared=True)


# ---- neutral and absorbing elements
rule(x + 0, x)
rule(x - 0, x)
rule(0 - x, -x)
rule(x * 1, x)
rule(x * 0, 0, name="x * 0 -> 0")
rule(x * -1, -x)
rule(0 / x, 0, name="0 / x -> 0")
rule(x / 1, x)
rule(x / -1, -x)
rule(x**1, x)
rule(x**0, 1)
rule(x.integer // 1, x)
rule(x.discrete - x, 0)
rule(identity(x), x)

# ---- signs
rule(neg(neg(x)), x)
rule(x + -y, x - y)
rule(x - -y, x + y)
rule(-(x - y), y - x, single=True)
rule(-x - y, -(x + y), single=True)
rule(-x * -y, x * y)
rule(-x / -y, x / y)
rule(-x * c.real, x * -c)
rule(-(x * c.real), x * -c, single=True)
rule(-(c / x), -c / x, single=True)
rule(x * -y, -(x * y))
rule(-x / y, -(x / y))
rule(x / -y, -(x / y))
rule(abs(-x), abs(x), when=lambda m: m.x.type.numpy_dtype.kind != "u")
rule(abs(abs(x)), abs(x))
rule(sqr(-x), sqr(x))
rule(sqr(abs(x.real)), sqr(x))

# ---- reciprocals
rule(1 / x.continuous, reciprocal(x), name="1 / x -> reciprocal(x)")
rule(x ** C("c").float, reciprocal(x), name="x ** -1 -> reciprocal(x)",
     when=lambda m: m.value("c") == -1)  # fmt: skip
rule(x * reciprocal(y), x / y)
rule(x / reciprocal(y), x * y)
rule(reciprocal(reciprocal(x)), x)
rule(reciprocal(x / y), y / x, single=True)

# ---- constants are gathered, the innermost results of two of them folded
_product, _ratio, _inverse = (
    multiplied(operator.mul), multiplied(operator.truediv), multiplied(lambda c, d: d / c),
)  # fmt: skip
rule((x * c) * d, x * (c * d), when=_product)
rule((x + c) + d, x + (c + d), when=added())
rule((x + c) - d, x + (c - d), when=added(-1))
rule((x - c) + d, x + (d - c), when=added(-1))
rule((x - c) - d, x - (c + d), when=added())
rule((c - x) + d, (c + d) - x, when=added())
rule((c - x) - d, (c - d) - x, when=added(-1))
rule(c - (d - x), x + (c - d), when=added(-1))
rule(c - (x + d), (c - d) - x, when=added(-1))
rule((x * c.continuous) / d, x * (c / d), name="(x * c) / d -> x * (c / d)",
     when=lambda m: m.value("d") != 0 and _ratio(m) and _smooth(m))  # fmt: skip
rule((x / c.continuous) * d, x * (d / c), name="(x / c) * d -> x * (d / c)",
     when=lambda m: m.value("c") != 0 and _inverse(m) and _smooth(m))  # fmt: skip
rule((x / c.continuous) / d, x / (c * d), name="(x / c) / d -> x / (c * d)",
     when=lambda m: _product(m) and _smooth(m))  # fmt: skip

# ---- what is added to itself, scaled, is one scaled term: decay in an update
rule(x - c * (x * d + y), x * (1 - c * d) - c * y, single=True)
rule(x - c * (x + y), x * (1 - c) - c * y, single=True)
rule(x + c * (x * d + y), x * (1 + c * d) + c * y, single=True)

# ---- inverse functions, idempotence, comparisons with oneself
rule(log(exp(x.float)), x)
rule(sqrt(sqr(x.float)), abs(x))
rule(maximum(maximum(x, c), d), maximum(x, maximum(c, d)))
rule(minimum(minimum(x, c), d), minimum(x, minimum(c, d)))
rule(invert(invert(x.discrete)), x)
rule(and_(x.discrete, x), x)
rule(or_(x.discrete, x), x)
rule(abs(exp(x.float)), exp(x))
rule(abs(sigmoid(x.float)), sigmoid(x))
rule(abs(sqr(x.float)), sqr(x))
rule(x.float / abs(x), sgn(x))
rule(abs(x.float) / x, sgn(x))
rule(sgn(x.float) * (sgn(x) / abs(x)), reciprocal(abs(x)))
rule(maximum(x, x), x)
rule(minimum(x, x), x)
rule(eq(x.discrete, x), True)
rule(le(x.discrete, x), True)
rule(ge(x.discrete, x), True)
rule(neq(x.discrete, x), False)
rule(lt(x.discrete, x), False)
rule(gt(x.discrete, x), False)
rule(switch(x, y, y), lambda m: agreeing(m.fgraph, m.y, m.x), name="switch(x, y, y) -> y")
rule(switch(z, switch(z, x, y), w), lambda m: agreeing(m.fgraph, T.switch(m.z, m.x, m.w), m.y),
     name="switch(z, switch(z, x, y), w) -> switch(z, x, w)")  # fmt: skip
rule(switch(z, x, switch(z, y, w)), lambda m: agreeing(m.fgraph, T.switch(m.z, m.x, m.w), m.y),
     name="switch(z, x, switch(z, y, w)) -> switch(z, x, w)")  # fmt: skip
rule(switch(x, c, d), d, when=lambda m: m.value("c") == m.value("d"))
rule(switch(z, x, y), lambda m: _chosen(m), name="switch of a constant",
     when=lambda m: m.value("z") is not None)  # fmt: skip


def _chosen(m: Match) -> Any:
    """The branch that a constant condition takes, of the shape of all three."""
    taken, other = (m.x, m.y) if m.value("z") else (m.y, m.x)
    return agreeing(m.fgraph, taken, m.z, other)


@canonicalize.rewriter("cast", name="cast_of_cast")
def cast_of_cast(fgraph: FunctionGraph, node: Apply) -> Any:
    """A cast to the dtype that is there, or after one that lost nothing."""
    (inner,) = node.inputs
    wanted = node.outputs[0].type.dtype
    if inner.type.dtype == wanted:
        return inner
    owner = inner.owner
    if owner is None or type(owner.op) is not T.Elemwise or not _is_cast(owner):
        return None
    (source,) = owner.inputs
    if _keeps_values(source.type.numpy_dtype, inner.type.numpy_dtype):
        return T.cast(source, wanted)
    return None


def _keeps_values(source: Any, target: Any) -> bool:
    """Whether every value of `source` is one of `target`: NumPy calls int64 to float64 safe."""
    if source.kind in "iu" and target.kind in "fc":
        return bool(np.iinfo(source).bits <= np.finfo(target).nmant)
    return np.can_cast(source, target, "safe")


def _is_cast(node: Apply) -> bool:
    return type(node.op.scalar_op) is scalar.Cast


@canonicalize.rewriter(ViewOp, name="view_of_itself", depth=1)
def view_of_itself(fgraph: FunctionGraph, node: Apply) -> Variable:
    """Ops that only concerned the gradient are their input."""
    return node.inputs[0]  # type: ignore[no-any-return]


@canonicalize.rewriter("pow", name="pow_of_pow")
def pow_of_pow(fgraph: FunctionGraph, node: Apply) -> Any:
    """(x ** n) ** m = x ** (n m) for whole n and m of which none is negative."""
    base, exponent = node.inputs
    owner = base.owner
    if owner is None or type(owner.op) is not T.Elemwise or owner.op.name != "pow":
        return None
    n, m = uniform_value(owner.inputs[1]), uniform_value(exponent)
    if n is None or m is None or n.dtype.kind not in "iuf" or m.dtype.kind not in "iuf":
        return None
    if n < 0 or m < 0 or n != np.floor(n) or m != np.floor(m):
        return None
    power = T.pow(owner.inputs[0], T.constant(n * m, dtype=exponent.type.dtype))
    if power.type.dtype != node.outputs[0].type.dtype:
        return None
    return power if power.type.ndim == base.type.ndim else stretch(power, node.outputs[0])


@canonicalize.rewriter("add", "mul", name="commuted_twin", depth=1)
def commuted_twin(fgraph: FunctionGraph, node: Apply) -> Variable | None:
    """x + y and y + x are one, and x * y and y * x."""
    x, y = node.inputs
    users = fgraph.variables[x]
    if x is y or len(users) > _USERS:
        return None
    for client, _ in users:
        if client != "output" and client.op == node.op and client.inputs == [y, x]:
            return client.outputs[0]  # type: ignore[no-any-return]
    return None
