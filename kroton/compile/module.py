"""Module: state and the functions that share it, described symbolically.

A Module is to an instance what a graph is to a function. `Module.make` gives each symbolic
member a value of its own and compiles each Method; what results is a `ModuleInstance`
(`kroton.compile.instance`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kroton.compile.io import In, SymbolicOutput
from kroton.compile.maker import as_pairs
from kroton.compile.mode import get_mode
from kroton.graph.basic import Constant, Variable
from kroton.printing import pp

_RESERVED = ("make", "mode", "pretty")


class Member:
    """Declares that a variable is state, whatever else the module does with it.

    A Variable that is assigned to a module without `Member` is state as well, unless a Method
    takes it as an argument. What `Member` adds: a Method that takes it as an argument is
    refused, and a shared variable becomes the initial value of a state that each instance has
    for itself (without `Member` it keeps its one value, which all instances use).

    Parameters
    ----------
    variable : Variable
        One that nothing computes.

    Raises
    ------
    TypeError
        For a constant, a computed Variable, or something else.
    """

    def __init__(self, variable: Variable) -> None:
        _check_variable("Member", variable)
        if variable.owner is not None:
            raise TypeError(
                f"{variable} is computed by {variable.owner.op}, so it cannot be a Member; keep it "
                "as a plain attribute, or update a Member to it in a Method"
            )
        self.variable = variable

    def __repr__(self) -> str:
        return f"Member({self.variable})"


class External:
    """Declares that a variable is another module's, or belongs to none.

    The module gives it no state: its value is that of the module which has it as a member and
    is made together with this one, or of the shared variable that it is. Instances read and
    assign it like a member.

    Parameters
    ----------
    variable : Variable

    Raises
    ------
    TypeError
        For a constant or something that is no Variable.
    """

    def __init__(self, variable: Variable) -> None:
        _check_variable("External", variable)
        self.variable = variable

    def __repr__(self) -> str:
        return f"External({self.variable})"


def _check_variable(what: str, variable: Any) -> None:
    if not isinstance(variable, Variable):
        raise TypeError(
            f"{what} takes a Variable, got {variable!r} of type {type(variable).__name__}"
        )
    if isinstance(variable, Constant):
        raise TypeError(f"{what} takes a Variable without a value, got the constant {variable}")


class Method:
    """A function of a module: it takes arguments, and reads and updates the module's state.

    What it needs besides its inputs are members. A string stands for the member or attribute
    of that name in the module which has the Method.

    Parameters
    ----------
    inputs : Variable, In, str, or a list or tuple of them; None for no inputs
        The arguments of a call, which are not state.
    outputs : Variable, Out, str, a list, tuple or dict of them, or None
        What a call returns: one array, a list, a dict, or None.
    updates : dict or pairs (member or name, new value or name), optional
        Done together when a call has succeeded.
    mode : Mode or str, optional
        Instead of the mode that the module is made with.

    Raises
    ------
    TypeError
        For inputs, outputs or updates of another kind.
    ValueError
        For an unknown mode.
    """

    def __init__(
        self, inputs: Any, outputs: Any = None, updates: Any = None, mode: Any = None
    ) -> None:
        if inputs is None:
            inputs = []
        elif not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        for item in inputs:
            if not isinstance(item, (Variable, In, str)):
                raise TypeError(_refused("an input", "a Variable, an In or a name", item))
        if isinstance(outputs, dict):
            listed = list(outputs.values())
        elif isinstance(outputs, (list, tuple)):
            listed = list(outputs)
        else:
            listed = [] if outputs is None else [outputs]
        for item in listed:
            if not isinstance(item, (Variable, SymbolicOutput, str)):
                raise TypeError(_refused("an output", "a Variable, an Out or a name", item))
        pairs = as_pairs("updates", updates)
        for target, value in pairs:
            if not isinstance(target, (Variable, str)):
                raise TypeError(_refused("what is updated", "a member or its name", target))
            if not isinstance(value, (Variable, str, int, float, complex)) and not hasattr(
                value, "__array__"
            ):
                raise TypeError(_refused("an update", "a Variable, a value or a name", value))
        if mode is not None:
            get_mode(mode)
        self.name: str | None = None
        self.inputs = list(inputs)
        self.outputs = outputs
        self.updates = pairs
        self.mode = mode

    def pretty(self) -> str:
        """What it takes, returns and updates, over several lines."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        lines = [f"{self.name or 'Method'}({', '.join(_written(i) for i in self.inputs)})"]
        if isinstance(self.outputs, dict):
            results = [f"{key}: {_written(value)}" for key, value in self.outputs.items()]
        elif isinstance(self.outputs, (list, tuple)):
            results = [_written(value) for value in self.outputs]
        else:
            results = [] if self.outputs is None else [_written(self.outputs)]
        lines += [f"    returns {text}" for text in results]
        lines += [f"    {_written(old)} <- {_written(new)}" for old, new in self.updates]
        return lines

    def __repr__(self) -> str:
        inputs = ", ".join(_written(item) for item in self.inputs)
        updated = ", ".join(_written(target) for target, _ in self.updates)
        return f"Method({self.name or ''}({inputs}){', updates ' + updated if updated else ''})"


