"""Every rewrite has an example in which it fires, with which it keeps the values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_examples import EXAMPLES

from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.graph.traversal import ancestors
from kroton.rewriting import (
    PhasePass,
    RewriteTrace,
    Rule,
    canonicalize,
    get_optimizer,
    passes,
    specialize,
    stabilize,
)
from kroton.tensor.products import Dot

OPTIMIZER = get_optimizer("fast_run").excluding("fusion", "inplace")


def rules() -> list[Rule]:
    """Those of all phases that some pass applies."""
    phases = dict.fromkeys(
        phase for pass_ in passes() if isinstance(pass_, PhasePass) for phase in pass_.phases
    )
    return [rule for phase in phases for rule in phase.rules]


def optimized(inputs: list[Any], output: Any) -> tuple[FunctionGraph, list[str]]:
    """The graph, and the names of the rules that fired."""
    fgraph = FunctionGraph(inputs, [output])
    trace = RewriteTrace()
    OPTIMIZER.apply(fgraph, trace)
    fgraph.check_integrity()
    return fgraph, [line.rule for line in trace.replacements]


def test_every_rule_has_an_example() -> None:
    written = {rule.name for rule in rules() if rule.pattern}
    coded = {rule.name for rule in rules()} - written
    assert coded <= set(EXAMPLES), "add examples to tests/rule_examples.py"
    assert set(EXAMPLES) <= coded, "examples of what is no rule"
    for phase in (canonicalize, stabilize, specialize):
        assert set(phase.rules) <= set(rules())


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_rule_fires_on_its_example(name: str) -> None:
    example = EXAMPLES[name]
    inputs = example.inputs("float64")
    assert name in optimized(inputs, example.build(*inputs))[1]


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_each_rule_keeps_the_values_of_its_example(name: str, data: Any) -> None:
    example = EXAMPLES[name]
    dtypes = ["float64", "float32"] + ["int64", "int8", "complex128"] * example.everywhere
    dtype = data.draw(st.sampled_from(dtypes))
    inputs = example.inputs(dtype)
    output = example.build(*inputs)
    extents = {letter: data.draw(st.integers(1, 4)) for letter in "bkmn"}
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    values = example.values(dtype, extents, rng)
    fgraph, _ = optimized(inputs, output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        (before,) = interpret(inputs, [output])(*values)
        (after,) = interpret(fgraph.inputs, fgraph.outputs)(*values)
    assert after.dtype == before.dtype
    assert after.shape == before.shape
    if before.dtype.kind not in "fc":
        np.testing.assert_array_equal(after, before)
        return
    tolerance = 1e-9 if before.dtype in (np.float64, np.complex128) else 1e-4
    largest = np.max(np.abs(before), where=np.isfinite(before), initial=1.0)
    if any(v.owner is not None and type(v.owner.op) is Dot for v in ancestors([output])):
        # BLAS may leave out 0 times infinity, with other shapes than before.
        after, before = after[~np.isnan(before)], before[~np.isnan(before)]
    np.testing.assert_allclose(after, before, rtol=tolerance, atol=tolerance * largest)
