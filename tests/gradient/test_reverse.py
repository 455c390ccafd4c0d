"""Reverse mode: values, connections, names, errors, and graphs of any depth."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import (
    DisconnectedInputError,
    DisconnectedType,
    Lop,
    NullTypeGradError,
    grad,
    subgraph_grad,
    verify_grad,
)
from kroton.graph import Apply, NullType, Op
from kroton.graph.nulltype import disconnected_type, grad_undefined
from kroton.graph.traversal import toposort


def test_the_gradient_of_a_scalar_function_is_its_derivative():
    x = T.dscalar("x")
    assert grad(x**3, x).eval({x: 2.0}) == 12


def test_contributions_of_all_uses_of_a_variable_add_up():
    x = T.dvector("x")
    verify_grad(lambda x: x * T.sin(x) + T.exp(x) / (1 + x**2), [np.array([0.3, -1.2])])
    cost = (x * x + x).sum() + x.sum()
    np.testing.assert_array_equal(grad(cost, x).eval({x: [1.0, 2.0]}), [4, 6])


def test_the_result_has_the_form_of_wrt():
    x, y = T.dscalars("x y")
    assert isinstance(grad(x * y, [x, y]), list)
    assert isinstance(grad(x * y, (x, y)), tuple)
    assert grad(x * y, x).type == x.type
    first, second = grad(x * y, [x, x])
    assert first is second


def test_gradients_have_the_dtype_and_dimensions_of_their_variable():
    w, x = T.fmatrix("w"), T.dvector("x")
    cost = (w * x).sum()
    gw, gx = grad(cost, [w, x])
    assert (gw.type.dtype, gw.type.ndim) == ("float32", 2)
    assert (gx.type.dtype, gx.type.ndim) == ("float64", 1)


def test_an_intermediate_variable_can_be_differentiated_by():
    x = T.dscalar("x")
    y = x**2
    cost = T.exp(y)
    gx, gy = grad(cost, [x, y])
    np.testing.assert_allclose(gy.eval({x: 0.5}), np.exp(0.25))
    np.testing.assert_allclose(gx.eval({x: 0.5}), np.exp(0.25))
    assert grad(x, x).eval() == 1


def test_a_chain_longer_than_the_recursion_limit_is_differentiated():
    x = T.dscalar("x")
    y = x
    length = 5 * sys.getrecursionlimit()
    for _ in range(length):
        y = y + x
    g = grad(y, x)
    nodes = toposort([g])
    assert len(nodes) < 4 * length
    y = x
    for _ in range(length):
        y = -y
    assert grad(y, x).eval({x: 1.0}) == (-1) ** length


def test_gradients_are_named_after_the_cost_and_the_variable():
    x, y = T.dscalars("x y")
    cost = T.exp(x) * y
    assert grad(cost, x).name is None
    cost.name = "cost"
    assert [g.name for g in grad(cost, [x, y])] == ["(dcost/dx)", "(dcost/dy)"]
    assert grad(cost, x, add_names=False).name is None


def test_naming_leaves_constants_and_known_gradients_alone():
    x, g = T.dscalars("x g")
    x.name = "x"
    cost = T.identity(x)
    cost.name = "cost"
    assert grad(cost, x).name != "(dcost/dx)"
    assert grad(None, x, known_grads={cost: g}) is g
    assert g.name == "g"


class TestConnections:
    def test_what_the_cost_does_not_depend_on_is_an_error_that_names_it(self):
        x, lonely = T.dscalars("x lonely")
        with pytest.raises(DisconnectedInputError, match="lonely"):
            grad(x**2, [x, lonely])

    def test_the_error_can_be_a_warning_or_nothing(self):
        x, lonely = T.dscalars("x lonely")
        with pytest.warns(UserWarning, match="lonely"):
            g = grad(x**2, lonely, disconnected_inputs="warn")
        assert g.eval({lonely: 1.0}) == 0
        grad(x**2, lonely, disconnected_inputs="ignore")

    def test_a_disconnected_gradient_is_zero_none_or_disconnected(self):
        x, v = T.dscalar("x"), T.dvector("v")

        def given(what):
            return grad(x**2, v, disconnected_inputs="ignore", return_disconnected=what)

        np.testing.assert_array_equal(given("zero").eval({v: [1.0, 2.0]}), [0, 0])
        assert given("None") is None
        assert isinstance(given("disconnected").type, DisconnectedType)

    def test_shapes_and_conditions_do_not_connect(self):
        x, y = T.dvectors("x y")
        with pytest.raises(DisconnectedInputError):
            grad(y.sum() * T.cast(x.shape[0], "float64"), x)
        with pytest.raises(DisconnectedInputError):
            grad(T.switch(x, y, 2 * y).sum(), x)

    def test_a_way_through_integers_is_connected_with_gradient_zero(self):
        x = T.dvector("x")
        g = grad(T.cast(T.cast(x, "int64"), "float64").sum(), x)
        np.testing.assert_array_equal(g.eval({x: [1.5, 2.5]}), [0, 0])

    def test_nothing_is_multiplied_by_the_zeros_of_discrete_variables(self):
        x = T.dvector("x")
        infinite = T.cast(T.gt(x, 0), "float64") * np.inf
        g = grad(T.switch(x > 5, infinite, x).sum(), x)
        np.testing.assert_array_equal(g.eval({x: [1.0, -1.0]}), [1, 1])

    @pytest.mark.parametrize(
        "option", ["disconnected_inputs", "return_disconnected", "null_gradients"]
    )
    def test_an_unknown_option_is_refused_with_the_known_ones(self, option):
        x = T.dscalar("x")
        with pytest.raises(ValueError, match=f"{option} must be one of '"):
            grad(x**2, x, **{option: "perhaps"})


class TestConsiderConstant:
    def test_the_gradient_does_not_go_through(self):
        x = T.dscalar("x")
        y = x**2
        assert grad(x * y, x, consider_constant=[y]).eval({x: 3.0}) == 9

    def test_a_constant_variable_that_is_asked_for_has_its_gradient(self):
        x = T.dscalar("x")
        y = x**2
        cost = T.exp(y)
        (gy,) = grad(cost, [y], consider_constant=[y])
        np.testing.assert_allclose(gy.eval({x: 0.5}), np.exp(0.25))

    def test_one_output_of_a_node_can_be_constant(self):
        x = T.dvector("x")
        m, _ = T.max_and_argmax(x)
        with pytest.raises(DisconnectedInputError):
            grad(m * 2, x, consider_constant=[m])


class TestKnownGrads:
    def test_they_replace_the_cost(self):
        x, g = T.dvectors("x g")
        y = T.exp(x)
        gx = grad(None, x, known_grads={y: g})
        np.testing.assert_allclose(gx.eval({x: [0.0, 1.0], g: [2.0, 3.0]}), [2, 3 * np.e])

    def test_they_override_what_would_be_computed(self):
        x = T.dscalar("x")
        y = x**2
        cost = 10 * y
        gx = grad(cost, x, known_grads={y: T.constant(1.0)})
        assert gx.eval({x: 3.0}) == 6

    def test_of_one_that_is_asked_for_the_given_one_is_returned(self):
        x, g = T.dscalars("x g")
        assert grad(None, x, known_grads={x: g}) is g

    def test_they_must_have_the_dimensions_of_their_variable(self):
        x = T.dvector("x")
        y = T.exp(x)
        y.name = "y"
        with pytest.raises(ValueError, match="known_grads: the gradient given for y has 0"):
            grad(None, x, known_grads={y: T.constant(1.0)})

    def test_they_are_stretched_to_the_shape_of_their_variable(self):
        x = T.dvector("x")
        y = 2 * x
        gx = grad(None, x, known_grads={y: np.ones(1)})
        np.testing.assert_array_equal(gx.eval({x: [1.0, 2.0, 3.0]}), [2, 2, 2])

    def test_without_them_a_cost_is_needed(self):
        with pytest.raises(ValueError, match="grad needs a cost"):
            grad(None, T.dscalar())


class TestWrongArguments:
    def test_a_cost_that_is_no_scalar_is_refused_with_a_way_out(self):
        x = T.dvector("x")
        with pytest.raises(TypeError, match=r"must be a scalar.*1 dimensions.*\.sum\(\)"):
            grad(x**2, x)

    def test_a_discrete_cost_is_refused(self):
        x = T.dvector("x")
        with pytest.raises(TypeError, match="float dtype"):
            grad(T.cast(x, "int64").sum(), x)

    def test_a_complex_cost_is_refused(self):
        z = T.zvector("z")
        with pytest.raises(TypeError, match="must be real"):
            grad(z.sum(), z)

    def test_a_cost_or_variable_that_is_none_is_refused(self):
        x = T.dscalar("x")
        with pytest.raises(TypeError, match="cost must be a Variable"):
            grad(3.0, x)
        with pytest.raises(TypeError, match="only by Variables"):
            grad(x**2, [x, 3.0])

    def test_an_integer_variable_is_refused_by_name_with_a_way_out(self):
        n, x = T.lscalar("n"), T.dscalar("x")
        with pytest.raises(TypeError, match=r"by n, whose dtype int64.*astype"):
            grad(n * x, [x, n])


@dataclass(frozen=True)
class Given(Op):
    """The identity, with whatever gradient it is told to give."""

    answer: object

    def make_node(self, *inputs):
        inputs = [T.as_tensor_variable(x) for x in inputs]
        return Apply(self, inputs, [inputs[0].type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0].copy()

    def grad(self, inputs, output_gradients):
        return self.answer(inputs, output_gradients)


class TestBlame:
    @pytest.mark.parametrize(
        ("answer", "error", "message"),
        [
            (lambda i, g: g[0], TypeError, "must be a list"),
            (lambda i, g: [g[0], g[0]], ValueError, "has 2 elements, but it has 1 inputs"),
            (lambda i, g: [None], TypeError, r"no Variable: None; return DisconnectedType"),
            (lambda i, g: [1.0], TypeError, "no Variable: 1.0"),
            (lambda i, g: [g[0].sum()], ValueError, "has 0 dimensions, but the input has 1"),
            (lambda i, g: [T.cast(g[0], "int64")], TypeError, "discrete dtype int64"),
        ],
    )
    def test_an_op_with_a_wrong_gradient_is_named(self, answer, error, message):
        x = T.dvector("x")
        with pytest.raises(error, match=message) as caught:
            grad(Given(answer)(x).sum(), x)
        assert "Given" in str(caught.value)

    def test_a_gradient_of_another_float_dtype_is_cast(self):
        x = T.fvector("x")
        g = grad(Given(lambda i, g: [T.cast(g[0], "float64")])(x).sum(), x)
        assert g.type.dtype == "float32"

    def test_a_wrong_connection_pattern_is_named(self):
        class Odd(Given):
            def connection_pattern(self, node):
                return [[True], [False]]

        x = T.dvector("x")
        with pytest.raises(ValueError, match="connection_pattern must give 1 lists"):
            grad(Odd(lambda i, g: g)(x).sum(), x)


class TestNull:
    def op(self):
        return Given(
            lambda i, g: [grad_undefined(self, k, x, "Ask later.") for k, x in enumerate(i)]
        )

    def test_an_undefined_gradient_is_an_error_that_says_why(self):
        x = T.dvector("x")
        with pytest.raises(NullTypeGradError, match="Ask later"):
            grad(self.op()(T.exp(x)).sum(), x)

    def test_it_can_be_returned(self):
        x = T.dvector("x")
        g = grad((self.op()(T.exp(x)) + x).sum(), x, null_gradients="return")
        assert isinstance(g.type, NullType)

    def test_it_does_not_matter_to_variables_it_does_not_reach(self):
        x, y = T.dvectors("x y")
        g = grad((self.op()(x) * y).sum(), y)
        np.testing.assert_array_equal(g.eval({x: [3.0], y: [1.0]}), [3])

    def test_an_op_without_gradient_says_so(self):
        class Silent(Op):
            __props__ = ()
            itypes = [T.dvector().type]
            otypes = [T.dvector().type]

            def perform(self, node, inputs, output_storage):
                output_storage[0][0] = inputs[0].copy()

        x = T.dvector("x")
        with pytest.raises(NullTypeGradError, match="Silent defines no gradient"):
            grad(Silent()(x).sum(), x)


@dataclass(frozen=True)
class Both(Op):
    """Two outputs, of which the second depends on the second input only: x + y and 2 y."""

    def make_node(self, x, y):
        return Apply(self, [x, y], [x.type(), y.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = inputs[0] + inputs[1]
        output_storage[1][0] = 2 * inputs[1]

    def connection_pattern(self, node):
        return [[True, False], [True, True]]

    def L_op(self, inputs, outputs, output_gradients):
        first, second = output_gradients
        given = [disconnected_type(), disconnected_type()]
        if not isinstance(first.type, DisconnectedType):
            given = [first, first]
        if not isinstance(second.type, DisconnectedType):
            more = 2 * second
            given[1] = more if isinstance(given[1].type, DisconnectedType) else given[1] + more
        return given


def test_outputs_that_the_cost_does_not_use_are_disconnected():
    x, y = T.dvectors("x y")
    first, second = Both()(x, y)
    np.testing.assert_array_equal(grad(first.sum(), y).eval({x: [1.0], y: [1.0]}), [1])
    np.testing.assert_array_equal(grad(second.sum(), y).eval({x: [1.0], y: [1.0]}), [2])
    with pytest.raises(DisconnectedInputError):
        grad(second.sum(), x)
    both = grad((first + second).sum(), y)
    np.testing.assert_array_equal(both.eval({x: [1.0], y: [1.0]}), [3])


def test_lop_multiplies_the_jacobian_from_the_left():
    x, v = T.dvectors("x v")
    a = np.random.default_rng(0).normal(size=(3, 2))
    f = T.tanh(T.dot(a, x))
    value = Lop(f, x, v).eval({x: [0.1, 0.2], v: [1.0, 2.0, 3.0]})
    slope = 1 - np.tanh(a @ [0.1, 0.2]) ** 2
    np.testing.assert_allclose(value, ([1.0, 2.0, 3.0] * slope) @ a)


def test_lop_of_an_expression_and_what_it_is_made_of_adds_both_ways():
    x, u, v = T.dscalars("x u v")
    y = x**2
    z = y**2
    g = Lop([y, z], x, [u, v])
    assert g.eval({x: 2.0, u: 1.0, v: 1.0}) == 4 + 32


def test_lop_refuses_numbers_of_points_that_do_not_fit():
    x = T.dvector("x")
    with pytest.raises(ValueError, match="1 outputs but 2 eval_points"):
        Lop(x, x, [x, x])


def test_a_graph_can_be_differentiated_piece_by_piece():
    x, t = T.dvector("x"), T.dvector("t")
    w1, w2 = T.dmatrix("w1"), T.dmatrix("w2")
    hidden = T.tanh(T.dot(x, w1))
    cost2 = ((T.dot(hidden, w2) - t) ** 2).sum()
    cost1 = (w1**2).sum()
    (g2,), (gh,) = subgraph_grad([w2], [hidden], cost=cost2)
    (g1,), _, start_grads, cost_grads = subgraph_grad(
        [w1], [x], start={hidden: gh}, cost=cost1, details=True
    )
    whole = grad(cost1 + cost2, [w1, w2])
    f = kroton.function([x, t, w1, w2], [g1, g2, *whole])
    rng = np.random.default_rng(2)
    a, b, c, d = f(
        rng.normal(size=2), rng.normal(size=4), rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
    )
    np.testing.assert_allclose(a, c)
    np.testing.assert_allclose(b, d)
    assert len(start_grads) == len(cost_grads) == 2
    with pytest.raises(ValueError, match="start, cost or both"):
        subgraph_grad([w1], [x])


def test_the_gradient_of_the_gradient_is_the_second_derivative():
    x = T.dscalar("x")
    second = grad(grad(x**4 + T.sin(x), x), x)
    np.testing.assert_allclose(second.eval({x: 0.7}), 12 * 0.7**2 - np.sin(0.7))


def test_t_grad_is_grad():
    assert T.grad is grad is kroton.grad


@pytest.mark.parametrize("what", ["Disconnected", "DISCONNECTED", "none", "NONE", "Zero"])
def test_options_may_be_written_in_capitals(what):
    x, v = T.dscalars("x v")
    g = grad(x**2, v, disconnected_inputs="Ignore", return_disconnected=what)
    if what.lower() == "none":
        assert g is None
    else:
        assert isinstance(g.type, DisconnectedType) is (what.lower() == "disconnected")


def test_one_variable_may_be_considered_constant_and_a_number_may_not():
    x = T.dscalar("x")
    u = x**2
    assert grad(u * x, x, consider_constant=u).eval({x: 3.0}) == 9.0
    assert Lop(u * x, x, T.constant(1.0), consider_constant=u).eval({x: 3.0}) == 9.0
    for wrong in ([3], 3):
        with pytest.raises(TypeError, match=r"consider_constant takes Variables .* got 3"):
            grad(u, x, consider_constant=wrong)


def test_known_gradients_may_be_pairs():
    x = T.dvector("x")
    q = x**2
    g = grad(None, x, known_grads=[(q, T.ones_like(q))])
    np.testing.assert_array_equal(g.eval({x: [1.0, 2.0]}), [2, 4])
    for wrong in (q, 3, [q]):
        with pytest.raises(TypeError, match="known_grads is a dict"):
            grad(None, x, known_grads=wrong)
