"""Passes and optimizers: which rewrites are done, in which order.

An `Optimizer` is data: the passes it may use and the tags by which it chooses among them. It
takes a pass (and, within a pass, a rule) that has one of the tags it includes, all that it
requires and none that it excludes; a pass or rule can be excluded by its name as well::

    get_optimizer("fast_run").excluding("fusion", "log(1 + x) -> log1p(x)").apply(fgraph)

From outside the package, rules are added to a phase (see `kroton.rewriting.engine`), and whole
passes with `register_pass`::

    @dataclass(frozen=True)
    class Unroll(Pass):
        def apply(self, fgraph, observer=None): ...

    register_pass(Unroll(name="unroll", tags=frozenset({"fast_run"}), position=1.2))
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from typing import Any

from kroton.config import check, config
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.engine import (
    Phase,
    RewriteLoopError,
    Rule,
    RuleIndex,
    apply_rules,
    report_failure,
)
from kroton.rewriting.observer import Observer, Observers, RewriteTrace


@dataclass(frozen=True)
class Selection:
    """Which passes and rules are wanted, by their tags and names."""

    included: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()

    def takes(self, name: str, tags: frozenset[str]) -> bool:
        """Whether something of this name with these tags is wanted."""
        return self.admits(name, tags) and not self.included.isdisjoint(tags | {name})

    def admits(self, name: str, tags: frozenset[str]) -> bool:
        """Whether it would be, if it were included."""
        if name in self.excluded or not self.excluded.isdisjoint(tags):
            return False
        return self.required <= tags | {name}

    def takes_rule(self, rule: Rule) -> bool:
        """Whether a rule is wanted, of a pass that is (which may have been included by name)."""
        if rule.name in self.excluded or not self.excluded.isdisjoint(rule.tags):
            return False
        return (
            not self.included.isdisjoint(rule.tags)
            or rule.name in self.included
            or rule.phase in self.included
        )


@dataclass(frozen=True)
class Pass:
    """One step of an optimizer. Subclasses define `apply`."""

    name: str
    tags: frozenset[str] = frozenset()
    """Which optimizers take it: 'fast_run', 'fast_compile', ... and what it is about."""
    position: float = 50.0
    """Passes run by increasing position: canonicalize 1, stabilize 1.5, specialize 2, fusion 49,
    inplace 75."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        """Rewrite `fgraph` in place. `selection` is that of the optimizer, for single rules."""
        raise TypeError(f"the pass {self.name} does not define apply")

    def chosen_by(self) -> set[str]:
        """The names and tags by which it, or a rule of it, is chosen."""
        return {self.name, *self.tags}

    def has_rule(self, names: frozenset[str]) -> bool:
        """Whether one of its rules has one of the names: to include that is to run the pass."""
        return False


@dataclass(frozen=True)
class PhasePass(Pass):
    """Applies the rules of phases until none fires."""

    phases: tuple[Phase, ...] = ()
    """Tried on every Apply."""
    cleanup: tuple[Phase, ...] = ()
    """Tried on the Applys that the rules have made or changed."""

    def apply(
        self, fgraph: FunctionGraph, observer: Observer | None = None,
        selection: Selection | None = None,
    ) -> None:  # fmt: skip
        first = rules_of(self.phases, selection)
        if not len(first):
            return
        again = rules_of(self.phases + self.cleanup, selection) if self.cleanup else None
        apply_rules(fgraph, first, again, observer, self.name)

    def chosen_by(self) -> set[str]:
        known = super().chosen_by()
        for phase in self.phases + self.cleanup:
            known.update({phase.name}, phase.tags)
            for rule in phase.rules:
                known.update({rule.name}, rule.tags)
        return known

    def has_rule(self, names: frozenset[str]) -> bool:
        return any(name in phase for phase in self.phases for name in names)


_indexes: dict[Any, RuleIndex] = {}


def rules_of(phases: tuple[Phase, ...], selection: Selection | None = None) -> RuleIndex:
    """The index of the rules of `phases` that `selection` takes; kept until a phase changes."""
    key = (selection, *((phase, phase.version) for phase in phases))
    found = _indexes.get(key)
    if found is None:
        if len(_indexes) > 256:
            _indexes.clear()
        rules = [rule for phase in phases for rule in phase.rules]
        if selection is not None:
            rules = [rule for rule in rules if selection.takes_rule(rule)]
        _indexes[key] = found = RuleIndex(rules)
    return found


@dataclass(frozen=True)
class Optimizer:
    """The passes that turn a graph into the one that is run.

    Parameters
    ----------
    passes : tuple of Pass or None
        Those to choose from; None stands for all that are registered when it is applied.
    included, excluded, required : frozenset of str
        Tags and names; see the module. If passes are listed and nothing is included, these are,
        and the rules of theirs that have no tags of their own.
    position_cutoff : float
        Passes beyond this position are left out.
    name : str
        For printing.
    """

    passes: tuple[Pass, ...] | None = None
    included: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    position_cutoff: float = float("inf")
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.passes is None:
            return
        listed = tuple(self.passes)
        for pass_ in listed:
            _check_pass(pass_)
        object.__setattr__(self, "passes", listed)
        if not self.included:
            tags = [{pass_.name, *pass_.tags} for pass_ in listed]
            for pass_ in listed:
                if isinstance(pass_, PhasePass):
                    tags += [set(phase.tags) for phase in pass_.phases + pass_.cleanup]
            object.__setattr__(self, "included", frozenset().union(*tags))

    def including(self, *tags: str) -> Optimizer:
        """This one, with what has one of the tags (or names) taken as well.

        A rule that is included by its name is applied by its pass, also if nothing else of that
        is wanted.

        Raises
        ------
        ValueError
            As `excluding` and `requiring` do: if one of the tags names neither a pass nor a rule
            or tag; the message lists close names. Several may stand in one string, separated by
            ':'.
        """
        return replace(self, included=self.included.union(self._known(tags)))

    def excluding(self, *tags: str) -> Optimizer:
        """This one, without what has one of the tags (or names)."""
        return replace(self, excluded=self.excluded.union(self._known(tags)))

    def requiring(self, *tags: str) -> Optimizer:
        """This one, with only the passes that have all of the tags."""
        return replace(self, required=self.required.union(self._known(tags)))

    def _known(self, tags: Iterable[str]) -> list[str]:
        return _checked_names(tags, self.passes or ())

    @cached_property
    def selection(self) -> Selection:
        """By which passes and rules are chosen."""
        return Selection(self.included, self.excluded, self.required)

    @property
    def selected(self) -> tuple[Pass, ...]:
        """The passes that are run, in order."""
        candidates = passes() if self.passes is None else self.passes
        wanted = self.selection
        chosen = [
            p
            for p in candidates
            if p.position <= self.position_cutoff
            and (
                wanted.takes(p.name, p.tags)
                or (p.has_rule(wanted.included) and wanted.admits(p.name, p.tags))
            )
        ]
        return tuple(sorted(chosen, key=lambda p: p.position))

    def apply(self, fgraph: FunctionGraph, observer: Observer | None = None) -> None:
        """Rewrite `fgraph` in place.

        Parameters
        ----------
        fgraph : FunctionGraph
        observer : Observer, optional
            Told of every pass and replacement. With `config.optimizer_verbose`, replacements
            are printed to stderr too.

        Raises
        ------
        Exception
            What a pass raises, if `config.on_opt_error` is 'raise' or the graph cannot be
            computed as the pass has left it. Otherwise the rest of the pass is skipped.
        """
        if config.optimizer_verbose:
            printer = RewriteTrace(sys.stderr)
            observer = printer if observer is None else Observers([observer, printer])
        for pass_ in self.selected:
            if observer is None:
                self._run(pass_, fgraph, None)
                continue
            observer.pass_started(pass_, fgraph)
            started = perf_counter()
            self._run(pass_, fgraph, observer)
            observer.pass_finished(pass_, fgraph, perf_counter() - started)

    def _run(self, pass_: Pass, fgraph: FunctionGraph, observer: Observer | None) -> None:
        try:
            pass_.apply(fgraph, observer, self.selection)
        except Exception as error:
            notes = getattr(error, "__notes__", ())
            if isinstance(error, RewriteLoopError) or any(n.startswith("the rule ") for n in notes):
                raise  # with 'raise', of a rule, which is named
            message = f"the pass {pass_.name!r} failed"
            if not _in_order(fgraph):
                error.add_note(f"{message}, and left a graph that cannot be computed")
                raise
            report_failure(message, error)

    def __str__(self) -> str:
        return self.name or f"Optimizer({', '.join(p.name for p in self.selected)})"


def _in_order(fgraph: FunctionGraph) -> bool:
    """Whether the graph can be computed as it is."""
    try:
        fgraph.toposort()
    except Exception:
        return False
    return True


# ---- the registry ------------------------------------------------------------------------

_passes: dict[str, Pass] = {}
_optimizers: dict[str, Optimizer] = {}

_NAMED: dict[str, tuple[tuple[str, ...], tuple[str, ...], float]] = {
    "None": ((), (), float("inf")),
    "merge": (("merge",), (), float("inf")),
    "fast_compile": (("fast_compile",), (), float("inf")),
    "stabilize": (("fast_run",), (), 1.5),
    "fast_run": (("fast_run",), (), float("inf")),
    "unsafe": (("fast_run", "unsafe"), (), float("inf")),
    "o1": (("fast_compile",), (), float("inf")),
    "o2": (("fast_compile", "fusion"), (), float("inf")),
    "o3": (("fast_run",), ("inplace",), float("inf")),
    "o4": (("fast_run",), (), float("inf")),
}
"""For each named optimizer what it includes, excludes, and its last position."""


def register_pass(pass_: Pass) -> Pass:
    """Make a pass available to the named optimizers that its tags choose.

    Raises
    ------
    TypeError
        If it is no Pass, or its tags are no set of strings.
    ValueError
        If there is one of that name.
    """
    _check_pass(pass_)
    if pass_.name in _passes:
        raise ValueError(f"there already is a pass named {pass_.name!r}")
    _passes[pass_.name] = pass_
    return pass_


def _check_pass(pass_: Any) -> None:
    if not isinstance(pass_, Pass):
        raise TypeError(f"a pass is an instance of a class derived from Pass, not {pass_!r}")
    if not isinstance(pass_.tags, (set, frozenset)):
        raise TypeError(
            f"the tags of the pass {pass_.name!r} are a frozenset of strings, not {pass_.tags!r}"
        )


def unregister_pass(name: str) -> Pass:
    """Take the pass of that name out of the registry; return it."""
    if name not in _passes:
        raise ValueError(f"there is no pass named {name!r}; there are {', '.join(_passes)}")
    return _passes.pop(name)


def passes() -> tuple[Pass, ...]:
    """The registered passes, by position."""
    return tuple(sorted(_passes.values(), key=lambda p: p.position))


def register_optimizer(name: str, opt: Optimizer) -> None:
    """Let `get_optimizer(name)` find `opt`.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in _NAMED or name in _optimizers:
        raise ValueError(f"there already is an optimizer named {name!r}")
    _optimizers[name] = opt


