"""Directional derivatives, Jacobians and Hessians."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import kroton.tensor as T
from kroton.gradient.arguments import (
    DISCONNECTED_CHOICES,
    RETURN_CHOICES,
    as_cotangent,
    as_list,
    check_wrt,
    chosen,
    complain_of_output,
    disconnected,
    format_like,
    is_discrete,
)
from kroton.gradient.errors import NullTypeGradError
from kroton.gradient.reverse import Lop, grad, pullback, vector_jacobian_product
from kroton.gradient.rowmap import map_rows
from kroton.graph.basic import Apply, Variable
from kroton.graph.nulltype import DisconnectedType, NullType, disconnected_type
from kroton.graph.op import Op
from kroton.graph.traversal import toposort
from kroton.tensor.elemwise_grad import elemwise_tangent
from kroton.tensor.type import TensorType


def Rop(
    f: Any,
    wrt: Any,
    eval_points: Any,
    disconnected_outputs: str = "raise",
    return_disconnected: str = "zero",
) -> Any:
    """The Jacobian-vector product: the derivative of `f` by `wrt` times `eval_points`.

    Forward mode: one walk over the graph. An Op without an `R_op` is differentiated by its
    `L_op`, which is linear in the gradients, differentiated once more.

    Parameters
    ----------
    f : Variable, or a list or tuple of them
        What is differentiated.
    wrt : Variable, or a list or tuple of them
        What to differentiate by.
    eval_points : Variable, or a list or tuple of them
        The vector on the right: for each `wrt` one of its dtype and number of dimensions, or
        None for zero.
    disconnected_outputs : {'raise', 'warn', 'ignore'}
        What to do if an `f` does not depend differentiably on `wrt`.
    return_disconnected : {'zero', 'None', 'disconnected'}
        What is returned for such an `f`.

    Returns
    -------
    Variable, or a list or tuple of them as `f` is one

    References
    ----------
    The derivation of forward from reverse mode: J. Townsend, "A new trick for calculating
    Jacobian vector products", 2017.
    """
    complaint = chosen("disconnected_outputs", disconnected_outputs, DISCONNECTED_CHOICES)
    return_disconnected = chosen("return_disconnected", return_disconnected, RETURN_CHOICES)
    outputs, variables, points = as_list(f), as_list(wrt), as_list(eval_points)
    if len(variables) != len(points):
        raise ValueError(f"Rop: {len(variables)} variables in wrt but {len(points)} eval_points")
    tangents: dict[Any, Any] = {}
    for var, t in zip(variables, points):
        check_wrt(var)
        if t is None:
            continue
        t = as_cotangent(var, t, "Rop")
        tangents[var] = T.add(tangents[var], t) if var in tangents else t
    for node in toposort(outputs, list(tangents)):
        if any(var in tangents for var in node.inputs):
            for out, t in zip(node.outputs, _pushforward(node, tangents)):
                if t is not None and out not in tangents:
                    tangents[out] = t
    result = []
    for out in outputs:
        t = tangents.get(out)
        if t is None or isinstance(t.type, DisconnectedType):
            complain_of_output(out, complaint)
            t = disconnected(out, return_disconnected)
        elif isinstance(t.type, NullType):
            raise NullTypeGradError(
                f"the directional derivative of {out} is not available: {t.type.why_null}"
            )
        result.append(t)
    return format_like(f, result)


def _pushforward(node: Apply, tangents: dict[Any, Any]) -> list[Any]:
    """The tangents of a node's outputs, None for zero."""
    given = [None if is_discrete(var) else tangents.get(var) for var in node.inputs]
    null = next((t for t in given if t is not None and isinstance(t.type, NullType)), None)
    if null is not None:
        return [null] * node.nout
    if all(t is None for t in given):
        return [None] * node.nout
    op = node.op
    if isinstance(op, T.Elemwise) and type(op).R_op is Op.R_op:
        found = elemwise_tangent(op, node.inputs, node.outputs, given)
    else:
        found = op.R_op(node.inputs, given)
    if found is NotImplemented:
        return _twice_pulled_back(node, given)
    if not isinstance(found, (list, tuple)) or len(found) != node.nout:
        raise ValueError(
            f"R_op of {op} must return a list of {node.nout} directions, got {found!r}"
        )
    return [
        None if t is None or isinstance(t.type, DisconnectedType) or is_discrete(out) else t
        for out, t in zip(node.outputs, found)
    ]


