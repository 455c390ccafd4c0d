"""Matching: patterns compiled into closures that walk a graph and build what replaces it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.pattern import C, Call, F, Free, Name, Term, elemwise_of, left_over, written
from kroton.rewriting.terms import Env, Goal, flat_step, node_of, pick_step, rest_step
from kroton.tensor.constant import NotScalarConstantError, constant, get_scalar_constant_value
from kroton.tensor.elemwise import Elemwise

Builder = Callable[[Env], Any]

# ---- what a match knows ------------------------------------------------------------------


class Match:
    """What the names of a pattern stand for.

    `match.x` (or `match["x"]`) is the Variable of `x`, or the field of an `F`;
    `match.value("c")` the number of a `C`; `match.node` and `match.out` are what would be
    replaced, `match.fgraph` the graph.
    """

    def __init__(self, fgraph: FunctionGraph, out: Variable, names: dict[str, int], env: Env):
        self.fgraph = fgraph
        self.out: Any = out
        self._names = names
        self._env = env

    @property
    def node(self) -> Apply:
        """The Apply that would be replaced."""
        return self.out.owner  # type: ignore[no-any-return]

    def __getitem__(self, name: str) -> Any:
        return self._env[self._names[name]]

    def __getattr__(self, name: str) -> Any:
        try:
            return self._env[self._names[name]]
        except KeyError:
            raise AttributeError(
                f"the pattern has no {name!r}; it has {', '.join(self._names)}"
            ) from None

    def value(self, name: str) -> Any:
        """The number that the constant `name` holds, as a 0-d array."""
        return uniform_value(self[name])


_LOOKS_LIKE_CONSTANT = {"Alloc", "DimShuffle", "Unbroadcast", "SpecifyShape", "DeepCopyOp"}


def uniform_value(var: Variable) -> Any:
    """The value of a constant all of whose elements are equal, as a 0-d array; None for others."""
    if isinstance(var, Constant):
        data = var.data
        if not isinstance(data, np.ndarray):
            return None
        if data.ndim == 0:
            return data
        # Big constants are compared once, however many rules ask.
        known = getattr(var._tag, "uniform_value", False)
        if known is not False:
            return known
        value = np.asarray(data.flat[0]) if data.size and (data == data.flat[0]).all() else None
        var.tag.uniform_value = value
        return value
    if not _stands_for_constant(var):
        return None
    try:
        return get_scalar_constant_value(var)
    except NotScalarConstantError:
        return None


def _stands_for_constant(var: Variable) -> bool:
    """Whether `var` is made from a constant by broadcasting, without asking for its elements."""
    owner = var.owner
    while owner is not None:
        kind = type(owner.op).__name__
        if kind in _LOOKS_LIKE_CONSTANT:
            source = owner.inputs[0]
        elif kind == "Elemwise" and owner.op.name == "second":
            source = owner.inputs[1]
        else:
            return False
        if isinstance(source, Constant):
            return True
        owner = source.owner
    return False


def scalar_name(var: Variable) -> str:
    """The name of the scalar operation that makes `var`, or ''."""
    node = var.owner
    if node is None or type(node.op) is not Elemwise or type(node.op.scalar_op) is scalar.Composite:
        return ""
    return node.op.scalar_op.name


# ---- compilation -------------------------------------------------------------------------


def compile_rule(
    lhs: Any, rhs: Any, when: Callable[[Match], Any] | None = None, single: bool = False
) -> tuple[Callable[[FunctionGraph, Apply], Any], str]:
    """The transformation and the text of the rule `lhs -> rhs`.

    Raises
    ------
    TypeError
        If `lhs` is no operation, or a term of `rhs` cannot be built.
    ValueError
        If `rhs` names what `lhs` does not.
    """
    if not isinstance(lhs, Call):
        raise TypeError(f"the left side of a rule is an operation on terms, not {lhs!r}")
    return transformation(lhs, rhs, when, single), text_of(lhs, rhs)


def text_of(lhs: Call, rhs: Any) -> str:
    """The rule as it is written."""
    return f"{written(lhs, 0)} -> {written(rhs, 0) if not callable(rhs) else '...'}"


def transformation(
    lhs: Call, rhs: Any, when: Callable[[Match], Any] | None, single: bool
) -> Callable[[FunctionGraph, Apply], Any]:
    """What the rule `lhs -> rhs` does to an Apply; see `compile_rule`."""
    compiler = _Compiler(single)
    compiler.kinds_of(lhs)
    start = compiler.goals(lhs)
    names = compiler.names
    size = compiler.size
    inner = tuple(compiler.inner)
    if isinstance(rhs, (Term, int, float, bool)):
        build = _builder(rhs, names)
    elif callable(rhs):
        build = None
    else:
        raise TypeError(f"the right side of a rule is a term, a number or a function: {rhs!r}")

    def transform(fgraph: FunctionGraph, node: Apply) -> Any:
        env: Env = [None] * size
        out = node.outputs[0]
        env[0] = out
        env[1] = fgraph
        if not start(env):
            return None
        if inner:
            for slot in inner:
                if len(fgraph.variables[env[slot]]) != 1:
                    return None
        if when is not None and not when(Match(fgraph, out, names, env)):
            return None
        if build is None:
            made = rhs(Match(fgraph, out, names, env))
        else:
            made = build(env)
        return made if made is None or isinstance(made, Variable) else [made]

    return transform


def depth_of(term: Any) -> int:
    """How many Applys on one path a pattern looks at."""
    if not isinstance(term, Call):
        return 1
    inner = max((depth_of(arg) for arg in term.args if isinstance(arg, Call)), default=0)
    return 1 + inner + (max(len(term.args) - 1, 1) if term.flat else 0)


CONSTANT = "constant"
"""Stands among the heads of an Apply's inputs for what may be a constant of equal elements."""


