"""function: from symbolic inputs and outputs to a callable."""

from __future__ import annotations

import copy as copying
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kroton._kernels.program import Entry, ObservedEntry, Timings
from kroton.compile.io import In, SymbolicOutput
from kroton.compile.maker import (
    FunctionMaker,
    Specification,
    as_pairs,
    chosen_action,
    collect_updates,
    make,
    substitute,
)
from kroton.compile.mode import Mode, get_mode
from kroton.compile.overwriting import overwritten_among
from kroton.compile.sharedvalue import Container, SharedVariable
from kroton.config import config
from kroton.graph.basic import Constant, Variable
from kroton.graph.traversal import clone_replace
from kroton.linking.hooks import Hook
from kroton.printing import debugprint
from kroton.tensor.constant import as_tensor_variable
from kroton.tensor.type import TensorType


class Function(Entry):  # type: ignore[misc]
    """A compiled function: call it on arrays. Made by `kroton.function`.

    Arguments are positional, keywords or defaults. Arrays of the exact type are used as they
    are; others are converted if that loses nothing. `f[variable_or_name]` reads and assigns
    the value behind an input with a default or a shared variable; so does `f.value[...]`.

    Attributes
    ----------
    maker : FunctionMaker
        How it was made: `f.maker.fgraph` is the optimized graph.
    name : str or None
    """

    def __init__(self, maker: FunctionMaker) -> None:
        spec = maker.spec
        self.maker = maker
        self.name = spec.name
        self.profile: Any = None
        self._explicit = [i for i in spec.inputs if not i.implicit]
        self._by_name = {i.name: k for k, i in enumerate(self._explicit) if i.name is not None}
        if len(self._by_name) < sum(i.name is not None for i in self._explicit):
            names = [i.name for i in self._explicit]
            twice = {n for n in names if n is not None and names.count(n) > 1}
            self._by_name = {n: k for n, k in self._by_name.items() if n not in twice}
            self._twice = twice
        else:
            self._twice = set()
        self._overwritten: list[int] = []
        if any(item.mutable for item in spec.inputs):
            places = [v for v, item in zip(maker.fgraph.inputs, spec.inputs) if not item.implicit]
            self._overwritten = overwritten_among(places, maker.linked.order)
        slots: list[Any] = []
        for item in self._explicit:
            type_ = item.variable.type
            if self._overwritten:
                slots.append(None)
            elif isinstance(type_, TensorType):
                slots.append((type_.numpy_dtype.num, type_.shape))
            else:
                slots.append(None)
        super().__init__(maker.linked.program, slots, spec.unpack)

    # ---- calling -----------------------------------------------------------------------

    def convert(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The arguments as a tuple of arrays that fit."""
        explicit = self._explicit
        if len(args) > len(explicit):
            raise TypeError(
                f"{self._called} takes {len(explicit)} argument(s), got {len(args)}: "
                f"{self._signature()}"
            )
        values: list[Any] = list(args) + [_missing] * (len(explicit) - len(args))
        for name, value in kwargs.items():
            position = self._by_name.get(name)
            if position is None:
                if name in self._twice:
                    raise TypeError(
                        f"{self._called}: several inputs are named {name!r}; pass them by position"
                    )
                raise TypeError(f"{self._called} has no input named {name!r}: {self._signature()}")
            if values[position] is not _missing:
                raise TypeError(f"{self._called} got two values for input {name!r}")
            values[position] = value
        containers = self.maker.spec.containers
        for k, item in enumerate(explicit):
            if values[k] is _missing:
                container = containers.get(item.variable)
                if container is None:
                    missing = [
                        str(i.name or i.variable)
                        for i, v in zip(explicit, values)
                        if v is _missing and i.variable not in containers
                    ]
                    raise TypeError(
                        f"{self._called}: missing required input(s) {', '.join(missing)}: "
                        f"{self._signature()}"
                    )
                values[k] = container.value
                continue
            try:
                values[k] = item.variable.type.filter(
                    values[k], strict=item.strict, allow_downcast=item.allow_downcast
                )
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"Bad input argument to {self._called} at position {k} "
                    f"({item.name or item.variable}): {error}"
                ) from None
        for k in self._overwritten:
            type_ = explicit[k].variable.type
            if any(
                i != k and type_.may_share_memory(values[k], other)
                for i, other in enumerate(values)
            ):
                values[k] = values[k].copy()
        return tuple(values)

    def finish(self, results: list[Any]) -> Any:
        """The results as a dict, for functions whose outputs were one."""
        return dict(zip(self.maker.spec.output_keys or (), results))

    @property
    def _called(self) -> str:
        return f"function {self.name!r}" if self.name else "this function"

    def _signature(self) -> str:
        containers = self.maker.spec.containers
        parts = []
        for item in self._explicit:
            text = f"{item.name or item.variable}: {item.variable.type}"
            parts.append(f"[{text}]" if item.variable in containers else text)
        return f"inputs are ({', '.join(parts)})"

    # ---- state -------------------------------------------------------------------------

    def _container(self, key: Any) -> Container:
        spec = self.maker.spec
        if isinstance(key, str):
            found = [c for v, c in self._containers() if _name_of(v, spec) == key]
        elif isinstance(key, In):
            found = [c for v, c in self._containers() if v is key.variable]
        else:
            found = [c for v, c in self._containers() if v is key]
        if len(found) == 1:
            return found[0]
        names = sorted(str(_name_of(v, spec) or v) for v, _ in self._containers())
        problem = "several values are" if found else "no value is"
        raise KeyError(f"{problem} known as {key!r}; there are: {', '.join(names) or 'none'}")

    def _containers(self) -> Iterator[tuple[Variable, Container]]:
        yield from self.maker.spec.containers.items()
        for variable in self.maker.shared:
            yield variable, variable.container

    def __getitem__(self, key: Any) -> Any:
        return self._container(key).value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._container(key).value = value

    def __contains__(self, key: Any) -> bool:
        try:
            self._container(key)
        except KeyError:
            return False
        return True

    @property
    def value(self) -> Function:
        """`f.value[key]` is `f[key]`, as in the lineage."""
        return self

    @property
    def container(self) -> _Containers:
        """`f.container[key]` is the Container behind an input with a default or shared variable."""
        return _Containers(self)

    def get_shared(self) -> list[SharedVariable]:
        """The shared variables that the function reads or updates."""
        return list(self.maker.shared)

    def dprint(self, **options: Any) -> Any:
        """Print the optimized graph as a tree; options are those of `kroton.debugprint`."""
        return debugprint(self, **options)

    def free(self) -> None:
        """Release memory kept between calls (the lineage's name; nothing is kept per function)."""

    # ---- copies ------------------------------------------------------------------------

    def copy(
        self, share_memory: bool = False, swap: Mapping[Any, Any] | None = None,
        delete_updates: bool = False, name: str | None = None, profile: Any = None,
    ) -> Function:  # fmt: skip
        """Another function of the same expression.

        Parameters
        ----------
        share_memory : bool
            Whether the copy uses the same values behind inputs with defaults. Shared variables
            are shared in any case, unless swapped.
        swap : dict from shared variable (or its name) to shared variable, optional
            Replace shared variables.
        delete_updates : bool
            Leave out the updates.
        name : str, optional
            By default the name with " copy" appended.
        profile : bool or ProfileStats, optional
            As in `function`. None: the copy counts where this function does.
        """
        spec = self.maker.spec
        mode = spec.mode if profile is None else _profiled(spec.mode, profile)
        exchange: dict[Variable, Variable] = {}
        for old, new in (swap or {}).items():
            if isinstance(old, str):
                named = [v for v in self.maker.shared if v.name == old]
                if len(named) != 1:
                    raise ValueError(f"{len(named)} shared variables are named {old!r}")
                old = named[0]
            if old not in self.maker.shared:
                raise ValueError(f"{old} is not a shared variable of {self._called}")
            if not isinstance(new, SharedVariable):
                raise TypeError(f"{old} can be swapped for a shared variable only, got {new!r}")
            if not old.type.in_same_class(new.type):
                raise TypeError(f"{old} of type {old.type} cannot be swapped for {new.type}")
            exchange[old] = new
        values = [o.variable for o in spec.outputs] + [value for _, value in spec.updates]
        item_updates = [i.update for i in spec.inputs if i.update is not None]
        replaced = list(clone_replace(values + item_updates, exchange))
        n = len(spec.outputs)
        outputs = [SymbolicOutput(v, o.borrow) for v, o in zip(replaced[:n], spec.outputs)]
        updates: list[tuple[Any, Variable]] = []
        if not delete_updates:
            targets = [exchange.get(v, v) for v, _ in spec.updates]
            updates = list(zip(targets, replaced[n : n + len(targets)]))
        waiting = iter(replaced[len(values) :])
        inputs = []
        containers = dict(spec.containers)
        for item in spec.inputs:
            twin = copying.copy(item)
            if item.update is not None:
                update = next(waiting)
                twin.update = None if delete_updates else update
            if not share_memory and item.variable in containers:
                containers[item.variable] = copying.deepcopy(containers[item.variable])
            inputs.append(twin)
        again = Specification(
            inputs, outputs, spec.output_keys, spec.unpack, updates, mode,
            name or (f"{self.name} copy" if self.name else None), "ignore", containers,
            spec.accept_inplace,
        )  # fmt: skip
        kind = ObservedFunction if mode.hooks and not spec.mode.hooks else type(self)
        return make(again, kind)  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        twin = _remake(type(self), copying.deepcopy(_state(self), memo))
        memo[id(self)] = twin
        return twin

    def __copy__(self) -> Function:
        return self.copy()

    def __reduce__(self) -> Any:
        return (_remake, (type(self), _state(self)))

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"<kroton function{named}: {self._signature()}>"


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


_missing = _Missing()


class _Containers:
    def __init__(self, function: Function) -> None:
        self._function = function

    def __getitem__(self, key: Any) -> Container:
        return self._function._container(key)

    def __len__(self) -> int:
        return len(list(self._function._containers()))


class ObservedFunction(ObservedEntry, Function):  # type: ignore[misc]
    """A Function whose mode has hooks: they are told of each call.

    Attributes
    ----------
    timings : Timings
        How often and how long the function and each of its Applys have run.
    """

    def __init__(self, maker: FunctionMaker) -> None:
        Function.__init__(self, maker)
        observer = maker.linked.observer
        self.timings = Timings(len(maker.linked.order)) if observer is None else observer.timings
        self.starters = self._listeners("call_started")
        self.finishers = self._listeners("call_finished")
        self.failers = self._listeners("call_failed")

    # An extension type has one of its own, which comes first.
    __reduce__ = Function.__reduce__

    def _listeners(self, event: str) -> tuple[Any, ...]:
        """What to call on an event: the methods that do something."""
        return tuple(
            getattr(hook, event)
            for hook in self.maker.mode.hooks
            if getattr(type(hook), event, None) is not getattr(Hook, event)
        )


def _name_of(variable: Variable, spec: Specification) -> str | None:
    for item in spec.inputs:
        if item.variable is variable:
            return item.name
    return variable.name


def _state(function: Function) -> dict[str, Any]:
    spec = function.maker.spec
    return {
        "outputs": [(o.variable, o.borrow) for o in spec.outputs],
        "inputs": spec.inputs,
        "output_keys": spec.output_keys,
        "unpack": spec.unpack,
        "updates": spec.updates,
        "mode": spec.mode,
        "name": spec.name,
        "containers": list(spec.containers.items()),
        "accept_inplace": spec.accept_inplace,
    }


def _remake(cls: Any, state: dict[str, Any]) -> Function:
    spec = Specification(
        state["inputs"],
        [SymbolicOutput(v, borrow) for v, borrow in state["outputs"]],
        state["output_keys"],
        state["unpack"],
        state["updates"],
        state["mode"],
        state["name"],
        "ignore",
        dict(state["containers"]),
        state["accept_inplace"],
    )
    return make(spec, cls)  # type: ignore[no-any-return]


def function(
    inputs: Any, outputs: Any = None, mode: Any = None, updates: Any = None, givens: Any = None,
    no_default_updates: Any = False, accept_inplace: bool = False, name: str | None = None,
    rebuild_strict: bool = True, allow_input_downcast: bool | None = None, profile: Any = None,
    on_unused_input: str | None = None,
) -> Function:  # fmt: skip
    """Compile a callable that computes `outputs` from `inputs`.

    Parameters
    ----------
    inputs : Variable, In, or a list or tuple of them
        The arguments of a call, in order; a Variable's name is its keyword.
    outputs : Variable, Out, a list or tuple or dict (from string) of them, or None
        What a call returns: one array, a list, a dict, or None.
    mode : Mode or str, optional
        "FAST_RUN" (the default of `config.mode`), "FAST_COMPILE", "DEBUG_MODE",
        "PROFILE_MODE", or a Mode.
    updates : dict or pairs (shared variable, new value), optional
        Done together when a call has succeeded; when it fails, none is.
    givens : dict or pairs (Variable, replacement), optional
        Replaced in outputs and updates before compiling.
    no_default_updates : bool or list of shared variables
        Whether, or for which, `default_update` is ignored.
    accept_inplace : bool
        What becomes of Ops in the expression that overwrite an input (a `destroy_map`). False:
        results are as if they did not, and no argument is changed, for what they overwrite is
        copied first unless nothing else needs it. True: the expression is taken at its word,
        what reads a value runs before what overwrites it, a shared variable may be overwritten
        by its own update; an InconsistencyError says where something else needs the value.
        Arguments are overwritten only if they are `In(..., mutable=True)`, in either case.
    name : str, optional
        For messages and profiles.
    rebuild_strict : bool
        Whether givens must have the type of what they replace. Otherwise the Ops that use them
        are applied anew, and the results may have other types as well.
    allow_input_downcast : bool, optional
        Whether arguments may lose precision; None allows it for Python floats.
    profile : bool or ProfileStats, optional
        Profile this function: `f.profile` holds the result, a new ProfileStats or the one
        given, whatever the mode counts besides. None takes `config.profile`, which adds nothing
        to a mode that profiles already.
    on_unused_input : {'raise', 'warn', 'ignore'}, optional
        For inputs that nothing depends on; `config.on_unused_input` by default.

    Returns
    -------
    Function

    Raises
    ------
    UnusedInputError, MissingInputError, InconsistencyError, TypeError, ValueError
        For inputs and outputs that do not fit together, each saying what and where.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], 10 * x)
    >>> f([1, 2, 3])
    array([10., 20., 30.])
    """
    chosen = _profiled(get_mode(mode), profile)
    if name is not None and not isinstance(name, str):
        raise TypeError(f"a function's name must be a string, got {name!r}")
    if not isinstance(inputs, (list, tuple)):
        inputs = [] if inputs is None else [inputs]
    items: list[In] = []
    for k, given in enumerate(inputs):
        if isinstance(given, In):
            item = given
            if allow_input_downcast is not None and item.allow_downcast is None:
                item = copying.copy(item)
                item.allow_downcast = allow_input_downcast
        elif isinstance(given, Variable):
            if isinstance(given, Constant):
                raise TypeError(f"input {k} is the constant {given}; a constant is no input")
            item = In(given, allow_downcast=allow_input_downcast)
        else:
            raise TypeError(
                f"input {k} must be a Variable or an In, got {given!r} of type "
                f"{type(given).__name__}"
            )
        if item.variable.owner is not None:
            raise ValueError(
                f"input {k}, {item.variable}, is computed by {item.variable.owner.op}; to give a "
                "value for it, use givens={...} with a new Variable of its type"
            )
        items.append(item)
    variables: set[Variable] = set()
    for item in items:
        if item.variable in variables:
            raise ValueError(f"the variable {item.variable} is listed twice among the inputs")
        variables.add(item.variable)

    keys: list[str] | None = None
    if outputs is None:
        unpack, listed = "none", []
    elif isinstance(outputs, dict):
        for key in outputs:
            if not isinstance(key, str):
                raise TypeError(f"the keys of outputs must be strings, got {key!r}")
        keys = sorted(outputs)
        unpack, listed = "finish", [outputs[key] for key in keys]
    elif isinstance(outputs, (list, tuple)):
        unpack, listed = "list", list(outputs)
    else:
        unpack, listed = "one", [outputs]
    results = [
        o if isinstance(o, SymbolicOutput) else SymbolicOutput(_as_output(o)) for o in listed
    ]

    replacements = as_pairs("givens", givens)
    pairs: list[tuple[Variable, Variable]] = []
    given_for: set[Variable] = set()
    for old, new in replacements:
        if not isinstance(old, Variable):
            raise TypeError(f"givens: {old!r} is not a Variable")
        if old in variables:
            raise ValueError(f"givens replaces the input {old}; drop one of the two")
        if old in given_for:
            raise ValueError(f"givens replaces {old} twice")
        given_for.add(old)
        try:
            pairs.append(
                (old, old.type.filter_variable(new) if rebuild_strict else as_tensor_variable(new))
            )
        except TypeError as error:
            raise TypeError(f"givens for {old} of type {old.type}: {error}") from None

    collected, leaves = collect_updates(
        [o.variable for o in results], as_pairs("updates", updates), no_default_updates
    )
    values = [o.variable for o in results] + [value for _, value in collected]
    values += [item.update for item in items if item.update is not None]
    if pairs:
        values = substitute(values, pairs, rebuild_strict)
        n = len(results)
        results = [SymbolicOutput(v, o.borrow) for v, o in zip(values[:n], results)]
        collected = [(s, v) for (s, _), v in zip(collected, values[n:])]
        waiting = iter(values[n + len(collected) :])
        items = [
            _with_update(item, next(waiting)) if item.update is not None else item for item in items
        ]
        collected, leaves = collect_updates(
            [o.variable for o in results], collected, no_default_updates
        )
    own_updates = [item.update for item in items if item.update is not None]
    spec = Specification(
        items, results, keys, unpack, collected, chosen, name, chosen_action(on_unused_input),
        accept_inplace=accept_inplace, leaves=None if own_updates else leaves,
    )  # fmt: skip
    return make(spec, ObservedFunction if chosen.hooks else Function)  # type: ignore[no-any-return]


def _profiled(mode: Mode, profile: Any) -> Mode:
    if profile is False or (profile is None and not config.profile):
        return mode
    from kroton.compile.profiling import ProfileStats, profile_for

    if profile is None and any(isinstance(hook, ProfileStats) for hook in mode.hooks):
        return mode  # the same calls counted by two profiles would be summed at exit
    stats = profile_for(profile)
    # The last one is `f.profile`.
    others = [hook for hook in mode.hooks if hook is not stats]
    return mode.clone(hooks=(*others, stats))  # type: ignore[no-any-return]


def _with_update(item: In, update: Variable) -> In:
    twin = copying.copy(item)
    twin.update = update
    return twin


def _as_output(output: Any) -> Variable:
    if isinstance(output, Variable):
        return output
    try:
        return as_tensor_variable(output)  # type: ignore[no-any-return]
    except TypeError:
        raise TypeError(
            f"an output must be a Variable, got {output!r} of type {type(output).__name__}"
        ) from None


def compile_for_evaluation(
    inputs: Sequence[Variable], outputs: Sequence[Variable], mode: Any = None,
    on_unused_input: str = "ignore",
) -> Function:  # fmt: skip
    """What `Variable.eval` and `verify_grad` compile with.

    An "input" that is computed or shared is replaced by a fresh Variable of its type.
    """
    fresh: list[Variable] = []
    givens: list[tuple[Variable, Variable]] = []
    for variable in inputs:
        if variable.owner is None and not isinstance(variable, (Constant, SharedVariable)):
            fresh.append(variable)
        else:
            stand_in = variable.type.make_variable(variable.name)
            fresh.append(stand_in)
            givens.append((variable, stand_in))
    return function(fresh, list(outputs), mode=mode, givens=givens, on_unused_input=on_unused_input)


__all__ = ["Function", "Mode", "ObservedFunction", "compile_for_evaluation", "function"]
