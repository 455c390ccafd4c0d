"""ScalarOp: what one elementwise operation means for one element, and for which dtypes.

A ScalarOp is identified by its name. It knows its reference implementation on NumPy arrays
(`impl`) and the dtypes it computes in (`resolve`); it knows nothing of graphs or of kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from kroton.scalar.promotion import Dtypes, InputType, check_inputs, numeric

known_names: set[str] = set()
"""The names of the operations that were made so far, of the table or not."""

Rule = Callable[["ScalarOp", tuple[InputType, ...]], tuple[Dtypes, np.dtype]]


@dataclass(frozen=True, repr=False)
class ScalarOp:
    """One elementwise operation: `out = name(in_0, ..., in_{nin-1})`."""

    name: str
    """The lineage's name, and the identity."""
    nin: int = field(compare=False)
    """How many inputs."""
    nout: int = field(default=1, compare=False)
    """How many outputs; 1 for all but `Composite`."""
    reference: Callable[..., Any] | None = field(default=None, compare=False)
    """NumPy function that computes it on arrays of the resolved dtypes."""
    rule: Rule | None = field(default=None, compare=False)
    """Maps input dtypes to loop dtypes; see `resolve`."""
    ufunc: np.ufunc | None = field(default=None, compare=False)
    """The NumPy ufunc it is, where it is one."""
    commutative: bool = field(default=False, compare=False)
    """`f(a, b) == f(b, a)`."""
    associative: bool = field(default=False, compare=False)
    """`f(f(a, b), c) == f(a, f(b, c))` in exact arithmetic."""
    identity: object | None = field(default=None, compare=False)
    """The `e` with `f(e, a) == f(a, e) == a`, or None."""

    def __post_init__(self) -> None:
        known_names.add(self.name)

    def impl(self, *arrays: Any) -> Any:
        """The reference: NumPy arrays of the dtypes `resolve` gave, in; the output, out.

        Inputs broadcast. Floating-point warnings are the caller's to silence.
        """
        if self.reference is None:
            raise TypeError(f"scalar operation {self.name} has no reference implementation")
        return np.asarray(self.reference(*arrays))

    def resolve(self, *inputs: InputType) -> tuple[Dtypes, np.dtype]:
        """The dtypes to compute in: (one for each input, the output's).

        `inputs` are dtypes, or one of the types `bool`, `int`, `float`, `complex` for a weak
        Python scalar (NEP 50). Raises TypeError where the operation is not defined.
        """
        return _resolve(self, inputs)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        if named.get(self.name) is self:
            return (_from_table, (self.name,))
        return object.__reduce_ex__(self, 2)


named: dict[str, ScalarOp] = {}
"""Every operation of the table by its name; `kroton.scalar.ops` shows it read-only."""


def _from_table(name: str) -> ScalarOp:
    """Unpickle an operation of the table: they are singletons."""
    return named[name]


@lru_cache(maxsize=4096)
def _resolve(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    if len(inputs) != op.nin:
        raise TypeError(f"{op.name} takes {op.nin} inputs, got {len(inputs)}")
    if op.rule is None:
        raise TypeError(f"scalar operation {op.name} does not say which dtypes it takes")
    return op.rule(op, check_inputs(op.name, inputs))


@dataclass(frozen=True, repr=False, init=False)
class Cast(ScalarOp):
    """Conversion to `dtype`, as C does it.

    Complex to real discards the imaginary part; anything to bool is `!= 0`. Values that do not
    fit an integer dtype wrap around when they come from an integer, and are unspecified when
    they come from a float, as in NumPy.
    """

    dtype: np.dtype = field(init=False)
    """The dtype of the output."""

    def __init__(self, dtype: Any) -> None:
        target = numeric(np.dtype(dtype))
        if target is None:
            raise TypeError(f"cannot cast to dtype {np.dtype(dtype)}")
        for name, value in (
            ("name", f"cast{{{target}}}"),
            ("nin", 1),
            ("nout", 1),
            ("reference", None),
            ("rule", _cast_rule),
            ("ufunc", None),
            ("commutative", False),
            ("associative", False),
            ("identity", None),
            ("dtype", target),
        ):
            object.__setattr__(self, name, value)

    def impl(self, *arrays: Any) -> Any:
        (x,) = map(np.asarray, arrays)
        if self.dtype.kind == "b":
            return np.asarray(x != 0)
        if x.dtype.kind == "c" and self.dtype.kind != "c":
            x = x.real
        return x.astype(self.dtype)

    def __reduce__(self) -> Any:
        return (Cast, (self.dtype,))


def _cast_rule(op: ScalarOp, inputs: tuple[InputType, ...]) -> tuple[Dtypes, np.dtype]:
    assert isinstance(op, Cast)
    (given,) = inputs
    return (given if isinstance(given, np.dtype) else np.dtype(given),), op.dtype
