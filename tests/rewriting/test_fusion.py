"""Fusion makes one Apply of an elementwise region and changes no value."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton import scalar
from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer
from kroton.rewriting.fusion import Fusion
from kroton.tensor.fused_reduction import FusedReduction

FUSION = Fusion("fusion")
UNARY = ["exp", "neg", "sqr", "tanh", "abs_", "sigmoid", "floor"]
BINARY = ["add", "mul", "sub", "maximum", "minimum"]


def fused(inputs: list[Any], outputs: list[Any], pass_: Fusion = FUSION) -> FunctionGraph:
    fgraph = FunctionGraph(inputs, outputs)
    pass_.apply(fgraph)
    fgraph.check_integrity()
    return fgraph


def names(node: Any) -> list[str]:
    op = node.op
    program = op.program if isinstance(op, FusedReduction) else op.scalar_op
    return [step.op.name for step in program.instructions]


v, w = T.dvectors("v", "w")


def test_a_region_becomes_one_apply() -> None:
    fgraph = fused([v, w], [T.exp(v * w + 1) - w])
    (node,) = fgraph.toposort()
    assert isinstance(node.op.scalar_op, scalar.Composite)
    assert names(node) == ["mul", "add", "exp", "sub"]
    assert node.inputs[:2] == fgraph.inputs


def test_a_result_that_others_use_is_one_of_several() -> None:
    inner = T.exp(v)
    for outputs in ([T.log(inner + 1), T.cumsum(inner)], [T.log(inner + 1), inner]):
        node = fused([v], outputs).toposort()[0]
        assert names(node) == ["exp", "add", "log"]
        assert len(node.outputs) == 2


def test_applys_that_read_the_same_array_become_one() -> None:
    (node,) = fused([v, w], [v * w, T.exp(v)]).toposort()
    assert names(node) == ["mul", "exp"]
    assert len(fused([v, w], [v + 1, w + 1]).toposort()) == 2


def test_equal_extents_are_proven_by_what_else_is_read() -> None:
    a = T.dvector("a")
    nodes = fused([v, w, a], [T.exp(v), T.sin(w) * v, T.cos(w), T.exp(a)]).toposort()
    assert sorted(len(n.outputs) for n in nodes) == [1, 3]
    short, long = T.dvector("short"), T.dvector("long")
    s = T.dscalar("s")
    nodes = fused([short, long, s], [T.exp(short) * s, T.exp(long) * s]).toposort()
    assert [len(n.outputs) for n in nodes] == [1, 1]


def test_constants_bring_nothing_together() -> None:
    c = T.constant(np.arange(3.0))
    x, y = T.TensorType("float64", (3,))("x"), T.TensorType("float64", (3,))("y")
    assert len(fused([x, y], [x + c, y * c]).toposort()) == 2


def test_what_waits_for_a_reduction_is_not_fused_with_what_it_reduces() -> None:
    a = T.exp(v)
    norm = a / a.sum()
    nodes = fused([v], [T.log(norm), a * 2]).toposort()
    first, last = nodes
    assert names(first) == ["exp", "mul"]
    assert names(last) == ["true_div", "log"]


def test_new_values_of_shared_variables_are_not_held_up_by_other_results() -> None:
    rate, g = T.dscalar("rate"), T.dvector("g")
    p = kroton.shared(np.ones(3), name="p")
    m = kroton.shared(np.ones(3), name="m")
    momentum = 0.9 * m + g
    step = kroton.function(
        [g, rate], T.tanh(g), updates=[(m, momentum), (p, p - rate * momentum)], mode="FAST_RUN"
    )
    nodes = step.maker.fgraph.toposort()
    assert sorted(len(n.outputs) for n in nodes) == [1, 2]
    (update,) = (n for n in nodes if len(n.outputs) == 2)
    assert dict(update.op.inplace_pattern).keys() == {0, 1}
    step(np.arange(3.0), 0.5)
    np.testing.assert_array_equal(m.get_value(), 0.9 + np.arange(3.0))
    np.testing.assert_allclose(p.get_value(), 1 - 0.5 * (0.9 + np.arange(3.0)))


def test_several_results_have_gradients_shapes_and_can_be_pickled() -> None:
    (node,) = fused([v, w], [T.sin(v * w), T.exp(v * w)]).toposort()
    assert len(node.outputs) == 2
    x, y = T.dvectors("x", "y")
    first, second = node.op(x, y)
    a, b = np.array([0.3, -1.2]), np.array([2.0, 0.7])
    f = kroton.function([x, y], [*T.grad((first + 2 * second).sum(), [x, y]), first.shape[0]])
    slope = np.cos(a * b) + 2 * np.exp(a * b)
    for found, wanted in zip(f(a, b), [slope * b, slope * a, 2]):
        np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert pickle.loads(pickle.dumps(node.op)) == node.op
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(again(a, b)[0], f(a, b)[0])


def test_debug_mode_accepts_several_results_in_place() -> None:
    m = T.dmatrix("m")
    inner = T.exp(T.dot(m, m))
    outputs = [T.dot(T.sin(inner) + 1, m), T.dot(T.cos(inner), m)]
    f = kroton.function([m], outputs, mode="DebugMode")
    nodes = [n for n in f.maker.fgraph.toposort() if len(n.outputs) > 1]
    assert nodes
    assert all(n.op.destroy_map for n in nodes)
    x = np.random.default_rng(3).normal(size=(3, 3))
    inner_value = np.exp(x @ x)
    expected = [(np.sin(inner_value) + 1) @ x, np.cos(inner_value) @ x]
    for found, wanted in zip(f(x), expected):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_reduction_of_a_region_is_computed_with_it() -> None:
    (node,) = fused([v, w], [T.sum(T.sqr(v - w))]).toposort()
    assert str(node.op) == "FusedReduction{Composite{sqr(sub(i0, i1))}: Sum{axes=[0]}}"
    m = T.dmatrix("m")
    z = T.exp(m)
    (node,) = fused([m], [z.sum(axis=0), z.max(axis=1), T.sin(z)]).toposort()
    assert len(node.outputs) == 3
    without = Fusion("fusion", reductions=False)
    assert len(fused([v, w], [T.sum(T.sqr(v - w))], without).toposort()) == 2


def test_what_is_read_elsewhere_too_is_kept_beside_its_reduction() -> None:
    inner = T.exp(v)
    (node,) = fused([v], [inner, inner.sum()]).toposort()
    assert str(node.op) == "FusedReduction{Composite{t0 = exp(i0); t0, t0}: -, Sum{axes=[0]}}"


def test_what_is_kept_beside_its_reduction_is_made_in_place() -> None:
    m = T.dmatrix("m")
    inner = T.exp(T.dot(m, m))
    f = kroton.function([m], [T.dot(inner, m), inner.sum(axis=0)], mode="DebugMode")
    (node,) = (n for n in f.maker.fgraph.toposort() if isinstance(n.op, FusedReduction))
    assert dict(node.op.inplace_pattern) == {0: 0}
    x = np.random.default_rng(3).normal(size=(4, 4))
    value = np.exp(x @ x)
    for found, wanted in zip(f(x), [value @ x, value.sum(0)]):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_fused_reduction_has_gradients_shapes_and_can_be_pickled() -> None:
    m, x = T.dmatrix("m"), T.dmatrix("x")
    z = T.sin(m * x)
    (node,) = fused([m, x], [z.sum(axis=1), T.cos(m), z.max()]).toposort()
    again = pickle.loads(pickle.dumps(node.op))
    assert again == node.op

    def sums(a: Any, b: Any) -> Any:
        total, largest, rest = node.op(a, b)
        return total.sum() + (rest * rest).sum() + 3 * largest

    rng = np.random.default_rng(2)
    kroton.gradient.verify_grad(sums, [rng.normal(size=(3, 4)), rng.normal(size=(3, 4))], rng=rng)
    results = node.op(m, x)
    f = kroton.function([m, x], [r.shape for r in results])
    assert not any(isinstance(n.op, FusedReduction) for n in f.maker.fgraph.toposort())
    shapes = f(np.zeros((3, 4)), np.zeros((3, 4)))
    assert [tuple(s) for s in shapes] == [(3,), (), (3, 4)]


def test_debug_mode_accepts_fused_reductions() -> None:
    m = T.dmatrix("m")
    z = T.exp(m - m.max(axis=1, keepdims=True))
    f = kroton.function([m], [T.log(z.sum(axis=1)), T.sum(T.sqr(z) * m)], mode="DebugMode")
    assert any(isinstance(n.op, FusedReduction) for n in f.maker.fgraph.toposort())
    x = np.random.default_rng(3).normal(size=(5, 4))
    value = np.exp(x - x.max(1, keepdims=True))
    for found, wanted in zip(f(x), [np.log(value.sum(1)), (value**2 * x).sum()]):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_what_is_shared_within_a_region_is_computed_once() -> None:
    inner = T.exp(v)
    fgraph = fused([v], [inner * (inner + 1)])
    (node,) = fgraph.toposort()
    assert len(node.op.scalar_op.instructions) == 3


def test_a_smaller_operand_is_not_computed_for_each_element() -> None:
    s, m = T.dscalar("s"), T.dmatrix("m")
    fgraph = fused([s, v, m], [T.exp(T.exp(s) * T.tanh(T.tanh(v)) + T.exp(m))])
    shapes = [node.outputs[0].type.ndim for node in fgraph.toposort()]
    assert sorted(shapes) == [0, 1, 2]


def test_casts_and_dtypes_are_kept() -> None:
    i = T.lvector("i")
    fgraph = fused([i, v], [T.cast(i, "float64") * v > 2])
    (node,) = fgraph.toposort()
    assert node.outputs[0].type.dtype == "bool"
    assert node.op.scalar_op.in_dtypes[0] == "int64"


def test_regions_are_limited() -> None:
    xs = [T.dvector(f"x{k}") for k in range(60)]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    for node in fused(xs, [total]).toposort():
        assert len(node.inputs) <= FUSION.max_inputs
    many = [T.exp(v) * k for k in range(2, 40)]
    for node in fused([v], many).toposort():
        assert len(node.outputs) <= FUSION.max_outputs
    out = v
    for _ in range(200):
        out = T.sin(out)
    nodes = fused([v], [out]).toposort()
    assert [len(n.op.scalar_op.instructions) for n in nodes] == [8, 64, 64, 64]


def test_a_graph_is_never_fused_into_a_cycle() -> None:
    a = T.exp(v)
    b = a.sum()
    fgraph = fused([v], [T.sqr(a) * b + a])
    fgraph.toposort()
    assert len(fgraph.toposort()) == 2


def test_fusing_twice_changes_nothing() -> None:
    fgraph = fused([v, w], [T.exp(v * w + 1) - w, v.sum() * 2 + 1])
    before = [str(n) for n in fgraph.toposort()]
    FUSION.apply(fgraph)
    assert [str(n) for n in fgraph.toposort()] == before


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_elementwise_graphs_keep_their_values(data: Any) -> None:
    matrix, row, i = T.dmatrix("m"), T.drow("r"), T.lmatrix("i")
    f = T.fvector("f")
    inputs = [matrix, row, i, f, v]
    pool: list[Any] = [*inputs, T.constant(0.5)]
    for _ in range(data.draw(st.integers(1, 14))):
        a = data.draw(st.sampled_from(pool))
        if data.draw(st.integers(0, 5)) == 0:
            pool.append(T.sum(a, axis=data.draw(st.integers(0, a.type.ndim - 1)), keepdims=True)
                        if a.type.ndim else a)  # fmt: skip
        elif data.draw(st.booleans()):
            pool.append(getattr(T, data.draw(st.sampled_from(UNARY)))(a))
        else:
            b = data.draw(st.sampled_from(pool))
            pool.append(getattr(T, data.draw(st.sampled_from(BINARY)))(a, b))
    outputs = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    n = data.draw(st.integers(0, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = [
        rng.normal(size=(2, n)), rng.normal(size=(1, n)), rng.integers(-3, 4, size=(2, n)),
        rng.normal(size=n).astype("float32"), rng.normal(size=n),
    ]  # fmt: skip
    limits = Fusion("small", max_inputs=data.draw(st.integers(2, 6)),
                    max_instructions=data.draw(st.integers(2, 8)))  # fmt: skip
    for pass_ in (FUSION, limits):
        fgraph = fused(inputs, outputs, pass_)
        before = interpret(inputs, outputs)(*values)
        after = interpret(fgraph.inputs, fgraph.outputs)(*values)
        for a, b in zip(after, before):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def chain(n: int) -> Any:
    out = v
    for k in range(n):
        out = T.sin(out) if k % 2 else out * w
    return out


@pytest.mark.parametrize("n", [3000])
def test_a_long_chain_is_fused(n: int) -> None:
    fgraph = FunctionGraph([v, w], [chain(n)])
    get_optimizer("fast_run").apply(fgraph)
    assert len(fgraph) == -(-n // FUSION.max_instructions)


def braid(n: int) -> list[Any]:
    """Two strands that read each other at every step, as a difference equation does."""
    a, b = v, w
    for _ in range(n):
        a, b = T.sin(a) + b, a * b
    return [a, b]


def test_a_long_braid_is_fused_in_pieces() -> None:
    fgraph = fused([v, w], braid(1000))
    assert len(fgraph) <= 2 * 3000 // FUSION.max_instructions
