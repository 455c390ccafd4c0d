"""function: arguments, outputs, updates, givens, state, copies; and what it refuses."""

import copy
import gc
import pickle
import threading

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile import In, Out, UnusedInputError
from kroton.compile.mode import Mode
from kroton.graph import MissingInputError

LINKERS = ["py", "c|py", "c&py"]


@pytest.fixture(params=LINKERS)
def mode(request):
    return kroton.Mode(linker=request.param)


def test_inputs_may_be_a_list_a_tuple_or_bare(mode):
    x, y = T.dscalars("x", "y")
    assert kroton.function([x, y], x + y, mode=mode)(1, 2) == 3
    assert kroton.function((x, y), x + y, mode=mode)(1, 2) == 3
    assert kroton.function(x, x + 1, mode=mode)(1) == 2
    assert kroton.function([], T.constant(3.0) * 2, mode=mode)() == 6


def test_outputs_may_be_one_a_list_a_dict_or_none(mode):
    x = T.dvector("x")
    one = kroton.function([x], x + 1, mode=mode)([1.0])
    assert isinstance(one, np.ndarray)
    several = kroton.function([x], [x + 1, x * 2], mode=mode)([1.0])
    assert [v.tolist() for v in several] == [[2.0], [2.0]]
    named = kroton.function([x], {"b": x * 2, "a": x + 1}, mode=mode)([1.0])
    assert list(named) == ["a", "b"]
    assert named["b"].tolist() == [2.0]
    s = kroton.shared(0.0)
    assert kroton.function([], updates=[(s, s + 1)], mode=mode)() is None
    assert s.get_value() == 1.0
    assert kroton.function([x], [], on_unused_input="ignore", mode=mode)([1.0]) == []


def test_results_of_scalars_are_0d_arrays(mode):
    x = T.dscalar("x")
    result = kroton.function([x], x * 2, mode=mode)(2.5)
    assert isinstance(result, np.ndarray)
    assert result.shape == ()


def test_arguments_are_positional_by_keyword_or_by_default(mode):
    x, y = T.dscalar("x"), T.dscalar("y")
    f = kroton.function([x, In(y, value=10.0)], x + y, mode=mode)
    assert f(1) == 11
    assert f(1, 2) == 3
    assert f(x=1, y=3) == 4
    assert f(1, y=4) == 5
    assert f[y] == 10
    f[y] = 20
    assert f["y"] == 20
    assert f(1) == 21
    f.value["y"] = 30
    assert f.container[y].value == 30


def test_a_default_with_an_update_is_state(mode):
    x, s = T.dscalar("x"), T.dscalar("s")
    f = kroton.function([x, In(s, value=0.0, update=s + x, name="sum")], s, mode=mode)
    assert f(3) == 0
    assert f(4) == 3
    assert f["sum"] == 7
    assert f(1, 100) == 100
    assert f["sum"] == 101


def test_an_implicit_input_cannot_be_passed():
    x, s = T.dscalar("x"), T.dscalar("s")
    f = kroton.function([x, In(s, value=2.0, implicit=True)], x * s)
    assert f(3) == 6
    with pytest.raises(TypeError, match="takes 1 argument"):
        f(3, 4)
    with pytest.raises(TypeError, match="no input named 's'"):
        f(3, s=4)
    f["s"] = 5
    assert f(3) == 15


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing required input.* x, y"),
        ((1.0,), {}, "missing required input.* y"),
        ((1.0, 2.0, 3.0), {}, "takes 2 argument.* got 3"),
        ((1.0,), {"z": 1.0}, "no input named 'z'.*x: .*y: "),
        ((1.0, 2.0), {"x": 1.0}, "two values for input 'x'"),
        (([1.0, 2.0], 1.0), {}, r"position 0 \(x\).*0 dimensions.*1 dimensions of shape \(2,\)"),
        (("text", 1.0), {}, r"position 0 \(x\).*expected float64 values, got str"),
        ((1j, 1.0), {}, "without losing value"),
        ((None, 1.0), {}, "expected float64 values"),
        ((T.dscalar("z"), 1.0), {}, "symbolic variable z"),
    ],
)
def test_unsuitable_arguments_are_named(args, kwargs, message):
    x, y = T.dscalars("x", "y")
    state = kroton.shared(1.0)
    f = kroton.function([x, y], x + y, updates=[(state, state + x)], name="adder")
    with pytest.raises(TypeError, match=message) as caught:
        f(*args, **kwargs)
    assert "'adder'" in str(caught.value)
    assert state.get_value() == 1.0


