"""Results and state share no memory that a later call could overwrite."""

from itertools import combinations

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

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