def optimizer_names() -> tuple[str, ...]:
    """The names that `get_optimizer` knows."""
    return (*_NAMED, *_optimizers)


def get_optimizer(name: str | Optimizer | None) -> Optimizer:
    """The optimizer of that name.

    `config.optimizer_including`, `optimizer_excluding` and `optimizer_requiring` (tags or
    names separated by ':') are applied to those that are given by name.

    Parameters
    ----------
    name : str, None or Optimizer
        None is the optimizer without passes; an Optimizer is returned as it is.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If there is none of that name; the message lists them. If one of the settings names
        neither a pass nor a rule or tag; the message lists close names.
    """
    if isinstance(name, Optimizer):
        return name
    if not isinstance(name, str | None):
        raise TypeError(
            f"an optimizer is an Optimizer, the name of one, or None, not {name!r}; single passes "
            "are chosen with Optimizer(included=frozenset({...})), by their names and tags"
        )
    key = "None" if name is None else name
    if key in _optimizers:
        found = _optimizers[key]
    elif key in _NAMED:
        included, excluded, cutoff = _NAMED[key]
        found = Optimizer(
            None, frozenset(included), frozenset(excluded), position_cutoff=cutoff, name=key
        )
    else:
        raise ValueError(
            f"there is no optimizer named {key!r}; there are {', '.join(optimizer_names())}"
        )
    if key == "None":
        return found
    for setting, method in (
        (config.optimizer_including, "including"),
        (config.optimizer_excluding, "excluding"),
        (config.optimizer_requiring, "requiring"),
    ):
        if setting:
            found = getattr(found, method)(setting)
    return found


