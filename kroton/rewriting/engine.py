"""The engine: rules indexed by what they start from, applied until nothing changes.

A *rule* looks at one Apply and returns what should stand in its place, or None. Rules are
collected in *phases*, one file each; anybody can add some::

    from kroton.rewriting import stabilize
    from kroton.rewriting.pattern import exp, log, log1p, x

    stabilize.rule(log(1 + x), log1p(x))                # mathematics

    @stabilize.rewriter("log", name="log_of_softmax")   # code
    def log_of_softmax(fgraph, node):
        ...
        return T.nnet.logsoftmax(x)                     # or None: nothing to do

A rewriter starts from Op types, from names of scalar operations (`"log"` for an Elemwise of
it; `"cast"`, `"composite"`) or from `ANY`.
"""

from __future__ import annotations

import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from kroton import scalar
from kroton.config import config
from kroton.graph.basic import Apply, Variable
from kroton.graph.features import Feature
from kroton.graph.fg import FunctionGraph
from kroton.graph.trace import format_trace, traces_suspended
from kroton.rewriting.matching import (
    compile_rule,
    depth_of,
    heads_of_inputs,
    needs_of,
    text_of,
    transformation,
)
from kroton.rewriting.observer import Observer
from kroton.rewriting.replacement import check_present, pairs_of
from kroton.scalar.op import known_names
from kroton.tensor.elemwise import Elemwise

Head = type | str
Result = Variable | Sequence[Variable | None] | dict[Variable, Variable] | None
Transform = Callable[[FunctionGraph, Apply], Any]
Condition = Callable[[Any], Any]

ANY = "*"
"""The head of rules that are tried on every Apply."""


class RewriteWarning(UserWarning):
    """A rule raised an exception, or rules undo each other."""


class RewriteLoopError(RuntimeError):
    """Rules undo each other (with `config.on_opt_error = 'raise'`)."""


@dataclass(frozen=True)
class Rule:
    """One rewrite: what may stand in the place of an Apply."""

    name: str
    """Unique in its phase; for traces, messages and exclusion."""
    heads: tuple[Head, ...]
    """The Op types (with their subclasses) and scalar operations that it starts from."""
    transform: Transform = field(compare=False)
    """`transform(fgraph, node)`: None, a Variable, one for each output, or `{old: new}`."""
    tags: frozenset[str]
    """An optimizer takes a rule that has one of the tags it includes."""
    depth: int = 2
    """How many Applys, the first included, it looks at on a path from there to the inputs."""
    phase: str = ""
    """The name of its phase."""
    needs: frozenset[str] = frozenset()
    """What must be among the `heads_of_inputs`, so that most rules are not even tried."""
    pattern: tuple[Any, Any] | None = field(default=None, compare=False)
    """Its two sides, if it was written as mathematics."""
    stretches: bool = False
    """Whether what it gives for an Elemwise may have fewer dimensions, and is then broadcast."""

    def __str__(self) -> str:
        return self.name


