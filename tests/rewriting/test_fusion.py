"""Fusion makes one Apply of an elementwise region and changes no value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton import scalar
from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer
from kroton.rewriting.fusion import Fusion

FUSION = Fusion("fusion")
UNARY = ["exp", "neg", "sqr", "tanh", "abs_", "sigmoid", "floor"]
BINARY = ["add", "mul", "sub", "maximum", "minimum"]


def fused(inputs: list[Any], outputs: list[Any], pass_: Fusion = FUSION) -> FunctionGraph:
    fgraph = FunctionGraph(inputs, outputs)
    pass_.apply(fgraph)
    fgraph.check_integrity()
    return fgraph


v, w = T.dvectors("v", "w")


def test_a_region_becomes_one_apply() -> None:
    fgraph = fused([v, w], [T.exp(v * w + 1) - w])
    (node,) = fgraph.toposort()
    assert isinstance(node.op.scalar_op, scalar.Composite)
    assert [step.op.name for step in node.op.scalar_op.instructions] == ["mul", "add", "exp", "sub"]
    assert node.inputs[:2] == fgraph.inputs


def test_a_result_that_others_use_is_kept() -> None:
    inner = T.exp(v)
    fgraph = fused([v], [T.log(inner + 1), inner.sum()])
    assert len(fgraph.toposort()) == 3
    fgraph = fused([v], [T.log(inner + 1), inner])
    assert len(fgraph.toposort()) == 2


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
    assert len(fgraph.toposort()) == 3


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
        if data.draw(st.booleans()):
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
