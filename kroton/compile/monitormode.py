"""MonitorMode: functions of the user's are called before and after every Apply."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton.compile.mode import Mode, checked_hooks
from kroton.graph.basic import Apply
from kroton.linking.hooks import Hook
from kroton.printing import debugprint


@dataclass(frozen=True)
class Step:
    """What a monitor sees of one Apply: `fn.inputs[k][0]` and `fn.outputs[k][0]` are its values.

    The values are the function's own, but for inputs that the Apply has written over: those are
    copies of what they were. A monitor that keeps some copies them.
    """

    inputs: list[list[Any]]
    """A cell for each input."""
    outputs: list[list[Any]]
    """A cell for each output; empty (None) before the Apply has run."""


Monitor = Callable[[int, Apply, Step], Any]


@dataclass(frozen=True)
class Monitoring(Hook):
    """Calls the functions of a MonitorMode."""

    pre_func: Monitor | None = None
    post_func: Monitor | None = None

    def before_apply(self, function: Any, position: int, node: Apply, inputs: list[Any]) -> None:
        if self.pre_func is not None:
            cells: list[list[Any]] = [[None] for _ in node.outputs]
            self.pre_func(position, node, Step([[x] for x in inputs], cells))

    def after_apply(
        self, function: Any, position: int, node: Apply, inputs: list[Any], outputs: list[Any],
        seconds: float,
    ) -> None:  # fmt: skip
        if self.post_func is not None:
            self.post_func(position, node, Step([[x] for x in inputs], [[x] for x in outputs]))


@dataclass(frozen=True, init=False)
class MonitorMode(Mode):
    """Calls `pre_func(i, node, fn)` before each Apply and `post_func(i, node, fn)` after it.

    `i` is its place in the order of execution, `node` the Apply, and `fn.inputs` and
    `fn.outputs` are lists of one-element lists with the values.

    Parameters
    ----------
    pre_func, post_func : callable, optional
    optimizer : str or Optimizer
        "None" or `.excluding("fusion")` keep the Applys as they were written.
    linker : str or Linker, optional

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> x = T.dvector("x")
    >>> mode = MonitorMode(post_func=lambda i, node, fn: print(i, node, fn.outputs[0][0]))
    >>> f = kroton.function([x], T.exp(x).sum(), mode=mode.excluding("fusion"))
    >>> total = f([0.0, 0.0])
    0 Elemwise{exp}(x) [1. 1.]
    1 Sum{axes=[0]}(Elemwise{exp}.out) 2.0
    """

    pre_func: Monitor | None = None
    post_func: Monitor | None = None

    def __init__(
        self, pre_func: Monitor | None = None, post_func: Monitor | None = None,
        optimizer: Any = "default", linker: Any = None, hooks: tuple[Hook, ...] = (),
    ) -> None:  # fmt: skip
        object.__setattr__(self, "pre_func", pre_func)
        object.__setattr__(self, "post_func", post_func)
        object.__setattr__(self, "linker", linker)
        object.__setattr__(self, "optimizer", optimizer)
        kept = tuple(h for h in checked_hooks(hooks) if not isinstance(h, Monitoring))
        object.__setattr__(self, "hooks", (Monitoring(pre_func, post_func), *kept))
        self.__post_init__()


def detect_nan(i: int, node: Apply, fn: Step) -> None:
    """A `post_func` that prints the Applys which make a NaN, with their inputs and outputs."""
    for cell in fn.outputs:
        value = cell[0]
        if isinstance(value, np.ndarray) and value.dtype.kind in "fc" and np.isnan(value).any():
            out = sys.stdout
            print("*** NaN detected ***", file=out)
            debugprint(list(node.outputs), file=out)
            print(f"Inputs : {[c[0] for c in fn.inputs]}", file=out)
            print(f"Outputs: {[c[0] for c in fn.outputs]}", file=out)
            return
