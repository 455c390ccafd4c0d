"""debugprint, pp and Print."""

import io

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.graph import FunctionGraph
from kroton.printing import Print, char_from_number, debugprint, pp, register_pp


def test_a_tree_shows_each_apply_once():
    x = T.dvector("x")
    y = T.exp(x)
    text = debugprint(y * y + x, file="str")
    assert text.count("Elemwise{exp}") == 2
    assert text.count("...") == 1
    assert text.splitlines()[0].startswith("Elemwise{add} [id A]")


def test_depth_types_names_and_ids_can_be_chosen():
    x = T.dvector("x")
    y = T.exp(x)
    y.name = "y"
    z = T.log(y)
    assert debugprint(z, depth=1, file="str").count("\n") == 1
    assert "<TensorType(float64, vector)>" in debugprint(z, print_type=True, file="str")
    assert "x" not in debugprint(z, stop_on_name=True, file="str").replace("exp", "")
    assert "[id" not in debugprint(z, ids="", file="str")
    assert "[id 0]" in debugprint(z, ids="int", file="str")
    with pytest.raises(ValueError, match="ids is"):
        debugprint(z, ids="letters")
    with pytest.raises(TypeError, match="depth must be an int"):
        debugprint(z, depth="deep")
    with pytest.raises(TypeError, match="cannot print an object of type int"):
        debugprint(3)


def test_a_function_shows_position_implementation_and_what_is_overwritten():
    x = T.dvector("x")
    w = kroton.shared(np.ones(2), "w")
    for linker, mark in (("py", "[py]"), ("c|py", "[c]"), ("c&py", "[c&py]")):
        f = kroton.function([x], updates=[(w, w + x)], mode=kroton.Mode(linker))
        text = debugprint(f, file="str")
        assert mark in text
        assert "{d: [[0, 0]]}" in text
        assert " 0 " in text


def test_values_and_clients_can_be_shown():
    w = kroton.shared(np.ones(2), "w")
    f = kroton.function([], w * 2)
    assert "array([1., 1.])" in debugprint(f, print_storage=True, file="str")
    assert "clients: 1" in debugprint(f, print_clients=True, file="str")


def test_the_values_of_constants_and_of_defaults_can_be_shown():
    x, y = T.dvectors("x y")
    f = kroton.function([x, kroton.In(y, value=[3.0, 4.0])], x + y * T.constant([5.0, 6.0]))
    shown = debugprint(f, print_storage=True, file="str").splitlines()
    assert [line.split("] ")[-1] for line in shown if "[id" in line and "array" in line] == [
        "array([3., 4.])", "array([5., 6.])",
    ]  # fmt: skip
    assert "array" not in debugprint(f, file="str")


def test_printing_goes_where_it_is_told(capsys):
    x = T.dscalar("x")
    stream = io.StringIO()
    assert debugprint(x, file=stream) is stream
    assert stream.getvalue() == "x [id A]\n"
    kroton.dprint(x)
    assert capsys.readouterr().out == "x [id A]\n"


