"""Reductions, statistics and running sums against NumPy; their gradients against differences."""

import pickle

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.gradient import verify_grad
from kroton.graph.evaluation import interpret
from kroton.tensor.reduction import CAReduce
from kroton.tensor.type import DTYPES

AXES = [None, 0, 1, -1, (0, 2), (2, 0), (0, 1, 2), (), [1]]
REDUCTIONS = {
    "sum": (T.sum, np.sum), "prod": (T.prod, np.prod), "max": (T.max, np.max),
    "min": (T.min, np.min), "all": (T.all, np.all), "any": (T.any, np.any),
    "mean": (T.mean, np.mean), "var": (T.var, np.var), "std": (T.std, np.std),
}  # fmt: skip


def sample(dtype, shape=(3, 4, 2)):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 5, shape)
    if np.dtype(dtype).kind == "c":
        return (values + 1j * rng.integers(-3, 3, shape)).astype(dtype)
    return values.astype(dtype)


def evaluated(function, *values):
    inputs = [T.tensor(v.dtype.name, (None,) * v.ndim) for v in values]
    output = function(*inputs)
    (result,) = interpret(inputs, [output])(*values)
    assert output.type.is_valid_value(result)
    return result


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_numpys(name, axis, keepdims):
    ours, numpys = REDUCTIONS[name]
    x = sample("float64")
    expected = numpys(x, axis=tuple(axis) if isinstance(axis, list) else axis, keepdims=keepdims)
    result = evaluated(lambda v: ours(v, axis=axis, keepdims=keepdims), x)
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(result, expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_the_dtype_of_a_reduction_is_numpys(name, dtype):
    ours, numpys = REDUCTIONS[name]
    x = sample(dtype)
    result = evaluated(ours, x)
    expected = numpys(x)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_a_sum_accumulates_in_acc_dtype():
    x = np.array([1e8, 1.0, -1e8], "float32")
    assert evaluated(lambda v: T.sum(v, acc_dtype="float64"), x) == 1.0
    assert evaluated(lambda v: T.sum(v, acc_dtype="float64"), x).dtype == np.float32
    assert evaluated(lambda v: T.sum(v, dtype="float64"), x).dtype == np.float64


def test_sums_and_products_of_nothing_are_neutral():
    x = np.zeros((0, 3))
    assert evaluated(T.sum, x) == 0
    assert evaluated(T.prod, x) == 1
    assert bool(evaluated(T.all, x))
    assert not bool(evaluated(T.any, x))


@pytest.mark.parametrize("function", [T.max, T.min])
def test_an_extreme_of_nothing_is_an_error(function):
    with pytest.raises(ValueError, match="zero-size"):
        evaluated(function, np.zeros((0, 3)))


@pytest.mark.parametrize("function", [T.sum, T.prod, T.max, T.min, T.mean])
def test_nan_propagates(function):
    x = np.array([1.0, np.nan, 2.0])
    assert np.isnan(evaluated(function, x))


@pytest.mark.parametrize(
    ("axis", "error", "message"),
    [
        (2, ValueError, "axis 2 is out of range for 2 dimensions"),
        (-3, ValueError, "axis -3 is out of range"),
        ((0, 0), ValueError, "names a dimension twice"),
        ((1, -1), ValueError, "names a dimension twice"),
        (0.5, TypeError, "an axis must be an integer, got 0.5"),
        (True, TypeError, "an axis must be an integer"),
        ("rows", TypeError, "an axis must be an integer"),
    ],
)
def test_a_wrong_axis_is_named(axis, error, message):
    for function in (T.sum, T.mean, T.argmax):
        with pytest.raises(error, match=message):
            function(T.matrix(), axis=axis)


def test_an_axis_may_be_a_constant_or_a_numpy_integer():
    x = T.matrix()
    assert T.sum(x, axis=np.int64(1)).owner.op == T.sum(x, axis=-1).owner.op
    assert T.sum(x, axis=T.constant(1)).owner.op == T.sum(x, axis=1).owner.op


def test_complex_values_have_no_real_sum():
    with pytest.raises(TypeError, match="complex128"):
        T.sum(T.zmatrix(), dtype="float64")


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x: T.sum(x, acc_dtype="int32"),
        lambda x: T.prod(x, dtype="int64"),
        lambda x: T.mean(x, acc_dtype="int64"),
        lambda x: T.sum(T.cast(x, "complex128"), acc_dtype="int64"),
    ],
)
def test_floats_are_not_accumulated_in_integers(reduce):
    with pytest.raises(TypeError, match="int"):
        reduce(T.dvector())


