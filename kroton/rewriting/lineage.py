"""The lineage's ways to register rewrites, as adapters on phases, rules and passes.

    @register_canonicalize
    @local_optimizer([T.exp])
    def local_exp_of_log(node):
        inner = node.inputs[0].owner
        if inner is not None and inner.op == elemwise_of("log"):
            return [inner.inputs[0]]
        return False

    register_specialize(PatternSub((T.add, "x", "x"), (T.mul, 2, "x"), name="x + x"))
    optdb.register("mine", in2out(OpRemove(marker)), 1.2, "fast_run")
    optdb.query("+fast_run", "-inplace")

New code is shorter in the phases' own notation: see `kroton.rewriting.engine`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.op import Op
from kroton.rewriting.engine import ANY, Head, Phase, Rule, RuleIndex, apply_rules
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.observer import Observer
from kroton.rewriting.passes import Optimizer, Pass, Selection, passes, register_pass
from kroton.rewriting.pattern import elemwise_of
from kroton.rewriting.phases import canonicalize, specialize, stabilize
from kroton.tensor.elemwise import Elemwise

__all__ = [
    "LocalOptimizer",
    "OpRemove",
    "OpSub",
    "PatternSub",
    "Query",
    "in2out",
    "local_optimizer",
    "optdb",
    "optimizer",
    "out2in",
    "register_canonicalize",
    "register_specialize",
    "register_stabilize",
]


def op_of(op: Any) -> Op | type:
    """The Op (or Op type) that `op` names: itself, or for `T.exp` the elementwise Op.

    Raises
    ------
    TypeError
        If it names none.
    """
    if isinstance(op, Op) or (isinstance(op, type) and issubclass(op, Op)):
        return op
    name = getattr(op, "__name__", "").rstrip("_")
    for candidate in (name, f"{name}_"):
        if candidate in scalar.ops:
            return elemwise_of(candidate)
    raise TypeError(
        f"{op!r} names no Op; give an Op, an Op type, or a function of kroton.tensor that applies "
        "one scalar operation, such as T.exp"
    )


def head_for(op: Op | type) -> Head:
    """What rules that start from `op` are indexed by."""
    if isinstance(op, type):
        return op
    if type(op) is Elemwise and type(op.scalar_op) is scalar.ScalarOp:
        return op.scalar_op.name
    return type(op)


@dataclass(frozen=True)
class LocalOptimizer:
    """A rewrite of one Apply, in the lineage's sense. It can be called: `optimizer(node)`.

    Attributes
    ----------
    name : str
    tracked : tuple of Op or Op type
        What it is tried on; empty for every Apply.
    function : callable
        `function(fgraph, node)`: False or None for nothing to do, or what `Phase.rewriter` takes.
    depth : int
        How many Applys, from the first towards the inputs, it looks at.
    """

    name: str
    tracked: tuple[Any, ...]
    function: Callable[[FunctionGraph, Apply], Any]
    depth: int = 4

    @property
    def __name__(self) -> str:
        return self.name

    def tracks(self) -> list[Any] | None:
        """What it is tried on, or None for everything."""
        return list(self.tracked) or None

    def transform(self, node: Apply, fgraph: FunctionGraph | None = None) -> Any:
        """What should stand in the place of `node`, or False."""
        if self.tracked and not any(
            isinstance(node.op, op) if isinstance(op, type) else node.op == op
            for op in self.tracked
        ):
            return False
        if fgraph is None:
            fgraph = FunctionGraph(node.inputs, node.outputs, clone=False)
        result = self.function(fgraph, node)
        return False if result is None else result

    __call__ = transform

    def rule(self, tags: Iterable[str], phase: str = "", name: str | None = None) -> Rule:
        """The same as a rule of a phase."""
        heads = tuple(dict.fromkeys(head_for(op) for op in self.tracked)) or (ANY,)

        def transform(fgraph: FunctionGraph, node: Apply) -> Any:
            result = self.transform(node, fgraph)
            return None if result is False else result

        return Rule(name or self.name, heads, transform, frozenset(tags), self.depth, phase)

    def __str__(self) -> str:
        return self.name


def local_optimizer(
    tracks: Sequence[Any] | None, inplace: bool = False, requirements: Sequence[Any] = ()
) -> Callable[[Callable[..., Any]], LocalOptimizer]:
    """Decorator: a function of a node (or of a FunctionGraph and a node) as a LocalOptimizer.

    Parameters
    ----------
    tracks : list of Op, Op type or function such as T.exp; or None
        What it is tried on; None for every Apply.
    inplace : bool
        Accepted as in the lineage: whether a rewrite is safe is checked for all of them.
    requirements : sequence
        Must be empty: the FunctionGraph brings all features that rewrites need.

    Raises
    ------
    ValueError
        For an empty list of `tracks`, or for `requirements`.
    """
    if tracks is not None and not tracks:
        raise ValueError("tracks is a list of Ops or Op types, or None for all of them; it is []")
    if requirements:
        raise ValueError("a local optimizer cannot ask for features of the FunctionGraph")
    tracked = () if tracks is None else tuple(op_of(op) for op in tracks)

    def decorate(function: Callable[..., Any]) -> LocalOptimizer:
        def of_node(fgraph: FunctionGraph, node: Apply) -> Any:
            return function(node)

        two = len(inspect.signature(function).parameters) == 2
        name = getattr(function, "__name__", "local_optimizer")
        return LocalOptimizer(name, tracked, function if two else of_node)

    return decorate


def OpSub(op1: Any, op2: Any, transfer_tags: bool = True) -> LocalOptimizer:
    """`op1(*inputs)` becomes `op2(*inputs)`; with `transfer_tags`, results keep their names."""
    old, new = op_of(op1), op_of(op2)
    if isinstance(new, type):
        raise TypeError(f"OpSub needs an Op to put in place, not the type {new.__name__}")

    def substitute(fgraph: FunctionGraph, node: Apply) -> Any:
        made = new.make_node(*node.inputs)
        if transfer_tags:
            for out, result in zip(node.outputs, made.outputs):
                result.name = out.name
        return list(made.outputs)

    return LocalOptimizer(f"{old} -> {new}", (old,), substitute, depth=1)


def OpRemove(op: Any) -> LocalOptimizer:
    """`op(*inputs)` becomes its inputs, which are as many as its outputs."""
    old = op_of(op)

    def remove(fgraph: FunctionGraph, node: Apply) -> Any:
        if len(node.inputs) != len(node.outputs):
            raise ValueError(
                f"{node.op} cannot be removed: it has {len(node.inputs)} inputs and "
                f"{len(node.outputs)} outputs"
            )
        return list(node.inputs)

    return LocalOptimizer(f"{old}(x) -> x", (old,), remove, depth=1)


def PatternSub(
    in_pattern: tuple[Any, ...], out_pattern: Any, allow_multiple_clients: bool = False,
    skip_identities_fn: Callable[[Variable], Variable | None] | None = None,
    name: str | None = None,
) -> LocalOptimizer:  # fmt: skip
    """What fits `in_pattern` becomes `out_pattern`.

    A pattern is a string (any Variable, the same one at each of its places), a number (a
    constant all of whose elements equal it), a Constant, a tuple `(op, pattern, ...)`, or a dict
    `{"pattern": pattern, "constraint": function of the Variable}`.

    Parameters
    ----------
    in_pattern : tuple
    out_pattern : tuple, string or number
    allow_multiple_clients : bool
        Also fire where other Applys use the intermediate results.
    skip_identities_fn : callable, optional
        Given a Variable that does not fit, returns one to look at instead, or None.
    name : str, optional

    Raises
    ------
    TypeError
        If `in_pattern` does not start with an Op, or an operation is given another number of
        arguments than it takes.
    ValueError
        If `out_pattern` names a variable that `in_pattern` does not.
    """
    if not isinstance(in_pattern, tuple) or not in_pattern:
        raise TypeError(f"in_pattern is a tuple (op, pattern, ...), not {in_pattern!r}")
    head = op_of(in_pattern[0])
    bound = _checked_pattern(in_pattern, build=False)
    unbound = _checked_pattern(out_pattern, build=True) - bound
    if unbound:
        raise ValueError(
            f"{', '.join(map(repr, sorted(unbound)))} of out_pattern stands for nothing: "
            f"in_pattern, {_written(in_pattern)}, has no variable of that name"
        )

    def fits(fgraph: FunctionGraph, pattern: Any, var: Variable, env: dict[str, Variable]) -> bool:
        if _fits(fgraph, pattern, var, env):
            return True
        other = None if skip_identities_fn is None else skip_identities_fn(var)
        return other is not None and other is not var and fits(fgraph, pattern, other, env)

    def _fits(fgraph: FunctionGraph, pattern: Any, var: Variable, env: dict[str, Variable]) -> bool:
        if isinstance(pattern, str):
            return env.setdefault(pattern, var) is var
        if isinstance(pattern, dict):
            return fits(fgraph, pattern["pattern"], var, env) and bool(pattern["constraint"](var))
        if isinstance(pattern, tuple):
            node = var.owner
            if node is None or not all_fit(fgraph, pattern, node, env):
                return False
            return allow_multiple_clients or len(fgraph.variables.get(var, ())) <= 1
        if isinstance(pattern, Constant):
            return isinstance(var, Constant) and var.signature() == pattern.signature()
        value = uniform_value(var)
        return value is not None and bool(value == pattern)

    def all_fit(
        fgraph: FunctionGraph, pattern: tuple[Any, ...], node: Apply, env: dict[str, Variable]
    ) -> bool:
        op = op_of(pattern[0])
        same = isinstance(node.op, op) if isinstance(op, type) else node.op == op
        if not same or len(node.inputs) != len(pattern) - 1:
            return False
        return all(fits(fgraph, p, v, env) for p, v in zip(pattern[1:], node.inputs))

    def build(pattern: Any, env: dict[str, Variable]) -> Any:
        if isinstance(pattern, str):
            return env[pattern]
        if isinstance(pattern, tuple):
            return pattern[0](*(build(p, env) for p in pattern[1:]))
        return pattern

    def substitute(fgraph: FunctionGraph, node: Apply) -> Any:
        env: dict[str, Variable] = {}
        if not all_fit(fgraph, in_pattern, node, env):
            return False
        return [build(out_pattern, env)]

    text = name or f"{_written(in_pattern)} -> {_written(out_pattern)}"
    return LocalOptimizer(text, (head,), substitute, _depth(in_pattern))


def _checked_pattern(pattern: Any, build: bool) -> set[str]:
    """The variables of a pattern; its operations must be given as many arguments as they take.

    With `build`, it is a result: functions may stand where an Op would.
    """
    if isinstance(pattern, dict):
        pattern = pattern["pattern"]
    if isinstance(pattern, str):
        return {pattern}
    if not isinstance(pattern, tuple):
        return set()
    if not pattern:
        raise TypeError("a pattern is a tuple (op, pattern, ...), not ()")
    op = pattern[0] if build else op_of(pattern[0])
    count = len(pattern) - 1
    if type(op) is Elemwise:
        if op.scalar_op.nin != count:
            raise TypeError(
                f"{_written(pattern)}: {op.scalar_op.name} takes {op.scalar_op.nin} argument(s), "
                f"not {count}"
            )
    elif build:
        try:
            inspect.signature(op).bind(*pattern[1:])
        except TypeError as error:
            raise TypeError(f"{_written(pattern)}: {error}") from None
    return set().union(*(_checked_pattern(part, build) for part in pattern[1:]))


def _written(pattern: Any) -> str:
    if isinstance(pattern, dict):
        pattern = pattern["pattern"]
    if isinstance(pattern, tuple):
        name = getattr(pattern[0], "__name__", str(pattern[0]))
        return f"{name}({', '.join(_written(p) for p in pattern[1:])})"
    return str(pattern)


def _depth(pattern: Any) -> int:
    if isinstance(pattern, dict):
        pattern = pattern["pattern"]
    if not isinstance(pattern, tuple):
        return 1
    return 1 + max((_depth(p) for p in pattern[1:] if isinstance(p, tuple | dict)), default=0)


# ---- passes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalPass(Pass):
    """Applies one LocalOptimizer, or several, until none fires."""

    rules: tuple[Rule, ...] = ()

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        chosen = self.rules
        if selection is not None:
            if not selection.takes(self.name, self.tags):  # the pass is for the sake of some rules
                chosen = tuple(rule for rule in chosen if rule.name in selection.included)
            chosen = tuple(rule for rule in chosen if rule.name not in selection.excluded)
        apply_rules(fgraph, RuleIndex(chosen), None, observer, self.name)

    def chosen_by(self) -> set[str]:
        return super().chosen_by() | {rule.name for rule in self.rules}

    def has_rule(self, names: frozenset[str]) -> bool:
        return any(rule.name in names for rule in self.rules)


@dataclass(frozen=True)
class FunctionPass(Pass):
    """Applies a function of the FunctionGraph."""

    function: Callable[[FunctionGraph], Any] = lambda fgraph: None

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        self.function(fgraph)


def in2out(*local_opts: LocalOptimizer, name: str | None = None) -> LocalPass:
    """A pass that applies local optimizers, from the inputs to the outputs, until none fires."""
    if not local_opts:
        raise TypeError("in2out needs a local optimizer")
    names = {opt.name for opt in local_opts}
    if len(names) < len(local_opts):
        raise ValueError("the local optimizers of one pass need different names")
    label = name or "_".join(opt.name for opt in local_opts)
    return LocalPass(label, rules=tuple(opt.rule((), label) for opt in local_opts))


out2in = in2out
"""The same: the order in which a pass visits a graph does not change where it ends."""


def optimizer(function: Callable[[FunctionGraph], Any]) -> FunctionPass:
    """Decorator: a function that rewrites a FunctionGraph as a pass, for `optdb.register`."""
    return FunctionPass(getattr(function, "__name__", "optimizer"), function=function)


# ---- registration ------------------------------------------------------------------------


def _registrar(phase: Phase) -> Callable[..., Any]:
    def register(lopt: Any, *tags: str, **kwargs: Any) -> Any:
        if isinstance(lopt, str):
            first = lopt

            def decorate(inner: Any) -> Any:
                return register(inner, first, *tags, **kwargs)

            return decorate
        if not isinstance(lopt, LocalOptimizer):
            raise TypeError(
                f"only what local_optimizer, PatternSub, OpSub and OpRemove make can be registered "
                f"in {phase.name}; got {type(lopt).__name__}"
            )
        name = kwargs.pop("name", None)
        if kwargs:
            raise TypeError(f"unknown arguments: {', '.join(kwargs)}")
        phase.add(lopt.rule({"fast_run", *tags}, phase.name, name))
        return lopt

    register.__name__ = f"register_{phase.name}"
    register.__doc__ = f"""Add a local optimizer to the phase {phase.name}; a decorator, too.

    `@register_{phase.name}` and `@register_{phase.name}("fast_compile", ...)` both work. Its tags
    are "fast_run" and those given.

    Raises
    ------
    ValueError
        If the phase has a rule of that name (the keyword `name` gives another).
    """
    return register


register_canonicalize = _registrar(canonicalize)
register_stabilize = _registrar(stabilize)
register_specialize = _registrar(specialize)


@dataclass(frozen=True)
class Query:
    """Which passes and rules are wanted, by tags and names."""

    include: frozenset[str]
    require: frozenset[str] = frozenset()
    exclude: frozenset[str] = frozenset()
    position_cutoff: float = float("inf")

    def including(self, *tags: str) -> Query:
        """The same with what has one of the tags."""
        return replace(self, include=self.include.union(tags))

    def excluding(self, *tags: str) -> Query:
        """The same without what has one of the tags."""
        return replace(self, exclude=self.exclude.union(tags))

    def requiring(self, *tags: str) -> Query:
        """The same with only the passes that have all of the tags."""
        return replace(self, require=self.require.union(tags))


@dataclass(frozen=True)
class PhaseDB:
    """A phase, under the lineage's interface: `optdb["canonicalize"].register(name, lopt, ...)`."""

    phase: Phase

    def register(self, name: str, lopt: LocalOptimizer, *tags: str) -> None:
        """Add a local optimizer under that name."""
        self.phase.add(lopt.rule(tags or self.phase.tags, self.phase.name, name))


