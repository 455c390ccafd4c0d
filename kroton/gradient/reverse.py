"""Reverse mode: gradients and vector-Jacobian products of expression graphs.

One walk from the inputs marks what depends on `wrt`, one walk back applies each Op's `L_op`
once. Both follow a topological order and neither recurses, so the time is linear in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import kroton.tensor as T
from kroton.gradient.arguments import (
    DISCONNECTED_CHOICES,
    NULL_CHOICES,
    RETURN_CHOICES,
    as_constants,
    as_cotangent,
    as_known_grads,
    as_list,
    check_cost,
    check_wrt,
    chosen,
    complain_of_input,
    disconnected,
    format_like,
    is_discrete,
)
from kroton.gradient.errors import NullTypeGradError
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.nulltype import DisconnectedType, NullType, disconnected_type
from kroton.graph.traversal import toposort
from kroton.tensor.elemwise_grad import elemwise_grad
from kroton.tensor.type import TensorType


def grad(
    cost: Any,
    wrt: Any,
    consider_constant: Iterable[Variable] | None = None,
    disconnected_inputs: str = "raise",
    add_names: bool = True,
    known_grads: Mapping[Any, Any] | None = None,
    return_disconnected: str = "zero",
    null_gradients: str = "raise",
) -> Any:
    """The gradient of a scalar cost with respect to one or more variables.

    Parameters
    ----------
    cost : scalar Variable or None
        What is differentiated. None if `known_grads` says where to start.
    wrt : Variable, or a list or tuple of them
        What to differentiate by.
    consider_constant : Variable or iterable of Variable, optional
        What the gradient does not go through.
    disconnected_inputs : {'raise', 'warn', 'ignore'}
        What to do if the cost does not depend differentiably on a variable in `wrt`.
    add_names : bool
        Name gradients `(d<cost>/d<variable>)` where both have names.
    known_grads : mapping from Variable to its gradient, or such pairs, optional
        Gradients of a cost, perhaps an unknown one, that replace those that would be computed.
    return_disconnected : {'zero', 'None', 'disconnected'}
        What is returned for a disconnected variable: zeros, None, or a Variable of
        DisconnectedType.
    null_gradients : {'raise', 'return'}
        What to do with a gradient that is undefined or not implemented.

    Returns
    -------
    Variable, or a list or tuple of them as `wrt` is one
        Gradients with the dtype and the number of dimensions of what they belong to.

    Raises
    ------
    TypeError
        For a cost that is not a real scalar, or a `wrt` that is not of a continuous dtype.
    DisconnectedInputError
        See `disconnected_inputs`.
    NullTypeGradError
        See `null_gradients`.
    """
    disconnected_inputs = chosen("disconnected_inputs", disconnected_inputs, DISCONNECTED_CHOICES)
    return_disconnected = chosen("return_disconnected", return_disconnected, RETURN_CHOICES)
    null_gradients = chosen("null_gradients", null_gradients, NULL_CHOICES)
    fixed = as_known_grads(known_grads)
    if cost is None and not fixed:
        raise ValueError("grad needs a cost, or known_grads to start from")
    if cost is not None:
        check_cost(cost)
    variables = as_list(wrt)
    for var in variables:
        check_wrt(var)
    seeds = []
    if cost is not None and cost not in fixed:
        seeds.append((cost, T.constant(1, dtype=cost.type.dtype)))
    cost_name = cost.name if cost is not None and add_names else None
    found = pullback(seeds, variables, as_constants(consider_constant), fixed, cost_name)
    result = []
    for var, g in zip(variables, found):
        if isinstance(g.type, DisconnectedType):
            complain_of_input(var, disconnected_inputs)
            g = disconnected(var, return_disconnected)
        elif isinstance(g.type, NullType) and null_gradients == "raise":
            raise NullTypeGradError(
                f"the gradient with respect to {var} is not available: {g.type.why_null}"
            )
        result.append(g)
    return format_like(wrt, result)


def Lop(
    f: Any,
    wrt: Any,
    eval_points: Any,
    consider_constant: Iterable[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The vector-Jacobian product: `eval_points` times the derivative of `f` by `wrt`.

    Parameters
    ----------
    f : Variable, or a list or tuple of them
        What is differentiated.
    wrt : Variable, or a list or tuple of them
        What to differentiate by.
    eval_points : Variable, or a list or tuple of them
        The vector on the left: for each `f` one of its dtype and number of dimensions.
    consider_constant, disconnected_inputs
        As for `grad`.

    Returns
    -------
    Variable, or a list or tuple of them as `wrt` is one
    """
    disconnected_inputs = chosen("disconnected_inputs", disconnected_inputs, DISCONNECTED_CHOICES)
    outputs, cotangents, variables = as_list(f), as_list(eval_points), as_list(wrt)
    if len(outputs) != len(cotangents):
        raise ValueError(f"Lop: {len(outputs)} outputs but {len(cotangents)} eval_points")
    for var in variables:
        check_wrt(var)
    seeds = [(var, as_cotangent(var, g, "Lop")) for var, g in zip(outputs, cotangents)]
    result = []
    for var, g in zip(variables, pullback(seeds, variables, as_constants(consider_constant))):
        if isinstance(g.type, DisconnectedType):
            complain_of_input(var, disconnected_inputs)
            g = disconnected(var, "zero")
        elif isinstance(g.type, NullType):
            raise NullTypeGradError(
                f"the gradient with respect to {var} is not available: {g.type.why_null}"
            )
        result.append(g)
    return format_like(wrt, result)


