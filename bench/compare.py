"""Compare Kroton with NumPy and, where installed, PyTensor, JAX, PyTorch and numexpr.

    python bench/compare.py            # all cases, all engines that are installed
    python bench/compare.py --quick    # seconds; Kroton and NumPy only
    python bench/compare.py --only step
    python bench/compare.py --json results.json

Each time is the least of several; each ratio is the engine's time over Kroton's in the same
run, so more than 1 means that Kroton is faster. Only ratios of one run should be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import peers
from engines import EXPRESSIONS, Engine, Kroton, Logistic, NumPy, Perceptron, Work

import kroton


@dataclass
class Row:
    """A case and the seconds that each engine took."""

    case: str
    seconds: dict[str, float] = field(default_factory=dict)


def least(work: Work, budget: float) -> float:
    """The least seconds of one call, over about `budget` seconds of calls."""
    work()
    started = perf_counter()
    work()
    once = max(perf_counter() - started, 1e-7)
    inner = max(1, min(int(0.005 / once), 10_000))
    best = once
    deadline = perf_counter() + budget
    while True:
        started = perf_counter()
        for _ in range(inner):
            work()
        now = perf_counter()
        best = min(best, (now - started) / inner)
        if now > deadline:
            return best


def first_result(prepare: Callable[[], Work | None], repeats: int) -> float | None:
    """The median seconds from nothing to the result of a first call, each time of a new graph."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        work = prepare()
        if work is None:
            return None
        work()
        times.append(perf_counter() - started)
    return statistics.median(times)


def imports(engines: list[Engine], repeats: int) -> Row:
    """The import of each library, in a process of its own."""
    row = Row("import")
    program = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    for engine in engines:
        command = [sys.executable, "-P", "-c", program.format(engine.name)]
        times = [float(subprocess.check_output(command)) for _ in range(repeats)]
        row.seconds[engine.name] = min(times)
    return row


def rows(engines: list[Engine], quick: bool, only: str) -> Iterator[Row]:
    """Measure the cases whose names the regular expression `only` finds."""
    budget = 0.02 if quick else 0.5

    def steady(case: str, prepare: Callable[[Engine], Work | None]) -> Iterator[Row]:
        if not re.search(only, case):
            return
        row = Row(case)
        for engine in engines:
            work = prepare(engine)
            if work is not None:
                row.seconds[engine.name] = least(work, budget)
        yield row

    def first(case: str, prepare: Callable[[Engine], Work | None]) -> Iterator[Row]:
        if not re.search(only, case):
            return
        row = Row(case)
        for engine in engines:
            if engine.name not in ("numpy", "numexpr"):
                seconds = first_result(lambda engine=engine: prepare(engine), 3 if quick else 7)
                if seconds is not None:
                    row.seconds[engine.name] = seconds
        yield row

    logistic, perceptron = Logistic(), Perceptron()
    if re.search(only, "import"):
        yield imports(engines, 2 if quick else 7)
    yield from first("first result: logistic regression step", lambda e: e.logistic(logistic))
    yield from first("first result: 784-500-10 step", lambda e: e.perceptron(perceptron))

    five = np.arange(5.0)
    yield from steady("10 * x, 5 elements", lambda e: e.scale(five))
    yield from steady("logistic regression step, 4x10", lambda e: e.logistic(logistic))
    yield from steady("784-500-10 step, batch 20, f32", lambda e: e.perceptron(perceptron))

    rng = np.random.default_rng(0)
    side = 100 if quick else 1000
    square = rng.normal(size=(side, side)).astype("float32")
    yield from steady(f"softmax {side}x{side} f32", lambda e: e.softmax(square))
    sizes = (10, 1_000) if quick else (10, 1_000, 100_000, 10_000_000)
    for name, expression in EXPRESSIONS.items():
        for dtype in ("float64", "float32"):
            for size in sizes:
                a, b = rng.normal(size=(2, size)).astype(dtype)
                yield from steady(
                    f"{name}, {dtype}, {size:.0e}".replace("e+0", "e"),
                    lambda e, x=expression, a=a, b=b: e.elementwise(x, a, b),
                )


def shown(seconds: float) -> str:
    """The time in a unit that suits it."""
    for unit, factor in (("s ", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def line(row: Row, names: list[str]) -> str:
    """A line of the table: Kroton's time, and each other engine's with its ratio to it."""
    own = row.seconds["kroton"]
    cells = [f"{row.case:<62}", f"{shown(own):>9}"]
    for name in names[1:]:
        seconds = row.seconds.get(name)
        cells.append(f"{'':>18}" if seconds is None
                     else f"{shown(seconds):>9} {f'({seconds / own:.2f}x)':>8}")  # fmt: skip
    return " ".join(cells)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "numpy": np.__version__,
        "kroton": kroton.__version__,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> list[Row]:
    """Measure, print the table, return its rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, no peers")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases to measure")
    parser.add_argument("--json", type=Path, help="also write the results here")
    options = parser.parse_args(argv)

    engines: list[Engine] = [Kroton(), NumPy()]
    if not options.quick:
        engines += peers.installed()
    names = [engine.name for engine in engines]
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(" ".join([f"{'':<62}", f"{names[0]:>9}", *(f"{name:>18}" for name in names[1:])]))
    measured = []
    for row in rows(engines, options.quick, options.only):
        measured.append(row)
        print(line(row, names), flush=True)
    if options.json is not None:
        results = {"machine": machine(), "rows": [asdict(row) for row in measured]}
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return measured


if __name__ == "__main__":
    main()
