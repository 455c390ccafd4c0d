"""Linkers: which implementation runs each Apply, and the Program that results.

`'py'` runs every `perform`; `'c'` insists on a compiled kernel for every Apply; `'c|py'` takes
the kernel where there is one; `'c&py'` runs both and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from kroton._kernels.kernel import CallableKernel, Kernel
from kroton._kernels.program import Cell, Program
from kroton._kernels.workers import set_threads
from kroton.config import watch
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import view_roots
from kroton.linking.errors import explain
from kroton.linking.hooks import Hook, Observer
from kroton.linking.kernels import select_kernel
from kroton.tensor.type import TensorType

watch("threads", set_threads)


class MissingKernelError(NotImplementedError):
    """Linker 'c' found Applys that no compiled kernel serves."""


@dataclass
class Linked:
    """What a linker returns."""

    program: Program
    """Runs the graph."""
    order: list[Apply]
    """The Apply of each kernel, in the order of execution."""
    implementations: list[str]
    """For each Apply 'c' (a compiled kernel), 'py' (its perform) or 'c&py' (both)."""
    observer: Observer | None = None
    """Hands the Program's events to the hooks; None without hooks."""
    storage: dict[Variable, int] = field(default_factory=dict)
    """The cell of each Variable."""


def perform_kernel(node: Apply) -> Kernel:
    """The Python fallback: a kernel that calls the Op's `perform`.

    What a user's `perform` leaves is made what its type declares (a NumPy scalar an array of no
    dimensions), for compiled kernels read it without looking.
    """
    perform = partial(node.op.perform, node)
    tensors = [
        (k, out.type, out.type.numpy_dtype, out.type.ndim)
        for k, out in enumerate(node.outputs)
        if isinstance(out.type, TensorType)
    ]

    def run(inputs: list[Any], storage: list[list[Any]]) -> None:
        perform(inputs, storage)
        for k, declared, dtype, ndim in tensors:
            value = storage[k][0]
            if value is None or (
                type(value) is np.ndarray
                and value.dtype == dtype
                and value.ndim == ndim
                and value.flags.aligned
            ):
                continue
            try:
                storage[k][0] = declared.filter(value)
            except TypeError as error:
                raise TypeError(
                    f"perform of {node.op} left in output {k} what its type "
                    f"{declared} does not allow: {error}"
                ) from None

    return CallableKernel(run, len(node.inputs), len(node.outputs), f"{node.op}.perform")


@dataclass(frozen=True)
class Linker:
    """Chooses an implementation for each Apply and assembles a Program.

    Subclasses give `implement(node)`.
    """

    allow_gc: bool | None = None
    """Drop intermediates after their last reader; None takes `config.allow_gc`."""

    name = "?"

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        """The kernel for `node` and its kind: 'c', 'py' or 'c&py'; None if there is none."""
        raise NotImplementedError(f"{type(self).__name__} does not choose kernels")

    def kernels(self, order: Sequence[Apply]) -> tuple[list[Kernel], list[str]]:
        """An implementation for each Apply.

        Raises
        ------
        MissingKernelError
            Listing the Applys without one.
        """
        kernels: list[Kernel] = []
        kinds: list[str] = []
        missing: list[str] = []
        for node in order:
            kernel, kind = self.implement(node)
            if kernel is None:
                types = ", ".join(str(v.type) for v in node.inputs)
                missing.append(f"  {node.op} on ({types})")
            else:
                kernels.append(kernel)
                kinds.append(kind)
        if missing:
            raise MissingKernelError(
                f"linker {self.name!r} has no compiled kernel for:\n"
                + "\n".join(missing)
                + "\nuse linker='c|py' to run their perform in Python instead"
            )
        return kernels, kinds

    def link(
        self, fgraph: FunctionGraph, input_cells: Sequence[Cell | None] | None = None,
        updates: Mapping[int, Cell] | None = None, hooks: Sequence[Hook] = (),
    ) -> Linked:  # fmt: skip
        """Assemble a Program for `fgraph`.

        Parameters
        ----------
        fgraph : FunctionGraph
        input_cells : sequence, optional
            For each input of the graph the Cell its value is in, or None for an argument.
        updates : mapping from output position to Cell, optional
            Where outputs are stored when a call has succeeded; they are not returned.
        hooks : sequence of Hook, optional
        """
        updates = dict(updates or {})
        cells = list(input_cells or [None] * len(fgraph.inputs))
        order, commit, guards = _schedule(fgraph, cells, updates)
        kernels, kinds = self.kernels(order)

        storage: dict[Variable, int] = {}
        constants: list[tuple[int, Any]] = []
        for v in fgraph.variables:
            if v.owner is None and isinstance(v, Constant):
                constants.append((len(storage), v.data))
                storage[v] = len(storage)
        for v in fgraph.inputs:
            storage.setdefault(v, len(storage))
        for node in order:
            for v in node.outputs:
                storage[v] = len(storage)

        for node, kernel in zip(order, kernels):
            kernel.bind([storage[v] for v in node.inputs], [storage[v] for v in node.outputs])

        program = Program(
            kernels,
            len(storage),
            inputs=[storage[v] for v, cell in zip(fgraph.inputs, cells) if cell is None],
            outputs=[storage[v] for k, v in enumerate(fgraph.outputs) if k not in updates],
            constants=constants,
            shared=[
                (cell, storage[v]) for v, cell in zip(fgraph.inputs, cells) if cell is not None
            ],
            updates=[(cell, storage[fgraph.outputs[k]]) for k, cell in updates.items()],
            drops=_drops(fgraph, order, storage),
            commit=commit,
            guards={
                k: [(storage[order[k].inputs[i]], references) for i, references in entries]
                for k, entries in guards.items()
            },
        )

        def on_error(error: BaseException, position: int, inputs: list[Any]) -> None:
            explain(error, order[position], inputs)
            with suppress(AttributeError):
                error._kroton_node = order[position]  # type: ignore[attr-defined]

        program.on_error = on_error
        program.label = lambda k: f"[{kinds[k]}] {order[k].op} by {kernels[k]!r}"
        linked = Linked(program, order, kinds, None, storage)
        if hooks:
            linked.observer = Observer(hooks, order)
            linked.observer.watch(program)
        return linked