def needs_of(term: Call) -> frozenset[str]:
    """What must be among the heads of an Apply's inputs for `term` to match the Apply."""
    needs: set[str] = set()
    if term.flat:
        return frozenset()
    for arg in term.args:
        if isinstance(arg, Call) and isinstance(arg.head, str) and not arg.flat:
            needs.add(arg.head)
        elif isinstance(arg, (C, int, float, complex)):
            needs.add(CONSTANT)
    return frozenset(needs)


def heads_of_inputs(node: Apply) -> set[str]:
    """The names of the scalar operations that make the inputs, and CONSTANT if one may be."""
    found: set[str] = set()
    for var in node.inputs:
        owner = var.owner
        if owner is None:
            if isinstance(var, Constant):
                found.add(CONSTANT)
        elif type(owner.op) is Elemwise:
            name = owner.op.scalar_op.name
            found.add(name)
            if name == "second":
                found.add(CONSTANT)
        else:
            found.add(CONSTANT)
    return found


class _Compiler:
    """Turns a pattern into closures, each of which checks one thing and goes on to the next.

    All Variables a pattern meets have a place in one list, decided here, so that a choice
    (which factor comes first) is undone by writing over it.
    """

    def __init__(self, single: bool) -> None:
        self.single = single
        self.names: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.inner: list[int] = []
        self.size = 2
        self.tries: int | None = None
        """The place for how many more times terms may be picked, by all `nary` terms."""

    def kinds_of(self, term: Any) -> None:
        """Collect the dtype constraints, which hold for all places of a variable."""
        if isinstance(term, Name) and term.kinds:
            self.kinds[term.name] = term.kinds
        elif isinstance(term, Call):
            for arg in term.args:
                self.kinds_of(arg)

    def slot(self) -> int:
        self.size += 1
        return self.size - 1

    def goals(self, lhs: Call) -> Goal:
        """The first goal of the chain, for the output in place 0."""
        steps: list[Callable[[Goal], Goal]] = []
        self._plan(lhs, 0, steps, root=True)
        goal: Goal = _succeed
        for step in reversed(steps):
            goal = step(goal)
        return goal

    def _plan(self, term: Any, slot: int, steps: list[Any], root: bool = False) -> None:
        if isinstance(term, Call):
            if self.single and not root:
                self.inner.append(slot)
            if term.flat:
                self._plan_flat(term, slot, steps)
                return
            children = [self.slot() for _ in term.args]
            steps.append(_call_step(term, slot, children))
            for name, value in term.fields:
                steps.append(self._field_step(name, value, slot))
            for arg, child in _decisive_first(term.args, children):
                self._plan(arg, child, steps)
        elif isinstance(term, Name):
            first = self.names.get(term.name)
            if first is not None:
                steps.append(_same_step(slot, first))
                return
            self.names[term.name] = slot
            kinds = self.kinds.get(term.name, "")
            if isinstance(term, C):
                steps.append(_constant_step(slot, kinds))
            elif kinds:
                steps.append(_kind_step(slot, kinds))
        elif isinstance(term, (int, float, complex)):
            steps.append(_number_step(slot, term))
        else:
            raise TypeError(f"a pattern cannot contain {term!r}")

    def _plan_flat(self, term: Call, slot: int, steps: list[Any]) -> None:
        """An `nary` term: each of its terms picks one that is free yet, and is looked at at once,
        so that what does not fit is not combined with the others."""
        rest = left_over(term)
        if self.tries is None:
            self.tries = self.slot()
        terms, taken, tries = self.slot(), self.slot(), self.tries
        picking = [arg for k, arg in enumerate(term.args) if k != rest]
        steps.append(flat_step(term, slot, terms, taken, tries, len(picking), rest is not None))
        for arg, child in _decisive_first(picking, [self.slot() for _ in picking]):
            steps.append(pick_step(child, terms, taken, tries))
            self._plan(arg, child, steps)
        if rest is not None:
            child = self.slot()
            steps.append(rest_step(term, slot, child, terms, taken))
            self._plan(term.args[rest], child, steps)

    def _field_step(self, name: str, value: Any, slot: int) -> Any:
        if not isinstance(value, F):

            def equal_step(then: Goal) -> Goal:
                def goal(env: Env) -> bool:
                    return bool(getattr(env[slot].owner.op, name) == value) and then(env)

                return goal

            return equal_step
        first = self.names.get(value.name)
        if first is None:
            first = self.names[value.name] = self.slot()
            place = first

            def bind_step(then: Goal) -> Goal:
                def goal(env: Env) -> bool:
                    env[place] = getattr(env[slot].owner.op, name)
                    return then(env)

                return goal

            return bind_step
        bound = first

        def same_field_step(then: Goal) -> Goal:
            def goal(env: Env) -> bool:
                return bool(getattr(env[slot].owner.op, name) == env[bound]) and then(env)

            return goal

        return same_field_step


