"""A kernel that raises midway leaves nothing behind that a later call could see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T

MODES = ("FAST_RUN", "FAST_COMPILE", "DEBUG_MODE")
N = 5000
BASE = np.arange(N) % 7 + 2
GOOD = np.arange(N) % 3
BAD = GOOD.copy()
BAD[N // 2] = -1  # half of the result is written by then


def fails(f: Any, *args: Any) -> None:
    with pytest.raises(ValueError, match="negative"):
        f(*args)


@pytest.mark.parametrize("mode", MODES)
def test_an_argument_that_is_not_mutable_is_as_it_was(mode: str) -> None:
    x, e = T.lvectors("x e")
    f = kroton.function([x, e], [x**e, x + 1], mode=mode)
    mine = BASE.copy()
    fails(f, mine, BAD)
    assert np.array_equal(mine, BASE)
    power, more = f(mine, GOOD)
    assert np.array_equal(power, BASE**GOOD)
    assert np.array_equal(more, BASE + 1)


@pytest.mark.parametrize("mode", MODES)
def test_a_mutable_argument_spoils_no_other_call(mode: str) -> None:
    x, e = T.lvectors("x e")
    f = kroton.function([kroton.In(x, mutable=True), e], x**e, mode=mode)
    fails(f, BASE.copy(), BAD)
    assert np.array_equal(f(BASE.copy(), GOOD), BASE**GOOD)


def test_a_mutable_default_is_as_it_was() -> None:
    x, e = T.lvectors("x e")
    f = kroton.function([e, kroton.In(x, value=BASE.copy(), mutable=True)], x**e)
    fails(f, BAD)
    assert np.array_equal(f(GOOD), BASE**GOOD)
    assert np.array_equal(f(GOOD), BASE**GOOD)


@pytest.mark.parametrize("mode", MODES)
def test_an_intermediate_that_is_half_overwritten_is_computed_anew(mode: str) -> None:
    x, e = T.lvectors("x e")
    root = x + 1
    f = kroton.function([x, e], [(root**e).sum(), T.dot(root, root)], mode=mode)
    expected = ((BASE + 1) ** GOOD).sum(), (BASE + 1) @ (BASE + 1)
    assert tuple(f(BASE, GOOD)) == expected
    for _ in range(3):
        fails(f, BASE, BAD)
        assert tuple(f(BASE, GOOD)) == expected


@pytest.mark.parametrize("mode", MODES)
def test_shared_variables_and_constants_are_as_they_were(mode: str) -> None:
    e = T.lvector("e")
    w = kroton.shared(BASE.copy(), name="w")
    count = kroton.shared(0, name="count")
    fixed = T.constant(BASE)
    f = kroton.function([e], fixed**e, updates=[(w, w**e), (count, count + 1)], mode=mode)
    fails(f, BAD)
    assert np.array_equal(w.get_value(), BASE)
    assert count.get_value() == 0
    assert np.array_equal(f(GOOD), BASE**GOOD)
    assert np.array_equal(w.get_value(), BASE**GOOD)
    assert count.get_value() == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_result_that_the_user_keeps_is_not_written_by_a_call_that_fails(mode: str) -> None:
    x, e = T.lvectors("x e")
    f = kroton.function([x, e], kroton.Out((x + 1) ** e, borrow=True), mode=mode)
    kept = f(BASE, GOOD)
    fails(f, BASE, BAD)
    f(BASE + 1, GOOD)
    assert np.array_equal(kept, (BASE + 1) ** GOOD)


@given(st.lists(st.integers(-2, 3), min_size=1, max_size=40), st.booleans())
@settings(max_examples=30, deadline=None)
def test_calls_that_fail_between_do_not_change_the_others(
    exponents: list[int], first: bool
) -> None:
    x, e = T.lvectors("x e")
    f = kroton.function([kroton.In(x, mutable=True), e], ((x + 2) ** e, x * e))
    given_exponents = np.array(exponents)
    fitting = BASE[: len(exponents)]
    if first:
        f(fitting.copy(), abs(given_exponents))
    if min(exponents) < 0:
        fails(f, fitting.copy(), given_exponents)
    power, product = f(fitting.copy(), abs(given_exponents))
    assert np.array_equal(power, (fitting + 2) ** abs(given_exponents))
    assert np.array_equal(product, fitting * abs(given_exponents))