def _refused(what: str, expected: str, got: Any) -> str:
    return f"{what} of a Method must be {expected}, got {got!r} of type {type(got).__name__}"


def _written(item: Any) -> str:
    if isinstance(item, (In, SymbolicOutput)):
        item = item.variable
    if not isinstance(item, Variable):
        return str(item)
    text = pp(item)
    return text if len(text) <= 200 else f"{text[:200]}..."


class Module:
    """State, and functions that share it.

    Assign Variables and Methods as attributes, call `make`, and use the instance: its members
    are values, its methods functions. Attributes may also be modules, and lists, tuples and
    dicts of all of these, nested in any way. A Variable that appears in several of the modules
    made together is one state. Attributes of other kinds, and Variables that are computed,
    belong to the module alone.

    * A Variable that a Method takes as an input is an argument, and no state; every other one
      is state, and needs a value when an instance is made.
    * A shared variable keeps its one value, unless it is declared a `Member`.

    Subclasses build their members in `__init__` and may give `_instance_initialize(self, inst,
    **initial)`, which sets the values of an instance from the arguments of `make`, and further
    methods `_instance_NAME(self, inst, ...)`, which instances have as `inst.NAME(...)`.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> m = kroton.Module()
    >>> m.s, m.x = T.dscalar(), T.dscalar()
    >>> m.inc = kroton.Method(m.x, m.s + m.x, updates={m.s: m.s + m.x})
    >>> inst = m.make(s=0.0)
    >>> inst.inc(3)
    array(3.)
    >>> inst.s
    array(3.)
    """

    def make(self, *, mode: Any = None, **initial: Any) -> Any:
        """An instance: state of its own, and every Method compiled.

        Parameters
        ----------
        mode : Mode or str, optional
            For all Methods that have none of their own; `config.mode` by default.
        **initial
            Handed to `_instance_initialize`: by default values of members, by name. For a
            module it is a dict of its own initial values, for lists, tuples and dicts one of
            the same form.

        Returns
        -------
        ModuleInstance

        Raises
        ------
        TypeError
            For an unknown name, a value that does not fit its member, a Method that takes state
            as an argument or needs a Variable that is no member.
        ValueError
            If a member has no initial value.
        """
        from kroton.compile.modulestate import make_instance

        return make_instance(self, mode, initial)

    def _instance_initialize(self, inst: Any, **initial: Any) -> None:
        """Give the members of the instance `inst` the values `initial`.

        Modules among the members that lack a value and were given none run their own
        `_instance_initialize` without arguments.
        """
        from kroton.compile.instance import initialize

        initialize(inst, initial)

    def pretty(self) -> str:
        """The members, with their types, and what each Method does, over several lines."""
        return "\n".join([type(self).__name__, *_describe(self, "  ", [])])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _RESERVED and has_components(value):
            raise AttributeError(
                f"a member cannot be named {name!r}, which {type(self).__name__} uses itself"
            )
        value = self._declare(value)
        _give_names(value, name)
        super().__setattr__(name, value)

    def _declare(self, value: Any) -> Any:
        """`value` with the Variables of Member and External in their place, which are noted."""
        if isinstance(value, (Member, External)):
            kinds: dict[Variable, type] = self.__dict__.setdefault("_kinds", {})
            kinds[value.variable] = type(value)
            return value.variable
        if type(value) in (list, tuple) and any(_declares(item) for item in value):
            return type(value)([self._declare(item) for item in value])
        if type(value) is dict and any(_declares(item) for item in value.values()):
            return {key: self._declare(item) for key, item in value.items()}
        return value

    def __str__(self) -> str:
        return self.pretty()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(named_components(self)) or 'no members'}>"


