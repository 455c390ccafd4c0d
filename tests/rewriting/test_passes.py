"""Optimizers are data: chosen by tags and names, extended from outside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest

import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.config import config
from kroton.graph import FunctionGraph
from kroton.rewriting import (
    Observers,
    Optimizer,
    Pass,
    Phase,
    PhasePass,
    RewriteProfile,
    RewriteTrace,
    RewriteWarning,
    get_optimizer,
    optimizer_names,
    passes,
    register_optimizer,
    register_pass,
    stabilize,
    unregister_pass,
)
from kroton.rewriting.pattern import exp, expm1, log, log1p, x


def softplus_graph() -> FunctionGraph:
    v = T.dvector("v")
    return FunctionGraph([v], [T.log(1 + T.exp(v + 0))])


def ops_after(optimizer: Optimizer) -> list[str]:
    fgraph = softplus_graph()
    optimizer.apply(fgraph)
    fgraph.check_integrity()
    return [node.op.name for node in fgraph.toposort()]


def names(optimizer: Optimizer) -> list[str]:
    return [p.name for p in optimizer.selected]


def test_passes_run_by_position() -> None:
    chosen = get_optimizer("fast_run").selected
    assert [p.position for p in chosen] == sorted(p.position for p in chosen)
    order = [p.name for p in chosen]
    for earlier, later in zip(
        ["canonicalize", "stabilize", "specialize", "fusion"],
        ["stabilize", "specialize", "fusion", "inplace"],
    ):
        assert order.index(earlier) < order.index(later)


def test_the_named_optimizers_differ_in_what_they_do() -> None:
    assert names(get_optimizer(None)) == names(get_optimizer("merge")) == []
    assert "canonicalize" in names(get_optimizer("fast_compile"))
    assert "fusion" not in names(get_optimizer("fast_compile"))
    assert "inplace" not in names(get_optimizer("stabilize"))
    assert "stabilize" in names(get_optimizer("stabilize"))
    assert "fusion" in names(get_optimizer("o2"))
    assert "inplace" not in names(get_optimizer("o3"))
    assert ops_after(get_optimizer(None)) == ["add", "exp", "add", "log"]
    assert ops_after(get_optimizer("fast_compile")) == ["exp", "add", "log"]
    assert ops_after(get_optimizer("fast_run")) == ["softplus"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fast_run"):
        get_optimizer("fast")
    assert "fast_run" in optimizer_names()


def test_passes_and_rules_are_excluded_by_name_and_tag() -> None:
    base = get_optimizer("fast_run")
    assert ops_after(base.excluding("stabilize", "fusion")) == ["exp", "add", "log"]
    without = base.excluding("log1p(exp(x)) -> softplus(x)", "fusion")
    assert ops_after(without) == ["exp", "log1p"]
    assert names(base.requiring("fusion")) == ["fusion"]
    assert names(get_optimizer("merge").including("fusion")) == ["fusion"]


def test_the_configuration_changes_optimizers_taken_by_name() -> None:
    with config.change_flags(optimizer_excluding="fusion:stabilize"):
        assert ops_after(get_optimizer("fast_run")) == ["exp", "add", "log"]
    with config.change_flags(optimizer_including="fusion"):
        assert "fusion" in names(get_optimizer("fast_compile"))
    with config.change_flags(optimizer_requiring="canonicalize"):
        assert names(get_optimizer("fast_run")) == ["canonicalize"]


@pytest.mark.parametrize(
    "setting", ["optimizer_including", "optimizer_excluding", "optimizer_requiring"]
)
def test_a_setting_that_names_no_pass_rule_or_tag_is_refused(setting: str) -> None:
    before = getattr(config, setting)
    for wrong, close in (
        ("fuson", "'fusion'"),
        ("fusion:log(1+x) -> log1p(x)", r"'log\(1 \+ x\) -> log1p\(x\)'"),
    ):
        with pytest.raises(ValueError, match=rf"config.{setting}: .*did you mean {close}"):
            setattr(config, setting, wrong)
        assert getattr(config, setting) == before
        # What was not asked when it was set is asked when it is used.
        config.__dict__[setting] = wrong
        try:
            with pytest.raises(ValueError, match="no pass, rule or tag"):
                get_optimizer("fast_run")
        finally:
            config.__dict__[setting] = before


def test_a_rule_with_its_own_tag_waits_for_it() -> None:
    rule = stabilize.rule(exp(x) - 2, expm1(x) - 1, tags=("test_only",))
    try:
        v = T.dvector("v")
        for optimizer, fires in (
            (get_optimizer("fast_run"), False),
            (get_optimizer("fast_run").including("test_only"), True),
        ):
            fgraph = FunctionGraph([v], [T.exp(v) - 2])
            optimizer.excluding("fusion", "inplace").apply(fgraph)
            assert ("expm1" in [n.op.name for n in fgraph.toposort()]) == fires
    finally:
        stabilize.remove(rule.name)


@dataclass(frozen=True)
class Noted(Pass):
    def apply(self, fgraph: Any, observer: Any = None, selection: Any = None) -> None:
        fgraph.noted = True


def test_a_pass_registered_later_is_run_by_optimizers_made_before() -> None:
    optimizer = get_optimizer("fast_run")
    register_pass(Noted("noted", frozenset({"fast_run"}), 1.2))
    try:
        with pytest.raises(ValueError, match="already is a pass"):
            register_pass(Noted("noted"))
        fgraph = softplus_graph()
        optimizer.apply(fgraph)
        assert fgraph.noted  # type: ignore[attr-defined]
        assert "noted" in [p.name for p in passes()]
    finally:
        unregister_pass("noted")
    with pytest.raises(ValueError, match="no pass named"):
        unregister_pass("noted")


def test_an_optimizer_of_ones_own_is_found_by_its_name() -> None:
    phase = Phase("mine")
    phase.rule(log(1 + x), log1p(x))
    mine = Optimizer(
        (PhasePass("mine", frozenset({"mine"}), phases=(phase,)),), frozenset({"fast_run", "mine"})
    )
    register_optimizer("only_mine", mine)
    with pytest.raises(ValueError, match="already is an optimizer"):
        register_optimizer("only_mine", mine)
    assert ops_after(get_optimizer("only_mine")) == ["add", "exp", "log1p"]


def test_optimizers_are_values() -> None:
    a = get_optimizer("fast_run").excluding("fusion")
    b = get_optimizer("fast_run").excluding("fusion")
    assert a == b
    assert hash(a) == hash(b)
    assert a != get_optimizer("fast_run")


def test_observers_hear_of_passes_and_rules(capsys: Any) -> None:
    trace, profile = RewriteTrace(), RewriteProfile()
    get_optimizer("fast_run").apply(softplus_graph(), Observers([trace, profile]))
    assert [line.rule for line in trace.replacements][:1] == ["x + 0 -> x"]
    assert profile.passes["stabilize"].replacements == 2
    assert profile.rules["canonicalize", "x + 0 -> x"].replacements == 1
    with config.change_flags(optimizer_verbose=True):
        get_optimizer("fast_run").apply(softplus_graph())
    assert "stabilize: log1p(exp(x)) -> softplus(x)" in capsys.readouterr().err


def tried(build: Any, n: int) -> int:
    """How many times fast_run tries a rule on the graph of size n."""
    v, w = T.dvectors("v", "w")
    profile = RewriteProfile()
    fgraph = FunctionGraph([v, w], [build(v, w, n)])
    get_optimizer("fast_run").apply(fgraph, profile)
    return sum(cost.calls for cost in profile.rules.values())


def chain(v: Any, w: Any, n: int) -> Any:
    out = v
    for k in range(n):
        out = (T.sin(out) + 0, out * w, T.exp(out) * 2 * 3)[k % 3]
    return out


def tree(v: Any, w: Any, n: int) -> Any:
    level = [v * float(k + 2) for k in range(n)]
    while len(level) > 1:
        level = [a + T.log(1 + b) for a, b in zip(level[::2], level[1::2])] + level[
            len(level) & ~1 :
        ]
    return level[0]


def with_gradient(v: Any, w: Any, n: int) -> Any:
    return T.grad(chain(v, w, n).sum(), v)


def with_shapes(v: Any, w: Any, n: int) -> Any:
    out, total = v, v.shape[0]
    for _ in range(n):
        out = T.tanh(out) * w
        total = total + out.shape[0]
    return total


def with_extents_as_factors(v: Any, w: Any, n: int) -> Any:
    out = v
    for _ in range(n):
        out = out * T.cast(out.shape[0], "float64") + w
    return out


@pytest.mark.parametrize(
    "build", [chain, tree, with_gradient, with_shapes, with_extents_as_factors]
)
def test_the_work_grows_linearly(build: Any) -> None:
    small, large = tried(build, 32), tried(build, 320)
    assert large <= 12 * small


@dataclass(frozen=True)
class Broken(Pass):
    cyclic: bool = False

    def apply(self, fgraph: Any, observer: Any = None, selection: Any = None) -> None:
        if self.cyclic:
            first = fgraph.toposort()[0]
            first.inputs[0] = fgraph.outputs[0]
            fgraph._order = None
        raise KeyError("oh")


def broken_optimizer(**fields: Any) -> Optimizer:
    broken = Broken("broken", frozenset({"fast_run"}), 1.2, **fields)
    return Optimizer((*passes(), broken), frozenset({"fast_run"}), frozenset({"fusion", "inplace"}))


def test_a_pass_that_raises_is_reported_and_skipped(monkeypatch: Any) -> None:
    with pytest.warns(RewriteWarning, match=r"(?s)the pass 'broken' failed, and was.*KeyError"):
        assert ops_after(broken_optimizer()) == ["softplus"]
    with config.change_flags(on_opt_error="raise"), pytest.raises(KeyError) as caught:
        ops_after(broken_optimizer())
    assert caught.value.__notes__ == ["the pass 'broken' failed"]
    with config.change_flags(on_opt_error="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ops_after(broken_optimizer()) == ["softplus"]
    seen: list[Any] = []
    monkeypatch.setattr("pdb.post_mortem", seen.append)
    with config.change_flags(on_opt_error="pdb"):
        assert ops_after(broken_optimizer()) == ["softplus"]
    assert len(seen) == 1


def test_a_pass_that_raises_and_leaves_a_cycle_is_not_skipped() -> None:
    with pytest.raises(KeyError) as caught:
        ops_after(broken_optimizer(cyclic=True))
    assert caught.value.__notes__ == [
        "the pass 'broken' failed, and left a graph that cannot be computed"
    ]


def test_an_error_of_a_rule_is_not_one_of_its_pass_as_well() -> None:
    phase = Phase("mine")
    phase.rewriter("exp", name="wrong")(lambda fgraph, node: node.nonsense)
    mine = Optimizer((PhasePass("mine", phases=(phase,)),), frozenset({"fast_run", "mine"}))
    with config.change_flags(on_opt_error="raise"), pytest.raises(AttributeError) as caught:
        mine.apply(softplus_graph())
    (note,) = caught.value.__notes__
    assert note.startswith("the rule 'wrong' of mine failed")


def test_passes_that_are_listed_are_run_by_position() -> None:
    phase = Phase("logarithms")
    phase.rule(log(1 + x), log1p(x))
    rare = phase.rule(exp(x) * 1, exp(x), tags="rare")
    first = PhasePass("first", position=1.0, phases=(phase,))
    second = Noted("noted", position=0.5)
    chosen = Optimizer(passes=[first, second])  # type: ignore[arg-type]
    assert names(chosen) == ["noted", "first"]
    assert ops_after(chosen) == ["add", "exp", "log1p"]
    assert names(chosen.excluding("first")) == ["noted"]
    assert hash(chosen) == hash(Optimizer((first, second)))
    v = T.dvector("v")
    for optimizer, replaced in ((chosen, False), (chosen.including("rare"), True)):
        fgraph = FunctionGraph([v], [T.exp(v) * 1])
        optimizer.apply(fgraph)
        assert (len(fgraph.apply_nodes) == 1) == replaced
    assert names(Optimizer(passes=())) == []
    assert names(chosen.excluding(rare.name)) == ["noted", "first"]


@pytest.mark.parametrize("how", ["including", "excluding", "requiring"])
def test_a_mode_refuses_names_that_nothing_has_as_the_settings_do(how: str) -> None:
    for optimizer in (get_optimizer("fast_run"), Optimizer((Noted("noted"),))):
        change = getattr(Mode("py", optimizer), how)
        with pytest.raises(ValueError, match="no pass, rule or tag 'fuson'; did you mean 'fusion'"):
            change("inplace:fuson")
        with pytest.raises(TypeError, match="names and tags, not by 3"):
            change(3)
        tags = {"including": "included", "excluding": "excluded", "requiring": "required"}
        for given in (("fusion", "inplace"), ("fusion:inplace",)):
            assert {"fusion", "inplace"} <= getattr(change(*given).optimizer, tags[how])
    assert Mode("py", Optimizer((Noted("noted"),))).excluding("noted").optimizer.selected == ()


def test_a_rule_that_is_included_by_name_is_applied_by_its_pass() -> None:
    rule = "log1p(exp(x)) -> softplus(x)"
    v = T.dvector("v")
    for base in ("merge", "fast_compile"):
        fgraph = FunctionGraph([v], [T.log1p(T.exp(v)) + T.log(1 + v)])
        get_optimizer(base).including(rule).apply(fgraph)
        assert sorted(node.op.name for node in fgraph.apply_nodes) == [
            "add", "add", "log", "softplus",
        ]  # fmt: skip
    assert "stabilize" not in names(get_optimizer("merge").including(rule).excluding("stabilize"))
    assert names(get_optimizer("merge").including("x + 0 -> x")) == ["canonicalize"]


def test_what_is_no_pass_or_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match="derived from Pass, not 3"):
        register_pass(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tags of the pass 'noted' are a frozenset of strings"):
        register_pass(Noted("noted", "fast_run"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="derived from Pass, not 'canonicalize'"):
        Optimizer(passes=("canonicalize",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"or None, not \['canonicalize'\]; single passes"):
        Mode("c|py", ["canonicalize"])
