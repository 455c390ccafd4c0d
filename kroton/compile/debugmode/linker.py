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
from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.errors import (
    BadInplace,
    BadOptimization,
    DebugModeError,
    InvalidValueError,
)
from kroton.compile.debugmode.recorder import Recorder, Replacement
from kroton.compile.debugmode.reproduce import save_case
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.fg import FunctionGraph, InconsistencyError
from kroton.graph.traversal import toposort
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
    warn_input_not_reused: bool = True
    """Warn when an Apply announces in `destroy_map` what it does not do."""

    name = "debug"

    def link(
        self, fgraph: FunctionGraph, input_cells: Sequence[Cell | None] | None = None,
        updates: Mapping[int, Cell] | None = None, hooks: Sequence[Hook] = (),
    ) -> Linked:  # fmt: skip
        updates = dict(updates or {})
        cells = list(input_cells or [None] * len(fgraph.inputs))
        order = fgraph.toposort()
        check_inplace(fgraph, order)
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
        raise BadInplace(f"{error}; the graph is:\n{_printed(fgraph)}") from error
    position = {node: k for k, node in enumerate(order)}
    for node, readers in handler.orderings(fgraph).items():
        for reader in readers:
            if position[reader] > position[node]:
                raise BadInplace(
                    f"{node} overwrites what {reader} reads later; the graph is:\n"
                    + _printed(fgraph)
                )


def _printed(fgraph: FunctionGraph) -> str:
    text: str = debugprint(list(fgraph.outputs), print_type=True, file="str")
    return text.rstrip()


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
        self.kernels = [select_kernel(n) if chosen.check_c_code else None for n in order]
        self.kinds = [
            "py" if k is None else ("c&py" if chosen.check_py_code else "c") for k in self.kernels
        ]
        self.seen: list[set[Any]] = [set() for _ in order]
        recorder = next((f for f in fgraph.features if isinstance(f, Recorder)), None)
        self.replacements: list[Replacement] = recorder.replacements if recorder else []
        final = set(order)
        roots = [v for r in self.replacements for v in (r.old, r.new)]
        self.former = [node for node in toposort(roots) if node not in final]

    def __call__(self, inputs: list[Any], storage: list[list[Any]]) -> None:
        values: dict[Variable, Any] = dict(zip(self.inputs, inputs))
        finite = self.options.checks.check_isfinite
        for v, x in zip(self.inputs, inputs):
            checks.check_value(v, x, "the caller", finite)
        suspect: tuple[InvalidValueError, Apply, list[Any]] | None = None
        for k, node in enumerate(self.order):
            arguments = [_value(v, values) for v in node.inputs]
            if self.observer is not None:
                self.observer.before(k, arguments)
            started = perf_counter()
            try:
                outputs = self._check(k, node, arguments, values)
            except DebugModeError as error:
                self._save(error, node, arguments)
                raise
            except Exception as error:
                explain(error, node, arguments)
                raise
            for v, x in zip(node.outputs, outputs):
                values[v] = x
                if finite and suspect is None and not node.op.undefined_output:
                    try:
                        checks.check_value(v, x, "the Apply", True)
                    except InvalidValueError as error:
                        suspect = error, node, arguments
            if self.observer is not None:
                self.observer.after(k, arguments, outputs, perf_counter() - started)
        self._check_replacements(values)
        if suspect is not None:
            self._save(*suspect)
            raise suspect[0]
        given = {id(x) for x in inputs}
        for cell, v in zip(storage, self.outputs):
            x = _value(v, values)
            shares = isinstance(x, np.ndarray) and (id(x) in given or not x.flags.writeable)
            cell[0] = x.copy() if shares else x

    def _check(
        self, k: int, node: Apply, inputs: list[Any], known: Mapping[Variable, Any]
    ) -> list[Any]:
        signature = tuple(
            (x.shape, x.strides) if isinstance(x, np.ndarray) else None for x in inputs
        )
        fresh = signature not in self.seen[k]
        outputs = self.options.checks.run(node, self.kernels[k], inputs, fresh, known)
        if fresh and len(self.seen[k]) < 1000:
            self.seen[k].add(signature)
        return outputs

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
        options = self.options
        save_case(error, what, values, options.checks, options.directory, options.minimize)


def _at_least_as_finite(old: np.ndarray, new: np.ndarray) -> bool:
    if old.shape != new.shape:
        return True
    return bool((np.isfinite(new) | ~np.isfinite(old)).all())


def _value(v: Variable, values: Mapping[Variable, Any]) -> Any:
    return v.data if isinstance(v, Constant) else values[v]