def _known_names(more: Iterable[Pass]) -> set[str]:
    """The names and tags of all passes, phases and rules, and what named optimizers include."""
    known = {name for included, excluded, _ in _NAMED.values() for name in included + excluded}
    return known.union(*(pass_.chosen_by() for pass_ in (*_passes.values(), *more)))


def _checked_names(texts: Iterable[str], more: Iterable[Pass] = ()) -> list[str]:
    """The names in `texts`, of passes that are registered and of `more`, their rules and tags.

    Raises
    ------
    TypeError
        If a text is no string.
    ValueError
        For what names neither a pass nor a phase, rule or tag.
    """
    known = _known_names(more)
    found: list[str] = []
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"passes and rules are chosen by names and tags, not by {text!r}")
        found += [text] if text in known else [name for name in text.split(":") if name]
    for tag in found:
        if tag in known:
            continue
        import difflib

        close = difflib.get_close_matches(tag, known, 4)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(
            f"there is no pass, rule or tag {tag!r}{hint} (the passes are "
            f"{', '.join(p.name for p in passes())}; rules have the names that "
            "kroton.printing.rewrite_trace shows)"
        )
    return found


def check_settings() -> None:
    """Refuse what `config.optimizer_including` and its like name wrongly, from now on.

    Called once the registry is filled: settings from the environment or the file are judged at
    once.
    """
    for setting in ("optimizer_including", "optimizer_excluding", "optimizer_requiring"):
        check(setting, lambda text: _checked_names([text]))
