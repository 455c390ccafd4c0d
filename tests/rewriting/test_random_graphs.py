"""Random graphs of many Ops: every optimizer gives the same values and gradients.

`KROTON_RANDOM_GRAPHS=5000 pytest tests/rewriting/test_random_graphs.py` tries more of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.config import config

COUNT = int(os.environ.get("KROTON_RANDOM_GRAPHS", "150"))

UNARY = [
    "exp", "log", "neg", "sqr", "sqrt", "tanh", "sigmoid", "softplus", "abs_", "log1p", "expm1",
    "reciprocal",
]  # fmt: skip
BINARY = ["add", "sub", "mul", "true_div", "maximum", "minimum"]
NUMBERS = [0, 1, -1, 2, 0.5, -0.25, 3.0]


def step(draw: Any, pool: list[Any]) -> Any:
    """One more expression, or None if the Ops refuse."""
    a = draw(st.sampled_from(pool))
    kind = draw(st.integers(0, 17))
    if kind <= 2:
        return getattr(T, draw(st.sampled_from(UNARY)))(a)
    if kind <= 6:
        b = draw(st.sampled_from([*pool, *NUMBERS]))
        if draw(st.booleans()):
            a, b = b, a
        if not hasattr(a, "type") and not hasattr(b, "type"):
            return None
        return getattr(T, draw(st.sampled_from(BINARY)))(a, b)
    if kind == 7:
        return a ** draw(st.sampled_from([0, 1, 2, 3, 0.5, -1]))
    if kind in (8, 9):
        axis = draw(st.sampled_from([None, *range(a.type.ndim)]))
        reduce = draw(st.sampled_from(["sum", "mean", "max", "sum"]))
        return getattr(T, reduce)(a, axis=axis, keepdims=draw(st.booleans()))
    if kind == 10:
        return a.T if a.type.ndim else a
    if kind == 11 and a.type.ndim:
        order = draw(st.permutations([*range(a.type.ndim), "x"]))
        return a.dimshuffle(*order) if a.type.ndim < 3 else a
    if kind == 12:
        b = draw(st.sampled_from(pool))
        return (
            T.dot(a, b) if a.type.ndim and b.type.ndim and a.type.ndim + b.type.ndim < 5 else None
        )
    if kind == 13 and a.type.ndim:
        return draw(st.sampled_from([T.nnet.softmax, T.nnet.logsoftmax]))(a)
    if kind == 14 and a.type.ndim:
        index = draw(st.sampled_from([0, -1, slice(None), slice(None, None, -1), slice(1, None)]))
        if draw(st.booleans()):
            return a[index]
        return T.set_subtensor(a[index], draw(st.sampled_from([0.0, 1.5])))
    if kind == 15:
        return draw(st.sampled_from([T.zeros_like, T.ones_like]))(a)
    if kind == 16:
        b = draw(st.sampled_from(pool))
        return T.switch(T.gt(a, 0.1), a, b)
    if kind == 17:
        return T.cast(T.cast(a, draw(st.sampled_from(["float32", "float64"]))), "float64")
    return None


def values_of(function: Any, values: list[Any]) -> list[Any] | None:
    try:
        return [np.asarray(v) for v in function(*values)]
    except (ValueError, IndexError):
        return None


@settings(
    max_examples=COUNT, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(data=st.data())
def test_all_optimizers_agree(data: Any) -> None:
    m, v, s = T.dmatrix("m"), T.dvector("v"), T.dscalar("s")
    inputs = [m, v, s]
    pool: list[Any] = list(inputs)
    for _ in range(data.draw(st.integers(2, 9))):
        try:
            made = step(data.draw, pool)
        except (TypeError, ValueError, IndexError):
            continue
        if made is not None:
            pool.append(made)
    outputs = pool[-3:]
    wanted = sum((T.sum(T.tanh(out)) for out in outputs), start=T.constant(0.0))
    gradients = T.grad(wanted, inputs, disconnected_inputs="ignore")
    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    n = data.draw(st.integers(1, 3))
    values = [rng.uniform(-2, 2, size=(n, n)), rng.uniform(-2, 2, size=n), np.array(0.7)]
    everything = [*outputs, *gradients]
    reference = values_of(
        kroton.function(inputs, everything, mode=Mode("py", None), on_unused_input="ignore"), values
    )
    if reference is None:
        return
    with config.change_flags(on_opt_error="raise"):
        functions = {
            (optimizer, linker): kroton.function(
                inputs, everything, mode=Mode(linker, optimizer), on_unused_input="ignore"
            )
            for optimizer, linker in (
                ("fast_run", "c|py"), ("fast_compile", "py"), ("o2", "py"), ("fast_run", "py"),
            )
        }  # fmt: skip
    for which, function in functions.items():
        found = values_of(function, [x.copy() for x in values])
        assert found is not None, which
        for a, b in zip(found, reference):
            assert a.shape == b.shape, which
            assert a.dtype == b.dtype, which
            known = np.isfinite(b) & (np.abs(b) < 1e12)
            np.testing.assert_allclose(a[known], b[known], rtol=1e-5, atol=1e-7, err_msg=str(which))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_graph_is_always_rewritten_alike(seed: int) -> None:
    m = T.dmatrix("m")
    rng = np.random.default_rng(seed)
    weights = T.constant(rng.normal(size=(3, 3)))
    cost = T.log(T.nnet.softmax(T.dot(m, weights)) + 0.0).sum() * 2 / m.shape[0]
    texts = set()
    for _ in range(2):
        f = kroton.function([m], [cost, T.grad(cost, m)])
        texts.add(str(f.maker.fgraph.toposort()))
    assert len(texts) == 1


_TRAINING = """
import numpy as np, kroton, kroton.tensor as T
x, y = T.dmatrix("x"), T.lvector("y")
w, b = kroton.shared(np.zeros((5, 3)), name="w"), kroton.shared(np.zeros(3), name="b")
p = T.nnet.softmax(T.dot(x, w) + b)
cost = -T.log(p)[T.arange(y.shape[0]), y].mean() + 0.01 * (w**2).sum()
updates = [(v, v - 0.1 * T.grad(cost, v)) for v in (w, b)]
f = kroton.function([x, y], [cost, T.argmax(p, axis=1)], updates=updates)
print([str(node) for node in f.maker.fgraph.toposort()])
"""


def test_the_program_is_the_same_under_every_hash_seed() -> None:
    found = set()
    for seed in ("0", "1", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", _TRAINING], env=env, check=True, capture_output=True, text=True
        )
        found.add(run.stdout)
    assert len(found) == 1
