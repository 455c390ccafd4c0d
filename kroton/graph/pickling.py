"""Pickling and copying graphs of any depth.

A pickler descends by recursion, so a long chain of Applys would overflow its stack. The first
Variable of a graph that is pickled therefore brings a `_Carrier`: a list whose items are all
ancestor Applys in topological order, produced while the pickler consumes them. During that
time each Apply is reduced to its Op and its inputs, whose owners have been pickled before.
Identity is the pickler's own memo, so shared nodes stay shared.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from kroton.graph.basic import Apply, Constant, Tag, Variable
from kroton.graph.traversal import toposort


class _State(threading.local):
    flat = False


_state = _State()


class _Carrier(list[Apply]):
    """Holds the Applys of a graph in topological order while it is unpickled."""

    def __init__(self, roots: list[Apply] | None = None) -> None:
        super().__init__()
        self.roots = roots or []

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (_Carrier, (), None, _ancestors_first(self.roots))


def _ancestors_first(roots: list[Apply]) -> Iterator[Apply]:
    before = _state.flat
    _state.flat = True
    try:
        yield from toposort([out for node in roots for out in node.outputs])
    finally:
        _state.flat = before


def _make_input(cls: Any, type_: Any, name: str | None, tag: Tag | None) -> Any:
    new = cls.__new__(cls)
    Variable.__init__(new, type_, None, None, name)
    new._tag = tag
    return new


def _make_constant(cls: Any, type_: Any, data: Any, name: str | None, tag: Tag | None) -> Any:
    new = cls(type_, data, name)
    new._tag = tag
    return new


def _make_apply(op: Any, inputs: list[Variable], outputs: list[Any]) -> Apply:
    node = Apply.__new__(Apply)
    node.op = op
    node.inputs = list(inputs)
    node._tag = None
    node.trace = ()
    made = []
    for k, (cls, type_, name, tag) in enumerate(outputs):
        out = cls.__new__(cls)
        Variable.__init__(out, type_, node, k, name)
        out._tag = tag
        made.append(out)
    node.outputs = made
    return node


def _output_of(carrier: Any, node: Apply, index: int) -> Any:
    return node.outputs[index]


def reduce_variable(var: Variable) -> Any:
    """What `Variable.__reduce_ex__` returns."""
    if var.owner is None:
        if isinstance(var, Constant):
            return (_make_constant, (type(var), var.type, var.data, var.name, var._tag))
        return (_make_input, (type(var), var.type, var.name, var._tag))
    carrier = None if _state.flat else _Carrier([var.owner])
    return (_output_of, (carrier, var.owner, var.index))


def reduce_apply(node: Apply) -> Any:
    """What `Apply.__reduce_ex__` returns."""
    described = [(type(out), out.type, out.name, out._tag) for out in node.outputs]
    carrier = None
    if not _state.flat:
        owners = [v.owner for v in node.inputs if v.owner is not None]
        carrier = _Carrier(owners) if owners else None
    # The carrier goes first: the pickler must meet the ancestors before the inputs.
    if carrier is not None:
        return (_make_apply_after, (carrier, node.op, node.inputs, described))
    return (_make_apply, (node.op, node.inputs, described))


def _make_apply_after(carrier: Any, op: Any, inputs: list[Variable], outputs: list[Any]) -> Apply:
    return _make_apply(op, inputs, outputs)
