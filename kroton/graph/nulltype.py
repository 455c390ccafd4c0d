"""The types of gradients that are not there: undefined, not implemented, disconnected."""

from __future__ import annotations

from typing import Any

from kroton.graph.basic import Constant, Variable
from kroton.graph.type import Type


class NullType(Type):
    """The type of a gradient that cannot be computed; says why."""

    def __init__(self, why_null: str = "(no explanation given)") -> None:
        self.why_null = why_null

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        raise TypeError(f"a NullType has no values: {self.why_null}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "NullType"


class DisconnectedType(Type):
    """The type of a gradient with respect to something the cost does not depend on."""

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        raise TypeError(
            "a value was asked of a gradient that is disconnected from the cost; "
            "the expression uses a variable that does not depend on what it is "
            "differentiated by"
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "DisconnectedType"


disconnected_type = DisconnectedType()


def grad_not_implemented(op: Any, x_pos: int, x: Variable, comment: str = "") -> Any:
    """A Variable that marks the gradient of `op` by input `x_pos` as not implemented."""
    return NullType(
        f"This variable is Null because the grad method for input {x_pos} ({x}) of the {op} op "
        f"is not implemented. {comment}"
    )()


def grad_undefined(op: Any, x_pos: int, x: Variable, comment: str = "") -> Any:
    """A Variable that marks the gradient of `op` by input `x_pos` as mathematically undefined."""
    return NullType(
        f"This variable is Null because the grad method for input {x_pos} ({x}) of the {op} op "
        f"is mathematically undefined. {comment}"
    )()


Type.variable_type = Variable
Type.constant_type = Constant
