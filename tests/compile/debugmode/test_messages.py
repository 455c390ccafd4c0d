"""What DebugMode says: which operation, on which line; and which options it refuses."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.fault import a_rule, elementwise, op, same_type

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import (
    BadInplace,
    BadOptimization,
    BadThunkOutput,
    DebugModeError,
    InvalidValueError,
    reproduce,
)
from kroton.compile.nanguardmode import NanGuardError
from kroton.rewriting import Pass, canonicalize, register_pass, unregister_pass
from kroton.tensor.elemwise import Elemwise


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


def _into_three(fgraph: Any, node: Any) -> Any:
    return T.cos(node.inputs[0] - np.pi / 2).reshape((3,))


def test_a_rule_that_makes_a_good_expression_raise_is_named(tmp_path: Path) -> None:
    x = T.dvector("x")
    with a_rule(canonicalize, "sin")(_into_three)():
        mode = kroton.DebugMode(directory=str(tmp_path))
        f = kroton.function([x], T.exp(T.sin(x)), mode=mode)
        assert f([0.5, 1.0, 1.5]).shape == (3,)
        with pytest.raises(
            BadOptimization, match=r"'planted rule' .* cannot be computed"
        ) as caught:
            f([0.5, 1.0])
        assert isinstance(caught.value.new_r_val, ValueError)
        assert caught.value.path is not None
        with pytest.raises(BadOptimization, match="cannot be computed"):
            reproduce(caught.value.path)


def _sorts(i: Any, s: Any) -> None:
    i[0].sort()
    s[0][0] = i[0].copy()


def _view(i: Any, s: Any) -> None:
    s[0][0] = i[0][1:]


def _list(i: Any, s: Any) -> None:
    s[0][0] = i[0].tolist()


@pytest.mark.parametrize("perform", [_sorts, _view, _list])
def test_messages_about_memory_and_types_list_the_inputs(perform: Any) -> None:
    x = T.dvector("x")
    f = kroton.function([x], op(perform, same_type)(x), mode=kroton.DebugMode(directory=""))
    with pytest.raises(DebugModeError, match=r"input 0: x .* values \[3.0, 1.0\]"):
        f([3.0, 1.0])


@dataclass(frozen=True)
class _Overwrite(Pass):
    def apply(self, fgraph: Any, observer: Any = None, selection: Any = None) -> None:
        for node in fgraph.toposort():
            if isinstance(node.op, Elemwise) and not node.op.destroy_map:
                inplace = Elemwise(node.op.scalar_op, inplace_pattern=((0, 0),))
                fgraph.replace(node.outputs[0], inplace(*node.inputs), self.name)


def test_what_is_overwritten_by_mistake_is_told_with_its_line() -> None:
    register_pass(_Overwrite("planted pass", frozenset({"fast_run"}), 90.0))
    try:
        x = T.dvector("x")
        y = T.cumsum(x)
        read_later = T.concatenate([T.exp(y), y])
        with pytest.raises(BadInplace, match=r"inplace\(\*node.inputs\), self.name"):
            kroton.function([x], read_later, mode=kroton.DebugMode(directory=""))
    finally:
        unregister_pass("planted pass")