def subgraph_grad(
    wrt: Sequence[Variable],
    end: Sequence[Variable],
    start: Mapping[Variable, Any] | None = None,
    cost: Any = None,
    details: bool = False,
) -> tuple[list[Any], ...]:
    """Gradients within a part of a graph, to differentiate it piece by piece.

    Parameters
    ----------
    wrt : list of Variable
        Parameters inside the part.
    end : list of Variable
        Where the part ends on the side of the inputs: the gradient does not go through them.
    start : mapping from Variable to its gradient, optional
        Where the part begins on the side of the cost, as an earlier call gave them for its `end`.
    cost : scalar Variable, optional
        A cost that begins within the part.
    details : bool
        Return the two contributions separately as well.

    Returns
    -------
    wrt_grads, end_grads : lists of Variable
        Zeros where there is no dependence.
    start_grads, cost_grads : lists of Variable or None
        With `details`: for each distinct variable of `wrt` and `end`, in this order, the
        contributions of `start` and of `cost`.
    """
    if start is None and cost is None:
        raise ValueError("subgraph_grad needs start, cost or both")
    params = list(dict.fromkeys([*wrt, *end]))
    start_grads: Any = None
    cost_grads: Any = None
    if start is not None:
        start_grads = grad(
            None, params, consider_constant=end, disconnected_inputs="ignore", known_grads=start
        )
    if cost is not None:
        cost_grads = grad(cost, params, consider_constant=end, disconnected_inputs="ignore")
    if start_grads is None or cost_grads is None:
        total = start_grads if cost_grads is None else cost_grads
    else:
        total = [T.add(a, b) for a, b in zip(start_grads, cost_grads)]
    by_param = dict(zip(params, total))
    answer: tuple[Any, ...] = ([by_param[v] for v in wrt], [by_param[v] for v in end])
    return (*answer, start_grads, cost_grads) if details else answer


def pullback(
    seeds: Iterable[tuple[Any, Any]],
    wrt: Sequence[Any],
    consider_constant: Iterable[Variable] = (),
    fixed: Mapping[Any, Any] | None = None,
    cost_name: str | None = None,
) -> list[Any]:
    """Accumulate cotangents from `seeds` back to `wrt`.

    Parameters
    ----------
    seeds : iterable of (Variable, cotangent)
        Where to start; cotangents of one Variable add up.
    wrt : sequence of Variable
    consider_constant : iterable of Variable
        Variables that nothing is propagated through.
    fixed : mapping from Variable to cotangent, optional
        Cotangents that nothing is added to.
    cost_name : str, optional
        Name the gradients of named variables after it.

    Returns
    -------
    list of Variable
        For each of `wrt` its cotangent, zeros if it is zero, or a Variable of NullType or
        DisconnectedType.
    """
    fixed = fixed or {}
    seeds = list(seeds)
    blocked = set(consider_constant)
    order = toposort([*(var for var, _ in seeds), *fixed], blocked)
    patterns: dict[Apply, Any] = {}
    relevant = _relevant(order, wrt, patterns)

    # A variable that is reached but has no terms has the gradient zero: it is discrete, or the
    # way back from the cost goes through something discrete.
    terms: dict[Any, list[Any]] = {}
    totals: dict[Any, Any] = {}

    def receive(var: Any, g: Any) -> None:
        into = terms.setdefault(var, [])
        if is_discrete(var):
            return
        if g is not None:
            into.append(g)

    def total_of(var: Any) -> Any:
        """The sum of what has arrived: None for zero."""
        if var in totals:
            return totals[var]
        arrived = terms.get(var)
        if arrived is None:
            g: Any = disconnected_type()
        elif not arrived:
            g = None
        else:
            g = next((t for t in arrived if isinstance(t.type, NullType)), None)
            if g is None:
                g = arrived[0]
                for t in arrived[1:]:
                    g = T.add(g, t)
            if (
                cost_name is not None
                and var.name is not None
                and g.name is None
                and not isinstance(g, Constant)
            ):
                g.name = f"(d{cost_name}/d{var.name})"
        totals[var] = g
        return g

    for var, g in fixed.items():
        terms[var] = []
        totals[var] = None if is_discrete(var) else g
    for var, g in seeds:
        receive(var, g)
    for node in reversed(order):
        wanted = [var in relevant for var in node.inputs]
        if not any(wanted):
            continue
        arrived = [disconnected_type() if out in blocked else total_of(out) for out in node.outputs]
        if all(g is not None and isinstance(g.type, DisconnectedType) for g in arrived):
            continue
        _through(node, arrived, wanted, patterns.get(node), receive)
    result = []
    for var in wrt:
        g = total_of(var)
        result.append(T.zeros_like(var) if g is None else g)
    return result


