"""The state of modules made together: a value for each member, a function for each Method."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kroton.compile.function import Function, function
from kroton.compile.instance import (
    MemberDict,
    MemberList,
    ModuleInstance,
    initialize_with,
    suggestion,
)
from kroton.compile.io import In, SymbolicOutput
from kroton.compile.mode import get_mode
from kroton.compile.module import (
    External,
    Member,
    Method,
    Module,
    components_of,
    has_components,
    items_of,
)
from kroton.compile.sharedvalue import SharedVariable, TensorSharedVariable
from kroton.graph.basic import Constant, Variable
from kroton.graph.traversal import ancestors, clone_replace
from kroton.tensor.type import TensorType


@dataclass
class _Resolved:
    """A Method with its names looked up."""

    path: str
    inputs: list[In]
    outputs: list[SymbolicOutput]
    keys: list[str] | None
    """For outputs that were a dict."""
    unpack: str
    """'none', 'one', 'list' or 'dict'."""
    updates: list[tuple[Variable, Any]]
    mode: Any
    state: list[Variable]
    """The members that it reads or updates."""


class State:
    """What the instances of the modules made together share.

    Parameters
    ----------
    root : Module
        The one that `make` was called on.
    mode : Mode
    """

    def __init__(self, root: Module, mode: Any) -> None:
        self.root = root
        self.mode = mode
        self.shared: dict[Variable, SharedVariable] = {}
        """The value of each member that has one."""
        self.functions: dict[Method, Function] = {}
        self.instances: dict[int, ModuleInstance] = {}
        self.initializing: set[int] = set()
        self.paths: dict[Variable, str] = {}
        """Each Variable found in the modules, and where it was found first."""
        self.arguments: dict[Variable, str] = {}
        """Each Variable that is an argument, and the Method that takes it."""
        self.members: set[Variable] = set()
        """The Variables that are state."""
        self._declared: dict[Variable, set[type | None]] = {}
        self._owners: dict[Method, tuple[str, Module]] = {}
        for path, module, component in components_of(root):
            if isinstance(component, Method):
                self._owners.setdefault(component, (path, module))
                continue
            variable, kind = _declaration(component)
            self.paths.setdefault(variable, path)
            self._declared.setdefault(variable, set()).add(kind)
        self.methods = self._resolve()
        for variable in self.members:
            if isinstance(variable, SharedVariable):
                self.assign(variable, variable.get_value(borrow=True))

    def instance(self, module: Module) -> ModuleInstance:
        """The instance of `module`: always the same object."""
        found = self.instances.get(id(module))
        if found is None:
            found = self.instances[id(module)] = ModuleInstance(self, module)
        return found

    # ---- what there is -----------------------------------------------------------------

    def _resolve(self) -> dict[Method, _Resolved]:
        found = {method: self._names(method) for method in self._owners}
        for resolved in found.values():
            for item in resolved.inputs:
                variable = item.variable
                updated = any(variable is target for target, _ in resolved.updates)
                if updated or Member in self._declared.get(variable, ()):
                    raise TypeError(
                        f"{self._named(resolved)} takes {self._path(variable)!r} as an argument, "
                        f"but {'updates it' if updated else 'it is declared a Member'}, so it is "
                        "state; use another Variable for the argument"
                    )
                self.arguments.setdefault(variable, resolved.path)
        for variable, kinds in self._declared.items():
            if Member in kinds or (
                None in kinds
                and variable not in self.arguments
                and not isinstance(variable, SharedVariable)
            ):
                self.members.add(variable)
        for resolved in found.values():
            self._find_state(resolved)
        return found

    def _names(self, method: Method) -> _Resolved:
        path, module = self._owners[method]

        def look_up(item: Any) -> Any:
            if not isinstance(item, str):
                return item
            value = vars(module).get(item)
            if isinstance(value, (Variable, In)):
                return value
            names = [n for n, v in vars(module).items() if isinstance(v, Variable)]
            raise AttributeError(
                f"method {path!r} refers to {item!r}, but {type(module).__name__} has no Variable "
                f"of that name{suggestion(item, names)}"
            )

        inputs = [
            copy.copy(item) if isinstance(item, In) else In(item)
            for item in map(look_up, method.inputs)
        ]
        keys: list[str] | None = None
        given = method.outputs
        if given is None:
            unpack, listed = "none", []
        elif isinstance(given, dict):
            unpack, keys, listed = "dict", list(given), list(given.values())
        elif isinstance(given, (list, tuple)):
            unpack, listed = "list", list(given)
        else:
            unpack, listed = "one", [given]
        outputs = [
            item if isinstance(item, SymbolicOutput) else SymbolicOutput(item)
            for item in map(look_up, listed)
        ]
        updates = [(look_up(old), look_up(new)) for old, new in method.updates]
        mode = self.mode if method.mode is None else get_mode(method.mode)
        return _Resolved(path, inputs, outputs, keys, unpack, updates, mode, [])

    def _find_state(self, resolved: _Resolved) -> None:
        """Fill `resolved.state`, adding the default updates of members."""
        taken = {item.variable for item in resolved.inputs}
        for target, _ in resolved.updates:
            if target not in self.members and not isinstance(target, SharedVariable):
                raise TypeError(
                    f"{self._named(resolved)} updates {self._path(target)!r}, "
                    f"{self._why_not(target)}"
                )
        values = [o.variable for o in resolved.outputs]
        values += [v for pair in resolved.updates for v in pair if isinstance(v, Variable)]
        values += [item.update for item in resolved.inputs if item.update is not None]
        seen: set[Variable] = set()
        while values:
            roots = [v for v in ancestors(values, blockers=taken) if v.owner is None]
            values = []
            for variable in roots:
                if variable in seen or variable in taken or isinstance(variable, Constant):
                    continue
                seen.add(variable)
                if variable in self.members:
                    resolved.state.append(variable)
                    update = getattr(variable, "default_update", None)
                    if update is not None and all(variable is not t for t, _ in resolved.updates):
                        resolved.updates.append((variable, update))
                        values.append(update)
                elif not isinstance(variable, SharedVariable):
                    raise TypeError(
                        f"{self._named(resolved)} needs the value of {self._path(variable)!r}, "
                        f"{self._why_not(variable)}"
                    )

    def _named(self, resolved: _Resolved) -> str:
        return f"method {resolved.path!r} of {type(self.root).__name__}"

    def _path(self, variable: Variable) -> str:
        return self.paths.get(variable) or str(variable)

    def _why_not(self, variable: Variable) -> str:
        if variable in self.arguments:
            return (
                f"which is an argument of method {self.arguments[variable]!r} and therefore no "
                "state; take it as an input here as well, or use another Variable there"
            )
        if variable.owner is not None:
            return f"which is computed by {variable.owner.op}, not a member"
        if variable in self._declared:
            return (
                "which is declared External, and none of the modules made together has it as a "
                "member"
            )
        return "which is neither an input nor a member: assign it to the module as an attribute"

    # ---- values ------------------------------------------------------------------------

    def read(self, variable: Variable, path: str) -> Any:
        """The value of a member, or of an External shared variable."""
        shared = self.shared.get(variable)
        if shared is None and isinstance(variable, SharedVariable):
            shared = variable
        if shared is not None:
            return shared.get_value(borrow=True)
        if variable in self.members:
            raise AttributeError(f"member {path!r} has no value yet")
        raise AttributeError(f"{path!r} {self._no_state(variable)}")

    def assign(self, variable: Variable, value: Any) -> None:
        """Set the value of a member (to a copy), or of an External shared variable."""
        path = self._path(variable)
        shared = self.shared.get(variable)
        if shared is None and variable not in self.members:
            if not isinstance(variable, SharedVariable):
                raise TypeError(f"{path!r} {self._no_state(variable)}")
            shared = variable
        if isinstance(value, Variable):
            raise TypeError(
                f"member {path!r} needs a value of type {variable.type}, got the symbolic "
                f"variable {value}"
            )
        try:
            fitting = variable.type.filter(copy.deepcopy(value))
        except (TypeError, ValueError) as error:
            raise TypeError(f"member {path!r} of type {variable.type}: {error}") from None
        if shared is not None:
            shared.set_value(fitting, borrow=True)
        else:
            self.shared[variable] = _shared_like(variable, path, fitting)

    def _no_state(self, variable: Variable) -> str:
        if variable in self.arguments:
            return (
                f"is an argument of method {self.arguments[variable]!r}: "
                "it has no value between calls"
            )
        if variable.owner is not None:
            return "is computed: it is an expression of the module, not state"
        if variable in self._declared:
            return "is External, and none of the modules made together has it as a member"
        return "was added to the module after this instance was made"

    def lacking(self, module: Module) -> list[Variable]:
        """The members of `module`, and of the modules below it, that have no value."""
        found = dict.fromkeys(
            _declaration(component)[0]
            for _, _, component in components_of(module)
            if not isinstance(component, Method)
        )
        return [v for v in found if v in self.members and v not in self.shared]

    def finish(self) -> None:
        """Check that every member has a value, and compile every Method."""
        missing = self.lacking(self.root)
        if missing:
            name = self._path(missing[0])
            several = len(missing) > 1
            listed = ", ".join(f"{self._path(v)!r} ({v.type})" for v in missing)
            raise ValueError(
                f"{'members' if several else 'member'} {listed} of "
                f"{type(self.root).__name__} {'have' if several else 'has'} no initial value: "
                f"pass {_hint(name)} to make, or set {'them' if several else 'it'} in "
                "_instance_initialize"
            )
        for method in self.methods:
            self.compiled(method)

    # ---- functions ---------------------------------------------------------------------

    def compiled(self, method: Method) -> Function:
        """The function of a Method."""
        found = self.functions.get(method)
        if found is None:
            resolved = self.methods.get(method)
            if resolved is None:
                raise AttributeError(
                    f"{method!r} was added to the module after this instance was made"
                )
            found = self.functions[method] = self._compile(resolved)
        return found

    def _compile(self, resolved: _Resolved) -> Function:
        missing = [self._path(v) for v in resolved.state if v not in self.shared]
        if missing:
            raise ValueError(
                f"{self._named(resolved)} needs {', '.join(map(repr, missing))}, which "
                f"{'has' if len(missing) == 1 else 'have'} no value yet"
            )
        state = {variable: self.shared[variable] for variable in resolved.state}

        def on_state(value: Any) -> Any:
            return clone_replace([value], state)[0] if isinstance(value, Variable) else value

        inputs = []
        for item in resolved.inputs:
            item = copy.copy(item)
            item.update = on_state(item.update)
            inputs.append(item)
        replaced = clone_replace([o.variable for o in resolved.outputs], state)
        results = [SymbolicOutput(v, o.borrow) for v, o in zip(replaced, resolved.outputs)]
        outputs: Any = {"none": None, "list": results}.get(resolved.unpack)
        if resolved.unpack == "one":
            outputs = results[0]
        elif resolved.unpack == "dict":
            outputs = dict(zip(resolved.keys or (), results))
        updates = [(state.get(old, old), on_state(new)) for old, new in resolved.updates]
        try:
            return function(
                inputs, outputs, mode=resolved.mode, updates=updates, name=resolved.path
            )
        except Exception as error:
            error.add_note(f"while compiling {self._named(resolved)}")
            raise

    # ---- access by what the module has ---------------------------------------------------

    def is_argument(self, value: Any) -> bool:
        """Whether `value` is a Variable without state."""
        if isinstance(value, (Member, External)):
            value = value.variable
        return (
            isinstance(value, Variable)
            and value not in self.members
            and not isinstance(value, SharedVariable)
        )

    def view(self, value: Any, path: str) -> Any:
        """What an instance has in the place of `value`."""
        if isinstance(value, (Member, External)):
            value = value.variable
        if isinstance(value, Variable):
            return self.read(value, path)
        if isinstance(value, Method):
            return self.compiled(value)
        if isinstance(value, Module):
            return self.instance(value)
        if has_components(value):
            kind = MemberDict if isinstance(value, dict) else MemberList
            return kind(self, value, path)
        return value

    def set(self, value: Any, path: str, new: Any) -> None:
        """Assign `new` to what an instance has in the place of `value`."""
        if isinstance(value, (Member, External)):
            value = value.variable
        if isinstance(value, Variable):
            self.assign(value, new)
        elif isinstance(value, Method):
            raise TypeError(f"{path!r} is a method and cannot be assigned")
        elif isinstance(value, Module):
            if not isinstance(new, Mapping):
                raise TypeError(
                    f"{path!r} is a {type(value).__name__}: it takes a dict of the initial "
                    f"values of its members, got {type(new).__name__}"
                )
            initialize_with(self.instance(value), dict(new))
        elif not has_components(value):
            raise TypeError(f"{path!r} is no member: it belongs to the module and is fixed")
        elif isinstance(value, dict):
            if not isinstance(new, Mapping):
                raise TypeError(f"{path!r} takes a dict, got {type(new).__name__}")
            unknown = [key for key in new if key not in value]
            if unknown:
                raise TypeError(f"{path!r} has no {unknown[0]!r}; it has {list(value)}")
            for key, item in new.items():
                self.set(value[key], f"{path}[{key!r}]", item)
        else:
            try:
                items = list(new)
            except TypeError:
                raise TypeError(f"{path!r} takes a list, got {type(new).__name__}") from None
            if len(items) != len(value):
                raise TypeError(f"{path!r} has {len(value)} items, got {len(items)}")
            for (inner, old), item in zip(items_of(value, path), items):
                self.set(old, inner, item)

    def __reduce__(self) -> Any:
        values = [(variable, shared.container.value) for variable, shared in self.shared.items()]
        return (_remake, (self.root, self.mode, values))


def _remake(root: Module, mode: Any, values: Sequence[tuple[Variable, Any]]) -> State:
    state = State(root, mode)
    for variable, value in values:
        state.assign(variable, value)
    state.finish()
    return state


def make_instance(module: Module, mode: Any, initial: dict[str, Any]) -> ModuleInstance:
    """What `Module.make` does."""
    state = State(module, get_mode(mode))
    instance = state.instance(module)
    initialize_with(instance, initial)
    state.finish()
    return instance


def _declaration(component: Any) -> tuple[Variable, type | None]:
    """The Variable of a component, and Member, External or None."""
    if isinstance(component, Variable):
        return component, None
    return component.variable, type(component)


def _shared_like(variable: Variable, name: str, value: Any) -> SharedVariable:
    if isinstance(variable, SharedVariable):
        kind = type(variable)
    else:
        kind = TensorSharedVariable if isinstance(variable.type, TensorType) else SharedVariable
    return kind(name, variable.type, value)


def _hint(path: str) -> str:
    """What to pass to `make` for the member at `path`: `a.w` is `a={'w': ...}`."""
    name, *steps = re.findall(r"\w+|\[[^]]*\]", path)
    value = "..."
    for step in reversed(steps):
        key = step.strip("[]")
        value = "[...]" if key.isdecimal() else f"{{{key if key != step else repr(step)}: {value}}}"
    return f"{name}={value}"
