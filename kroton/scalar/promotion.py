"""Promotion: which dtypes an operation computes in, given the dtypes of its inputs.

NumPy 2's rules (NEP 50) over thirteen dtypes: bool, the eight integers, float32, float64,
complex64, complex128. Where NumPy would compute in float16 the answer is float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kroton.scalar.op import Rule, ScalarOp

InputType = np.dtype | type
Dtypes = tuple[np.dtype, ...]

DTYPES: Dtypes = (
    np.dtype(np.bool),
    *map(np.dtype, ("int8", "int16", "int32", "int64")),
    *map(np.dtype, ("uint8", "uint16", "uint32", "uint64")),
    *map(np.dtype, ("float32", "float64", "complex64", "complex128")),
)
"""Every dtype that Kroton computes in."""

_CANONICAL = {dtype.name: dtype for dtype in DTYPES}
_WEAK: dict[type, Any] = {int: 0, float: 0.0, complex: 0j}

BOOL, FLOAT32, FLOAT64 = _CANONICAL["bool"], _CANONICAL["float32"], _CANONICAL["float64"]


def numeric(dtype: np.dtype) -> np.dtype | None:
    """The one of `DTYPES` that equals `dtype` (C's long and long long are one), or None."""
    found = _CANONICAL.get(dtype.name)
    return found if found is not None and dtype.isnative else None


def check_inputs(name: str, inputs: tuple[Any, ...]) -> tuple[InputType, ...]:
    """Canonical dtypes and weak types; TypeError for what is neither."""
    result: list[InputType] = []
    for given in inputs:
        if isinstance(given, np.dtype):
            dtype = numeric(given)
            if dtype is None:
                raise TypeError(f"{name} is not defined for dtype {given}")
            result.append(dtype)
        elif given in _WEAK:
            result.append(given)
        elif given is bool:
            result.append(BOOL)
        else:
            raise TypeError(f"{name}: expected a dtype, int, float, complex or bool, got {given!r}")
    return tuple(result)


def spelled(inputs: tuple[InputType, ...]) -> str:
    """The inputs' types for an error message."""
    return ", ".join(str(t) if isinstance(t, np.dtype) else f"Python {t.__name__}" for t in inputs)


def no_loop(op: ScalarOp, inputs: tuple[InputType, ...], why: str = "") -> TypeError:
    """The error for an operation that is not defined for these dtypes."""
    return TypeError(
        f"{op.name} is not defined for input dtype{'s' if len(inputs) > 1 else ''} "
        f"{spelled(inputs)}" + (f": {why}" if why else "")
    )


def promote(*inputs: InputType) -> np.dtype:
    """NumPy's `result_type` with weak Python scalars."""
    dtype = np.result_type(*(t if isinstance(t, np.dtype) else _WEAK[t] for t in inputs))
    return _CANONICAL[dtype.name]


def to_float(dtype: np.dtype) -> np.dtype:
    """The dtype in which a function of real analysis takes `dtype`.

    Integers as in NumPy's ufuncs: up to 16 bits float32, wider ones float64.
    """
    if dtype.kind in "biu":
        return FLOAT32 if dtype.itemsize <= 2 else FLOAT64
    return dtype


def by_ufunc(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    """What `op.ufunc` resolves to; where that is float16, what it resolves to for float32."""
    assert op.ufunc is not None
    try:
        found = op.ufunc.resolve_dtypes((*inputs, None))
        if any(dtype == np.float16 for dtype in found):
            wider = tuple(
                to_float(t) if isinstance(t, np.dtype) and t.kind in "biu" else t for t in inputs
            )
            found = op.ufunc.resolve_dtypes((*wider, None))
    except TypeError as error:
        why = str(error) if "operator" in str(error) else ""
        raise no_loop(op, inputs, why) from None
    loop = tuple(_CANONICAL[dtype.name] for dtype in found)
    return loop[:-1], loop[-1]


def alike(kinds: str, *, floating: bool = False, out: str | None = None) -> Rule:
    """All inputs promoted to one dtype, whose kind must be among `kinds`; the output too.

    `floating` computes integers in floating point; `out` names another output dtype.
    """

    def rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
        dtype = promote(*inputs)
        if floating:
            dtype = to_float(dtype)
        if dtype.kind not in kinds:
            raise no_loop(op, inputs)
        return (dtype,) * op.nin, dtype if out is None else _CANONICAL[out]

    return rule


def integers_alone(otherwise: Rule) -> Rule:
    """bool and integers are left as they are (rounding has no effect); others `otherwise`."""

    def rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
        dtype = promote(*inputs)
        return ((dtype,), dtype) if dtype.kind in "biu" else otherwise(op, inputs)

    return rule


def component(floating: bool) -> Rule:
    """A real number made of a complex one; `floating` takes integers to floating point."""

    def rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
        dtype = promote(*inputs)
        if floating:
            dtype = to_float(dtype)
        real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
        return (dtype,), real

    return rule


def second_rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    """The output has the dtype of the second input; a weak one is promoted with the first."""
    first, last = inputs
    out = last if isinstance(last, np.dtype) else promote(first, last)
    return (promote(first), out), out


def switch_rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    """The condition is taken as bool, the two branches are promoted to one dtype."""
    dtype = promote(*inputs[1:])
    return (BOOL, dtype, dtype), dtype
