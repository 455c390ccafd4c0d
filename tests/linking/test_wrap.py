"""WrapLinker: the user's function runs each Apply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.gof import OpWiseCLinker, PerformLinker, WrapLinker, WrapLinkerMany
from kroton.linking.linker import MissingKernelError


def run_first(i: int, node: Any, *thunks: Any) -> None:
    thunks[0]()


def compiled(linker: Any, optimizer: Any = "fast_run") -> tuple[Any, Any, Any]:
    """A training step, and its state."""
    rng = np.random.default_rng(5)
    x = T.dmatrix("x")
    w = kroton.shared(rng.standard_normal((3, 2)), name="w")
    cost = T.sum(T.tanh(T.dot(x, w)) ** 2)
    f = kroton.function(
        [x], [cost, T.dot(x, w).argmax(axis=1)], updates=[(w, w - 0.1 * T.grad(cost, w))],
        mode=kroton.Mode(linker, optimizer),
    )  # fmt: skip
    return f, w, rng.standard_normal((4, 3))


@pytest.mark.parametrize("optimizer", ["fast_run", "fast_compile", None])
@pytest.mark.parametrize("linkers", [["py"], ["c|py"], ["c|py", "py"], ["py", "c|py"]])
def test_a_wrapped_linker_computes_what_its_first_linker_computes(
    linkers: list[str], optimizer: str | None
) -> None:
    plain, plain_w, x = compiled(linkers[0], optimizer)
    wrapped, wrapped_w, _ = compiled(WrapLinker(linkers, run_first), optimizer)
    for _ in range(3):
        for a, b in zip(plain(x), wrapped(x), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(plain_w.get_value(), wrapped_w.get_value())


def test_the_wrapper_sees_each_apply_in_the_order_of_execution() -> None:
    seen: list[tuple[int, Any]] = []

    def wrapper(i: int, node: Any, thunk: Any) -> None:
        seen.append((i, node))
        assert all(cell == [None] for cell in thunk.outputs)
        thunk()
        assert len(thunk.inputs) == len(node.inputs)
        assert len(thunk.outputs) == len(node.outputs)
        for variable, (value,) in zip(node.outputs, thunk.outputs, strict=True):
            assert variable.type.is_valid_value(value)

    f, _, x = compiled(WrapLinker([OpWiseCLinker()], wrapper))
    f(x)
    assert seen == list(enumerate(f.maker.linked.order))


def test_all_thunks_read_the_same_inputs_in_whatever_order_they_are_called() -> None:
    """Also where the Op overwrites an input."""

    def wrapper(i: int, node: Any, first: Any, second: Any) -> None:
        before = [np.copy(cell[0]) for cell in first.inputs]
        for thunk in (first, second) if i % 2 else (second, first):
            thunk()
        for variable, (a,), (b,) in zip(node.outputs, first.outputs, second.outputs, strict=True):
            assert variable.type.values_eq_approx(a, b)
        kept = set(range(len(before))) - {i for v in node.op.destroy_map.values() for i in v}
        for k in kept:
            np.testing.assert_array_equal(second.inputs[k][0], before[k])

    f, w, x = compiled(WrapLinker([OpWiseCLinker(), PerformLinker()], wrapper))
    g, v, _ = compiled("c|py")
    for _ in range(3):
        f(x)
        g(x)
    np.testing.assert_array_equal(w.get_value(), v.get_value())


@given(st.lists(st.floats(-10, 10), min_size=0, max_size=5), st.floats(-3, 3))
def test_what_the_wrapper_leaves_in_the_outputs_is_the_result(
    values: list[float], added: float
) -> None:
    def wrapper(i: int, node: Any, thunk: Any) -> None:
        thunk()
        thunk.outputs[0][0] = thunk.outputs[0][0] + added

    x = T.dvector("x")
    f = kroton.function([x], T.neg(x), mode=kroton.Mode(WrapLinker(["py"], wrapper)))
    np.testing.assert_array_equal(f(values), -np.asarray(values, "float64") + added)


def test_the_linkers_name_missing_kernels_as_always() -> None:
    @kroton.as_op(itypes=[T.dvector], otypes=[T.dvector])
    def backwards(v: np.ndarray) -> np.ndarray:
        return v[::-1].copy()

    x = T.dvector("x")
    with pytest.raises(MissingKernelError, match="backwards"):
        kroton.function([x], backwards(x), mode=kroton.Mode(WrapLinker(["c"], run_first)))


def test_many_wrappers_are_called_in_turn() -> None:
    calls: list[str] = []

    def before(i: int, node: Any, thunk: Any) -> None:
        assert thunk.outputs[0][0] is None
        calls.append("before")

    def after(i: int, node: Any, thunk: Any) -> None:
        assert thunk.outputs[0][0] is not None
        calls.append("after")

    linker = WrapLinkerMany([OpWiseCLinker()], [before, run_first, after])
    x = T.dvector("x")
    f = kroton.function([x], T.exp(x), mode=kroton.Mode(linker))
    np.testing.assert_array_equal(f([0.0]), [1.0])
    assert calls == ["before", "after"]


def test_linkers_wrap_one_another() -> None:
    calls: list[str] = []

    def named(name: str) -> Any:
        def wrapper(i: int, node: Any, thunk: Any) -> None:
            calls.append(name)
            thunk()

        return wrapper

    inner = WrapLinker(["c|py"], named("inner"))
    x = T.dvector("x")
    f = kroton.function([x], T.exp(x), mode=kroton.Mode(WrapLinker([inner], named("outer"))))
    f([1.0])
    assert calls == ["outer", "inner"]


def test_an_error_in_a_wrapper_leaves_the_state_as_it_was() -> None:
    def wrapper(i: int, node: Any, thunk: Any) -> None:
        thunk()
        if i == 2:
            raise ArithmeticError("enough")

    f, w, x = compiled(WrapLinker(["c|py"], wrapper))
    before = w.get_value()
    with pytest.raises(ArithmeticError, match="enough"):
        f(x)
    np.testing.assert_array_equal(w.get_value(), before)


def test_a_wrapper_that_runs_nothing_is_told_so() -> None:
    x = T.dvector("x")
    mode = kroton.Mode(WrapLinker(["py"], lambda i, node, thunk: None))
    f = kroton.function([x], T.exp(x), mode=mode)
    with pytest.raises(ValueError, match="must call its first thunk"):
        f([1.0])


def test_a_wrapped_linker_is_one_linker_or_several_and_a_function() -> None:
    assert WrapLinker("py", run_first).linkers == (PerformLinker(),)
    with pytest.raises(ValueError, match="at least one linker"):
        WrapLinker([], run_first)
    with pytest.raises(ValueError, match="no linker 'llvm'"):
        WrapLinker(["llvm"], run_first)
    with pytest.raises(TypeError, match=r"wrapper\(i, node, \*thunks\)"):
        WrapLinker(["py"])
    with pytest.raises(ValueError, match="at least one wrapper"):
        WrapLinkerMany(["py"], [])
    with pytest.raises(TypeError, match="must be a function, got 3"):
        WrapLinkerMany(["py"], [run_first, 3])
