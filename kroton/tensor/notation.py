"""How `pp` writes tensor Ops: as the user would, with axes, indices and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kroton.graph.basic import Apply, Constant, Variable
from kroton.printing import ARGUMENT, POSTFIX, register_pp
from kroton.tensor.advanced_subtensor import (
    AdvancedIncSubtensor,
    AdvancedIncSubtensor1,
    AdvancedSubtensor,
    AdvancedSubtensor1,
    Nonzero,
)
from kroton.tensor.arange import ARange
from kroton.tensor.argmax import Argmax, Argmin
from kroton.tensor.creation import Alloc
from kroton.tensor.cumulative import CumOp
from kroton.tensor.diagonal import AllocDiag, ExtractDiag, Eye
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.indexing import Entries, Slice, filled
from kroton.tensor.joining import Join, Split
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax
from kroton.tensor.reduction import CAReduce, accumulated_dtype
from kroton.tensor.repetition import Repeat
from kroton.tensor.reshape import Reshape
from kroton.tensor.shape import MakeVector, Shape, Shape_i, SpecifyShape, Unbroadcast
from kroton.tensor.subtensor import IncSubtensor, Subtensor

__all__: list[str] = []

Tokens = list[Any]
"""Strings, and pairs (Variable, precedence)."""


def _separated(items: Sequence[Any]) -> Tokens:
    """`a, b`, of Variables and strings."""
    tokens: Tokens = []
    for k, item in enumerate(items):
        if k:
            tokens.append(", ")
        tokens.append((item, ARGUMENT) if isinstance(item, Variable) else item)
    return tokens


def _call(name: str, *arguments: Any, **options: Any) -> Tokens:
    """`name(a, b, option=value)`; an option that is None is left out."""
    chosen = [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return [f"{name}(", *_separated([*arguments, *chosen]), ")"]


def _one_or_tuple(axes: Sequence[int], ndim: int) -> Any:
    """`axes` as an argument `axis`: None if it is all of them."""
    if len(axes) == ndim:
        return None
    return axes[0] if len(axes) == 1 else tuple(axes)


def _reduction(node: Apply) -> Tokens:
    op, (x,) = node.op, node.inputs
    usual = {"Sum": accumulated_dtype(x.type.dtype), "Prod": accumulated_dtype(x.type.dtype)}
    usual.update(All="bool", Any="bool")
    return _call(
        op.name.lower(),
        x,
        axis=_one_or_tuple(op.axis, x.type.ndim),
        dtype=None if op.dtype == usual.get(op.name, x.type.dtype) else op.dtype,
        acc_dtype=None if op.acc_dtype == op.dtype else op.acc_dtype,
    )


def _position(node: Apply) -> Tokens:
    (x,) = node.inputs
    name = type(node.op).__name__.lower()
    return _call(name, x, axis=_one_or_tuple(node.op.axis, x.type.ndim))


def _indexed(x: Variable, entries: Entries, given: Sequence[Any]) -> Tokens:
    """`x[index]`."""
    items: list[Tokens] = []
    for entry in filled(entries, given):
        if isinstance(entry, Slice):
            parts = [entry.start, entry.stop] + ([] if entry.step is None else [entry.step])
            tokens: Tokens = []
            for k, part in enumerate(parts):
                tokens.extend([":"] if k else [])
                tokens.extend([] if part is None else _separated([_shown(part)]))
            items.append(tokens)
        else:
            items.append(_separated([_shown(entry)]))
    inside: Tokens = []
    for k, tokens in enumerate(items):
        inside.extend([", ", *tokens] if k else tokens)
    return [(x, POSTFIX), "[", *(inside or ["..."]), "]"]


def _shown(part: Any) -> Any:
    return part if isinstance(part, Variable) else repr(part)


def _read(node: Apply) -> Tokens:
    x, *given = node.inputs
    return _indexed(x, node.op.entries(given), given)


def _write(node: Apply) -> Tokens:
    x, y, *given = node.inputs
    op = node.op
    name = "set_subtensor(" if op.set_instead_of_inc else "inc_subtensor("
    place = _indexed(x, op.entries(given), given)
    end = ", inplace=True)" if op.inplace else ")"
    return [name, *place, ", ", (y, ARGUMENT), end]


def _reordered(node: Apply) -> Tokens:
    (x,) = node.inputs
    if isinstance(x, Constant) and x.type.ndim == 0:
        return [(x, ARGUMENT)]
    order = node.op.new_order
    kept = [e for e in order if e != "x"]
    if node.op.drop or kept != sorted(kept):
        if len(kept) == len(order) == x.type.ndim:
            if kept == list(range(x.type.ndim))[::-1]:
                return [(x, POSTFIX), ".T"]
            return [(x, POSTFIX), f".transpose({', '.join(map(str, order))})"]
        if len(kept) == len(order) and kept == sorted(kept):
            dropped = _one_or_tuple(node.op.drop, -1)
            return _call("squeeze", x, axis=dropped)
        return [(x, POSTFIX), f".dimshuffle({', '.join(map(repr, order))})"]
    entries = ["None" if e == "x" else ":" for e in order]
    while entries and entries[-1] == ":":
        entries.pop()
    return [(x, POSTFIX), f"[{', '.join(entries)}]"] if entries else [(x, ARGUMENT)]


def _elementwise(node: Apply) -> Tokens | None:
    name = node.op.name
    if name.startswith("cast{"):
        return [*_call("cast", node.inputs[0])[:-1], f", {name[5:-1]!r})"]
    return None


def _softmax(node: Apply) -> Tokens:
    (x,) = node.inputs
    axis = node.op.axis
    last = axis is not None and axis % x.type.ndim == x.type.ndim - 1
    name = type(node.op).__name__.lower()
    return [*_call(name, x)[:-1], ")" if last else f", axis={axis})"]


def _diagonal(name: str) -> Callable[[Apply], Tokens]:
    def tokens(node: Apply) -> Tokens:
        op = node.op
        usual = (op.axis1, op.axis2) == (0, 1)
        return _call(
            name,
            node.inputs[0],
            offset=op.offset or None,
            axis1=None if usual else op.axis1,
            axis2=None if usual else op.axis2,
        )

    return tokens


def _plain(name: str) -> Callable[[Apply], Tokens]:
    return lambda node: _call(name, *node.inputs)


register_pp(CAReduce, _reduction)
register_pp(Argmax, _position)
register_pp(Argmin, _position)
register_pp(CumOp, lambda n: _call(
    "cumsum" if n.op.mode == "add" else "cumprod", *n.inputs, axis=n.op.axis,
))  # fmt: skip
for _reader in (Subtensor, AdvancedSubtensor, AdvancedSubtensor1):
    register_pp(_reader, _read)
for _writer in (IncSubtensor, AdvancedIncSubtensor, AdvancedIncSubtensor1):
    register_pp(_writer, _write)
register_pp(DimShuffle, _reordered)
register_pp(Elemwise, _elementwise)
register_pp(Softmax, _softmax)
register_pp(LogSoftmax, _softmax)
register_pp(Join, lambda n: _call("join", str(n.op.axis), *n.inputs))
register_pp(Split, lambda n: _call("split", *n.inputs, str(n.op.len_splits), axis=n.op.axis))
register_pp(Repeat, lambda n: _call("repeat", *n.inputs, axis=n.op.axis))
register_pp(Reshape, lambda n: [(n.inputs[0], POSTFIX), *_call(".reshape", n.inputs[1])])
register_pp(Shape, lambda n: [(n.inputs[0], POSTFIX), ".shape"])
register_pp(Shape_i, lambda n: [(n.inputs[0], POSTFIX), f".shape[{n.op.i}]"])
register_pp(MakeVector, lambda n: ["[", *_separated(n.inputs), "]"])
register_pp(SpecifyShape, lambda n: _call("specify_shape", *n.inputs, repr(n.op.shape)))
register_pp(Unbroadcast, lambda n: _call("unbroadcast", *n.inputs, *map(str, n.op.axes)))
register_pp(ExtractDiag, _diagonal("diagonal"))
register_pp(AllocDiag, _diagonal("alloc_diag"))
register_pp(Alloc, _plain("alloc"))
register_pp(ARange, _plain("arange"))
register_pp(Eye, _plain("eye"))
register_pp(Nonzero, _plain("nonzero"))
