"""Profiles as dicts, JSON and traces."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

import kroton
import kroton.tensor as T


@pytest.fixture
def mode():
    mode = kroton.ProfileMode()
    x = T.dmatrix("x")
    w = kroton.shared(np.ones((6, 6)), name="w")
    f = kroton.function([x], T.tanh(x @ w).sum(), mode=mode, name="f")
    for _ in range(3):
        f(np.ones((4, 6)))
    return mode


def test_the_dict_holds_what_was_measured(mode, tmp_path):
    data = mode.to_dict()
    assert data["calls"] == 3
    assert data["local_time"] == pytest.approx(mode.local_time)
    (function,) = data["functions"]
    assert function["name"] == "f"
    assert [a["position"] for a in function["applys"]] == list(range(len(function["applys"])))
    product = function["applys"][0]
    assert product["input_shapes"] == [[4, 6], [6, 6]]
    assert product["output_shapes"] == [[4, 6]]
    assert product["output_bytes"] == 4 * 6 * 8
    assert product["flops"] == 2 * 4 * 6 * 6
    assert product["source"].partition(":")[0].endswith("test_export.py")
    assert json.loads(mode.to_json(tmp_path / "p.json")) == json.loads(
        (tmp_path / "p.json").read_text()
    )


def test_the_trace_has_one_call_in_order(mode, tmp_path):
    mode.write_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    call, *runs = [event for event in events if event["ph"] == "X"]
    assert (call["name"], call["ts"]) == ("f", 0)
    assert {e["name"]: e["args"]["name"] for e in events if e["ph"] == "M"} == {
        "process_name": "Kroton: latest calls", "thread_name": "f",
    }  # fmt: skip
    assert runs[0]["ts"] >= 0
    assert runs[-1]["ts"] + runs[-1]["dur"] <= call["dur"] + 1e-3
    assert [event["args"]["position"] for event in runs] == list(range(len(runs)))
    for before, after in pairwise(runs):
        assert before["dur"] >= 0
        assert before["ts"] + before["dur"] <= after["ts"] + 1e-3


def test_flops_of_an_op_of_ones_own_can_be_given():
    from dataclasses import dataclass

    from kroton.compile.profiling import flops_of
    from kroton.compile.profiling.flops import count_flops

    @dataclass(frozen=True)
    class Mine(kroton.Op):
        pass

    assert count_flops(Mine(), [(2, 3)], [(2,)]) == 0
    flops_of(Mine)(lambda op, inputs, outputs: 7 * inputs[0][0])
    assert count_flops(Mine(), [(2, 3)], [(2,)]) == 14
