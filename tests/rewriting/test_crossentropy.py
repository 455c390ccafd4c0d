"""Softmax with crossentropy becomes the fused, stable form, and so does the gradient."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.debugmode import BadOptimization
from kroton.compile.mode import Mode
from kroton.tensor.nnet.crossentropy import (
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad

PLAIN = Mode(linker="py", optimizer=None)


def op_types(f):
    return [type(node.op) for node in f.maker.fgraph.toposort()]


def example(dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 4)).astype(dtype), rng.integers(0, 4, 6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_crossentropy_of_softmax_and_its_gradient_are_fused(dtype):
    x, y = T.matrix("x", dtype=dtype), T.lvector("y")
    p = T.nnet.softmax(x)
    cost = T.nnet.categorical_crossentropy(p, y).mean()
    outputs = [cost, p, kroton.grad(cost, x)]
    f = kroton.function([x, y], outputs)
    found = op_types(f)
    assert found.count(CrossentropySoftmaxArgmax1Hot) == 1
    assert found.count(CrossentropySoftmax1HotGrad) == 1
    assert Softmax not in found
    assert SoftmaxGrad not in found
    plain = kroton.function([x, y], outputs, mode=PLAIN)
    for a, b in zip(f(*example(dtype)), plain(*example(dtype))):
        np.testing.assert_allclose(a, b, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_the_fused_form_is_finite_where_the_written_one_is_not():
    x, y = T.dmatrix("x"), T.lvector("y")
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).sum()
    f = kroton.function([x, y], [cost, kroton.grad(cost, x)])
    value, gradient = f([[0.0, 1000.0]], [0])
    assert value == 1000.0
    assert np.array_equal(gradient, [[-1.0, 1.0]])


def test_classes_that_depend_on_the_softmax_make_no_cycle():
    x = T.dmatrix("x")
    p = T.nnet.softmax(x)
    cost = T.nnet.categorical_crossentropy(p, T.argmax(p, axis=1))
    f = kroton.function([x], cost)
    v, _ = example()
    np.testing.assert_allclose(f(v), kroton.function([x], cost, mode=PLAIN)(v))


@pytest.mark.parametrize("axis", [0, 1])
def test_log_of_softmax_is_logsoftmax_and_its_gradient_has_no_quotient(axis):
    x, t = T.dmatrices("x t")
    cost = -(t * T.log(T.nnet.softmax(x, axis=axis))).sum()
    outputs = [cost, kroton.grad(cost, x)]
    f = kroton.function([x, t], outputs)
    assert LogSoftmax in op_types(f)
    assert SoftmaxGrad not in op_types(f)
    v, _ = example()
    weights = abs(v) / abs(v).sum(axis=axis, keepdims=True)
    for a, b in zip(f(v, weights), kroton.function([x, t], outputs, mode=PLAIN)(v, weights)):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    value, gradient = f([[0.0, 2000.0], [2000.0, 0.0]], np.full((2, 2), 0.5))
    assert value == 2000.0
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("weight", ["mean", "sum", "weighted", "negative"])
def test_gradients_of_log_probabilities_agree_however_they_are_weighted(weight):
    x, w = T.dmatrices("x w")
    logs = T.log(T.nnet.softmax(x))
    cost = {
        "mean": logs.mean(),
        "sum": logs.sum(),
        "weighted": (w * logs / 3).sum(),
        "negative": -(logs * 2).sum() + (T.nnet.softmax(x) ** 2).sum(),
    }[weight]
    g = kroton.grad(cost, x)
    inputs = [x, w]
    f = kroton.function(inputs, g, on_unused_input="ignore")
    plain = kroton.function(inputs, g, on_unused_input="ignore", mode=PLAIN)
    v, _ = example()
    np.testing.assert_allclose(f(v, v), plain(v, v), rtol=1e-9, atol=1e-12)


def test_a_class_out_of_range_is_named_with_its_row():
    x, y = T.dmatrix("x"), T.lvector("y")
    f = kroton.function([x, y], T.nnet.categorical_crossentropy(T.nnet.softmax(x), y))
    with pytest.raises(ValueError, match="row 1 has class 3"):
        f(np.zeros((2, 3)), [0, 3])


@pytest.mark.parametrize("counted", ["classes", "rows"])
@pytest.mark.parametrize("classes", [[0, -1, 3, -4, 2, 1], [0, -1, 3], [], [1], [4], [-5], [0] * 7])
def test_a_likelihood_by_index_is_what_numpy_has_for_any_classes(classes, counted):
    x, y = T.dmatrix("x"), T.lvector("y")
    e = T.exp(x - x.max(axis=1, keepdims=True))
    rows = T.arange((y if counted == "classes" else x).shape[0])
    cost = -T.log(e / e.sum(axis=1, keepdims=True))[rows, y].sum()
    outputs = [cost, kroton.grad(cost, x)]
    f = kroton.function([x, y], outputs)
    assert CrossentropySoftmax1HotGrad in op_types(f)
    v, _ = example()
    plain = kroton.function([x, y], outputs, mode=PLAIN)
    if counted == "rows" and len(classes) != 6:
        # DebugMode sees that one class for all rows is no error as it is written.
        with pytest.raises((ValueError, BadOptimization), match=f"{len(classes)}"):
            f(v, classes)
        return
    if len(classes) > 6 or not all(-4 <= k < 4 for k in classes):
        for g in (f, plain):
            with pytest.raises(IndexError):
                g(v, classes)
        return
    for a, b in zip(f(v, classes), plain(v, classes)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_a_scalar_gradient_that_reaches_every_row_is_stretched():
    x, y = T.dmatrix("x"), T.lvector("y")
    g = kroton.grad(T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).mean(), x)
    v, classes = example()
    f = kroton.function([x, y], g)
    assert f(v, classes).shape == v.shape


def naive(x):
    return T.exp(x) / T.exp(x).sum(axis=1, keepdims=True)


PROBABILITIES = {
    "softmax": T.nnet.softmax,
    "naive": naive,
    "transposed": lambda x: (T.exp(x).T / T.exp(x).sum(axis=1)).T,
    "shifted": lambda x: naive(x - x.max(axis=1, keepdims=True)),
}
FAR = np.array([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 3.0]])


@pytest.mark.parametrize("spelling", PROBABILITIES)
@pytest.mark.parametrize("counted", ["classes", "scores", "probabilities"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_likelihood_indexed_inside_the_logarithm_is_stable(spelling, counted, beside):
    x, y = T.dmatrix("x"), T.lvector("y")
    p = PROBABILITIES[spelling](x)
    rows = T.arange({"classes": y, "scores": x, "probabilities": p}[counted].shape[0])
    cost = -T.log(p[rows, y]).mean()
    outputs = [kroton.grad(cost, x), cost] if beside else [kroton.grad(cost, x)]
    f = kroton.function([x, y], outputs)
    assert op_types(f).count(CrossentropySoftmax1HotGrad) == 1
    assert len(op_types(f)) <= 7
    gradient, *value = f(FAR, [1, 0])
    np.testing.assert_array_equal(gradient, [[0.5, -0.5, 0.0], [-0.5, 0.5, 0.0]])
    assert value == [2000.0] * beside
    v, classes = example()
    plain = kroton.function([x, y], outputs, mode=PLAIN)
    for a, b in zip(f(v, classes), plain(v, classes)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("spelling", PROBABILITIES)
@pytest.mark.parametrize(
    "index",
    [
        lambda v, k: v[:, 1],
        lambda v, k: v[1],
        lambda v, k: v[0, 1],
        lambda v, k: v[:, 1:],
        lambda v, k: v[k],
        lambda v, k: v[:, k],
    ],
)
def test_the_gradient_of_a_logarithm_of_indexed_probabilities_has_no_quotient(spelling, index):
    x, k = T.dmatrix("x"), T.lvector("k")

    def gradient(logarithm):
        g = kroton.grad(logarithm.sum(), x)
        return kroton.function([x, k], g, on_unused_input="ignore")

    after = gradient(index(T.nnet.logsoftmax(x, axis=1), k))
    inside = gradient(T.log(index(PROBABILITIES[spelling](x), k)))
    for scores in (FAR, -FAR, FAR / 1000):
        np.testing.assert_allclose(inside(scores, [1, 0]), after(scores, [1, 0]), atol=1e-15)
