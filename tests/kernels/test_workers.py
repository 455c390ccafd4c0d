"""Large work is shared between threads: the same bits with any number of them."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton._kernels.workers import get_threads, set_threads

M = T.dmatrix("m")
N = 200_003
EXPRESSIONS = {
    "one instruction": (M + 1, (3, N)),
    "a program": (T.tanh(M) * T.exp(-M) + M, (2, N)),
    "a broadcast row": (T.exp(M) - M[0], (500, 999)),
    "many short rows": (T.exp(M) - M[:, 0][:, None], (N, 3)),
    "a reversed transpose": (T.sin(M.T[::-1]) * 2 + M.T, (700, 801)),
    "softmax": (T.nnet.softmax(M), (801, 700)),
    "softmax by columns": (T.nnet.softmax(M, axis=0), (801, 700)),
    "logsoftmax": (T.nnet.logsoftmax(M), (801, 700)),
    "a reduced program": (T.sum(T.exp(-T.sqr(M))), (2, N)),
    "a program reduced by rows": (T.sum(T.exp(M) * M, axis=1), (5000, 77)),
    "a program reduced by columns": (T.max(T.exp(M) - M, axis=0), (5000, 77)),
    "a program of few long rows": (T.sum(T.exp(M) * M, axis=1), (3, N)),
    "sums over columns and over all": (
        T.sum(T.exp(M), axis=0) + T.sum(T.exp(M) - M) + T.sum(T.exp(M) * M, axis=0),
        (N, 5),
    ),
}


@pytest.fixture(autouse=True)
def _as_many_threads_as_before():
    with kroton.config.change_flags(threads=kroton.config.threads):
        yield


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_the_number_of_threads_changes_no_bit(name):
    expression, shape = EXPRESSIONS[name]
    value = np.random.default_rng(1).normal(size=shape)
    f = kroton.function([M], expression)
    kroton.config.threads = 1
    alone = f(value)
    for count in (2, 3, 8):
        kroton.config.threads = count
        np.testing.assert_array_equal(f(value), alone)
    reference = kroton.function([M], expression, mode=kroton.Mode(linker="py", optimizer=None))
    np.testing.assert_allclose(alone, reference(value), rtol=1e-13, atol=1e-13)


def test_the_setting_reaches_the_kernels():
    kroton.config.threads = 3
    assert get_threads() == 3
    with kroton.config.change_flags(threads=1):
        assert get_threads() == 1
    assert get_threads() == 3
    kroton.config.threads = 0
    assert get_threads() >= 1
    with pytest.raises(ValueError, match="negative"):
        set_threads(-1)


def test_work_in_place_is_shared_too():
    value = np.random.default_rng(2).normal(size=3 * N)
    kroton.config.threads = 4
    state = kroton.shared(value.copy())
    step = kroton.function([], updates={state: state * 0.5 + 1})
    step()
    np.testing.assert_array_equal(state.get_value(), value * 0.5 + 1)


def test_several_python_threads_may_ask_for_threads_at_once():
    kroton.config.threads = 4
    value = np.random.default_rng(3).normal(size=(3, N))
    f = kroton.function([M], T.tanh(M) * T.exp(-M))
    expected = f(value)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(10):
            if not np.array_equal(f(value), expected):
                wrong.append(1)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    kroton.config.threads = 3
    value = np.random.default_rng(4).normal(size=(3, N))
    f = kroton.function([M], T.tanh(M) * T.exp(-M))
    expected = f(value)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(f(value), expected) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    np.testing.assert_array_equal(f(value), expected)


def test_what_may_raise_runs_in_one_thread_where_its_error_is_seen():
    kroton.config.threads = 4
    n = T.lvector("n")
    f = kroton.function([n], n**n)
    with pytest.raises(ValueError, match="negative"):
        f(np.where(np.arange(N * 2) == N, -1, 2))
