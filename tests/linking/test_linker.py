"""Linkers: which implementation serves each Apply, memory, errors, and in-place safety."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import gof
from kroton._kernels.kernel import CallableKernel
from kroton.compile.mode import predefined_linkers
from kroton.graph import Apply, Op
from kroton.linking.comparison import BadKernelOutput
from kroton.linking.kernels import kernel_for, registered, select_kernel, unregister


class Twice(Op):
    """Doubles; has no compiled kernel."""

    __props__ = ()

    def make_node(self, x):
        x = T.as_tensor_variable(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] * 2


def expression():
    x = T.dmatrix("x")
    return x, T.exp(x @ x.T).sum(axis=0) + x.mean()


@pytest.mark.parametrize("name", ["py", "c", "c|py", "c&py"])
def test_names_and_objects_mean_the_same(name):
    x, y = expression()
    value = np.random.default_rng(0).normal(size=(3, 3))
    by_name = kroton.function([x], y, mode=kroton.Mode(linker=name))
    classes = {
        "py": gof.PerformLinker,
        "c": gof.CLinker,
        "c|py": gof.OpWiseCLinker,
        "c&py": gof.DualLinker,
    }
    by_object = kroton.function([x], y, mode=kroton.Mode(linker=classes[name]()))
    np.testing.assert_array_equal(by_name(value), by_object(value))
    assert type(by_name.maker.mode.linker) is classes[name]
    np.testing.assert_allclose(by_name(value), np.exp(value @ value.T).sum(0) + value.mean())


def test_each_linker_chooses_as_it_says():
    x, y = expression()
    kinds = {
        name: set(kroton.function([x], y, mode=kroton.Mode(name)).maker.linked.implementations)
        for name in ("py", "c", "c|py", "c&py")
    }
    assert kinds == {"py": {"py"}, "c": {"c"}, "c|py": {"c"}, "c&py": {"c&py"}}


def test_a_program_lists_its_kernels():
    x, y = expression()
    text = str(kroton.function([x], y, mode=kroton.Mode("c|py")).program)
    assert text.startswith("Program of ")
    assert "[c] Dot22 by DotKernel" in text
    assert "->" in text


def test_linker_c_lists_every_apply_without_a_kernel():
    x = T.dvector("x")
    with pytest.raises(gof.MissingKernelError) as caught:
        kroton.function([x], Twice()(Twice()(x) + 1), mode=kroton.Mode("c"))
    text = str(caught.value)
    assert text.count("Twice on (TensorType(float64, vector))") == 2
    assert "c|py" in text
    f = kroton.function([x], Twice()(x) + 1, mode=kroton.Mode("c|py"))
    assert sorted(f.maker.linked.implementations) == ["c", "py"]
    assert f([1.0]).tolist() == [3]


def test_a_registered_kernel_is_selected_and_compared():
    x = T.dvector("x")

    def wrong(inputs, storage):
        storage[0][0] = inputs[0] * 2 + (inputs[0] > 5)

    @kernel_for(Twice)
    def select(node):
        return CallableKernel(wrong, 1, 1, "wrong")

    try:
        assert select in registered()[Twice]
        f = kroton.function([x], Twice()(x), mode=kroton.Mode("c"))
        assert f([6.0]).tolist() == [13]
        g = kroton.function([x], Twice()(x), mode=kroton.Mode("c&py"))
        assert g([3.0]).tolist() == [6]
        with pytest.raises(BadKernelOutput, match=r"index \(1,\).*12.*13"):
            g([1.0, 6.0])
    finally:
        unregister(select)
    assert select_kernel(Twice().make_node(x)) is None


def test_linkers_can_be_registered_once():
    class Mine(gof.PerformLinker):
        name = "mine"

    kroton.register_linker("mine", Mine())
    try:
        x = T.dscalar("x")
        assert kroton.function([x], x + 1, mode=kroton.Mode("mine"))(1) == 2
        with pytest.raises(ValueError, match="already is a linker named 'mine'"):
            kroton.register_linker("mine", Mine())
    finally:
        del predefined_linkers["mine"]


@pytest.mark.usefixtures("fast_run")
def test_intermediates_die_after_their_last_reader():
    x = T.dmatrix("x")
    y = x @ x
    for _ in range(6):
        y = y @ x
    f = kroton.function([x], y)
    drops = f.program.drops
    dropped = [cell for d in drops for cell in d]
    assert len(dropped) == len(set(dropped))
    # Six of the seven products, and the argument.
    assert len(dropped) == 7
    assert [len(d) for d in drops] == [0, 1, 1, 1, 1, 1, 2]


@pytest.mark.usefixtures("fast_run")
def test_in_place_updates_run_last_and_are_guarded():
    x = T.dvector("x")
    w = kroton.shared(np.ones(3), "w")
    f = kroton.function([x], (w * x).sum(), updates=[(w, w - x)])
    assert f.program.commit == len(f.maker.linked.order) - 1
    assert f.program.guards[-1] != ()
    before = w.get_value(borrow=True)
    f(np.ones(3))
    assert before.tolist() == [1, 1, 1]
    del before
    address = w.get_value(borrow=True).ctypes.data
    f(np.ones(3))
    assert w.get_value(borrow=True).ctypes.data == address


def test_an_update_that_something_else_reads_is_not_done_in_place():
    w = kroton.shared(np.ones(3), "w")
    f = kroton.function([], [w, (w + 1).sum()], updates=[(w, w + 1)])
    old, total = f()
    assert old.tolist() == [1, 1, 1]
    assert total == 6
    assert w.get_value().tolist() == [2, 2, 2]


def test_errors_under_high_verbosity_show_the_graph():
    x, y = T.dvectors("x", "y")
    f = kroton.function([x, y], T.exp(x) + y)
    with (
        kroton.config.change_flags(exception_verbosity="high"),
        pytest.raises(ValueError, match=r"graph around the Apply(.|\n)*x: min 1.0, max 2.0"),
    ):
        f([1.0, 2.0], [1.0, 2.0, 3.0])


def test_programs_are_the_same_under_every_hash_seed(tmp_path):
    import os
    import subprocess
    import sys

    code = (
        "import numpy as np, kroton, kroton.tensor as T\n"
        "x, y = T.dmatrix('x'), T.lvector('y'); w = kroton.shared(np.ones((3, 4)), 'w')\n"
        "c = T.nnet.categorical_crossentropy(T.nnet.softmax(x @ w), y).mean() + (w**2).sum()\n"
        "f = kroton.function([x, y], c, updates=[(w, w - 0.1 * T.grad(c, w))])\n"
        "print(kroton.debugprint(f, file='str'))\n"
        "v = f(np.arange(6.0).reshape(2, 3) / 7, [0, 3]); print(v.tobytes().hex())\n"
        "print(w.get_value().tobytes().hex())\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(seen) == 1
