"""What rounding explains, and what it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kroton.tensor as T
from kroton import scalar
from kroton.linking.rounding import Rounding, agree, explained, near
from kroton.tensor.elemwise import Elemwise


@pytest.mark.parametrize(
    ("dtype", "gap"), [("float32", 2e-4), ("float64", 2e-9), ("complex64", 2e-4)]
)
def test_each_element_is_measured_by_itself(dtype: str, gap: float) -> None:
    a = np.array([1e8, 1.0, 1e-8, 0.0], dtype)
    assert near(a, a * (1 + gap / 4))
    for k in range(3):
        b = a.copy()
        b[k] *= 1 + gap
        assert not near(a, b)
    assert not near(a, np.array([1e8, 1.0, 1e-8, 1e-20], dtype))


def test_infinities_and_nans_agree_with_their_like() -> None:
    values = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert near(values, values)
    for k in range(3):
        for other in (np.inf, -np.inf, np.nan, 5.0):
            b = values.copy()
            b[k] = other
            same = other == values[k] or (np.isnan(other) and np.isnan(values[k]))
            assert near(values, b) == same
            assert explained(values, b, ()) == same
            assert explained(values, b, (), undefined=True)
    b = values.copy()
    b[3] = np.inf
    assert not explained(values, b, [b], undefined=True)


def sum_of(values: Any) -> tuple[Any, Any, Rounding]:
    x = T.tensor(dtype=values.dtype.name, shape=(None,), name="x")
    out = T.sum(x)
    return out, np.asarray(values.sum()), Rounding.of_apply(out.owner, [values])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_may_be_wrong_by_the_units_of_its_terms(dtype: str) -> None:
    values = np.array([1.0, -1.0, 0.5, -0.5], dtype)
    out, right, rounding = sum_of(values)
    unit = np.finfo(dtype).eps
    assert right == 0
    assert agree(out, right, np.asarray(4 * unit, dtype), rounding)
    assert not agree(out, right, np.asarray(1000 * unit, dtype), rounding)
    assert not agree(out, right, np.asarray(4 * unit, dtype))


def test_elements_that_are_near_need_no_explanation() -> None:
    x = T.fmatrix("x")
    values = np.array([[1.0, 2.0, 3.0], [1.0, 1e-6, -1.0]], "float32")
    out = T.sum(x, axis=1)
    right = values.sum(axis=1)
    found = right + np.array([3e-4, 1e-7], "float32")
    assert not near(right, found)
    assert agree(out, right, found, Rounding.of_apply(out.owner, [values]))


def test_the_steps_of_a_program_are_moved() -> None:
    x = T.dvector("x")
    steps = (
        scalar.Instruction(scalar.ops["add"], (0, 1), ("float64", "float64"), "float64"),
        scalar.Instruction(scalar.ops["log"], (2,), ("float64",), "float64"),
    )
    out = Elemwise(scalar.Composite(2, steps, (3,)))(x, T.constant(np.array([1.0])))
    inputs = [np.array([1e-20]), np.array([1.0])]
    rounding = Rounding.of_apply(out.owner, inputs)
    assert agree(out, np.array([0.0]), np.array([1e-17]), rounding)
    assert not agree(out, np.array([0.0]), np.array([1e-10]), rounding)


def test_the_values_are_the_same_each_time() -> None:
    values = np.linspace(-1, 1, 7)
    first, second = sum_of(values), sum_of(values)
    for a, b in zip(first[2].runs(first[0]), second[2].runs(second[0])):
        assert a == b
    assert len(first[2].runs(first[0])) == 5


def test_a_replacement_is_judged_from_what_both_sides_are_computed_from() -> None:
    x, y = T.dvectors("x y")
    lost = x + y - x
    old, new = T.exp(lost), T.exp(lost) * 1
    values = {x: np.array([1e16]), y: np.array([1.0]), lost: np.array([0.0])}
    values[old] = np.exp(values[lost])
    assert not agree(old, values[old], np.array([3.0]), Rounding.between(old, new, values))
    assert agree(old, values[old], np.array([3.0]), Rounding.between(old, T.exp(y), values))


def test_what_leaps_sees_arguments_as_they_are() -> None:
    x = T.dvector("x")
    for leaping in (T.ceil(x), x >= 2.0, T.argmax(x), T.eq(x, T.max(x))):
        rounding = Rounding.between(leaping, x, {x: np.array([1.0, 2.0])})
        runs = rounding.runs(leaping)
        assert len(runs) == 5
        assert all(np.array_equal(run, runs[0]) for run in runs)