def _twice_pulled_back(node: Apply, given: list[Any]) -> list[Any]:
    """J t as the gradient by v of <L_op(v), t>.

    L_op(v) is linear in v, so the result depends on no value of v; zeros of the outputs'
    shapes stand for it, because L_op may ask for its shape.
    """
    points: list[Any] = []
    for out in node.outputs:
        if is_discrete(out) or not isinstance(out.type, TensorType):
            points.append(disconnected_type())
        else:
            points.append(T.identity(T.zeros_like(out)))
    wanted = [t is not None for t in given]
    pattern = node.op.connection_pattern(node)
    if pattern is not None:
        wanted = [w and any(row) for w, row in zip(wanted, pattern)]
    if not any(wanted):
        return [None] * node.nout
    seeds = []
    for g, t in zip(vector_jacobian_product(node, points, wanted), given):
        if t is None or isinstance(g.type, DisconnectedType):
            continue
        if isinstance(g.type, NullType):
            return [g] * node.nout
        seeds.append((g, t))
    live = [v for v in points if isinstance(v.type, TensorType)]
    pulled = iter(pullback(seeds, live))
    result: list[Any] = []
    for v in points:
        t = next(pulled) if isinstance(v.type, TensorType) else None
        result.append(None if t is None or isinstance(t.type, DisconnectedType) else t)
    return result


def jacobian(
    expression: Any,
    wrt: Any,
    consider_constant: Iterable[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The Jacobian of a vector (or the gradient of a scalar).

    Parameters
    ----------
    expression : Variable of at most one dimension
        What is differentiated. It may have any number of elements, known or not.
    wrt : Variable, or a list or tuple of them
        What to differentiate by.
    consider_constant, disconnected_inputs
        As for `grad`.

    Returns
    -------
    Variable, or a list or tuple of them as `wrt` is one
        `J[i, ...] = d expression[i] / d wrt[...]`, of shape `(n, *wrt.shape)`.

    Raises
    ------
    ValueError
        If `expression` has more than one dimension.
    """
    if not isinstance(expression, Variable) or not isinstance(expression.type, TensorType):
        raise TypeError(f"jacobian differentiates a tensor Variable, got {expression!r}")
    if expression.type.ndim > 1:
        raise ValueError(
            f"jacobian expects a vector or a scalar, but {expression} has "
            f"{expression.type.ndim} dimensions; flatten it first"
        )
    if is_discrete(expression):
        raise TypeError(
            f"jacobian expects a float dtype, but {expression} is {expression.type.dtype}"
        )
    if expression.type.ndim == 0:
        return grad(expression, wrt, consider_constant, disconnected_inputs)
    variables = as_list(wrt)
    v = expression.type()
    rows = Lop(expression, variables, v, consider_constant, disconnected_inputs)
    seeds = T.eye(T.shape(expression)[0], dtype=expression.type.dtype)
    return format_like(wrt, map_rows([v], rows, [seeds]))


def hessian(
    cost: Any,
    wrt: Any,
    consider_constant: Iterable[Variable] | None = None,
    disconnected_inputs: str = "raise",
) -> Any:
    """The matrix of second derivatives of a scalar cost by a vector.

    Parameters
    ----------
    cost : scalar Variable
    wrt : vector, or a list or tuple of them
        For several vectors, the Hessian by each.
    consider_constant, disconnected_inputs
        As for `grad`.

    Returns
    -------
    matrix, or a list or tuple of them as `wrt` is one

    Raises
    ------
    ValueError
        If a `wrt` is no vector.
    """
    variables = as_list(wrt)
    result = []
    for var in variables:
        if isinstance(var, Variable) and getattr(var.type, "ndim", 1) != 1:
            raise ValueError(
                f"hessian expects vectors in wrt, but {var} has {var.type.ndim} dimensions"
            )
        first = grad(cost, var, consider_constant, disconnected_inputs)
        result.append(jacobian(first, var, consider_constant, "ignore"))
    return format_like(wrt, result)


def hessian_vector_product(cost: Any, wrt: Any, p: Any, **grad_options: Any) -> Any:
    """The Hessian of a scalar cost times a vector, without the Hessian.

    Parameters
    ----------
    cost : scalar Variable
    wrt : Variable, or a list or tuple of them
        Of any shape; together they are the vector that the Hessian belongs to.
    p : Variable, or a list or tuple of them
        The vector: for each `wrt` one of its shape.
    **grad_options
        For the first gradient; see `grad`.

    Returns
    -------
    Variable, or a list or tuple of them as `wrt` is one

    Notes
    -----
    Reverse mode over reverse mode: the gradient of `<grad(cost), p>`, B. A. Pearlmutter, "Fast
    exact multiplication by the Hessian", 1994.
    """
    variables, points = as_list(wrt), as_list(p)
    if len(variables) != len(points):
        raise ValueError(
            f"hessian_vector_product: {len(variables)} variables in wrt but {len(points)} in p"
        )
    first = grad(cost, variables, **grad_options)
    return format_like(wrt, Lop(first, variables, points, disconnected_inputs="ignore"))
