"""Results that nobody else holds: copies where an output would share memory with state."""

from __future__ import annotations

from collections.abc import Collection

from kroton.graph.basic import Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.identity import deep_copy_op
from kroton.graph.traversal import view_roots


def insert_deepcopy(
    fgraph: FunctionGraph, borrowed_inputs: Collection[Variable],
    borrowed_outputs: Collection[int], update_positions: Collection[int],
) -> None:  # fmt: skip
    """Copy each output that may share memory with an input, state, a constant or another output.

    Parameters
    ----------
    fgraph : FunctionGraph
        Optimized; changed in place.
    borrowed_inputs : collection of Variable
        Inputs that outputs may share memory with.
    borrowed_outputs : collection of int
        Positions of the outputs that may share memory with state.
    update_positions : collection of int
        Positions of the outputs that become the new value of a Cell. A value that is both
        stored and returned is copied for the user.
    """
    inputs = set(fgraph.inputs)
    owners: dict[Variable, int] = {}
    stored_first = sorted(range(len(fgraph.outputs)), key=lambda k: k not in update_positions)
    for k in stored_first:
        out = fgraph.outputs[k]
        copied = False
        for root in view_roots(out):
            held = isinstance(root, Constant) or (root in inputs and root not in borrowed_inputs)
            if k in borrowed_outputs and not (root in inputs and k in update_positions):
                continue
            if (held and not _is_own_update(fgraph, out, root, k, update_positions)) or (
                root in owners
            ):
                copied = True
        if copied:
            fgraph.change_input("output", k, _copy_of(out), "insert_deepcopy")
            # Equal Applys merge: the next copy of the same value is a copy of the last one.
            while fgraph.outputs[k] in owners:
                again = _copy_of(fgraph.outputs[k])
                fgraph.change_input("output", k, again, "insert_deepcopy")
        for root in view_roots(fgraph.outputs[k]):
            owners.setdefault(root, k)


def _copy_of(out: Variable) -> Variable:
    copied: Variable = deep_copy_op(out)
    copied.name = out.name
    return copied


def _is_own_update(
    fgraph: FunctionGraph, out: Variable, root: Variable, k: int, updates: Collection[int]
) -> bool:
    """Whether output k overwrites in place the very input that it updates."""
    if k not in updates or out is root:
        return False
    pairs: dict[int, Variable] = getattr(fgraph, "updated_inputs", {})
    return pairs.get(k) is root
