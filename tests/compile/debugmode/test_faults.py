"""DebugMode catches every fault that is planted; FAST_RUN says nothing."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import faults.kernels
import faults.memory
import faults.ops
import faults.precision
import faults.raising
import faults.rules  # noqa: F401
import numpy as np
import pytest
from faults.fault import FAULTS, Fault, calls_of

import kroton
from kroton.compile.debugmode import BadRule, DebugModeError

EACH = pytest.mark.parametrize("fault", FAULTS, ids=[f.name for f in FAULTS])


@pytest.fixture(autouse=True)
def _cases_are_saved_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def compile_and_call(fault: Fault, mode: Any) -> Any:
    inputs, out, arguments = fault.build()
    f = kroton.function(inputs, out, mode=mode)
    for values in calls_of(arguments):
        result = f(*values)
    return result


def test_there_are_more_than_forty_faults() -> None:
    assert len(FAULTS) >= 40


def test_every_kind_of_error_is_provoked() -> None:
    def leaves(cls: type) -> set[type]:
        below = cls.__subclasses__()
        return {cls} if not below else set().union(*(leaves(c) for c in below))

    # What is a BadRule here, FAST_RUN tells too: see test_rewriting_is_checked.py.
    assert {f.error for f in FAULTS} == leaves(DebugModeError) - {BadRule}


@EACH
def test_debug_mode_catches_it(fault: Fault) -> None:
    with fault.plant(), np.errstate(all="ignore"), pytest.raises(fault.error):
        compile_and_call(fault, fault.mode())


@EACH
@pytest.mark.usefixtures("fast_run")
def test_fast_run_is_silently_wrong(fault: Fault) -> None:
    with fault.plant(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        inputs, out, arguments = fault.build()
        calls = calls_of(arguments) if fault.hidden is None else [fault.hidden()]
        f = kroton.function(inputs, out, mode="FAST_RUN")
        if fault.symptom is not None:
            assert fault.symptom(fault, f)
            return
        assert fault.right is not None
        with kroton.config.change_flags(**fault.flags):
            for values in calls:
                found = f(*values)
        expected = fault.right(*calls[-1])
        assert found.shape != np.shape(expected) or not np.allclose(
            found, expected, rtol=1e-9, atol=0
        )


@EACH
def test_without_the_fault_debug_mode_is_content(fault: Fault) -> None:
    if fault.plant is Fault.plant:
        pytest.skip("the fault is in the Op itself")
    with np.errstate(all="ignore"), kroton.config.change_flags(DebugMode__check_finite=False):
        try:
            result = compile_and_call(fault, fault.mode())
        except IndexError:  # as it should be, on these arguments
            return
    if fault.right is not None:
        values = calls_of(fault.build()[2])[-1]
        rtol = 1e-5 if result.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(result, fault.right(*values), rtol=rtol)
