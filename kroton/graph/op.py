"""Op: what a computation means. Ops never mention kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from kroton.config import config
from kroton.graph.basic import Apply, Variable


class Op:
    """The meaning of one kind of Apply.

    An Op is a frozen dataclass whose fields are its identity, or, in the lineage's way, a
    class with `__props__` (a tuple of attribute names), from which equality, hash and repr
    are made. A subclass gives

    * `make_node(*inputs) -> Apply`: types out of types, or `itypes` and `otypes`;
    * `perform(node, inputs, output_storage)`: the reference implementation in Python, which
      sets `output_storage[k][0]` for each output;
    * `grad(inputs, output_gradients)` or `L_op(inputs, outputs, output_gradients)`: one
      gradient Variable for each input, or a `DisconnectedType` or `NullType` Variable;
    * and where it applies `R_op`, `infer_shape`, `connection_pattern`, `view_map`,
      `destroy_map`, `default_output`.

    `view_map` and `destroy_map` map an output's position to the list of positions of the
    inputs that it may share memory with, or that are overwritten to make it.
    """

    view_map: Mapping[int, Sequence[int]] = {}
    destroy_map: Mapping[int, Sequence[int]] = {}
    default_output: ClassVar[int | None] = None
    undefined_output: ClassVar[bool] = False
    """Whether the elements of the outputs may be anything; DebugMode then compares shapes only."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        props = cls.__dict__.get("__props__")
        if props is None:
            return
        if not isinstance(props, tuple):
            raise TypeError(
                f"{cls.__name__}.__props__ must be a tuple of attribute names, got {props!r}"
            )
        if "__eq__" not in cls.__dict__:
            cls.__eq__ = _props_eq  # type: ignore[method-assign]
        if "__hash__" not in cls.__dict__ or cls.__dict__["__hash__"] is None:
            cls.__hash__ = _props_hash  # type: ignore[method-assign]
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _props_repr  # type: ignore[method-assign]

    def make_node(self, *inputs: Any) -> Apply:
        """Return the Apply of this Op to `inputs`, checking them and typing the outputs.

        The default serves Ops with `itypes` and `otypes`.
        """
        itypes = getattr(self, "itypes", None)
        otypes = getattr(self, "otypes", None)
        if itypes is None or otypes is None:
            raise TypeError(
                f"{type(self).__name__} defines neither make_node nor itypes and otypes"
            )
        if len(inputs) != len(itypes):
            raise ValueError(f"{self} takes {len(itypes)} inputs, got {len(inputs)}")
        variables = []
        for k, (expected, given) in enumerate(zip(itypes, inputs)):
            try:
                variables.append(expected.filter_variable(given))
            except TypeError as error:
                found = given.type if isinstance(given, Variable) else type(given).__name__
                raise TypeError(
                    f"input {k} of {self} must be of type {expected}, got {given!r} of type {found}"
                ) from error
        return Apply(self, variables, [otype() for otype in otypes])

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        """Apply to `inputs`; return the output, or the list of outputs if there are several.

        `return_list=True` always returns a list; `name=` names the output. Other keywords go
        to `make_node`.
        """
        return_list = kwargs.pop("return_list", False)
        name = kwargs.pop("name", None)
        node = self.make_node(*inputs, **kwargs)
        if config.compute_test_value != "off":
            from kroton.graph.testvalues import compute_test_values

            compute_test_values(node)
        if name is not None:
            if len(node.outputs) == 1:
                node.outputs[0].name = name
            else:
                for k, out in enumerate(node.outputs):
                    out.name = f"{name}_{k}"
        if return_list:
            return list(node.outputs)
        if self.default_output is not None:
            return node.outputs[self.default_output]
        if len(node.outputs) == 1:
            return node.outputs[0]
        return list(node.outputs)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        """Compute the outputs from the inputs, in Python."""
        raise NotImplementedError(f"{type(self).__name__} does not define perform")

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        """The vector-Jacobian product: a gradient for each input. Calls `grad` by default."""
        return self.grad(inputs, output_gradients)

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        """The gradient of a cost with respect to each input, from those of the outputs."""
        from kroton.graph.nulltype import grad_not_implemented

        return [
            grad_not_implemented(self, k, x, f"{type(self).__name__} defines no gradient")
            for k, x in enumerate(inputs)
        ]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        """The Jacobian-vector product: a direction for each output, None where it is zero.

        The default differentiates the vector-Jacobian product, which is linear in the
        gradients, once more (`kroton.gradient.Rop` does so when this returns NotImplemented).
        """
        return NotImplemented  # type: ignore[no-any-return]

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        """The shape of each output as a tuple of scalars, from those of the inputs.

        Raises
        ------
        ShapeError
            If the shape is not known before the value (the default).
        """
        raise ShapeError(f"{type(self).__name__} does not infer its shape")

    def connection_pattern(self, node: Apply) -> list[list[bool]] | None:
        """`pattern[i][o]` tells whether output o depends differentiably on input i.

        None (the default) means that all do.
        """
        return None

    def do_constant_folding(self, node: Apply) -> bool:
        """Whether an Apply whose inputs are all constant may be replaced by its value."""
        return True

    def __str__(self) -> str:
        return getattr(type(self), "__name__", "Op") if _plain_repr(self) else repr(self)


class ShapeError(Exception):
    """A shape cannot be inferred without computing the value."""


def _plain_repr(op: Op) -> bool:
    return type(op).__repr__ is object.__repr__


def _props(op: Any) -> tuple[Any, ...]:
    return tuple(getattr(op, name) for name in op.__props__)


def _props_eq(self: Any, other: object) -> bool:
    return type(self) is type(other) and _props(self) == _props(other)


def _props_hash(self: Any) -> int:
    return hash((type(self), _props(self)))


def _props_repr(self: Any) -> str:
    if not self.__props__:
        return type(self).__name__
    inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__props__)
    return f"{type(self).__name__}{{{inside}}}"
