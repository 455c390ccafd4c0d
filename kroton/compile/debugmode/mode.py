"""DebugMode: verifies every rewrite and compares kernels with `perform`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.buffers import BUFFERS
from kroton.compile.debugmode.errors import StochasticOrder
from kroton.compile.debugmode.linker import DebugLinker
from kroton.compile.debugmode.recorder import Recorder
from kroton.compile.mode import Mode
from kroton.config import config
from kroton.graph.fg import FunctionGraph
from kroton.linking.hooks import Hook
from kroton.linking.linker import get_linker


@dataclass(frozen=True)
class RewriteChecks(Hook):
    """Records what happens to each graph, after optimizing copies to see that it repeats."""

    patience: int = 10
    """How often a copy of the graph is optimized."""

    def compile_started(self, fgraph: FunctionGraph, mode: Any) -> None:
        first: list[str] | None = None
        for attempt in range(self.patience):
            copy, equiv = fgraph.clone_get_equiv()
            for name in ("updated_inputs", "mutable_inputs"):
                known = getattr(fgraph, name, None)
                if isinstance(known, dict):
                    setattr(copy, name, {k: equiv[v] for k, v in known.items()})
                elif known is not None:
                    setattr(copy, name, [equiv[v] for v in known])
            recorder = Recorder(graphs=False)
            copy.attach_feature(recorder)
            mode.optimizer.apply(copy)
            if first is None:
                first = recorder.events
            elif recorder.events != first:
                raise StochasticOrder(_first_difference(first, recorder.events, attempt))
        fgraph.attach_feature(Recorder())


def _first_difference(first: list[str], other: list[str], attempt: int) -> str:
    for k, (a, b) in enumerate(zip(first, other)):
        if a != b:
            return (
                "optimizing the same graph again gives another sequence of replacements: "
                f"number {k} was\n  {a}\nat first, and\n  {b}\nat attempt {attempt + 1}; a rule "
                "must not depend on addresses, on the order of a set, on time or on chance"
            )
    longer, n = (first, len(other)) if len(first) > len(other) else (other, len(first))
    return (
        f"optimizing the same graph again gives {len(other)} replacements at attempt "
        f"{attempt + 1} instead of {len(first)}; the first that is missing is\n  {longer[n]}"
    )


@dataclass(frozen=True, init=False)
class DebugMode(Mode):
    """Finds wrong kernels, wrong rules and wrong Ops: slow, and strict by default.

    A function compiled under it gives what FAST_RUN gives, or raises a `DebugModeError`.
    Parameters that are None take their value from `config.DebugMode`.

    Parameters
    ----------
    optimizer : str or Optimizer
    stability_patience : int, optional
        How often each graph is optimized to see that the result repeats.
    check_c_code, check_py_code : bool, optional
        Whether kernels, and `perform`, are run and checked.
    check_isfinite : bool, optional
        Whether NaN and inf are errors.
    check_preallocated_output : str, optional
        The unusual output buffers that are offered: "" for none, "ALL", or some of initial,
        previous, c_contiguous, f_contiguous, strided, wrong_size, separated by ":".
    require_matching_strides : int, optional
        0: kernel and `perform` may differ in strides; 1: warn; 2: raise.
    linker : str or Linker, optional
        'py' checks `perform` only; 'c' kernels only; otherwise both.
    check_gradients : bool
        Compare each Op's gradient with finite differences.
    minimize : bool
        Shrink a failing case and print it as a script.
    directory : str, optional
        Where failing cases are saved: the system's temporary directory by default, "" nowhere.
    """

    stability_patience: int = 10
    check_c_code: bool = True
    check_py_code: bool = True
    check_isfinite: bool = True
    check_preallocated_output: str = "ALL"
    require_matching_strides: int = 0
    check_gradients: bool = False
    minimize: bool = False
    directory: str | None = None

    def __init__(
        self, optimizer: Any = "fast_run", stability_patience: int | None = None,
        check_c_code: bool | None = None, check_py_code: bool | None = None,
        check_isfinite: bool | None = None, check_preallocated_output: str | None = None,
        require_matching_strides: int | None = None, linker: Any = None,
        check_gradients: bool = False, minimize: bool = False, directory: str | None = None,
        hooks: tuple[Hook, ...] = (),
    ) -> None:  # fmt: skip
        settings = config.DebugMode

        def chosen(value: Any, default: Any) -> Any:
            return default if value is None else value

        if linker is not None and not isinstance(linker, DebugLinker):
            kind = get_linker(linker).name
            check_c_code = False if kind == "py" else check_c_code
            check_py_code = False if kind == "c" else check_py_code
        values = {
            "stability_patience": chosen(stability_patience, settings.patience),
            "check_c_code": chosen(check_c_code, settings.check_c),
            "check_py_code": chosen(check_py_code, settings.check_py),
            "check_isfinite": chosen(check_isfinite, settings.check_finite),
            "check_preallocated_output": chosen(
                check_preallocated_output, settings.check_preallocated_output
            ),
            "require_matching_strides": chosen(require_matching_strides, settings.check_strides),
            "check_gradients": check_gradients,
            "minimize": minimize,
            "directory": directory,
        }
        if not (values["check_c_code"] or values["check_py_code"]):
            raise ValueError("DebugMode must check at least one of c and py code")
        if values["stability_patience"] < 0:
            raise ValueError("stability_patience cannot be negative")
        names = set(filter(None, values["check_preallocated_output"].split(":")))
        if not names <= BUFFERS:
            raise ValueError(
                f"check_preallocated_output names {', '.join(sorted(names - BUFFERS))}; there are "
                f"{', '.join(sorted(BUFFERS))}, separated by ':', and '' for none"
            )
        if values["require_matching_strides"] not in (0, 1, 2):
            raise ValueError(
                "require_matching_strides must be 0 (ignore), 1 (warn) or 2 (raise), got "
                f"{values['require_matching_strides']!r}"
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)
        made = {f.name: values[f.name] for f in fields(Checks) if f.name in values}
        chosen_checks = Checks(**made, warn_input_not_reused=settings.warn_input_not_reused)
        debug_linker = DebugLinker(checks=chosen_checks, minimize=minimize, directory=directory)
        kept = tuple(h for h in hooks if not isinstance(h, RewriteChecks))
        object.__setattr__(self, "linker", debug_linker)
        object.__setattr__(self, "optimizer", optimizer)
        checks = RewriteChecks(values["stability_patience"])
        object.__setattr__(self, "hooks", (checks, *kept))
        self.__post_init__()
