"""A failing case is saved, shrunk, and fails again in a new process."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import faults.ops  # noqa: F401
import numpy as np
import pytest
from faults.fault import FAULTS, Fault
from faults.kernels import exp_of
from faults.rules import unary

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadOptimization, BadThunkOutput, DebugModeError, reproduce
from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.minimize import ApplyCase

MODULE = """
import numpy as np
import kroton
from kroton._kernels.kernel import CallableKernel
from kroton.linking.kernels import kernel_for


class Halve(kroton.Op):
    __props__ = ()

    def make_node(self, x):
        return kroton.Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] / 2


@kernel_for(Halve)
def select(node):
    def run(inputs, storage):
        storage[0][0] = inputs[0] / 2
        storage[0][0][5:6] = 0

    return CallableKernel(run, 1, 1, "halve")
"""


def named(name: str) -> Fault:
    return next(f for f in FAULTS if f.name == name)


def error_of(build: Any, **options: Any) -> DebugModeError:
    inputs, out, arguments = build()
    with pytest.raises(DebugModeError) as caught:
        kroton.function(inputs, out, mode=kroton.DebugMode(**options))(*arguments)
    return caught.value


def run(code: str, *paths: Path) -> str:
    """Run a program in a new process; it must fail. Returns what it says."""
    # An empty entry would be the current folder, where the sources shadow what is installed.
    known = [*map(str, paths), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(entry for entry in known if entry)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    return done.stderr


@pytest.fixture
def halve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "halving.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("halving").Halve()
    sys.modules.pop("halving")


def test_one_printed_line_reproduces_a_wrong_kernel_in_a_new_process(
    halve: Any, tmp_path: Path
) -> None:
    error = error_of(unary(halve, np.arange(1.0, 9.0)), directory=str(tmp_path))
    line = re.search(r"To reproduce it: (.*)", str(error))
    assert line is not None
    said = run(line[1], tmp_path)
    assert "BadThunkOutput" in said
    assert "at index (5,)" in said


def test_one_printed_line_reproduces_a_wrong_rule_in_a_new_process(tmp_path: Path) -> None:
    fault = named("abs(x) becomes x, wrong for negative numbers")
    with fault.plant():
        error = error_of(fault.build, directory=str(tmp_path))
    line = re.search(r"To reproduce it: (.*)", str(error))
    assert line is not None
    assert "BadOptimization: rule 'planted rule'" in run(line[1])


def script_of(error: DebugModeError) -> str:
    return str(error).split("as a script:\n")[1]


def test_the_script_of_a_minimised_kernel_fails_in_a_new_process(
    halve: Any, tmp_path: Path
) -> None:
    error = error_of(unary(halve, np.arange(1.0, 50.0)), directory=str(tmp_path), minimize=True)
    assert "To reproduce it" in str(error)
    assert "BadThunkOutput" in run(script_of(error), tmp_path)


def test_the_script_of_a_minimised_rule_fails_in_a_new_process() -> None:
    fault = named("floor becomes trunc, wrong for negative fractions")
    with fault.plant():
        error = error_of(fault.build, directory="", minimize=True)
    assert "BadOptimization" in run(script_of(error))


def saved(error: DebugModeError) -> Any:
    assert error.path is not None
    return pickle.loads(Path(error.path).read_bytes())


def test_inputs_shrink_to_the_smallest_extent_that_fails(tmp_path: Path) -> None:
    fault = named("off by one where a tile of 1024 ends")
    with fault.plant():
        error = error_of(exp_of(np.linspace(1, 2, 1500)), directory=str(tmp_path), minimize=True)
        case = saved(error)
        assert case.fails()
    assert case.inputs[0].shape == (1025,)
    assert isinstance(error, BadThunkOutput)


def test_each_extent_of_a_matrix_shrinks(tmp_path: Path) -> None:
    fault = named("a product forgets the tail of the sum")

    def build() -> Any:
        a, b = T.dmatrices("a b")
        return [a, b], T.dot(a, b), (np.ones((9, 7)), np.ones((7, 11)))

    with fault.plant():
        case = saved(error_of(build, directory=str(tmp_path), minimize=True))
    assert [x.shape for x in case.inputs] == [(1, 1), (1, 1)]


def test_the_graph_shrinks_to_what_the_rule_replaced(tmp_path: Path) -> None:
    fault = named("abs(x) becomes x, wrong for negative numbers")

    def build() -> Any:
        x = T.dmatrix("x")
        return [x], T.exp(abs(T.sin(x @ x.T))).sum(), (np.arange(-6.0, 6.0).reshape(3, 4),)

    with fault.plant():
        error = error_of(build, directory=str(tmp_path), minimize=True)
    case = saved(error)
    assert isinstance(error, BadOptimization)
    assert [x.shape for x in case.inputs] == [(1, 1)]
    assert str(case.old.owner.op) == "Elemwise{abs}"
    assert case.old.owner.inputs == case.variables


def test_a_case_that_no_longer_fails_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = named("exp saturates")
    with fault.plant():
        error = error_of(fault.build, directory=str(tmp_path))
    assert error.path is not None
    reproduce(error.path)
    assert "did not occur again" in capsys.readouterr().out


def test_an_op_that_cannot_be_pickled_is_reported_all_the_same(tmp_path: Path) -> None:
    fault = named("perform depends on chance")
    error = error_of(fault.build, directory=str(tmp_path), minimize=True)
    assert "could not be saved" in str(error)
    assert isinstance(error, BadThunkOutput)
    assert not list(tmp_path.iterdir())


def test_nothing_is_saved_where_no_directory_is_given() -> None:
    fault = named("exp saturates")
    with fault.plant():
        error = error_of(fault.build, directory="")
    assert error.path is None
    assert "reproduce" not in str(error)


def test_a_fused_reduction_is_taken_to_its_parts() -> None:
    x = T.dmatrix("x")
    program = kroton.function([x], T.sum(T.sqr(T.exp(x)) - x, axis=0)).maker.fgraph.toposort()
    (node,) = program
    case = ApplyCase.of(node, [np.ones((2, 3))], BadThunkOutput, Checks())
    parts = list(case.parts())
    assert [part.node.op.name for part in parts] == ["exp", "sqr", "sub", "Sum"]
    assert not any(part.fails() for part in parts)
    np.testing.assert_allclose(parts[-1].values()[0], np.full((2, 3), np.e**2 - 1))
