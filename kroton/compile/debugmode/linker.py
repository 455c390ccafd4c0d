"""The linker of DebugMode: a Program of one step, which runs every Apply in every way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from kroton._kernels.kernel import CallableKernel
from kroton._kernels.program import Cell, Program
from kroton.compile.debugmode import checks
from kroton.compile.debugmode.application import Checks, Effort, Subject
from kroton.compile.debugmode.errors import (
    BadDestroyMap,
    BadInplace,
    BadOptimization,
    DebugModeError,
    InvalidValueError,
    source_lines,
)
from kroton.compile.debugmode.recorder import Recorder
from kroton.compile.debugmode.replaced import Replaced, constants
from kroton.compile.debugmode.reproduce import save_case
from kroton.graph.basic import Apply, Variable
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.fg import FunctionGraph, InconsistencyError
from kroton.linking.errors import explain
from kroton.linking.hooks import Hook, Observer
from kroton.linking.kernels import select_kernel
from kroton.linking.linker import Linked, Linker
from kroton.printing import debugprint


@dataclass(frozen=True)
class DebugLinker(Linker):
    """Runs `perform` and kernel of each Apply several times, and everything a rule replaced."""

    checks: Checks = field(default_factory=Checks)
    """Which checks are made."""
    minimize: bool = False
    """Shrink a failing case."""
    directory: str | None = None
    """Where failing cases are saved."""

    name = "debug"

    def link(
        self, fgraph: FunctionGraph, input_cells: Sequence[Cell | None] | None = None,
        updates: Mapping[int, Cell] | None = None, hooks: Sequence[Hook] = (),
    ) -> Linked:  # fmt: skip
        updates = dict(updates or {})
        cells = list(input_cells or [None] * len(fgraph.inputs))
        order = fgraph.toposort()
        check_inplace(fgraph, order)
        watching = [h for h in hooks if _watches_applies(h)]
        observer = Observer(watching, order) if watching else None
        run = CheckedRun(self, fgraph, order, observer)
        n_in, n_out = len(fgraph.inputs), len(fgraph.outputs)
        kernel = CallableKernel(run, n_in, n_out, "DebugMode")
        program = Program(
            [kernel],
            n_in + n_out,
            inputs=[k for k, cell in enumerate(cells) if cell is None],
            outputs=[n_in + k for k in range(n_out) if k not in updates],
            shared=[(cell, k) for k, cell in enumerate(cells) if cell is not None],
            updates=[(cell, n_in + k) for k, cell in updates.items()],
        )
        return Linked(program, order, run.kinds, observer)


def _watches_applies(hook: Hook) -> bool:
    """Whether it listens to each Apply, or reads what has been counted of them."""
    kind = type(hook)
    if not hook.needs_values:
        return True
    return kind.before_apply is not Hook.before_apply or kind.after_apply is not Hook.after_apply


def check_inplace(fgraph: FunctionGraph, order: Sequence[Apply]) -> None:
    """Raise BadInplace if an Apply overwrites what is not its own, or what is read after it.

    Arguments may be overwritten if they are mutable, shared variables if they are updated.
    """
    free = {
        *getattr(fgraph, "mutable_inputs", ()),
        *getattr(fgraph, "updated_inputs", {}).values(),
    }
    handler = DestroyHandler(v for v in fgraph.inputs if v not in free)
    try:
        handler.validate(fgraph)
    except InconsistencyError as error:
        raise BadInplace(_overwritten(str(error), error.node, fgraph)) from error
    position = {node: k for k, node in enumerate(order)}
    for node, readers in handler.orderings(fgraph).items():
        for reader in readers:
            if position[reader] > position[node]:
                problem = f"{node} overwrites what {reader} reads later"
                raise BadInplace(_overwritten(problem, node, fgraph))


def _overwritten(problem: str, node: Apply | None, fgraph: FunctionGraph) -> str:
    graph: str = debugprint(list(fgraph.outputs), print_type=True, file="str")
    text = f"{problem}; the graph is:\n{graph.rstrip()}"
    return text if node is None else f"{text}\n{source_lines(node)}"


class CheckedRun:
    """One call under DebugMode. Values are kept apart, so that nothing is overwritten."""

    def __init__(
        self, options: DebugLinker, fgraph: FunctionGraph, order: list[Apply],
        observer: Observer | None,
    ) -> None:  # fmt: skip
        self.options = options
        self.observer = observer
        self.inputs = list(fgraph.inputs)
        self.outputs = list(fgraph.outputs)
        self.order = order
        chosen = options.checks
        self.subjects = [
            Subject(node, select_kernel(node) if chosen.check_c_code else None) for node in order
        ]
        self.kinds = [
            "py" if s.kernel is None else ("c&py" if chosen.check_py_code else "c")
            for s in self.subjects
        ]
        self.constants = constants([*self.outputs, *(v for node in order for v in node.inputs)])
        self.seen: list[dict[Any, int]] = [{} for _ in order]
        recorder = next((f for f in fgraph.features if isinstance(f, Recorder)), None)
        self.replaced = (
            Replaced(recorder, fgraph, order, chosen.check_c_code) if recorder is not None else None
        )
        if self.replaced is not None:
            self.constants.update(self.replaced.constants)
        self.calls = 0

    def __call__(self, inputs: list[Any], storage: list[list[Any]]) -> None:
        values: dict[Variable, Any] = {**self.constants, **dict(zip(self.inputs, inputs))}
        finite = self.options.checks.check_isfinite
        for v, x in zip(self.inputs, inputs):
            checks.check_value(v, x, "the caller", finite)
        suspect: tuple[InvalidValueError, Apply, list[Any]] | None = None
        for k, node in enumerate(self.order):
            arguments = [values[v] for v in node.inputs]
            if self.observer is not None:
                self.observer.before(k, arguments)
            started = perf_counter()
            try:
                outputs = self._check(k, arguments, values)
            except DebugModeError as error:
                self._save(error, node, arguments)
                raise
            except Exception as error:
                self._blame_rule(values, error)
                explain(error, node, arguments)
                raise
            for v, x in zip(node.outputs, outputs):
                values[v] = x
                if (
                    finite
                    and suspect is None
                    and not node.op.undefined_output
                    and not checks.finite(x)
                ):
                    try:
                        checks.check_value(v, x, "the Apply", True, arguments)
                    except InvalidValueError as error:
                        error.name_operation(node, arguments, lambda a: not checks.finite(a))
                        suspect = error, node, arguments
            if self.observer is not None:
                self.observer.after(k, arguments, outputs, perf_counter() - started)
        if self.replaced is not None:
            self.calls += 1
            try:
                self.replaced.check(values, self.calls & (self.calls - 1) == 0)
            except BadOptimization as error:
                self._save(error, self.replaced.guilty, values)
                raise
            except BadDestroyMap as error:
                self._save(error, error.node, error.inputs)
                raise
        if suspect is not None:
            self._save(*suspect)
            raise suspect[0]
        given = {id(x) for x in inputs}
        for cell, v in zip(storage, self.outputs):
            x = values[v]
            shares = isinstance(x, np.ndarray) and (id(x) in given or not x.flags.writeable)
            cell[0] = x.copy() if shares else x

    def _check(self, k: int, inputs: list[Any], known: Mapping[Variable, Any]) -> list[Any]:
        signature = tuple(
            [(x.shape, x.strides) if isinstance(x, np.ndarray) else None for x in inputs]
        )
        seen = self.seen[k]
        times = seen.get(signature, 0)
        if times or len(seen) < 1000:
            seen[signature] = times + 1
        if times == 0:
            effort = Effort.EVERYTHING
        elif times & (times - 1) == 0:  # the second, third, fifth, ninth, ... time
            effort = Effort.GUARDED
        else:
            effort = Effort.ONCE
        return self.options.checks.run(self.subjects[k], inputs, effort, known)

    def _blame_rule(self, values: Mapping[Variable, Any], error: Exception) -> None:
        """Raise BadOptimization if the graph as it was written does not raise `error`."""
        if self.replaced is None or isinstance(error, Warning):
            return
        try:
            self.replaced.blame(values, error)
        except BadOptimization as found:
            self._save(found, self.replaced.guilty, values)
            raise

    def _save(self, error: DebugModeError, what: Any, values: Any) -> None:
        options = self.options
        save_case(error, what, values, options.checks, options.directory, options.minimize)
