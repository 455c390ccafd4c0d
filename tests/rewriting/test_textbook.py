"""Rules for textbook formulas and for products fire where they should, and keep the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

FAST = Mode("c|py", "fast_run").excluding("fusion", "inplace")
PLAIN = Mode("py", None)


def ops_of(inputs: list[Any], *outputs: Any, mode: Any = FAST) -> list[str]:
    f = kroton.function(inputs, list(outputs), mode=mode, on_unused_input="ignore")
    return [str(node.op) for node in f.maker.fgraph.toposort()]


def agree(inputs: list[Any], outputs: list[Any], values: list[Any], **tolerance: float) -> None:
    fast = kroton.function(inputs, outputs, mode=FAST, on_unused_input="ignore")(*values)
    plain = kroton.function(inputs, outputs, mode=PLAIN, on_unused_input="ignore")(*values)
    for a, b in zip(fast, plain):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, **(tolerance or {"rtol": 1e-10, "atol": 1e-12}))


matrices = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 1000))


def normal(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns))


@pytest.mark.parametrize("axis", [0, 1])
def test_the_sum_of_what_is_centred_is_not_computed(axis: int) -> None:
    x, c = T.dmatrix("x"), T.dvector("c")
    scale = c if axis == 0 else c.dimshuffle(0, "x")
    centred = x - x.mean(axis=axis, keepdims=True)
    found = ops_of([x, c], (centred * scale * 2).sum(axis=axis))
    assert not any("Sum" in op for op in found)


def test_a_sum_of_something_else_is_computed() -> None:
    x, y = T.dmatrix("x"), T.dmatrix("y")
    for expression in (
        (x - y.mean(axis=0)).sum(axis=0),
        (x - x.mean(axis=0)).sum(axis=1),
        (x - x.sum(axis=0) / y.shape[0]).sum(axis=0),
        ((x - x.mean(axis=0)) * y).sum(axis=0),
        ((x - x.mean(axis=0)) ** 2).sum(axis=0),
    ):
        assert any("Sum" in op for op in ops_of([x, y], expression))


@settings(max_examples=25, deadline=None)
@given(matrices)
def test_centred_sums_are_zero_up_to_rounding(drawn: tuple[int, int, int]) -> None:
    x = T.dmatrix("x")
    centred = (x - x.mean(axis=0)) * x.shape[1]
    agree([x], [centred.sum(axis=0), T.grad((centred**3).sum(), x)], [normal(*drawn)])


def test_softmax_and_crossentropy_of_one_matrix_are_one_apply() -> None:
    z, y = T.dmatrix("z"), T.lvector("y")
    p = T.nnet.softmax(z)
    found = ops_of([z, y], T.log(p)[T.arange(y.shape[0]), y].sum(), T.nnet.softmax(z) * 2)
    assert "CrossentropySoftmaxArgmax1Hot{by_index}" in found
    assert not any(op.startswith("Softmax") for op in found)


def test_the_gradient_of_a_likelihood_by_hand_has_one_apply() -> None:
    z, y = T.dmatrix("z"), T.lvector("y")
    e = T.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    cost = -T.log(p)[T.arange(y.shape[0]), y].mean()
    found = ops_of([z, y], T.grad(cost, z))
    assert "CrossentropySoftmax1HotGrad{by_index}" in found
    assert not any("IncSubtensor" in op or "Max" in op or "switch" in op for op in found)
    agree([z, y], [cost, T.grad(cost, z)], [normal(6, 4, 0), np.arange(6) % 4])


def test_what_a_crossentropy_passes_back_sums_to_zero() -> None:
    z, y = T.dmatrix("z"), T.lvector("y")
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(z), y).mean()
    gradient = T.grad(cost, z)
    assert "Sum{axes=[1]}" not in ops_of([z, y], gradient.sum(axis=1))
    agree([z, y], [gradient.sum(axis=1), gradient.sum()], [normal(6, 4, 0), np.arange(6) % 4])


def test_a_constant_shift_does_not_keep_a_sum_of_exponentials_from_its_stable_form() -> None:
    x = T.dmatrix("x")
    f = kroton.function([x], T.log(T.exp(x - 0.5).sum(axis=1)))
    np.testing.assert_allclose(f([[1e4, 1e4]]), [1e4 - 0.5 + np.log(2)], rtol=1e-15)
    np.testing.assert_allclose(f([[-1e4, -1e4]]), [-1e4 - 0.5 + np.log(2)], rtol=1e-15)


def test_constants_of_a_product_are_gathered_across_its_shapes() -> None:
    x, s = T.dvector("x"), T.dscalar("s")
    found = ops_of([x, s], 2 * (x * (-0.5 * s)))
    assert sorted(found) == ["Elemwise{mul}", "Elemwise{neg}"]
    agree([x, s], [2 * (x * (-0.25 * s))], [np.arange(4.0), np.array(3.0)])


def test_a_transposed_product_is_a_product_of_the_operands_the_other_way_round() -> None:
    x, y = T.dmatrices("x", "y")
    found = ops_of([x, y], T.dot(x.T, y).T)
    assert sum(op.startswith("DimShuffle") for op in found) == 1
    assert str(found[-1]) == "Dot22"
    # Without a transposition to save, the result is turned, which costs nothing.
    assert ops_of([x, y], T.dot(x, y).T)[-1].startswith("DimShuffle")


def test_a_factor_of_a_product_ends_in_gemm() -> None:
    x, y, z = T.dmatrices("x", "y", "z")
    w = kroton.shared(np.ones((3, 3)), name="w")
    scaled = T.tanh(x) * 0.25
    f = kroton.function(
        [x, y, z],
        [],
        updates=[(w, w - 0.5 * T.dot(z, T.dot(scaled, y)))],
    )
    found = [str(node.op) for node in f.maker.fgraph.toposort()]
    assert found == ["Elemwise{tanh}", "Dot22", "Gemm{inplace}"]
    (gemm,) = [n for n in f.maker.fgraph.apply_nodes if str(n.op).startswith("Gemm")]
    assert gemm.inputs[1].data == -0.125


def test_a_factor_that_something_else_needs_stays() -> None:
    x, y = T.dmatrices("x", "y")
    scaled = x * 0.25
    found = ops_of([x, y], T.dot(scaled, y) + 1, scaled.sum(axis=0) * scaled)
    assert found.count("Elemwise{mul}") == 2


@settings(max_examples=25, deadline=None)
@given(matrices, st.sampled_from(["float32", "float64"]))
def test_products_keep_their_values(drawn: tuple[int, int, int], dtype: str) -> None:
    x, y = T.matrix("x", dtype=dtype), T.matrix("y", dtype=dtype)
    a = normal(*drawn).astype(dtype)
    scaled = x * np.float32(0.25)
    outputs = [
        T.dot(T.dot(scaled, y.T), x), T.dot(x.T, y).T, T.dot(scaled.T, y) + 1,
        T.dot(T.dot(y, scaled.T).T, y),
    ]  # fmt: skip
    agree([x, y], outputs, [a, a[::-1]], rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(matrices, st.sampled_from([1.0, -3.0, 0.25]), st.booleans())
def test_the_derivative_of_a_logistic_function_keeps_its_digits(
    drawn: tuple[int, int, int], scale: float, flipped: bool
) -> None:
    x, g = T.dmatrix("x"), T.dmatrix("g")
    s = T.nnet.sigmoid(x)
    whole, part = scale * g * s, scale * g * s * s
    out = part - whole if flipped else whole - part
    trace = kroton.printing.rewrite_trace(out)
    assert "p - p * sigmoid(x) -> p * sigmoid(-x)" in [line.rule for line in trace.replacements]
    agree([x, g], [out], [normal(*drawn), normal(*drawn[:2], drawn[2] + 1)])


def test_products_that_share_no_sigmoid_are_subtracted() -> None:
    x, g = T.dmatrix("x"), T.dmatrix("g")
    s = T.nnet.sigmoid(x)
    for out in (g * 2 - g * s, g * s - 3 * g * s * s, g * s - x * s * s, g * s + g * s * s):
        trace = kroton.printing.rewrite_trace(out)
        names = [line.rule for line in trace.replacements]
        assert "p - p * sigmoid(x) -> p * sigmoid(-x)" not in names
        agree([x, g], [out], [normal(3, 2, 0), normal(3, 2, 1)])


@settings(max_examples=25, deadline=None)
@given(matrices)
def test_a_penalty_beside_a_likelihood_leaves_its_gradient_finite(
    drawn: tuple[int, int, int],
) -> None:
    z, y = T.dmatrix("z"), T.lvector("y")
    p = T.nnet.softmax(z)
    cost = -T.log(p)[T.arange(y.shape[0]), y].sum() + (p**2).sum()
    labels = np.arange(drawn[0]) % drawn[1]
    agree([z, y], [cost, T.grad(cost, z)], [normal(*drawn), labels])
    gradient = kroton.function([z, y], T.grad(cost, z), mode=FAST)
    assert np.isfinite(gradient(normal(*drawn) * 1e4, labels)).all()


def test_a_dimension_that_is_dropped_and_put_back_stays() -> None:
    v = T.TensorType("float64", (1, None))("v")
    assert ops_of([v], T.dimshuffle(v, ("x", 1)) * 2) == ["Elemwise{mul}"]
