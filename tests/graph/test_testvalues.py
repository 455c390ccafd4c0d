"""config.compute_test_value: expressions have values while they are built."""

from __future__ import annotations

import pdb
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import get_test_value


def tagged(shape: tuple[int, ...], name: str = "x") -> Any:
    x = T.tensor(dtype="float64", shape=(None,) * len(shape), name=name)
    x.tag.test_value = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    return x


def under(action: str) -> Any:
    return kroton.config.change_flags(compute_test_value=action)


def test_it_is_off_by_default() -> None:
    y = tagged((2,)) * 2
    with pytest.raises(AttributeError, match="no test value"):
        get_test_value(y)


@pytest.mark.parametrize("action", ["ignore", "warn", "raise"])
def test_every_intermediate_has_a_value(action: str) -> None:
    with under(action):
        x = tagged((2, 3))
        y = T.exp(x)
        z = (y @ x.T).sum()
    np.testing.assert_allclose(get_test_value(y), np.exp(get_test_value(x)))
    assert get_test_value(z).shape == ()


def test_constants_and_shared_variables_have_values_of_their_own() -> None:
    w = kroton.shared(np.array([1.0, 2.0]))
    with under("raise"):
        y = w * 3 + np.array([1.0, 1.0])
    np.testing.assert_array_equal(get_test_value(y), [4.0, 7.0])
    np.testing.assert_array_equal(get_test_value(w), [1.0, 2.0])
    assert get_test_value(7) == 7


def test_gradients_have_values() -> None:
    with under("raise"):
        x = tagged((3,))
        g = kroton.grad((x**2).sum(), x)
    np.testing.assert_allclose(get_test_value(g), [2.0, 4.0, 6.0])


def test_a_mistake_names_the_line_that_made_it() -> None:
    with under("raise"):
        x, y = tagged((2, 3)), tagged((2, 3), "y")
        with pytest.raises(ValueError, match="do not fit") as caught:
            T.dot(x, y)
    note = "\n".join(caught.value.__notes__)
    assert "test value of" in note
    assert "test_testvalues.py" in note
    assert "T.dot(x, y)" in note


def test_raise_names_the_input_without_a_value_and_its_line() -> None:
    x = T.dvector("lonely")
    with under("raise"), pytest.raises(AttributeError, match=r"(?s)lonely.*test_testvalues"):
        x + 1


def test_warn_warns_and_goes_on() -> None:
    x = T.dvector("lonely")
    with under("warn"), pytest.warns(UserWarning, match="lonely"):
        y = x + 1
    assert not hasattr(y.tag, "test_value")


def test_ignore_computes_what_it_can() -> None:
    with under("ignore"):
        y = T.dvector("lonely") + tagged((2,))
        z = tagged((2,)) + 1
    assert not hasattr(y.tag, "test_value")
    np.testing.assert_array_equal(get_test_value(z), [2.0, 3.0])


def test_pdb_starts_the_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(pdb, "post_mortem", started.append)
    with under("pdb"), pytest.raises(AttributeError):
        T.dvector("lonely") + 1
    assert len(started) == 1


def test_a_value_that_does_not_fit_its_type_is_refused() -> None:
    x = T.dvector("x")
    x.tag.test_value = np.ones((2, 2))
    with under("raise"), pytest.raises(TypeError, match="test value of x does not fit"):
        x + 1


def test_a_value_is_converted_where_that_loses_nothing() -> None:
    x = T.dvector("x")
    x.tag.test_value = [1, 2]
    assert get_test_value(x).dtype == np.float64


def test_rules_build_without_test_values() -> None:
    with under("raise"):
        x = tagged((3,))
        f = kroton.function([x], T.log(1 + x) * 1)
    np.testing.assert_allclose(f([1.0]), np.log([2.0]))


def test_a_function_of_inputs_without_test_values_compiles() -> None:
    x = T.dvector("x")
    y = x + 0 * x
    with under("raise"):
        f = kroton.function([x], y)
    np.testing.assert_array_equal(f([1.0]), [1.0])


def test_the_test_value_is_not_overwritten_by_an_op_in_place() -> None:
    class Doubles(kroton.Op):
        __props__ = ()
        destroy_map = {0: [0]}

        def make_node(self, x: Any) -> Any:
            return kroton.Apply(self, [x], [x.type()])

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            inputs[0] *= 2
            output_storage[0][0] = inputs[0]

    with under("raise"):
        x = tagged((2,))
        y = Doubles()(x)
    np.testing.assert_array_equal(get_test_value(x), [1.0, 2.0])
    np.testing.assert_array_equal(get_test_value(y), [2.0, 4.0])
