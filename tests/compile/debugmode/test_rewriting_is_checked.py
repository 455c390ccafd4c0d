"""What DebugMode says of rules that raise, make cycles, undo each other or are not stable."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from faults.fault import a_rule
from faults.rules import only_graph

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadRule, StochasticOrder
from kroton.rewriting import canonicalize

HERE = "out = T.exp(T.sin(x) * 2)"


@pytest.fixture(autouse=True)
def _nothing_is_warned_of() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def compiled(**options: Any) -> Any:
    x = T.dvector("x")
    out = T.exp(T.sin(x) * 2)
    return kroton.function([x], out, mode=kroton.DebugMode(directory="", **options))


def refused(transform: Any, error: Any, match: str, **options: Any) -> str:
    with a_rule(canonicalize, "sin")(transform)(), pytest.raises(error, match=match) as caught:
        compiled(**options)
    assert HERE in str(caught.value)
    return str(caught.value)


def test_a_rule_that_raises_is_one_error_with_its_name_and_the_users_line() -> None:
    said = refused(lambda fgraph, node: 1 // 0, BadRule, "the rule 'planted rule' .*Elemwise{sin}")
    assert said.endswith("ZeroDivisionError: integer division or modulo by zero")


def test_a_rule_that_raises_is_ignored_if_that_is_asked_for() -> None:
    with (
        kroton.config.change_flags(on_opt_error="ignore"),
        a_rule(canonicalize, "sin")(lambda fgraph, node: 1 // 0)(),
    ):
        np.testing.assert_allclose(compiled()([0.5]), np.exp(2 * np.sin([0.5])))


def test_a_rule_that_uses_what_it_replaces_is_named() -> None:
    refused(
        lambda fgraph, node: T.sin(node.inputs[0])[:1],
        BadRule,
        r"(?s)rule 'planted rule' .*Elemwise\{sin\}.* in the place of which it was to stand",
    )


def test_a_rule_that_uses_a_client_of_what_it_replaces_is_named() -> None:
    def client(fgraph: Any, node: Any) -> Any:
        return fgraph.clients(node.outputs[0])[0][0].outputs[0] + 1.0

    refused(client, BadRule, "rule 'planted rule' replaced .*Elemwise{sin}.* a cycle")


def test_rules_that_undo_each_other_are_named() -> None:
    there = a_rule(canonicalize, "sin")(lambda fgraph, node: T.cos(node.inputs[0]))
    canonicalize.rewriter("cos", name="back")(lambda fgraph, node: T.sin(node.inputs[0]))
    try:
        with there(), pytest.raises(BadRule, match=r"undo each other.*(back|planted rule)"):
            compiled()
    finally:
        canonicalize.remove("back")


@pytest.mark.parametrize(("patience", "number"), [(1, 2), (2, 2), (10, 11), (10, 10)])
def test_an_unstable_rule_is_found_with_the_users_line(patience: int, number: int) -> None:
    with only_graph(number)(), pytest.raises(StochasticOrder) as caught:
        compiled(stability_patience=patience)
    assert HERE in str(caught.value)
    used = "in the optimization that is used"
    assert (used in str(caught.value)) == (number == patience + 1)


def test_without_patience_nothing_is_compared() -> None:
    with only_graph(2)():
        compiled(stability_patience=0)
        compiled(stability_patience=0)
