"""Ops in an expression that overwrite their inputs change no result and no argument."""

import pickle
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.graph import Apply, InconsistencyError, Op, Variable
from kroton.graph.identity import DeepCopyOp
from kroton.tensor.elemwise import Elemwise

MODES = [
    Mode(linker=linker, optimizer=optimizer)
    for linker in ("py", "c|py", "c&py")
    for optimizer in (None, "merge", "fast_compile", "fast_run")
]
everywhere = pytest.mark.parametrize("mode", [*MODES, "DEBUG_MODE"], ids=str)


class Overwrite(Op):
    """Fill the input with a number and return it."""

    __props__ = ("number",)
    destroy_map = {0: [0]}

    def __init__(self, number: float = 7.0) -> None:
        self.number = number

    def make_node(self, *inputs: Any) -> Apply:
        return Apply(self, list(inputs), [inputs[0].type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        extra = sum(x.sum() for x in inputs[1:])
        inputs[0][...] = self.number + extra
        output_storage[0][0] = inputs[0]


overwrite = Overwrite()
v = T.dvector("v")
w = v + 1


def copies(f: Any) -> int:
    return sum(isinstance(node.op, DeepCopyOp) for node in f.maker.fgraph.apply_nodes)


@everywhere
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (overwrite(v), 7.0),
        (overwrite(v[1:]), 7.0),
        (overwrite(v[::-1][1:]), 7.0),
        (overwrite(v, v), 10.0),
        (overwrite(overwrite(v), v), 10.0),
        (T.set_subtensor(v[:], 9, inplace=True), 9.0),
        (T.inc_subtensor(v[[0, 1, 2]], 1, inplace=True), 2.0),
        (Elemwise(T.exp(v).owner.op.scalar_op, ((0, 0),))(v), np.e),
    ],
)
def test_an_argument_is_as_it_was_after_the_call(mode: Any, expression: Any, expected: Any) -> None:
    a = np.ones(3)
    result = kroton.function([v], expression, mode=mode)(a)
    np.testing.assert_allclose(result, np.full(expression.eval({v: a}).shape, expected))
    np.testing.assert_array_equal(a, 1.0)


@everywhere
@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([overwrite(w), w], [7, 2]),
        ([w, overwrite(w)], [2, 7]),
        ([overwrite(w) + w], [9]),
        ([w + overwrite(w)], [9]),
        ([overwrite(w), w[1:].sum()], [7, 4]),
        ([overwrite(w[1:]).sum(), w[1:].sum()], [14, 4]),
        ([overwrite(w), Overwrite(3.0)(w), w], [7, 3, 2]),
        ([overwrite(w), Overwrite(3.0)(overwrite(w))], [7, 3]),
        ([overwrite(v + 1), Overwrite(3.0)(1 + v), 0 + (v + 1)], [7, 3, 2]),
        ([overwrite(w), overwrite(w + 0), w * 1], [7, 7, 2]),
        ([overwrite(w, w), overwrite(w, w * 2)], [13, 19]),
        ([overwrite(T.constant(np.ones(3))) + w], [9]),
        ([overwrite(T.zeros(3)) + T.zeros(3)], [7]),
    ],
)  # fmt: skip
def test_results_are_those_of_ops_that_overwrite_nothing(
    mode: Any, outputs: list[Any], expected: list[float]
) -> None:
    f = kroton.function([v], outputs, mode=mode, on_unused_input="ignore")
    for _ in range(2):
        for value, number in zip(f(np.ones(3)), expected):
            np.testing.assert_array_equal(value, number)


@everywhere
def test_state_is_overwritten_by_its_own_update_only(mode: Any) -> None:
    s, t = kroton.shared(np.ones(3)), kroton.shared(np.ones(3))
    f = kroton.function(
        [], [overwrite(s), s.sum()], updates=[(t, Overwrite(5.0)(t + s))], mode=mode
    )
    for _ in range(2):
        np.testing.assert_array_equal(f()[0], 7.0)
        np.testing.assert_array_equal(f()[1], 3.0)
    np.testing.assert_array_equal(s.get_value(), 1.0)
    np.testing.assert_array_equal(t.get_value(), 5.0)


def test_a_constant_is_as_it_was_after_the_call() -> None:
    c = T.constant(np.ones(3))
    f = kroton.function([], overwrite(c))
    np.testing.assert_array_equal(f(), f())
    np.testing.assert_array_equal(c.data, 1.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_nothing_else_needs_is_overwritten_without_a_copy(mode: Mode) -> None:
    f = kroton.function([v], overwrite(Overwrite(3.0)(w)), mode=mode)
    assert copies(f) == 0
    np.testing.assert_array_equal(f(np.ones(3)), 7.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_mutable_argument_is_overwritten_without_a_copy(mode: Mode) -> None:
    a = np.ones(3)
    f = kroton.function([kroton.In(v, mutable=True)], overwrite(v), mode=mode)
    assert f(a) is a
    np.testing.assert_array_equal(a, 7.0)


def test_an_in_place_assignment_that_is_asked_for_is_made_where_it_is_safe() -> None:
    s = kroton.shared(np.zeros(3))
    new = T.set_subtensor(s[0], 9.0, inplace=True)
    f = kroton.function([], s.sum(), updates=[(s, new)])
    assert copies(f) == 0
    assert [node.op.inplace for node in f.maker.fgraph.apply_nodes if hasattr(node.op, "inplace")]
    assert f() == 0.0
    assert f() == 9.0


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_accept_inplace_overwrites_after_the_last_reader(mode: Mode) -> None:
    f = kroton.function([v], [overwrite(w).sum(), w.sum()], mode=mode, accept_inplace=True)
    assert copies(f) == 0
    assert f(np.ones(3)) == [21.0, 6.0]
    s = kroton.shared(np.ones(3))
    f = kroton.function([], s.sum(), updates=[(s, overwrite(s))], mode=mode, accept_inplace=True)
    assert copies(f) == 0
    assert [f(), f()] == [3.0, 21.0]


@pytest.mark.parametrize("optimizer", [None, "fast_run"])
@pytest.mark.parametrize(
    "outputs",
    [
        [overwrite(v)],
        [overwrite(v[1:])],
        [overwrite(w), w],
        [overwrite(w), w[1:]],
        [overwrite(w) + w],
        [overwrite(w), Overwrite(3.0)(w)],
        [overwrite(T.constant(np.ones(3))) + v],
    ],
)
def test_accept_inplace_refuses_to_overwrite_what_is_needed(
    optimizer: Any, outputs: list[Variable]
) -> None:
    with pytest.raises(InconsistencyError, match="Without accept_inplace=True"):
        kroton.function([v], outputs, mode=Mode(optimizer=optimizer), accept_inplace=True)


def test_what_must_run_both_before_and_after_an_overwriting_op_is_explained() -> None:
    with pytest.raises(InconsistencyError, match="must run before what overwrites it, but needs"):
        kroton.function([v], overwrite(w) + w, accept_inplace=True)


def test_copies_of_a_function_accept_the_same() -> None:
    s = kroton.shared(np.ones(3))
    new = T.set_subtensor(s[0], 9.0, inplace=True)
    f = kroton.function([], [], updates=[(s, new)], mode="FAST_COMPILE", accept_inplace=True)
    for twin in (f.copy(), pickle.loads(pickle.dumps(f))):
        assert twin.maker.spec.accept_inplace
        (node,) = twin.maker.fgraph.apply_nodes
        assert node.op.inplace
