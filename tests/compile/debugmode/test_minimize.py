"""A failing case is saved, shrunk, and fails again in a new process."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import faults.ops  # noqa: F401
import numpy as np
import pytest
from faults.fault import FAULTS, Fault, wrong_kernel
from faults.kernels import exp_of
from faults.rules import unary

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadOptimization, BadThunkOutput, DebugModeError, reproduce
from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.minimize import ApplyCase, shrink

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


def shrunk(wrong: Any, out: Any, *values: Any) -> list[Any]:
    """The smallest inputs of an Apply whose kernel adds 1 where `wrong(*inputs)`."""
    arrays = [np.asarray(v) for v in values]
    variables = [T.tensor(dtype="float64", shape=(None,) * a.ndim) for a in arrays]
    node = out(*variables).owner

    def run(node: Any, inputs: list[Any], storage: list[list[Any]]) -> None:
        node.op.perform(node, inputs, storage)
        if wrong(*inputs):
            storage[0][0] = storage[0][0] + 1

    with wrong_kernel(type(node.op), run)():
        case = shrink(ApplyCase.of(node, arrays, BadThunkOutput, Checks()))
        assert case.fails()
    return case.values()


@pytest.mark.parametrize("shape", [(7, 9, 5), (5, 5, 5), (9, 9, 4)])
def test_extents_that_happen_to_be_equal_shrink_apart(shape: tuple[int, int, int]) -> None:
    m, n, p = shape
    x, y = shrunk(lambda x, y: x.shape[1] > 3, T.dot, np.ones((m, n)), np.ones((n, p)))
    assert (x.shape, y.shape) == ((1, 4), (4, 1))


def test_what_lies_between_two_guilty_elements_is_deleted() -> None:
    values = np.ones(2000)
    values[[700, 1100]] = -5.0
    (x,) = shrunk(lambda x: (x == -5).sum() > 1, T.exp, values)
    assert x.tolist() == [-5.0, -5.0]


def test_a_case_is_shrunk_in_a_limited_number_of_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []
    fails = ApplyCase.fails
    monkeypatch.setattr(ApplyCase, "fails", lambda self: attempts.append(self) or fails(self))
    values = np.ones(500)
    values[::2] = -5.0
    shrunk(lambda x: (x == -5).sum() > 200, T.exp, values)
    assert len(attempts) <= 3001


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


def test_a_directory_that_is_not_there_does_not_swallow_the_finding(tmp_path: Path) -> None:
    fault = named("exp saturates")
    missing = tmp_path / "nowhere"
    with fault.plant():
        error = error_of(fault.build, directory=str(missing))
    assert isinstance(error, BadThunkOutput)
    assert f"could not be saved in {missing}" in str(error)
    assert error.path is not None
    assert "To reproduce it" in str(error)
    Path(error.path).unlink()


def test_a_full_disk_does_not_swallow_the_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fault = named("exp saturates")
    with fault.plant():
        error = error_of(fault.build, minimize=True)
    assert isinstance(error, BadThunkOutput)
    assert "could not be saved" in str(error)
    assert "No space left" in str(error)
    assert not list(tmp_path.iterdir())


def test_a_case_that_cannot_be_shrunk_does_not_swallow_the_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(ApplyCase, "parts", broken)
    fault = named("exp saturates")
    with fault.plant():
        error = error_of(fault.build, directory="", minimize=True)
    assert isinstance(error, BadThunkOutput)
    assert "ZeroDivisionError" in str(error)


def test_a_reproduced_error_says_where_the_user_wrote_it(halve: Any, tmp_path: Path) -> None:
    error = error_of(unary(halve, np.arange(1.0, 9.0)), directory=str(tmp_path))
    assert error.path is not None
    code = f"from kroton.compile.debugmode import reproduce; reproduce({error.path!r})"
    said = run(code, tmp_path)
    assert "return [x], function(x)" in said
    assert "made by a rewrite" not in said


def test_a_reproduced_replacement_says_where_the_user_wrote_it(tmp_path: Path) -> None:
    fault = named("abs(x) becomes x, wrong for negative numbers")
    with fault.plant():
        error = error_of(fault.build, directory=str(tmp_path))
    code = f"from kroton.compile.debugmode import reproduce; reproduce({error.path!r})"
    assert "return [x], function(x)" in run(code)


def test_the_module_that_a_case_needs_is_named(halve: Any, tmp_path: Path) -> None:
    error = error_of(unary(halve, np.arange(1.0, 9.0)), directory=str(tmp_path), minimize=True)
    code = f"from kroton.compile.debugmode import reproduce; reproduce({error.path!r})"
    for program in (code, script_of(error)):
        assert "the case needs the module 'halving'" in run(program)


def test_a_kernel_that_no_import_brings_back_is_told_and_the_script_fails(tmp_path: Path) -> None:
    fault = named("exp saturates")
    with fault.plant():
        error = error_of(fault.build, directory=str(tmp_path), minimize=True)
    assert "That alone is not enough: the kernel is chosen by" in str(error)
    assert "must run what defines it first" in script_of(error)
    assert "the error did not occur again" in run(script_of(error))


def test_a_kernel_of_the_main_program_is_told_and_reproduced_where_it_is_registered(
    tmp_path: Path,
) -> None:
    main = (
        MODULE
        + f"""
import kroton.tensor as T
x = T.dvector("x")
f = kroton.function([x], Halve()(x), mode=kroton.DebugMode(directory={str(tmp_path)!r}))
f(np.arange(1.0, 9.0))
"""
    )
    said = run(main)
    assert "the kernel is chosen by select of __main__" in said
    line = re.search(r"To reproduce it: (.*)", said)
    assert line is not None
    assert "What is defined in the main program must be defined first" in run(line[1])
    assert "BadThunkOutput" in run(MODULE + line[1])


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