def test_letters_count_on_after_z():
    assert [char_from_number(n) for n in (0, 25, 26, 27, 26**2)] == ["A", "Z", "BA", "BB", "BAA"]


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda x, y: x * 2 + T.exp(y), "x * 2.0 + exp(y)"),
        (lambda x, y: (x + y) * x, "(x + y) * x"),
        (lambda x, y: x - (y - x), "x - (y - x)"),
        (lambda x, y: -(x + y), "-(x + y)"),
        (lambda x, y: (x**y) ** 2, "(x ** y) ** 2.0"),
        (lambda x, y: x / (y * x), "x / (y * x)"),
        (lambda x, y: T.lt(x, y), "x < y"),
    ],
)
def test_mathematics_has_the_brackets_it_needs(build, text):
    x, y = T.dscalars("x y")
    assert pp(build(x, y)) == text


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda m, v, k: m.sum(), "sum(m)"),
        (lambda m, v, k: m.sum(axis=0), "sum(m, axis=0)"),
        (lambda m, v, k: (m + v).prod(axis=1), "prod(m + v, axis=1)"),
        (lambda m, v, k: m.max(axis=0, keepdims=True), "max(m, axis=0)[None]"),
        (lambda m, v, k: m.any(axis=1), "any(m, axis=1)"),
        (lambda m, v, k: m.sum(dtype="complex128"), "sum(m, dtype='complex128')"),
        (lambda m, v, k: T.sum(m, acc_dtype="complex128", dtype="complex128"),
         "sum(m, dtype='complex128')"),
        (lambda m, v, k: m.argmax(axis=1), "argmax(m, axis=1)"),
        (lambda m, v, k: T.cumsum(m, axis=0), "cumsum(m, axis=0)"),
        (lambda m, v, k: m[0, 1:], "m[0, 1:]"),
        (lambda m, v, k: (m + 1)[k, ::-2], "(m + 1.0)[k, ::-2]"),
        (lambda m, v, k: (-v)[: k + 1], "(-v)[:k + 1]"),
        (lambda m, v, k: v[()], "v[...]"),
        (lambda m, v, k: m[m > 0], "m[m > 0.0]"),
        (lambda m, v, k: m[[0, 1]], "m[[0, 1]]"),
        (lambda m, v, k: T.set_subtensor(m[0], v), "set_subtensor(m[0], v)"),
        (lambda m, v, k: T.inc_subtensor(m[:, [0, 1]], 2.0, inplace=True),
         "inc_subtensor(m[:, [0, 1]], 2.0, inplace=True)"),
        (lambda m, v, k: m.T, "m.T"),
        (lambda m, v, k: m[:, None], "m[:, None]"),
        (lambda m, v, k: m.dimshuffle(1, "x", 0), "m.dimshuffle(1, 'x', 0)"),
        (lambda m, v, k: T.dtensor3("t").transpose(0, 2, 1), "t.transpose(0, 2, 1)"),
        (lambda m, v, k: T.row("r").squeeze(), "squeeze(r, axis=0)"),
        (lambda m, v, k: T.join(1, m, m), "join(1, m, m)"),
        (lambda m, v, k: T.split(m, [1, 2], 2, axis=1)[1], "split(m, [1, 2], 2, axis=1)[1]"),
        (lambda m, v, k: T.repeat(v, 2), "repeat(v, 2, axis=0)"),
        (lambda m, v, k: m.reshape((2, 3)), "m.reshape([2, 3])"),
        (lambda m, v, k: m.reshape((k, 3)), "m.reshape([k, 3])"),
        (lambda m, v, k: m.shape[0] * 2, "m.shape[0] * 2"),
        (lambda m, v, k: m.astype("float32"), "cast(m, 'float32')"),
        (lambda m, v, k: T.nnet.softmax(m, axis=0), "softmax(m, axis=0)"),
        (lambda m, v, k: T.nnet.softmax(m), "softmax(m)"),
        (lambda m, v, k: T.specify_shape(v, (3,)), "specify_shape(v, (3,))"),
        (lambda m, v, k: T.unbroadcast(T.row("r"), 0), "unbroadcast(r, 0)"),
        (lambda m, v, k: T.diagonal(m, 1), "diagonal(m, offset=1)"),
        (lambda m, v, k: T.alloc(1.5, 2, k), "alloc(1.5, 2, k)"),
        (lambda m, v, k: T.nonzero(m)[1], "nonzero(m)[1]"),
        (lambda m, v, k: T.constant(np.arange(1000.0)), "[0., 1., ..., 998., 999.]"),
    ],
)  # fmt: skip
def test_tensor_ops_are_printed_as_the_user_writes_them(build, text):
    assert pp(build(T.dmatrix("m"), T.dvector("v"), T.lscalar("k"))) == text


def test_a_printer_can_be_registered_for_an_op_and_nothing_else():
    with pytest.raises(TypeError, match="takes an Op class and a function"):
        register_pp(T.exp, "exp")


