"""What a profile counts, in one and in several threads, and how it is asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from time import perf_counter

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.profilemode import ProfileMode, ProfileStats
from kroton.compile.profiling.memory import memory_of


@pytest.fixture
def mode():
    return ProfileMode(optimizer="fast_run", linker=kroton.gof.OpWiseCLinker())


def product(mode, n=60, **options):
    a, b = T.dmatrix("a"), T.dmatrix("b")
    f = kroton.function([a, b], T.exp(a @ b).sum(axis=0), mode=mode, **options)
    return f, np.full((n, n), 0.01), np.full((n, n), 0.02)


def test_every_apply_is_counted_once_per_call(mode):
    f, a, b = product(mode)
    for _ in range(5):
        f(a, b)
    applys = mode.stats.functions[0].refresh()
    assert len(applys) == len(f.maker.linked.order)
    assert [record.runs for record in applys] == [5] * len(applys)
    assert mode.stats.calls == 5
    assert all(record.seconds > 0 for record in applys)


def test_applys_take_no_longer_than_their_calls_and_those_than_a_clock_outside(mode):
    f, a, b = product(mode)
    started = perf_counter()
    for _ in range(20):
        f(a, b)
    outside = perf_counter() - started
    assert 0 < mode.local_time <= mode.stats.call_time <= outside


def test_a_profiled_function_gives_what_an_unprofiled_one_gives(mode):
    f, a, b = product(mode)
    g, _, _ = product("FAST_RUN")
    assert np.array_equal(f(a, b), g(a, b))


def test_updates_in_place_are_still_in_place_and_all_or_none(mode):
    s = kroton.shared(np.zeros(1000), name="s")
    x = T.dvector("x")
    f = kroton.function([x], updates=[(s, s + x)], mode=mode)
    where = s.get_value(borrow=True).ctypes.data
    f(np.ones(1000))
    assert s.get_value(borrow=True).ctypes.data == where
    with pytest.raises(ValueError, match="999"):
        f(np.ones(999))
    assert np.array_equal(s.get_value(), np.ones(1000))
    assert mode.stats.calls == 1


def test_counting_is_exact_with_several_threads(mode):
    f, a, b = product(mode, 20)
    threads = [threading.Thread(target=lambda: [f(a, b) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mode.stats.calls == 200
    assert {record.runs for record in mode.stats.functions[0].refresh()} == {200}


def test_shapes_are_noted_with_the_runs_of_powers_of_two(mode):
    f, a, b = product(mode, 8)
    for _ in range(4):
        f(a, b)
    record = mode.stats.functions[0].refresh()[0]
    assert record.shapes == {((8, 8), (8, 8), (8, 8)): 3}
    assert record.flops() == 2 * 8**3
    assert record.moved() == 3 * 8 * 8 * 8


def test_what_is_not_read_is_not_counted_as_moved(mode):
    x, rows = T.dmatrix("x"), T.lvector("rows")
    f = kroton.function([x, rows], [x[rows], x.shape[0]], mode=mode)
    f(np.ones((100, 4)), [3, 5])
    moved = {
        type(record.op).__name__: record.moved() for record in mode.stats.functions[0].refresh()
    }
    assert moved == {"AdvancedSubtensor1": 2 * 2 * 4 * 8 + 2 * 8, "Shape_i": 8}


def test_a_hook_that_needs_values_and_a_profile_count_alike(mode):
    class Watch(kroton.gof.Hook):
        def __init__(self):
            self.seen = []

        def after_apply(self, function, position, node, inputs, outputs, seconds):
            self.seen.append((position, seconds))

    watch = Watch()
    f, a, b = product(mode.clone(hooks=(*mode.hooks, watch)))
    f(a, b)
    f(a, b)
    applys = mode.stats.functions[0].refresh()
    assert [record.runs for record in applys] == [2] * len(applys)
    assert sum(seconds for _, seconds in watch.seen) == pytest.approx(mode.local_time)


@pytest.mark.parametrize("linker", ["py", "c", "c|py", "c&py"])
def test_the_implementation_of_each_apply_is_recorded(linker):
    mode = ProfileMode(linker=linker)
    f, a, b = product(mode, 4)
    f(a, b)
    expected = {"c|py": "c"}.get(linker, linker)
    assert {r.implementation for r in mode.stats.functions[0].applys} == {expected}


def test_debug_mode_can_be_profiled():
    f, a, b = product(kroton.DebugMode(stability_patience=1), 4, profile=True)
    f(a, b)
    assert f.profile.calls == 1
    assert all(record.runs == 1 for record in f.profile.functions[0].refresh())


def test_several_functions_are_summed_and_listed(mode):
    f, a, b = product(mode, name="one")
    g, _, _ = product(mode, name="two")
    f(a, b)
    g(a, b)
    assert [record.name for record in mode.stats.functions] == ["one", "two"]
    assert mode.stats.calls == 2
    assert mode.local_time == pytest.approx(sum(r.seconds for _, r in mode.stats.applys()))


def test_modes_made_from_a_profile_mode_count_into_its_profile(mode):
    f, a, b = product(mode.excluding("fusion").including("inplace"))
    f(a, b)
    assert mode.stats.calls == 1
    assert f.profile is mode.stats


def test_passes_rules_and_phases_of_compilation_are_timed(mode):
    product(mode)
    assert {"graph", "optimizer", "linker"} <= set(mode.stats.phases())
    assert all(seconds > 0 for seconds in mode.stats.phases().values())
    assert "blas" in mode.stats.passes()
    assert sum(cost.replacements for cost in mode.stats.rules().values()) > 0


def test_a_profile_and_its_function_survive_pickling(mode):
    f, a, b = product(mode)
    f(a, b)
    again = pickle.loads(pickle.dumps(mode))
    assert again.local_time == mode.local_time
    assert again.stats.functions[0].refresh()[0].shapes == (
        mode.stats.functions[0].refresh()[0].shapes
    )
    g = pickle.loads(pickle.dumps(f))
    g(a, b)
    assert g.profile.calls == 2
    assert mode.stats.calls == 1


def test_reset_forgets_calls_and_keeps_functions(mode):
    f, a, b = product(mode)
    f(a, b)
    mode.stats.reset()
    assert (mode.stats.calls, mode.local_time, len(mode.stats.functions)) == (0, 0.0, 1)
    f(a, b)
    assert mode.stats.calls == 1


def test_profile_of_one_function():
    f, a, b = product(None, profile=True)
    f(a, b)
    assert isinstance(f.profile, ProfileStats)
    assert f.profile.calls == 1
    g, _, _ = product(None)
    assert g.profile is None
    own = ProfileStats()
    h, _, _ = product(None, profile=own)
    h(a, b)
    assert h.profile is own
    assert own.calls == 1
    with pytest.raises(TypeError, match="profile is True"):
        product(None, profile="yes")


SCRIPT = """
import kroton, kroton.tensor as T
x = T.dvector("x")
f = kroton.function([x], T.exp(x).sum(), name="mine"{options})
f([1.0, 2.0])
"""


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("", ", mode='PROFILE_MODE'"),
        ("", ", mode='ProfileMode'"),
        ("mode=PROFILE_MODE", ""),
        ("profile=True", ""),
    ],
)
def test_the_summary_is_printed_at_exit_when_asked_for_by_name(flags, options):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options=options)],
        capture_output=True, text=True, env=_environment(flags), timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ProfileMode.print_summary()\n")
    assert "mine" in done.stdout


def test_nothing_is_printed_at_exit_otherwise():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options=", profile=True")],
        capture_output=True, text=True, env=_environment(""), timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("", "")


def _environment(flags):
    import os

    return {**os.environ, "KROTON_FLAGS": flags}


def test_memory_counts_freeing_and_work_in_place():
    x = T.dvector("x")
    y = T.exp(x)
    z = T.tanh(y[::-1])
    mode = ProfileMode().excluding("fusion", "inplace")
    f = kroton.function([x], T.cos(z[::-1]), mode=mode)
    f(np.zeros(1000))
    memory = memory_of(mode.stats.functions[0])
    # exp, a view, tanh, a view, cos: of three arrays two live at a time.
    assert memory.kept == 3 * 8000
    assert memory.peak == 2 * 8000
    assert memory.separate == 5 * 8000
    assert memory.saved == 3 * 8000


def test_a_configured_profile_adds_nothing_to_a_mode_that_profiles_already():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(options="") + "f([0.0, 1.0])\n"],
        capture_output=True, text=True, env=_environment("mode=PROFILE_MODE,profile=True"),
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.endswith("%  mine")]
    assert [row[0] for row in rows] == ["2"]


def test_a_profile_asked_for_of_a_function_is_its_profile_in_any_mode(mode):
    own = ProfileStats()
    f, a, b = product(mode, 4, profile=own)
    g, _, _ = product(mode, 4, profile=True)
    f(a, b)
    g(a, b)
    assert f.profile is own
    assert own.calls == g.profile.calls == 1
    assert g.profile is not mode.stats
    assert mode.stats.calls == 2
    again, _, _ = product(mode, 4, profile=mode)
    again(a, b)
    assert again.profile is mode.stats
    assert mode.stats.calls == 3


def test_a_copy_can_be_profiled():
    f, a, b = product(None, 4)
    g = f.copy(profile=True)
    g(a, b)
    assert f.profile is None
    assert g.profile.calls == 1
    own = ProfileStats()
    h = g.copy(profile=own)
    h(a, b)
    assert h.profile is own
    assert (own.calls, g.profile.calls) == (1, 2)


def test_the_time_of_failed_calls_is_counted_and_they_are_counted_apart(mode):
    f, a, b = product(mode, 4)
    for _ in range(3):
        with pytest.raises(ValueError, match="shape"):
            f(a, b[:2])
    assert (mode.stats.calls, mode.stats.failed) == (0, 3)
    spent = mode.stats.call_time
    assert spent >= mode.local_time
    assert spent > 0
    f(a, b)
    assert (mode.stats.calls, mode.stats.failed) == (1, 3)
    assert mode.stats.call_time > spent
    mode.reset()
    assert (mode.stats.calls, mode.stats.failed, mode.stats.call_time) == (0, 0, 0.0)


def test_the_first_call_is_kept_apart(mode):
    f, a, b = product(mode, 4)
    f(a, b)
    record = mode.stats.functions[0]
    seconds, thunks = record.first
    assert (seconds, thunks) == (record.seconds, record.thunk_seconds())
    assert record.steady() == (1, seconds, thunks)
    for _ in range(4):
        f(a, b)
    assert record.first == (seconds, thunks)
    n, later, inside = record.steady()
    assert n == 4
    assert later == pytest.approx(record.seconds - seconds)
    assert inside == pytest.approx(record.thunk_seconds() - thunks)


def test_a_profile_with_an_op_that_cannot_be_pickled_is_pickled_with_its_rates():
    class Local(kroton.Op):
        def __init__(self):
            self.function = lambda x: x + 1

        def make_node(self, x):
            return kroton.Apply(self, [x], [x.type()])

        def perform(self, node, inputs, output_storage):
            output_storage[0][0] = self.function(inputs[0])

    x = T.dvector("x")
    mode = ProfileMode()
    kroton.function([x], Local()(x), mode=mode)(np.ones(4))
    again = pickle.loads(pickle.dumps(mode.stats))
    (_, before), (_, after) = mode.stats.applys()[0], again.applys()[0]
    assert after.op == before.name
    assert (after.moved(), after.flops()) == (before.moved(), before.flops()) == (64, 0)
