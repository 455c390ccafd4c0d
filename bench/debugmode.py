"""What DebugMode costs on the examples, against FAST_RUN.

    python bench/debugmode.py            # both examples
    python bench/debugmode.py --steps 50

Compiles the training step of each example under both modes and measures `function()`, the first
call (where everything is tried), and further calls, which alternate between the modes. It is the
process's time on all its processors that counts: other work on the machine, which interrupts long
calls more often than short ones, does not. Ratios of one run compare; times of different machines
do not.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from itertools import pairwise
from time import process_time
from typing import Any

import numpy as np

import kroton
import kroton.tensor as T

PIXELS, CLASSES, BATCH, ROWS = 64, 10, 20, 1257


def step(hidden: int, mode: str) -> Any:
    """The training step of `examples/logistic_regression.py`, or of `mlp.py` with hidden units."""
    rng = np.random.default_rng(0)
    images = kroton.shared(rng.normal(size=(ROWS, PIXELS)), name="images")
    labels = kroton.shared(rng.integers(0, CLASSES, ROWS), name="labels")
    x, y, index = T.dmatrix("x"), T.lvector("y"), T.lscalar("index")
    widths = [PIXELS, hidden, CLASSES] if hidden else [PIXELS, CLASSES]
    parameters, layer = [], x
    for k, (a, b) in enumerate(pairwise(widths)):
        w = kroton.shared(rng.normal(0, a**-0.5, (a, b)), name=f"w{k}")
        bias = kroton.shared(np.zeros(b), name=f"b{k}")
        parameters += [w, bias]
        layer = (T.tanh(layer) if k else layer) @ w + bias
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(layer), y).mean()
    rows = slice(index * BATCH, (index + 1) * BATCH)
    gradients = kroton.grad(cost, parameters)
    updates = [(p, p - 0.1 * g) for p, g in zip(parameters, gradients)]
    givens = {x: images[rows], y: labels[rows]}
    return kroton.function([index], cost, updates=updates, givens=givens, mode=mode)


def seconds(call: Any, *args: Any) -> float:
    """The processors' time of one call."""
    started = process_time()
    call(*args)
    return process_time() - started


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    options = parser.parse_args(argv)
    print(f"{'':24}{'FAST_RUN':>12}{'DEBUG_MODE':>14}{'ratio':>8}")
    for name, hidden in (("logistic_regression", 0), ("mlp", 256)):
        step(hidden, "FAST_RUN")  # what is loaded once is not compilation
        compiled, functions = {}, {}
        for mode in ("FAST_RUN", "DEBUG_MODE"):
            started = process_time()
            functions[mode] = step(hidden, mode)
            compiled[mode] = process_time() - started
        first = {mode: seconds(f, 0) for mode, f in functions.items()}
        calls: dict[str, list[float]] = {mode: [] for mode in functions}
        for k in range(options.steps):
            for mode, f in functions.items():
                calls[mode].append(seconds(f, k % (ROWS // BATCH)))
        median = {mode: statistics.median(t) for mode, t in calls.items()}
        mean = {mode: statistics.fmean(t) for mode, t in calls.items()}
        for what, measured in (
            ("compile", compiled),
            ("first call", first),
            ("call, median", median),
            ("call, mean", mean),
        ):
            fast, slow = measured["FAST_RUN"], measured["DEBUG_MODE"]
            print(
                f"{name if what == 'compile' else '':20}{what:>13}"
                f"{fast * 1e3:9.3f} ms{slow * 1e3:9.1f} ms{slow / fast:8.0f}"
            )


if __name__ == "__main__":
    main()
