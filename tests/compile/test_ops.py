"""User-defined Ops: `as_op`, Ops in the lineage's way, and dataclasses."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.ops import DeepCopyOp, ViewOp, as_op, deep_copy_op, view_op
from kroton.gradient import NullTypeGradError, grad, verify_grad
from kroton.graph import Apply, Op

VECTOR = T.dvector().type


@as_op(itypes=[VECTOR, VECTOR], otypes=[VECTOR], infer_shape=lambda node, shapes: [shapes[0]])
def smaller(a, b):
    """The elementwise minimum."""
    return np.minimum(a, b)


@as_op(itypes=VECTOR, otypes=[VECTOR, VECTOR])
def halves(a):
    return a[: len(a) // 2].copy(), a[len(a) // 2 :].copy()


class Scaled(Op):
    """In the lineage's way: `__props__`, `itypes`, `otypes`, `grad`."""

    __props__ = ("factor",)
    itypes = (VECTOR,)
    otypes = (VECTOR,)

    def __init__(self, factor):
        self.factor = factor

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = self.factor * inputs[0]

    def grad(self, inputs, output_gradients):
        return [self.factor * output_gradients[0]]

    def infer_shape(self, node, input_shapes):
        return input_shapes


@dataclass(frozen=True)
class Shifted(Op):
    """A dataclass with `make_node` and `L_op`."""

    offset: float

    def make_node(self, x):
        x = T.as_tensor_variable(x)
        return Apply(self, [x], [x.type()])

    def perform(self, node, inputs, output_storage):
        output_storage[0][0] = np.asarray(inputs[0] + self.offset)

    def L_op(self, inputs, outputs, output_gradients):
        return list(output_gradients)


def test_a_function_of_arrays_is_an_op_inside_a_compiled_program():
    x, y = T.dvectors("x y")
    f = kroton.function([x, y], T.exp(smaller(x, y)) * 2)
    np.testing.assert_allclose(f([0.0, 3.0], [1.0, 2.0]), 2 * np.exp([0.0, 2.0]))
    assert str(smaller) == "FromFunctionOp{smaller}"


def test_a_function_with_several_outputs_returns_them_all():
    x = T.dvector("x")
    first, second = halves(x)
    f = kroton.function([x], [first, second])
    np.testing.assert_array_equal(f([1.0, 2.0, 3.0])[1], [2, 3])


def test_its_shape_is_inferred_where_that_is_said():
    x, y = T.dvectors("x y")
    f = kroton.function([x, y], smaller(x, y).shape)
    assert f([1.0, 2.0], [3.0, 4.0]) == [2]


def test_inputs_of_another_type_are_refused():
    with pytest.raises(TypeError, match=r"input 1 of FromFunctionOp\{smaller\}"):
        smaller(T.dvector(), T.lvector())


def test_a_function_without_types_is_refused():
    with pytest.raises(TypeError, match="itypes must be Types"):
        as_op(itypes=["float64"], otypes=[VECTOR])


def test_a_value_of_another_type_is_an_error_at_the_call():
    @as_op(itypes=[VECTOR], otypes=[VECTOR])
    def wrong(a):
        return "no array"

    x = T.dvector("x")
    with pytest.raises(TypeError):
        kroton.function([x], wrong(x))([1.0])


def test_a_function_has_no_gradient_and_says_so():
    x = T.dvector("x")
    with pytest.raises(NullTypeGradError, match="smaller"):
        grad(smaller(x, x).sum(), x)


@pytest.mark.parametrize("op", [Scaled(3.0), Shifted(3.0), deep_copy_op, view_op])
def test_user_ops_and_copies_are_differentiable(op):
    verify_grad(lambda x: op(x) ** 2, [np.array([0.5, -1.5])])


@pytest.mark.parametrize("op", [Scaled(3.0), Shifted(3.0), deep_copy_op, view_op])
def test_ops_are_equal_when_they_say_the_same(op):
    twin = pickle.loads(pickle.dumps(op))
    assert twin == op
    assert hash(twin) == hash(op)
    assert Scaled(3.0) != Scaled(4.0)
    assert Shifted(3.0) != Shifted(4.0)


@pytest.mark.parametrize("op", [Scaled(3.0), Shifted(3.0), deep_copy_op, view_op])
def test_graphs_of_user_ops_pickle(op):
    x = T.dvector("x")
    y = op(x * 2)
    x2, y2 = pickle.loads(pickle.dumps((x, y)))
    np.testing.assert_array_equal(y2.eval({x2: [1.0]}), y.eval({x: [1.0]}))


def test_a_decorated_function_pickles_by_its_name():
    assert pickle.loads(pickle.dumps(smaller)) is smaller
    x = T.dvector("x")
    x2, y2 = pickle.loads(pickle.dumps((x, smaller(x, 2 * x))))
    np.testing.assert_array_equal(y2.eval({x2: [1.0, -1.0]}), [1, -2])


def test_a_copy_shares_no_memory_and_a_view_does():
    x = T.dvector("x")
    value = np.ones(3)
    for op, shares in ((DeepCopyOp(), False), (ViewOp(), True)):
        node = op(x).owner
        storage = [[None]]
        op.perform(node, [value], storage)
        assert np.shares_memory(storage[0][0], value) is shares


def test_an_op_without_make_node_or_types_says_what_is_missing():
    class Empty(Op):
        __props__ = ()

    with pytest.raises(TypeError, match="neither make_node nor itypes and otypes"):
        Empty()(T.dvector())


def test_props_must_be_a_tuple():
    with pytest.raises(TypeError, match="must be a tuple"):

        class Odd(Op):
            __props__ = "factor"
