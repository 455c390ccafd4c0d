"""Each rule that is written as mathematics fires on its own left side and keeps the values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import Phase, Rule, apply_rules, canonicalize, rules_of, specialize, stabilize
from kroton.rewriting.matching import instantiate
from kroton.rewriting.pattern import C, Call, Name

RULES = [
    rule for phase in (canonicalize, stabilize, specialize) for rule in phase.rules if rule.pattern
]
CONSTANTS = (3.0, -1.0, -0.5, -2.0, 1.5, 0.25)


def names_of(term: Any) -> dict[str, Any]:
    """The names of a pattern with the most special thing that is said of each."""
    found: dict[str, Any] = {}
    if isinstance(term, Name):
        found[term.name] = term
    elif isinstance(term, Call):
        for arg in term.args:
            for name, what in names_of(arg).items():
                if name not in found or what.kinds:
                    found[name] = what
    return found


def dtypes_for(kinds: str) -> tuple[str, ...]:
    if set(kinds) == {"b"}:
        return ("bool",)
    chosen = [d for d in ("float64", "float32", "int64", "int8") if np.dtype(d).kind in kinds]
    return tuple(chosen)


def fired(
    rule: Rule, dtype: str, shape: tuple[int, ...], ndims: dict[str, int],
    narrow: dict[str, tuple[bool, ...]] | None = None,
) -> list[Any]:  # fmt: skip
    """Expressions of the left side on which the rule fires: (inputs, before, after)."""
    names = names_of(rule.pattern[0])
    constants = [name for name, what in names.items() if isinstance(what, C)]
    free = [name for name in names if name not in constants]
    phase = Phase("one")
    phase.add(rule)
    found = []
    choices = (True, False) if dtype == "bool" else CONSTANTS
    for values in itertools.product(choices, repeat=len(constants)):
        given_: dict[str, Any] = {}
        for name, value in zip(constants, values):
            kind = (
                dtype
                if not names[name].kinds or np.dtype(dtype).kind in names[name].kinds
                else "float64"
            )
            given_[name] = T.constant(np.array(value, dtype=kind))
        for name in free:
            ndim = ndims.get(name, len(shape))
            ones = (narrow or {}).get(name, (False,) * len(shape))[len(shape) - ndim :]
            pattern = tuple(
                1 if one or e == 1 else None for e, one in zip(shape[len(shape) - ndim :], ones)
            )
            given_[name] = T.TensorType(dtype, pattern)(name)
        if rule.name == "switch of a constant":
            given_["z"] = T.constant(np.array(True))
        try:
            before = instantiate(rule.pattern[0], given_)
        except TypeError:
            continue
        inputs = [given_[name] for name in free if given_[name].owner is None and name in given_]
        inputs = [v for v in inputs if not isinstance(v, type(T.constant(1)))]
        fgraph = FunctionGraph(inputs, [before])
        folding = Phase("folding")
        folding.add(next(r for r in canonicalize.rules if r.name == "constant_folding"))
        apply_rules(fgraph, rules_of((folding,)))
        reference = fgraph.clone()
        if apply_rules(fgraph, rules_of((phase,))):
            fgraph.check_integrity()
            found.append((reference, fgraph))
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_fires_on_its_left_side(rule: Rule) -> None:
    kinds = "".join(what.kinds for what in names_of(rule.pattern[0]).values())
    dtype = dtypes_for(kinds)[0] if kinds else "float64"
    assert fired(rule, dtype, (2, 3), {})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_each_rule_keeps_the_values(rule: Rule, data: Any) -> None:
    names = names_of(rule.pattern[0])
    kinds = "".join(what.kinds for what in names.values())
    dtype = data.draw(st.sampled_from(dtypes_for(kinds or "fiu")))
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=2)))
    ndims = {name: data.draw(st.integers(0, len(shape))) for name in names}
    seed = data.draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    narrow = {name: tuple(data.draw(st.booleans()) for _ in shape) for name in names}
    for reference, fgraph in fired(rule, dtype, shape, ndims, narrow):
        values = []
        for v in reference.inputs:
            full = shape[len(shape) - v.type.ndim :]
            extents = [1 if e == 1 else n for e, n in zip(v.type.shape, full)]
            drawn = rng.uniform(-3, 3, size=extents)
            values.append(np.asarray(drawn).astype(v.type.dtype))
        (before,) = interpret(reference.inputs, reference.outputs)(*values)
        (after,) = interpret(fgraph.inputs, fgraph.outputs)(*values)
        assert after.dtype == before.dtype
        assert after.shape == before.shape
        if before.dtype.kind != "f":
            np.testing.assert_array_equal(after, before)
            continue
        known = np.isfinite(before)
        tolerance = 1e-9 if before.dtype == np.float64 else 2e-3
        np.testing.assert_allclose(
            after[known], before[known], rtol=tolerance, atol=tolerance * 0.01
        )
