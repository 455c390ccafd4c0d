"""Crossentropies: values, gradients, shapes and refusals."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import verify_grad
from kroton.graph.evaluation import interpret
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((5, 3))
CLASSES = np.array([0, 2, 1, 1, 0])
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
ONE_HOT = np.eye(3)[CLASSES]


def test_classes_and_one_hot_rows_give_the_same():
    p, y, t = T.dmatrix(), T.lvector(), T.dmatrix()
    outputs = [T.nnet.categorical_crossentropy(p, y), T.nnet.categorical_crossentropy(p, t)]
    by_class, by_row = interpret([p, y, t], outputs)(PROBABILITIES, CLASSES, ONE_HOT)
    np.testing.assert_allclose(by_class, -np.log(PROBABILITIES[np.arange(5), CLASSES]))
    np.testing.assert_allclose(by_row, by_class)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (2, 2, 5, 3)])
def test_classes_have_one_dimension_less_than_the_probabilities(shape):
    v = np.random.default_rng(0).random(shape) + 0.1
    y = np.random.default_rng(1).integers(0, 3, shape[:-1])
    p = T.tensor("float64", (None,) * len(shape))
    c = T.tensor("int64", (None,) * (len(shape) - 1))
    (actual,) = interpret([p, c], [T.nnet.categorical_crossentropy(p, c)])(v, np.asarray(y))
    expected = -np.log(np.take_along_axis(v, np.asarray(y)[..., None], axis=-1)[..., 0])
    np.testing.assert_allclose(actual, expected)
    assert actual.shape == shape[:-1]


def test_categorical_crossentropy_refuses_what_makes_no_sense():
    with pytest.raises(TypeError, match="one less for class indices; it has 3"):
        T.nnet.categorical_crossentropy(T.dmatrix(), T.ltensor3())
    with pytest.raises(TypeError, match="class indices are integers, got float64"):
        T.nnet.categorical_crossentropy(T.dmatrix(), T.dvector())
    with pytest.raises(ValueError, match="inputs of 2 and 3 rows"):
        CrossentropyCategorical1Hot()(T.tensor("float64", (2, 4)), T.tensor("int64", (3,)))
    with pytest.raises(TypeError, match="a vector of integers"):
        CrossentropySoftmaxArgmax1Hot().make_node(T.dmatrix(), T.lmatrix())
    with pytest.raises(TypeError, match="one row for each example"):
        CrossentropySoftmaxArgmax1Hot().make_node(T.dvector(), T.lvector())


def test_the_fused_op_gives_crossentropy_softmax_and_argmax():
    x, y = T.dmatrix(), T.lvector()
    outputs = T.nnet.crossentropy_softmax_argmax_1hot(x, y)
    nll, sm, winner = interpret([x, y], outputs)(SCORES, CLASSES)
    np.testing.assert_allclose(nll, -np.log(PROBABILITIES[np.arange(5), CLASSES]))
    np.testing.assert_allclose(sm, PROBABILITIES)
    assert np.array_equal(winner, SCORES.argmax(axis=1))
    assert [o.type for o in T.nnet.crossentropy_softmax_1hot(x, y)] == [o.type for o in outputs[:2]]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: T.nnet.categorical_crossentropy(T.nnet.softmax(x), CLASSES),
        lambda x: T.nnet.categorical_crossentropy(T.sqr(x), CLASSES),
        lambda x: T.nnet.categorical_crossentropy(T.sqr(x), ONE_HOT),
        lambda x: T.nnet.crossentropy_softmax_1hot(x, CLASSES)[0],
        lambda x: T.nnet.crossentropy_softmax_1hot(x, CLASSES)[1],
        lambda x: T.mul(
            T.nnet.crossentropy_softmax_1hot(x, CLASSES)[0].dimshuffle(0, "x"),
            T.nnet.crossentropy_softmax_1hot(x, CLASSES)[1],
        ),
        lambda x: T.nnet.sigmoid_binary_crossentropy(x, ONE_HOT),
        lambda x: T.nnet.binary_crossentropy(T.sigmoid(x), ONE_HOT),
    ],
)
def test_gradients_are_those_of_finite_differences(function):
    verify_grad(function, [SCORES], rng=np.random.default_rng(0))


OF_INDICES = np.array([-1, 2, -3])
"""Classes as indices have them, for the first rows."""


def test_classes_by_index_are_what_the_index_has():
    x, y, g = T.dmatrix(), T.lvector(), T.dvector()
    used = PROBABILITIES[np.arange(3), OF_INDICES]
    by_index = CrossentropySoftmaxArgmax1Hot(by_index=True).make_node(x, y).outputs
    nll, sm, winner = interpret([x, y], by_index)(SCORES, OF_INDICES)
    np.testing.assert_allclose(nll, -np.log(used))
    assert sm.shape == SCORES.shape
    assert winner.shape == (5,)
    (nll,) = interpret([x, y], [CrossentropyCategorical1Hot(True)(x, y)])(PROBABILITIES, OF_INDICES)
    np.testing.assert_allclose(nll, -np.log(used))
    weights = np.array([1.0, 2.0, -3.0])
    one_hot = np.zeros((5, 3))
    one_hot[np.arange(3), OF_INDICES] = 1
    padded = np.array([1.0, 2.0, -3.0, 0.0, 0.0])[:, None]
    (back,) = interpret([g, x, y], [CrossentropySoftmax1HotGrad(True)(g, x, y)])(
        weights, PROBABILITIES, OF_INDICES
    )
    np.testing.assert_allclose(back, padded * (PROBABILITIES - one_hot))
    (back,) = interpret([g, x, y], [CrossentropyCategorical1HotGrad(True)(g, x, y)])(
        weights, PROBABILITIES, OF_INDICES
    )
    np.testing.assert_allclose(back, -padded * one_hot / PROBABILITIES)
    assert str(CrossentropySoftmax1HotGrad(True)) == "CrossentropySoftmax1HotGrad{by_index}"


@pytest.mark.parametrize(
    "function",
    [
        lambda x: CrossentropyCategorical1Hot(by_index=True)(T.sqr(x), OF_INDICES),
        lambda x: CrossentropySoftmaxArgmax1Hot(by_index=True)(x, OF_INDICES)[0],
        lambda x: CrossentropySoftmaxArgmax1Hot(by_index=True)(x, OF_INDICES)[1],
    ],
)
def test_gradients_by_index_are_those_of_finite_differences(function):
    verify_grad(function, [SCORES], rng=np.random.default_rng(0))


@pytest.mark.parametrize("op", [CrossentropySoftmax1HotGrad, CrossentropyCategorical1HotGrad])
def test_second_derivatives_by_index_are_those_of_finite_differences(op):
    g = np.random.default_rng(1).standard_normal(3)
    apply = op(by_index=True)
    verify_grad(
        lambda g, p: apply(g, p, OF_INDICES), [g, PROBABILITIES], rng=np.random.default_rng(0)
    )
    if op is CrossentropySoftmax1HotGrad:
        verify_grad(
            lambda g, p: apply(g, p, OF_INDICES), [np.array(0.7), PROBABILITIES],
            rng=np.random.default_rng(0),
        )  # fmt: skip


@pytest.mark.parametrize("op", [CrossentropySoftmax1HotGrad(), CrossentropyCategorical1HotGrad()])
def test_second_derivatives_are_those_of_finite_differences(op):
    g = np.random.default_rng(1).standard_normal(5)
    verify_grad(lambda g, p: op(g, p, CLASSES), [g, PROBABILITIES], rng=np.random.default_rng(0))


def test_classes_have_no_gradient():
    x, y = T.dmatrix(), T.lvector()
    cost = T.nnet.categorical_crossentropy(x, y).sum()
    with pytest.raises(TypeError, match="discrete"):
        kroton.grad(cost, y)
    for op, inputs in [
        (CrossentropyCategorical1Hot(), (x, y)),
        (CrossentropySoftmaxArgmax1Hot(), (x, y)),
        (CrossentropySoftmax1HotGrad(), (T.dvector(), x, y)),
    ]:
        pattern = op.connection_pattern(op.make_node(*inputs))
        assert not any(pattern[-1])


def test_binary_crossentropies_agree():
    x, t = T.dmatrices("x t")
    outputs = [
        T.nnet.binary_crossentropy(T.sigmoid(x), t),
        T.nnet.sigmoid_binary_crossentropy(x, t),
    ]
    a, b = interpret([x, t], outputs)(SCORES, PROBABILITIES)
    np.testing.assert_allclose(a, b)


def test_sigmoid_binary_crossentropy_neither_overflows_nor_cancels():
    x = T.dvector()
    out = T.nnet.sigmoid_binary_crossentropy(x, np.array([1, 0, 1, 0]))
    g = kroton.grad(out.sum(), x)
    value, gradient = interpret([x], [out, g])(np.array([800.0, -800.0, -800.0, 40.0]))
    np.testing.assert_allclose(value, [0, 0, 800, 40])
    np.testing.assert_allclose(gradient, [0, 0, -1, 1])
    (value,) = interpret([x], [out])(np.array([40.0, -40.0, 0.0, 0.0]))
    np.testing.assert_allclose(value[:2], np.exp(-40))


def test_shapes_are_inferred():
    x, y, g = T.dmatrix(), T.lvector(), T.dvector()
    for op, inputs, shapes, expected in [
        (CrossentropyCategorical1Hot(), (x, y), [(5, 3), (5,)], [(5,)]),
        (CrossentropySoftmaxArgmax1Hot(), (x, y), [(5, 3), (5,)], [(5,), (5, 3), (5,)]),
        (CrossentropySoftmax1HotGrad(), (g, x, y), [(5,), (5, 3), (5,)], [(5, 3)]),
        (CrossentropyCategorical1HotGrad(), (g, x, y), [(5,), (5, 3), (5,)], [(5, 3)]),
    ]:
        assert op.infer_shape(op.make_node(*inputs), shapes) == expected


def test_float32_stays_float32():
    x, y = T.fmatrix(), T.lvector()
    assert T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).dtype == "float32"
    assert T.nnet.binary_crossentropy(T.fvector(), y).dtype == "float32"
    assert T.nnet.sigmoid_binary_crossentropy(T.fvector(), y).dtype == "float32"
