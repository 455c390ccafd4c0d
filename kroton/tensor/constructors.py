"""Inputs: `T.dmatrix('x')` and its relatives.

Those with a prefix for the dtype are Types, as in the lineage: called with a name they make a
Variable, and they may stand wherever a Type is wanted, such as in `as_op`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kroton.config import config
from kroton.tensor.type import Shape, TensorType

_PREFIXES = {
    "b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64",
    "c": "complex64", "z": "complex128",
}  # fmt: skip
_SHAPES: dict[str, Shape] = {
    "scalar": (),
    "vector": (None,),
    "row": (1, None),
    "col": (None, 1),
    "matrix": (None, None),
    "tensor3": (None,) * 3,
    "tensor4": (None,) * 4,
    "tensor5": (None,) * 5,
}
_PLURALS = {
    "scalar": "scalars", "vector": "vectors", "row": "rows", "col": "cols",
    "matrix": "matrices", "tensor3": "tensor3s", "tensor4": "tensor4s", "tensor5": "tensor5s",
}  # fmt: skip


def tensor(
    dtype: Any = None, shape: Any = None, name: str | None = None, *, broadcastable: Any = None
) -> Any:
    """A new tensor Variable.

    Parameters
    ----------
    dtype : str, optional
        `config.floatX` by default.
    shape : sequence of int or None
        The extents, None where unknown; booleans are read as a broadcast pattern.
    name : str, optional

    Examples
    --------
    >>> import kroton.tensor as T
    >>> T.tensor("float32", (None, 3), name="x").type
    TensorType(float32, (?, 3))
    """
    return TensorType(dtype or config.floatX, shape, broadcastable=broadcastable)(name)


def _make(kind: str, prefix: str | None) -> Callable[..., Any]:
    pattern = _SHAPES[kind]
    if prefix is not None:
        return TensorType(_PREFIXES[prefix], pattern)

    def construct(name: str | None = None, dtype: Any = None, shape: Any = None) -> Any:
        return TensorType(dtype or config.floatX, pattern)(name, shape)

    construct.__name__ = construct.__qualname__ = kind
    what = "a scalar" if kind == "scalar" else f"a {kind}"
    construct.__doc__ = (
        f"A new Variable: {what} of dtype config.floatX, or the one given; `shape` fixes extents."
    )
    return construct


def _make_plural(kind: str, prefix: str | None) -> Callable[..., Any]:
    singular = _make(kind, prefix)

    def construct(*names: Any, dtype: Any = None) -> Any:
        if len(names) == 1 and isinstance(names[0], int):
            wanted: list[Any] = [None] * names[0]
        elif len(names) == 1 and isinstance(names[0], str):
            wanted = names[0].replace(",", " ").split()
        elif len(names) == 1 and isinstance(names[0], (list, tuple)):
            wanted = list(names[0])
        else:
            wanted = list(names)
        return [singular(name) if fixed else singular(name, dtype) for name in wanted]

    fixed = prefix is not None
    construct.__name__ = construct.__qualname__ = (prefix or "") + _PLURALS[kind]
    construct.__doc__ = (
        f"Several new Variables as `{(prefix or '') + kind}` makes them: "
        "names in one string, as arguments or in a list, or their number."
    )
    return construct


constructors: dict[str, Callable[..., Any]] = {}
for _kind in _SHAPES:
    for _prefix in (None, *_PREFIXES):
        constructors[(_prefix or "") + _kind] = _make(_kind, _prefix)
        constructors[(_prefix or "") + _PLURALS[_kind]] = _make_plural(_kind, _prefix)
globals().update(constructors)

__all__ = ["tensor", *constructors]
