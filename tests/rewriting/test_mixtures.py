"""Logarithms of sums of exponentials have all digits, to any base, in any shape, beside others."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)
mp = mpmath.mp.clone()
mp.prec = 4000
exp, log = mp.exp, mp.log


def total(values: Any) -> Any:
    return mp.fsum(exp(v) for v in values)


SPELLINGS: dict[str, tuple[Any, Any]] = {
    "log2(sum(exp(x)))": (
        lambda x, s: T.log2(T.exp(x).sum()), lambda x, s: log(total(x), 2)),
    "log10(mean(exp(x)))": (
        lambda x, s: T.log10(T.exp(x).mean()), lambda x, s: mp.log10(total(x) / len(x))),
    "log2(exp(s))": (lambda x, s: T.log2(T.exp(s)), lambda x, s: s / log(2)),
    "log10(3*exp(s))": (lambda x, s: T.log10(3 * T.exp(s)), lambda x, s: mp.log10(3 * exp(s))),
    "log2(sigmoid(s))": (
        lambda x, s: T.log2(T.sigmoid(s)), lambda x, s: -log(1 + exp(-s), 2)),
    "log2(dot(exp(x), w))": (
        lambda x, s: T.log2(T.dot(T.exp(x), np.array([1.0, 2.0]))),
        lambda x, s: log(total([*x, x[1]]), 2)),
    "log(1 + sum(exp(x)))": (
        lambda x, s: T.log(1 + T.exp(x).sum()), lambda x, s: log(1 + total(x))),
    "log1p(sum(exp(x)))": (
        lambda x, s: T.log1p(T.exp(x).sum()), lambda x, s: log(1 + total(x))),
    "log(3 + 2*sum(exp(x)))": (
        lambda x, s: T.log(3 + 2 * T.exp(x).sum()), lambda x, s: log(3 + 2 * total(x))),
    "log(exp(s) + sum(exp(x)))": (
        lambda x, s: T.log(T.exp(s) + T.exp(x).sum()), lambda x, s: log(exp(s) + total(x))),
    "log(sum(exp(x)) + sum(exp(x/2)))": (
        lambda x, s: T.log(T.exp(x).sum() + T.exp(x / 2).sum()),
        lambda x, s: log(total(x) + total([v / 2 for v in x]))),
    "log(1 + exp(s) + sum(exp(x)))": (
        lambda x, s: T.log(1 + T.exp(s) + T.exp(x).sum()),
        lambda x, s: log(1 + exp(s) + total(x))),
}  # fmt: skip
POINTS = [(900.0, 899.5, 901.0), (-900.0, -899.5, -901.0), (0.5, -0.25, 1.0), (600.0, 5.0, 567.5)]


@pytest.mark.parametrize("at", POINTS)
@pytest.mark.parametrize("text", SPELLINGS)
def test_logarithms_of_sums_of_exponentials_and_their_gradients_have_all_digits(
    text: str, at: tuple[float, ...]
) -> None:
    written, truth = SPELLINGS[text]
    x, s = T.dvector("x"), T.dscalar("s")
    out = written(x, s)
    gradients = T.grad(out, [x, s], disconnected_inputs="ignore")
    f = kroton.function([x, s], [out, *gradients], on_unused_input="ignore")
    value, by_x, by_s = f(np.array(at[:2]), at[2])
    exact = [mp.mpf(v) for v in at]
    derivatives = [
        mp.diff(lambda t: truth([t, exact[1]], exact[2]), exact[0]),
        mp.diff(lambda t: truth([exact[0], t], exact[2]), exact[1]),
        mp.diff(lambda t: truth(exact[:2], t), exact[2]),
    ]
    for found, true in zip(
        [value, *by_x, by_s], [truth(exact[:2], exact[2]), *derivatives], strict=True
    ):
        difference = abs(mp.mpf(float(found)) - true)
        assert difference <= 4e-15 * abs(true) + mp.mpf(1e-307), (found, true)


@pytest.mark.parametrize("kept", [True, False])
def test_rows_of_a_matrix_are_summed_beside_columns(kept: bool) -> None:
    x, v = T.dmatrix("x"), T.dvector("v")
    inner = T.exp(x).sum(axis=1, keepdims=kept)
    inner = inner + T.exp(v.dimshuffle(0, "x") if kept else v)
    out = T.log(1 + inner)
    outputs = [out, *T.grad(out.sum(), [x, v])]
    f = kroton.function([x, v], outputs)
    plain = kroton.function([x, v], outputs, mode=PLAIN)
    rng = np.random.default_rng(0)
    ordinary = rng.normal(size=(3, 3)), rng.normal(size=3)
    for a, b in zip(f(*ordinary), plain(*ordinary)):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    far = ordinary[0] + 800.0, ordinary[1] + 800.0
    shifted = T.log(inner)
    near = kroton.function([x, v], [shifted, *T.grad(shifted.sum(), [x, v])])(*ordinary)
    for a, b, added in zip(f(*far), near, (800.0, 0.0, 0.0)):
        np.testing.assert_allclose(a, b + added, rtol=1e-12)


@pytest.mark.usefixtures("nan_is_meant")
def test_infinite_terms_are_what_they_are_as_written() -> None:
    x = T.dvector("x")
    f = kroton.function([x], T.log(1 + T.exp(x).sum()))
    assert f([np.inf, 0.0]) == np.inf
    assert f([-np.inf, -np.inf]) == 0.0
    assert f([]) == 0.0
    assert np.isnan(f([np.nan]))


@pytest.mark.parametrize(
    ("shape", "column"),
    [
        (lambda x: (-1, 1), True),
        (lambda x: (x.shape[0], 1), True),
        (lambda x: (1, -1), False),
        (lambda x: (1, x.shape[0]), False),
    ],
)
def test_a_softmax_by_hand_is_found_through_reshapes(shape: Any, column: bool) -> None:
    x = T.dmatrix("x")
    e = T.exp(x)
    p = e / e.sum(axis=1 if column else 0).reshape(shape(x if column else x.T))
    far = np.array([[1000.0, 999.0], [-1000.0, -1001.0]])
    f = kroton.function([x], [p, T.log(p), T.grad(T.log(p)[:, 0].sum(), x)])
    softmax = T.nnet.softmax(x, axis=1 if column else 0)
    g = kroton.function([x], [softmax, T.log(softmax), T.grad(T.log(softmax)[:, 0].sum(), x)])
    assert len(f.maker.fgraph.apply_nodes) == len(g.maker.fgraph.apply_nodes)
    for a, b in zip(f(far), g(far)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "move",
    [
        lambda v: v.T,
        lambda v: v.dimshuffle(0, "x", 1),
        lambda v: v.flatten(),
        lambda v: v.reshape((-1, 1)),
    ],
)
def test_the_logarithm_of_a_softmax_in_another_shape_is_finite(move: Any) -> None:
    x = T.dmatrix("x")
    far = np.array([[1000.0, 0.0], [-1000.0, 1001.0]])
    results = []
    for v in (T.log(move(T.nnet.softmax(x))), move(T.nnet.logsoftmax(x, axis=1))):
        weighted = (v * T.arange(4.0).reshape(v.shape)).sum()
        results.append(kroton.function([x], [v, T.grad(weighted, x)])(far))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda v, m: v.reshape((-1, 1)), True),
        (lambda v, m: v.reshape((1, v.shape[0], 1)), True),
        (lambda v, m: m.reshape((m.shape[0], 1, m.shape[1])), True),
        (lambda v, m: v.dimshuffle("x", 0).reshape((-1,), ndim=1), True),
        (lambda v, m: m.reshape((m.shape[0], 1, -1)), False),
        (lambda v, m: m.reshape((m.shape[1], 1, m.shape[0])), False),
        (lambda v, m: v.reshape((6, 1)), False),
        (lambda v, m: m.reshape((-1, 1)), False),
    ],
)
def test_a_reshape_is_a_dimshuffle_where_no_extent_can_differ(build: Any, expected: bool) -> None:
    v, m = T.dvector("v"), T.dmatrix("m")
    f = kroton.function([v, m], build(v, m), on_unused_input="ignore")
    names = [str(node.op) for node in f.maker.fgraph.toposort()]
    assert any("Reshape" in name for name in names) != expected
    plain = kroton.function([v, m], build(v, m), mode=PLAIN, on_unused_input="ignore")
    values = np.arange(6.0), np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(f(*values), plain(*values))


@pytest.mark.parametrize(("log_to", "base"), [(T.log2, 2.0), (T.log10, 10.0)])
def test_other_logarithms_of_a_softmax_are_multiples_of_the_natural_one(
    log_to: Any, base: float
) -> None:
    x = T.dmatrix("x")
    far = np.array([[1000.0, 0.0], [-1000.0, 1001.0]])
    for index in (lambda v: v, lambda v: v[:, 0]):
        p = index(T.nnet.softmax(x))
        found = kroton.function([x], [log_to(p), T.grad(log_to(p).sum(), x)])(far)
        natural = index(T.nnet.logsoftmax(x, axis=1))
        wanted = kroton.function([x], [natural, T.grad(natural.sum(), x)])(far)
        for a, b in zip(found, wanted):
            np.testing.assert_allclose(a, b / np.log(base), rtol=1e-14)