def _through(
    node: Apply, arrived: list[Any], wanted: list[bool], pattern: Any, receive: Any
) -> None:
    """Send the cotangents of a node's outputs (None for zero) to those of its inputs."""

    def touches(i: int, o: int) -> bool:
        return pattern is None or bool(pattern[i][o])

    null = {o: g for o, g in enumerate(arrived) if g is not None and isinstance(g.type, NullType)}
    zero = [o for o, g in enumerate(arrived) if g is None]
    for i, var in enumerate(node.inputs):
        if not wanted[i]:
            continue
        bad = next((g for o, g in null.items() if touches(i, o)), None)
        if bad is not None:
            receive(var, bad)
            wanted[i] = False
        elif is_discrete(var):
            if any(
                touches(i, o)
                for o, g in enumerate(arrived)
                if g is None or not isinstance(g.type, DisconnectedType)
            ):
                receive(var, None)
            wanted[i] = False
        elif any(touches(i, o) for o in zero):
            receive(var, None)
    live = [
        g if g is not None and o not in null else disconnected_type() for o, g in enumerate(arrived)
    ]
    if not any(wanted) or all(isinstance(g.type, DisconnectedType) for g in live):
        return
    for i, g in enumerate(vector_jacobian_product(node, live, wanted)):
        if wanted[i] and not isinstance(g.type, DisconnectedType):
            receive(node.inputs[i], g)


def _relevant(order: Sequence[Apply], wrt: Iterable[Any], patterns: dict[Apply, Any]) -> set[Any]:
    """What depends differentiably on `wrt`; collects the connection patterns on the way."""
    relevant = set(wrt)
    for node in order:
        if relevant.isdisjoint(node.inputs):
            continue
        pattern = node.op.connection_pattern(node)
        if pattern is None:
            relevant.update(node.outputs)
            continue
        if len(pattern) != len(node.inputs) or any(len(p) != node.nout for p in pattern):
            raise ValueError(
                f"{node.op}.connection_pattern must give {len(node.inputs)} lists (one for each "
                f"input) of {node.nout} booleans (one for each output), got {pattern!r}"
            )
        patterns[node] = pattern
        for var, row in zip(node.inputs, pattern):
            if var in relevant:
                relevant.update(out for out, yes in zip(node.outputs, row) if yes)
    return relevant


def vector_jacobian_product(
    node: Apply, cotangents: list[Any], wanted: Sequence[bool]
) -> Sequence[Any]:
    """What a node's `L_op` gives for the wanted inputs; blames the Op for what is wrong."""
    op = node.op
    if type(op).L_op is T.Elemwise.L_op:
        return elemwise_grad(op, node.inputs, node.outputs, cotangents, wanted)
    given = op.L_op(node.inputs, node.outputs, cotangents)
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            f"the gradient of {op} must be a list with one Variable for each input, got {given!r}"
        )
    if len(given) != len(node.inputs):
        raise ValueError(
            f"the gradient of {op} has {len(given)} elements, but it has {len(node.inputs)} inputs"
        )
    return [
        _checked(op, k, var, g) if wanted[k] else disconnected_type()
        for k, (var, g) in enumerate(zip(node.inputs, given))
    ]


def _checked(op: Any, k: int, var: Any, g: Any) -> Any:
    if not isinstance(g, Variable):
        hint = ""
        if g is None:
            hint = (
                "; return DisconnectedType()() for an input without gradient, "
                "or grad_not_implemented(...)"
            )
        raise TypeError(f"the gradient of {op} for input {k} ({var}) is no Variable: {g!r}{hint}")
    if isinstance(g.type, (NullType, DisconnectedType)) or not isinstance(var.type, TensorType):
        return g
    if not isinstance(g.type, TensorType):
        raise TypeError(
            f"the gradient of {op} for input {k} ({var}) must be a tensor, got type {g.type}"
        )
    if g.type.ndim != var.type.ndim:
        raise ValueError(
            f"the gradient of {op} for input {k} ({var}) has {g.type.ndim} dimensions, "
            f"but the input has {var.type.ndim}"
        )
    clash = [
        d
        for d, (a, b) in enumerate(zip(g.type.shape, var.type.shape))
        if a is not None and b is not None and a != b
    ]
    if clash:
        raise ValueError(
            f"the gradient of {op} for input {k} ({var}) has shape {g.type.shape}, "
            f"but the input has {var.type.shape}"
        )
    if g.type.dtype != var.type.dtype:
        if is_discrete(g):
            raise TypeError(
                f"the gradient of {op} for input {k} ({var}) has the discrete dtype "
                f"{g.type.dtype}; it must be {var.type.dtype}"
            )
        if g.type.dtype.startswith("complex") and not var.type.dtype.startswith("complex"):
            g = T.real(g)
        g = T.cast(g, var.type.dtype)
    return g