def _give_names(value: Any, name: str) -> None:
    """Name the Variables and Methods in `value` that have no name, for messages and printing."""
    if isinstance(value, Method) or (isinstance(value, Variable) and is_component(value)):
        if value.name is None:
            value.name = name
    elif has_components(value) and not is_component(value):
        for path, item in items_of(value, name):
            _give_names(item, path)


def _declares(value: Any) -> bool:
    if type(value) in (list, tuple):
        return any(_declares(item) for item in value)
    if type(value) is dict:
        return any(_declares(item) for item in value.values())
    return isinstance(value, (Member, External))


def is_component(value: Any) -> bool:
    """Whether instances have something for `value` alone: a root Variable, a Method, a Module."""
    if isinstance(value, Variable):
        return value.owner is None and not isinstance(value, Constant)
    return isinstance(value, (Member, External, Method, Module))


def has_components(value: Any) -> bool:
    """Whether `value` is a component, or a list, tuple or dict with one in it."""
    if type(value) in (list, tuple):
        return any(has_components(item) for item in value)
    if type(value) is dict:
        return any(has_components(item) for item in value.values())
    return is_component(value)


def named_components(module: Module) -> dict[str, Any]:
    """The attributes of `module` that its instances have, in the order of assignment."""
    return {
        name: value
        for name, value in vars(module).items()
        if name != "_kinds" and has_components(value)
    }


def kind_of(module: Module, variable: Variable) -> type | None:
    """Member, External, or None if `module` has not declared the Variable as either."""
    kinds: dict[Variable, type] = vars(module).get("_kinds", {})
    return kinds.get(variable)


def items_of(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The paths and items of a list, tuple or dict."""
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in pairs:
        yield f"{path}[{key!r}]", item


def components_of(module: Module) -> Iterator[tuple[str, Module, Any]]:
    """Everything in `module` and in the modules below it, each with its path and its module.

    Variables come as they are, or as the Member or External that declares them.
    """
    seen = [module]
    waiting: list[tuple[str, Module, Any]] = [("", module, module)]
    while waiting:
        path, owner, value = waiting.pop()
        inner: list[tuple[str, Module, Any]] = []
        if isinstance(value, Module):
            for name, attribute in named_components(value).items():
                inner.append((f"{path}.{name}" if path else name, value, attribute))
        elif isinstance(value, Variable):
            if is_component(value):
                kind = kind_of(owner, value)
                yield path, owner, value if kind is None else kind(value)
        elif is_component(value):
            yield path, owner, value
        elif has_components(value):
            inner = [(where, owner, item) for where, item in items_of(value, path)]
        for entry in reversed(inner):
            if isinstance(entry[2], Module):
                if any(entry[2] is known for known in seen):
                    continue
                seen.append(entry[2])
            waiting.append(entry)


def _describe(module: Module, indent: str, above: Sequence[Module]) -> list[str]:
    lines: list[str] = []
    above = [*above, module]

    def describe(name: str, value: Any, indent: str) -> None:
        if isinstance(value, (Member, External)):
            value = value.variable
        if isinstance(value, Variable):
            if is_component(value):
                lines.append(f"{indent}{name}: {value.type}")
            else:
                lines.append(f"{indent}{name}: {_written(value)}")
        elif isinstance(value, Method):
            title, *rest = value._lines()
            lines.append(f"{indent}{name}{title[title.index('(') :]}")
            lines.extend(indent + line for line in rest)
        elif isinstance(value, Module):
            lines.append(f"{indent}{name}: {type(value).__name__}")
            if any(value is module for module in above):
                lines[-1] += " (described above)"
            else:
                lines.extend(_describe(value, indent + "  ", above))
        elif has_components(value):
            for path, item in items_of(value, name):
                describe(path, item, indent)

    for name, value in named_components(module).items():
        describe(name, value, indent)
    return lines
