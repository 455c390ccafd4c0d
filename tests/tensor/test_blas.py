"""The Ops of BLAS say what NumPy computes, refuse what does not fit, and are differentiable."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import verify_grad
from kroton.graph.evaluation import interpret
from kroton.linking.kernels import select_kernel
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger, dot22, gemm, gemv, ger

DTYPES = ["float32", "float64", "complex64", "complex128"]
CASES = {
    "gemm": (Gemm, [(3, 5), (), (3, 4), (4, 5), ()]),
    "gemv": (Gemv, [(3,), (), (3, 4), (4,), ()]),
    "ger": (Ger, [(3, 5), (), (3,), (5,)]),
    "dot22": (Dot22, [(3, 4), (4, 5)]),
    "dot22scalar": (Dot22Scalar, [(3, 4), (4, 5), ()]),
}


def draw(shapes, dtype):
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(s) for s in shapes]
    if np.dtype(dtype).kind == "c":
        values = [v + 1j * rng.standard_normal(np.shape(v)) for v in values]
    return [np.asarray(v, dtype) for v in values]


def reference(name, values):
    if name == "dot22":
        return values[0] @ values[1]
    if name == "dot22scalar":
        return values[2] * (values[0] @ values[1])
    z, alpha, x, y = values[:4]
    if name == "ger":
        return z + alpha * np.outer(x, y)
    return values[4] * z + alpha * (x @ y)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_perform_and_kernel_have_numpys_value(name, dtype, inplace):
    op_type, shapes = CASES[name]
    if name.startswith("dot22") and inplace:
        return
    op = op_type() if name.startswith("dot22") else op_type(inplace)
    values = draw(shapes, dtype)
    inputs = [T.tensor(dtype, (None,) * v.ndim) for v in values]
    out = op(*inputs)
    expected = reference(name, values)
    rtol = 1e-4 if dtype in ("float32", "complex64") else 1e-12
    for run in (interpret(inputs, [out]), select_kernel(out.owner)):
        given = [v.copy() for v in values]
        (actual,) = run(*given)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=rtol)
        assert (actual is given[0]) == inplace
        for k, (v, g) in enumerate(zip(values, given)):
            assert (inplace and k == 0) or np.array_equal(v, g)


def test_what_is_overwritten_is_announced():
    for op_type in (Gemm, Gemv, Ger):
        assert op_type(inplace=True).destroy_map == {0: [0]}
        assert not op_type().destroy_map
        assert op_type(inplace=True) != op_type()
        assert str(op_type(inplace=True)) == f"{op_type.__name__}{{inplace}}"


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    op_type, shapes = CASES[name]
    rng = np.random.default_rng(0)
    verify_grad(op_type(), [rng.standard_normal(s) for s in shapes], rng=rng)


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_inferred(name):
    op_type, shapes = CASES[name]
    inputs = [T.tensor("float64", s) for s in shapes]
    out = op_type()(*inputs)
    assert op_type().infer_shape(out.owner, shapes) == [out.type.shape]


def test_where_a_factor_is_zero_perform_reads_nothing_either():
    z, a = np.full((2, 2), np.nan), np.ones((2, 2))
    inputs = T.dmatrix(), T.dscalar(), T.dmatrix(), T.dmatrix(), T.dscalar()
    f = interpret(inputs, [gemm(*inputs)])
    one, zero = np.array(1.0), np.array(0.0)
    assert np.array_equal(f(z, one, a, a, zero)[0], a @ a)
    assert np.array_equal(f(a, zero, z, z, one)[0], a)


def test_numbers_may_stand_for_scalars():
    y, A, x = T.fvector(), T.fmatrix(), T.fvector()
    assert gemv(y, 1.0, A, x, 0.0).type.dtype == "float32"


def test_what_blas_cannot_compute_is_refused():
    x, v = T.dmatrix(), T.dvector()
    with pytest.raises(TypeError, match="computes in float32"):
        dot22(T.lmatrix(), T.lmatrix())
    with pytest.raises(TypeError, match="input 1 must be float64 with 2 dimensions"):
        dot22(x, v)
    with pytest.raises(TypeError, match="input 1 must be float64"):
        dot22(x, T.fmatrix())
    with pytest.raises(ValueError, match="3 and 4"):
        dot22(T.tensor("float64", (2, 3)), T.tensor("float64", (4, 2)))
    f = interpret([x, v], [ger(x, 1.0, v, v)])
    with pytest.raises(ValueError, match=r"cannot be added to shape \(2, 3\)"):
        f(np.ones((2, 3)), np.ones(2))


def test_second_derivatives_pass_through():
    z, x, y = T.dmatrices("z x y")
    g = kroton.grad(T.sum(T.sqr(gemm(z, 1.0, x, y, 2.0))), x)
    h = kroton.grad(T.sum(T.sqr(g)), z)
    values = draw([(3, 3)] * 3, "float64")
    plain = kroton.grad(T.sum(T.sqr(kroton.grad(T.sum(T.sqr(2 * z + x @ y)), x))), z)
    f = interpret([z, x, y], [h, plain])
    np.testing.assert_allclose(*f(*values))
