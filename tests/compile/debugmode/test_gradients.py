"""`check_gradients`: which gradients are refused, and which are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faults.fault import op, same_type

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadGradient
from kroton.compile.debugmode.gradients import check_gradient
from kroton.graph.nulltype import disconnected_type


def _set(value: Any) -> Any:
    return lambda i, s: s[0].__setitem__(0, np.asarray(value(*i)))


def check(made: Any, *values: Any) -> None:
    arrays = [np.asarray(v) for v in values]
    variables = [T.tensor(dtype=str(a.dtype), shape=(None,) * a.ndim) for a in arrays]
    out = made(*variables)
    node = (out[0] if isinstance(out, list) else out).owner
    check_gradient(node, arrays)


def elementwise(function: Any, slope: Any) -> Any:
    """An Op of one input with the gradient `slope(x) * g`."""
    return op(_set(function), same_type, grad=lambda self, i, g: [slope(i[0]) * g[0]])


@pytest.mark.parametrize("n", [1, 2, 30, 1000, 10_000, 100_000])
def test_a_halved_gradient_is_found_however_many_elements_there_are(n: int) -> None:
    x = np.linspace(-1, 1, n)
    check(elementwise(np.square, lambda x: 2 * x), x)
    with pytest.raises(BadGradient, match="finite differences"):
        check(elementwise(np.square, lambda x: x), x)


def test_a_gradient_wrong_for_some_elements_is_found_among_many() -> None:
    x = np.linspace(-1, 1, 20_000)
    wrong = elementwise(np.square, lambda x: T.switch(x > 0.9, x, 2 * x))
    with pytest.raises(BadGradient):
        check(wrong, x)


def test_elements_of_other_magnitudes_do_not_hide_a_wrong_gradient() -> None:
    check(elementwise(np.sin, T.cos), [1.0, 1e6])
    check(elementwise(np.sin, T.cos), [1e6])
    with pytest.raises(BadGradient, match=r"along element \(0,\) of input 0"):
        check(elementwise(np.sin, T.zeros_like), [1.0, 1e6])
    with pytest.raises(BadGradient):
        check(elementwise(np.sin, T.zeros_like), [1e6])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sin", "inv"])
def test_single_precision_is_enough(name: str, dtype: str) -> None:
    functions: dict[str, tuple[Any, Any]] = {
        "exp": (np.exp, T.exp),
        "log": (np.log, lambda x: 1 / x),
        "sqrt": (np.sqrt, lambda x: 0.5 / T.sqrt(x)),
        "tanh": (np.tanh, lambda x: 1 - T.tanh(x) ** 2),
        "sin": (np.sin, T.cos),
        "inv": (lambda x: 1 / x, lambda x: -1 / x**2),
    }
    function, slope = functions[name]
    for n in (3, 1000, 50_000):
        x = np.random.default_rng(n).uniform(0.1, 5, n).astype(dtype)
        check(elementwise(function, slope), x)
        with pytest.raises(BadGradient):
            check(elementwise(function, lambda x: 1.5 * slope(x)), x)


def _sum_op(grad: Any, **more: Any) -> Any:
    return op(_set(lambda x: x.sum(1, keepdims=True)), lambda x: [T.col], grad=grad, **more)


def test_a_gradient_of_another_shape_is_refused() -> None:
    values = np.arange(6.0).reshape(2, 3)
    check(_sum_op(lambda self, i, g: [T.ones_like(i[0]) * g[0]]), values)
    with pytest.raises(BadGradient, match=r"has the shape \(2, 1\), the input has \(2, 3\)"):
        check(_sum_op(lambda self, i, g: [g[0]]), values)
    with pytest.raises(BadGradient, match="has 1 dimensions"):
        check(_sum_op(lambda self, i, g: [g[0].sum(axis=1)]), values)


def test_a_gradient_of_a_discrete_dtype_is_refused() -> None:
    with pytest.raises(BadGradient, match="discrete dtype"):
        check(op(_set(np.exp), same_type, grad=lambda s, i, g: [T.cast(g[0], "int64")]), [1.0])


def _product(**more: Any) -> Any:
    return op(
        _set(np.multiply),
        same_type,
        grad=lambda self, i, g: [g[0] * i[1], disconnected_type()],
        **more,
    )


def test_an_input_that_matters_is_not_disconnected() -> None:
    with pytest.raises(BadGradient, match=r"input 1, L_op gives DisconnectedType, .* slope 0"):
        check(_product(), [1.0, 2.0], [3.0, 4.0])


def test_the_connection_pattern_is_heeded() -> None:
    check(_product(connection_pattern=lambda self, node: [[True], [False]]), [1.0], [3.0])


def test_an_integer_output_is_ignored_and_the_others_are_not() -> None:
    def two(i: Any, s: Any) -> None:
        s[0][0], s[1][0] = i[0] ** 2, np.argsort(i[0])

    def made(factor: float) -> Any:
        return op(two, lambda x: [x.type, T.lvector], grad=lambda s, i, g: [factor * i[0] * g[0]])

    check(made(2.0), [3.0, 1.0])
    with pytest.raises(BadGradient):
        check(made(1.0), [3.0, 1.0])


def test_too_few_gradients_are_refused_with_the_name_of_the_op() -> None:
    short = op(_set(np.add), same_type, grad=lambda self, i, g: [g[0]])
    with pytest.raises(BadGradient, match=r"L_op of Planted gives no gradients.*2 inputs"):
        check(short, [1.0], [2.0])


@pytest.mark.parametrize("wrong", [lambda x: 1 // 0, lambda x: T.dot(x, x[1:])])
def test_a_gradient_that_raises_is_refused_with_the_name_of_the_op(wrong: Any) -> None:
    with pytest.raises(BadGradient, match="Planted"):
        check(elementwise(np.exp, wrong), [1.0, 2.0])


def test_an_op_without_a_gradient_passes() -> None:
    def missing(self: Any, inputs: Any, gradients: Any) -> Any:
        raise NotImplementedError

    check(op(_set(np.exp), same_type), [1.0])
    check(op(_set(np.exp), same_type, grad=missing), [1.0])


KINKS: dict[str, tuple[Any, Any]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: T.cast(x > 0, "float64")),
    "abs": (np.abs, T.sgn),
    "floor": (np.floor, T.zeros_like),
    "log of a negative number": (np.log, lambda x: 1 / x),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("n", [3, 1001, 100_001])
def test_kinks_jumps_and_the_end_of_the_domain_pass(name: str, n: int) -> None:
    check(elementwise(*KINKS[name]), np.linspace(-1, 1, n))
    check(elementwise(*KINKS[name]), np.linspace(-1e-5, 1e-5, n))


def test_equal_elements_of_a_maximum_pass() -> None:
    x = T.dmatrix("x")
    mode = kroton.DebugMode(directory="", check_gradients=True)
    f = kroton.function([x], T.max(x, axis=1) + T.min(x, axis=1), mode=mode)
    f(np.ones((3, 4)))
    f([[1.0, 3.0, 3.0], [0.0, 0.0, -1.0]])


def test_an_apply_in_place_is_checked_on_what_it_was_given() -> None:
    x = T.dvector("x")
    mode = kroton.DebugMode(directory="", check_gradients=True)
    f = kroton.function([x], T.exp(T.cumsum(x)), mode=mode)
    assert any(node.op.destroy_map for node in f.maker.fgraph.toposort())
    np.testing.assert_allclose(f([1.0, 2.0]), np.exp([1.0, 3.0]))
