"""DebugMode has nothing to say about what is right, and gives what FAST_RUN gives.

The whole tensor suite runs under it with `KROTON_FLAGS=mode=DEBUG_MODE pytest tests/tensor`;
here is one expression of every family, with its gradient, and the examples.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.fault import op, same_type

import kroton
import kroton.tensor as T
from kroton.graph.type import Generic
from kroton.tensor.creation import AllocEmpty

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
rng = np.random.default_rng(3)
M = rng.uniform(0.2, 0.9, (3, 4))
LABELS = np.array([0, 3, 1])

EXPRESSIONS = {
    "elementwise": lambda x: T.log1p(T.exp(x)) * T.sin(x) + T.sqrt(x) ** 3,
    "comparison": lambda x: T.switch(x > 0.5, x, T.sqr(x)),
    "clip": lambda x: T.clip(x, 0.3, 0.7),
    "softplus": lambda x: T.log(T.sigmoid(x)) - T.log(1 - T.sigmoid(x)),
    "sum": lambda x: T.sum(x, axis=0) * T.mean(x, axis=1).sum(),
    "prod": lambda x: T.prod(x, axis=1),
    "max": lambda x: T.max(x, axis=1) - T.min(x, axis=0).sum(),
    "norm": lambda x: T.sqrt(T.sum(T.sqr(x))),
    "variance": lambda x: T.var(x, axis=1),
    "dot": lambda x: T.dot(x, x.T),
    "gemv": lambda x: T.dot(x, x[0]) + x[:, 1],
    "outer": lambda x: T.outer(x[0], x[1]),
    "tensordot": lambda x: T.tensordot(x, x, axes=[[0, 1], [0, 1]]),
    "reshape": lambda x: x.reshape((4, 3)) * 2,
    "flatten": lambda x: x.flatten(),
    "dimshuffle": lambda x: x.dimshuffle(1, "x", 0) + x.T.dimshuffle(0, 1, "x"),
    "join": lambda x: T.concatenate([x, x[::-1]], axis=1),
    "stack": lambda x: T.stack([x, 2 * x]),
    "repeat": lambda x: T.repeat(x, 2, axis=1),
    "tile": lambda x: T.tile(x, (2, 1)),
    "subtensor": lambda x: x[1:, ::-2] * x[0, 0],
    "advanced": lambda x: x[np.array([0, 2, 0]), np.array([1, 1, 3])],
    "take": lambda x: T.take(x, np.array([2, 0]), axis=0),
    "set_subtensor": lambda x: T.set_subtensor(x[1], 0.5) * x,
    "inc_subtensor": lambda x: T.inc_subtensor(x[:, 1], x[:, 0]),
    "cumsum": lambda x: T.cumsum(x, axis=0) * T.cumprod(x, axis=1),
    "diagonal": lambda x: T.diag(T.dot(x, x.T)),
    "softmax": lambda x: T.nnet.softmax(x),
    "crossentropy": lambda x: T.nnet.categorical_crossentropy(T.nnet.softmax(x), LABELS),
    "alloc": lambda x: T.alloc(x[0], 5, x.shape[1]) * T.ones_like(x[1]),
    "shape": lambda x: x * x.shape[0] / x.size,
}


@pytest.fixture(autouse=True)
def _wrong_rules_are_errors() -> Any:
    with kroton.config.change_flags(on_opt_error="raise"):
        yield


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_expression_and_its_gradient_pass(name: str, dtype: str) -> None:
    x = T.matrix("x", dtype=dtype)
    y = EXPRESSIONS[name](x)
    outputs = [y, kroton.grad(T.sum(y * y), x)]
    checked = kroton.function([x], outputs, mode="DEBUG_MODE")
    fast = kroton.function([x], outputs, mode="FAST_RUN")
    for value in (M, M * 0.9, M):
        value = value.astype(dtype)
        for a, b in zip(checked(value), fast(value)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["elementwise", "sum", "dot", "softmax", "cumsum"])
def test_every_layout_passes(name: str) -> None:
    x = T.dmatrix("x")
    f = kroton.function([x], EXPRESSIONS[name](x), mode="DEBUG_MODE")
    reference = f(M)
    wide = np.zeros((6, 8))
    wide[::2, ::2] = M
    for value in (np.asfortranarray(M), M[::-1][::-1], wide[::2, ::2], M[::-1, ::-1][::-1, ::-1]):
        np.testing.assert_allclose(f(value), reference, rtol=1e-12)


SINGLE, DOUBLE = np.float32, np.float64
BIG = np.array([[1e30, -1e30, 3e20], [1e30, 1e30, 2e20]])
ROUNDED = {
    "subnormal probabilities": (lambda x: T.log(T.nnet.softmax(x)), SINGLE, [[0, 100.0]]),
    "subnormal doubles": (lambda x: T.log(T.nnet.softmax(x)), DOUBLE, [[0, 740.0]]),
    "a term that is lost": (lambda x: x[0] + x[1] - x[0], SINGLE, [1e8, 1.0]),
    "a double that is lost": (lambda x: x[0] + x[1] - x[0], DOUBLE, [1e16, 1.0]),
    "a lost term decides": (lambda x: (x[0] + x[1] - x[0]) > 0, SINGLE, [1e8, 1.0]),
    "saturation": (lambda x: 1 - T.sigmoid(x), DOUBLE, [40.0, 50.0]),
    "logarithms near one": (lambda x: T.log(1 + x), DOUBLE, [1e-20, -1e-18]),
    "exponentials near one": (lambda x: T.exp(x) - 1, SINGLE, [1e-10, -1e-12]),
    "digits that a later rule restores": (lambda x: T.log1p(-T.erf(x)), DOUBLE, [1e-20, 0.5]),
    "squares that underflow": (lambda x: T.sqrt(T.sqr(x)), DOUBLE, [1e-200, 3.0]),
    "squares that overflow": (lambda x: 1 / T.sqrt(T.sqr(x)), SINGLE, [1e30, 3.0]),
    "cancelling sums": (lambda x: T.sum(x - T.mean(x)), SINGLE, list(np.arange(999) / 7)),
    "a variance of nothing": (lambda x: T.var(x), SINGLE, [0.1] * 9),
    "products that overflow": (lambda x: T.dot(x, x.T), SINGLE, BIG),
    "gradients of a sure softmax": (
        lambda x: kroton.grad(-T.log(T.nnet.softmax(x))[0, 1], x), SINGLE, [[0.0, 30.0, -30.0]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUNDED)
def test_what_rounding_explains_is_no_fault(name: str) -> None:
    expression, dtype, value = ROUNDED[name]
    x = T.tensor(dtype=np.dtype(dtype).name, shape=(None,) * np.ndim(value), name="x")
    out = expression(x)
    modes = [kroton.DebugMode(check_isfinite=False, directory=""), "FAST_RUN"]
    checked, fast = (kroton.function([x], out, mode=mode) for mode in modes)
    for _ in range(6):
        argument = np.array(value, dtype)
        np.testing.assert_array_equal(checked(argument), fast(argument))


def test_perform_may_use_the_list_of_its_inputs() -> None:
    def perform(i: Any, s: Any) -> None:
        i[0] = i[0] * 2
        s[0][0] = i[0]

    x = T.dvector("x")
    f = kroton.function([x], op(perform, same_type)(x), mode="DEBUG_MODE")
    for _ in range(4):
        assert f([1.0, 2.0]).tolist() == [2.0, 4.0]


def test_views_of_inputs_that_share_memory_pass() -> None:
    x = T.dvector("x")
    first, second = x[1:], x[:-1]
    pick = op(lambda i, s: s[0].__setitem__(0, i[0]), same_type, view_map={0: [0]})
    f = kroton.function([x], pick(first, second) * 2, mode="DEBUG_MODE")
    for _ in range(4):
        assert f([1.0, 2.0, 3.0]).tolist() == [4.0, 6.0]


def test_what_compares_with_nothing_but_itself_may_be_an_input() -> None:
    x, generator = T.dvector("x"), Generic()("generator")
    add = op(lambda i, s: s[0].__setitem__(0, i[0] + 1), same_type)
    f = kroton.function([x, generator], add(x, generator), mode="DEBUG_MODE")
    for _ in range(4):
        assert f([1.0], np.random.default_rng(0)).tolist() == [2.0]
        assert f([1.0], threading.Lock()).tolist() == [2.0]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_empty_arrays_pass(shape: tuple[int, int]) -> None:
    x = T.dmatrix("x")
    f = kroton.function([x], [T.exp(x).sum(axis=0), T.dot(x, x.T), x[::-1]], mode="DEBUG_MODE")
    a, b, c = f(np.zeros(shape))
    assert a.shape == shape[1:]
    assert b.shape == (shape[0], shape[0])
    assert c.shape == shape


def test_updates_givens_and_shared_variables_pass() -> None:
    def losses(mode: str) -> list[float]:
        w = kroton.shared(np.ones(4), name="w")
        x, z = T.dmatrix("x"), T.dmatrix("z")
        cost = T.sqr(T.dot(x, w) - 1).mean()
        update = [(w, w - 0.1 * kroton.grad(cost, w))]
        f = kroton.function([z], cost, updates=update, givens={x: 2 * z}, mode=mode)
        return [float(f(M)) for _ in range(5)]

    assert losses("DEBUG_MODE") == losses("FAST_RUN")


def test_what_was_never_written_may_be_anything() -> None:
    n = T.lscalar("n")
    f = kroton.function([n], T.set_subtensor(AllocEmpty("float64")(n)[:], 1.0), mode="DEBUG_MODE")
    np.testing.assert_array_equal(f(4), np.ones(4))


def test_an_op_of_the_users_passes() -> None:
    @kroton.as_op(itypes=[T.dvector], otypes=[T.dvector])
    def backwards(v: np.ndarray) -> np.ndarray:
        return v[::-1].copy()

    x = T.dvector("x")
    f = kroton.function([x], backwards(x) * 2, mode="DebugMode")
    np.testing.assert_array_equal(f([1.0, 2.0]), [4.0, 2.0])


def test_a_function_that_calls_itself_passes() -> None:
    """Its `perform` waits for a lock that the calling thread holds: no other thread may run it."""
    x = T.dscalar("x")

    @kroton.as_op(itypes=[x.type], otypes=[x.type])
    def count(value: Any) -> Any:
        return np.asarray(0.0) if value <= 0 else np.asarray(f(value - 1) + 1)

    state = kroton.shared(0)
    f = kroton.function([x], count(x), updates=[(state, state + 1)], mode="DEBUG_MODE")
    assert f(2.0) == 2.0


def test_the_users_own_errors_are_raised_as_they_are() -> None:
    x, y = T.dmatrices("x y")
    f = kroton.function([x, y], T.dot(x, y), mode="DEBUG_MODE")
    with pytest.raises(ValueError, match="shapes"):
        f(np.ones((2, 3)), np.ones((2, 3)))


def test_the_users_own_error_in_what_was_fused_is_no_rules_fault() -> None:
    x, y = T.dvectors("x y")
    z = T.exp(x)
    f = kroton.function([x, y], [z * 2, T.tanh(z) + y], mode="DEBUG_MODE")
    with pytest.raises(ValueError, match=r"broadcast|shape"):
        f([1.0, 2.0], [1.0, 2.0, 3.0])


def test_right_gradients_pass_check_gradients() -> None:
    x = T.dmatrix("x")
    mode = kroton.DebugMode(check_gradients=True)
    for name in ("elementwise", "dot", "softmax", "prod", "cumsum"):
        kroton.function([x], EXPRESSIONS[name](x), mode=mode)(M)


@pytest.mark.parametrize("name", ["logistic_regression", "mlp"])
def test_an_example_trains_as_under_fast_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module(name)

    def losses(mode: str) -> list[float]:
        return example.main(["--mode", mode, "--epochs", "1", "--no-plot"]).losses

    assert losses("DEBUG_MODE") == losses("FAST_RUN")
