"""Instances of modules: values for the members, compiled functions for the Methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kroton.compile.module import (
    External,
    Member,
    Method,
    Module,
    has_components,
    is_component,
    items_of,
    named_components,
)
from kroton.graph.basic import Variable

if TYPE_CHECKING:
    from kroton.compile.modulestate import State


class ModuleInstance:
    """A module with values for its members and functions for its Methods.

    `inst.member` is the value itself, not a copy (a later call may replace it); assigning to
    it checks the type and takes a copy. `inst.method(...)` is a `kroton.Function`. Made by
    `Module.make`; printing, copying and pickling it keep the state.
    """

    _kroton_module: Module
    _kroton_state: State

    def __init__(self, state: State, module: Module) -> None:
        object.__setattr__(self, "_kroton_state", state)
        object.__setattr__(self, "_kroton_module", module)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module, state = self._kroton_module, self._kroton_state
        value = vars(module).get(name)
        shared = state.shared.get(value) if isinstance(value, Variable) else None
        if shared is not None:
            return shared.container.value
        if has_components(value):
            found = state.view(value, name)
            if isinstance(value, (Method, Module)):
                # They never change, and are what is asked for most.
                self.__dict__[name] = found
            return found
        method = getattr(type(module), f"_instance_{name}", None)
        if method is not None:
            return partial(method, module, self)
        raise AttributeError(self._unknown(name))

    def __setattr__(self, name: str, value: Any) -> None:
        attributes = vars(self._kroton_module)
        if name not in attributes or not has_components(attributes[name]):
            raise AttributeError(self._unknown(name))
        self._kroton_state.set(attributes[name], name, value)

    def _unknown(self, name: str) -> str:
        module = self._kroton_module
        names = list(named_components(module))
        kind = type(module).__name__
        if isinstance(vars(module).get(name), Variable):
            return f"{name!r} is computed: it is an expression of {kind}, not state"
        if name in vars(module):
            return f"{name!r} is an attribute of {kind} alone, which instances do not have"
        return f"{kind} has no member {name!r}{suggestion(name, names)}"

    def __dir__(self) -> list[str]:
        methods = [n.removeprefix("_instance_") for n in dir(type(self._kroton_module))
                   if n.startswith("_instance_")]  # fmt: skip
        return sorted({*object.__dir__(self), *named_components(self._kroton_module), *methods})

    def __reduce__(self) -> Any:
        return (_instance_of, (self._kroton_state, self._kroton_module))

    def __repr__(self) -> str:
        parts = [
            f"{name} = {_short(self._kroton_state, value)}"
            for name, value in named_components(self._kroton_module).items()
            if not self._kroton_state.is_argument(value)
        ]
        return f"<instance of {type(self._kroton_module).__name__}: {', '.join(parts)}>"

    def __str__(self) -> str:
        lines = [f"instance of {type(self._kroton_module).__name__}"]
        return "\n".join([*lines, *_lines(self, "  ", [])])


class MemberList(Sequence[Any]):
    """A list or tuple of members: reading an item gives its value, assigning sets it."""

    def __init__(self, state: State, items: Sequence[Any], path: str) -> None:
        self._state = state
        self._items = items
        self._path = path

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        return self._state.view(self._items[index], f"{self._path}[{index}]")

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            chosen: Any = self._items[index]
            self._state.set(list(chosen), self._path, value)
        else:
            self._state.set(self._items[index], f"{self._path}[{index}]", value)

    def __repr__(self) -> str:
        return _short(self._state, self._items)


class MemberDict(Mapping[Any, Any]):
    """A dict of members: reading an item gives its value, assigning sets it."""

    def __init__(self, state: State, items: Mapping[Any, Any], path: str) -> None:
        self._state = state
        self._items = items
        self._path = path

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __getitem__(self, key: Any) -> Any:
        return self._state.view(self._items[key], f"{self._path}[{key!r}]")

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self._items:
            raise KeyError(f"{self._path} has no {key!r}; it has {list(self._items)}")
        self._state.set(self._items[key], f"{self._path}[{key!r}]", value)

    def __repr__(self) -> str:
        return _short(self._state, self._items)


def _instance_of(state: State, module: Module) -> ModuleInstance:
    return state.instance(module)


def initialize(instance: ModuleInstance, initial: Mapping[str, Any]) -> None:
    """What `Module._instance_initialize` does."""
    module, state = instance._kroton_module, instance._kroton_state
    names = named_components(module)
    for name, value in initial.items():
        if name not in names:
            raise TypeError(f"make: {instance._unknown(name)}")
        state.set(names[name], name, value)
    for name, value in names.items():
        if name not in initial:
            for inner in _modules_in(value):
                if state.lacking(inner):
                    initialize_with(state.instance(inner), {})


def initialize_with(instance: ModuleInstance, initial: dict[str, Any]) -> None:
    """Run the module's `_instance_initialize`, once at a time if modules contain each other."""
    module, state = instance._kroton_module, instance._kroton_state
    if id(module) in state.initializing:
        return
    state.initializing.add(id(module))
    try:
        module._instance_initialize(instance, **initial)
    finally:
        state.initializing.discard(id(module))


def _modules_in(value: Any) -> Iterator[Module]:
    if isinstance(value, Module):
        yield value
    elif has_components(value) and not is_component(value):
        for _, item in items_of(value, ""):
            yield from _modules_in(item)


def _short(state: State, value: Any) -> str:
    """What an instance has in the place of `value`, in a few symbols."""
    if isinstance(value, (Member, External)):
        value = value.variable
    if isinstance(value, Method):
        return (
            f"method({', '.join(str(i.name or i.variable) for i in state.methods[value].inputs)})"
        )
    if isinstance(value, Module):
        return f"<instance of {type(value).__name__}>"
    if isinstance(value, dict) and has_components(value):
        return f"{{{', '.join(f'{k!r}: {_short(state, v)}' for k, v in value.items())}}}"
    if type(value) in (list, tuple) and has_components(value):
        return f"[{', '.join(_short(state, item) for item in value)}]"
    if not isinstance(value, Variable):
        return repr(value)
    if state.is_argument(value):
        return f"<argument {value}>"
    try:
        content = state.read(value, "")
    except AttributeError:
        return "<no value>"
    if isinstance(content, np.ndarray) and content.size > 6:
        return f"<{content.dtype}, shape {content.shape}>"
    return " ".join(repr(content).split())


def _lines(instance: ModuleInstance, indent: str, above: Sequence[Module]) -> list[str]:
    module, state = instance._kroton_module, instance._kroton_state
    above = [*above, module]
    lines: list[str] = []

    def describe(name: str, value: Any) -> None:
        if isinstance(value, Module):
            lines.append(f"{indent}{name}: {type(value).__name__}")
            if any(value is known for known in above):
                lines[-1] += " (shown above)"
            else:
                lines.extend(_lines(state.instance(value), indent + "  ", above))
        elif isinstance(value, Method):
            lines.append(f"{indent}{name}{_short(state, value).removeprefix('method')}")
        elif has_components(value) and not is_component(value):
            for path, item in items_of(value, name):
                describe(path, item)
        elif not state.is_argument(value):
            lines.append(f"{indent}{name} = {_short(state, value)}")

    for name, value in named_components(module).items():
        describe(name, value)
    return lines


def suggestion(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: what is close, or what there is."""
    import difflib

    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names)}" if names else ""