def test_lossy_arguments_are_refused_unless_allowed():
    i, x = T.ivector("i"), T.fvector("x")
    f = kroton.function([i], i + 1)
    with pytest.raises(TypeError, match="without losing value"):
        f(np.array([1.5]))
    with pytest.raises(TypeError, match="without losing value"):
        f(np.array([1], dtype="int64"))
    assert f([1, 2]).dtype == np.int32
    g = kroton.function([i], i + 1, allow_input_downcast=True)
    assert g(np.array([1.5])).tolist() == [2]
    h = kroton.function([x], x * 2)
    with pytest.raises(TypeError, match="float64"):
        h(np.array([0.1]))
    assert h([0.1]).dtype == np.float32
    assert kroton.function([In(i, allow_downcast=True)], i)(np.array([2.0])).tolist() == [2]
    with pytest.raises(TypeError, match="expected a int32 array"):
        kroton.function([In(i, strict=True)], i)([1])


def test_byte_swapped_unaligned_and_other_long_arrays_are_converted(mode):
    x, i = T.dvector("x"), T.lvector("i")
    f = kroton.function([x, i], [x * 2, i * 2], mode=mode)
    unaligned = np.frombuffer(b"\0" + np.arange(3.0).tobytes(), dtype=np.uint8)[1:].view("f8")
    a, b = f(np.arange(3.0).astype(">f8"), np.arange(3).astype(np.longlong))
    assert a.tolist() == [0, 2, 4]
    assert b.tolist() == [0, 2, 4]
    assert f(unaligned, [1])[0].tolist() == [0, 2, 4]


def test_updates_happen_together_and_see_the_old_values(mode):
    a, b = kroton.shared(1.0, "a"), kroton.shared(2.0, "b")
    swap = kroton.function([], [a, b], updates=[(a, b), (b, a)], mode=mode)
    assert [v.item() for v in swap()] == [1.0, 2.0]
    assert (a.get_value(), b.get_value()) == (2.0, 1.0)
    swap()
    assert (a.get_value(), b.get_value()) == (1.0, 2.0)


def test_a_failing_call_changes_no_shared_variable(mode):
    x = T.dvector("x")
    w, n = kroton.shared(np.ones(3), "w"), kroton.shared(np.zeros(4), "n")
    f = kroton.function([x], updates=[(w, w * 2), (n, n + x)], mode=mode)
    for _ in range(2):
        with pytest.raises(ValueError, match="3 elements") as caught:
            f(np.ones(3))
        text = str(caught.value)
        assert "Apply node that caused the error" in text
        assert "Inputs shapes" in text
        assert "Inputs strides" in text
        assert "test_function.py" in text
        assert w.get_value().tolist() == [1, 1, 1]
        assert n.get_value().tolist() == [0, 0, 0, 0]
    f(np.ones(4))
    assert w.get_value().tolist() == [2, 2, 2]


def test_arrays_a_user_holds_never_change(mode):
    x = T.dvector("x")
    start = np.ones(3)
    w = kroton.shared(start, "w")
    held = w.get_value(borrow=True)
    f = kroton.function([x], w + x, updates=[(w, w + x)], mode=mode)
    given = np.arange(3.0)
    first = f(given)
    kept = first.copy()
    second = f(given)
    assert start.tolist() == [1, 1, 1]
    assert held.tolist() == [1, 1, 1]
    assert given.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(second, w.get_value(borrow=True))


