"""How long `function()` takes, beside JAX's first call and PyTensor's `function`.

    python bench/compile_time.py             # the training steps, with the peers installed
    python bench/compile_time.py --first     # what a new user waits: new processes, no caches
    python bench/compile_time.py --growth    # chains, trees and fans of 100 to 100 000 Applys
    python bench/compile_time.py --passes    # what each pass costs in either mode

A new graph is made for each time; what is timed is the call of `function` (for JAX, the first
call of the jitted step, which traces and compiles). Times are the least of several, after one
that is not counted, in one process: PyTensor finds what it compiled before in its caches, and its
default linker (Numba) leaves compiling to the first call, which is not timed. `--first` times
`function`, and `function` with the first call, each sample in a process of its own, after the
imports; it gives PyTensor an empty directory for its caches ("empty") and then the same again
("filled"), with its default linker and with the one that compiles C in `function`. `--growth`
takes each sample in a process of its own too. Ratios are the peer's time over Kroton's in the
same run; only they compare across machines.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time
from typing import Any

import numpy as np
from training_steps import DATA, MODELS, Library

SIZES = (100, 1_000, 10_000, 100_000)
MODES = ("FAST_RUN", "FAST_COMPILE")


def least(once: Callable[[], float], repeats: int) -> float:
    """The least of `repeats` times, after one that is not counted."""
    once()
    return min(once() for _ in range(repeats))


def function_time(library: Library, name: str, **options: Any) -> float:
    """The seconds that `function` takes for a model."""
    inputs, output, updates = MODELS[name](library)
    started = perf_counter()
    kept = library.function(inputs, output, updates=updates, **options)
    seconds = perf_counter() - started
    del kept
    return seconds


def jax_time(name: str) -> float:
    """The seconds of the first call of the step, jitted anew."""
    import jax
    from jax_steps import STEPS

    cost, parameters, data = STEPS[name]()

    def step(p: Any, *values: Any) -> Any:
        value, gradients = jax.value_and_grad(cost)(p, *values)
        return value, [a - 0.1 * g for a, g in zip(p, gradients)]

    jitted = jax.jit(step)
    started = perf_counter()
    jax.block_until_ready(jitted(parameters, *data))
    return perf_counter() - started


def in_new_process(
    function: str, *arguments: Any, environment: dict[str, str] | None = None
) -> list[float]:
    """What a function of this module returns in a process of its own."""
    listed = ", ".join(repr(a) for a in arguments)
    code = f"import compile_time as c; print(*c.{function}({listed}))"
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True,
        cwd=os.path.dirname(os.path.abspath(__file__)), env=environment,
    )  # fmt: skip
    return [float(number) for number in finished.stdout.splitlines()[-1].split()]


def first_result(which: str, name: str) -> tuple[float, float]:
    """The seconds of `function`, and those from the expression to the first result.

    The library is imported before. For JAX both are those of the first call.
    """
    if which == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        seconds = jax_time(name)
        return seconds, seconds
    library = Library.pytensor() if which == "pytensor" else Library.kroton()
    inputs, output, updates = MODELS[name](library)
    data = DATA[name]()
    started = perf_counter()
    step = library.function(inputs, output, updates=updates)
    compiled = perf_counter() - started
    step(*data)
    return compiled, perf_counter() - started


def first() -> None:
    """Print what `function` and the first result of each model take, each in a new process."""
    engines = [("Kroton", "kroton", "", "")]
    if importlib.util.find_spec("jax") is not None:
        engines.append(("JAX", "jax", "", ""))
    if importlib.util.find_spec("pytensor") is not None:
        engines += [
            ("PyTensor, empty", "pytensor", "numba", "new"),
            ("PyTensor, filled", "pytensor", "numba", "old"),
            ("PyTensor C, empty", "pytensor", "cvm", "new"),
            ("PyTensor C, filled", "pytensor", "cvm", "old"),
        ]
    rows: dict[str, list[tuple[float, float]]] = {}
    for name in MODELS:
        rows[name] = []
        with tempfile.TemporaryDirectory() as caches:
            for _, which, linker, state in engines:
                flags = f"base_compiledir={os.path.join(caches, linker)},linker={linker}"
                environment = {**os.environ, "PYTENSOR_FLAGS": flags}
                times = [
                    in_new_process("first_result", which, name, environment=environment)
                    for _ in range(1 if state == "new" else 3)
                ]
                rows[name].append((min(t[0] for t in times), min(t[1] for t in times)))
    for k, what in enumerate(("function(), ms", "first result, ms")):
        print(f"{what:24}" + "".join(f"{e[0]:>19}{'ratio':>7}" for e in engines))
        for name, row in rows.items():
            cells = [f"{1e3 * times[k]:19.0f}{times[k] / row[0][k]:7.1f}" for times in row]
            print(f"{name:24}" + "".join(cells))


def models(repeats: int) -> None:
    """Print a table of the training steps."""
    ours = Library.kroton()
    peers: dict[str, Callable[[str], float]] = {}
    if importlib.util.find_spec("jax") is not None:
        import jax

        jax.config.update("jax_enable_x64", True)
        peers["JAX"] = jax_time
    if importlib.util.find_spec("pytensor") is not None:
        theirs = Library.pytensor()
        peers["PyTensor"] = lambda name: function_time(theirs, name)
    print(f"{'function(), ms':24}{'fast_run':>10}{'fast_compile':>14}", end="")
    print("".join(f"{peer:>12}{'ratio':>8}" for peer in peers))
    for name in MODELS:
        fast = least(partial(function_time, ours, name, mode="FAST_RUN"), repeats)
        cheap = least(partial(function_time, ours, name, mode="FAST_COMPILE"), repeats)
        print(f"{name:24}{1e3 * fast:10.1f}{1e3 * cheap:14.1f}", end="")
        for time in peers.values():
            seconds = least(partial(time, name), 2)
            print(f"{1e3 * seconds:12.0f}{seconds / fast:8.1f}", end="", flush=True)
        print()


def chain(n: int) -> tuple[list[Any], Any]:
    """`n` elementwise Applys one after the other."""
    import kroton.tensor as T

    x = T.dvector("x")
    out = x
    operations = (T.tanh, T.sin, T.exp, T.sqr)
    for k in range(n):
        out = operations[k % 4](out)
    return [x], out


def tree(n: int) -> tuple[list[Any], Any]:
    """A balanced tree of additions with about `n` Applys."""
    import kroton.tensor as T

    x = T.dvector("x")
    level = [T.tanh(x * (k + 2.0)) for k in range(max(n // 3, 1))]
    while len(level) > 1:
        level = [sum(level[k : k + 2][1:], level[k]) for k in range(0, len(level), 2)]
    return [x], level[0]


def fan(n: int) -> tuple[list[Any], Any]:
    """A chain of `n` Applys, every other one of which reads the input."""
    import kroton.tensor as T

    x = T.dvector("x")
    out = x
    for _ in range(n // 2):
        out = T.sin(out) + x
    return [x], out


def growth_time(shape: str, mode: str, n: int) -> list[float]:
    """The processor time of `function` for a graph of `n` Applys, after one for a small graph."""
    import kroton

    seconds = 0.0
    make = {"chain": chain, "tree": tree, "fan": fan}[shape]
    for size in (100, n):
        inputs, output = make(size)
        gc.collect()
        started = process_time()
        kept = kroton.function(inputs, output, mode=mode)
        seconds = process_time() - started
        del kept
    return [seconds]


def growth() -> None:
    """Print how the processor time of `function` grows with the graph.

    Each sample is taken in a new process: memory that small graphs find used before and large
    ones have to ask the system for is no growth of the work.
    """
    columns = [(shape, mode) for shape in ("chain", "tree", "fan") for mode in MODES]
    names = [f"{shape} {mode.lower()}" for shape, mode in columns]
    print(f"{'Applys':>8}" + "".join(f"{name:>22}{'growth':>8}" for name in names))
    before: dict[Any, float] = {}
    for n in SIZES:
        print(f"{n:8}", end="", flush=True)
        for shape, mode in columns:
            best = min(in_new_process("growth_time", shape, mode, n)[0] for _ in range(5))
            grown = best / before.get((shape, mode), float("nan"))
            before[shape, mode] = best
            print(f"{1e3 * best:20.1f}ms{grown:8.1f}", end="", flush=True)
        print()


def passes(repeats: int) -> None:
    """Print the milliseconds of each pass, summed over the models."""
    from kroton.compile.profiling import ProfileMode

    ours = Library.kroton()
    for mode in ("fast_run", "fast_compile"):
        best: dict[str, float] = {}
        for _ in range(repeats + 1):
            profiled = ProfileMode(optimizer=mode)
            for name in MODELS:
                function_time(ours, name, mode=profiled)
            for pass_name, cost in profiled.stats.passes().items():
                best[pass_name] = min(cost.seconds, best.get(pass_name, float("inf")))
        print(mode, ", ".join(f"{name} {1e3 * s:.1f} ms" for name, s in best.items()))


def main() -> None:
    """Parse arguments and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--growth", action="store_true", help="chains and trees of many sizes")
    parser.add_argument("--first", action="store_true", help="first results in new processes")
    parser.add_argument("--passes", action="store_true", help="the time of each pass")
    parser.add_argument("--repeats", type=int, default=7)
    chosen = parser.parse_args()
    np.seterr(all="ignore")
    if chosen.growth:
        growth()
    elif chosen.first:
        first()
    elif chosen.passes:
        passes(chosen.repeats)
    else:
        models(chosen.repeats)


if __name__ == "__main__":
    main()
