"""Results and state share no memory that a later call could overwrite."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.graph import Apply, Op, Variable

MODES = [Mode(linker=k, optimizer=o) for k in ("py", "c|py") for o in (None, "fast_run")]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_state_results_and_inputs_never_share_memory(mode: Mode) -> None:
    a, b, c = (kroton.shared(np.full((3, 3), float(k))) for k in range(3))
    x = T.dmatrix("x")
    new = T.tanh(a + x)
    f = kroton.function([x], [new, c, c, new, new.T, x], updates=[(a, new), (b, new)], mode=mode)
    held = [*f(np.ones((3, 3))), *(s.get_value(borrow=True) for s in (a, b, c))]
    for one, other in combinations(held, 2):
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_two_shared_variables_updated_with_one_value_stay_apart(mode: Mode) -> None:
    a, b, c = (kroton.shared(np.full(3, float(k))) for k in range(3))
    kroton.function([], [], updates=[(a, c), (b, c)], mode=mode)()
    kroton.function([], [], updates=[(a, T.set_subtensor(a[0], 9.0))], mode=mode)()
    np.testing.assert_array_equal(a.get_value(), [9, 2, 2])
    np.testing.assert_array_equal(b.get_value(), [2, 2, 2])
    np.testing.assert_array_equal(c.get_value(), [2, 2, 2])


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_update_reads_a_value_before_another_update_overwrites_it(mode: Mode) -> None:
    start = np.arange(16.0).reshape(4, 4) / 8
    a, b = kroton.shared(start), kroton.shared(start)
    p = T.nnet.softmax(a)
    new_a = T.inc_subtensor(a[:-2:2], p[:-2:2])
    new_b = T.set_subtensor(p[p > 0], 0.5)
    kroton.function([], [], updates=[(a, new_a), (b, new_b)], mode=mode)()
    expected = start.copy()
    e = np.exp(start - start.max(axis=1, keepdims=True))
    expected[:-2:2] += (e / e.sum(axis=1, keepdims=True))[:-2:2]
    np.testing.assert_allclose(a.get_value(), expected)
    np.testing.assert_array_equal(b.get_value(), 0.5)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_borrowed_read_only_value_can_be_updated_and_stays_as_it_is(mode: Mode) -> None:
    lent = np.broadcast_to(np.ones(1), (4,))
    s = kroton.shared(lent, borrow=True)
    f = kroton.function([], [], updates=[(s, T.inc_subtensor(s[0], 1.0))], mode=mode)
    f()
    f()
    np.testing.assert_array_equal(s.get_value(), [3, 1, 1, 1])
    np.testing.assert_array_equal(lent, 1)


@dataclass(frozen=True)
class Append(Op):
    """Append 1 to a list, in place."""

    destroy_map = {0: [0]}

    def make_node(self, x: Variable) -> Apply:
        return Apply(self, [x], [x.type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        inputs[0].append(1)
        output_storage[0][0] = inputs[0]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_state_that_is_no_array_is_copied_too_while_an_update_may_fail(mode: Mode) -> None:
    s = kroton.shared([0])
    held = s.get_value(borrow=True)
    f = kroton.function([], [], updates=[(s, Append()(s))], mode=mode)
    f()
    f()
    assert s.get_value() == [0, 1, 1]
    assert held == [0]


@pytest.mark.parametrize("linker", ["py", "c|py"])
def test_an_argument_that_is_overwritten_may_be_given_as_another_one_too(linker):
    m, n = T.dmatrices("m n")
    outputs = [kroton.Out(T.exp(m) + 1, borrow=True), n.sum(axis=0)]
    f = kroton.function([kroton.In(m, mutable=True), n], outputs, mode=Mode(linker))
    b = np.arange(9.0).reshape(3, 3) / 4
    for view in (lambda a: a, lambda a: a.T, lambda a: a[::-1]):
        a = b.copy()
        one, two = f(a, view(a))
        np.testing.assert_allclose(one, np.exp(b) + 1)
        np.testing.assert_array_equal(two, view(b).sum(axis=0))
        np.testing.assert_array_equal(a, b)
    a = b.copy()
    one, two = f(a, b)
    assert np.shares_memory(one, a)  # nobody else has it: it is overwritten
