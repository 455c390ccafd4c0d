"""Fills and allocs vanish, shapes are known without values, reductions lose what is constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.gradient import grad
from kroton.graph import FunctionGraph, InconsistencyError, Op
from kroton.graph.basic import Apply
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer
from kroton.rewriting.shape import source_of_extent
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.shape import AssertShape

OPTIMIZER = get_optimizer("fast_run").excluding("fusion", "inplace")


def optimized(inputs: list[Any], outputs: list[Any], optimizer: Any = OPTIMIZER) -> FunctionGraph:
    fgraph = FunctionGraph(inputs, outputs)
    optimizer.apply(fgraph)
    fgraph.check_integrity()
    return fgraph


def ops(fgraph: FunctionGraph) -> list[str]:
    return [str(node.op) for node in fgraph.toposort()]


def same(inputs: list[Any], outputs: list[Any], *values: Any, **kwargs: Any) -> FunctionGraph:
    """The optimized graph, after checking that it computes the same."""
    fgraph = optimized(inputs, outputs)
    before = interpret(inputs, outputs)(*values)
    after = interpret(fgraph.inputs, fgraph.outputs)(*values)
    for a, b in zip(after, before):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, **kwargs)
    return fgraph


v, w = T.dvectors("v", "w")
m = T.dmatrix("m")
V, W, M = np.arange(3.0), np.ones(3), np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda: T.zeros_like(v) + v, []),
        (lambda: T.ones_like(v) * v, []),
        (lambda: T.fill(v, 2.0) * v, ["Elemwise{mul}"]),
        (lambda: T.fill(v, 2.0) * T.fill(v, 3.0), ["Shape_i{0}", "Alloc"]),
        (lambda: T.exp(T.zeros_like(v)), ["Shape_i{0}", "Alloc"]),
        (lambda: v.dimshuffle("x", 0) + m, ["Elemwise{add}"]),
        (lambda: m.dimshuffle(1, 0).dimshuffle(1, 0), []),
        (lambda: m.T.T, []),
        (lambda: T.fill(m, 1.0).sum(axis=0) * v,
         ["Shape_i{0}", "Elemwise{cast{float64}}", "Shape_i{1}", "AssertShape{0}",
          "Elemwise{mul}"]),
        (lambda: T.exp(v).shape[0], ["Shape_i{0}"]),
        (lambda: T.dot(m, m.T).shape[1], ["Shape_i{0}"]),
        (lambda: (T.exp(v).sum() + v).size, ["Shape_i{0}"]),
        (lambda: T.log(m).reshape((-1, 2)).reshape((6,)).shape[0], []),
        (lambda: v[:], []),
        (lambda: (3 * m).sum(axis=0), ["Sum{axes=[0]}", "Elemwise{mul}"]),
        (lambda: m.sum(axis=1).sum(), ["Sum{axes=[0, 1]}"]),
        (lambda: m.T.sum(), ["Sum{axes=[0, 1]}"]),
        (lambda: (-v).sum(), ["Sum{axes=[0]}", "Elemwise{neg}"]),
        (lambda: m.reshape((-1,)).reshape((-1,)), ["Reshape{1}"]),
        (lambda: T.constant(np.arange(3.0)) * 2 + 1, []),
        (lambda: grad((v * 3).sum(), v), ["Shape_i{0}", "Alloc"]),
        (lambda: grad(T.sqr(v).sum(), v), ["Elemwise{mul}"]),
    ],
)  # fmt: skip
def test_what_needs_no_computation_is_not_computed(expression: Any, expected: list[str]) -> None:
    fgraph = same([v, w, m], [expression()], V, W, M)
    assert ops(fgraph) == expected


def test_a_mean_gradient_is_one_scalar_spread_over_the_shape() -> None:
    fgraph = same([m], [grad(m.mean(), m)], M)
    assert ops(fgraph)[-1] == "Alloc"
    assert all(node.outputs[0].type.ndim == 0 for node in fgraph.toposort()[:-1])


def test_softmax_and_its_logarithm_are_recognized_from_their_textbook_forms() -> None:
    e = T.exp(m)
    for expression, op in (
        (e / e.sum(axis=1, keepdims=True), "Softmax{axis=1}"),
        (e / e.sum(axis=0), "Softmax{axis=0}"),
        (e / e.sum(), "Softmax{axis=None}"),
        (m - T.log(e.sum(axis=1, keepdims=True)), "LogSoftmax{axis=1}"),
        (T.log(e / e.sum(axis=1, keepdims=True)), "LogSoftmax{axis=1}"),
        (grad(T.log(e.sum(axis=1)).sum(), m), "Softmax{axis=1}"),
        (T.nnet.softmax(m - m.max(axis=1, keepdims=True)), "Softmax{axis=1}"),
    ):
        assert ops(same([m], [expression], M)) == [op]


def test_the_logarithm_of_a_sum_of_exponentials_does_not_overflow() -> None:
    fgraph = same([m], [T.log(T.exp(m).sum(axis=1))], M)
    run = interpret(fgraph.inputs, fgraph.outputs)
    big = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [np.inf, 0.0], [-1e4, -1e4]])
    (value,) = run(big)
    np.testing.assert_allclose(value, [1000 + np.log(2), -np.inf, np.inf, -1e4 + np.log(2)])


class Failing(Op):
    __props__ = ()

    def make_node(self, x: Any) -> Apply:
        return Apply(self, [T.as_tensor_variable(x)], [T.dscalar()])

    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        raise ValueError("only at run time")


class Unfoldable(Failing):
    def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
        output_storage[0][0] = np.array(1.0)

    def do_constant_folding(self, node: Any) -> bool:
        return False


def test_what_raises_or_refuses_is_not_folded() -> None:
    for op in (Failing(), Unfoldable()):
        fgraph = optimized([], [op(T.constant(1.0))])
        assert len(fgraph.toposort()) == 1


def test_a_big_result_of_small_constants_is_not_kept() -> None:
    column = T.constant(np.arange(400.0).reshape(400, 1))
    row = T.constant(np.arange(400.0).reshape(1, 400))
    assert len(optimized([], [column + row]).toposort()) == 1
    assert len(optimized([], [column + 1]).toposort()) == 0


def test_a_constant_is_folded_once() -> None:
    calls = []

    class Counting(Failing):
        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            calls.append(node)
            output_storage[0][0] = np.array(2.0)

    x = T.dvector("x")
    optimized([x], [x * Counting()(T.constant(1.0)) + Counting()(T.constant(1.0))])
    assert len(calls) == 1


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_broadcasts_keep_their_values(data: Any) -> None:
    ndim = data.draw(st.integers(1, 2))
    shape = tuple(data.draw(st.integers(0, 3)) for _ in range(ndim))
    full = T.TensorType("float64", (None,) * ndim)("full")
    s = T.dscalar("s")
    pool: list[Any] = [full, s, T.constant(2.0)]
    for _ in range(data.draw(st.integers(1, 6))):
        a = data.draw(st.sampled_from(pool))
        b = data.draw(st.sampled_from(pool))
        kind = data.draw(
            st.sampled_from(["fill", "like", "add", "mul", "pad", "sum", "keep", "sub"])
        )
        if kind == "fill":
            made = T.fill(full, a) if a.type.ndim <= ndim else a
        elif kind == "like":
            made = T.zeros_like(a)
        elif kind == "pad":
            made = a.dimshuffle("x", *range(a.type.ndim)) if a.type.ndim < ndim else a
        elif kind == "sum":
            made = a.sum(axis=0) if a.type.ndim else a
        elif kind == "keep":
            made = a.sum(axis=-1, keepdims=True) if a.type.ndim else a
        else:
            made = getattr(T, kind)(a, b)
        pool.append(made)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = [rng.integers(-2, 3, size=shape).astype("float64"), np.array(1.5)]
    try:
        interpret([full, s], pool)(*values)
    except ValueError:
        return
    same([full, s], pool, *values)


def test_the_tutorials_likelihood_is_one_fused_crossentropy() -> None:
    y = T.lvector("y")
    labels = np.array([2, 0])
    for scores in (T.log(T.nnet.softmax(m)), T.nnet.logsoftmax(m)):
        for n in (y.shape[0], m.shape[0]):
            cost = -T.mean(scores[T.arange(n), y])
            fgraph = same([m, y], [cost, grad(cost, m)], M, labels)
            found = ops(fgraph)
            assert "CrossentropySoftmaxArgmax1Hot{by_index}" in found
            assert "CrossentropySoftmax1HotGrad{by_index}" in found
            assert not [op for op in found if "Subtensor" in op or op.startswith(("Log", "Soft"))]


def test_another_choice_of_elements_is_no_likelihood() -> None:
    y = T.lvector("y")
    labels = np.array([2, 0])
    scores = T.log(T.nnet.softmax(m))
    for index in ((T.arange(0, 4, 2) // 2, y), (y // 2, y)):
        fgraph = same([m, y], [scores[index].sum()], M, labels)
        assert not [op for op in ops(fgraph) if op.startswith("Crossentropy")]


def test_a_decayed_weights_update_is_one_gemm() -> None:
    a, b = T.dmatrices("a", "b")
    update = m - 0.1 * (T.dot(a, b) + 2 * 0.01 * m)
    fgraph = same([m, a, b], [update], M, np.ones((2, 4)), np.arange(12.0).reshape(4, 3))
    assert [op[:4] for op in ops(fgraph)] == ["Gemm"]


def test_factors_above_and_below_cancel() -> None:
    for expression, expected in (
        (lambda: (v / w) * w, []),
        (lambda: v * w / v, []),
        (lambda: (v / w) / (v / T.exp(w)), ["exp", "true_div"]),
        (lambda: T.reciprocal(v / w) * v, []),
        (lambda: -(v * w) / (3 * w), ["mul"]),
        (lambda: w * (v / w + T.sin(v) / w), ["sin", "add"]),
        (lambda: T.exp(v) * w / (1 + T.exp(v)), ["sigmoid", "mul"]),
    ):
        fgraph = same([v, w, m], [expression()], V + 1, W * 2, M)
        applys = [node for node in fgraph.toposort() if isinstance(node.op, Elemwise)]
        assert [node.op.name for node in applys] == expected


def test_what_cancels_still_has_the_extents_of_the_rest() -> None:
    for expression in (v * w / w, v / w * w, v / (v * w), T.exp(w) * v / T.exp(w)):
        for mode in ("FAST_RUN", "FAST_COMPILE"):
            f = kroton.function([v, w], expression, mode=mode)
            with pytest.raises(ValueError, match="2"):
                f(np.ones(3), np.ones(2))
    # Where something else compares them, that is enough.
    f = kroton.function([v, w], [v * w / w, v + w])
    assert not [node for node in f.maker.fgraph.toposort() if type(node.op) is AssertShape]


def test_products_that_others_use_are_opened_only_where_that_pays() -> None:
    quotient = v / w
    fgraph = same([v, w], [quotient * w, quotient], V, W)
    assert [node.op.name for node in fgraph.toposort()] == ["true_div"]
    fgraph = same([v, w], [quotient * T.sin(w), quotient], V, W)
    assert [node.op.name for node in fgraph.toposort()] == ["true_div", "sin", "mul"]


def test_a_factor_that_only_gave_the_shape_leaves_its_shape() -> None:
    fgraph = same([v, m], [(v[0] / m) * m], V, M + 1)
    assert fgraph.outputs[0].type.ndim == 2


def test_the_textbook_logistic_regression_stays_finite() -> None:
    p = 1 / (1 + T.exp(-v))
    loss = (-w * T.log(p) - (1 - w) * T.log(1 - p)).mean()
    gradient = grad(loss, v)
    same([v, w], [loss, gradient], V - 1, np.array([0.0, 1.0, 1.0]))
    fgraph = optimized([v, w], [loss, gradient])
    far = np.array([-2000.0, 2000.0, 2000.0])
    cost, slope = interpret(fgraph.inputs, fgraph.outputs)(far, np.array([1.0, 0.0, 1.0]))
    np.testing.assert_allclose(cost, 4000 / 3)
    np.testing.assert_allclose(slope, [-1 / 3, 1 / 3, 0])


def test_a_softmax_by_hand_has_the_gradient_of_a_softmax() -> None:
    weights = T.dmatrix("weights")
    given_ = np.arange(6.0).reshape(2, 3)[::-1] / 2
    e = T.exp(m - m.max(axis=1, keepdims=True))
    by_hand = e / e.sum(axis=1, keepdims=True)
    fgraph = same([m, weights], [grad((by_hand * weights).sum(), m)], M, given_)
    assert ops(fgraph) == ["Softmax{axis=1}", "SoftmaxGrad{axis=1}"]


def test_dimensions_are_added_before_an_elementwise_operation() -> None:
    fgraph = same([v], [T.exp(v).dimshuffle(0, "x") * 2], V)
    assert ops(fgraph) == ["DimShuffle{0,x}", "Elemwise{exp}", "Elemwise{mul}"]
    fgraph = same([m], [T.exp(m).T], M)
    assert ops(fgraph) == ["Elemwise{exp}", "DimShuffle{1,0}"]


@pytest.mark.parametrize(
    ("expression", "transposed"),
    [
        (lambda: (m.T * w[:2]).T, 1),
        (lambda: (m.T - m.sum(axis=1)).T, 1),
        (lambda: (T.exp(m).T * T.sin(m).T).sum(axis=0), 0),
        (lambda: T.dot(m.T * T.sin(m).T, m), 1),
        (lambda: (m.T * T.constant(np.arange(6.0).reshape(3, 2))).T, 2),
    ],
)
def test_transpositions_meet_where_they_go_away(expression: Any, transposed: int) -> None:
    fgraph = same([m, w], [expression()], M, W)
    assert sum("DimShuffle" in name for name in ops(fgraph)) == transposed


def test_a_check_that_an_index_fits_goes_where_the_index_says_so() -> None:
    k = T.lvector("k")
    taken = m[T.arange(m.shape[0]), k]
    fgraph = optimized([m, k], [grad(T.log(taken).sum(), m)])
    assert "AssertShape{0}" not in ops(fgraph)


@pytest.mark.parametrize(
    "expression",
    [
        lambda: T.neq(T.neq(v.astype("int64"), v.astype("int64")), w),
        lambda: T.switch(True, v, w),
        lambda: T.switch(T.gt(v, 0), w, w),
        lambda: T.alloc(w, v.shape[0]),
        lambda: T.dot(T.alloc(1.0, v.shape[0]), w),
        lambda: T.fill(v, 2.0) * w,
    ],
)
def test_no_rule_hides_that_extents_differ(expression: Any) -> None:
    f = kroton.function([v, w], expression())
    with pytest.raises(ValueError, match="1"):
        f(np.ones(1), np.ones(3))
    f(np.ones(3), np.ones(3))


def test_the_way_to_an_extent_ends_in_a_graph_that_a_rule_has_made_a_cycle_of() -> None:
    x = T.dvector("x")
    graph = FunctionGraph([x], [T.exp(T.sin(x))])
    (exponential,) = graph.outputs
    sine = exponential.owner.inputs[0]
    sine.owner.inputs[0] = exponential
    with pytest.raises(InconsistencyError, match="has a cycle through"):
        source_of_extent(graph, exponential, 0)
