"""MonitorMode calls the user's functions around every Apply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import MonitorMode
from kroton.compile.monitormode import detect_nan


def test_every_apply_is_seen_before_and_after_with_its_values() -> None:
    seen: list[Any] = []

    def before(i: int, node: Any, fn: Any) -> None:
        seen.append(("before", i, str(node.op), fn.inputs[0][0].tolist(), fn.outputs))

    def after(i: int, node: Any, fn: Any) -> None:
        seen.append(("after", i, str(node.op), fn.inputs[0][0].tolist(), fn.outputs[0][0].tolist()))

    x = T.dvector("x")
    f = kroton.function([x], T.sqrt(abs(x)), mode=MonitorMode(before, after, optimizer=None))
    np.testing.assert_array_equal(f([-4.0]), [2.0])
    assert seen == [
        ("before", 0, "Elemwise{abs}", [-4.0], [[None]]),
        ("after", 0, "Elemwise{abs}", [-4.0], [4.0]),
        ("before", 1, "Elemwise{sqrt}", [4.0], [[None]]),
        ("after", 1, "Elemwise{sqrt}", [4.0], [2.0]),
    ]


def test_either_function_may_be_left_out() -> None:
    x = T.dscalar("x")
    assert kroton.function([x], x + 1, mode=MonitorMode())(1) == 2


def test_what_a_monitor_raises_ends_the_call() -> None:
    def stop(i: int, node: Any, fn: Any) -> None:
        raise KeyError("enough")

    x = T.dscalar("x")
    with pytest.raises(KeyError, match="enough"):
        kroton.function([x], x + 1, mode=MonitorMode(stop))(1)


def test_detect_nan_prints_the_apply_with_its_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    x = T.dvector("x")
    mode = MonitorMode(post_func=detect_nan, optimizer=None)
    f = kroton.function([x], T.log(x) * 2, mode=mode)
    f([1.0])
    assert capsys.readouterr().out == ""
    with np.errstate(all="ignore"):
        f([-1.0])
    printed = capsys.readouterr().out
    assert printed.startswith("*** NaN detected ***\nElemwise{log}")
    assert "Inputs : [array([-1.])]" in printed


def test_excluding_keeps_the_functions_once() -> None:
    calls: list[int] = []
    mode = MonitorMode(post_func=lambda i, node, fn: calls.append(i)).excluding("fusion")
    x = T.dvector("x")
    kroton.function([x], T.exp(T.sin(x)), mode=mode)([0.0])
    assert calls == [0, 1]


@pytest.mark.parametrize("linker", ["py", "c", "c|py", "c&py"])
def test_it_works_with_every_linker(linker: str) -> None:
    calls: list[int] = []
    mode = MonitorMode(lambda i, node, fn: calls.append(i), linker=linker)
    x = T.dvector("x")
    kroton.function([x], T.exp(x).sum(), mode=mode)([0.0])
    assert calls == list(range(len(calls)))
    assert calls
