"""Where one rounding more may be a whole step: what is rounded to integers, or compared."""

from __future__ import annotations

from collections import deque

from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.reduction import CAReduce
from kroton.tensor.reshape import Reshape
from kroton.tensor.subtensor import Subtensor

_ROUNDINGS = frozenset(
    ("floor", "ceil", "trunc", "round_half_to_even", "round_half_away_from_zero", "int_div", "mod",
     "fmod", "eq", "neq", "heaviside", "nextafter")
)  # fmt: skip
_COMPARISONS = frozenset(("lt", "le", "gt", "ge", "sgn"))

_READERS = 64
"""So many Applys are asked."""


def jumps(fgraph: FunctionGraph, var: Variable, compared: bool) -> bool:
    """Whether something that jumps reads `var`, or what is computed of it element by element.

    Roundings, remainders and equality are found that far. So are other comparisons if
    `compared`; else only those of `var` itself, for where an activation changes its slope one
    unit in the last place more or less makes no difference.
    """
    seen = {var}
    waiting = deque([var])
    asked = 0
    while waiting:
        current = waiting.popleft()
        for client, _ in fgraph.variables.get(current, ()):
            if client == "output":
                continue
            asked += 1
            if asked > _READERS:
                return False
            if _is_jump(client, compared or current is var):
                return True
            if type(client.op) in (Elemwise, DimShuffle, Reshape, Subtensor):
                for out in client.outputs:
                    if out not in seen:
                        seen.add(out)
                        waiting.append(out)
    return False


def is_total(var: Variable) -> bool:
    """Whether it is a sum, with its dimensions reordered or not.

    Divided by the number of its terms it is a mean, and that of equal numbers is one of them.
    """
    node = var.owner
    if node is not None and type(node.op) is DimShuffle:
        node = node.inputs[0].owner
    return node is not None and type(node.op) is CAReduce


def _is_jump(node: Apply, compared: bool) -> bool:
    if type(node.op) is not Elemwise:
        return False
    name = node.op.name
    if name in _ROUNDINGS or (compared and name in _COMPARISONS):
        return True
    return bool(name.startswith("cast") and node.outputs[0].type.numpy_dtype.kind in "iub")