def test_a_mean_has_no_integer_dtype():
    with pytest.raises(TypeError, match="a mean needs a float"):
        T.mean(T.matrix(), dtype="int64")


def test_static_shapes_are_kept():
    x = T.tensor("float64", (2, None, 3))
    assert T.sum(x, axis=1).type.shape == (2, 3)
    assert T.max(x, axis=0, keepdims=True).type.shape == (1, None, 3)
    assert T.cumsum(x, axis=2).type.shape == (2, None, 3)


def test_shapes_are_inferred():
    x = T.tensor3()
    node = T.sum(x, axis=1).owner
    assert node.op.infer_shape(node, [(2, 3, 4)]) == [(2, 4)]
    node = T.cumprod(x, axis=1).owner
    assert node.op.infer_shape(node, [(2, 3, 4)]) == [(2, 3, 4)]
    node = T.argmax(x, axis=(0, 2)).owner
    assert node.op.infer_shape(node, [(2, 3, 4)]) == [(3,)]


def test_reductions_are_equal_by_their_fields_and_pickle():
    x = T.matrix()
    op = T.sum(x, axis=0).owner.op
    assert op == T.sum(x, axis=-2).owner.op
    assert op != T.sum(x, axis=1).owner.op
    assert pickle.loads(pickle.dumps(op)) == op
    assert repr(op) == "Sum{axes=[0]}"
    assert isinstance(op, CAReduce)


@pytest.mark.parametrize("L", [0, 1, 2, 3, 2.5, np.inf, -np.inf])
def test_norms_are_numpys(L):
    x = sample("float64", (3, 4)) - 2
    np.testing.assert_allclose(
        evaluated(lambda v: T.norm(v, L, axis=1), x), np.linalg.norm(x, L, axis=1)
    )


@pytest.mark.parametrize(
    ("L", "number"), [(None, 2), ("fro", 2), ("inf", np.inf), ("-inf", -np.inf), (np.int64(2), 2)]
)
def test_a_norm_may_be_named(L, number):
    x = np.arange(6.0).reshape(2, 3) - 2
    expected = evaluated(lambda v: v.norm(number), x)
    assert evaluated(lambda v: v.norm(L), x) == expected
    assert evaluated(lambda v: v.norm("fro"), x) == np.linalg.norm(x)


@pytest.mark.parametrize(("L", "error"), [("nuc", ValueError), ([2], TypeError)])
def test_a_norm_that_is_not_known_is_refused_with_those_that_are(L, error):
    with pytest.raises(error, match="a number, 'fro', 'inf', '-inf' or None, got"):
        T.norm(T.dmatrix(), L)


def test_logsumexp_does_not_overflow():
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [-1000.0, 0.0]])
    result = evaluated(lambda v: T.logsumexp(v, axis=1), x)
    np.testing.assert_allclose(result, [1000 + np.log(2), -np.inf, 0.0])
    assert evaluated(lambda v: T.logsumexp(v, axis=1, keepdims=True), x).shape == (3, 1)


def test_var_takes_ddof_and_corrects_the_mean():
    x = sample("float64")
    np.testing.assert_allclose(evaluated(lambda v: T.var(v, 0, ddof=1), x), np.var(x, 0, ddof=1))
    np.testing.assert_allclose(evaluated(lambda v: T.var(v, corrected=True), x), np.var(x))


