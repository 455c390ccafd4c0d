"""What does nothing, or the same again, vanishes: idempotent functions, repetition by one, bounds
of a whole dimension. Also what is known whatever the values, as that no number exceeds itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import kroton.tensor
from kroton import scalar
from kroton.graph.basic import Apply, Constant
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import CONSTANT, Match, scalar_name, uniform_value
from kroton.rewriting.parts import parts_of, taken
from kroton.rewriting.pattern import (
    C,
    abs,
    and_,
    clip,
    conj,
    gt,
    imag,
    isinf,
    isnan,
    lt,
    mod,
    or_,
    real,
    sgn,
    sqrt,
    x,
    xor,
    y,
    z,
)
from kroton.rewriting.phases import canonicalize
from kroton.rewriting.shape import extent, place_of_extent, source_of_extent
from kroton.tensor.argmax import Argmax, Argmin
from kroton.tensor.diagonal import AllocDiag, ExtractDiag
from kroton.tensor.indexing import Slice
from kroton.tensor.reduction import CAReduce
from kroton.tensor.repetition import Repeat
from kroton.tensor.reshape import Reshape
from kroton.tensor.subtensor import Subtensor

T: Any = kroton.tensor

c, d = C("c"), C("d")
rule = canonicalize.rule

# ---- powers, remainders, bits
rule(1**x.float, 1)
rule(x.integer % 1, 0)
rule(mod(0, x.integer), 0)
rule(and_(x.bool, c.bool), x, name="x & True -> x", when=lambda m: m.value("c"))
rule(and_(x.bool, c.bool), False, name="x & False -> False", when=lambda m: not m.value("c"))
rule(or_(x.bool, c.bool), x, name="x | False -> x", when=lambda m: not m.value("c"))
rule(or_(x.bool, c.bool), True, name="x | True -> True", when=lambda m: m.value("c"))
rule(and_(x.integer, -1), x)
rule(and_(x.integer, 0), 0)
rule(or_(x.integer, 0), x)
rule(xor(x.discrete, 0), x)
rule(xor(x.discrete, x), 0)

# ---- comparisons with oneself that are false for NaN as well
rule(lt(x.float, x), False, name="x < x -> False, of floats")
rule(gt(x.float, x), False, name="x > x -> False, of floats")

# ---- what only complex numbers and floats have
rule(conj(x.real), x)
rule(real(x.real), x)
rule(imag(x.real), 0)
rule(isnan(x.discrete), False)
rule(isinf(x.discrete), False)

# ---- the same again
rule(sgn(sgn(x.real)), sgn(x))
rule(abs(sqrt(x.float)), sqrt(x))
rule(clip(clip(x, y, z), y, z), clip(x, y, z))


def _both_bounds(m: Match) -> Any:
    """x between bounds that are themselves between the outer ones."""
    low, high = (T.clip(bound, m.e, m.f) for bound in (m.c, m.d))
    return T.clip(m.x, low, high)


rule(clip(clip(x, c, d), C("e"), C("f")), _both_bounds,
     name="clip(clip(x, c, d), e, f) -> clip(x, clip(c, e, f), clip(d, e, f))",
     when=lambda m: m.value("c") <= m.value("d") and m.value("e") <= m.value("f"))  # fmt: skip

_WHOLE = ("floor", "ceil", "trunc", "round_half_to_even", "round_half_away_from_zero")


@canonicalize.rewriter(*_WHOLE, name="rounding_of_whole_numbers")
def rounding_of_whole_numbers(fgraph: FunctionGraph, node: Apply) -> Any:
    """Integers are whole numbers, and so is what has been rounded."""
    (x,) = node.inputs
    whole = x.type.numpy_dtype.kind in "biu" or scalar_name(x) in _WHOLE
    return x if whole and x.type == node.outputs[0].type else None


_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "true_div": 1}


@canonicalize.rewriter(*_NEUTRAL, name="neutral_array", depth=1, needs=[CONSTANT])
def neutral_array(fgraph: FunctionGraph, node: Apply) -> Any:
    """M + zeros(4) is M, checked to have four columns where that is not known."""
    name, out = node.op.name, node.outputs[0]
    for v, number in (node.inputs, node.inputs[::-1])[: 2 if name in ("add", "mul") else 1]:
        if not isinstance(number, Constant) or v.type.dtype != out.type.dtype:
            continue
        value = uniform_value(number)
        if value is None or value.dtype.kind == "b" or value != _NEUTRAL[name]:
            continue
        if v.type.broadcastable == out.type.broadcastable:
            return T.specify_shape(v, out.type.shape)
    return None


@canonicalize.rewriter(Repeat, name="repeat_once", depth=1)
def repeat_once(fgraph: FunctionGraph, node: Apply) -> Any:
    """Each slice once."""
    x, repeats = node.inputs
    return x if repeats.type.ndim == 0 and uniform_value(repeats) == 1 else None


@canonicalize.rewriter(ExtractDiag, name="diagonal_of_diagonal")
def diagonal_of_diagonal(fgraph: FunctionGraph, node: Apply) -> Any:
    """The diagonal of what has zeros beside it."""
    made, op = node.inputs[0].owner, node.op
    if made is None or type(made.op) is not AllocDiag:
        return None
    x, n, m = made.inputs
    same = (op.offset, op.axis1, op.axis2) == (made.op.offset, made.op.axis1, made.op.axis2)
    if not same or op.offset or n is not m:
        return None
    # It may have been put into more rows and columns than it has elements.
    place = place_of_extent(n)
    fits = place is not None and source_of_extent(fgraph, x, x.type.ndim - 1) == (
        place if isinstance(place, int) else source_of_extent(fgraph, *place)
    )
    return x if fits else None


@canonicalize.rewriter(Argmax, Argmin, name="position_of_the_only_element", depth=1)
def position_of_the_only_element(fgraph: FunctionGraph, node: Apply) -> Any:
    """The first of one is number 0."""
    (x,), (out,) = node.inputs, node.outputs
    axes = node.op.axis
    if not out.type.ndim or any(x.type.shape[k] != 1 for k in axes):
        return None
    kept = [extent(fgraph, x, k) for k in range(x.type.ndim) if k not in axes]
    return T.alloc(T.constant(0, dtype=out.type.dtype), *kept)


# ---- reductions


@canonicalize.rewriter(CAReduce, name="reduction_of_flattened")
def reduction_of_flattened(fgraph: FunctionGraph, node: Apply) -> Any:
    """The sum of all elements in any shape. Only where the shape is surely one of them."""
    op, (flat,) = node.op, node.inputs
    inner = flat.owner
    if inner is None or type(inner.op) is not Reshape or flat.type.ndim != 1 or op.axis != (0,):
        return None
    x, shape = inner.inputs
    if not isinstance(shape, Constant) or shape.data[0] != -1:
        return None
    return replace(op, axis=tuple(range(x.type.ndim)))(x)


@canonicalize.rewriter(CAReduce, name="extreme_of_scaled")
def extreme_of_scaled(fgraph: FunctionGraph, node: Apply) -> Any:
    """max(c * x) = c * max(x) with c > 0, and max(x + c) = max(x) + c: rounding is monotonic."""
    op, (x,) = node.op, node.inputs
    if op.scalar_op not in (scalar.maximum, scalar.minimum) or not op.axis:
        return None
    if x.type.numpy_dtype.kind != "f" or len(fgraph.variables[x]) > 1:
        return None
    name = scalar_name(x)
    if name not in ("mul", "true_div", "add", "sub"):
        return None
    inputs = x.owner.inputs
    for v, number in (inputs, inputs[::-1])[: 2 if name in ("mul", "add") else 1]:
        value = uniform_value(number)
        if value is None or v.type != x.type or not abs(value) < float("inf"):
            continue
        if value <= 0 and name in ("mul", "true_div"):
            continue
        return x.owner.op(op(v), T.constant(value, dtype=x.type.dtype))
    return None


# ---- slices


@canonicalize.rewriter(Subtensor, name="slice_to_the_end")
def slice_to_the_end(fgraph: FunctionGraph, node: Apply) -> Any:
    """x[:n] is x, and x[n:] is empty, where n is the extent."""
    x = node.inputs[0]
    parts = parts_of(node)
    changed = list(parts)
    for k, part in enumerate(parts):
        if not isinstance(part, Slice) or part.step not in (None, 1):
            continue
        if _is_extent(fgraph, part.start, x, k):
            changed[k] = Slice(None, 0, None)
        elif _is_extent(fgraph, part.stop, x, k):
            changed[k] = Slice(part.start if part.start != 0 else None, None, None)
    return taken(x, changed) if changed != parts else None


def _is_extent(fgraph: FunctionGraph, bound: Any, x: Any, k: int) -> bool:
    """Whether the bound of a slice is where dimension `k` of `x` ends, or beyond."""
    known = x.type.shape[k]
    if bound is None:
        return False
    if isinstance(bound, int):
        return known is not None and bound >= known
    place = place_of_extent(bound)
    if place is None or isinstance(place, int):
        return False
    return source_of_extent(fgraph, *place) == source_of_extent(fgraph, x, k)
