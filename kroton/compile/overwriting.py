"""Ops in an expression that overwrite their inputs: the result is as if they did not.

What such an Apply overwrites is copied first, before any rewrite: rules move and merge what an
expression says, and must not have to ask who destroys what. When the last rule has run, the
copies that nobody would miss go away again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kroton.graph.basic import Apply, Variable
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.fg import FunctionGraph, InconsistencyError
from kroton.graph.identity import PrivateCopy
from kroton.graph.traversal import view_roots
from kroton.tensor.blas import Gemm, Gemv, Ger
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.subtensor import BaseIncSubtensor

Place = tuple[Apply, int]


def guard(fgraph: FunctionGraph, keep_own: bool = False) -> FunctionGraph:
    """The graph in which each Apply that overwrites an input overwrites a copy.

    Kroton's own in-place Ops become the ones that are not (unless `keep_own`): optimization puts
    them in place again where that is safe. Made of `fgraph`, whose Applys change; `fgraph` itself
    where nothing is overwritten.
    """
    if not any(node.op.destroy_map for node in fgraph.apply_nodes):
        return fgraph
    number = 0
    for node in fgraph.toposort():
        if not node.op.destroy_map:
            continue
        pure = None if keep_own else _pure(node.op)
        if pure is not None:
            twin = node.rebuilt(node.inputs)
            twin.op = pure
            fgraph.replace_all(list(zip(node.outputs, twin.outputs)), "guard")
            continue
        number = _guard_inputs(fgraph, node, number)
    # Built anew: the clients of a Variable come in the order of a graph that was written so.
    return FunctionGraph(fgraph.inputs, fgraph.outputs, clone=False)


def _guard_inputs(fgraph: FunctionGraph, node: Apply, number: int) -> int:
    for k in _overwritten(node):
        copied = PrivateCopy(number).make_node(node.inputs[k]).outputs[0]
        fgraph.change_input(node, k, copied, "guard")
        number += 1
    return number


def release(fgraph: FunctionGraph, protected: Collection[Variable]) -> None:
    """Drop the private copies of values that nothing else needs; order what overwrites and reads.

    Parameters
    ----------
    fgraph : FunctionGraph
        Optimized; changed in place.
    protected : collection of Variable
        Inputs that nobody may overwrite.
    """
    places = [
        (node, k)
        for node in fgraph.toposort()
        for k in _overwritten(node)
        if node.inputs[k].owner is not None and type(node.inputs[k].owner.op) is PrivateCopy
    ]
    if not places:
        return
    for feature in [f for f in fgraph.features if isinstance(f, DestroyHandler)]:
        fgraph.remove_feature(feature)
    fgraph.attach_feature(DestroyHandler(protected))
    places = [place for place in places if _alone(*place)]
    if not _released(fgraph, places):
        for place in places:
            _released(fgraph, [place])


def check_as_written(fgraph: FunctionGraph, protected: Collection[Variable]) -> None:
    """Raise InconsistencyError if an Apply of `fgraph` overwrites what something else needs."""
    if not any(node.op.destroy_map for node in fgraph.apply_nodes):
        return
    handler = DestroyHandler(protected)
    fgraph.attach_feature(handler)
    try:
        handler.validate(fgraph)
        fgraph.toposort()
    except InconsistencyError as error:
        what = str(error)
        if isinstance(error.__cause__, ValueError):
            what += ": what reads a value must run before what overwrites it, but needs its result"
        raise InconsistencyError(
            f"{what}. Without accept_inplace=True the value is copied before it is overwritten; "
            "an input may be overwritten if it is In(..., mutable=True), a shared variable by "
            "its own update", error.node
        ) from None  # fmt: skip
    finally:
        fgraph.remove_feature(handler)


def overwritten_by_own_update(
    fgraph: FunctionGraph, updated: Mapping[int, Variable]
) -> set[Variable]:
    """The inputs whose new value is made by overwriting the old one.

    `updated` tells from the position of an output the input whose new value it is.
    """
    return {
        old
        for k, old in updated.items()
        if old in view_roots(fgraph.outputs[k]) and old not in view_roots(fgraph.outputs[k], False)
    }


def overwritten_among(inputs: Sequence[Variable], order: Iterable[Apply]) -> list[int]:
    """The positions of the inputs that an Apply overwrites."""
    overwritten = {
        root for node in order for k in _overwritten(node) for root in view_roots(node.inputs[k])
    }
    return [k for k, v in enumerate(inputs) if v in overwritten]


def _pure(op: Any) -> Any:
    """The Op of Kroton's that computes the same and overwrites nothing; None for another's."""
    if isinstance(op, (BaseIncSubtensor, Gemm, Gemv, Ger)):
        plain: Any = op
        return replace(plain, inplace=False)
    if isinstance(op, (Elemwise, FusedReduction)):
        return replace(op, inplace_pattern=())
    return None


def _overwritten(node: Apply) -> list[int]:
    """The positions of the inputs that the Apply overwrites."""
    return list(dict.fromkeys(k for ks in node.op.destroy_map.values() for k in ks))


def _alone(node: Apply, k: int) -> bool:
    """Whether no other input of the Apply is in the memory that input k is a copy of."""
    roots = set(view_roots(node.inputs[k].owner.inputs[0]))
    return not any(
        root in roots for i, var in enumerate(node.inputs) if i != k for root in view_roots(var)
    )


def _released(fgraph: FunctionGraph, places: list[Place]) -> bool:
    """Drop the copies at these places together, or none of them."""
    # Two Applys that differ in their copies only become one: the other has gone, then.
    copies: list[tuple[Apply, int, Variable]] = []
    for node, k in places:
        if node in fgraph.apply_nodes:
            copied = node.inputs[k]
            copies.append((node, k, copied))
            fgraph.change_input(node, k, copied.owner.inputs[0], "release")
    try:
        fgraph.validate()
    except InconsistencyError:
        for node, k, copied in copies:
            if node in fgraph.apply_nodes:
                fgraph.change_input(node, k, copied, "release")
        return False
    return True
