"""What DebugMode says: which operation, on which line; and which options it refuses."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from faults.fault import elementwise

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadThunkOutput, InvalidValueError
from kroton.compile.nanguardmode import NanGuardError


def a_chain() -> tuple[Any, Any]:
    """Three operations, fused; the first is not finite for negative numbers."""
    x = T.dvector("x")
    logarithm = T.log(x)
    doubled = logarithm * 2
    return x, T.exp(T.tanh(doubled))


def test_the_fused_operation_that_makes_a_nan_is_named_with_its_line() -> None:
    x, out = a_chain()
    f = kroton.function([x], out, mode=kroton.DebugMode(directory=""))
    with pytest.raises(InvalidValueError) as caught:
        f([-1.0, 1.0])
    after = str(caught.value).split("The first of its operations to give one is log(x)")[1]
    assert "logarithm = T.log(x)" in after


def test_nan_guard_mode_names_it_too() -> None:
    x, out = a_chain()
    f = kroton.function([x], out, mode=kroton.NanGuardMode())
    with pytest.raises(NanGuardError, match=r"of the fused operations log\(x\) is the first"):
        f([-1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check_preallocated_output": "initial:sideways"}, "sideways; there are ALL"),
        ({"require_matching_strides": 3}, "0 .ignore., 1 .warn. or 2 .raise."),
        ({"stability_patience": -1}, "negative"),
        ({"check_c_code": False, "check_py_code": False}, "at least one"),
    ],
)
def test_options_without_meaning_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kroton.DebugMode(**options)


def _in_fortran_order(inputs: list[Any], storage: list[list[Any]]) -> None:
    storage[0][0] = np.asfortranarray(np.exp(inputs[0]))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_strides_that_differ_are_ignored_warned_of_or_refused(level: int) -> None:
    said: Any = {
        0: nullcontext(),
        1: pytest.warns(UserWarning, match=r"strides .* from perform"),
        2: pytest.raises(BadThunkOutput, match=r"strides .* from perform"),
    }
    x = T.dmatrix("x")
    mode = kroton.DebugMode(directory="", require_matching_strides=level)
    with elementwise("exp", _in_fortran_order)():
        f = kroton.function([x], T.exp(x), mode=mode)
        with said[level]:
            assert np.allclose(f(np.eye(2)), np.exp(np.eye(2)))
