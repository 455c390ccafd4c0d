"""The printed difference of two profiles."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from kroton.compile.profiling.records import ApplyRecord, FunctionRecord
from kroton.compile.profiling.stats import ProfileStats
from kroton.compile.profiling.summary import remaining, share_of, shortened, table, time_text

_HEADS = ("first", "second", "difference", "ratio")


@dataclass
class _Cost:
    """Of something in one call of its function."""

    seconds: float = 0.0
    implementation: str = ""

    def add(self, record: ApplyRecord) -> None:
        self.seconds += share_of(record.seconds, record.runs)
        if record.implementation not in self.implementation.split("/"):
            self.implementation += ("/" if self.implementation else "") + record.implementation


def print_diff_summary(
    first: ProfileStats, second: ProfileStats, n_applys: int, n_ops: int, file: Any
) -> None:
    """Print two profiles side by side, in time per call of each function."""
    title = "ProfileMode.print_diff_summary()"
    lines = [title, "-" * len(title), ""]
    left, right = _by_label(first, second)
    several = len({*left, *right}) > 1
    rows = []
    for name in dict.fromkeys([*left, *right]):
        sides = [left.get(name), right.get(name)]
        counted = [(0, 0.0, 0.0) if f is None else f.steady() for f in sides]
        for what, k in (("in calls", 1), ("in thunks", 2)):
            a, b = (share_of(side[k], side[0]) for side in counted)
            rows.append((*_difference(a, b), f"{what} of {name}" if several else what))
    rows.append((*_difference(first.compile_time, second.compile_time), "compilation, in all"))
    lines.append(f"Per call, of {first.calls} and {second.calls} calls, but for each first one")
    lines += table((*_HEADS, "what"), rows)
    for title, by_op, n in (
        ("Apply-wise difference, by Op name and occurrence", False, max(n_applys, 0)),
        ("Op-wise difference", True, max(n_ops, 0)),
    ):
        ours, theirs = _costs(left, by_op), _costs(right, by_op)
        pairs = {key: (ours.get(key, _Cost()), theirs.get(key, _Cost())) for key in ours | theirs}
        keys = sorted(pairs, key=lambda key: -abs(_gain(*pairs[key])))
        lines += ["", title]
        lines += table(
            (*_HEADS, "impl", "name"),
            [
                (
                    *_difference(one.seconds, other.seconds),
                    _change_of(one.implementation, other.implementation),
                    shortened(name) + (f"  in {label}" if several else ""),
                )
                for (label, name), (one, other) in ((key, pairs[key]) for key in keys[:n])
            ],
        )
        lines += remaining(len(keys) - n, sum(_gain(*pairs[key]) for key in keys[n:]))
    print("\n".join(lines), file=sys.stdout if file is None else file)


def _by_label(
    first: ProfileStats, second: ProfileStats
) -> tuple[dict[str, FunctionRecord], dict[str, FunctionRecord]]:
    """The functions of both by what they are called; two that are alone are a pair in any case."""
    left = dict(zip(first.labels(), first.functions))
    right = dict(zip(second.labels(), second.functions))
    if len(left) == len(right) == 1:
        right = dict(zip(left, right.values()))
    return left, right


def _costs(functions: dict[str, FunctionRecord], by_op: bool) -> dict[tuple[str, str], _Cost]:
    """For each function and Op (and its occurrence), what it costs in one call."""
    costs: dict[tuple[str, str], _Cost] = {}
    for label, function in functions.items():
        seen: dict[str, int] = {}
        for record in function.refresh():
            name = record.name
            count = seen[name] = seen.get(name, 0) + 1
            if count > 1 and not by_op:
                name = f"{name} ({count})"
            costs.setdefault((label, name), _Cost()).add(record)
    return costs


def _gain(first: _Cost, second: _Cost) -> float:
    return first.seconds - second.seconds


def _difference(a: float, b: float) -> tuple[str, ...]:
    return time_text(a), time_text(b), time_text(b - a), f"{b / a:.2f}" if a > 0 else "-"


def _change_of(a: str, b: str) -> str:
    """An implementation, or what it was and what it is."""
    return a if a == b else f"{a or '-'} -> {b or '-'}"
