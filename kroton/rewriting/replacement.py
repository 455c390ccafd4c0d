"""What a rule returns, as something that may stand in the place of what is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.type import TensorType


def pairs_of(
    node: Apply, result: Any, strict: bool, stretches: bool
) -> list[tuple[Variable, Variable]] | None:
    """What a rule's result replaces by what; None if something does not fit, [] if nothing changes.

    Parameters
    ----------
    node : Apply
        That the rule was tried on.
    result : Variable, list or dict
    strict : bool
        Whether what does not fit is an error.
    stretches : bool
        Whether dimensions may be missing along which all elements are the same.

    Raises
    ------
    TypeError
        If the result of a rule that is written as code does not fit: it should have said None.
        One written as mathematics is for those dtypes for which both sides have the same.
    """
    items: Iterable[tuple[Variable, Any]]
    if isinstance(result, Variable):
        if len(node.outputs) != 1:
            raise ValueError(
                f"{node.op} has {len(node.outputs)} outputs; return a list or a dict for it"
            )
        items = [(node.outputs[0], result)]
    elif isinstance(result, dict):
        items = result.items()
    elif isinstance(result, (list, tuple)):
        if len(result) != len(node.outputs):
            raise ValueError(
                f"{node.op} has {len(node.outputs)} outputs, but {len(result)} replacements came"
            )
        items = zip(node.outputs, result)
    else:
        raise TypeError(
            "a rule returns None, a Variable, a list with one for each output, or a dict; "
            f"got {type(result).__name__}"
        )
    pairs = []
    for old, new in items:
        if new is None or new is old:
            continue
        if strict:
            _check_fit(old, new, stretches)
        fitted = fit(old, new)
        if fitted is None:
            return None
        pairs.append((old, fitted))
    return pairs


def check_present(fgraph: FunctionGraph, node: Apply, result: dict[Variable, Any]) -> None:
    """Raise for a replacement of what is not there, which would go on without end."""
    for old in result:
        if old not in fgraph.variables and old not in node.outputs:
            raise ValueError(
                f"{old} shall be replaced, and is not part of the graph: the keys of a dict are "
                "Variables that are found from the node, and the graph's own inputs"
            )


def _check_fit(old: Variable, new: Any, stretches: bool) -> None:
    """Raise for a replacement of another dtype, or with fewer dimensions that may be wrong."""
    if not isinstance(new, Variable) or isinstance(new, Constant):
        return
    wanted, found = old.type, new.type
    if not (isinstance(wanted, TensorType) and isinstance(found, TensorType)):
        return
    if wanted.dtype == found.dtype and (
        wanted.ndim == found.ndim or (stretches and wanted.ndim > found.ndim)
    ):
        return
    raise TypeError(
        f"{old.owner} gives {_described(wanted)}, but what shall stand in its place, {new}, is "
        f"{_described(found)}; cast it, or broadcast it, or return None (a rewriter with "
        "stretches=True may leave out dimensions along which all elements are the same)"
    )


def _described(wanted: TensorType) -> str:
    return f"{wanted.dtype} of {wanted.ndim} dimension{'s' * (wanted.ndim != 1)}"


def fit(old: Variable, new: Any) -> Variable | None:
    """`new` as something that may stand for `old`: numbers become constants, extents are stretched.

    Returns None if the dtype differs, or if what is known of the shape would get lost.
    """
    wanted = old.type
    if not isinstance(new, Variable):
        if not isinstance(wanted, TensorType):
            return None
        from kroton.tensor.constant import constant

        new = constant(new, dtype=wanted.dtype)
    found = new.type
    if wanted is found:
        return cast(Variable, new)
    if not (isinstance(wanted, TensorType) and isinstance(found, TensorType)):
        return cast(Variable, new) if wanted.in_same_class(found) else None
    if wanted.dtype != found.dtype or len(found.shape) > len(wanted.shape):
        return None
    missing = len(wanted.shape) - len(found.shape)
    narrow = missing > 0
    for w, f in zip(wanted.shape[missing:], found.shape):
        if f == w:
            continue
        if w == 1 or (w is not None and f != 1):
            return None
        narrow = narrow or f == 1
    # An extent of 1 where that of an Elemwise's result is unknown has yet to be stretched.
    if narrow and old.owner is not None and isinstance(old.owner.op, Elemwise):
        return stretch(new, old)
    return cast(Variable, new) if wanted.in_same_class(found) else None


def stretch(value: Variable, like: Variable) -> Variable | None:
    """`value` broadcast to the shape of `like`, the result of an Elemwise; None for others."""
    node = like.owner
    if node is None or not isinstance(node.op, Elemwise):
        return None
    from kroton.tensor.creation import alloc
    from kroton.tensor.shape import shape_i

    shape: list[Any] = []
    ndim = like.type.ndim
    for d, extent in enumerate(like.type.shape):
        if extent is None:
            for var in node.inputs:
                known = var.type.shape
                k = d - (ndim - len(known))
                if k >= 0 and known[k] != 1:
                    extent = shape_i(var, k)
                    break
            else:
                extent = 1
        shape.append(extent)
    return cast(Variable, alloc(value, *shape))