def test_outputs_never_alias_inputs_state_or_each_other(mode):
    x = T.dmatrix("x")
    w = kroton.shared(np.ones((2, 2)))
    f = kroton.function([x], [x, x.T, w, w.T, x[0]], mode=mode)
    given = np.arange(4.0).reshape(2, 2)
    results = f(given)
    held = [given, w.get_value(borrow=True), *results]
    for k, a in enumerate(held):
        for b in held[k + 1 :]:
            assert not np.shares_memory(a, b)


def test_an_update_to_an_input_does_not_keep_the_users_array(mode):
    x = T.dvector("x")
    w = kroton.shared(np.zeros(2))
    f = kroton.function([x], updates={w: x}, mode=mode)
    given = np.ones(2)
    f(given)
    given[:] = 5
    assert w.get_value().tolist() == [1, 1]


@pytest.mark.usefixtures("fast_run")
def test_borrowed_outputs_may_alias_state():
    w = kroton.shared(np.ones(3))
    f = kroton.function([], Out(w, borrow=True))
    assert np.shares_memory(f(), w.get_value(borrow=True))


def test_a_mutable_input_may_be_overwritten_and_others_are_not(mode):
    x = T.dvector("x")
    f = kroton.function([In(x, mutable=True)], x * 2 + 1, mode=mode)
    assert f(np.ones(3)).tolist() == [3, 3, 3]
    g = kroton.function([x], x * 2 + 1, mode=mode)
    given = np.ones(3)
    g(given)
    assert given.tolist() == [1, 1, 1]


@pytest.mark.usefixtures("fast_run")
@pytest.mark.parametrize("mutable", [False, True])
@pytest.mark.parametrize("borrow", [False, True])
def test_an_output_is_the_given_array_only_if_that_is_mutable_and_the_output_borrowed(
    mutable, borrow
):
    m, n = T.dmatrix("m"), T.dmatrix("n")
    for build in (lambda: T.exp(m), lambda: m + T.dot(n, n), lambda: T.inc_subtensor(m[0], 1)):
        out = build()
        f = kroton.function(
            [In(m, mutable=mutable), n], Out(out, borrow=borrow), on_unused_input="ignore"
        )
        given, other = np.ones((2, 2)), np.full((2, 2), 3.0)
        expected = kroton.function([m, n], out, mode=Mode("py", None), on_unused_input="ignore")(
            given, other
        )
        result = f(given, other)
        np.testing.assert_allclose(result, expected)
        assert np.shares_memory(result, given) == (mutable and borrow)
        assert np.all(other == 3)
        if not mutable:
            assert np.all(given == 1)


@pytest.mark.usefixtures("fast_run")
def test_what_is_read_or_returned_elsewhere_is_not_written_over_for_a_borrowed_output():
    x = T.dvector("x")
    outputs = [Out(T.exp(x), borrow=True), Out(x * 2, borrow=True), x + 1]
    f = kroton.function([In(x, mutable=True)], outputs)
    given = np.arange(3.0)
    a, b, c = f(given)
    np.testing.assert_allclose(a, np.exp(np.arange(3.0)))
    assert b.tolist() == [0, 2, 4]
    assert c.tolist() == [1, 2, 3]
    assert not np.shares_memory(a, b)
    assert not np.shares_memory(c, given)
    same = kroton.function([In(x, mutable=True)], [Out(T.exp(x), borrow=True), T.exp(x)])
    given = np.arange(3.0)
    a, b = same(given)
    assert not np.shares_memory(b, given)
    assert not np.shares_memory(a, b)
    w = kroton.shared(np.zeros(3))
    g = kroton.function([In(x, mutable=True)], Out(T.exp(x), borrow=True), updates=[(w, T.exp(x))])
    given = np.arange(3.0)
    g(given)
    assert not np.shares_memory(w.get_value(borrow=True), given)
    np.testing.assert_allclose(w.get_value(), np.exp(np.arange(3.0)))


