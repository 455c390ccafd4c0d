"""The printed summary of a profile."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from kroton.compile.profiling.memory import memory_of
from kroton.compile.profiling.stats import ProfileStats, Total

_WIDTH = 60


def _name(text: str, width: int = _WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def time_text(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if abs(seconds) * factor >= 1:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def bytes_text(n: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB"):
        if abs(n) < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024
    return f"{n:.4g} GiB"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table: columns aligned at the right, the last at the left."""
    cells = [list(heads), *[list(row) for row in rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
    return [
        "    "
        + "  ".join(
            [cell.rjust(w) for cell, w in zip(row[:-1], widths)] + [row[-1]]
        )
        for row in cells
    ]  # fmt: skip


def print_summary(
    profile: ProfileStats, n_apply_to_print: int, n_ops_to_print: int, file: Any
) -> None:
    """Print `profile` to `file`; the tables beyond the first two start with what they show."""
    lines = [*_lineage(profile, n_apply_to_print, n_ops_to_print)]
    lines += _functions(profile)
    lines += _totals(
        "Class-wise summary: by class of Op", profile.by_class(), profile, n_ops_to_print
    )
    lines += _totals("Calls of each Op", profile.by_op(), profile, n_ops_to_print)
    lines += _compilation(profile, n_ops_to_print)
    lines += _memory(profile, n_apply_to_print)
    lines += _limits(profile, n_apply_to_print)
    print("\n".join(lines), file=sys.stdout if file is None else file)


def _lineage(profile: ProfileStats, n_applys: int, n_ops: int) -> Iterable[str]:
    total = profile.local_time
    applys = profile.applys()
    several = len(profile.functions) > 1
    title = "ProfileMode.print_summary()"
    yield title
    yield "-" * len(title)
    yield ""
    yield f"local_time {total:.4g} (Time spent running thunks)"
    yield (
        "Apply-wise summary: <fraction of local_time spent at this position> "
        "(<Apply position>, <Apply Op name>)"
    )
    for function, record in applys[:n_applys]:
        where = f"  in {_label(profile, function)}" if several else ""
        share = _share(record.seconds, total)
        yield f"        {share:<8.3f}{record.position:<8d}{_name(record.name)}{where}"
    rest = applys[n_applys:]
    share = _share(sum(record.seconds for _, record in rest), total)
    yield f"   ... (remaining {len(rest)} Apply instances account for {share:.2f} of the runtime)"
    yield "Op-wise summary: <fraction of local_time spent on this kind of Op> <Op name>"
    ops = profile.by_op()
    for op in ops[:n_ops]:
        yield f"        {_share(op.seconds, total):<8.3f}{'*' if op.c else ' '} {_name(op.name)}"
    others = ops[n_ops:]
    share = _share(sum(op.seconds for op in others), total)
    yield f"   ... (remaining {len(others)} Ops account for {share:.2f} of the runtime)"
    yield "(*) Op is running a c implementation"


def _label(profile: ProfileStats, function: Any) -> str:
    return function.name or f"function {profile.functions.index(function)}"


def _functions(profile: ProfileStats) -> Iterable[str]:
    rows = []
    entries = [
        (_label(profile, f), f.calls, f.seconds, f.thunk_seconds()) for f in profile.functions
    ]
    if len(entries) > 1:
        entries.append(("all", profile.calls, profile.call_time, profile.local_time))
    for name, calls, seconds, thunks in entries:
        around = max(seconds - thunks, 0.0)
        rows.append((
            str(calls), time_text(seconds), time_text(_share(seconds, calls)), time_text(thunks),
            time_text(_share(around, calls)), f"{_share(around, seconds):.1%}", name,
        ))  # fmt: skip
    yield ""
    yield "Functions: time in calls, in thunks, and around them (the function's own overhead)"
    heads = ("calls", "in calls", "per call", "in thunks", "overhead/call", "overhead", "function")
    yield from table(heads, rows)


def _totals(title: str, totals: list[Total], profile: ProfileStats, n: int) -> Iterable[str]:
    whole = profile.local_time
    yield ""
    yield title
    yield from table(
        ("share", "time", "per call", "calls", "Applys", "impl", "name"),
        [
            (
                f"{_share(t.seconds, whole):.3f}", time_text(t.seconds),
                time_text(_share(t.seconds, t.calls)), str(t.calls), str(t.applys),
                "c" if t.c else "py", _name(t.name),
            )
            for t in totals[:n]
        ],
    )  # fmt: skip
    yield from _remaining(len(totals) - n, sum(t.seconds for t in totals[n:]))


def _remaining(n: int, seconds: float) -> Iterable[str]:
    if n > 0:
        yield f"    ... (remaining {n} rows account for {time_text(seconds)})"


def _compilation(profile: ProfileStats, n: int) -> Iterable[str]:
    total = profile.compile_time
    yield ""
    yield f"Compilation: {time_text(total)} in all, by phase, pass and rule"
    yield from table(
        ("share", "time", "phase"),
        [(f"{_share(s, total):.3f}", time_text(s), name) for name, s in profile.phases().items()],
    )
    passes = sorted(profile.passes().items(), key=lambda item: -item[1].seconds)
    yield from table(
        ("share", "time", "replaced", "pass"),
        [
            (f"{_share(c.seconds, total):.3f}", time_text(c.seconds), str(c.replacements), name)
            for name, c in passes[:n]
        ],
    )
    yield from _remaining(len(passes) - n, sum(c.seconds for _, c in passes[n:]))
    rules = sorted(profile.rules().items(), key=lambda item: -item[1].seconds)
    yield from table(
        ("share", "time", "tried", "replaced", "rule"),
        [
            (
                f"{_share(c.seconds, total):.3f}", time_text(c.seconds), str(c.calls),
                str(c.replacements), f"{phase}: {rule}",
            )
            for (phase, rule), c in rules[:n]
        ],
    )  # fmt: skip
    yield from _remaining(len(rules) - n, sum(c.seconds for _, c in rules[n:]))


def _memory(profile: ProfileStats, n: int) -> Iterable[str]:
    rows = []
    for function in profile.functions:
        memory = memory_of(function)
        rows.append((
            bytes_text(memory.peak), str(memory.peak_at), bytes_text(memory.kept),
            bytes_text(memory.separate), bytes_text(memory.saved), _label(profile, function),
        ))  # fmt: skip
    yield ""
    yield (
        "Memory of one call: peak of the Applys' outputs, and what it would be without freeing, "
        "and without views and work in place either"
    )
    heads = ("peak", "at Apply", "unfreed", "no reuse", "saved", "function")
    yield from table(heads, rows)
    sized = sorted(profile.applys(), key=lambda pair: -pair[1].output_bytes())
    yield from table(
        ("output", "Apply", "reuses", "name"),
        [
            (
                bytes_text(a.output_bytes()), str(a.position),
                ("in place" if a.destroys else "view") if a.aliases else "-", _name(a.name),
            )
            for _, a in sized[:n]
        ],
    )  # fmt: skip
    yield from _remaining_bytes(sized[n:])


def _remaining_bytes(pairs: Sequence[Any]) -> Iterable[str]:
    if pairs:
        n = sum(a.output_bytes() for _, a in pairs)
        yield f"    ... (remaining {len(pairs)} rows account for {bytes_text(n)})"


def _limits(profile: ProfileStats, n: int) -> Iterable[str]:
    limits = profile.limits
    yield ""
    yield (
        f"How far from the limit: this machine copies {limits.copy / 1e9:.3g} GB/s and multiplies "
        f"matrices at {limits.gemm64 / 1e9:.3g} GFLOP/s (float64), "
        f"{limits.gemm32 / 1e9:.3g} (float32)"
    )
    rows = []
    applys = profile.applys()
    total = profile.local_time
    for _, record in applys[:n]:
        each = _share(record.seconds, record.runs)
        dtype = record.dtypes[len(record.inputs)] if record.outputs else ""
        rate, flops = _share(record.moved(), each), _share(record.flops(), each)
        rows.append((
            f"{_share(record.seconds, total):.3f}", time_text(each), f"{rate / 1e9:.3g}",
            f"{rate / limits.copy:.0%}", f"{flops / 1e9:.3g}",
            f"{flops / limits.gemm(dtype):.0%}", str(record.position), _name(record.name),
        ))  # fmt: skip
    heads = ("share", "per run", "GB/s", "of copy", "GFLOP/s", "of gemm", "Apply", "name")
    yield from table(heads, rows)
    yield from _remaining(len(applys) - n, sum(a.seconds for _, a in applys[n:]))
    yield "    (over 100% of a copy: the data were in the caches)"


def print_diff_summary(
    first: ProfileStats, second: ProfileStats, n_applys: int, n_ops: int, file: Any
) -> None:
    """Print two profiles side by side, in time per call of their functions."""
    title = "ProfileMode.print_diff_summary()"
    lines = [title, "-" * len(title), ""]
    pairs = [
        ("in calls", first.call_time, second.call_time),
        ("in thunks", first.local_time, second.local_time),
    ]
    rows = [
        _difference(_share(a, first.calls), _share(b, second.calls), name) for name, a, b in pairs
    ]
    rows.append(_difference(first.compile_time, second.compile_time, "compilation"))
    heads = ("first", "second", "difference", "ratio")
    lines.append(f"Per call, of {first.calls} and {second.calls} calls")
    lines += table((*heads, "what"), rows)
    for title, kind, n in (
        ("Apply-wise difference, by Op name and occurrence", _by_occurrence, n_applys),
        ("Op-wise difference", _by_op, n_ops),
    ):
        left, right = kind(first), kind(second)
        names = sorted({**left, **right}, key=lambda k: -abs(left.get(k, 0.0) - right.get(k, 0.0)))
        lines += ["", title]
        lines += table(
            (*heads, "name"),
            [_difference(left.get(k, 0.0), right.get(k, 0.0), _name(k)) for k in names[:n]],
        )
        rest = names[n:]
        lines += _remaining(len(rest), sum(left.get(k, 0.0) - right.get(k, 0.0) for k in rest))
    print("\n".join(lines), file=sys.stdout if file is None else file)


def _difference(a: float, b: float, name: str) -> tuple[str, ...]:
    ratio = f"{b / a:.2f}" if a > 0 else "-"
    return time_text(a), time_text(b), time_text(b - a), ratio, name


def _by_op(profile: ProfileStats) -> dict[str, float]:
    return {t.name: _share(t.seconds, profile.calls) for t in profile.by_op()}


def _by_occurrence(profile: ProfileStats) -> dict[str, float]:
    times: dict[str, float] = {}
    seen: dict[str, int] = {}
    for function in profile.functions:
        for record in function.refresh():
            count = seen[record.name] = seen.get(record.name, 0) + 1
            key = record.name if count == 1 else f"{record.name} ({count})"
            times[key] = _share(record.seconds, profile.calls)
    return times