def _decisive_first(args: Sequence[Any], children: Sequence[int]) -> list[tuple[Any, int]]:
    """Arguments and their places: numbers and operations decide more than variables do."""
    return sorted(zip(args, children), key=lambda pair: _selectivity(pair[0]))


def _selectivity(term: Any) -> int:
    if isinstance(term, (int, float, complex)):
        return 0
    if isinstance(term, C):
        return 1
    return 2 if isinstance(term, Call) else 3


def _succeed(env: Env) -> bool:
    return True


def _call_step(term: Call, slot: int, children: list[int]) -> Any:
    made_by = node_of(term.head)
    count = len(children)
    commutative = (
        isinstance(term.head, str)
        and count == 2
        and scalar.ops[term.head].commutative
        and not (isinstance(term.args[0], Free) and isinstance(term.args[1], Free)
                 and term.args[0].name == term.args[1].name)
    )  # fmt: skip
    if isinstance(term.head, str) and scalar.ops[term.head].nin != count:
        raise TypeError(f"{term.head} takes {scalar.ops[term.head].nin} arguments, got {count}")

    def step(then: Goal) -> Goal:
        if count == 1:
            (only,) = children

            def unary(env: Env) -> bool:
                node = made_by(env[slot])
                if node is None or len(node.inputs) != 1:
                    return False
                env[only] = node.inputs[0]
                return then(env)

            return unary
        if commutative:
            left, right = children

            def binary(env: Env) -> bool:
                node = made_by(env[slot])
                if node is None:
                    return False
                a, b = node.inputs
                env[left], env[right] = a, b
                if then(env):
                    return True
                env[left], env[right] = b, a
                return then(env)

            return binary

        def general(env: Env) -> bool:
            node = made_by(env[slot])
            if node is None or len(node.inputs) != count:
                return False
            for child, var in zip(children, node.inputs):
                env[child] = var
            return then(env)

        return general

    return step


