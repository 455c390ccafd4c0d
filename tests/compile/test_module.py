"""Modules: symbolic members become state, methods functions that share it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton import External, In, Member, Method, Module, Out


def accumulator() -> Any:
    m = Module()
    m.s, m.x = T.dscalar(), T.dscalar()
    m.inc = Method(m.x, m.s + m.x, updates={m.s: m.s + m.x})
    m.dec = Method("x", updates=[("s", m.s - m.x)])
    m.half = Method([], {"now": "s", "half": m.s / 2})
    m.both = Method(None, ["s", Out(m.s * 2)])
    return m


class Layer(Module):
    """Affine; draws its own weights."""

    def __init__(self, x: Any, n: int, w: Any = None) -> None:
        self.w = T.dmatrix() if w is None else w
        self.b = T.dvector()
        self.n = n
        self.out = T.dot(x, self.w) + self.b
        self.apply = Method(x, self.out)

    def _instance_initialize(self, inst: Any, scale: float = 1.0, **initial: Any) -> None:
        inst.w = np.full((self.n, self.n), scale)
        inst.b = np.zeros(self.n)
        super()._instance_initialize(inst, **initial)

    def _instance_norm(self, inst: Any, order: int = 2) -> float:
        return float(np.linalg.norm(inst.w, order))


class Shifted(Layer):
    """A Layer with one more member and one more Method."""

    def __init__(self, x: Any, n: int) -> None:
        super().__init__(x, n)
        self.shift = T.dscalar()
        self.move = Method([], updates={self.b: self.b + self.shift})

    def _instance_initialize(self, inst: Any, **initial: Any) -> None:
        super()._instance_initialize(inst, **{"shift": 1.0, **initial})


# ---- state ---------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.sampled_from(["inc", "dec", "half", "both", "assign"]), st.integers(-99, 99)),
    max_size=12,
)


@settings(max_examples=20)
@given(steps, st.integers(-9, 9))
def test_methods_share_the_state_that_assignment_changes(
    sequence: list[tuple[str, int]], start: int
) -> None:
    for mode in ("FAST_RUN", "FAST_COMPILE"):
        inst = MADE[mode]
        inst.s = expected = float(start)
        for step, value in sequence:
            if step == "inc":
                expected += value
                assert inst.inc(value) == expected
            elif step == "dec":
                expected -= value
                assert inst.dec(x=value) is None
            elif step == "half":
                assert inst.half() == {"now": expected, "half": expected / 2}
            elif step == "both":
                assert inst.both() == [expected, 2 * expected]
            else:
                inst.s = expected = float(value)
            assert inst.s == expected


MADE = {mode: accumulator().make(s=0.0, mode=mode) for mode in ("FAST_RUN", "FAST_COMPILE")}


def test_instances_of_one_module_have_state_of_their_own() -> None:
    m = accumulator()
    a, b = m.make(s=1), m.make(s=2)
    a.inc(10)
    assert (a.s, b.s) == (11, 2)


@pytest.mark.parametrize("dtype", ["int8", "float32", "complex128", "bool"])
def test_a_member_holds_its_own_type(dtype: str) -> None:
    m = Module()
    m.v = T.vector(dtype=dtype)
    inst = m.make(v=np.array([0, 1], dtype))
    assert inst.v.dtype == dtype
    inst.v = [1, 1, 1] if dtype != "bool" else [True, True, True]
    assert inst.v.dtype == dtype
    assert inst.v.shape == (3,)


def test_an_assigned_array_is_copied_and_a_read_value_outlives_updates() -> None:
    m = Module()
    m.v = T.dvector()
    m.grow = Method([], updates={m.v: m.v * 2})
    mine = np.array([1.0, 2.0])
    inst = m.make(v=mine)
    before = inst.v
    inst.grow()
    inst.grow()
    np.testing.assert_array_equal(mine, [1, 2])
    np.testing.assert_array_equal(before, [1, 2])
    np.testing.assert_array_equal(inst.v, [4, 8])


def test_a_failed_call_changes_nothing() -> None:
    m = Module()
    m.v, m.x = T.dvector(), T.dvector()
    m.add = Method(m.x, updates={m.v: m.v + m.x})
    inst = m.make(v=[1.0, 2.0])
    with pytest.raises(ValueError):
        inst.add([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(inst.v, [1, 2])


def test_a_method_is_a_function_with_the_mode_it_was_given() -> None:
    m = accumulator()
    m.slow = Method([], m.s * 2, mode=kroton.Mode("py", None))
    inst = m.make(s=1.0, mode="FAST_COMPILE")
    assert isinstance(inst.inc, kroton.Function)
    assert inst.inc.name == "inc"
    assert inst.inc is inst.inc
    assert inst.inc.maker.mode == kroton.FAST_COMPILE
    assert inst.slow.maker.linked.implementations == ["py"]
    assert inst.slow() == 2


def test_one_profile_has_all_methods() -> None:
    mode = kroton.ProfileMode(optimizer="fast_run", linker=kroton.gof.OpWiseCLinker())
    inst = accumulator().make(s=0.0, mode=mode)
    inst.inc(1)
    inst.dec(1)
    printed: list[str] = []

    class Page:
        def write(self, text: str) -> None:
            printed.append(text)

        def flush(self) -> None:
            pass

    mode.print_summary(file=Page())
    assert all(name in "".join(printed) for name in ("inc", "dec"))


def test_arguments_have_options() -> None:
    m = accumulator()
    m.scale = Method(In(m.x, value=2.0), m.s * m.x)
    inst = m.make(s=5.0)
    assert inst.scale() == 10
    assert inst.scale(3) == 15


def test_a_shared_variable_keeps_its_one_value_and_a_member_of_it_starts_there() -> None:
    m = Module()
    everyone = kroton.shared(1.0, name="everyone")
    own = kroton.shared(5.0, name="own")
    m.everyone, m.own = everyone, Member(own)
    m.step = Method([], updates={everyone: everyone + 1, own: own + 1})
    a, b = m.make(), m.make(own=7.0)
    a.step()
    assert (a.everyone, b.everyone, everyone.get_value()) == (2, 2, 2)
    assert (a.own, b.own, own.get_value()) == (6, 7, 5)
    b.everyone = 9.0
    assert a.everyone == 9


def test_a_default_update_of_a_member_is_done_for_each_instance() -> None:
    m = Module()
    count = kroton.shared(0, name="count")
    count.default_update = count + 1
    m.count = Member(count)
    m.next = Method([], m.count)
    a, b = m.make(), m.make()
    assert [int(a.next()) for _ in range(3)] == [0, 1, 2]
    assert (a.count, b.count, count.get_value()) == (3, 0, 0)


# ---- structure -----------------------------------------------------------------------------


def network(shared_weights: bool = False) -> Any:
    net = Module()
    net.x = T.dmatrix()
    first = Layer(net.x, 2)
    net.layers = [first, Layer(first.out, 2, first.w if shared_weights else None)]
    net.rates = {"w": T.dscalar(), "b": Member(T.dscalar())}
    net.pair = (T.dscalar(), [T.dvector()])
    last = net.layers[1]
    del last.apply
    net.run = Method(net.x, last.out)
    net.learn = Method(
        [], updates={first.w: first.w * net.rates["w"], last.b: last.b + net.rates["b"]}
    )
    return net


START = {"rates": {"w": 2.0, "b": 1.0}, "pair": (3.0, [[4.0]])}


def test_modules_lists_tuples_and_dicts_nest() -> None:
    inst = network().make(layers=[{"scale": 1.0}, {"b": [1.0, 2.0]}], **START)
    x = np.array([[1.0, 3.0]])
    np.testing.assert_array_equal(inst.run(x), x @ np.ones((2, 2)) @ np.ones((2, 2)) + [1, 2])
    np.testing.assert_array_equal(inst.layers[0].apply(x), [[4, 4]])
    assert inst.rates["w"] == 2
    assert (inst.pair[0], inst.pair[1][0].tolist()) == (3, [4])
    inst.learn()
    assert inst.layers[0].w.tolist() == [[2, 2], [2, 2]]
    assert inst.layers[-1].w.tolist() == [[1, 1], [1, 1]]
    assert inst.layers[1].b.tolist() == [2, 3]


def test_items_are_assigned_one_by_one_or_together() -> None:
    inst = network().make(**START)
    inst.rates["w"] = 5.0
    inst.pair[0] = 6.0
    inst.pair[1][:] = [[7.0, 8.0]]
    assert (inst.rates["w"], inst.rates["b"], inst.pair[0]) == (5, 1, 6)
    assert inst.pair[1][0].tolist() == [7, 8]
    inst.rates = {"b": 0.5}
    inst.pair = [1.0, [[2.0]]]
    inst.layers[0] = {"scale": 3.0}
    assert dict(inst.rates) == {"w": 5, "b": 0.5}
    assert [inst.pair[0], *inst.pair[1:][0]] == [1, [2]]
    assert inst.layers[0].w.tolist() == [[3, 3], [3, 3]]
    assert (len(inst.layers), list(inst.rates), "w" in inst.rates) == (2, ["w", "b"], True)


def test_a_variable_in_two_modules_is_one_state() -> None:
    inst = network(shared_weights=True).make(**START)
    inst.layers[0].w = np.eye(2)
    assert inst.layers[1].w.tolist() == [[1, 0], [0, 1]]
    inst.learn()
    assert inst.layers[1].w.tolist() == [[2, 0], [0, 2]]


def test_an_external_variable_is_the_state_of_the_module_that_has_it() -> None:
    main, reader = Module(), Module()
    main.s = T.dscalar()
    reader.seen = External(main.s)
    reader.twice = Method([], 2 * reader.seen)
    main.reader = reader
    inst = main.make(s=4.0)
    assert (inst.reader.seen, inst.reader.twice()) == (4, 8)
    inst.reader.seen = 5.0
    assert inst.s == 5


def test_a_module_in_two_places_has_one_instance() -> None:
    outer = Module()
    outer.first = outer.second = accumulator()
    inst = outer.make(first={"s": 1.0})
    assert inst.first is inst.second
    inst.second.inc(1)
    assert inst.first.s == 2


def test_modules_may_contain_each_other() -> None:
    parent, child = accumulator(), accumulator()
    parent.child, child.parent = child, parent
    inst = parent.make(s=1.0, child={"s": 2.0})
    assert inst.child.parent is inst
    assert inst.child.parent.child.s == 2
    assert "above" in str(inst)
    assert "above" in str(parent)


def test_a_module_that_was_given_nothing_initializes_itself() -> None:
    outer = Module()
    outer.inner = Layer(T.dmatrix("x"), 2)
    assert outer.make().inner.w.tolist() == [[1, 1], [1, 1]]
    assert outer.make(inner={"scale": 2}).inner.w.tolist() == [[2, 2], [2, 2]]


def test_a_subclass_adds_members_and_initial_values() -> None:
    inst = Shifted(T.dmatrix("x"), 2).make(scale=3.0)
    inst.move()
    assert inst.b.tolist() == [1, 1]
    inst = Shifted(T.dmatrix("x"), 2).make(shift=0.5, b=[1.0, 1.0])
    inst.move()
    assert inst.b.tolist() == [1.5, 1.5]


def test_instances_have_what_the_class_gives_them() -> None:
    inst = Layer(T.dmatrix("x"), 2).make()
    assert inst.norm() == pytest.approx(2.0)
    assert inst.norm(order=1) == 2
    inst.initialize(scale=4.0)
    assert inst.w.tolist() == [[4, 4], [4, 4]]
    assert {"w", "b", "apply", "norm", "initialize"} <= set(dir(inst))
    inst.apply  # noqa: B018
    assert len(dir(inst)) == len(set(dir(inst)))


def test_a_method_can_be_called_while_values_are_set() -> None:
    class Warm(Module):
        def __init__(self) -> None:
            self.s, self.x = T.dscalar(), T.dscalar()
            self.inc = Method("x", updates={self.s: self.s + self.x})

        def _instance_initialize(self, inst: Any, **initial: Any) -> None:
            super()._instance_initialize(inst, **initial)
            inst.inc(100)

    assert Warm().make(s=1.0).s == 101


# ---- printing, copies, pickles ---------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda inst: pickle.loads(pickle.dumps(inst))]
)
def test_a_copy_goes_on_by_itself_from_the_same_state(duplicate: Callable[[Any], Any]) -> None:
    inst = network().make(mode="FAST_COMPILE", **START)
    inst.learn()
    twin = duplicate(inst)
    x = np.array([[1.0, 3.0]])
    np.testing.assert_array_equal(twin.run(x), inst.run(x))
    inst.learn()
    assert twin.layers[1].b.tolist() == [1, 1]
    twin.learn()
    np.testing.assert_array_equal(twin.run(x), inst.run(x))
    assert twin.run.maker.mode == inst.run.maker.mode
    whole, part = duplicate([inst, inst.layers[0]])
    assert whole.layers[0] is part


def test_printing_shows_members_values_and_methods() -> None:
    m = accumulator()
    assert repr(m) == "<Module: s, x, inc, dec, half, both>"
    assert m.pretty() == str(m)
    for text in ("s: TensorType(float64, scalar)", "inc(x)", "returns s + x", "s <- s + x",
                 "returns half: s / 2"):  # fmt: skip
        assert text in str(m)
    assert m.inc.pretty().splitlines() == ["inc(x)", "    returns s + x", "    s <- s + x"]
    assert repr(m.inc) == "Method(inc(x), updates s)"
    inst = m.make(s=2.5)
    assert repr(inst).startswith("<instance of Module: s = array(2.5), inc = method(x)")
    assert "  s = array(2.5)" in str(inst).splitlines()
    nested = str(network().make(layers=[{"w": np.zeros((9, 9)), "b": np.zeros(9)}, {}], **START))
    for text in ("layers[0]: Layer", "w = <float64, shape (9, 9)>", "rates['w'] = array(2.)",
                 "pair[1][0] = array([4.])", "run(x)"):  # fmt: skip
        assert text in nested
    inst = network().make(**START)
    assert repr(inst.rates) == "{'w': array(2.), 'b': array(1.)}"
    assert repr(inst.pair) == "[array(3.), [array([4.])]]"


def test_anonymous_variables_and_methods_are_named_after_their_attribute() -> None:
    m = accumulator()
    assert (m.s.name, m.inc.name) == ("s", "inc")
    net = network()
    assert net.rates["w"].name == "rates['w']"
    named = T.dscalar("mine")
    net.other = named
    assert named.name == "mine"


# ---- errors --------------------------------------------------------------------------------


def refused(
    error: type[Exception], match: str, build: Callable[[Any], Any], **initial: Any
) -> None:
    m = Module()
    build(m)
    with pytest.raises(error, match=match):
        m.make(**initial)


def test_a_missing_initial_value_is_named_with_its_type() -> None:
    with pytest.raises(ValueError, match=r"member 's' \(.*scalar.* pass s=\.\.\. to make"):
        accumulator().make()
    with pytest.raises(
        ValueError,
        match=r"members \"rates\['w'\]\" .* \"rates\['b'\]\".* pass rates={'w': \.\.\.} to",
    ):
        network().make(pair=START["pair"])
    inner = Module()
    inner.inner = accumulator()
    with pytest.raises(ValueError, match=r"'inner\.s'.* pass inner={'s': \.\.\.} to make"):
        inner.make()


def test_an_unknown_member_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match="no member 'q'; there are: s, x, inc"):
        accumulator().make(s=1.0, q=2)
    inst = accumulator().make(s=1.0)
    with pytest.raises(AttributeError, match="no member 'incr'; did you mean 'inc'"):
        inst.incr(3)
    with pytest.raises(AttributeError, match="no member 'q'"):
        inst.q = 3
    layer = Layer(T.dmatrix("x"), 2).make()
    with pytest.raises(AttributeError, match="'out' is computed"):
        _ = layer.out
    with pytest.raises(AttributeError, match="'n' is an attribute of Layer alone"):
        layer.n = 3
    net = network().make(**START)
    with pytest.raises(KeyError, match="has no 'q'"):
        net.rates["q"] = 3
    with pytest.raises(TypeError, match="has no 'q'"):
        net.rates = {"q": 3}


@pytest.mark.parametrize("value", ["three", [1.0, 2.0], 1j, None])
def test_a_value_of_another_type_is_refused_and_changes_nothing(value: Any) -> None:
    with pytest.raises(TypeError, match=r"member 's' of type TensorType\(float64, scalar\)"):
        accumulator().make(s=value)
    inst = accumulator().make(s=1.0)
    with pytest.raises(TypeError, match="member 's'"):
        inst.s = value
    assert inst.s == 1


def test_a_symbolic_value_is_refused() -> None:
    with pytest.raises(TypeError, match=r"member 's' needs a value .* got the symbolic variable z"):
        accumulator().make(s=T.dscalar("z"))


def test_what_is_no_state_cannot_be_assigned() -> None:
    inst = accumulator().make(s=1.0)
    with pytest.raises(TypeError, match="'inc' is a method"):
        inst.inc = 3
    with pytest.raises(TypeError, match="'x' is an argument of method 'inc'"):
        inst.x = 3
    with pytest.raises(AttributeError, match="'x' is an argument of method 'inc'"):
        _ = inst.x
    with pytest.raises(TypeError, match="'x' is an argument"):
        accumulator().make(s=1.0, x=2.0)
    net = network().make(**START)
    with pytest.raises(TypeError, match="takes a dict of the initial values"):
        net.layers[0] = 3
    with pytest.raises(TypeError, match="has 2 items, got 1"):
        net.pair = [1.0]
    with pytest.raises(TypeError, match="takes a list, got int"):
        net.pair = 3
    with pytest.raises(TypeError, match="takes a dict, got int"):
        net.rates = 3
    mixed = Module()
    mixed.options = {"rate": T.dscalar(), "order": 3}
    inst = mixed.make(options={"rate": 1.0})
    assert dict(inst.options) == {"rate": 1, "order": 3}
    with pytest.raises(TypeError, match=r"'order'.* belongs to the module and is fixed"):
        inst.options["order"] = 4


def test_a_method_does_not_take_state_as_an_argument() -> None:
    def declared(m: Any) -> None:
        m.s = Member(T.dscalar())
        m.f = Method(m.s, m.s + 1)

    def updated(m: Any) -> None:
        m.s = T.dscalar()
        m.f = Method(m.s, m.s + 1, updates={"s": m.s + 2})

    def elsewhere(m: Any) -> None:
        m.s = T.dscalar()
        m.f = Method("s", m.s + 1)
        m.g = Method([], m.s + 2)

    def changed_elsewhere(m: Any) -> None:
        m.s = T.dscalar()
        m.f = Method("s", m.s + 1)
        m.g = Method([], updates={"s": 0.0})

    refused(TypeError, "'f' of Module takes 's' .* declared a Member", declared, s=1)
    refused(TypeError, "'f' of Module takes 's' .* but updates it", updated, s=1)
    refused(
        TypeError, "'g' .* needs the value of 's', which is an argument of method 'f'", elsewhere
    )
    refused(TypeError, "'g' .* updates 's', which is an argument of method 'f'", changed_elsewhere)


def test_a_method_needs_members_and_inputs_only() -> None:
    def unknown(m: Any) -> None:
        m.f = Method([], T.dscalar("z") + 1)

    def target(m: Any) -> None:
        m.f = Method([], updates={T.dscalar("z"): 1.0})

    def computed(m: Any) -> None:
        m.s = T.dscalar()
        m.t = m.s + 1
        m.f = Method([], updates={"t": 1.0})

    def external(m: Any) -> None:
        m.s = External(T.dscalar("s"))
        m.f = Method([], m.s + 1)

    def name(m: Any) -> None:
        m.state = T.dscalar()
        m.f = Method([], "stat")

    refused(TypeError, "needs the value of 'z', which is neither an input nor a member", unknown)
    refused(TypeError, "updates 'z', which is neither", target)
    refused(TypeError, "which is computed by .*, not a member", computed, s=1.0)
    refused(TypeError, "declared External, and none of the modules", external)
    refused(AttributeError, "'f' refers to 'stat'.* did you mean 'state'", name, state=1.0)


def test_an_error_of_compiling_names_the_method() -> None:
    m = Module()
    m.x, m.s = T.dscalar(), T.dscalar()
    m.f = Method("x", m.s)
    with pytest.raises(kroton.compile.UnusedInputError) as caught:
        m.make(s=1.0)
    assert caught.value.__notes__ == ["while compiling method 'f' of Module"]


def test_a_method_called_before_its_state_has_values_says_which() -> None:
    class Early(Module):
        def __init__(self) -> None:
            self.s = T.dscalar()
            self.get = Method([], self.s)

        def _instance_initialize(self, inst: Any, **initial: Any) -> None:
            with pytest.raises(AttributeError, match="member 's' has no value yet"):
                _ = inst.s
            inst.get()

    with pytest.raises(ValueError, match="method 'get' of Early needs 's', which has no value yet"):
        Early().make()


def test_what_was_added_after_make_is_not_part_of_the_instance() -> None:
    m = accumulator()
    inst = m.make(s=1.0)
    m.late = T.dscalar()
    m.late_method = Method([], m.s)
    with pytest.raises(AttributeError, match="added to the module after"):
        _ = inst.late
    with pytest.raises(AttributeError, match="added to the module after"):
        inst.late_method()


def test_members_and_methods_are_checked_when_they_are_declared() -> None:
    s = T.dscalar("s")
    with pytest.raises(TypeError, match="Member takes a Variable, got 3 of type int"):
        Member(3)
    with pytest.raises(TypeError, match=r"computed by .* cannot be a Member"):
        Member(s + 1)
    with pytest.raises(TypeError, match="got the constant"):
        External(T.constant(1.0))
    with pytest.raises(TypeError, match="an input of a Method must be"):
        Method([3], s)
    with pytest.raises(TypeError, match="an output of a Method must be"):
        Method([], [3])
    with pytest.raises(TypeError, match="updates must be a dict"):
        Method([], s, updates=3)
    with pytest.raises(TypeError, match="what is updated of a Method must be"):
        Method([], s, updates={3: s})
    with pytest.raises(TypeError, match="an update of a Method must be"):
        Method([], s, updates={s: None})
    with pytest.raises(ValueError, match="no mode 'SLOW'"):
        Method([], s, mode="SLOW")
    with pytest.raises(ValueError, match="no mode 'SLOW'"):
        accumulator().make(s=1.0, mode="SLOW")
    m = Module()
    with pytest.raises(AttributeError, match="cannot be named 'make'"):
        m.make = T.dscalar()
