"""Sums and products as lists of terms: what `nary` patterns choose from."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.pattern import Call, elemwise_of
from kroton.tensor.constant import constant
from kroton.tensor.elemwise import Elemwise

Env = list[Any]
"""What a match has found so far, by places that the compiler of patterns gives out."""
Goal = Callable[[Env], bool]
"""Checks one thing, and what is behind it."""

_NARY_LIMIT = 32
"""Sums of more terms are not searched, so that matching stays cheap."""

_NARY_TRIES = 2000
"""How often a pattern asks whether a term of a sum is one of an `nary` term, before it says no:
many terms that fit in many ways, but not together, would be asked about without end."""


def node_of(head: type | str) -> Callable[[Variable], Apply | None]:
    """A function from a Variable to its Apply if that is of `head`."""
    if isinstance(head, str):
        if head not in scalar.ops:
            raise ValueError(f"there is no scalar operation named {head!r}")
        operation = scalar.ops[head]

        def elementwise(var: Variable) -> Apply | None:
            node = var.owner
            if node is not None and type(node.op) is Elemwise and node.op.scalar_op is operation:
                return node
            return None

        return elementwise
    kind = head

    def typed(var: Variable) -> Apply | None:
        node = var.owner
        return node if node is not None and isinstance(node.op, kind) else None

    return typed


def flat_terms(fgraph: FunctionGraph, var: Variable, head: str) -> list[Variable]:
    """The terms of the sum (or product) `var`, through nested ones that nobody else uses.

    In the order in which they are written. Only for the same dtype throughout, which
    Elemwise guarantees for `add` and `mul`.
    """
    made_by = node_of(head)
    terms: list[Variable] = []
    stack = [var]
    while stack:
        current = stack.pop()
        node = made_by(current)
        if node is None or (current is not var and len(fgraph.variables.get(current, ())) > 1):
            terms.append(current)
        else:
            stack.extend(reversed(node.inputs))
        if len(terms) + len(stack) > _NARY_LIMIT:
            return []
    return terms


def flat_step(
    term: Call, slot: int, terms: int, taken: int, tries: int, count: int, more: bool
) -> Any:
    """Spread a sum into its terms: `count` of them, or at least as many if there may be `more`."""
    head = str(term.head)
    made_by = node_of(head)

    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            if made_by(env[slot]) is None:
                return False
            found = flat_terms(env[1], env[slot], head)
            if len(found) < count or (len(found) > count and not more):
                return False
            env[terms], env[taken] = found, 0
            if env[tries] is None:
                env[tries] = _NARY_TRIES
            return then(env)

        return goal

    return step


def pick_step(child: int, terms: int, taken: int, tries: int) -> Any:
    """Choose one of the terms that are free yet, trying each in turn."""

    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            before = env[taken]
            for k, var in enumerate(env[terms]):
                if before >> k & 1:
                    continue
                if not env[tries]:
                    return False
                env[tries] -= 1
                env[child], env[taken] = var, before | 1 << k
                if then(env):
                    return True
            env[taken] = before
            return False

        return goal

    return step


def rest_step(term: Call, slot: int, rest: int, terms: int, taken: int) -> Any:
    """Put together the terms that were not chosen, once the others have been found."""
    op = elemwise_of(str(term.head))
    neutral = scalar.ops[str(term.head)].identity

    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            chosen = env[taken]
            left = [var for k, var in enumerate(env[terms]) if not chosen >> k & 1]
            if left:
                env[rest] = reduce(op, left)
            elif neutral is None:
                return False
            else:  # the -1 of `and_` is True among booleans
                env[rest] = constant(np.array(neutral).astype(env[slot].type.dtype))
            return then(env)

        return goal

    return step
