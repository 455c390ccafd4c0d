"""Shared variables: state that compiled functions read and update."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from kroton._kernels.program import Cell
from kroton.graph.basic import Variable
from kroton.graph.type import Type, generic
from kroton.tensor.type import TensorType
from kroton.tensor.var import TensorOperators


class Container:
    """The value of a shared variable or of an input with a default, checked on every change.

    Parameters
    ----------
    type : Type
    value : object
        Filtered by the type.
    name : str, optional
        For error messages.
    strict, allow_downcast
        As in `Type.filter`.
    """

    def __init__(
        self, type: Type, value: Any, name: str | None = None, strict: bool = False,
        allow_downcast: bool | None = None,
    ) -> None:  # fmt: skip
        self.type = type
        self.name = name
        self.strict = strict
        self.allow_downcast = allow_downcast
        self.cell = Cell()
        self.value = value

    @property
    def value(self) -> Any:
        """The value itself, not a copy. Setting it filters; a refused value changes nothing."""
        return self.cell.value

    @value.setter
    def value(self, new: Any) -> None:
        try:
            self.cell.value = self.type.filter(
                new, strict=self.strict, allow_downcast=self.allow_downcast
            )
        except (TypeError, ValueError) as error:
            named = f" of {self.name!r}" if self.name else ""
            raise TypeError(f"Bad value for the container{named}: {error}") from None

    def __deepcopy__(self, memo: dict[int, Any]) -> Container:
        twin = Container.__new__(Container)
        memo[id(self)] = twin
        twin.type, twin.name = self.type, self.name
        twin.strict, twin.allow_downcast = self.strict, self.allow_downcast
        twin.cell = Cell(copy.deepcopy(self.cell.value, memo))
        return twin

    def __repr__(self) -> str:
        return f"<{self.value!r}>"


class SharedVariable(Variable):
    """A Variable with a value that lives between calls of the functions that use it.

    Parameters
    ----------
    name : str or None
    type : Type
    value : object
        The initial value; used as it is if `borrow`, else copied.
    strict, allow_downcast
        As in `Type.filter`.
    container : Container, optional
        Share the value of another shared variable.
    """

    __slots__ = ("_default_update", "container")

    def __init__(
        self, name: str | None, type: Type, value: Any, strict: bool = False,
        allow_downcast: bool | None = None, container: Container | None = None,
        borrow: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(type, None, None, name)
        self._default_update: Variable | None = None
        if container is None:
            if not borrow:
                value = copy.deepcopy(value)
            container = Container(type, value, name, strict, allow_downcast)
        self.container = container

    @property
    def default_update(self) -> Any:
        """The expression that every function using this variable updates it to, or None."""
        return self._default_update

    @default_update.setter
    def default_update(self, expression: Any) -> None:
        self._default_update = None if expression is None else self.type.filter_variable(expression)

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> Any:
        """The value: a copy, or with `borrow` the array itself, which a later call may replace."""
        value = self.container.value
        return value if borrow else copy.deepcopy(value)

    def set_value(self, new_value: Any, borrow: bool = False) -> None:
        """Change the value; it is copied unless `borrow`.

        Raises
        ------
        TypeError
            If it does not fit the type; the old value stays.
        """
        if isinstance(new_value, Variable):
            raise TypeError(
                f"shared variable {self} needs a value, got the symbolic variable {new_value}"
            )
        if not borrow:
            new_value = copy.deepcopy(new_value)
        try:
            self.container.value = new_value
        except TypeError as error:
            raise TypeError(f"{error} (shared variable {self})") from None

    def zero(self, borrow: bool = False) -> None:
        """Fill the value with zeros."""
        value = self.container.value
        if borrow and value.flags.writeable:
            value[...] = 0
        else:
            self.container.value = np.zeros_like(value)

    def clone(self, name: str | None = None) -> Any:
        """Another shared variable on the same container."""
        twin = type(self)(
            name if name is not None else self.name, self.type, None, container=self.container
        )
        twin._default_update = self._default_update
        if self._tag is not None:
            twin._tag = copy.copy(self._tag)
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self)(self.name, self.type, None, container=copy.deepcopy(self.container, memo))
        memo[id(self)] = twin
        if self._default_update is not None:
            twin._default_update = copy.deepcopy(self._default_update, memo)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (
            _make_shared,
            (type(self), self.name, self.type, self.container),
            {"default_update": self._default_update, "tag": self._tag},
            None,
            None,
            _set_shared_state,
        )

    def __str__(self) -> str:
        return self.name if self.name is not None else f"<{self.type}>"


def _make_shared(cls: Any, name: str | None, type_: Type, container: Container) -> Any:
    return cls(name, type_, None, container=container)


def _set_shared_state(var: Any, state: dict[str, Any]) -> None:
    var._default_update = state["default_update"]
    var._tag = state["tag"]


class TensorSharedVariable(TensorOperators, SharedVariable):
    """A shared tensor."""

    __slots__ = ()
    __hash__ = SharedVariable.__hash__


SharedConstructor = Callable[..., SharedVariable]
_constructors: list[SharedConstructor] = []


def shared_constructor(constructor: SharedConstructor) -> SharedConstructor:
    """Register a constructor that `shared` tries, the latest first; it raises TypeError if the
    value is not its business."""
    _constructors.append(constructor)
    return constructor


@shared_constructor
def generic_constructor(
    value: Any, name: str | None = None, strict: bool = False, allow_downcast: bool | None = None,
    borrow: bool = False,
) -> SharedVariable:  # fmt: skip
    """Any Python object."""
    return SharedVariable(name, generic, value, strict, allow_downcast, borrow=borrow)


@shared_constructor
def tensor_constructor(
    value: Any, name: str | None = None, strict: bool = False, allow_downcast: bool | None = None,
    borrow: bool = False, shape: Any = None, broadcastable: Any = None,
) -> SharedVariable:  # fmt: skip
    """Arrays, NumPy scalars and Python numbers."""
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
        raise TypeError(f"not an array or a number: {type(value).__name__}")
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them first")
    array = np.asarray(value)
    if shape is None:
        shape = (None,) * array.ndim if broadcastable is None else broadcastable
    type_ = TensorType(array.dtype, shape)
    if not borrow or array is not value:
        array = np.array(array, copy=True)
    return TensorSharedVariable(name, type_, array, strict, allow_downcast)


def shared(
    value: Any, name: str | None = None, strict: bool = False, allow_downcast: bool | None = None,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """A shared variable with the initial `value`.

    Parameters
    ----------
    value : array_like or object
        An array or number gives a tensor whose extents may change (give `shape` to fix some);
        anything else is held as it is.
    name : str, optional
    strict : bool
        Later values must have the exact type.
    allow_downcast : bool, optional
        Whether later values may lose precision on conversion.
    borrow : bool
        Use `value` itself instead of a copy.
    shape, broadcastable : sequence, optional
        Static extents of a tensor.

    Raises
    ------
    TypeError
        For a symbolic value, or a dtype that is not supported.
    """
    if isinstance(value, Variable):
        raise TypeError(f"a shared variable needs a value, got the symbolic variable {value}")
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.dtype.itemsize > 1:
        TensorType(value.dtype, ())
    candidates = _constructors[::-1]
    if kwargs:
        candidates = [c for c in candidates if _takes(c, kwargs)]
        if not candidates:
            raise TypeError(
                f"shared takes no such keywords together: {', '.join(kwargs)}; there are "
                "value, name, strict, allow_downcast, borrow, shape and broadcastable"
            )
    reasons = []
    for constructor in candidates:
        try:
            return constructor(
                value, name=name, strict=strict, allow_downcast=allow_downcast, **kwargs
            )
        except TypeError as error:
            reasons.append(str(error))
    raise TypeError(
        f"no shared variable can hold this {type(value).__name__}: {'; '.join(reasons)}"
    )


def _takes(constructor: SharedConstructor, kwargs: dict[str, Any]) -> bool:
    """Whether the constructor has parameters of these names."""
    try:
        inspect.signature(constructor).bind(None, **kwargs)
    except TypeError:
        return False
    return True
