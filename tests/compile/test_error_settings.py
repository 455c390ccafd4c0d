"""config.exception_verbosity and config.traceback.limit: what errors at call time show."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T


def message(**settings: Any) -> str:
    with kroton.config.change_flags(**settings):
        x, y = T.dvectors("x y")
        f = kroton.function([x, y], T.exp(x + y), mode=kroton.Mode("py", None))
        with pytest.raises(ValueError, match="shape") as caught:
            f(np.zeros(3), np.arange(4.0))
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", ())])


def test_low_verbosity_names_the_apply_its_inputs_and_the_line() -> None:
    text = message(exception_verbosity="low")
    assert "Apply node that caused the error: Elemwise{add}(x, y)" in text
    assert "[(3,), (4,)]" in text
    assert "test_error_settings.py" in text
    assert "T.exp(x + y)" in text
    assert "exception_verbosity='high'" in text


def test_high_verbosity_adds_the_graph_and_statistics() -> None:
    text = message(exception_verbosity="high")
    assert "The graph around the Apply:" in text
    assert "Elemwise{add} [id A]" in text
    assert "y: min 0.0, max 3.0" in text


def test_an_unknown_verbosity_is_refused() -> None:
    with pytest.raises(ValueError, match="low, high"):
        kroton.config.exception_verbosity = "medium"


def nested(depth: int) -> Any:
    return nested(depth - 1) if depth else T.dvector("x") + 1


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_bounds_the_frames_that_are_remembered(limit: int) -> None:
    with kroton.config.change_flags(traceback__limit=limit):
        y = nested(6)
    assert len(y.trace) == limit
    assert {code.co_name for code, _ in y.trace} == {"nested"}


def test_a_limit_of_zero_remembers_nothing() -> None:
    with kroton.config.change_flags(traceback__limit=0):
        assert nested(2).trace == ()
    assert "made here" not in message(traceback__limit=0)


def test_the_frames_are_innermost_first() -> None:
    with kroton.config.change_flags(traceback__limit=4):
        y = nested(1)
    assert [code.co_name for code, _ in y.trace][:3] == [
        "nested",
        "nested",
        "test_the_frames_are_innermost_first",
    ]


def of_fused(mode: str) -> str:
    """The message where `a` and `b` meet, in the second of three lines."""
    a, b, c = T.dvectors("a b c")
    doubled = a * 2
    met = T.exp(b) + doubled
    result = T.tanh(met) * c
    f = kroton.function([a, b, kroton.In(c, mutable=True)], result, mode=mode)
    with pytest.raises(ValueError, match="elements in dimension 0") as caught:
        f(np.ones(3), np.ones(4), np.ones(3))
    return str(caught.value)


@pytest.mark.parametrize("mode", ["FAST_RUN", "DEBUG_MODE", "FAST_COMPILE"])
def test_operands_that_do_not_fit_are_named_where_they_meet(mode: str) -> None:
    text = of_fused(mode)
    assert "add(exp(b), mul(a, 2.0)), of operands with the shapes (4,) and (3,)" in text
    assert "This add was made here" in text
    assert "met = T.exp(b) + doubled" in text
    assert "T.tanh(met)" not in text


def test_a_gradient_that_does_not_fit_names_what_the_user_wrote() -> None:
    a, b = T.dvectors("a b")
    product = a * b
    cost = T.sum(T.log(1 + product))
    f = kroton.function([a, b], T.exp(T.grad(cost, a)) + b)
    with pytest.raises(ValueError, match=r"mul\(a, b\)") as caught:
        f(np.ones(3), np.ones(4))
    assert "product = a * b" in str(caught.value)


def test_fused_functions_pickle_without_their_lines() -> None:
    x = T.dvector("x")
    f = kroton.function([x], T.exp(x * 2) + 1)
    (node,) = f.maker.fgraph.toposort()
    assert len(node.tag.traces) == 3
    assert not hasattr(pickle.loads(pickle.dumps(node.tag)), "traces")
    assert pickle.loads(pickle.dumps(f))([0.0]).tolist() == [2.0]
