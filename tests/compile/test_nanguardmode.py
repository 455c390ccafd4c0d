"""NanGuardMode raises at the Apply where a NaN, an infinity or a big number first appears."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import NanGuardMode
from kroton.compile.nanguardmode import NanGuardError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def log_times_two(**options: Any) -> Any:
    x = T.dvector("x")
    mode = NanGuardMode(optimizer=None, **options)
    return kroton.function([x], T.log(x) * 2, mode=mode)


def test_the_apply_that_makes_a_nan_is_named_with_its_inputs() -> None:
    with pytest.raises(NanGuardError, match=r"output 0 is NaN.*1 of 2.*\(1,\)") as caught:
        log_times_two()([1.0, -3.0])
    assert str(caught.value.node.op) == "Elemwise{log}"
    assert "-3.0" in str(caught.value)
    assert "test_nanguardmode.py" in str(caught.value)
    assert isinstance(caught.value, AssertionError)


def test_the_apply_is_described_once() -> None:
    with pytest.raises(NanGuardError) as caught:
        log_times_two()([-3.0])
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert told.count("Apply node that caused the error") == 1


def test_an_infinity_is_an_error() -> None:
    with pytest.raises(NanGuardError, match="infinite"):
        log_times_two()([1.0, 0.0])


def test_a_big_number_is_an_error() -> None:
    x = T.dvector("x")
    f = kroton.function([x], x * 1e8, mode="NanGuardMode")
    np.testing.assert_array_equal(f([5.0]), [5e8])
    with pytest.raises(NanGuardError, match="magnitude over 1e"):
        f([1e5])


def test_an_argument_is_looked_at_first() -> None:
    with pytest.raises(NanGuardError, match=r"input 0 \(x\) is NaN"):
        log_times_two()([np.nan])


def test_a_shared_variable_is_looked_at() -> None:
    w = kroton.shared(np.array([1.0, np.inf]), name="w")
    with pytest.raises(NanGuardError, match=r"\(w\) is infinite"):
        kroton.function([], w * 2, mode=NanGuardMode())()


@pytest.mark.parametrize(
    ("option", "value", "result"),
    [("nan_is_error", -1.0, np.nan), ("inf_is_error", 0.0, -np.inf)],
)
def test_each_check_can_be_turned_off(option: str, value: float, result: float) -> None:
    assert log_times_two(**{option: False})([value]) == pytest.approx([result], nan_ok=True)


def test_config_gives_the_defaults() -> None:
    with kroton.config.change_flags(NanGuardMode__nan_is_error=False):
        assert np.isnan(log_times_two()([-1.0]))
        assert not NanGuardMode().nan_is_error
        assert NanGuardMode(nan_is_error=True).nan_is_error


def test_integers_and_empty_arrays_pass() -> None:
    n = T.lvector("n")
    f = kroton.function([n], n * n, mode=NanGuardMode())
    assert f(np.array([10**9])) == 10**18
    assert f(np.zeros(0, "int64")).size == 0


def test_shared_variables_keep_their_value_after_an_error() -> None:
    w = kroton.shared(np.array([1.0]))
    x = T.dvector("x")
    f = kroton.function([x], updates=[(w, T.log(x))], mode=NanGuardMode())
    with pytest.raises(NanGuardError):
        f([-1.0])
    np.testing.assert_array_equal(w.get_value(), [1.0])


def test_including_and_excluding_keep_the_guard_once() -> None:
    mode = NanGuardMode(big_is_error=False).excluding("fusion")
    assert isinstance(mode, NanGuardMode)
    assert len(mode.hooks) == 1
    assert not mode.big_is_error


def test_an_apply_in_place_is_described_by_what_it_was_given() -> None:
    x = T.dvector("x")
    f = kroton.function([x], T.sqrt(T.exp(T.cumsum(x)) - 5), mode=NanGuardMode())
    (node,) = (n for n in f.maker.fgraph.toposort() if n.op.destroy_map)
    with pytest.raises(NanGuardError, match=r"fused operations sqrt\(.*\) is the first") as caught:
        f([1.0, -3.0, 4.0])
    assert caught.value.node is node
    assert "Inputs values: [[1.0, -2.0, 2.0], 5.0]" in str(caught.value)


def test_an_update_in_place_is_described_by_the_old_value() -> None:
    w = kroton.shared(np.array([1.0, 4.0]), name="w")
    x = T.dvector("x")
    f = kroton.function([x], updates=[(w, T.log(w - x))], mode=NanGuardMode())
    g = kroton.function([], w * 2, mode=NanGuardMode())
    with pytest.raises(NanGuardError, match=r"log\(sub\(w, x\)\) is the first") as caught:
        f([3.0, 3.0])
    assert "Inputs values: [[1.0, 4.0], [3.0, 3.0]]" in str(caught.value)
    np.testing.assert_array_equal(g(), [2.0, 8.0])
