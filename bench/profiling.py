"""What watching costs: per call and per Apply, and how much of a step the Applys account for.

    python bench/profiling.py

Prints, for a function of some 150 small Applys, the time per call without hooks, profiled, and
with a hook that is handed every value; and for training steps of the 784-500-10 network in
float32 the time of its Applys as a fraction of the time that a clock around the call shows.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

import kroton
import kroton.tensor as T


def chain() -> tuple[list[Any], Any]:
    """Inputs and output of a long expression."""
    x = T.dvector("x")
    out = x
    for _ in range(50):
        out = T.exp(out) + out[::-1] * 0.5
        out = T.tanh(out)
    return [x], out


def step(mode: Any, batch: int) -> tuple[Any, list[np.ndarray]]:
    """A training step of a network with one hidden layer, and arguments for it."""
    rng = np.random.default_rng(0)
    x, y = T.fmatrix("x"), T.lvector("y")
    parameters = []
    for name, shape in (("w", (784, 500)), ("b", (500,)), ("v", (500, 10)), ("c", (10,))):
        value = rng.normal(0, 0.05, shape).astype("float32")
        parameters.append(kroton.shared(value, name=name))
    w, b, v, c = parameters
    probabilities = T.nnet.softmax(T.tanh(x @ w + b) @ v + c)
    cost = T.nnet.categorical_crossentropy(probabilities, y).mean()
    updates = [(p, p - np.float32(0.1) * g) for p, g in zip(parameters, T.grad(cost, parameters))]
    f = kroton.function([x, y], cost, updates=updates, mode=mode, name="step")
    return f, [rng.normal(size=(batch, 784)).astype("float32"), rng.integers(0, 10, batch)]


def per_call(f: Any, arguments: list[np.ndarray], calls: int) -> float:
    """The shortest mean time of a call in 30 runs."""
    for _ in range(calls):
        f(*arguments)
    best = float("inf")
    for _ in range(30):
        started = perf_counter()
        for _ in range(calls):
            f(*arguments)
        best = min(best, (perf_counter() - started) / calls)
    return best


def main() -> None:
    """Measure and print."""
    inputs, output = chain()
    plain = kroton.FAST_RUN.excluding("fusion")
    modes = {
        "no hooks": plain,
        "profiled": kroton.ProfileMode().excluding("fusion"),
        "a hook that needs values": plain.clone(hooks=(kroton.gof.Hook(),)),
    }
    base = 0.0
    for name, mode in modes.items():
        f = kroton.function(inputs, output, mode=mode)
        n = len(f.maker.linked.order)
        seconds = per_call(f, [np.zeros(3)], 100)
        base = base or seconds
        extra = (seconds - base) / n
        print(f"{name:26s} {seconds * 1e6:8.1f} us per call, {extra * 1e9:6.0f} ns per Apply more")
    for batch in (20, 100):
        mode = kroton.ProfileMode()
        f, arguments = step(mode, batch)
        for _ in range(50):
            f(*arguments)
        mode.stats.reset()
        outside = 0.0
        for _ in range(300):
            started = perf_counter()
            f(*arguments)
            outside += perf_counter() - started
        share = mode.local_time / outside
        print(f"batch {batch:3d}: {outside / 300 * 1e6:6.0f} us per step, {share:.1%} in Applys")


if __name__ == "__main__":
    main()