def test_givens_replace_and_may_build_on_each_other(mode):
    x, y, i = T.dvector("x"), T.dvector("y"), T.lscalar("i")
    data = kroton.shared(np.arange(6.0))
    f = kroton.function([i], (x * 2).sum(), givens={x: data[i * 2 : (i + 1) * 2]}, mode=mode)
    assert f(1) == 10
    g = kroton.function([y], x.sum(), givens=[(x, y + 1)], mode=mode)
    assert g([1.0, 2.0]) == 5
    h = kroton.function([x], x * 2, givens={}, mode=mode)
    assert h([1.0]).tolist() == [2]
    z = T.dvector("z")
    chained = kroton.function([y], z, givens={z: x * 2, x: y + 1}, mode=mode)
    assert chained([1.0]).tolist() == [4]


def test_default_updates_are_done_unless_refused(mode):
    s = kroton.shared(0, "s")
    s.default_update = s + 1
    f = kroton.function([], s, mode=mode)
    assert [f().item() for _ in range(3)] == [0, 1, 2]
    g = kroton.function([], s, no_default_updates=True, mode=mode)
    g()
    h = kroton.function([], s, no_default_updates=[s], mode=mode)
    h()
    assert s.get_value() == 3
    k = kroton.function([], s, updates=[(s, s + 10)], mode=mode)
    k()
    assert s.get_value() == 13


def test_default_updates_bring_others_with_them(mode):
    a, b, c = (kroton.shared(float(k), name) for k, name in enumerate("abc"))
    a.default_update = a + b
    b.default_update = b * 2.0 + a
    c.default_update = c - 1.0
    x = T.dscalar("x")
    f = kroton.function([x], a * x, mode=mode)
    assert [v.name for v in f.get_shared()] == ["a", "b"]
    f(1.0)
    f(1.0)
    assert [v.get_value() for v in (a, b, c)] == [1.0 + 2.0, 2.0 * 2.0 + 1.0, 2.0]
    g = kroton.function([x], a * x, no_default_updates=[b], mode=mode)
    assert float(g(1.0)) == 3.0
    assert [v.get_value() for v in (a, b)] == [8.0, 5.0]


def test_functions_share_state():
    s = kroton.shared(0)
    increment = kroton.function([], updates=[(s, s + 1)])
    read = kroton.function([], s * 10)
    increment()
    increment()
    assert read() == 20
    s.set_value(5)
    assert read() == 50


# ---- what is refused -------------------------------------------------------------------------


def test_a_shared_variable_is_no_input():
    s = kroton.shared(1.0, "s")
    with pytest.raises(TypeError, match="shared variable s cannot be an input"):
        kroton.function([s], s)


def test_a_constant_or_a_number_is_no_input():
    with pytest.raises(TypeError, match="constant"):
        kroton.function([T.constant(1.0)], T.constant(1.0))
    with pytest.raises(TypeError, match="input 0 must be a Variable or an In, got 3"):
        kroton.function([3], T.constant(1.0))


def test_a_computed_variable_is_no_input():
    x = T.dscalar("x")
    y = x + 1
    with pytest.raises(ValueError, match="is computed by"):
        kroton.function([y], y * 2)


def test_an_input_listed_twice_is_refused():
    x = T.dscalar("x")
    with pytest.raises(ValueError, match="listed twice"):
        kroton.function([x, x], x)


def test_unused_inputs_raise_warn_or_are_ignored():
    x, y = T.dscalars("x", "y")
    with pytest.raises(UnusedInputError, match=r"index 1.*y"):
        kroton.function([x, y], x)
    with pytest.warns(UserWarning, match="index 1"):
        kroton.function([x, y], x, on_unused_input="warn")
    assert kroton.function([x, y], x, on_unused_input="ignore")(1, 2) == 1
    with pytest.raises(ValueError, match="'raise', 'warn' or 'ignore'"):
        kroton.function([x], x, on_unused_input="no")
    with kroton.config.change_flags(on_unused_input="ignore"):
        kroton.function([x, y], x)


def test_missing_inputs_are_named_with_the_line_that_made_them():
    x, y = T.dscalars("x", "y")
    with pytest.raises(MissingInputError, match=r"depends on y(.|\n)*test_function.py"):
        kroton.function([x], x + y)


def test_two_updates_of_one_variable_are_refused():
    s = kroton.shared(0, "s")
    with pytest.raises(ValueError, match="two updates: s"):
        kroton.function([], updates=[(s, s + 1), (s, s + 2)])


