"""In-place results overwrite only what nobody reads any more."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.graph import Constant, FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer
from kroton.rewriting.inplace import InPlace

INPLACE = InPlace("inplace")


def rewritten(
    inputs: list[Any], outputs: list[Any], updated: dict[int, int] | None = None,
    mutable: tuple[int, ...] = (),
) -> FunctionGraph:  # fmt: skip
    fgraph = FunctionGraph(inputs, outputs)
    fgraph.updated_inputs = {k: fgraph.inputs[i] for k, i in (updated or {}).items()}  # type: ignore[attr-defined]
    fgraph.mutable_inputs = [fgraph.inputs[i] for i in mutable]  # type: ignore[attr-defined]
    INPLACE.apply(fgraph)
    fgraph.check_integrity()
    fgraph.validate()
    return fgraph


def destroyers(fgraph: FunctionGraph) -> list[str]:
    return [str(n.op) for n in fgraph.toposort() if n.op.destroy_map]


def run_in_order(fgraph: FunctionGraph, *values: Any) -> list[Any]:
    """The outputs, by the performs in the graph's own order, inputs given as they are."""
    known = {var: var.data for var in fgraph.variables if isinstance(var, Constant)}
    known.update(zip(fgraph.inputs, values))
    for node in fgraph.toposort():
        storage: list[list[Any]] = [[None] for _ in node.outputs]
        node.op.perform(node, [known[v] for v in node.inputs], storage)
        known.update({out: cell[0] for out, cell in zip(node.outputs, storage)})
    return [known[out] for out in fgraph.outputs]


v, w = T.dvectors("v", "w")


def test_a_temporary_is_overwritten() -> None:
    assert destroyers(rewritten([v], [T.exp(T.sin(v))])) == ["Elemwise{exp, inplace={0: 0}}"]


def test_inputs_constants_and_outputs_are_not_overwritten() -> None:
    assert destroyers(rewritten([v], [T.exp(v)])) == []
    assert destroyers(rewritten([v], [T.exp(T.constant([1.0, 2.0]))])) == []
    inner = T.sin(v)
    assert destroyers(rewritten([v], [T.exp(inner), inner])) == []
    assert destroyers(rewritten([v], [T.exp(inner), inner[:2]])) == []


def test_what_is_read_later_is_not_overwritten() -> None:
    inner = T.sin(v)
    first = T.exp(inner)
    fgraph = rewritten([v], [first.sum() + (inner * first)])
    order = fgraph.toposort()
    values = run_in_order(fgraph, np.arange(3.0))
    np.testing.assert_allclose(
        values[0], interpret([v], [first.sum() + (inner * first)])(np.arange(3.0))[0]
    )
    assert order


def test_another_type_cannot_be_overwritten() -> None:
    f, m, s = T.fvector("f"), T.dmatrix("m"), T.dscalar("s")
    assert destroyers(rewritten([f], [T.cast(T.exp(f), "float64")])) == []
    assert destroyers(rewritten([v, m], [T.sin(v) + m])) == []
    assert destroyers(rewritten([s], [T.sin(T.cos(s))])) == []


def test_a_temporary_seen_through_a_view_is_overwritten_once() -> None:
    m = T.dmatrix("m")
    inner = T.sin(m)
    fgraph = rewritten([m], [T.exp(inner.T)])
    assert destroyers(fgraph) == ["Elemwise{exp, inplace={0: 0}}"]
    fgraph = rewritten([m], [T.exp(inner.T), T.sin(inner)])
    x = np.arange(6.0).reshape(2, 3)
    for a, b in zip(run_in_order(fgraph, x.copy()), [np.exp(np.sin(x).T), np.sin(np.sin(x))]):
        np.testing.assert_allclose(a, b)


def test_the_same_input_twice_is_fine_two_views_are_not() -> None:
    m = T.dmatrix("m")
    inner = T.sin(m)
    assert destroyers(rewritten([m], [inner * inner])) != []
    assert destroyers(rewritten([m], [inner * inner.T])) == []


