"""From variables to a linked Function: collecting shared state, optimizing, linking."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from kroton.compile.aliasing import insert_deepcopy
from kroton.compile.io import In, SymbolicOutput, default_container
from kroton.compile.mode import Mode
from kroton.compile.overwriting import (
    check_as_written,
    guard,
    overwritten_by_own_update,
    release,
)
from kroton.compile.sharedvalue import Container, SharedVariable
from kroton.config import config
from kroton.graph.basic import Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.traversal import ancestors, clone_replace, graph_inputs
from kroton.linking.linker import Linked
from kroton.rewriting import Observers


class UnusedInputError(Exception):
    """An input that no output or update depends on."""


@dataclass
class Specification:
    """What the user asked for, with givens applied: all that is needed to compile (again)."""

    inputs: list[In]
    outputs: list[SymbolicOutput]
    output_keys: list[str] | None
    unpack: str
    updates: list[tuple[SharedVariable, Variable]]
    mode: Mode
    name: str | None
    on_unused_input: str
    containers: dict[Variable, Container] = field(default_factory=dict)
    """The state behind inputs with a default."""
    accept_inplace: bool = False
    """Whether Ops in the expression overwrite their inputs, or copies of them."""
    leaves: list[Variable] | None = None
    """What the expressions depend on that is not computed, where that is known already: finding
    it takes a walk over all of them."""


@dataclass
class FunctionMaker:
    """How a Function was made: `f.maker`."""

    spec: Specification
    """What was asked for."""
    fgraph: FunctionGraph
    """The optimized graph."""
    linked: Linked
    """The Program and what it was made of."""
    shared: list[SharedVariable]
    """The shared variables that the function reads or updates."""
    seconds: dict[str, float]
    """Time spent in each phase of compilation."""

    @property
    def mode(self) -> Mode:
        """The mode it was compiled under."""
        return self.spec.mode

    @property
    def inputs(self) -> list[In]:
        """The inputs with their options."""
        return self.spec.inputs

    @property
    def outputs(self) -> list[SymbolicOutput]:
        """The outputs with their options."""
        return self.spec.outputs

    def written(self) -> FunctionGraph:
        """The graph before any rewrite, made anew from what was asked for."""
        asked = replace(self.spec, on_unused_input="ignore")
        return graph_of(asked).fgraph  # type: ignore[no-any-return]


def substitute(
    expressions: Sequence[Variable], givens: Sequence[tuple[Variable, Variable]],
    strict: bool = True,
) -> list[Variable]:  # fmt: skip
    """`expressions` with each key of `givens` replaced; replacements are substituted as well
    where that ends.

    Raises
    ------
    TypeError
        If a replacement has another type and `strict`; otherwise if an Op refuses it.
    """
    if not givens:
        return list(expressions)
    keys = dict(givens)
    depends = {
        old: [v for v in ancestors([new]) if v in keys and v is not old] for old, new in givens
    }
    order: list[Variable] = []
    waiting = dict.fromkeys(keys)
    while waiting:
        ready = [old for old in waiting if all(d in order for d in depends[old])]
        if not ready:
            return list(clone_replace(list(expressions), keys, strict))
        for old in ready:
            order.append(old)
            del waiting[old]
    done: dict[Variable, Variable] = {}
    for old in order:
        inner = {d: done[d] for d in depends[old]}
        done[old] = clone_replace(keys[old], inner, strict) if inner else keys[old]
    return list(clone_replace(list(expressions), done, strict))


def collect_updates(
    outputs: Sequence[Variable], updates: Sequence[tuple[Any, Any]], no_default_updates: Any
) -> tuple[list[tuple[SharedVariable, Variable]], list[Variable]]:
    """The updates of a call: those given, and the default updates of the shared variables used;
    and what they and `outputs` depend on that is not computed.

    Raises
    ------
    TypeError
        For an update of something that is not shared, or to another type; for a
        `no_default_updates` that is neither a bool nor a list of shared variables.
    ValueError
        For two updates of one variable.
    """
    chosen: dict[SharedVariable, Variable] = {}
    for target, value in updates:
        if not isinstance(target, SharedVariable):
            raise TypeError(
                f"update target must be a shared variable, got {target!r}; "
                "the updates argument takes pairs (shared variable, new value)"
            )
        if target in chosen:
            raise ValueError(f"this shared variable has two updates: {target}")
        try:
            chosen[target] = target.type.filter_variable(value)
        except TypeError as error:
            found = value.type if isinstance(value, Variable) else type(value).__name__
            raise TypeError(
                f"An update must have the same type as the original shared variable "
                f"({target}, of type {target.type}), but the update has type {found}. "
                "If the difference is in the dtype, cast the update; if it is in an extent, "
                f"use T.specify_shape or T.unbroadcast. ({error})"
            ) from None
    leaves = graph_inputs([*outputs, *chosen.values()])
    if no_default_updates is True:
        return list(chosen.items()), leaves
    excluded = _without_default(no_default_updates)
    latest: list[Variable] = leaves
    while latest:
        more = [
            v
            for v in latest
            if isinstance(v, SharedVariable)
            and v.default_update is not None
            and v not in chosen
            and v not in excluded
        ]
        chosen.update((v, v.default_update) for v in more)
        present = set(leaves) if more else set()
        latest = [v for v in graph_inputs([v.default_update for v in more]) if v not in present]
        leaves = leaves + latest
    return list(chosen.items()), leaves


def _without_default(given: Any) -> set[SharedVariable]:
    """The shared variables that `no_default_updates`, which is not True, lists."""
    if given is None or given is False:
        return set()
    listed = [given] if isinstance(given, Variable) else given
    if not isinstance(listed, (list, tuple, set, frozenset)) or not all(
        isinstance(v, SharedVariable) for v in listed
    ):
        raise TypeError(
            f"no_default_updates is True, False or a list of shared variables, got {given!r}"
        )
    return set(listed)


@dataclass
class Written:
    """The graph that a Specification stands for, as its author wrote it."""

    fgraph: Any
    """With `updated_inputs`, `mutable_inputs` and `borrowed_outputs`, which in-place rewrites ask
    for."""
    inputs: dict[Variable, Variable]
    """The user's inputs and shared variables, and those of the graph."""
    shared: list[SharedVariable]
    targets: list[Any]
    """What the last outputs update."""
    overwritable: set[Variable]
    """Inputs that the expression's own Ops may overwrite."""
    guarded: bool
    """Whether what they overwrite is copied first."""


