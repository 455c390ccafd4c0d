"""FunctionGraph: merged, consistent under replacement, safe in place."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.graph import (
    Apply,
    Constant,
    Feature,
    FunctionGraph,
    InconsistencyError,
    MissingInputError,
    Op,
    generic,
)
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.evaluation import interpret
from kroton.graph.traversal import clone_get_equiv, io_toposort


@dataclass(frozen=True)
class F(Op):
    name: str
    view: bool = False
    destroy: bool = False

    @property
    def view_map(self):
        return {0: [0]} if self.view else {}

    @property
    def destroy_map(self):
        return {0: [0]} if self.destroy else {}

    def make_node(self, *inputs):
        return Apply(self, inputs, [generic()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = (self.name, *inputs)


def test_equal_applys_become_one_on_import():
    x, y = generic("x"), generic("y")
    g = FunctionGraph([x, y], [F("f")(F("a")(x), y), F("f")(F("a")(x), y)])
    assert len(g) == 2
    assert g.outputs[0] is g.outputs[1]


def test_equal_constants_become_one():
    x = generic("x")
    g = FunctionGraph([x], [F("f")(x, Constant(generic, 3)), F("g")(x, Constant(generic, 3))])
    assert g.outputs[0].owner.inputs[1] is g.outputs[1].owner.inputs[1]


def test_replacing_merges_what_has_become_equal():
    x, y = generic("x"), generic("y")
    a, b = F("a")(x), F("b")(x)
    g = FunctionGraph([x, y], [F("f")(F("h")(a)), F("f")(F("h")(b))], clone=False)
    assert len(g) == 6
    g.replace(b, a, "test")
    g.check_integrity()
    assert len(g) == 3
    assert g.outputs[0] is g.outputs[1]


def test_what_nobody_uses_is_dropped():
    x, y = generic("x"), generic("y")
    a = F("a")(x)
    g = FunctionGraph([x, y], [F("f")(F("b")(a))], clone=False)
    g.replace(g.outputs[0], y)
    assert len(g) == 0
    assert list(g.variables) == [x, y]


def test_the_users_graph_is_left_alone():
    x = generic("x")
    y = F("f")(x)
    g = FunctionGraph([x], [y])
    g.replace(g.outputs[0], g.inputs[0])
    assert y.owner.inputs == [x]


def test_missing_inputs_are_named_with_their_line():
    x, y = generic("x"), generic("y")
    with pytest.raises(MissingInputError, match=r"depends on y(.|\n)*test_fg.py"):
        FunctionGraph([x], [F("f")(x, y)], clone=False)


def test_inputs_must_be_distinct_and_free():
    x = generic("x")
    with pytest.raises(ValueError, match="listed twice"):
        FunctionGraph([x, x], [x])


def test_features_hear_of_every_change():
    heard = []

    class Listener(Feature):
        def on_import(self, fgraph, node, reason):
            heard.append(("import", node.op.name, reason))

        def on_prune(self, fgraph, node, reason):
            heard.append(("prune", node.op.name, reason))

        def on_change_input(self, fgraph, node, i, old, new, reason):
            heard.append(("change", node if node == "output" else node.op.name, reason))

    x = generic("x")
    a = F("a")(x)
    g = FunctionGraph([x], [F("f")(a)], features=[Listener()], clone=False)
    g.replace(a, F("b")(x), "rule")
    assert heard == [("import", "b", "rule"), ("change", "f", "rule"), ("prune", "a", "rule")]


def test_a_constant_is_never_overwritten():
    g = FunctionGraph([], [F("d", destroy=True)(Constant(generic, 1))])
    g.attach_feature(DestroyHandler())
    with pytest.raises(InconsistencyError, match="constant"):
        g.validate()


def test_a_protected_input_is_never_overwritten_even_through_a_view():
    x = generic("x")
    g = FunctionGraph([x], [F("d", destroy=True)(F("v", view=True)(x))], clone=False)
    g.attach_feature(DestroyHandler([x]))
    with pytest.raises(InconsistencyError, match="input x, which is not mutable"):
        g.validate()


def test_an_output_is_never_overwritten():
    x = generic("x")
    a = F("a")(x)
    g = FunctionGraph([x], [a, F("d", destroy=True)(a)], clone=False)
    g.attach_feature(DestroyHandler())
    with pytest.raises(InconsistencyError, match="output 0"):
        g.validate()


def test_readers_run_before_the_destroyer():
    x = generic("x")
    a = F("a")(x)
    destroyed = F("d", destroy=True)(a)
    read = F("r")(F("v", view=True)(a))
    g = FunctionGraph([x], [destroyed, read], clone=False)
    g.attach_feature(DestroyHandler())
    g.validate()
    order = [node.op.name for node in g.toposort()]
    assert order.index("r") < order.index("d")


def test_a_reader_that_needs_the_destroyed_value_afterwards_is_refused():
    x = generic("x")
    a = F("a")(x)
    destroyed = F("d", destroy=True)(a)
    g = FunctionGraph([x], [F("r")(destroyed, a)], clone=False)
    g.attach_feature(DestroyHandler())
    with pytest.raises(InconsistencyError):
        g.validate()


def test_two_destroyers_of_one_value_are_refused_but_not_a_chain():
    x = generic("x")
    a = F("a")(x)
    g = FunctionGraph([x], [F("d", destroy=True)(a), F("e", destroy=True)(a)], clone=False)
    g.attach_feature(DestroyHandler())
    with pytest.raises(InconsistencyError):
        g.validate()
    chained = F("e", destroy=True)(F("d", destroy=True)(F("a")(x)))
    g = FunctionGraph([x], [chained], clone=False)
    g.attach_feature(DestroyHandler())
    g.validate()


@st.composite
def edits(draw):
    """A random graph and random replacements of its variables by others that come before."""
    xs = [generic(f"x{k}") for k in range(draw(st.integers(1, 3)))]
    known = list(xs)
    for _ in range(draw(st.integers(1, 12))):
        arity = draw(st.integers(1, 3))
        args = [known[draw(st.integers(0, len(known) - 1))] for _ in range(arity)]
        known.append(F(draw(st.sampled_from("abc")))(*args))
    outs = [known[draw(st.integers(0, len(known) - 1))] for _ in range(draw(st.integers(1, 4)))]
    pairs = draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=6))
    return xs, outs, pairs


@given(edits())
@settings(max_examples=200, deadline=None)
def test_random_replacements_keep_the_graph_consistent(case):
    xs, outs, pairs = case
    g = FunctionGraph(xs, outs)
    g.check_integrity()
    values = [f"v{k}" for k in range(len(xs))]
    assert interpret(g.inputs, g.outputs)(*values) == interpret(xs, outs)(*values)
    for i, j in pairs:
        order = [*g.inputs, *(node.outputs[0] for node in g.toposort())]
        later, earlier = order[max(i % len(order), j % len(order))], order[min(i, j) % len(order)]
        if later in g.inputs or order.index(earlier) > order.index(later):
            continue
        g.replace(later, earlier, "test")
        g.check_integrity()
        assert len(g.toposort()) == len(g)
        assert g.toposort() == io_toposort(g.inputs, g.outputs)


def described(g):
    """Applys, clients and order of a graph, by the places of the Variables."""
    place = {var: k for k, var in enumerate(g.variables)}
    number = {node: k for k, node in enumerate(g.apply_nodes)}
    return (
        [(node.op, [place[v] for v in node.inputs + node.outputs]) for node in g.apply_nodes],
        [[(number.get(node, node), k) for node, k in users] for users in g.variables.values()],
        [place[v] for v in g.outputs],
        [number[node] for node in g.toposort()],
    )


@given(edits())
@settings(max_examples=200, deadline=None)
def test_copying_gives_what_importing_a_clone_gives(case):
    xs, outs, _ = case
    g = FunctionGraph(xs, outs)
    equiv = clone_get_equiv(xs, outs)
    h = FunctionGraph([equiv[x] for x in xs], [equiv[out] for out in outs], clone=False)
    assert described(g) == described(h)
    assert g.toposort() == io_toposort(g.inputs, g.outputs)
    g.attach_feature(Feature())
    assert g.toposort() == io_toposort(g.inputs, g.outputs)


def test_a_feature_with_an_order_of_its_own_is_heeded_when_it_comes_and_when_it_goes():
    class Backwards(Feature):
        def orderings(self, fgraph):
            a, b = fgraph.apply_nodes
            return {a: [b]}

    x = generic("x")
    g = FunctionGraph([x], [F("a")(x), F("b")(x)])
    assert [node.op.name for node in g.toposort()] == ["a", "b"]
    feature = Backwards()
    g.attach_feature(feature)
    assert [node.op.name for node in g.toposort()] == ["b", "a"]
    g.remove_feature(feature)
    assert [node.op.name for node in g.toposort()] == ["a", "b"]


def test_of_two_applys_that_become_equal_the_better_known_stays():
    x, z = (T.tensor("float64", (1, 1), name=name) for name in "xz")
    y = T.dmatrix("y")
    g = FunctionGraph([x, y, z], [T.sin(T.exp(y)), T.sqr(T.exp(z))])
    new_x, new_y, new_z = g.inputs
    g.replace(new_y, new_x, "test")  # which leaves exp(x) of unknown shape
    g.replace(new_z, new_x, "test")
    g.check_integrity()
    assert len(g) == 3
    assert {out.owner.inputs[0].type.shape for out in g.outputs} == {(1, 1)}


def test_what_depends_on_a_variable_does_not_replace_it():
    x = T.dvector("x")
    graph = FunctionGraph([x], [T.exp(T.sin(x))])
    sine = graph.outputs[0].owner.inputs[0]
    before = (list(graph.apply_nodes), list(graph.variables), list(graph._constants))
    # The second is equal to the sine that is there, once it is in the graph.
    for new in (T.sqr(sine + 3.0) * 2.0, T.sqr(T.sin(graph.inputs[0])) * 2.0):
        with pytest.raises(InconsistencyError, match="in the place of which it was to stand"):
            graph.replace(sine, new)
        assert (list(graph.apply_nodes), list(graph.variables), list(graph._constants)) == before
        graph.check_integrity()
