"""Patterns of many terms: what they find in sums and products, however these are nested."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import kroton
import kroton.tensor as T
from kroton.graph import FunctionGraph, Variable
from kroton.rewriting import Phase, RewriteProfile, apply_rules, get_optimizer, rules_of, specialize
from kroton.rewriting.pattern import (
    C,
    and_,
    cos,
    elemwise_of,
    exp,
    log,
    log1p,
    maximum,
    nary,
    sin,
    sqr,
    sub,
    variables,
    w,
    x,
    y,
    z,
)

INPUTS = T.dvectors("a", "b", "c", "d")
VALUES = [np.array([0.3, -1.2]), np.array([2.0, 0.7]), np.array([-0.4, 1.1]), np.array([1.5, 3.0])]


def run(fgraph: FunctionGraph, *rules: Any, **options: Any) -> int:
    """How many times rules fire, which must not change any value."""
    phase = Phase("p")
    for lhs, rhs in rules:
        phase.rule(lhs, rhs, **options)
    was = values(fgraph)
    count = apply_rules(fgraph, rules_of((phase,)), None, None, phase.name)
    fgraph.check_integrity()
    for before, after in zip(was, values(fgraph)):
        np.testing.assert_allclose(after, before, rtol=1e-10, atol=1e-12)
    return count


def values(fgraph: FunctionGraph) -> Any:
    unchanged = kroton.Mode("py", None)
    f = kroton.function(
        fgraph.inputs, fgraph.outputs, mode=unchanged, on_unused_input="ignore", name="check"
    )
    return f(*VALUES[: len(fgraph.inputs)])


def graph(output: Variable) -> FunctionGraph:
    return FunctionGraph(list(INPUTS), [output])


def names(fgraph: FunctionGraph) -> list[str]:
    return sorted(getattr(node.op, "name", "") for node in fgraph.toposort())


def nested(op: Any, terms: list[Variable], draw: Any) -> Variable:
    """The terms in another order, put together in any way."""
    left = draw(st.permutations(terms))
    while len(left) > 1:
        k = draw(st.integers(0, len(left) - 2))
        left[k : k + 2] = [op(left[k], left[k + 1])]
    return left[0]


double_angle = (nary(sin(x) * cos(x) * y), 0.5 * sin(2 * x) * y)
pythagoras = (nary(sqr(sin(x)) + sqr(cos(x)) + y), 1 + y)


@given(st.data())
def test_two_factors_are_found_in_any_product(data: Any) -> None:
    mul = elemwise_of("mul")
    others = st.sampled_from([*INPUTS, T.exp(INPUTS[0]), T.sin(INPUTS[1]), T.constant(2.0)])
    factors = [T.sin(INPUTS[0]), T.cos(INPUTS[0]), *data.draw(st.lists(others, max_size=6))]
    fgraph = graph(nested(mul, factors, data.draw))
    assert run(fgraph, double_angle) == 1
    assert "cos" not in names(fgraph)


@given(st.data())
def test_two_terms_are_found_in_any_sum(data: Any) -> None:
    a, b, c, _ = INPUTS
    others = data.draw(st.lists(st.sampled_from([b, c, T.sqr(T.sin(b)), T.sin(a)]), max_size=5))
    terms = [T.sqr(T.sin(a)), T.sqr(T.cos(a)), *others]
    fgraph = graph(nested(elemwise_of("add"), terms, data.draw))
    assert run(fgraph, pythagoras) == 1


@given(st.data())
def test_terms_that_do_not_belong_together_are_left(data: Any) -> None:
    a, b, c, d = INPUTS
    terms = [T.sin(a), T.sin(b), T.cos(c), T.cos(d), T.exp(a)]
    terms = data.draw(st.lists(st.sampled_from(terms), min_size=2, max_size=6))
    fgraph = graph(nested(elemwise_of("mul"), terms, data.draw))
    before = names(fgraph)
    assert run(fgraph, double_angle) == 0
    assert names(fgraph) == before


def test_a_choice_that_leads_nowhere_is_taken_back() -> None:
    a, b, c, d = INPUTS
    fgraph = graph(T.sin(a) * T.sin(b) * d * T.cos(c) * T.cos(b))
    assert run(fgraph, double_angle) == 1
    assert names(fgraph).count("cos") == 1


def test_what_is_left_over_of_nothing_is_the_neutral_element() -> None:
    a, *_ = INPUTS
    fgraph = graph(T.sqr(T.cos(a)) + T.sqr(T.sin(a)))
    assert run(fgraph, pythagoras) == 1
    fgraph = graph(T.cos(a) * T.sin(a))
    assert run(fgraph, double_angle) == 1
    for dtype, value in (("bool", True), ("uint8", 255), ("int32", -1)):
        v = T.vector("v", dtype=dtype)
        phase = Phase("p")
        phase.rule(nary(and_(and_(x, x), y)), y)
        fgraph = FunctionGraph([v], [elemwise_of("and_")(v, v)])
        assert apply_rules(fgraph, rules_of((phase,))) == 1
        (out,) = fgraph.outputs
        assert out.type.dtype == dtype
        made = kroton.function(fgraph.inputs, out, mode=kroton.Mode("py", None))
        assert made(np.zeros(2, dtype)).tolist() == [value, value]


def test_an_operation_without_a_neutral_element_needs_something_to_be_left() -> None:
    a, b, *_ = INPUTS
    rule = (nary(maximum(maximum(sin(x), x), y)), maximum(y, x + 0 * sin(x)))
    phase = Phase("p")
    phase.rule(*rule, when=lambda m: True)
    top = elemwise_of("maximum")
    assert apply_rules(graph(top(T.sin(a), a)), rules_of((phase,))) == 0
    assert apply_rules(graph(top(b, top(T.sin(a), a))), rules_of((phase,))) == 1


def test_without_a_variable_there_are_no_other_terms() -> None:
    a, b, *_ = INPUTS
    rule = (nary(sin(x) + cos(x) + C("c")), sin(x) + (cos(x) + C("c")))
    found = T.cos(a) + (2.0 + T.sin(a))
    phase = Phase("p")
    phase.rule(rule[0], x, when=lambda m: float(m.value("c")) == 2.0)
    assert apply_rules(graph(found), rules_of((phase,))) == 1
    more = T.cos(a) + (2.0 + (T.sin(a) + b))
    assert apply_rules(graph(more), rules_of((phase,))) == 0


def test_a_variable_that_comes_twice_is_a_term_of_its_own() -> None:
    a, b, c, _ = INPUTS
    fgraph = graph(a + (b + (c + a)))
    assert run(fgraph, (nary(x + x + y), 2 * x + y)) == 1
    assert names(fgraph) == ["add", "add", "mul"]
    rule = (nary(x * exp(x) * y), exp(x + log(x)) * y)
    assert run(graph(T.exp(b) * a * b * c), rule) == 1
    assert run(graph(T.exp(b) * a * c), rule) == 0


def test_a_pattern_of_many_terms_may_be_a_part_of_another() -> None:
    a, b, c, _ = INPUTS
    fgraph = graph(T.log(b + (T.sqr(a) + (1 + c * c))))
    assert run(fgraph, (log(nary(1 + sqr(x) + y)), log1p(sqr(x) + y))) == 1
    assert run(graph(T.log(1 + b)), (log(nary(1 + sqr(x) + y)), log1p(sqr(x) + y))) == 0
    assert run(graph(T.log(T.sqr(a))), (log(nary(1 + sqr(x) + y)), log1p(sqr(x) + y))) == 0


def test_sums_that_others_use_count_as_one_term() -> None:
    a, b, *_ = INPUTS
    inner = T.sin(a) * b
    fgraph = FunctionGraph(list(INPUTS), [inner * T.cos(a), inner])
    assert run(fgraph, double_angle) == 0


def test_intermediate_results_can_be_protected_in_patterns_of_many_terms() -> None:
    a, b, *_ = INPUTS
    for single, fired in ((True, 0), (False, 1)):
        fgraph = FunctionGraph(list(INPUTS), [T.sin(a) * b * T.cos(a), T.sin(a)])
        assert run(fgraph, double_angle, single=single) == fired


def test_rules_are_written_flat_and_may_build_flat_terms() -> None:
    phase = Phase("p")
    rule = phase.rule(nary(sin(x) * (cos(x) * (y - 1)) * z), nary(y * (x * z)))
    assert rule.name == "sin(x) * cos(x) * (y - 1) * z -> y * x * z"
    a, b, c, _ = INPUTS
    fgraph = graph(T.cos(a) * (b - 1) * c * T.sin(a))
    assert apply_rules(fgraph, rules_of((phase,))) == 1
    assert names(fgraph) == ["mul", "mul"]


def test_patterns_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(TypeError, match=r"nary\(x \* y \* sin\(z\)\) can have one variable"):
        Phase("p").rule(nary(x * y * sin(z)), x)
    with pytest.raises(TypeError, match="associative operations, not x - y"):
        nary(sub(x, y))
    with pytest.raises(TypeError, match="not for x"):
        nary(x)  # type: ignore[arg-type]


def test_a_search_without_end_is_given_up() -> None:
    asked = []

    def never(m: Any) -> bool:
        asked.append(m)
        return False

    u, v, p, q = variables("u v p q")
    lhs = nary(exp(x) * exp(y) * exp(z) * exp(w) * exp(u) * exp(v) * exp(p) * (log(p) + 1) * q)
    phase = Phase("p")
    phase.rule(lhs, q, when=never)
    out: Any = T.log(INPUTS[0]) + 1
    for k in range(24):
        out = out * T.exp(INPUTS[1] * float(k + 2))
    profile = RewriteProfile()
    assert apply_rules(graph(out), rules_of((phase,)), None, profile, "p") == 0
    assert asked == []


def test_a_rule_of_many_factors_serves_compiled_functions() -> None:
    rule = specialize.rule(*double_angle)
    try:
        a, b, *_ = INPUTS
        f = kroton.function([a, b], T.cos(a) * b * T.sin(a))
        trace = kroton.printing.rewrite_trace(f)
        assert rule.name in [line.rule for line in trace.replacements]
        np.testing.assert_allclose(f([0.3], [2.0]), np.sin(0.6), rtol=1e-14)
        exact = FunctionGraph([a], [T.sin(a) * T.cos(a)])
        get_optimizer("fast_run").excluding("fusion", "inplace").apply(exact)
        assert names(exact) == ["mul", "mul", "sin"]
    finally:
        specialize.remove(rule.name)
