"""The printed summary of a profile."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from kroton.compile.profiling.memory import memory_of
from kroton.compile.profiling.stats import ProfileStats, Total

_WIDTH = 60
_LINE = 100
"""The characters of a line, where that leaves enough for a name."""


def shortened(text: str, width: int = _WIDTH) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def share_of(part: float, whole: float) -> float:
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
    """Lines of a table: columns aligned at the right, the last at the left and cut to fit."""
    cells = [list(heads), *[list(row) for row in rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads) - 1)]
    room = max(_LINE - 4 - sum(w + 2 for w in widths), 30)
    return [
        "    "
        + "  ".join(
            [cell.rjust(w) for cell, w in zip(row, widths)] + [shortened(row[-1], room)]
        )
        for row in cells
    ]  # fmt: skip


def print_summary(
    profile: ProfileStats, n_apply_to_print: int, n_ops_to_print: int, file: Any
) -> None:
    """Print `profile` to `file`; the tables beyond the first two start with what they show."""
    n_apply_to_print, n_ops_to_print = max(n_apply_to_print, 0), max(n_ops_to_print, 0)
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
    places = dict(zip(profile.functions, profile.labels()))
    several = len(places) > 1
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
        where = f"  in {places[function]}" if several else ""
        share = share_of(record.seconds, total)
        yield f"        {share:<8.3f}{record.position:<8d}{shortened(record.name)}{where}"
    rest = applys[n_applys:]
    share = share_of(sum(record.seconds for _, record in rest), total)
    yield f"   ... (remaining {len(rest)} Apply instances account for {share:.2f} of the runtime)"
    yield "Op-wise summary: <fraction of local_time spent on this kind of Op> <Op name>"
    ops = profile.by_op()
    for op in ops[:n_ops]:
        share = share_of(op.seconds, total)
        yield f"        {share:<8.3f}{'*' if op.c else ' '} {shortened(op.name)}"
    others = ops[n_ops:]
    share = share_of(sum(op.seconds for op in others), total)
    yield f"   ... (remaining {len(others)} Ops account for {share:.2f} of the runtime)"
    yield "(*) Op is running a c implementation"


def _functions(profile: ProfileStats) -> Iterable[str]:
    labels = profile.labels()
    failed = profile.failed
    rows = [
        _function_row(label, f.calls, f.failed, f.seconds, f.first[0], f.steady())
        for label, f in zip(labels, profile.functions)
    ]
    if len(rows) > 1:
        steady = [f.steady() for f in profile.functions]
        rows.append(
            _function_row(
                "all", profile.calls, failed, profile.call_time,
                sum(f.first[0] for f in profile.functions),
                (sum(n for n, _, _ in steady), sum(s for _, s, _ in steady),
                 sum(t for _, _, t in steady)),
            )
        )  # fmt: skip
    yield ""
    yield "Functions: time in calls, in thunks, and around them (the function's own overhead);"
    yield "columns after the first call are of the calls after it, if there are any"
    heads = [
        "calls", "failed", "in calls", "first call", "per call", "thunks/call", "overhead/call",
        "overhead", "function",
    ]  # fmt: skip
    if not failed:
        heads.remove("failed")
        rows = [row[:1] + row[2:] for row in rows]
    yield from table(heads, rows)
    if failed:
        yield f"    ({failed} calls have failed; their time is counted)"


def _function_row(
    label: str, calls: int, failed: int, seconds: float, first: float,
    steady: tuple[int, float, float],
) -> tuple[str, ...]:  # fmt: skip
    n, later, thunks = steady
    around = max(later - thunks, 0.0)
    return (
        str(calls), str(failed), time_text(seconds), time_text(first),
        time_text(share_of(later, n)), time_text(share_of(thunks, n)),
        time_text(share_of(around, n)), f"{share_of(around, later):.1%}", label,
    )  # fmt: skip


def _totals(title: str, totals: list[Total], profile: ProfileStats, n: int) -> Iterable[str]:
    whole = profile.local_time
    yield ""
    yield title
    yield from table(
        ("share", "time", "per call", "calls", "Applys", "impl", "name"),
        [
            (
                f"{share_of(t.seconds, whole):.3f}", time_text(t.seconds),
                time_text(share_of(t.seconds, t.calls)), str(t.calls), str(t.applys),
                "c" if t.c else "py", shortened(t.name),
            )
            for t in totals[:n]
        ],
    )  # fmt: skip
    yield from remaining(len(totals) - n, sum(t.seconds for t in totals[n:]))


def remaining(n: int, seconds: float) -> Iterable[str]:
    if n > 0:
        yield f"    ... (remaining {n} rows account for {time_text(seconds)})"


def _compilation(profile: ProfileStats, n: int) -> Iterable[str]:
    total = profile.compile_time
    yield ""
    yield f"Compilation: {time_text(total)} in all, by phase, pass and rule"
    yield from table(
        ("share", "time", "phase"),
        [(f"{share_of(s, total):.3f}", time_text(s), name) for name, s in profile.phases().items()],
    )
    passes = sorted(profile.passes().items(), key=lambda item: -item[1].seconds)
    yield from table(
        ("share", "time", "replaced", "pass"),
        [
            (f"{share_of(c.seconds, total):.3f}", time_text(c.seconds), str(c.replacements), name)
            for name, c in passes[:n]
        ],
    )
    yield from remaining(len(passes) - n, sum(c.seconds for _, c in passes[n:]))
    rules = sorted(profile.rules().items(), key=lambda item: -item[1].seconds)
    yield from table(
        ("share", "time", "tried", "replaced", "rule"),
        [
            (
                f"{share_of(c.seconds, total):.3f}", time_text(c.seconds), str(c.calls),
                str(c.replacements), f"{phase}: {rule}",
            )
            for (phase, rule), c in rules[:n]
        ],
    )  # fmt: skip
    yield from remaining(len(rules) - n, sum(c.seconds for _, c in rules[n:]))


def _memory(profile: ProfileStats, n: int) -> Iterable[str]:
    rows = []
    for label, function in zip(profile.labels(), profile.functions):
        memory = memory_of(function)
        rows.append((
            bytes_text(memory.peak), str(memory.peak_at), bytes_text(memory.kept),
            bytes_text(memory.separate), bytes_text(memory.saved), label,
        ))  # fmt: skip
    yield ""
    yield "Memory of one call: peak of the Applys' outputs, and what it would be without freeing,"
    yield "and without views and work in place either"
    heads = ("peak", "at Apply", "unfreed", "no reuse", "saved", "function")
    yield from table(heads, rows)
    sized = sorted(profile.applys(), key=lambda pair: -pair[1].output_bytes())
    yield from table(
        ("output", "Apply", "reuses", "name"),
        [
            (
                bytes_text(a.output_bytes()), str(a.position),
                ("in place" if a.destroys else "view") if a.aliases else "-", shortened(a.name),
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
    yield f"How far from the limit: this machine copies {limits.copy / 1e9:.3g} GB/s and multiplies"
    yield (
        f"matrices at {limits.gemm64 / 1e9:.3g} GFLOP/s (float64), "
        f"{limits.gemm32 / 1e9:.3g} GFLOP/s (float32)"
    )
    rows = []
    applys = profile.applys()
    total = profile.local_time
    for _, record in applys[:n]:
        each = share_of(record.seconds, record.runs)
        dtype = record.dtypes[len(record.inputs)] if record.outputs else ""
        rate, flops = share_of(record.moved(), each), share_of(record.flops(), each)
        rows.append((
            f"{share_of(record.seconds, total):.3f}", time_text(each), f"{rate / 1e9:.3g}",
            f"{rate / limits.copy:.0%}", f"{flops / 1e9:.3g}",
            f"{flops / limits.gemm(dtype):.0%}", str(record.position), shortened(record.name),
        ))  # fmt: skip
    heads = ("share", "per run", "GB/s", "of copy", "GFLOP/s", "of gemm", "Apply", "name")
    yield from table(heads, rows)
    yield from remaining(len(applys) - n, sum(a.seconds for _, a in applys[n:]))
    yield "    (over 100% of a copy: the data were in the caches; over 100% of a gemm: the machine"
    yield "    was busier when the limits were measured)"
