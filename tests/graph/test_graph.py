"""Variables, Applys and Ops, and walks over graphs of any depth."""

import copy
import pickle
from dataclasses import dataclass

import pytest

from kroton.graph import Apply, Constant, FunctionGraph, Generic, Op, Variable, generic
from kroton.graph.evaluation import interpret
from kroton.graph.traversal import (
    ancestors,
    clone,
    clone_replace,
    equal_computations,
    inputs,
    io_toposort,
    toposort,
    view_roots,
)

DEEP = 100_000


@dataclass(frozen=True)
class Step(Op):
    """Adds `by` to a Python number."""

    by: int = 1

    def make_node(self, *inputs):
        return Apply(self, inputs, [generic()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = sum(inputs) + self.by


class Lineage(Op):
    __props__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b

    def make_node(self, x):
        return Apply(self, [x], [x.type()])


def chain(n, x):
    y = x
    for _ in range(n):
        y = Step()(y)
    return y


def test_dataclass_ops_compare_by_their_fields():
    assert Step(2) == Step(2)
    assert hash(Step(2)) == hash(Step(2))
    assert Step(2) != Step(3)


def test_props_give_equality_hash_and_repr():
    assert Lineage(1, "x") == Lineage(1, "x")
    assert hash(Lineage(1, "x")) == hash(Lineage(1, "x"))
    assert Lineage(1, "x") != Lineage(2, "x")
    assert repr(Lineage(1, "x")) == "Lineage{a=1, b='x'}"


def test_props_must_be_a_tuple():
    with pytest.raises(TypeError, match="tuple of attribute names"):
        type("Bad", (Op,), {"__props__": "a"})


def test_an_op_without_perform_says_so():
    node = Lineage(1, 2).make_node(generic("x"))
    with pytest.raises(NotImplementedError, match="Lineage does not define perform"):
        node.op.perform(node, [1], [[None]])


def test_itypes_and_otypes_make_nodes():
    class Typed(Op):
        itypes = (generic,)
        otypes = (generic, generic)

    out = Typed()(generic("x"))
    assert [v.type for v in out] == [generic, generic]
    with pytest.raises(ValueError, match="takes 1 inputs, got 2"):
        Typed()(generic(), generic())


def test_outputs_cannot_have_two_owners():
    x = generic("x")
    y = Step()(x)
    with pytest.raises(ValueError, match="already an output"):
        Apply(Step(), [x], [y])


def test_inputs_must_be_variables():
    with pytest.raises(TypeError, match="must be a Variable"):
        Apply(Step(), [3], [generic()])


def test_a_name_must_be_a_string():
    with pytest.raises(TypeError, match="name must be a string"):
        generic(3)


def test_toposort_puts_owners_first_and_lists_each_once():
    x = generic("x")
    a, b = Step(1)(x), Step(2)(x)
    c = Step(3)(a, b, a)
    assert toposort([c, b]) == [a.owner, b.owner, c.owner]


def test_orderings_are_respected_and_contradictions_found():
    x = generic("x")
    a, b = Step(1)(x), Step(2)(x)
    assert io_toposort([x], [a, b], {a.owner: [b.owner]}) == [b.owner, a.owner]
    with pytest.raises(ValueError, match="contradict"):
        io_toposort([x], [a, b], {a.owner: [b.owner], b.owner: [a.owner]})


def test_ancestors_stop_at_blockers():
    x = generic("x")
    a = Step(1)(x)
    b = Step(2)(a)
    assert list(ancestors([b], [a])) == [b, a]
    assert inputs([b]) == [x]


def test_deep_graphs_are_walked_cloned_interpreted_and_compared():
    x = generic("x")
    y = chain(DEEP, x)
    assert len(toposort([y])) == DEEP
    (x2,), (y2,) = clone([x], [y])
    assert len(toposort([y2])) == DEEP
    assert equal_computations([y], [y2], [x], [x2])
    assert interpret([x], [y])(0) == [DEEP]
    assert interpret([], [clone_replace(y, {x: Constant(generic, 5)})])() == [DEEP + 5]


def test_deep_graphs_are_pickled_and_deep_copied():
    x = generic("x")
    y = chain(DEEP, x)
    x2, y2 = pickle.loads(pickle.dumps((x, y)))
    assert interpret([x2], [y2])(1) == [DEEP + 1]
    x3, y3 = copy.deepcopy((x, y))
    assert x3 is not x
    assert interpret([x3], [y3])(2) == [DEEP + 2]


def test_pickling_keeps_what_is_shared_shared():
    x = generic("x")
    a = Step(1)(x)
    b = Step(2)(a)
    a.name = "a"
    x2, a2, b2, node = pickle.loads(pickle.dumps([x, a, b, b.owner]))
    assert b2.owner.inputs[0] is a2
    assert a2.owner.inputs[0] is x2
    assert b2.owner is node
    assert a2.name == "a"
    assert b2.owner.op == Step(2)


def test_equal_computations_tells_ops_and_places_apart():
    x, y = generic("x"), generic("y")
    assert equal_computations([Step(1)(x, y)], [Step(1)(x, y)])
    assert not equal_computations([Step(1)(x, y)], [Step(1)(y, x)])
    assert not equal_computations([Step(1)(x)], [Step(2)(x)])
    assert equal_computations([Step(1)(x)], [Step(1)(y)], [x], [y])


def test_view_roots_follow_views_and_destroyers():
    class View(Op):
        view_map = {0: [0]}

        def make_node(self, x):
            return Apply(self, [x], [x.type()])

    class Destroy(View):
        view_map = {}
        destroy_map = {0: [0]}

    x = generic("x")
    y = Destroy()(View()(x))
    assert view_roots(y) == [x]
    assert view_roots(y, through_destroyers=False) == [y]


def test_eval_interprets_and_names_what_is_missing():
    x, y = generic("x"), generic("y")
    z = Step(1)(x, y)
    assert z.eval({x: 1, "y": 2}) == 4
    with pytest.raises(ValueError, match="needs a value for y"):
        z.eval({x: 1})
    with pytest.raises(ValueError, match="0 inputs"):
        z.eval({"w": 1})


def test_variables_remember_the_line_that_made_them():
    x = generic("x")
    y = Step(1)(x)
    assert x.trace[0][0].co_filename == __file__
    assert x.trace[0][1] + 1 in [line for _, line in y.trace]


def test_types_that_are_equal_hash_alike():
    assert Generic() == generic
    assert hash(Generic()) == hash(generic)
    assert isinstance(Generic()("a"), Variable)


def test_a_function_graph_of_a_deep_chain_is_built_and_pickled():
    x = generic("x")
    g = FunctionGraph([x], [chain(DEEP, x)])
    assert len(g) == DEEP
    g2 = pickle.loads(pickle.dumps(g))
    assert len(g2) == DEEP


def test_graphs_are_where_the_lineage_has_them():
    from kroton.gof import graph
    from kroton.graph import traversal

    assert graph.ancestors is traversal.ancestors
    assert all(hasattr(graph, name) for name in graph.__all__)