def test_updates_must_have_the_type_of_their_target():
    s = kroton.shared(np.zeros(2, dtype="float32"), "s")
    with pytest.raises(TypeError, match=r"same type(.|\n)*float32(.|\n)*float64"):
        kroton.function([], updates=[(s, s.astype("float64"))])
    with pytest.raises(TypeError, match="same type"):
        kroton.function([], updates=[(s, s.sum())])
    with pytest.raises(TypeError, match="must be a shared variable"):
        kroton.function([], updates=[(T.dscalar("x"), 1.0)])
    with pytest.raises(TypeError, match="dict or a list of pairs"):
        kroton.function([], updates=3)
    with pytest.raises(TypeError, match="is no pair"):
        kroton.function([], updates=[s])


def test_unsuitable_givens_are_refused():
    x, y = T.dvector("x"), T.dmatrix("y")
    with pytest.raises(TypeError, match="givens for x"):
        kroton.function([y], x, givens={x: y})
    with pytest.raises(ValueError, match="replaces the input x"):
        kroton.function([x], x, givens={x: x + 1})
    with pytest.raises(TypeError, match="not a Variable"):
        kroton.function([x], x, givens={3: x})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "FAST"}, "no mode 'FAST'.*FAST_RUN"),
        ({"mode": 3}, "no mode 3"),
        ({"outputs": object()}, "output must be a Variable"),
        ({"outputs": {1: None}}, "keys of outputs must be strings"),
        ({"name": 3}, "name must be a string"),
    ],
)
def test_other_unsuitable_arguments_are_refused(arguments, message):
    x = T.dscalar("x")
    with pytest.raises((ValueError, TypeError), match=message):
        kroton.function([x], **{"outputs": x, **arguments})


def test_unknown_linkers_and_optimizers_are_refused():
    with pytest.raises(ValueError, match=r"no linker 'jit'.*'c\|py'"):
        kroton.Mode(linker="jit")
    with pytest.raises(ValueError, match="fast_run"):
        kroton.Mode(optimizer="faster")


# ---- copies, pickles, threads, memory --------------------------------------------------------


def test_functions_and_their_state_are_pickled(mode):
    x = T.dvector("x")
    w = kroton.shared(np.ones(2), "w")
    f = kroton.function([x, In(T.dscalar("s"), value=3.0)], x * w, updates=[(w, w + x)],
                        mode=mode, name="f", on_unused_input="ignore")  # fmt: skip
    f([1.0, 2.0])
    g = pickle.loads(pickle.dumps(f))
    assert g.name == "f"
    assert g([1.0, 1.0]).tolist() == [2, 3]
    assert w.get_value().tolist() == [2, 3]
    assert g["w"].tolist() == [3, 4]
    assert g["s"] == 3


def test_deep_copies_have_their_own_state():
    w = kroton.shared(0.0, "w")
    f = kroton.function([], w, updates=[(w, w + 1)])
    g = copy.deepcopy(f)
    f()
    f()
    assert g() == 0
    assert f() == 2


def test_copy_swaps_shared_variables_and_deletes_updates():
    w, v = kroton.shared(1.0, "w"), kroton.shared(100.0, "v")
    f = kroton.function([], w * 2, updates=[(w, w + 1)], name="f")
    g = f.copy(swap={w: v})
    assert g() == 200
    assert (w.get_value(), v.get_value()) == (1, 101)
    h = f.copy(delete_updates=True, name="h")
    assert h() == 2
    assert w.get_value() == 1
    assert h.name == "h"
    with pytest.raises(TypeError, match="swapped"):
        f.copy(swap={w: kroton.shared(np.ones(2))})
    with pytest.raises(ValueError, match="not a shared variable"):
        f.copy(swap={v: w})


def test_shared_variables_are_pickled_and_deep_copied():
    w = kroton.shared(np.arange(3.0), "w")
    w.default_update = w + 1
    for twin in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
        assert twin.name == "w"
        twin.set_value(np.zeros(3))
        assert w.get_value().tolist() == [0, 1, 2]
        assert twin.default_update is not None


