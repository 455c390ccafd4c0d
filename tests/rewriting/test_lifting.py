"""An index moves towards the inputs; what it names, and which errors it raises, stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax
from kroton.tensor.subtensor import Subtensor

OPTIMIZER = get_optimizer("fast_run").excluding("fusion", "inplace")

m, n = T.dmatrix("m"), T.dmatrix("n")
v = T.dvector("v")
i, j = T.lscalar("i"), T.lscalar("j")
t = T.dtensor3("t")
known = T.TensorType("float64", (3, 4))("known")
row = T.drow("row")


def optimized(inputs: list[Any], output: Any) -> FunctionGraph:
    fgraph = FunctionGraph(inputs, [output])
    OPTIMIZER.apply(fgraph)
    fgraph.check_integrity()
    return fgraph


def ops(output: Any, *inputs: Any) -> list[str]:
    return [str(node.op) for node in optimized(list(inputs), output).toposort()]


SOURCES: dict[str, Any] = {
    "elementwise": lambda: T.tanh(m) * n + v,
    "stretched": lambda: T.exp(row) + m,
    "of a column": lambda: T.exp(v.dimshuffle(0, "x")) * v,
    "product": lambda: T.dot(m, n.T),
    "product with a vector": lambda: T.dot(m, v),
    "batched product": lambda: T.batched_dot(t, t.dimshuffle(0, 2, 1)),
    "transposed": lambda: T.exp(m).T,
    "with a new dimension": lambda: T.exp(v).dimshuffle("x", 0),
    "filled": lambda: T.alloc(v, m.shape[0], v.shape[0]),
    "filled, of known extents": lambda: T.alloc(v[0], 3, 4),
    "joined": lambda: T.join(0, T.exp(m), n),
    "joined, of known extents": lambda: T.join(1, known, T.exp(known)),
    "sum": lambda: T.exp(t).sum(axis=1),
    "maximum": lambda: T.exp(m).max(axis=0),
    "softmax": lambda: T.nnet.softmax(m),
    "logsoftmax": lambda: T.nnet.logsoftmax(t, axis=1),
    "indexed": lambda: m[1:],
    "indexed by number": lambda: t[:, i],
    "reversed": lambda: m[::-1],
    "indexed, of known extents": lambda: known[::-2, 1:3],
    "set": lambda: T.set_subtensor(m[1], v),
    "set to a number": lambda: T.set_subtensor(m[0], 1.0),
    "incremented": lambda: T.inc_subtensor(m[i], v),
    "set, of known extents": lambda: T.set_subtensor(known[1:], 2.0),
}
INPUTS = [m, n, v, i, j, t, known, row]

numbers = st.integers(-4, 4)
bounds = st.none() | numbers
entries = (
    numbers
    | st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, -1, -2]))
    | st.sampled_from([i, j, slice(None), slice(i, None), slice(None, j)])
)


def outcome(function: Any, values: list[Any]) -> Any:
    try:
        return function(*values)[0]
    except (IndexError, ValueError) as error:
        return error


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_an_index_means_the_same_wherever_it_moves(name: str, data: Any) -> None:
    source = SOURCES[name]()
    index = tuple(data.draw(st.lists(entries, max_size=source.type.ndim)))
    try:
        output = source[index]
    except IndexError:
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    a, b = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3))
    other = data.draw(st.sampled_from([a, a, a, b]))
    values = [
        rng.normal(size=(a, b)), rng.normal(size=(other, b)), rng.normal(size=b),
        np.array(data.draw(st.integers(-3, 3))), np.array(data.draw(st.integers(-3, 3))),
        rng.normal(size=(a, b, 2)), rng.normal(size=(3, 4)), rng.normal(size=(1, b)),
    ]  # fmt: skip
    fgraph = optimized(INPUTS, output)
    before = outcome(interpret(INPUTS, [output]), values)
    after = outcome(interpret(fgraph.inputs, fgraph.outputs), values)
    if isinstance(before, Exception):
        # Where several things are wrong, another of them may be found first.
        assert isinstance(after, Exception), after
        return
    assert not isinstance(after, Exception), after
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda: T.tanh(m)[0], ["Subtensor{0}", "Elemwise{tanh}"]),
        (lambda: (T.exp(row) * m)[:, 2],
         ["Subtensor{:, 2}", "Elemwise{exp}", "AssertShape{1}", "Subtensor{:, 2}",
          "Elemwise{mul}"]),
        (lambda: T.dot(m, n)[0], ["Subtensor{0}", "dot"]),
        (lambda: T.dot(m, n)[0, 1], ["Subtensor{0}", "Subtensor{:, 1}", "dot"]),
        (lambda: T.tanh(T.dot(m, n) + v)[0],
         ["Subtensor{0}", "dot", "Elemwise{add}", "Elemwise{tanh}"]),
        (lambda: T.exp(m)[:i], ["Subtensor{:int64}", "Elemwise{exp}"]),
        (lambda: T.dot(m, n)[i:], ["Subtensor{int64:}", "Dot22"]),
        (lambda: m.T[0], ["Subtensor{:, 0}"]),
        (lambda: T.alloc(v, 3, v.shape[0])[1], []),
        (lambda: T.zeros((5, 4))[:2, 0], []),
        (lambda: T.join(0, known, m)[1], ["Subtensor{1}", "AssertShape{0}"]),
        (lambda: T.stack([T.exp(m[0]), m[1]])[0], ["Subtensor{0}", "Elemwise{exp}"]),
        (lambda: T.stack([T.exp(m[0]), v])[0],
         ["Subtensor{0}", "Elemwise{exp}", "AssertShape{0}"]),
        (lambda: T.join(0, known, known)[4], ["Subtensor{1}"]),
        (lambda: T.join(0, known, m)[4], ["Subtensor{1}", "SpecifyShape{4}"]),
        (lambda: T.join(0, m, known)[-5], ["Subtensor{-2}", "SpecifyShape{4}"]),
        (lambda: T.join(0, known, m)[:2], ["Subtensor{:2}", "AssertShape{1}"]),
        (lambda: T.join(0, known, m)[3:5], ["Subtensor{:2}", "SpecifyShape{?,4}"]),
        (lambda: T.exp(m).sum(axis=1)[0], ["Subtensor{0}", "Elemwise{exp}", "Sum{axes=[0]}"]),
        (lambda: T.nnet.softmax(m)[0], ["Subtensor{0}", "Softmax{axis=0}"]),
        (lambda: m[1:][2:], ["Subtensor{3:}"]),
        (lambda: m[0][1], ["Subtensor{0, 1}"]),
        (lambda: m[i][j], ["Subtensor{int64, int64}"]),
        (lambda: m[::-1][0], ["Subtensor{-1}"]),
        (lambda: m[::-1][::-1], []),
        (lambda: T.set_subtensor(known[0], 1.0)[1], ["Subtensor{1}"]),
        (lambda: T.set_subtensor(m[0], 1.0)[1], ["Subtensor{1}"]),
        (lambda: T.inc_subtensor(v[i], 2.0)[i], ["Subtensor{int64}", "Elemwise{add}"]),
        (lambda: T.log(T.nnet.softmax(m))[:, 0], ["LogSoftmax{axis=1}", "Subtensor{:, 0}"]),
    ],
)  # fmt: skip
def test_only_what_is_asked_for_is_computed(expression: Any, expected: list[str]) -> None:
    found = ops(expression(), m, n, v, i, j, known, row)
    assert [op for op in found if op not in ("Shape_i{0}", "Shape_i{1}")] == expected


def test_what_is_computed_anyway_is_not_computed_again() -> None:
    y = T.exp(m)
    found = ops(T.concatenate([y[0], y.sum(axis=0)]), m)
    assert found.count("Elemwise{exp}") == 1


def test_parts_that_overlap_are_computed_once() -> None:
    y = T.exp(m)
    assert ops(T.concatenate([y[0], y[i]]), m, i).count("Elemwise{exp}") == 1
    assert ops(T.concatenate([y[0], y[1]]), m, i).count("Elemwise{exp}") == 2


def test_a_number_that_is_out_of_range_is_an_error_still() -> None:
    for output in (T.exp(m)[5], T.dot(m, n)[5], T.set_subtensor(m[5], 0.0)[5], T.alloc(v, i, 2)[5]):
        fgraph = optimized([m, n, v, i], output)
        with pytest.raises(IndexError):
            interpret(fgraph.inputs, fgraph.outputs)(
                np.ones((2, 2)), np.ones((2, 2)), np.ones(2), np.array(3)
            )


def test_operands_of_different_extents_are_an_error_still() -> None:
    fgraph = optimized([m, n], (m + n)[0])
    assert [type(node.op) for node in fgraph.toposort()].count(Subtensor) == 2
    with pytest.raises(ValueError, match="expected 2 elements"):
        interpret(fgraph.inputs, fgraph.outputs)(np.ones((2, 2)), np.ones((3, 2)))


def test_a_softmax_is_recognized_before_it_is_indexed() -> None:
    for power in (T.exp(m), T.exp(m - m.max(axis=1, keepdims=True))):
        p = power / power.sum(axis=1, keepdims=True)
        fgraph = optimized([m], T.log(p)[:, 0])
        kinds = [type(node.op) for node in fgraph.toposort()]
        assert LogSoftmax in kinds
        assert Softmax not in kinds


def test_an_empty_piece_of_unknown_width_stays_in_a_join() -> None:
    x, empty = T.dmatrix("x"), T.zeros((0, 3))
    out = T.join(0, x, empty)
    trace = kroton.printing.rewrite_trace(out)
    assert "join_of_joins" not in [line.rule for line in trace.replacements]


@pytest.mark.parametrize("k", [-3, 2, 9])
def test_what_is_put_at_an_index_out_of_range_is_an_error(k: int) -> None:
    at = T.lscalar("at")
    for out in (T.set_subtensor(v[at], 3.0)[at], T.set_subtensor(v[at : at + 1], 3.0)[at]):
        with pytest.raises(IndexError):
            kroton.function([v, at], out)(np.ones(2), k)


def test_a_number_of_elements_below_zero_is_an_error() -> None:
    n = T.lscalar("n")
    f = kroton.function([n], T.alloc(2.0, n).sum())
    assert f(3) == 6.0
    with pytest.raises(ValueError, match="negative"):
        f(-5)


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_a_slice_of_a_slice_of_known_extent_takes_the_same_elements(size: int) -> None:
    x = T.TensorType("float64", (size,))("x")
    bounds = [None, -4, -1, 0, 1, 3, 4]
    slices = [slice(a, b, c) for a in bounds for b in bounds for c in (None, -1, 2, -2)]
    values = np.arange(float(size))
    rng = np.random.default_rng(size)
    pairs = [(slices[i], slices[j]) for i, j in rng.integers(0, len(slices), (300, 2))]
    outputs = [x[first][second] for first, second in pairs]
    found = kroton.function([x], outputs)(values)
    for (first, second), value in zip(pairs, found):
        np.testing.assert_array_equal(value, values[first][second], str((first, second)))


def test_a_reversed_slice_to_a_bound_of_which_nothing_is_left_is_empty() -> None:
    x = T.TensorType("float64", (3,))("x")
    f = kroton.function([x, j], x[3:j][::-1])
    for bound in (-4, -1, 0, 2, 3, 7):
        assert f(np.arange(3.0), bound).tolist() == []


def test_extents_that_have_to_agree_are_compared_where_a_reshape_or_an_empty_piece_goes() -> None:
    f = kroton.function([v, i], T.reshape(v, (i,)))
    assert f(np.ones(2), 2).shape == f(np.ones(2), -1).shape == (2,)
    with pytest.raises(ValueError, match="3"):
        f(np.ones(2), 3)
    assert ops(T.reshape(v, (-1,)), v) == ops(T.reshape(v, (v.shape[0],)), v) == []
    empty, rest = T.TensorType("float64", (None, 0))(), T.TensorType("float64", (2, None))()
    joined = kroton.function([empty, rest], T.join(1, empty, rest))
    assert joined(np.ones((2, 0)), np.ones((2, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match="1"):
        joined(np.ones((1, 0)), np.ones((2, 3)))


def test_what_turns_out_to_be_of_extent_one_is_indexed_too() -> None:
    x, shape = T.TensorType("float64", (1, 1))("x"), T.constant(np.array([1, 1]))[::-1]
    whole = T.reshape(x, shape, ndim=2)
    third = T.TensorType("float64", (1, 1, 1))("third")
    stack = T.reshape(third, T.constant(np.array([1, 1, 1]))[::-1], ndim=3)
    f = kroton.function(
        [x, third],
        [(whole + 1)[-1:, :-2], (whole * whole)[1:], T.batched_dot(stack, stack)[:-1],
         T.batched_dot(stack, third)[1:]],
    )  # fmt: skip
    results = f(np.ones((1, 1)), np.ones((1, 1, 1)))
    assert [r.shape for r in results] == [(1, 0), (0, 1), (0, 1, 1), (0, 1, 1)]
