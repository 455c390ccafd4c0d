"""softmax and logsoftmax: values, gradients, shapes and refusals."""

import numpy as np
import pytest
from scipy import special

import kroton
import kroton.tensor as T
from kroton.gradient import Rop, verify_grad
from kroton.graph.evaluation import interpret
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad


@pytest.mark.parametrize("axis", [-1, 0, 1, None])
def test_values_are_scipys(axis):
    x = T.dtensor3()
    v = np.random.default_rng(0).standard_normal((2, 3, 4))
    outputs = [T.nnet.softmax(x, axis), T.nnet.logsoftmax(x, axis)]
    sm, logs = interpret([x], outputs)(v)
    np.testing.assert_allclose(sm, special.softmax(v, axis))
    np.testing.assert_allclose(logs, special.log_softmax(v, axis))


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("function", [T.nnet.softmax, T.nnet.logsoftmax])
def test_gradients_are_those_of_finite_differences(function, axis):
    rng = np.random.default_rng(0)
    verify_grad(lambda x: function(x, axis), [rng.standard_normal((3, 4))], rng=rng)


@pytest.mark.parametrize("axis", [0, 1, None])
def test_second_derivatives_are_those_of_finite_differences(axis):
    rng = np.random.default_rng(0)
    point = [rng.standard_normal((3, 4)), rng.standard_normal((3, 4))]
    verify_grad(SoftmaxGrad(axis), point, rng=rng)


@pytest.mark.parametrize("function", [T.nnet.softmax, T.nnet.logsoftmax])
def test_forward_mode_agrees_with_differences(function):
    x, d = T.dmatrices("x d")
    out = function(x)
    rng = np.random.default_rng(0)
    v, w = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    (actual,) = interpret([x, d], [Rop(out, x, d)])(v, w)
    f = interpret([x], [out])
    difference = (f(v + 1e-6 * w)[0] - f(v - 1e-6 * w)[0]) / 2e-6
    np.testing.assert_allclose(actual, difference, rtol=1e-5, atol=1e-8)


def test_large_scores_do_not_overflow():
    x = T.dvector()
    sm, logs = interpret([x], [T.nnet.softmax(x), T.nnet.logsoftmax(x)])(np.array([1e4, 0.0]))
    assert np.array_equal(sm, [1, 0])
    assert np.array_equal(logs, [0, -1e4])


def test_integers_are_computed_in_floatx():
    x = T.imatrix()
    with kroton.config.change_flags(floatX="float32"):
        assert T.nnet.softmax(x).dtype == "float32"
    assert T.nnet.logsoftmax(x).dtype == "float64"


def test_the_static_shape_and_the_inferred_one_are_the_inputs():
    x = T.tensor("float32", (None, 3))
    for op in (Softmax(0), LogSoftmax(1)):
        out = op(x)
        assert out.type == x.type
        assert op.infer_shape(out.owner, [(5, 3)]) == [(5, 3)]
    assert SoftmaxGrad(1).infer_shape(SoftmaxGrad(1)(x, x).owner, [(5, 3), (5, 3)]) == [(5, 3)]


def test_what_has_no_softmax_is_refused():
    with pytest.raises(TypeError, match="at least one dimension"):
        T.nnet.softmax(T.dscalar())
    with pytest.raises(TypeError, match="real numbers, got complex128"):
        T.nnet.softmax(T.zmatrix())
    with pytest.raises(ValueError, match="axis 2 is out of range for 2 dimensions"):
        T.nnet.logsoftmax(T.dmatrix(), axis=2)
    with pytest.raises(TypeError, match="the gradient must be float64 with 2"):
        SoftmaxGrad(1)(T.dvector(), T.dmatrix())
    with pytest.raises(ValueError, match="differ"):
        interpret(args := [T.dmatrix(), T.dmatrix()], [SoftmaxGrad(1)(*args)])(
            np.ones((2, 2)), np.ones((2, 3))
        )