class Phase:
    """A table of rules that are applied together until none fires.

    Parameters
    ----------
    name : str
    tags : iterable of str
        The tags of rules that state none.
    """

    def __init__(self, name: str, tags: Iterable[str] = ("fast_run", "fast_compile")) -> None:
        self.name = name
        self.tags = _as_tags(tags)
        self._rules: dict[str, Rule] = {}
        self.version = 0
        self.deferring = False
        """Whether patterns are compiled when a rule is first tried, and mistakes found then only:
        for tables of rules that are known to be right, so that loading them costs less."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in the order in which they are tried."""
        return tuple(self._rules.values())

    def add(self, rule: Rule) -> Rule:
        """Append a rule.

        Raises
        ------
        ValueError
            If there is one of that name.
        """
        if rule.name in self._rules:
            raise ValueError(f"the phase {self.name} already has a rule named {rule.name!r}")
        self._rules[rule.name] = rule
        self.version += 1
        return rule

    def remove(self, name: str) -> Rule:
        """Take the rule of that name out of the phase; return it."""
        if name not in self._rules:
            raise ValueError(f"the phase {self.name} has no rule named {name!r}")
        self.version += 1
        return self._rules.pop(name)

    def __contains__(self, name: object) -> bool:
        return name in self._rules

    def rule(
        self, lhs: Any, rhs: Any, name: str | None = None, when: Condition | None = None,
        tags: str | Iterable[str] | None = None, single: bool = False,
    ) -> Rule:  # fmt: skip
        """Add the rule that `lhs` becomes `rhs`.

        Parameters
        ----------
        lhs, rhs : Term
            Made of the variables and functions of `kroton.rewriting.pattern`. `rhs` may also be
            a function of the Match that returns a Variable, a number, or None.
        name : str, optional
            By default the rule as it is written.
        when : callable, optional
            `when(match)` tells whether the rule may fire; `match.x` is what `x` stands for.
        tags : str or iterable of str, optional
            By default those of the phase.
        single : bool
            Fire only if nothing else uses the intermediate results that `lhs` matches.

        Raises
        ------
        TypeError
            If a side is no term, `when` cannot be called, or `tags` are no strings.
        ValueError
            If the phase has a rule of that name, or `rhs` names what `lhs` does not.
        """
        if when is not None and not callable(when):
            raise TypeError(f"when is a function of the match, not {when!r}")
        transform: Transform
        if self.deferring:

            def compile_first(fgraph: FunctionGraph, node: Apply) -> Any:
                compiled = transformation(lhs, rhs, when, single)
                object.__setattr__(rule, "transform", compiled)
                return compiled(fgraph, node)

            transform, text = compile_first, name or text_of(lhs, rhs)
        else:
            transform, text = compile_rule(lhs, rhs, when, single)
        chosen = self.tags if tags is None else _as_tags(tags)
        rule = Rule(
            name or text, (lhs.head,), transform, chosen, depth_of(lhs), self.name,
            needs_of(lhs), (lhs, rhs),
        )  # fmt: skip
        return self.add(rule)

    def rewriter(
        self, *heads: Head, name: str | None = None, tags: str | Iterable[str] | None = None,
        depth: int = 2, stretches: bool = False, needs: Iterable[str] = (),
    ) -> Callable[[Transform], Transform]:  # fmt: skip
        """Register a function `f(fgraph, node)` as a rule that starts from `heads`.

        It returns None, a Variable for the only output, a list with a Variable (or None) for
        each output, or a dict from Variables of the graph to their replacements. Replacements
        must not depend on what they replace. `depth` says how far it looks towards the inputs,
        so that it is tried again when something changes there. A replacement of another dtype
        or number of dimensions is an error of the rule; `stretches` lets it leave out dimensions
        of an Elemwise's result along which all elements are the same. `needs` are names of scalar
        operations that must be among those that make the inputs, or `matching.CONSTANT`: it is
        not called for other Applys.

        Raises
        ------
        TypeError
            If a head is neither a class nor a string, or `tags` are no strings.
        ValueError
            If no scalar operation has been made that is called like a head, or the phase has a
            rule of that name.
        """
        if not heads:
            raise TypeError("a rewriter starts from Op types, scalar operations' names, or ANY")
        for head in heads:
            _check_head(head)

        def register(transform: Transform) -> Transform:
            chosen = self.tags if tags is None else _as_tags(tags)
            label = name or str(getattr(transform, "__name__", "rewriter"))
            self.add(
                Rule(
                    label, heads, transform, chosen, depth, self.name, frozenset(needs),
                    stretches=stretches,
                )
            )  # fmt: skip
            return transform

        return register

    def __repr__(self) -> str:
        return f"Phase({self.name!r}, {len(self._rules)} rules)"


def _as_tags(tags: Iterable[str]) -> frozenset[str]:
    """Tags as a set; a string is one."""
    if isinstance(tags, str):
        return frozenset([tags])
    found = frozenset(tags) if isinstance(tags, Iterable) else {tags}
    if not all(isinstance(tag, str) for tag in found):
        raise TypeError(f"tags are strings, not {tags!r}")
    return frozenset(found)


def _check_head(head: Any) -> None:
    """Raise for what is the head of no Apply; see `head_of`."""
    if isinstance(head, type) or (isinstance(head, str) and (head == ANY or head in known_names)):
        return
    if not isinstance(head, str):
        raise TypeError(
            "a rewriter starts from Op types, scalar operations' names (such as 'exp'), or ANY; "
            f"not from {head!r}"
        )
    kinds: set[str] = {kind.__name__.lower() for kind in _subclasses(scalar.ScalarOp)}
    if head not in kinds:
        from difflib import get_close_matches

        close = get_close_matches(head, [*known_names, *kinds], 3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"there is no scalar operation named {head!r}{hint} (one from outside the package is "
            "made before the rewriters that start from it)"
        )


