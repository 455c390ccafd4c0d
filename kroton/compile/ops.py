"""Ops made of Python functions, and the identities that functions insert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kroton.graph.basic import Apply
from kroton.graph.identity import DeepCopyOp, ViewOp, deep_copy_op, view_op
from kroton.graph.op import Op, ShapeError
from kroton.graph.type import Type
from kroton.tensor.type import TensorType

__all__ = ["DeepCopyOp", "FromFunctionOp", "ViewOp", "as_op", "deep_copy_op", "view_op"]


class FromFunctionOp(Op):
    """An Op whose `perform` is a Python function. Made by `as_op`.

    Parameters
    ----------
    fn : callable
        Takes the values of the inputs, returns the value of the output, or a sequence of them.
    itypes, otypes : sequences of Type
    infer_shape : callable, optional
        As `Op.infer_shape`, without self.
    """

    def __init__(
        self, fn: Callable[..., Any], itypes: Sequence[Type], otypes: Sequence[Type],
        infer_shape: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.fn = fn
        self.itypes = tuple(itypes)
        self.otypes = tuple(otypes)
        self.shapes = infer_shape

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and self.fn is other.fn
            and self.itypes == other.itypes
            and self.otypes == other.otypes
        )

    def __hash__(self) -> int:
        return hash((type(self), self.fn))

    def __repr__(self) -> str:
        return f"FromFunctionOp{{{self.fn.__name__}}}"

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        results = self.fn(*inputs)
        if len(self.otypes) == 1 and not isinstance(results, (list, tuple)):
            results = (results,)
        if not isinstance(results, (list, tuple)) or len(results) != len(self.otypes):
            raise TypeError(
                f"{self.fn.__name__} returned {results!r}, where {len(self.otypes)} output(s) "
                "were declared"
            )
        for otype, value, storage in zip(self.otypes, results, output_storage):
            if isinstance(otype, TensorType) and isinstance(value, (np.generic, int, float)):
                value = np.asarray(value)
            storage[0] = otype.filter(value)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        if self.shapes is None:
            raise ShapeError(f"{self} does not infer its shape")
        return list(self.shapes(node, input_shapes))

    def do_constant_folding(self, node: Apply) -> bool:
        return False

    def __reduce__(self) -> Any:
        # A decorated function is found under its name, where this Op now stands.
        import importlib

        module = importlib.import_module(self.fn.__module__)
        found = module.__dict__.get(self.fn.__qualname__)
        if found is self:
            return (_find, (self.fn.__module__, self.fn.__qualname__))
        return (FromFunctionOp, (self.fn, self.itypes, self.otypes, self.shapes))


def _find(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(module), name)


def as_op(
    itypes: Type | Sequence[Type], otypes: Type | Sequence[Type],
    infer_shape: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], FromFunctionOp]:  # fmt: skip
    """Decorate a function of arrays so that it is an Op.

    Parameters
    ----------
    itypes, otypes : Type or sequence of Types
        Of the inputs and outputs.
    infer_shape : callable, optional
        `infer_shape(node, input_shapes)` returns the shapes of the outputs.

    Raises
    ------
    TypeError
        If `itypes` or `otypes` are no Types.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> @kroton.as_op(itypes=[T.dvector], otypes=[T.dvector])
    ... def reverse(values):
    ...     return values[::-1].copy()
    >>> x = T.dvector("x")
    >>> kroton.function([x], reverse(x))([1.0, 2.0])
    array([2., 1.])
    """
    its = [itypes] if isinstance(itypes, Type) else list(itypes)
    ots = [otypes] if isinstance(otypes, Type) else list(otypes)
    for what, types in (("itypes", its), ("otypes", ots)):
        for t in types:
            if not isinstance(t, Type):
                raise TypeError(f"as_op: {what} must be Types, got {t!r}")

    def make(fn: Callable[..., Any]) -> FromFunctionOp:
        return FromFunctionOp(fn, its, ots, infer_shape)

    return make