def test_smallest_largest_and_ptp():
    x = sample("float64", (3, 4))
    y, z = x[::-1].copy(), x * 2 - 3
    np.testing.assert_array_equal(evaluated(T.smallest, x, y, z), np.minimum(np.minimum(x, y), z))
    np.testing.assert_array_equal(evaluated(T.largest, x, y), np.maximum(x, y))
    np.testing.assert_array_equal(evaluated(lambda v: T.ptp(v, 1), x), np.ptp(x, 1))
    with pytest.raises(ValueError, match="at least one"):
        T.largest()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_running_sums_and_products_are_numpys(axis, dtype):
    x = sample(dtype)
    for ours, numpys in ((T.cumsum, np.cumsum), (T.cumprod, np.cumprod)):
        result = evaluated(lambda v, f=ours: f(v, axis=axis), x)
        expected = numpys(x, axis=axis)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


# ---- gradients


def point(zeros=()):
    x = np.random.default_rng(3).standard_normal((3, 4, 2))
    for place in zeros:
        x[place] = 0.0
    return x


@pytest.mark.parametrize("axis", [None, 0, (0, 2), (1,)], ids=str)
@pytest.mark.parametrize(
    "name", ["sum", "prod", "max", "min", "mean", "var", "std", "logsumexp", "norm3", "norm2"]
)
def test_a_gradient_agrees_with_differences(name, axis):
    function = {
        "sum": T.sum, "prod": T.prod, "max": T.max, "min": T.min, "mean": T.mean,
        "var": T.var, "std": T.std, "logsumexp": T.logsumexp,
        "norm3": lambda v, axis: T.norm(v, 3, axis), "norm2": lambda v, axis: T.norm(v, 2, axis),
    }[name]  # fmt: skip
    verify_grad(lambda v: function(v, axis=axis), [point()])


ZEROS = {
    "none": [], "one": [(0, 1, 0)], "two in one line": [(0, 1, 0), (2, 1, 0)],
    "several": [(0, 0, 0), (1, 0, 0), (2, 3, 1), (0, 2, 1)],
}  # fmt: skip


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("axis", [0, (0, 1)], ids=str)
def test_the_gradient_of_a_product_is_right_for_zeros(axis, zeros):
    verify_grad(lambda v: T.prod(v, axis=axis), [point(ZEROS[zeros])])


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_gradient_of_a_running_product_is_right_for_zeros(axis, zeros):
    verify_grad(lambda v: T.cumprod(v, axis=axis), [point(ZEROS[zeros])])


def test_second_derivatives_of_products_are_right_for_zeros():
    x = point(ZEROS["several"])[:, :, 0]
    verify_grad(lambda v: kroton.grad(T.prod(v, axis=0).sum(), v), [x])
    verify_grad(lambda v: kroton.grad(T.sqr(T.cumprod(v, axis=0)).sum(), v), [x])


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_gradient_of_a_running_sum(axis):
    verify_grad(lambda v: T.cumsum(v, axis=axis), [point()])


def test_the_gradient_of_a_maximum_goes_to_each_of_them():
    x = T.vector()
    gradient = kroton.grad(T.max(x), x)
    result = gradient.eval({x: np.array([1.0, 3.0, 3.0])})
    np.testing.assert_array_equal(result, [0.0, 1.0, 1.0])


def test_the_gradient_by_integers_is_zero():
    x = T.lvector()
    total = T.sum(x, dtype="float64")
    (gradient,) = total.owner.op.L_op([x], [total], [T.constant(1.0)])
    assert gradient.type.dtype == kroton.config.floatX
    np.testing.assert_array_equal(gradient.eval({x: np.array([1, 2])}), [0.0, 0.0])


def test_the_gradient_of_a_float32_sum_is_float32():
    x = T.fvector()
    gradient = kroton.grad(T.sum(x, dtype="float64"), x)
    assert gradient.type.dtype == "float32"


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_gradients_of_a_linear_recurrence(axis, reverse):
    x = point()[:, :, 0]
    verify_grad(T.LinearRecurrence(axis, reverse), [x, x[::-1].copy()])


def test_the_reverse_recurrence_is_the_transpose():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(5)
    basis = np.eye(5)
    forward = [evaluated(T.LinearRecurrence(0), a, b) for b in basis]
    backward = [evaluated(T.LinearRecurrence(0, True), a, b) for b in basis]
    np.testing.assert_allclose(np.array(forward), np.array(backward).T)