@dataclass(frozen=True)
class PerformLinker(Linker):
    """Linker 'py': every Apply runs its `perform`."""

    name = "py"

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        return perform_kernel(node), "py"


@dataclass(frozen=True)
class CLinker(Linker):
    """Linker 'c': every Apply runs a compiled kernel, or linking fails."""

    name = "c"

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        return select_kernel(node), "c"


@dataclass(frozen=True)
class OpWiseCLinker(Linker):
    """Linker 'c|py': a compiled kernel where there is one, else `perform`."""

    fallback_on_perform: bool = True
    """Whether `perform` may stand in for a missing kernel."""

    name = "c|py"

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        kernel = select_kernel(node)
        if kernel is not None or not self.fallback_on_perform:
            return kernel, "c"
        return perform_kernel(node), "py"


@dataclass(frozen=True)
class DualLinker(Linker):
    """Linker 'c&py': runs kernel and `perform` and raises where they differ."""

    name = "c&py"

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        # Loaded when it is needed: few programs compare, and importing costs.
        from kroton.linking.comparison import ComparingKernel

        kernel = select_kernel(node)
        if kernel is None:
            return perform_kernel(node), "py"
        return ComparingKernel(kernel, perform_kernel(node), node), "c&py"


def _schedule(
    fgraph: FunctionGraph, cells: Sequence[Cell | None], updates: Mapping[int, Cell]
) -> tuple[list[Apply], int, dict[int, list[tuple[int, int]]]]:
    """The order of execution, where the commit section starts, and what is guarded.

    An Apply that writes over memory held by a Cell runs in the commit section if nothing but
    updates needs what it makes and nothing outside that section has to run after it;
    otherwise, in its place, on a copy.
    """
    order = fgraph.toposort()
    if not any(node.op.destroy_map for node in order):
        return order, len(order), {}
    held = {v for v, cell in zip(fgraph.inputs, cells) if cell is not None}
    last: list[tuple[Apply, list[tuple[int, int]]]] = []
    first: list[tuple[Apply, list[tuple[int, int]]]] = []
    followed: set[Apply] = set()
    orderings = fgraph.orderings()
    roots: dict[Variable, list[Variable]] = {}
    for node in order:
        for positions in node.op.destroy_map.values():
            for i in positions:
                view_roots(node.inputs[i], known=roots)
    for node in reversed(order):
        entries: list[tuple[int, int]] = []
        for positions in node.op.destroy_map.values():
            for i in positions:
                if any(root in held for root in roots[node.inputs[i]]):
                    # Its Cell and this frame refer to a shared value that nobody else uses.
                    entries.append((i, 2 if node.inputs[i] in held else 0))
        final = node not in followed and all(
            client == "output" and k in updates
            for out in node.outputs
            for client, k in fgraph.clients(out)
        )
        if entries and final:
            last.append((node, entries))
        else:
            first.append((node, [(i, 0) for i, _ in entries]))
            # What this Apply overwrites must have been read before it.
            followed.update(orderings.get(node, ()))
    first.reverse()
    last.reverse()
    placed = first + last
    guards = {k: entries for k, (_, entries) in enumerate(placed) if entries}
    return [node for node, _ in placed], len(first), guards


def _drops(
    fgraph: FunctionGraph, order: Sequence[Apply], storage: Mapping[Variable, int]
) -> list[list[int]]:
    """For each Apply, the cells that nobody reads after it."""
    keep = set(fgraph.outputs)
    last: dict[Variable, int] = {}
    for k, node in enumerate(order):
        for v in node.outputs:
            last[v] = k
        for v in node.inputs:
            if not isinstance(v, Constant):
                last[v] = k
    drops: list[list[int]] = [[] for _ in order]
    for v, k in last.items():
        if v not in keep:
            drops[k].append(storage[v])
    return drops


predefined_linkers: dict[str | None, Linker] = {
    "py": PerformLinker(),
    "c": CLinker(),
    "c|py": OpWiseCLinker(),
    "c&py": DualLinker(),
}


def register_linker(name: str, linker: Linker) -> None:
    """Make `linker` known under `name`.

    Raises
    ------
    TypeError
        If it is no Linker.
    ValueError
        If the name is taken.
    """
    if not isinstance(linker, Linker):
        raise TypeError(f"register_linker takes a Linker, got {linker!r}")
    if name in predefined_linkers:
        raise ValueError(f"there already is a linker named {name!r}")
    predefined_linkers[name] = linker


def get_linker(linker: Any) -> Linker:
    """A Linker from an object or a name.

    Raises
    ------
    ValueError
        For an unknown name, listing the known ones.
    """
    if isinstance(linker, Linker):
        return linker
    if isinstance(linker, type) and issubclass(linker, Linker):
        return linker()
    try:
        return predefined_linkers[linker]
    except (KeyError, TypeError):
        names = ", ".join(repr(n) for n in predefined_linkers)
        raise ValueError(f"there is no linker {linker!r}; use one of {names}") from None
