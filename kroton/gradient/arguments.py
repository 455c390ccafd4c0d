"""The arguments of the differentiating functions: their forms, their checks, their errors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import kroton.tensor as T
from kroton.gradient.errors import DisconnectedInputError, NullTypeGradError
from kroton.graph.basic import Variable
from kroton.graph.nulltype import DisconnectedType, NullType, disconnected_type
from kroton.tensor.type import TensorType

DISCONNECTED_CHOICES = ("raise", "warn", "ignore")
RETURN_CHOICES = ("zero", "None", "disconnected")
NULL_CHOICES = ("raise", "return")


def is_discrete(var: Any) -> bool:
    """Whether `var` is a tensor of bool or integers: its gradient is zero."""
    return isinstance(var.type, TensorType) and var.type.numpy_dtype.kind not in "fc"


def chosen(name: str, value: Any, choices: Sequence[str]) -> str:
    """The one of the choices that an option names, in capitals or not; ValueError if none."""
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def as_constants(consider_constant: Any) -> list[Variable]:
    """What the gradient does not go through: nothing for None, one Variable or several.

    Raises
    ------
    TypeError
        If something else is among them.
    """
    if consider_constant is None:
        return []
    if isinstance(consider_constant, Variable):
        return [consider_constant]
    try:
        found = list(consider_constant)
    except TypeError:
        found = [consider_constant]
    for var in found:
        if not isinstance(var, Variable):
            raise TypeError(f"consider_constant takes Variables of the graph, got {var!r}")
    return found


def as_known_grads(known_grads: Any) -> dict[Any, Any]:
    """Cotangents by Variable, from a mapping or pairs, as those of their Variables.

    Raises
    ------
    TypeError
        If it is neither, or a key is no Variable.
    """
    if known_grads is None:
        return {}
    pairs = known_grads.items() if isinstance(known_grads, Mapping) else known_grads
    fixed: dict[Any, Any] = {}
    try:
        items = [(var, g) for var, g in pairs]
    except (TypeError, ValueError):
        raise TypeError(
            "known_grads is a dict from Variables to their gradients, or a list of such pairs, "
            f"got {known_grads!r}"
        ) from None
    for var, g in items:
        if not isinstance(var, Variable):
            raise TypeError(f"the keys of known_grads must be Variables, got {var!r}")
        fixed[var] = as_cotangent(var, g, "known_grads")
    return fixed


def check_cost(cost: Any) -> None:
    """Refuse what is no real scalar of a float dtype."""
    if not isinstance(cost, Variable):
        raise TypeError(f"the cost must be a Variable, got {cost!r}")
    if isinstance(cost.type, NullType):
        raise NullTypeGradError(f"the cost {cost} is undefined: {cost.type.why_null}")
    if not isinstance(cost.type, TensorType):
        raise TypeError(f"the cost must be a scalar tensor, but {cost} has type {cost.type}")
    if cost.type.ndim != 0:
        raise TypeError(
            f"the cost must be a scalar, but {cost} has {cost.type.ndim} dimensions "
            f"({cost.type}); reduce it with .sum() or .mean()"
        )
    if cost.type.dtype.startswith("complex"):
        raise TypeError(
            f"the cost must be real, but {cost} is {cost.type.dtype}; take .real or abs()"
        )
    if is_discrete(cost):
        raise TypeError(
            f"the cost must be of a float dtype, but {cost} is {cost.type.dtype} and has no "
            "gradient; cast what it is computed from, as in x.astype('floatX')"
        )


def check_wrt(var: Any) -> None:
    """Refuse what cannot be differentiated by."""
    if not isinstance(var, Variable):
        raise TypeError(f"can differentiate only by Variables, got {var!r}")
    if is_discrete(var):
        raise TypeError(
            f"cannot differentiate by {var}, whose dtype {var.type.dtype} is discrete; declare it "
            f"with a float dtype, or build the cost from {var}.astype('floatX') and "
            "differentiate by that"
        )


def as_cotangent(var: Any, g: Any, who: str) -> Any:
    """`g` as a cotangent of `var`: of its dtype and, stretched if need be, its shape."""
    if isinstance(g, Variable) and isinstance(g.type, (NullType, DisconnectedType)):
        return g
    if not isinstance(var, Variable):
        raise TypeError(f"{who}: expected a Variable, got {var!r}")
    if not isinstance(var.type, TensorType):
        return g
    g = T.as_tensor_variable(g)
    if g.type.ndim != var.type.ndim:
        raise ValueError(
            f"{who}: the gradient given for {var} has {g.type.ndim} dimensions, "
            f"but {var} has {var.type.ndim}"
        )
    if is_discrete(var):
        return g
    if g.type.dtype != var.type.dtype:
        if g.type.dtype.startswith("complex") and not var.type.dtype.startswith("complex"):
            raise TypeError(
                f"{who}: the gradient given for {var} is complex, but {var} is {var.type.dtype}"
            )
        g = T.cast(g, var.type.dtype)
    if any(a == 1 != b for a, b in zip(g.type.shape, var.type.shape)):
        g = T.second(var, g)
    return g


def complain_of_input(var: Any, choice: str) -> None:
    """Raise or warn because the cost does not depend on `var`, as `choice` says."""
    _complain(
        f"the cost does not depend differentiably on {var} ({var.type}): it is not part of the "
        "cost's graph, or used only where there is no gradient (shapes, indices, conditions); "
        "pass disconnected_inputs='ignore' if that is meant",
        choice,
    )


def complain_of_output(out: Any, choice: str) -> None:
    """Raise or warn because `out` does not depend on what it is differentiated by."""
    _complain(
        f"the output {out} ({out.type}) does not depend differentiably on any variable in wrt; "
        "pass disconnected_outputs='ignore' if that is meant",
        choice,
    )


def _complain(message: str, choice: str) -> None:
    if choice == "raise":
        raise DisconnectedInputError(message)
    if choice == "warn":
        warnings.warn(message, stacklevel=4)  # of whoever called grad, Lop or Rop


def disconnected(var: Any, return_disconnected: str) -> Any:
    """What stands for the gradient by a variable that the cost does not depend on."""
    if return_disconnected == "None":
        return None
    if return_disconnected == "disconnected":
        return disconnected_type()
    return T.zeros_like(var)


def as_list(given: Any) -> list[Any]:
    """A list of the elements of a list or tuple, or of one Variable."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def format_like(template: Any, values: list[Any]) -> Any:
    """`values` in the form that the user gave `template`: one, a list or a tuple."""
    if isinstance(template, tuple):
        return tuple(values)
    return values if isinstance(template, list) else values[0]
