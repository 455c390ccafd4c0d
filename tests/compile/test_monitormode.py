"""MonitorMode calls the user's functions around every Apply."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import MonitorMode, scalar
from kroton.compile.monitormode import detect_nan
from kroton.linking.hooks import Hook, Observer
from kroton.tensor.elemwise import Elemwise


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


def _recompute(i: int, node: Any, fn: Any) -> None:
    """A `post_func`: the outputs must be what `perform` makes of the inputs."""
    storage: list[list[Any]] = [[None] for _ in node.outputs]
    node.op.perform(node, [deepcopy(cell[0]) for cell in fn.inputs], storage)
    for mine, (found,) in zip(storage, fn.outputs):
        if isinstance(found, np.ndarray):
            np.testing.assert_allclose(mine[0], found)


def test_what_an_apply_overwrites_is_seen_as_it_was() -> None:
    seen: list[str] = []

    def post(i: int, node: Any, fn: Any) -> None:
        _recompute(i, node, fn)
        seen.extend(["in place"] * bool(node.op.destroy_map))

    x = T.dvector("x")
    w = kroton.shared(np.ones(3), name="w")
    rows = kroton.shared(np.ones((3, 3)), name="rows")
    cost = T.sqr(T.cumsum(x) - w).sum()
    updates = [(w, w - 0.1 * T.grad(cost, w)), (rows, T.inc_subtensor(rows[0], x))]
    f = kroton.function([x], cost, updates=updates, mode=MonitorMode(post_func=post))
    plain = kroton.function([x], T.exp(T.cumsum(x)), mode=MonitorMode(post_func=post))
    for _ in range(2):
        f([1.0, 2.0, 3.0])
        plain([1.0, 2.0, 3.0])
    assert len(seen) >= 6
    np.testing.assert_array_equal(rows.get_value()[0], [3.0, 5.0, 7.0])


def test_an_input_that_is_given_twice_is_seen_as_it_was_in_both_places() -> None:
    v = T.dvector("v")
    shown: list[Any] = []

    def post(i: int, node: Any, fn: Any) -> None:
        shown.append([cell[0].tolist() for cell in fn.inputs])

    mul = Elemwise(scalar.mul, inplace_pattern=((0, 0),))
    y = T.cumsum(v)
    mode = MonitorMode(post_func=post, optimizer=None)
    f = kroton.function([v], mul(y, y), mode=mode, accept_inplace=True)
    np.testing.assert_array_equal(f([1.0, 2.0]), [1.0, 9.0])
    assert shown[-1] == [[1.0, 3.0], [1.0, 3.0]]


def test_only_hooks_that_need_values_have_them_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Hook):
        needs_values = False

    called: list[int] = []
    monkeypatch.setattr(Observer, "before", lambda self, position, inputs: called.append(position))
    x = T.dvector("x")
    out = T.exp(T.cumsum(x))
    kroton.function([x], out, mode=kroton.Mode(hooks=(Counting(),)))([1.0])
    assert called == []
    kroton.function([x], out, mode=MonitorMode())([1.0])
    assert called != []


def test_detect_nan_prints_the_inputs_of_an_apply_in_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x = T.dvector("x")
    f = kroton.function([x], T.log(T.cumsum(x)), mode=MonitorMode(post_func=detect_nan))
    assert any(node.op.destroy_map for node in f.maker.fgraph.toposort())
    with np.errstate(all="ignore"):
        f([-1.0, 3.0])
    assert "Inputs : [array([-1.,  2.])]" in capsys.readouterr().out