def graph_of(spec: Specification) -> Written:
    """A new FunctionGraph of what `spec` asks for, without any rewrite.

    What Ops of the expression overwrite is copied first.

    Raises
    ------
    InconsistencyError
        With `accept_inplace`, if they overwrite what something else needs.
    UnusedInputError
        Unless `on_unused_input` says otherwise.
    MissingInputError
        If the outputs depend on something that is not known.
    """
    explicit = [i.variable for i in spec.inputs]
    stateful = [(i, i.update) for i in spec.inputs if i.update is not None]
    results = [o.variable for o in spec.outputs]
    update_values = [value for _, value in spec.updates] + [u for _, u in stateful]
    leaves = spec.leaves
    if leaves is None:
        leaves = graph_inputs([*results, *update_values])
    _check_unused(spec, explicit, set(leaves))
    shared = [v for v in leaves if isinstance(v, SharedVariable)]
    present = set(shared)
    shared.extend(v for v, _ in spec.updates if v not in present)

    fgraph: Any = FunctionGraph([*explicit, *shared], [*results, *update_values])
    inputs = dict(zip([*explicit, *shared], fgraph.inputs))
    n_results = len(results)
    targets: list[Any] = [v for v, _ in spec.updates] + [i.variable for i, _ in stateful]
    updated = {n_results + k: inputs[v] for k, v in enumerate(targets)}
    mutable = [inputs[i.variable] for i in spec.inputs if i.mutable and i.value is None]
    overwritable = set(mutable)
    if spec.accept_inplace:
        overwritable |= overwritten_by_own_update(fgraph, updated)
        check_as_written(fgraph, [v for v in fgraph.inputs if v not in overwritable])
    guarded: Any = guard(fgraph, keep_own=spec.accept_inplace)
    guarded.updated_inputs, guarded.mutable_inputs = updated, mutable
    guarded.borrowed_outputs = {k for k, o in enumerate(spec.outputs) if o.borrow}
    return Written(guarded, inputs, shared, targets, overwritable, guarded is not fgraph)


