"""The linker of DebugMode: a Program of one step, which runs every Apply in every way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from kroton._kernels.kernel import CallableKernel
from kroton._kernels.program import Cell, Program
from kroton.compile.debugmode import checks
from kroton.compile.debugmode.errors import (
    BadOptimization,
    BadThunkOutput,
    DebugModeError,
    InvalidValueError,
    report,
)
from kroton.compile.debugmode.gradients import check_gradient
from kroton.compile.debugmode.recorder import Recorder, Replacement
from kroton.compile.debugmode.reproduce import save_case
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import toposort
from kroton.linking.errors import explain
from kroton.linking.hooks import Hook, Observer
from kroton.linking.kernels import select_kernel
from kroton.linking.linker import Linked, Linker


@dataclass(frozen=True)
class DebugLinker(Linker):
    """Runs `perform` and kernel of each Apply several times, and everything a rule replaced."""

    check_c_code: bool = True
    check_py_code: bool = True
    check_isfinite: bool = True
    check_preallocated_output: str = "ALL"
    require_matching_strides: int = 0
    check_gradients: bool = False
    minimize: bool = False
    directory: str | None = None

    name = "debug"

    def link(
        self, fgraph: FunctionGraph, input_cells: Sequence[Cell | None] | None = None,
        updates: Mapping[int, Cell] | None = None, hooks: Sequence[Hook] = (),
    ) -> Linked:  # fmt: skip
        updates = dict(updates or {})
        cells = list(input_cells or [None] * len(fgraph.inputs))
        order = fgraph.toposort()
        observer = Observer(hooks, order) if hooks else None
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
        self.kernels = [select_kernel(n) if options.check_c_code else None for n in order]
        self.kinds = [
            "py" if k is None else ("c&py" if options.check_py_code else "c") for k in self.kernels
        ]
        self.seen: list[set[Any]] = [set() for _ in order]
        recorder = next((f for f in fgraph.features if isinstance(f, Recorder)), None)
        self.replacements: list[Replacement] = recorder.replacements if recorder else []
        final = set(order)
        roots = [v for r in self.replacements for v in (r.old, r.new)]
        self.former = [node for node in toposort(roots) if node not in final]

    def __call__(self, inputs: list[Any], storage: list[list[Any]]) -> None:
        values: dict[Variable, Any] = dict(zip(self.inputs, inputs))
        finite = self.options.check_isfinite
        for v, x in zip(self.inputs, inputs):
            checks.check_value(v, x, "the caller", finite)
        suspect: InvalidValueError | None = None
        for k, node in enumerate(self.order):
            arguments = [_value(v, values) for v in node.inputs]
            if self.observer is not None:
                self.observer.before(k, arguments)
            started = perf_counter()
            try:
                outputs = self._check(k, node, arguments)
            except DebugModeError as error:
                self._save(error, node, arguments)
                raise
            except Exception as error:
                explain(error, node, arguments)
                raise
            for v, x in zip(node.outputs, outputs):
                values[v] = x
                if finite and suspect is None:
                    try:
                        checks.check_value(v, x, "the Apply", True)
                    except InvalidValueError as error:
                        suspect = error
            if self.observer is not None:
                self.observer.after(k, arguments, outputs, perf_counter() - started)
        self._check_replacements(values)
        if suspect is not None:
            raise suspect
        given = {id(x) for x in inputs}
        for cell, v in zip(storage, self.outputs):
            x = _value(v, values)
            shares = isinstance(x, np.ndarray) and (id(x) in given or not x.flags.writeable)
            cell[0] = x.copy() if shares else x

    def _check(self, k: int, node: Apply, inputs: list[Any]) -> list[Any]:
        options = self.options
        kernel = self.kernels[k]
        perform = checks.perform_runner(node)
        expected: list[Any] | None = None
        found: list[Any] | None = None
        signature = tuple(
            (x.shape, x.strides) if isinstance(x, np.ndarray) else None for x in inputs
        )
        fresh = signature not in self.seen[k]
        runners = []
        if options.check_py_code or kernel is None:
            expected = checks.check_runs(node, perform, "perform", inputs, False)
            runners.append((perform, "perform"))
        if kernel is not None:
            run = checks.kernel_runner(kernel)
            who = f"kernel {kernel!r}"
            try:
                found = checks.check_runs(node, run, who, inputs, False)
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
        if fresh:
            for runner, who in runners:
                checks.check_layouts(node, runner, who, inputs, outputs)
                if options.check_preallocated_output:
                    checks.check_buffers(
                        node, runner, who, inputs, outputs, options.check_preallocated_output
                    )
                checks.check_threads(node, runner, who, inputs, outputs)
            checks.check_infer_shape(node, inputs, outputs)
            if options.check_gradients:
                check_gradient(node, inputs)
            if len(self.seen[k]) < 1000:
                self.seen[k].add(signature)
        return outputs

    def _check_strides(
        self, node: Apply, expected: Sequence[Any], found: Sequence[Any], who: str
    ) -> None:
        level = self.options.require_matching_strides
        if not level:
            return
        for r, a, b in zip(node.outputs, expected, found):
            if isinstance(a, np.ndarray) and a.strides != b.strides and a.size > 1:
                text = report(node, f"strides {a.strides} from perform, {b.strides} from {who}")
                if level >= 2:
                    raise BadThunkOutput(r, "perform", a, who, b, (), text)
                import warnings

                warnings.warn(text, stacklevel=2)

    def _check_replacements(self, values: dict[Variable, Any]) -> None:
        if not self.replacements:
            return
        for node in self.former:
            try:
                arguments = [_value(v, values) for v in node.inputs]
                destroyed = {i for p in node.op.destroy_map.values() for i in p}
                arguments = [
                    x.copy() if i in destroyed and isinstance(x, np.ndarray) else x
                    for i, x in enumerate(arguments)
                ]
                cells: list[list[Any]] = [[None] for _ in node.outputs]
                node.op.perform(node, arguments, cells)
            except Exception:  # what was replaced may be undefined where its replacement is not
                continue
            for v, cell in zip(node.outputs, cells):
                if cell[0] is not None:
                    values[v] = cell[0]
        for event in self.replacements:
            try:
                old, new = _value(event.old, values), _value(event.new, values)
            except KeyError:
                continue
            if isinstance(new, np.ndarray) and isinstance(old, np.ndarray):
                worse = new.dtype.kind in "fc" and not _at_least_as_finite(old, new)
            else:
                worse = False
            if worse or not checks.close(event.old, old, new, remove_undefined=True):
                error = BadOptimization(
                    event.old, event.new, old, new, event.reason, event.old_graph, event.new_graph
                )
                self._save(error, event, values)
                raise error

    def _save(self, error: DebugModeError, what: Any, values: Any) -> None:
        save_case(error, what, values, self.options.directory, self.options.minimize)


def _at_least_as_finite(old: np.ndarray, new: np.ndarray) -> bool:
    if old.shape != new.shape:
        return True
    return bool((np.isfinite(new) | ~np.isfinite(old)).all())


def _value(v: Variable, values: Mapping[Variable, Any]) -> Any:
    return v.data if isinstance(v, Constant) else values[v]