class OptimizerDB:
    """The registered passes, under the lineage's interface: `optdb`."""

    def query(self, *tags: Any, position_cutoff: float = float("inf")) -> Optimizer:
        """The optimizer of a Query, or of tags: `query("+fast_run", "-inplace", "&fusion")`.

        `+` (or no sign) includes, `-` excludes, `&` requires.
        """
        if len(tags) == 1 and isinstance(tags[0], Query):
            q = tags[0]
            return Optimizer(
                None, frozenset(q.include), frozenset(q.exclude), frozenset(q.require),
                min(q.position_cutoff, position_cutoff),
            )  # fmt: skip
        signs: dict[str, set[str]] = {"+": set(), "-": set(), "&": set()}
        for tag in tags:
            sign = tag[0] if tag[:1] in signs and len(tag) > 1 else "+"
            signs[sign].add(tag[1:] if tag.startswith(sign) else tag)
        return Optimizer(
            None, frozenset(signs["+"]), frozenset(signs["-"]), frozenset(signs["&"]),
            position_cutoff,
        )  # fmt: skip

    def register(self, name: str, opt: Any, position: float, *tags: str) -> Pass:
        """Make a pass available to the optimizers that the tags choose.

        Parameters
        ----------
        name : str
        opt : Pass, LocalOptimizer, or object with `apply(fgraph)`
        position : float
            Passes run by increasing position: canonicalize 1, stabilize 1.5, specialize 2,
            fusion 49, inplace 75.
        *tags : str
            Such as "fast_run".

        Raises
        ------
        TypeError
            If `opt` is none of these.
        ValueError
            If there is a pass of that name.
        """
        if isinstance(opt, LocalOptimizer):
            opt = in2out(opt)
        if not isinstance(opt, Pass):
            if not callable(getattr(opt, "apply", None)):
                raise TypeError(f"a pass has a method apply(fgraph); {type(opt).__name__} has none")
            opt = FunctionPass(name, function=opt.apply)
        return register_pass(
            replace(opt, name=name, tags=frozenset(tags), position=float(position))
        )

    def __getitem__(self, name: str) -> PhaseDB | Pass:
        for phase in (canonicalize, stabilize, specialize):
            if phase.name == name:
                return PhaseDB(phase)
        for pass_ in passes():
            if pass_.name == name:
                return pass_
        raise KeyError(f"no pass is named {name!r}; there are {', '.join(self)}")

    def __iter__(self) -> Any:
        return (pass_.name for pass_ in passes())

    def __contains__(self, name: object) -> bool:
        return any(pass_.name == name for pass_ in passes())

    def print_summary(self, stream: Any = None) -> None:
        """Print the passes with position and tags."""
        for pass_ in passes():
            print(f"{pass_.position:6g} {pass_.name}: {', '.join(sorted(pass_.tags))}", file=stream)


optdb = OptimizerDB()
"""The registered passes."""