def make(spec: Specification, function_class: Any) -> Any:
    """Compile `spec`.

    Raises
    ------
    UnusedInputError
        Unless `on_unused_input` says otherwise.
    MissingInputError
        If the outputs depend on something that is not known.
    """
    if config.compute_test_value != "off":  # what rules build is no business of the user's
        with config.change_flags(compute_test_value="off"):
            return make(spec, function_class)
    # Nearly all that is allocated from here on stays, and looking for garbage in it, again and
    # again, would take a fifth of the time and grow faster than the graph.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _make(spec, function_class)
    finally:
        if collecting:
            gc.enable()


def _make(spec: Specification, function_class: Any) -> Any:
    started = perf_counter()
    mode = spec.mode
    written = graph_of(spec)
    fgraph, inputs, shared = written.fgraph, written.inputs, written.shared
    updated, targets = fgraph.updated_inputs, written.targets
    for hook in mode.hooks:
        hook.compile_started(fgraph, mode)
    graph_ready = perf_counter()

    observers = [o for o in (hook.rewrite_observer(fgraph) for hook in mode.hooks) if o]
    mode.optimizer.apply(fgraph, Observers(observers) if observers else None)
    for hook in mode.hooks:
        hook.optimizer_finished(fgraph, mode)
    if written.guarded:
        free = written.overwritable | overwritten_by_own_update(fgraph, updated)
        release(fgraph, [v for v in fgraph.inputs if v not in free])
    optimized = perf_counter()

    borrowed_inputs = {inputs[i.variable] for i in spec.inputs if i.borrow}
    insert_deepcopy(fgraph, borrowed_inputs, fgraph.borrowed_outputs, set(updated))

    for item in spec.inputs:
        if item.variable not in spec.containers:
            container = default_container(item)
            if container is not None:
                spec.containers[item.variable] = container
    cells: list[Any] = [
        spec.containers[i.variable].cell if i.implicit else None for i in spec.inputs
    ]
    cells += [v.container.cell for v in shared]
    update_cells = {
        k: (v.container.cell if isinstance(v, SharedVariable) else spec.containers[v].cell)
        for k, v in zip(updated, targets)
    }
    linked = mode.linker.link(fgraph, cells, update_cells, mode.hooks)
    finished = perf_counter()
    seconds = {
        "graph": graph_ready - started,
        "optimizer": optimized - graph_ready,
        "linker": finished - optimized,
    }
    maker = FunctionMaker(spec, fgraph, linked, shared, seconds)
    function = function_class(maker)
    if linked.observer is not None:
        linked.observer.function = function
    for hook in mode.hooks:
        hook.compile_finished(function, seconds)
    return function


def _check_unused(spec: Specification, explicit: Sequence[Variable], used: set[Variable]) -> None:
    action = spec.on_unused_input
    if action == "ignore":
        return
    for item, variable in zip(spec.inputs, explicit):
        if variable in used:
            continue
        message = (
            f"{spec.name or 'function'} was asked to create a function computing outputs given "
            f"certain inputs, but the provided input variable at index "
            f"{explicit.index(variable)} is not part of the computational graph needed to compute "
            f"the outputs: {item.name or variable}. To make this error into a warning or to ignore "
            "it, pass on_unused_input='warn' or 'ignore' to kroton.function."
        )
        if action == "raise":
            raise UnusedInputError(message)
        warnings.warn(message, stacklevel=6)


def chosen_action(on_unused_input: str | None) -> str:
    """What to do with unused inputs: the argument, or `config.on_unused_input`."""
    action = config.on_unused_input if on_unused_input is None else on_unused_input
    if action not in ("raise", "warn", "ignore"):
        raise ValueError(f"on_unused_input is 'raise', 'warn' or 'ignore', not {action!r}")
    return str(action)


def as_pairs(what: str, pairs: Any) -> list[tuple[Any, Any]]:
    """Pairs from a mapping or a sequence of pairs.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if pairs is None:
        return []
    if isinstance(pairs, Mapping):
        return list(pairs.items())
    result = []
    try:
        items = list(pairs)
    except TypeError:
        raise TypeError(f"{what} must be a dict or a list of pairs, got {pairs!r}") from None
    for item in items:
        if isinstance(item, (str, Variable)) or not hasattr(item, "__len__") or len(item) != 2:
            raise TypeError(f"{what} must be a dict or a list of pairs; {item!r} is no pair")
        result.append((item[0], item[1]))
    return result