def _same_step(slot: int, first: int) -> Any:
    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            a, b = env[slot], env[first]
            if a is b or (
                isinstance(a, Constant) and isinstance(b, Constant)
                and a.signature() == b.signature()
            ):  # fmt: skip
                return then(env)
            return False

        return goal

    return step


def _kind_step(slot: int, kinds: str) -> Any:
    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            dtype = getattr(env[slot].type, "numpy_dtype", None)
            return dtype is not None and dtype.kind in kinds and then(env)

        return goal

    return step


def _constant_step(slot: int, kinds: str) -> Any:
    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            value = uniform_value(env[slot])
            if value is None or (kinds and value.dtype.kind not in kinds):
                return False
            return then(env)

        return goal

    return step


def _number_step(slot: int, number: Any) -> Any:
    def step(then: Goal) -> Goal:
        def goal(env: Env) -> bool:
            value = uniform_value(env[slot])
            # True is not 1: sums of booleans are "or".
            if value is None or value.dtype.kind == "b" or value != number:
                return False
            return then(env)

        return goal

    return step


def _builder(term: Any, names: dict[str, int]) -> Builder:
    """A function that builds the right side from what the names stand for."""
    if isinstance(term, (int, float, complex)):
        return lambda env: term
    if isinstance(term, (Name, F)):
        if term.name not in names:
            raise ValueError(f"{term.name!r} is on the right side of the rule only")
        slot = names[term.name]
        if isinstance(term, C):
            return lambda env: constant(uniform_value(env[slot]))
        return lambda env: env[slot]
    if not isinstance(term, Call):
        raise TypeError(f"a rule cannot build {term!r}")
    args = [_builder(arg, names) for arg in term.args]
    if isinstance(term.head, str):
        op = elemwise_of(term.head)
        if _is_constant(term):
            return lambda env: _folded(op, [arg(env) for arg in args])
        if term.flat:
            return lambda env: reduce(op, [arg(env) for arg in args])
        if len(args) == 1:
            (only,) = args
            return lambda env: op(only(env))
        if len(args) == 2:
            left, right = args
            return lambda env: op(left(env), right(env))
        return lambda env: op(*[arg(env) for arg in args])
    build = term.build
    if build is None:
        raise TypeError(f"terms of {term.head.__name__} can stand on the left of a rule only")
    fields = [(name, _field_builder(value, names)) for name, value in term.fields]
    return lambda env: build(*[arg(env) for arg in args], **{n: f(env) for n, f in fields})


def instantiate(term: Any, names: dict[str, Any]) -> Any:
    """The expression that `term` is when its names stand for these Variables."""
    places = {name: k for k, name in enumerate(names)}
    return _builder(term, places)(list(names.values()))


def _is_constant(term: Any) -> bool:
    """Whether the value of a term is known once its constants are."""
    if isinstance(term, Call):
        return isinstance(term.head, str) and all(map(_is_constant, term.args))
    return isinstance(term, (C, int, float, complex))


def _folded(op: Elemwise, args: list[Any]) -> Any:
    node = op.make_node(*args)
    storage: list[list[Any]] = [[None]]
    op.perform(node, [uniform_value(v) for v in node.inputs], storage)
    return constant(storage[0][0])


def _field_builder(value: Any, names: dict[str, int]) -> Builder:
    if isinstance(value, F):
        slot = names[value.name]
        return lambda env: env[slot]
    return lambda env: value
