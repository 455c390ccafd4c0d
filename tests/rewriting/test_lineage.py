"""The lineage's ways to register rewrites reach the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import gof
from kroton.graph import Apply, FunctionGraph, Op
from kroton.rewriting import canonicalize, get_optimizer, specialize, unregister_pass
from kroton.rewriting.pattern import elemwise_of
from kroton.tensor.opt import register_canonicalize, register_specialize


class Marker(Op):
    def make_node(self, x):
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, outputs):
        outputs[0][0] = inputs[0].copy()


marker = Marker()


def names_of(fgraph: FunctionGraph) -> list[str]:
    return [str(node.op) for node in fgraph.toposort()]


def rewritten(lopt: gof.LocalOptimizer, inputs: list, *outputs) -> FunctionGraph:
    fgraph = FunctionGraph(inputs, list(outputs))
    gof.in2out(lopt).apply(fgraph)
    return fgraph


@contextmanager
def temporary(phase, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        phase.remove(name)


def test_a_pattern_is_substituted_with_its_variables() -> None:
    x, y = T.dvectors("x", "y")
    sub = gof.PatternSub((T.log, (T.mul, "a", "b")), (T.add, (T.log, "a"), (T.log, "b")))
    fgraph = rewritten(sub, [x, y], T.log(x * y))
    assert names_of(fgraph) == ["Elemwise{log}", "Elemwise{log}", "Elemwise{add}"]


def test_a_variable_of_a_pattern_is_one_variable() -> None:
    x, y = T.dvectors("x", "y")
    sub = gof.PatternSub((T.add, "a", "a"), (T.mul, 2, "a"))
    assert names_of(rewritten(sub, [x], x + x)) == ["Elemwise{mul}"]
    assert names_of(rewritten(sub, [x, y], x + y)) == ["Elemwise{add}"]


def test_numbers_in_a_pattern_are_constants_of_that_value() -> None:
    x = T.dvector("x")
    sub = gof.PatternSub((T.log, (T.add, 1, "a")), (T.log1p, "a"))
    assert names_of(rewritten(sub, [x], T.log(1 + x))) == ["Elemwise{log1p}"]
    assert len(names_of(rewritten(sub, [x], T.log(2 + x)))) == 2


def test_a_pattern_leaves_shared_intermediates_unless_told() -> None:
    x = T.dvector("x")
    inner = 1 + x
    pattern, result = (T.log, (T.add, 1, "a")), (T.log1p, "a")
    kept = rewritten(gof.PatternSub(pattern, result), [x], T.log(inner), inner)
    assert "Elemwise{log}" in names_of(kept)
    free = gof.PatternSub(pattern, result, allow_multiple_clients=True)
    assert "Elemwise{log1p}" in names_of(rewritten(free, [x], T.log(inner), inner))


def test_a_constraint_is_asked() -> None:
    x, m = T.dvector("x"), T.dmatrix("m")
    matrices = {"pattern": "a", "constraint": lambda v: v.type.ndim == 2}
    sub = gof.PatternSub((T.exp, matrices), (T.expm1, "a"))
    assert names_of(rewritten(sub, [x, m], T.exp(x), T.exp(m))) == [
        "Elemwise{exp}",
        "Elemwise{expm1}",
    ]


def test_identities_are_looked_through() -> None:
    x = T.dvector("x")

    def through(var):
        node = var.owner
        return node.inputs[0] if node is not None and node.op == marker else None

    sub = gof.PatternSub((T.log, (T.exp, "a")), "a", skip_identities_fn=through)
    assert rewritten(sub, [x], T.log(marker(T.exp(x)))).toposort() == []


def test_an_op_is_put_in_the_place_of_another_or_removed() -> None:
    x = T.dvector("x")
    assert names_of(rewritten(gof.OpSub(T.exp, T.expm1), [x], T.exp(x))) == ["Elemwise{expm1}"]
    assert names_of(rewritten(gof.OpRemove(marker), [x], T.exp(marker(x)))) == ["Elemwise{exp}"]


def test_a_local_optimizer_is_tried_only_on_what_it_tracks() -> None:
    x = T.dvector("x")
    seen = []

    @gof.local_optimizer([T.exp, Marker])
    def look(node):
        seen.append(node.op)
        return False

    rewritten(look, [x], T.log(marker(T.exp(x))))
    assert seen == [elemwise_of("exp"), marker]
    assert look.transform(T.log(x).owner) is False


def test_a_registered_local_optimizer_runs_in_compiled_functions() -> None:
    x = T.dvector("x")

    @register_canonicalize("fast_compile")
    @gof.local_optimizer([Marker])
    def remove_marker(fgraph, node):
        return [node.inputs[0]]

    with temporary(canonicalize, "remove_marker"):
        for mode in ("FAST_RUN", "FAST_COMPILE"):
            f = kroton.function([x], marker(x) * 2, mode=mode)
            assert not any(isinstance(node.op, Marker) for node in f.maker.fgraph.apply_nodes)
            np.testing.assert_array_equal(f([1.0, 2.0]), [2.0, 4.0])
        excluded = kroton.get_mode("FAST_RUN").excluding("remove_marker")
        f = kroton.function([x], marker(x) * 2, mode=excluded)
        assert any(isinstance(node.op, Marker) for node in f.maker.fgraph.apply_nodes)
    register_specialize(gof.OpRemove(marker), name="no_marker")
    with temporary(specialize, "no_marker"):
        assert kroton.function([x], marker(x)).maker.fgraph.toposort() is not None


def test_optdb_registers_and_finds_passes() -> None:
    x = T.dvector("x")
    gof.optdb.register("no_markers", gof.OpRemove(marker), 1.2, "fast_run", "marking")
    try:
        assert "no_markers" in gof.optdb
        names = [p.name for p in gof.optdb.query("+fast_run", "-inplace").selected]
        assert names.index("canonicalize") < names.index("no_markers") < names.index("fusion")
        assert "inplace" not in " ".join(names)
        assert [p.name for p in gof.optdb.query("fast_run", "&marking").selected] == ["no_markers"]
        query = gof.Query(include=frozenset({"fast_run"})).requiring("marking")
        fgraph = FunctionGraph([x], [marker(x)])
        gof.optdb.query(query).apply(fgraph)
        assert fgraph.toposort() == []
        assert kroton.compile.optdb["canonicalize"].phase is canonicalize
    finally:
        unregister_pass("no_markers")


@pytest.mark.usefixtures("fast_run")
def test_a_function_of_the_graph_is_a_pass() -> None:
    seen = []

    @gof.optimizer
    def look(fgraph):
        seen.append(len(fgraph.apply_nodes))

    gof.optdb.register("look", look, 1.1, "fast_run")
    try:
        x = T.dvector("x")
        kroton.function([x], T.exp(x))
    finally:
        unregister_pass("look")
    assert seen == [1]


def test_what_is_no_rewrite_is_refused_with_what_would_be() -> None:
    with pytest.raises(TypeError, match="names no Op"):
        gof.OpRemove(T.arange)
    with pytest.raises(ValueError, match="None for all"):
        gof.local_optimizer([])
    with pytest.raises(TypeError, match="local_optimizer"):
        register_canonicalize(lambda node: False)
    with pytest.raises(TypeError, match="apply"):
        gof.optdb.register("nothing", 3, 1.0, "fast_run")
    with pytest.raises(KeyError, match="canonicalize"):
        gof.optdb["nowhere"]


def test_patterns_that_could_only_fail_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'y' of out_pattern stands for nothing: .*sin\(x\)"):
        gof.PatternSub((T.sin, "x"), (T.cos, "y"))
    with pytest.raises(TypeError, match=r"sin\(x, y\): sin takes 1 argument\(s\), not 2"):
        gof.PatternSub((T.exp, (T.sin, "x", "y")), "x")
    with pytest.raises(TypeError, match=r"add\(x\): missing a required argument"):
        gof.PatternSub((T.sin, "x"), (T.add, "x"))
    with pytest.raises(TypeError, match="not a callable"):
        gof.PatternSub((T.sin, "x"), (3, "x"))
    with pytest.raises(TypeError, match=r"not \(\)"):
        gof.PatternSub((T.sin, "x"), (T.cos, ()))
    anything = {"pattern": "x", "constraint": lambda v: True}
    gof.PatternSub((marker, anything), (T.sum, (elemwise_of("neg"), "x")))


def test_a_rule_of_a_pass_is_included_and_excluded_by_its_name() -> None:
    x = T.dvector("x")
    both = gof.in2out(gof.OpRemove(marker), gof.OpSub(T.exp, T.expm1), name="both")
    gof.optdb.register("both", both, 1.2, "seldom")
    try:
        first, second = (rule.name for rule in both.rules)
        for optimizer, left in (
            (get_optimizer("merge").including(second), ["Marker", "Elemwise{expm1}"]),
            (get_optimizer("merge").including("seldom"), ["Elemwise{expm1}"]),
            (get_optimizer("merge").including("seldom").excluding(second), ["Elemwise{exp}"]),
        ):
            fgraph = FunctionGraph([x], [T.exp(marker(x))])
            optimizer.apply(fgraph)
            assert [name.removesuffix("()") for name in names_of(fgraph)] == left
        assert first != second
    finally:
        unregister_pass("both")
