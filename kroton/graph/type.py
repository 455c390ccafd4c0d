"""Type: which values a Variable may take, and how values are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from kroton.graph.basic import Constant, Variable


class Type:
    """What a Variable's values are. Subclasses are immutable and compare by what they say."""

    variable_type: ClassVar[type[Variable]]
    constant_type: ClassVar[type[Constant]]

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        """Return `data` as a value of this type.

        Parameters
        ----------
        data : object
            The user's value.
        strict : bool
            Accept only what already is such a value; convert nothing.
        allow_downcast : bool or None
            Whether a conversion may lose precision; None allows it for Python floats only.

        Raises
        ------
        TypeError
            If `data` is no such value and cannot become one without loss.
        """
        raise TypeError(f"{type(self).__name__} does not say which values it takes")

    def is_valid_value(self, data: Any) -> bool:
        """Whether `filter(data, strict=True)` accepts `data` as it is."""
        try:
            self.filter(data, strict=True)
        except (TypeError, ValueError):
            return False
        return True

    def value_validity_msg(self, data: Any) -> str:
        """Say why `data` is not a value of this type."""
        try:
            self.filter(data, strict=True)
        except (TypeError, ValueError) as error:
            return str(error)
        return "value is valid"

    def filter_variable(self, other: Any, allow_convert: bool = True) -> Variable:
        """Return `other` as a Variable of this type.

        Raises
        ------
        TypeError
            If `other` has a type that cannot stand in for this one.
        """
        from kroton.graph.basic import Variable

        if not isinstance(other, Variable):
            other = self.constant_type(self, self.filter(other))
        variable: Variable = other
        if variable.type == self or self.is_super(variable.type):
            return variable
        if allow_convert:
            converted = self.convert_variable(variable)
            if converted is not None:
                return converted
        raise TypeError(
            f"Cannot convert Type {other.type} (of Variable {other}) into Type {self}. "
            f"You can try to manually convert {other} into a {self}."
        )

    def convert_variable(self, var: Variable) -> Variable | None:
        """Return `var` converted to this type, or None if that is not possible."""
        return var if self.is_super(var.type) else None

    def is_super(self, other: Type) -> bool:
        """Whether each value of `other` is a value of this type."""
        return self == other

    def in_same_class(self, other: Type) -> bool:
        """Whether a Variable of type `other` may replace one of this type."""
        return self == other

    def make_variable(self, name: str | None = None) -> Any:
        """Return a new Variable of this type, without an owner."""
        return self.variable_type(self, None, None, name)

    def make_constant(self, value: Any, name: str | None = None) -> Any:
        """Return a Constant of this type."""
        return self.constant_type(self, self.filter(value), name)

    def __call__(self, name: str | None = None) -> Any:
        """Return a new Variable of this type, named `name`."""
        return self.make_variable(name)

    def values_eq(self, a: Any, b: Any) -> bool:
        """Whether two values are the same."""
        return bool(a == b)

    def values_eq_approx(self, a: Any, b: Any) -> bool:
        """Whether two values are the same up to the rounding that rewriting may change."""
        return self.values_eq(a, b)

    def may_share_memory(self, a: Any, b: Any) -> bool:
        """Whether writing to `a` could change `b`."""
        return a is b


class Generic(Type):
    """Any Python object."""

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        return data

    def is_valid_value(self, data: Any) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return "<Generic>"


generic = Generic()
