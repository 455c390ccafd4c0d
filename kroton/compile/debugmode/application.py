"""All checks of one Apply, as they are chosen: what a call and a saved case both run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from kroton._kernels.kernel import Kernel
from kroton.compile.debugmode import checks
from kroton.compile.debugmode.errors import BadThunkOutput, DebugModeError, report
from kroton.compile.debugmode.gradients import check_gradient
from kroton.graph.basic import Apply, Variable


class Effort(Enum):
    """How much is done about one Apply in one call."""

    ONCE = 0
    """`perform` and the kernel run once and are compared; small inputs are seen not to change."""
    GUARDED = 1
    """Each runs twice, on guarded copies among different garbage, and memory is inspected."""
    EVERYTHING = 2
    """Other layouts, buffers and threads as well, and `infer_shape` and gradients."""


@dataclass(frozen=True)
class Checks:
    """Which checks are made; the fields are those of DebugMode."""

    check_c_code: bool = True
    check_py_code: bool = True
    check_isfinite: bool = True
    check_preallocated_output: str = "ALL"
    require_matching_strides: int = 0
    check_gradients: bool = False

    def run(
        self, node: Apply, kernel: Kernel | None, inputs: Sequence[Any],
        effort: Effort = Effort.EVERYTHING, known: Mapping[Variable, Any] | None = None,
    ) -> list[Any]:  # fmt: skip
        """Compute the outputs in every way that must not matter; return the kernel's.

        Parameters
        ----------
        node : Apply
        kernel : Kernel or None
        inputs : sequence
            The values of the Apply's inputs; left as they are.
        effort : Effort
            How much to try.
        known : mapping, optional
            Values of other Variables, for `infer_shape`.

        Raises
        ------
        DebugModeError
            Where two ways disagree.
        Exception
            What kernel and `perform` both raise.
        """
        if node.op.undefined_output:
            return self._run_undefined(node, kernel, inputs, known or {})
        perform = checks.perform_runner(node)
        run = None if kernel is None else checks.kernel_runner(kernel)
        who = f"kernel {kernel!r}"
        runs = checks.run_once if effort is Effort.ONCE else checks.check_runs
        expected = self._expected(node, perform, run, who, inputs, runs)
        runners = [] if expected is None else [(perform, "perform")]
        found: list[Any] | None = None
        if run is not None:
            try:
                found = runs(node, run, who, inputs)
            except DebugModeError:
                raise
            except Exception as error:
                if expected is None:
                    raise
                raise BadThunkOutput(
                    node.outputs[0], "perform", expected[0], who, error, inputs,
                    f"perform succeeded, the kernel raised {error!r}",
                ) from error  # fmt: skip
            if expected is not None:
                checks.check_agreement(node, expected, found, who, inputs)
                self._check_strides(node, expected, found, who)
            runners.append((run, who))
        outputs = found if found is not None else expected
        assert outputs is not None
        if effort is Effort.EVERYTHING:
            for runner, name in runners:
                checks.check_layouts(node, runner, name, inputs, outputs)
                if self.check_preallocated_output:
                    checks.check_buffers(
                        node, runner, name, inputs, outputs, self.check_preallocated_output
                    )
                checks.check_threads(node, runner, name, inputs, outputs)
            checks.check_infer_shape(node, inputs, outputs, known or {})
            if self.check_gradients:
                check_gradient(node, inputs)
        return outputs

    def _expected(
        self, node: Apply, perform: checks.Runner, run: checks.Runner | None, who: str,
        inputs: Sequence[Any],
        runs: Callable[[Apply, checks.Runner, str, Sequence[Any]], list[Any]],
    ) -> list[Any] | None:  # fmt: skip
        """What `perform` gives, if it is asked; an error of its own must be the kernel's too."""
        if run is not None and not self.check_py_code:
            return None
        try:
            outputs: list[Any] = runs(node, perform, "perform", inputs)
            return outputs
        except DebugModeError:
            raise
        except Exception as error:
            if run is None:
                raise
            try:
                found = run([x.copy() if isinstance(x, np.ndarray) else x for x in inputs], None)
            except Exception as same:
                raise same from error
            raise BadThunkOutput(
                node.outputs[0], "perform", error, who, found[0], inputs,
                f"perform raised {error!r}, the kernel did not",
            ) from error  # fmt: skip

    def _run_undefined(
        self, node: Apply, kernel: Kernel | None, inputs: Sequence[Any],
        known: Mapping[Variable, Any],
    ) -> list[Any]:  # fmt: skip
        """The checks of an Op whose outputs' elements may be anything."""
        ways = [(checks.perform_runner(node), "perform")]
        if kernel is not None:
            ways.append((checks.kernel_runner(kernel), f"kernel {kernel!r}"))
        outputs: list[Any] = []
        for run, who in ways:
            outputs = checks.run_guarded(node, run, who, inputs, 0x2A)
            for r, value in zip(node.outputs, outputs):
                checks.check_value(r, value, who, False)
            checks.check_infer_shape(node, inputs, outputs, known)
        return outputs

    def _check_strides(
        self, node: Apply, expected: Sequence[Any], found: Sequence[Any], who: str
    ) -> None:
        level = self.require_matching_strides
        if not level:
            return
        for r, a, b in zip(node.outputs, expected, found):
            if isinstance(a, np.ndarray) and a.strides != b.strides and a.size > 1:
                problem = f"strides {a.strides} from perform, {b.strides} from {who}"
                if level >= 2:
                    raise BadThunkOutput(r, "perform", a, who, b, (), problem)
                warnings.warn(report(node, problem), stacklevel=2)
