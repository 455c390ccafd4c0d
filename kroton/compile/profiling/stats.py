"""ProfileStats: the hook that counts, and what can be asked of the counts."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kroton.compile.profiling.limits import Limits, measured_limits
from kroton.compile.profiling.records import ApplyRecord, FunctionRecord, record_function
from kroton.graph.fg import FunctionGraph
from kroton.linking.hooks import Hook
from kroton.rewriting.observer import Cost, RewriteProfile


@dataclass
class Total:
    """What all the Applys of one kind have cost."""

    name: str
    seconds: float = 0.0
    calls: int = 0
    applys: int = 0
    c: bool = True
    """Whether all of them run a compiled kernel."""

    def add(self, record: ApplyRecord) -> None:
        """Count an Apply in."""
        self.seconds += record.seconds
        self.calls += record.runs
        self.applys += 1
        self.c = self.c and record.c


class ProfileStats(Hook):
    """Where the time of one or several functions goes: in each Apply, around them, and in
    compiling.

    Made by `ProfileMode` and by `function(..., profile=True)`, whose `f.profile` it is. The
    clock is read in C just before and just after each kernel. It may be pickled, and functions
    may be called in several threads while it counts.

    Attributes
    ----------
    functions : list of FunctionRecord
        One for each function compiled, in order.
    """

    needs_values = False

    def __init__(self) -> None:
        self.functions: list[FunctionRecord] = []
        self._limits: Limits | None = None
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._rewriting: weakref.WeakKeyDictionary[Any, RewriteProfile] = (
            weakref.WeakKeyDictionary()
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"functions": self.functions, "_limits": self._limits}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    # ---- as a hook -----------------------------------------------------------------------

    def rewrite_observer(self, fgraph: FunctionGraph) -> RewriteProfile:
        observer = RewriteProfile()
        with self._lock:
            self._rewriting[fgraph] = observer
        return observer

    def compile_finished(self, function: Any, seconds: dict[str, float]) -> None:
        with self._lock:
            observer = self._rewriting.pop(function.maker.fgraph, None)
        record = record_function(function, seconds, observer)
        with self._lock:
            self.functions.append(record)
        function.profile = self

    # ---- asking --------------------------------------------------------------------------

    @property
    def limits(self) -> Limits:
        """What this machine can do; measured the first time it is asked for."""
        if self._limits is None:
            self._limits = measured_limits()
        return self._limits

    @property
    def local_time(self) -> float:
        """Seconds in Applys."""
        return sum(f.thunk_seconds() for f in self.functions)

    @property
    def call_time(self) -> float:
        """Seconds in calls, also in those that failed."""
        return sum(f.seconds for f in self.functions)

    @property
    def calls(self) -> int:
        """Calls that have succeeded."""
        return sum(f.calls for f in self.functions)

    @property
    def failed(self) -> int:
        """Calls that have raised."""
        return sum(f.failed for f in self.functions)

    def labels(self) -> list[str]:
        """What to call each function: its name, with a number where several have the same."""
        names = [f.name or f"function {k}" for k, f in enumerate(list(self.functions))]
        labels: list[str] = []
        for k, name in enumerate(names):
            count = names[:k].count(name) + 1
            labels.append(f"{name} ({count})" if names.count(name) > 1 else name)
        return labels

    @property
    def compile_time(self) -> float:
        """Seconds in compiling."""
        return sum(f.compile_seconds for f in self.functions)

    def applys(self) -> list[tuple[FunctionRecord, ApplyRecord]]:
        """Every Apply with its function, the most expensive first."""
        pairs = [(f, a) for f in list(self.functions) for a in f.refresh()]
        return sorted(pairs, key=lambda pair: -pair[1].seconds)

    def by_op(self) -> list[Total]:
        """Totals by Op, the most expensive first."""
        return self._totals("name")

    def by_class(self) -> list[Total]:
        """Totals by class of Op, the most expensive first."""
        return self._totals("class_name")

    def _totals(self, attribute: str) -> list[Total]:
        totals: dict[str, Total] = {}
        for _, record in self.applys():
            name = getattr(record, attribute)
            totals.setdefault(name, Total(name)).add(record)
        return sorted(totals.values(), key=lambda total: -total.seconds)

    def passes(self) -> dict[str, Cost]:
        """What each pass has cost, over all functions."""
        return _summed((name, cost) for f in self.functions for name, cost in f.passes.items())

    def rules(self) -> dict[tuple[str, str], Cost]:
        """What each rule of each pass has cost, over all functions."""
        return _summed((key, cost) for f in self.functions for key, cost in f.rules.items())

    def phases(self) -> dict[str, float]:
        """Seconds by phase of compilation."""
        total: dict[str, float] = {}
        for f in self.functions:
            for name, seconds in f.phases.items():
                total[name] = total.get(name, 0.0) + seconds
        return total

    def reset(self) -> None:
        """Forget the calls (for instance the first ones), not the functions."""
        for f in self.functions:
            f.timings.reset()

    # ---- showing -------------------------------------------------------------------------

    def print_summary(
        self, n_apply_to_print: int = 15, n_ops_to_print: int = 20, file: Any = None
    ) -> None:
        """Print where the time went.

        Parameters
        ----------
        n_apply_to_print : int
            Rows of the tables of Applys.
        n_ops_to_print : int
            Rows of the other tables.
        file : text file, optional
            Standard output by default.
        """
        from kroton.compile.profiling.summary import print_summary

        print_summary(self, n_apply_to_print, n_ops_to_print, file)

    def summary(
        self, file: Any = None, n_ops_to_print: int = 20, n_apply_to_print: int = 20
    ) -> None:
        """`print_summary` as profiles of single functions have it in the lineage."""
        self.print_summary(n_apply_to_print, n_ops_to_print, file)

    def print_diff_summary(
        self, other: Any, n_apply_to_print: int = 15, n_ops_to_print: int = 20, file: Any = None
    ) -> None:
        """Print this profile against `other`, a ProfileMode or ProfileStats of the same work.

        Functions are paired by name, and their times are per call, so that the two may have been
        called differently often.

        Raises
        ------
        TypeError
            If `other` is no profile.
        """
        from kroton.compile.profiling.difference import print_diff_summary

        second = getattr(other, "stats", other)
        if not isinstance(second, ProfileStats):
            raise TypeError(
                f"a profile is compared with a ProfileMode or a ProfileStats, not with {other!r}"
            )
        print_diff_summary(self, second, n_apply_to_print, n_ops_to_print, file)

    def to_dict(self) -> dict[str, Any]:
        """Everything that was measured, as plain dicts, lists, strings and numbers."""
        from kroton.compile.profiling.export import to_dict

        return to_dict(self)

    def to_json(self, path: Any = None) -> str:
        """`to_dict()` as JSON; also written to `path` if one is given."""
        from kroton.compile.profiling.export import to_json

        return to_json(self, path)

    def write_trace(self, path: Any) -> None:
        """Write a file for Perfetto (ui.perfetto.dev) or chrome://tracing.

        It has the latest call of each function as a timeline.
        """
        from kroton.compile.profiling.export import write_trace

        write_trace(self, path)

    def write_html(self, path: Any) -> None:
        """Write one HTML file, which needs no network: tables to sort, the optimized graph with
        its costs, the timeline of the latest call."""
        from kroton.compile.profiling.export import write_html

        write_html(self, path)

    def __repr__(self) -> str:
        names = ", ".join(f.name or "?" for f in self.functions)
        return f"<profile of {len(self.functions)} function(s) [{names}], {self.calls} calls>"


def merged(profiles: Iterable[ProfileStats]) -> ProfileStats:
    """One profile of all the functions of several."""
    result = ProfileStats()
    for profile in profiles:
        result.functions.extend(f for f in profile.functions if f not in result.functions)
    return result


def _summed(pairs: Any) -> dict[Any, Cost]:
    total: dict[Any, Cost] = {}
    for key, cost in pairs:
        entry = total.setdefault(key, Cost())
        entry.calls += cost.calls
        entry.replacements += cost.replacements
        entry.seconds += cost.seconds
    return total