def test_get_and_set_value_copy_unless_they_borrow():
    data = np.zeros(2)
    w = kroton.shared(data)
    data[0] = 1
    assert w.get_value()[0] == 0
    w.get_value()[0] = 2
    assert w.get_value()[0] == 0
    w.get_value(borrow=True)[0] = 3
    assert w.get_value()[0] == 3
    fresh = np.ones(2)
    w.set_value(fresh, borrow=True)
    fresh[0] = 9
    assert w.get_value()[0] == 9
    w.zero()
    assert w.get_value().tolist() == [0, 0]


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 2)), "text", None, np.zeros(2, dtype=complex), T.dvector()]
)
def test_set_value_refuses_and_keeps_the_old_value(bad):
    w = kroton.shared(np.ones(2), "w")
    with pytest.raises(TypeError, match="w"):
        w.set_value(bad)
    assert w.get_value().tolist() == [1, 1]


def test_shared_accepts_numbers_and_any_object():
    assert kroton.shared(3).type == T.TensorType("int64", ())
    assert kroton.shared(3.0).type == T.TensorType("float64", ())
    assert kroton.shared(np.float32(1)).type == T.TensorType("float32", ())
    assert kroton.shared({"a": 1}).get_value() == {"a": 1}
    with pytest.raises(TypeError, match="symbolic"):
        kroton.shared(T.dscalar("x"))
    with pytest.raises(TypeError, match="float16"):
        kroton.shared(np.zeros(2, dtype="float16"))