def _subclasses(kind: type) -> Iterator[type]:
    more: type
    for more in kind.__subclasses__():
        yield more
        yield from _subclasses(more)


def head_of(node: Apply) -> Head:
    """What the rules for `node` are indexed by: its scalar operation's name, or its Op type."""
    op = node.op
    if type(op) is Elemwise:
        operation = op.scalar_op
        if type(operation) is scalar.ScalarOp:
            return operation.name
        return type(operation).__name__.lower()
    return type(op)


class RuleIndex:
    """Which rules may apply to an Apply."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.max_depth = max((rule.depth for rule in self.rules), default=1)
        self._found: dict[Head, tuple[Rule, ...]] = {}
        self._depth: dict[Head, int] = {}

    def rules_for(self, node: Apply) -> tuple[Rule, ...]:
        """The rules for `node`, in the order of registration."""
        head = head_of(node)
        found = self._found.get(head)
        return self._gather(head, node) if found is None else found

    def depth_for(self, node: Apply) -> int:
        """How deep the rules for `node` look."""
        head = head_of(node)
        depth = self._depth.get(head)
        if depth is None:
            self._gather(head, node)
            depth = self._depth[head]
        return depth

    def _gather(self, head: Head, node: Apply) -> tuple[Rule, ...]:
        heads = {ANY, head, *type(node.op).__mro__}
        found = tuple(rule for rule in self.rules if not heads.isdisjoint(rule.heads))
        self._found[head] = found
        self._depth[head] = max((rule.depth for rule in found), default=0)
        return found

    def __len__(self) -> int:
        return len(self.rules)


class _Changes(Feature):
    """What a replacement has touched, in order."""

    def __init__(self) -> None:
        self.touched: dict[Apply, None] = {}
        self.arrived: set[tuple[Apply, Variable]] = set()
        self.trace: Any = ()

    def on_import(self, fgraph: FunctionGraph, node: Apply, reason: str | None) -> None:
        # The user's lines for what stands in the place of their expression.
        node.trace = self.trace
        self.touched[node] = None

    def on_change_input(
        self, fgraph: FunctionGraph, node: Any, i: int, old: Variable, new: Variable,
        reason: str | None,
    ) -> None:  # fmt: skip
        if node != "output":
            self.touched[node] = None
            self.arrived.add((node, new))

    def on_prune(self, fgraph: FunctionGraph, node: Apply, reason: str | None) -> None:
        # Rules that ask for a single user may fire now; not if it was the single one before, as
        # it was where the Apply came to a Variable only to be merged with what it has become.
        for var in node.inputs:
            users = fgraph.variables.get(var)
            if users is not None and len(users) == 1 and (node, var) not in self.arrived:
                (client,) = users
                if client[0] != "output":
                    self.touched[client[0]] = None


def apply_rules(
    fgraph: FunctionGraph, index: RuleIndex, afterwards: RuleIndex | None = None,
    observer: Observer | None = None, where: str = "",
) -> int:  # fmt: skip
    """Apply rules until none fires; return the number of replacements.

    Applys are visited in topological order; what a replacement makes or changes, and the
    users of that within the rules' depth, is visited before the walk goes on.

    Parameters
    ----------
    fgraph : FunctionGraph
    index : RuleIndex
        Tried on every Apply.
    afterwards : RuleIndex, optional
        What is tried, in place of `index`, on Applys that were made or changed meanwhile.
    observer : Observer, optional
    where : str
        The name of the pass, for messages.
    """
    again = index if afterwards is None else afterwards
    order = fgraph.toposort()
    ahead = set(order)
    dirty: set[Apply] = set()
    pending: deque[Apply] = deque()
    queued: set[Apply] = set()
    changes = _Changes()
    budget = _Budget(len(order), where)
    fgraph.attach_feature(changes)
    present = fgraph.apply_nodes

    def queue(node: Apply) -> None:
        if node in ahead:
            dirty.add(node)
        elif node not in queued:
            queued.add(node)
            pending.append(node)

    try:
        with traces_suspended():
            for start in order:
                ahead.discard(start)
                if start in present:
                    rules = again if start in dirty else index
                    _visit(fgraph, start, rules, again, changes, queue, budget, observer)
                while pending:
                    node = pending.popleft()
                    queued.discard(node)
                    if node in present:
                        _visit(fgraph, node, again, again, changes, queue, budget, observer)
                if budget.exceeded:
                    budget.report()
                    break
    finally:
        fgraph.remove_feature(changes)
    return budget.used


def _visit(
    fgraph: FunctionGraph, node: Apply, rules: RuleIndex, again: RuleIndex, changes: _Changes,
    queue: Callable[[Apply], None], budget: _Budget, observer: Observer | None,
) -> None:  # fmt: skip
    """Try rules on `node` until one fires; queue what that touched."""
    inputs_are = heads_of_inputs(node)
    for rule in rules.rules_for(node):
        if not rule.needs <= inputs_are:
            continue
        if budget.exceeded:
            return
        started = 0.0 if observer is None else perf_counter()
        try:
            result = rule.transform(fgraph, node)
            pairs = None
            if result is not None and result is not False:
                pairs = pairs_of(node, result, rule.pattern is None, rule.stretches)
            if pairs:
                if isinstance(result, dict):
                    check_present(fgraph, node, result)
                changes.trace = node.trace
                for old, new in pairs:
                    if old in fgraph.variables:
                        fgraph.replace(old, new, rule.name)
        except Exception as error:
            _failed(rule, node, error)
            pairs = None
        touched = list(changes.touched)
        if not touched and not pairs:
            if observer is not None:
                observer.rule_tried(rule.name, node, perf_counter() - started)
            continue
        changes.touched.clear()
        changes.arrived.clear()
        for changed in touched:
            queue(changed)
        if touched and again.max_depth > 1:
            _queue_users(fgraph, touched, again, queue)
        if not pairs:
            continue
        budget.spend(rule.name)
        if observer is not None:
            old, new = pairs[0]
            observer.rule_applied(rule.name, node, old, new, perf_counter() - started)
        if node in fgraph.apply_nodes:
            queue(node)
        return


def _queue_users(
    fgraph: FunctionGraph, touched: list[Apply], index: RuleIndex, queue: Callable[[Apply], None]
) -> None:
    """Queue the Applys whose rules look as far as one of `touched`."""
    users_of = fgraph.variables
    level: Iterable[Apply] = touched
    seen = set(touched)
    for depth in range(2, index.max_depth + 1):
        users: list[Apply] = []
        for current in level:
            for out in current.outputs:
                for client, _ in users_of.get(out, ()):
                    if client != "output" and client not in seen:
                        seen.add(client)
                        users.append(client)
                        if index.depth_for(client) >= depth:
                            queue(client)
        if not users:
            return
        level = users


class _Budget:
    """How many replacements a pass may make: linear in the graph, so that loops end."""

    def __init__(self, n: int, where: str) -> None:
        self.total = 40 * n + 1000
        self.each = 20 * n + 500
        self.used = 0
        self.where = where
        self.counts: Counter[str] = Counter()
        self.latest: deque[str] = deque(maxlen=64)
        self.exceeded = False

    def spend(self, name: str) -> None:
        self.used += 1
        self.counts[name] += 1
        self.latest.append(name)
        if self.used > self.total or self.counts[name] > self.each:
            self.exceeded = True

    def report(self) -> None:
        recent = Counter(self.latest)
        rules = ", ".join(repr(name) for name, _ in recent.most_common())
        message = (
            f"the pass {self.where} was stopped after {self.used} replacements: these rules "
            f"undo each other or grow the graph without end: {rules}"
        )
        how = config.on_opt_error
        if how == "raise":
            raise RewriteLoopError(message)
        if how != "ignore":
            warnings.warn(message, RewriteWarning, stacklevel=2)


def _failed(rule: Rule, node: Apply, error: Exception) -> None:
    """Report a rule that raised, as `config.on_opt_error` says."""
    where = format_trace(node.trace)
    message = f"the rule {rule.name!r} of {rule.phase or 'a pass'} failed on {node}"
    report_failure(message, error, f", made here:\n{where}" if where else "")


def report_failure(message: str, error: Exception, note: str = "") -> None:
    """Report what a rule or pass raised, as `config.on_opt_error` says.

    With 'raise' it is raised again, with `message` and `note` added; with 'warn' a warning gives
    `message` and the traceback, and the rule or pass is skipped.
    """
    how = config.on_opt_error
    if how == "raise":
        error.add_note(message + note)
        raise error
    if how == "ignore":
        return
    text = "".join(traceback.format_exception(error))
    if how == "pdb":
        import pdb

        print(f"{message}:\n{text}")
        pdb.post_mortem(error.__traceback__)
        return
    warnings.warn(f"{message}, and was skipped:\n{text}", RewriteWarning, stacklevel=3)
