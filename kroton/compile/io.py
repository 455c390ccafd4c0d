"""In and Out: how a function takes an input and gives an output."""

from __future__ import annotations

from typing import Any

from kroton.compile.sharedvalue import Container, SharedVariable
from kroton.graph.basic import Constant, Variable


class SymbolicInput:
    """An input of a function. See `In`."""

    def __init__(
        self, variable: Variable, name: str | None = None, update: Any = None,
        mutable: bool | None = None, strict: bool = False, allow_downcast: bool | None = None,
        autoname: bool = True, implicit: bool = False,
    ) -> None:  # fmt: skip
        if not isinstance(variable, Variable):
            raise TypeError(f"an input must be a Variable, got {variable!r}")
        if isinstance(variable, Constant):
            raise TypeError(f"the constant {variable} cannot be an input")
        self.variable = variable
        self.name = variable.name if autoname and name is None else name
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"an input's name must be a string, got {self.name!r}")
        if update is not None:
            try:
                update = variable.type.filter_variable(update)
            except TypeError as error:
                raise TypeError(
                    f"the update of {variable} has another type than the input: {error}"
                ) from None
        self.update = update
        self.mutable = mutable if mutable is not None else update is not None
        self.strict = strict
        self.allow_downcast = allow_downcast
        self.implicit = implicit

    def __repr__(self) -> str:
        if self.update is not None:
            return f"{type(self).__name__}({self.variable} -> {self.update})"
        return f"{type(self).__name__}({self.variable})"


class In(SymbolicInput):
    """An input of a function, with options.

    Parameters
    ----------
    variable : Variable
    name : str, optional
        The keyword; the Variable's name by default.
    value : object, optional
        The default; a call that gives none uses it.
    update : Variable, optional
        The default's new value after each call (needs `value`).
    mutable : bool
        Whether the function may write over the array it is given; outputs with `borrow` may be
        made there.
    borrow : bool
        Whether outputs may share memory with the array; follows `mutable` by default.
    strict : bool
        Take only arrays of the exact type.
    allow_downcast : bool, optional
        Whether conversion may lose precision; None allows it for Python floats.
    autoname : bool
        Take the Variable's name if `name` is not given.
    implicit : bool
        The input cannot be passed in a call, only set through the function.
    """

    def __init__(
        self, variable: Variable, name: str | None = None, value: Any = None, update: Any = None,
        mutable: bool | None = None, strict: bool = False, allow_downcast: bool | None = None,
        autoname: bool = True, implicit: bool | None = None, borrow: bool | None = None,
        shared: bool = False,
    ) -> None:  # fmt: skip
        if isinstance(variable, SharedVariable):
            raise TypeError(
                f"the shared variable {variable} cannot be an input: its value is part of the "
                "function; replace it with givens={...}, or change it with set_value"
            )
        if borrow is None:
            borrow = bool(mutable)
        if mutable and not borrow:
            raise AssertionError(
                f"input {variable}: borrow=False contradicts mutable=True, since a mutable input "
                "may be written over and returned"
            )
        super().__init__(
            variable, name, update, bool(mutable), strict, allow_downcast, autoname, bool(implicit)
        )
        self.borrow = borrow
        self.shared = shared
        if implicit and value is None:
            raise TypeError(f"the implicit input {variable} needs a value")
        if update is not None and value is None:
            raise TypeError(f"input {variable} has an update but no value to update")
        self.value = value


class SymbolicOutput:
    """An output of a function.

    Parameters
    ----------
    variable : Variable
    borrow : bool
        Whether the result may share memory with the function's own state, such as the value
        of a shared variable, which later calls may change, or be the array that was given for a
        mutable input. A copy is returned otherwise.
    """

    def __init__(self, variable: Variable, borrow: bool = False) -> None:
        if not isinstance(variable, Variable):
            raise TypeError(f"an output must be a Variable, got {variable!r}")
        self.variable = variable
        self.borrow = borrow

    def __repr__(self) -> str:
        return f"Out({self.variable}, borrow={self.borrow})"


Out = SymbolicOutput


def default_container(spec: In) -> Container | None:
    """The container of an input's default, or None if it has none."""
    if spec.value is None:
        return None
    if isinstance(spec.value, Container):
        return spec.value
    return Container(spec.variable.type, spec.value, spec.name, spec.strict, spec.allow_downcast)