def test_one_function_serves_several_threads(mode):
    x = T.dmatrix("x")
    count = kroton.shared(0)
    f = kroton.function(
        [x], T.exp(x).sum() + (x @ x.T).sum(), updates=[(count, count + 1)], mode=mode
    )
    values = [np.random.default_rng(k).normal(size=(60, 60)) for k in range(4)]
    expected = [np.exp(v).sum() + (v @ v.T).sum() for v in values]
    wrong = []

    def work(k):
        for _ in range(30):
            if not np.isclose(f(values[k]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert count.get_value() == 120


def test_ten_thousand_calls_do_not_grow():
    import tracemalloc

    x = T.dvector("x")
    w = kroton.shared(np.ones(100))
    f = kroton.function([x], [T.exp(x).sum(), x * 2], updates=[(w, w * 0.5 + x)])
    given = np.ones(100)
    for _ in range(100):
        f(given)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    for _ in range(10_000):
        f(given)
    gc.collect()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    growth = sum(s.size_diff for s in after.compare_to(before, "filename"))
    assert growth < 50_000


@pytest.mark.usefixtures("fast_run")
def test_a_function_may_call_itself_from_within():
    x = T.dscalar("x")
    calls = []

    @kroton.as_op(itypes=[T.TensorType("float64", ())], otypes=[T.TensorType("float64", ())])
    def again(value):
        calls.append(float(value))
        return np.asarray(0.0) if value <= 0 else np.asarray(f(value - 1) + 1)

    state = kroton.shared(0)
    f = kroton.function([x], again(x), updates=[(state, state + 1)])
    assert f(3.0) == 3.0
    assert calls == [3.0, 2.0, 1.0, 0.0]


def test_an_interrupted_call_changes_nothing():
    x = T.dscalar("x")

    @kroton.as_op(itypes=[T.TensorType("float64", ())], otypes=[T.TensorType("float64", ())])
    def interrupt(value):
        raise KeyboardInterrupt

    w = kroton.shared(1.0)
    f = kroton.function([x], interrupt(x), updates=[(w, w + 1)])
    with pytest.raises(KeyboardInterrupt):
        f(1.0)
    assert w.get_value() == 1.0


def test_user_ops_run_inside_a_compiled_program():
    @kroton.as_op(
        itypes=[T.TensorType("float64", (None,))], otypes=[T.TensorType("float64", (None,))]
    )
    def reverse(value):
        return value[::-1].copy()

    x = T.dvector("x")
    f = kroton.function([x], reverse(x * 2) + 1)
    assert f([1.0, 2.0]).tolist() == [5, 3]
    with pytest.raises(NotImplementedError, match=r"no compiled kernel for(.|\n)*reverse"):
        kroton.function([x], reverse(x), mode=kroton.Mode(linker="c"))


def test_deep_chains_compile_and_run():
    x = T.dscalar("x")
    y = x
    for _ in range(20_000):
        y = T.sin(y)
    f = kroton.function([x], y)
    value = 0.5
    for _ in range(20_000):
        value = np.sin(value)
    np.testing.assert_allclose(f(0.5), value, rtol=1e-9)


def test_a_float_beyond_the_range_of_float32_is_refused_not_made_infinite(mode):
    x = T.fvector("x")
    f = kroton.function([x], x, mode=mode)
    with pytest.raises(TypeError, match="cannot be converted without losing value"):
        f([1e300])
    np.testing.assert_array_equal(f([0.1, np.inf]), np.array([0.1, np.inf], "float32"))


def test_the_garbage_collector_is_as_it_was_after_compiling() -> None:
    x, y = T.dvectors("x", "y")
    for before in (True, False):
        (gc.enable if before else gc.disable)()
        try:
            kroton.function([x], x + 1)
            assert gc.isenabled() is before
            with pytest.raises(Exception, match="not part of"):
                kroton.function([x, y], x + 1)
            assert gc.isenabled() is before
        finally:
            gc.enable()


def test_givens_that_are_not_strict_may_have_another_type():
    x, fv = T.dvector("x"), T.fvector("fv")
    f = kroton.function([fv], [(x * 2).sum(), x * x], givens={x: fv}, rebuild_strict=False)
    double, square = f(np.array([1, 2], "float32"))
    assert double == 6.0
    assert square.dtype == np.float32
    y = T.dvector("y")
    g = kroton.function([fv], y + x, givens={x: y * 2, y: fv}, rebuild_strict=False)
    np.testing.assert_array_equal(g([1.0, 2.0]), [3, 6])
    with pytest.raises(TypeError, match="givens for x"):
        kroton.function([fv], x * 2, givens={x: fv})


def test_a_shared_variable_that_is_refused_says_why():
    with pytest.raises(TypeError, match="dimension 0 has 2 elements instead of 1"):
        kroton.shared(np.ones((2, 3)), shape=(1, None))
    with pytest.raises(TypeError, match=r"no such keywords together: foo; there are value.*shape"):
        kroton.shared(1.0, foo=2)
    assert kroton.shared(np.ones((1, 3)), shape=(1, None)).type.shape == (1, None)


def test_the_variables_without_a_default_update_are_a_list_of_shared_ones():
    s = kroton.shared(1.0)
    s.default_update = s + 1
    for keep in ([s], (s,), {s}, s, True):
        kroton.function([], s, no_default_updates=keep)()
        assert s.get_value() == 1.0
    for wrong in (3, "s", [T.dscalar()]):
        with pytest.raises(TypeError, match="True, False or a list of shared variables, got"):
            kroton.function([], s, no_default_updates=wrong)


@pytest.mark.parametrize("what", ["mode", "linker", "optimizer"])
def test_what_is_no_mode_linker_or_optimizer_cannot_be_registered_as_one(what):
    import kroton.compile

    with pytest.raises(TypeError, match=f"register_{what} takes a"):
        getattr(kroton.compile, f"register_{what}")("Q", 3)
    with pytest.raises(ValueError, match="'Q'"):
        kroton.function([], [], mode=kroton.Mode(**{what: "Q"}) if what != "mode" else "Q")


def test_eval_takes_a_mapping_from_variables_or_names():
    x, z = T.dvectors("x z")
    y = x * 2
    with pytest.raises(TypeError, match=r"eval takes a dict .*got ndarray"):
        y.eval(np.ones(2))
    assert y.eval({x: [1.0], z: [2.0]}) == 2.0
    with pytest.raises(TypeError, match="values are given for Variables or names, not for 3"):
        y.eval({3: [1.0]})
    assert T.exp(y).eval({y: [0.0]}) == 1.0
