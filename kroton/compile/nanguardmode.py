"""NanGuardMode: an error where a NaN, an infinity or a very large number first appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton.compile.mode import Mode, checked_hooks
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.linking.errors import explain
from kroton.linking.hooks import Hook
from kroton.linking.operations import first_that_gives

BIG = 1e10


class NanGuardError(AssertionError):
    """NanGuardMode found a value that is an error.

    Attributes
    ----------
    node : Apply
        The first one that made it, or that it was given to.
    variable : Variable
    value : numpy.ndarray
    """

    def __init__(self, message: str, node: Apply, variable: Variable, value: Any) -> None:
        super().__init__(message)
        self.node, self.variable, self.value = node, variable, value


@dataclass(frozen=True)
class NanGuard(Hook):
    """Looks at each value that arguments and shared variables bring in, and that Applys make."""

    nan_is_error: bool = True
    inf_is_error: bool = True
    big_is_error: bool = True

    def before_apply(self, function: Any, position: int, node: Apply, inputs: list[Any]) -> None:
        for k, (v, x) in enumerate(zip(node.inputs, inputs)):
            if v.owner is None and not isinstance(v, Constant):
                problem = self.problem_of(x)
                if problem:
                    self._fail(f"input {k} ({v}) {problem}", node, inputs, v, x)

    def after_apply(
        self, function: Any, position: int, node: Apply, inputs: list[Any], outputs: list[Any],
        seconds: float,
    ) -> None:  # fmt: skip
        if node.op.undefined_output:
            return
        for k, (v, x) in enumerate(zip(node.outputs, outputs)):
            problem = self.problem_of(x)
            if problem:
                first = first_that_gives(node, inputs, lambda a: bool(self.problem_of(a)))
                if first is not None:
                    problem += f"; of the fused operations {first.expression} is the first"
                self._fail(f"output {k} {problem}", node, inputs, v, x)

    def problem_of(self, value: Any) -> str:
        """What is wrong with `value`, or ''."""
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc" or value.size == 0:
            return ""
        with np.errstate(all="ignore"):
            largest = np.abs(value).max()
            if largest <= BIG:
                return ""
            checks = (
                (self.nan_is_error, np.isnan(value), "is NaN"),
                (self.inf_is_error, np.isinf(value), "is infinite"),
                (
                    self.big_is_error,
                    np.isfinite(value) & (np.abs(value) > BIG),
                    f"has a magnitude over {BIG:g}",
                ),
            )
        for wanted, found, what in checks:
            if wanted and found.any():
                where = tuple(int(i) for i in np.argwhere(found)[0])
                return f"{what} in {int(found.sum())} of {value.size} elements, first at {where}"
        return ""

    def _fail(
        self, problem: str, node: Apply, inputs: Sequence[Any], variable: Variable, value: Any
    ) -> None:
        error = NanGuardError(f"NanGuardMode: {problem}", node, variable, value)
        explain(error, node, inputs)
        raise error


@dataclass(frozen=True, init=False)
class NanGuardMode(Mode):
    """Raises `NanGuardError` at the Apply where an unwanted value first appears.

    Parameters that are None take their value from `config.NanGuardMode`.

    Parameters
    ----------
    nan_is_error, inf_is_error : bool, optional
        Whether NaN and infinities are errors.
    big_is_error : bool, optional
        Whether finite magnitudes over 1e10 are errors.
    optimizer : str or Optimizer
    linker : str or Linker, optional

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], T.log(x), mode=NanGuardMode(big_is_error=False))
    >>> f([0.5, -1.0])
    Traceback (most recent call last):
        ...
    kroton.compile.nanguardmode.NanGuardError: NanGuardMode: output 0 is NaN in 1 of 2 elements...
    """

    nan_is_error: bool = True
    inf_is_error: bool = True
    big_is_error: bool = True

    def __init__(
        self, nan_is_error: bool | None = None, inf_is_error: bool | None = None,
        big_is_error: bool | None = None, optimizer: Any = "default", linker: Any = None,
        hooks: tuple[Hook, ...] = (),
    ) -> None:  # fmt: skip
        settings = config.NanGuardMode
        chosen = {
            name: bool(getattr(settings, name) if value is None else value)
            for name, value in (
                ("nan_is_error", nan_is_error),
                ("inf_is_error", inf_is_error),
                ("big_is_error", big_is_error),
            )
        }
        for name, value in chosen.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "linker", linker)
        object.__setattr__(self, "optimizer", optimizer)
        kept = tuple(h for h in checked_hooks(hooks) if not isinstance(h, NanGuard))
        object.__setattr__(self, "hooks", (NanGuard(**chosen), *kept))
        self.__post_init__()