def test_an_update_is_written_over_its_shared_variable() -> None:
    fgraph = rewritten([v, w], [v - 0.1 * w], updated={0: 0})
    assert destroyers(fgraph) == ["Elemwise{sub, inplace={0: 0}}"]
    value = np.arange(3.0)
    (out,) = run_in_order(fgraph, value, np.ones(3))
    assert out is value


def test_an_update_is_not_written_over_what_others_return_or_update() -> None:
    assert destroyers(rewritten([v, w], [v - w, v], updated={0: 0})) == []
    assert destroyers(rewritten([v, w], [w + 1, v + 1], updated={0: 0, 1: 1})) == []
    assert destroyers(rewritten([v, w], [v - w], updated={0: 1})) == [
        "Elemwise{sub, inplace={0: 1}}"
    ]


def test_swapping_two_shared_variables_is_right() -> None:
    fgraph = rewritten([v, w], [w + 0.5, v + 0.5], updated={0: 0, 1: 1})
    a, b = run_in_order(fgraph, np.zeros(2), np.ones(2))
    np.testing.assert_array_equal(a, [1.5, 1.5])
    np.testing.assert_array_equal(b, [0.5, 0.5])


def test_the_others_read_the_old_value_first() -> None:
    fgraph = rewritten([v, w], [v + 1, v * w], updated={0: 0, 1: 1})
    order = [n.op.name for n in fgraph.toposort()]
    a, b = run_in_order(fgraph, np.arange(3.0), np.full(3, 2.0))
    np.testing.assert_array_equal(a, np.arange(3.0) + 1)
    np.testing.assert_array_equal(b, np.arange(3.0) * 2)
    assert set(order) == {"add", "mul"}


def test_a_mutable_input_may_be_scratch() -> None:
    assert destroyers(rewritten([v], [T.exp(v).sum()], mutable=(0,))) != []
    assert destroyers(rewritten([v], [T.exp(v).sum()])) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_graphs_stay_right_in_place(data: Any) -> None:
    inputs = [T.dmatrix(n) for n in "abc"]
    pool: list[Any] = list(inputs)
    for _ in range(data.draw(st.integers(1, 12))):
        a = data.draw(st.sampled_from(pool))
        kind = data.draw(st.sampled_from(["sin", "add", "T", "set", "inc", "row", "sum", "mul"]))
        if kind == "sin":
            made = T.sin(a)
        elif kind == "T":
            made = a.T
        elif kind == "row":
            made = a[::-1]
        elif kind == "sum":
            made = a + a.sum(axis=0)
        else:
            b = data.draw(st.sampled_from(pool))
            if kind == "set":
                made = T.set_subtensor(a[0], b[1])
            elif kind == "inc":
                made = T.inc_subtensor(a[:, 0], b[0])
            else:
                made = getattr(T, kind)(a, b)
        pool.append(made)
    outputs = data.draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))
    updated = {}
    for k in range(len(outputs)):
        if data.draw(st.booleans()) and len(updated) < 3:
            free = [i for i in range(3) if i not in updated.values()]
            updated[k] = data.draw(st.sampled_from(free))
    mutable = tuple(i for i in range(3) if i not in updated.values() and data.draw(st.booleans()))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    values = [rng.normal(size=(3, 3)) for _ in inputs]
    expected = interpret(inputs, outputs)(*[x.copy() for x in values])
    fgraph = rewritten(inputs, outputs, updated, mutable)
    given_ = [x.copy() for x in values]
    found = run_in_order(fgraph, *given_)
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)
    for i, (before, after) in enumerate(zip(values, given_)):
        if i not in mutable and i not in updated.values():
            np.testing.assert_array_equal(before, after)


def test_the_whole_optimizer_leaves_a_valid_graph() -> None:
    m = T.dmatrix("m")
    fgraph = FunctionGraph([m], [T.exp(T.sin(m).T + 1).sum(axis=0) * 2])
    get_optimizer("fast_run").apply(fgraph)
    fgraph.validate()