def test_shared_subexpressions_end_in_dots_before_memory_does():
    x = T.dscalar("x")
    for _ in range(64):
        x = x + x
    text = pp(x)
    assert text.endswith("...")
    assert len(text) < 20_000_000


def test_print_prints_what_passes_and_is_transparent(capsys):
    x = T.dvector("x")
    y = Print("x is", attrs=("__str__", "shape"))(x)
    f = kroton.function([x], [y * 2, T.grad((y**2).sum(), x)])
    double, gradient = f([1.0, 2.0])
    assert double.tolist() == [2, 4]
    assert gradient.tolist() == [2, 4]
    out = capsys.readouterr().out
    assert "x is __str__ = [1. 2.]" in out
    assert "x is shape = (2,)" in out


def test_print_takes_one_variable():
    with pytest.raises(TypeError, match="one Variable"):
        Print("x")(3)


def test_a_rewrite_trace_says_what_replaced_what_in_order():
    x = T.dvector("x")
    w = kroton.shared(np.ones(3), name="w")
    f = kroton.function([x], T.log(1 + x) * 1, updates=[(w, w - 0.1 * x)])
    before = kroton.debugprint(f, file="str")
    trace = kroton.printing.rewrite_trace(f)
    found = [(line.pass_name, line.rule, line.old, line.new) for line in trace.replacements]
    assert ("canonicalize", "x * 1 -> x", "log(1.0 + x) * 1.0", "log(1.0 + x)") in found
    assert ("stabilize", "log(1 + x) -> log1p(x)", "log(1.0 + x)", "log1p(x)") in found
    assert [line.pass_name for line in trace.replacements][-1] == "inplace"
    assert all(line.seconds > 0 for line in trace.replacements)
    assert kroton.debugprint(f, file="str") == before
    assert f([0.0, 0.0, 0.0]).tolist() == [0, 0, 0]


def test_a_rewrite_trace_has_the_time_of_each_pass_and_rule():
    x = T.dvector("x")
    trace = kroton.printing.rewrite_trace(T.log(1 + x))
    names = [p.name for p in kroton.compile.mode.get_default_mode().optimizer.selected]
    assert list(trace.profile.passes) == names
    cost = trace.profile.rules["stabilize", "log(1 + x) -> log1p(x)"]
    assert cost.replacements == 1
    assert 0 < cost.seconds <= trace.profile.passes["stabilize"].seconds


def test_a_rewrite_trace_is_printed_where_it_is_told(tmp_path):
    x = T.dvector("x")
    graph = FunctionGraph([x], [T.log(1 + x)])
    text = kroton.printing.rewrite_trace(graph, file="str")
    assert "log(1.0 + x)  ->  log1p(x)" in text
    assert graph.outputs[0].owner.op.name == "log"
    with open(tmp_path / "trace.txt", "w") as file:
        trace = kroton.printing.rewrite_trace(graph, mode="FAST_COMPILE", file=file)
    assert (tmp_path / "trace.txt").read_text() == f"{trace}\n"
    assert "stabilize" not in trace.profile.passes
    optimizer = kroton.rewriting.get_optimizer("fast_run").excluding("stabilize")
    assert "log1p" not in kroton.printing.rewrite_trace(graph, mode=optimizer, file="str")
    with pytest.raises(TypeError, match="takes a function"):
        kroton.printing.rewrite_trace(3)


def test_an_outline_stops_where_it_is_told():
    x = T.dvector("x")
    assert kroton.printing.outline(T.exp(T.log(T.sin(x))), depth=2) == "exp(log(...))"


def test_variables_and_functions_print_themselves():
    x = T.dvector("x")
    f = kroton.function([x], x * 2)
    assert (x * 2).dprint(file="str") == debugprint(x * 2, file="str")
    assert f.dprint(file="str", print_type=True) == debugprint(f, file="str", print_type=True)
