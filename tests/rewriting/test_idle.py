"""What does nothing vanishes, and what is checked stays checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)
UNFUSED = Mode("c|py", "fast_run").excluding("fusion", "inplace")

m, n = T.dmatrix("m"), T.dmatrix("n")
x, y = T.dvector("x"), T.dvector("y")
k, b = T.lvector("k"), T.vector("b", dtype="bool")
i, s = T.lscalar("i"), T.dscalar("s")


def ops(output: Any) -> list[str]:
    inputs = [m, n, x, y, k, b, i, s]
    f = kroton.function(inputs, output, mode=UNFUSED, on_unused_input="ignore")
    found = [str(node.op) for node in f.maker.fgraph.toposort()]
    return [name for name in found if name not in ("DeepCopyOp", "Shape_i{0}", "Shape_i{1}")]


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda: m[0 : m.shape[0]], []),
        (lambda: m[:, : m.shape[1]], []),
        (lambda: T.roll(x, 0), []),
        (lambda: x[:-1][:-1], ["Subtensor{:-2}"]),
        (lambda: x[1:][:-1], ["Subtensor{1:-1}"]),
        (lambda: x[1:10:2][1:3], ["Subtensor{3:7:2}"]),
        (lambda: x[::2][::3], ["Subtensor{::6}"]),
        (lambda: x[::-1][2:], ["Subtensor{-3::-1}"]),
        (lambda: x[:-1][-1], ["Subtensor{-2}"]),
        # x[-1] is there where x[1:][-1] is not.
        (lambda: x[1:][-1], ["Subtensor{1:}", "Subtensor{-1}"]),
        (lambda: T.join(0, x, y)[: x.shape[0]], []),
        (lambda: T.join(0, x, y)[x.shape[0] :], []),
        (lambda: T.inc_subtensor(x[1:], 0.0), []),
        (lambda: T.inc_subtensor(x[i], 0.0), ["IncSubtensor{Inc; int64}"]),
        (lambda: T.set_subtensor(x[1:], x[1:]), []),
        (lambda: T.set_subtensor(x[i], x[i]), ["Subtensor{int64}", "IncSubtensor{Set; int64}"]),
        (lambda: T.set_subtensor(T.set_subtensor(x[1:], 1.0)[1:], 2.0), ["IncSubtensor{Set; 1:}"]),
        (lambda: 1.0**x, ["Alloc"]),
        (lambda: k % 1, ["Alloc"]),
        (lambda: b & True, []),
        (lambda: b | False, []),
        (lambda: b ^ b, ["Alloc"]),
        (lambda: k & -1, []),
        (lambda: T.gt(x, x), ["Alloc"]),
        (lambda: T.neq(x, x), ["Elemwise{neq}"]),
        (lambda: T.clip(T.clip(x, 0, 2), 0, 1), ["Elemwise{clip}"]),
        (lambda: T.floor(T.ceil(x)), ["Elemwise{ceil}"]),
        (lambda: T.conj(x), []),
        (lambda: T.real(x) + T.real(s), ["Elemwise{add}"]),
        (lambda: T.real(k), []),
        (lambda: T.imag(x), ["Alloc"]),
        (lambda: T.isnan(k), ["Alloc"]),
        (lambda: T.isinf(b), ["Alloc"]),
        (lambda: T.floor(k), []),
        (lambda: T.trunc(T.ceil(T.round(b))), []),
        (lambda: T.sgn(T.sgn(x)), ["Elemwise{sgn}"]),
        (lambda: abs(T.sqrt(x)), ["Elemwise{sqrt}"]),
        (lambda: m + np.zeros(4), ["SpecifyShape{?,4}"]),
        (lambda: np.ones((1, 4)) * m / np.ones(4) - np.zeros(4), ["SpecifyShape{?,4}"]),
        (lambda: x + np.zeros((3, 1)), ["Alloc"]),
        (lambda: T.dot(m, T.zeros((m.shape[1], 2))), ["Alloc"]),
        # The extents may not fit.
        (lambda: T.dot(m, np.zeros((4, 2))), ["Dot22"]),
        (lambda: T.repeat(x, 1), []),
        (lambda: T.diag(T.diag(x)), []),
        (lambda: T.diag(T.diag(x), 1), ["AllocDiag{0, 0, 1}", "ExtractDiag{1, 0, 1}"]),
        (lambda: m.flatten().sum(), ["Sum{axes=[0, 1]}"]),
        (lambda: T.max(2 * m), ["Max{axes=[0, 1]}", "Elemwise{mul}"]),
        (lambda: T.max(-2 * m), ["Elemwise{mul}", "Max{axes=[0, 1]}"]),
        (lambda: T.min(m - 3, axis=0), ["Min{axes=[0]}", "Elemwise{sub}"]),
    ],
)
def test_only_what_does_something_is_left(build: Any, left: list[str]) -> None:
    assert ops(build()) == left


BOUND = st.none() | st.integers(-4, 4)
STEP = st.sampled_from([None, 1, 2, 3, -1, -2])


@settings(max_examples=400, deadline=None)
@given(
    st.tuples(BOUND, BOUND, STEP),
    st.tuples(BOUND, BOUND, STEP) | st.integers(-3, 3),
    st.booleans(),
)
def test_an_index_of_a_slice_names_the_same_elements_for_every_extent(
    first: Any, second: Any, known: bool
) -> None:
    inner = slice(*first)
    outer = slice(*second) if isinstance(second, tuple) else second
    for extent in (3, 6) if known else (0, 1, 2, 3, 4, 5, 6, 7, 9):
        v = T.TensorType("int64", (extent,) if known else (None,))("v")
        try:
            out = v[inner][outer]
        except IndexError:
            continue
        f = kroton.function([v], out, mode=Mode("py", "fast_run"))
        value = np.arange(extent)
        if isinstance(outer, int) and not -len(value[inner]) <= outer < len(value[inner]):
            with pytest.raises(IndexError):
                f(value)
        else:
            assert np.array_equal(f(value), value[inner][outer])


@pytest.mark.parametrize("outer", [(0, 1), (1, 0)])
def test_bounds_within_bounds_are_the_same_for_every_number(outer: tuple[int, int]) -> None:
    values = np.array([-5, -1, -0.5, 0, 0.5, 1, 3, np.inf, -np.inf, np.nan])
    for low, high in ((-2, 0.5), (0.25, 0.75), (2, 3)):
        out = T.clip(T.clip(x, low, high), *outer)
        found = kroton.function([x], out, mode="FAST_RUN")(values)
        assert np.array_equal(found, np.clip(np.clip(values, low, high), *outer), equal_nan=True)


def test_adding_nothing_still_checks_extents_and_keeps_the_type() -> None:
    for build in (lambda v: v + np.zeros(4), lambda v: v / np.ones((2, 4))):
        f = kroton.function([m], build(m))
        value = np.arange(8.0).reshape(2, 4)
        assert np.array_equal(f(value), value)
        for wrong in ((2, 3), (2, 1)):
            with pytest.raises(ValueError):
                f(np.ones(wrong))
    f = kroton.function([k], k / np.ones(2, "int64"))
    assert f([1, 2]).dtype == "float64"


def test_writing_twice_still_checks_what_was_written_first() -> None:
    out = T.set_subtensor(T.set_subtensor(m[0], x)[0], y)
    f = kroton.function([m, x, y], out)
    assert np.array_equal(f(np.ones((2, 3)), [1, 2, 3], [4, 5, 6])[0], [4, 5, 6])
    with pytest.raises(ValueError):
        f(np.ones((2, 3)), [1, 2], [4, 5, 6])


def test_positions_and_running_sums_are_of_what_is_looked_at() -> None:
    assert ops(T.argmax(m, axis=1)[0]) == ["Subtensor{0}", "Argmax{axes=[0]}"]
    assert ops(T.cumsum(m, axis=1)[0]) == ["Subtensor{0}", "Cumsum{axis=0}"]
    assert ops(T.cumsum(m, axis=0)[0]) == ["Cumsum{axis=0}", "Subtensor{0}"]


def test_slices_of_a_sum_with_products_let_the_products_accumulate() -> None:
    z = T.dot(m, n) + T.dot(n, m) + y
    parts = [T.tanh(z[:, 8 * g : 8 * g + 8]) for g in range(4)]
    assert ops(parts).count("Gemm") == 1
    assert ops(parts).count("Dot22") == 1


def test_the_gradient_of_slices_that_are_everything_is_a_join() -> None:
    z = T.TensorType("float64", (None, 12))("z")
    i, f, o = (T.nnet.sigmoid(z[:, 3 * g : 3 * g + 3]) for g in range(3))
    cost = (o * T.tanh(f + i * T.tanh(z[:, 9:]))).sum()
    made = kroton.function([z], T.grad(cost, z))
    found = [str(node.op) for node in made.maker.fgraph.toposort()]
    assert any(name.startswith("Join") for name in found)
    assert not any(name.startswith(("IncSubtensor", "Alloc")) for name in found)
    value = np.random.default_rng(0).standard_normal((2, 12))
    plain = kroton.function([z], T.grad(cost, z), mode=PLAIN)
    np.testing.assert_allclose(made(value), plain(value), rtol=1e-12)
    # What nothing is taken of stays zero, and what is taken twice is added.
    for other in (z[:, :3].sum() + z[:, 4:].sum(), z[:, :8].sum() + T.exp(z[:, 6:]).sum()):
        g = kroton.function([z], T.grad(other, z))
        h = kroton.function([z], T.grad(other, z), mode=PLAIN)
        np.testing.assert_allclose(g(value), h(value), rtol=1e-12)
