"""All checks of one Apply, as they are chosen: what a call and a saved case both run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from kroton._kernels.kernel import Kernel
from kroton.compile.debugmode import checks, memory
from kroton.compile.debugmode.errors import BadThunkOutput, DebugModeError, report
from kroton.compile.debugmode.gradients import check_gradient
from kroton.graph.basic import Apply, Variable
from kroton.linking.rounding import Rounding


class Effort(Enum):
    """How much is done about one Apply in one call."""

    ONCE = 0
    """`perform` and the kernel run once and are compared; small inputs are seen not to change."""
    GUARDED = 1
    """Each runs twice, on guarded copies among different garbage, and memory is inspected."""
    EVERYTHING = 2
    """Other layouts, buffers and threads as well, and `infer_shape` and gradients."""


@dataclass(frozen=True)
class Subject:
    """An Apply and the two ways to compute it."""

    node: Apply
    kernel: Kernel | None = None
    """The kernel, if there is one and it is asked for."""
    perform: checks.Runner = field(init=False, repr=False)
    run: checks.Runner | None = field(init=False, repr=False)
    who: str = field(init=False, repr=False)
    """What messages call the kernel."""
    destroyed: frozenset[int] = field(init=False, repr=False)
    """The inputs that `destroy_map` announces."""
    apart: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(init=False, repr=False)
    """What must not share memory."""

    def __post_init__(self) -> None:
        kernel = self.kernel
        positions = self.node.op.destroy_map.values()
        for name, value in (
            ("perform", checks.perform_runner(self.node)),
            ("run", None if kernel is None else checks.kernel_runner(kernel)),
            ("who", f"kernel {kernel!r}"),
            ("apart", memory.unannounced(self.node)),
            ("destroyed", frozenset(i for these in positions for i in these)),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Checks:
    """Which checks are made; most of the fields are those of DebugMode."""

    check_c_code: bool = True
    check_py_code: bool = True
    check_isfinite: bool = True
    check_preallocated_output: str = "ALL"
    require_matching_strides: int = 0
    check_gradients: bool = False
    warn_input_not_reused: bool = False
    """Warn where `destroy_map` promises an output in an input's memory, and `perform` leaves it
    elsewhere. A kernel may: one that could raise midway does, to leave its input as it was."""

    def run(
        self, subject: Subject, inputs: Sequence[Any], effort: Effort = Effort.EVERYTHING,
        known: Mapping[Variable, Any] | None = None,
    ) -> list[Any]:  # fmt: skip
        """Compute the outputs in every way that must not matter; return the kernel's.

        Parameters
        ----------
        subject : Subject
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
        node, run, who = subject.node, subject.run, subject.who
        if node.op.undefined_output:
            return self._run_undefined(subject, inputs, known or {})
        warn = self.warn_input_not_reused and effort is Effort.EVERYTHING
        before = memory.snapshot(inputs, subject.destroyed) if effort is Effort.ONCE else None
        expected = self._expected(subject, inputs, before, warn)
        if run is None:
            assert expected is not None
            if before is not None:
                self._check_values(node, expected, "perform", inputs)
            outputs = expected
        else:
            outputs = self._found(subject, inputs, expected, before)
            if before is not None:
                self._agree_once(node, expected, outputs, who, inputs)
            elif expected is not None:
                checks.check_agreement(node, expected, outputs, who, inputs)
            if expected is not None and self.require_matching_strides:
                self._check_strides(node, expected, outputs, who)
        if effort is Effort.EVERYTHING:
            runners = [] if expected is None else [(subject.perform, "perform")]
            if run is not None:
                runners.append((run, who))
            for runner, name in runners:
                checks.check_layouts(node, runner, name, inputs, outputs)
                if self.check_preallocated_output:
                    checks.check_buffers(
                        node, runner, name, inputs, outputs, self.check_preallocated_output
                    )
            if run is not None:  # a perform may wait for what this thread has locked
                checks.check_threads(node, run, who, inputs, outputs)
            checks.check_infer_shape(node, inputs, outputs, known or {})
            if self.check_gradients:
                check_gradient(node, inputs)
        return outputs

    def _agree_once(
        self, node: Apply, expected: Sequence[Any] | None, found: Sequence[Any], who: str,
        inputs: Sequence[Any],
    ) -> None:  # fmt: skip
        """Outputs of the right type that agree: what is the same to the bit is checked once."""
        if expected is None:
            self._check_values(node, found, who, inputs)
            return
        rounding = Rounding.of_apply(node, inputs)
        for r, a, b in zip(node.outputs, expected, found):
            same = checks.identical(a, b)
            if not same:
                checks.check_value(r, a, "perform", False, inputs)
            checks.check_value(r, b, who, False, inputs)
            if not same and not checks.close(r, a, b, rounding=rounding):
                raise BadThunkOutput(r, "perform", a, who, b, inputs)

    def _check_values(
        self, node: Apply, values: Sequence[Any], who: str, inputs: Sequence[Any]
    ) -> None:
        for r, value in zip(node.outputs, values):
            checks.check_value(r, value, who, False, inputs)

    def _expected(
        self, subject: Subject, inputs: Sequence[Any], before: memory.Snapshot | None, warn: bool
    ) -> list[Any] | None:
        """What `perform` gives, if it is asked; an error of its own must be the kernel's too."""
        node, run = subject.node, subject.run
        if run is not None and not self.check_py_code:
            return None
        try:
            if before is not None:
                return memory.run_once(
                    node, subject.perform, "perform", inputs, subject.destroyed, before,
                    subject.apart,
                )  # fmt: skip
            return memory.check_runs(node, subject.perform, "perform", inputs, warn)
        except (DebugModeError, Warning):
            raise
        except Exception as error:
            if run is None:
                raise
            try:
                found = run([checks.copied(x) for x in inputs], None)
            except Exception as same:
                raise same from error
            raise BadThunkOutput(
                node.outputs[0], "perform", error, subject.who, found[0], inputs,
                f"perform raised {error!r}, the kernel did not",
            ) from error  # fmt: skip

    def _found(
        self, subject: Subject, inputs: Sequence[Any], expected: list[Any] | None,
        before: memory.Snapshot | None,
    ) -> list[Any]:  # fmt: skip
        """What the kernel gives; it must not fail where `perform` does not."""
        node, run, who = subject.node, subject.run, subject.who
        assert run is not None
        try:
            if before is not None:
                return memory.run_once(
                    node, run, who, inputs, subject.destroyed, before, subject.apart
                )
            return memory.check_runs(node, run, who, inputs)
        except DebugModeError:
            raise
        except Exception as error:
            if expected is None:
                raise
            raise BadThunkOutput(
                node.outputs[0], "perform", expected[0], who, error, inputs,
                f"perform succeeded, the kernel raised {error!r}",
            ) from error  # fmt: skip

    def _run_undefined(
        self, subject: Subject, inputs: Sequence[Any], known: Mapping[Variable, Any]
    ) -> list[Any]:
        """The checks of an Op whose outputs' elements may be anything."""
        node = subject.node
        ways = [(subject.perform, "perform")]
        if subject.run is not None:
            ways.append((subject.run, subject.who))
        outputs: list[Any] = []
        for run, who in ways:
            outputs = memory.run_guarded(node, run, who, inputs, 0x2A)
            for r, value in zip(node.outputs, outputs):
                checks.check_value(r, value, who, False, inputs)
            checks.check_infer_shape(node, inputs, outputs, known)
        return outputs

    def _check_strides(
        self, node: Apply, expected: Sequence[Any], found: Sequence[Any], who: str
    ) -> None:
        level = self.require_matching_strides
        for r, a, b in zip(node.outputs, expected, found):
            if isinstance(a, np.ndarray) and a.strides != b.strides and a.size > 1:
                problem = f"strides {a.strides} from perform, {b.strides} from {who}"
                if level >= 2:
                    raise BadThunkOutput(r, "perform", a, who, b, (), problem)
                warnings.warn(report(node, problem), stacklevel=2)
