"""DebugMode: verifies every rewrite and compares kernels with `perform`."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, fields
from typing import Any

from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.buffers import BUFFERS
from kroton.compile.debugmode.errors import BadRule, StochasticOrder
from kroton.compile.debugmode.linker import DebugLinker
from kroton.compile.debugmode.recorder import Recorder, origin
from kroton.compile.mode import Mode
from kroton.config import config
from kroton.graph.fg import FunctionGraph
from kroton.linking.hooks import Hook
from kroton.linking.linker import get_linker
from kroton.rewriting.engine import RewriteLoopError


@dataclass(frozen=True)
class RewriteChecks(Hook):
    """Records what happens to each graph, after optimizing copies to see that it repeats."""

    patience: int = 10
    """How often a copy of the graph is optimized."""

    def compile_started(self, fgraph: FunctionGraph, mode: Any) -> None:
        first: Recorder | None = None
        for attempt in range(self.patience):
            recorder = _optimize_copy(fgraph, mode)
            if first is None:
                first = recorder
            else:
                _compare(first, recorder, f"at attempt {attempt + 1}")
        fgraph.attach_feature(Recorder(expected=first))

    def optimizer_finished(self, fgraph: FunctionGraph, mode: Any) -> None:
        for recorder in fgraph.features:
            if isinstance(recorder, Recorder) and recorder.expected is not None:
                _compare(recorder.expected, recorder, "in the optimization that is used")
                recorder.expected = None


def _optimize_copy(fgraph: FunctionGraph, mode: Any) -> Recorder:
    """What happens when a copy of `fgraph` is optimized.

    Raises
    ------
    BadRule
        If a rule raises, makes a cycle, or is undone by another without end.
    """
    copy, recorder = _copy(fgraph), Recorder(graphs=False)
    copy.attach_feature(recorder)
    try:
        # Elsewhere a warning is enough, and the rule is skipped.
        strict = "raise" if config.on_opt_error == "warn" else config.on_opt_error
        with config.change_flags(on_opt_error=strict):
            mode.optimizer.apply(copy)
    except Exception as error:
        _name_cycle(fgraph, mode)
        blamed = [note for note in getattr(error, "__notes__", ()) if note.startswith("the rule ")]
        if isinstance(error, RewriteLoopError):
            raise BadRule(str(error)) from error
        if blamed:
            frames = "".join(traceback.format_tb(error.__traceback__)[-2:])
            raise BadRule(f"{blamed[0]}\n{frames}{type(error).__name__}: {error}") from error
        raise
    return recorder


def _name_cycle(fgraph: FunctionGraph, mode: Any) -> None:
    """Raise BadRule if a rule makes a cycle, which nobody notices before much else is done."""
    copy = _copy(fgraph)
    copy.attach_feature(Recorder(graphs=False, careful=True))
    try:
        with config.change_flags(on_opt_error="raise"):
            mode.optimizer.apply(copy)
    except BadRule:
        raise
    except Exception:
        return


def _copy(fgraph: FunctionGraph) -> FunctionGraph:
    """A copy that says the same of its inputs."""
    copy, equiv = fgraph.clone_get_equiv()
    for name in ("updated_inputs", "mutable_inputs"):
        known = getattr(fgraph, name, None)
        if isinstance(known, dict):
            setattr(copy, name, {k: equiv[v] for k, v in known.items()})
        elif known is not None:
            setattr(copy, name, [equiv[v] for v in known])
    return copy


def _compare(first: Recorder, other: Recorder, when: str) -> None:
    """Raise StochasticOrder at the first event that differs."""
    if first.events == other.events:
        return
    for k, (a, b) in enumerate(zip(first.events, other.events)):
        if a != b:
            raise StochasticOrder(
                "optimizing the same graph again gives another sequence of replacements: "
                f"number {k} was\n  {a}\nat first, and\n  {b}\n{when}; a rule must not depend "
                "on addresses, on the order of a set, on time or on chance\n"
                f"What was replaced at first: {origin(first.changed[k])}"
            )
    n, total = len(first.events), len(other.events)
    longer = first if n > total else other
    k = min(n, total)
    raise StochasticOrder(
        f"optimizing the same graph again gives {total} replacements {when} instead of {n}; the "
        f"first that is missing is\n  {longer.events[k]}\n"
        f"What it replaced: {origin(longer.changed[k])}"
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
        How many copies of each graph are optimized first, and compared with the optimization
        that is used; 0 checks nothing of the rules themselves.
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
