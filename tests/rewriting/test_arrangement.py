"""What is the same for many elements is computed once, and what is there already is used."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.gradient import verify_grad
from kroton.tensor.creation import Alloc
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.nnet.crossentropy import CrossentropySoftmax1HotGrad
from kroton.tensor.nnet.softmax import Softmax
from kroton.tensor.reduction import CAReduce

UNFUSED = Mode("c|py", "fast_run").excluding("fusion", "inplace")
PLAIN = Mode("py", None)


def applys(inputs, output):
    f = kroton.function(inputs, output, mode=UNFUSED, on_unused_input="ignore")
    return f.maker.fgraph.toposort()


def of_each_element(inputs, output):
    """The names of what is done for each element of a matrix."""
    return sorted(
        node.op.name
        for node in applys(inputs, output)
        if type(node.op) is Elemwise and node.outputs[0].type.broadcastable == (False, False)
    )


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda m, r, c, s: m / s, ["mul"]),
        (lambda m, r, c, s: m / r, ["mul"]),
        (lambda m, r, c, s: m / T.sqrt(r) * c / s, ["mul", "mul"]),
        (lambda m, r, c, s: 2 * m / s * r, ["mul"]),
        (lambda m, r, c, s: -(m * s) / r, ["mul"]),
        (lambda m, r, c, s: m / m.T, ["true_div"]),
        (lambda m, r, c, s: r * c / s, ["mul"]),
    ],
)
def test_each_element_is_multiplied_once_by_all_that_many_elements_share(build, expected):
    m, r, c, s = T.dmatrix("m"), T.dvector("r"), T.dcol("c"), T.dscalar("s")
    inputs = [m, r, c, s]
    assert of_each_element(inputs, build(*inputs)) == expected
    rng = np.random.default_rng(0)
    values = [rng.uniform(1, 2, shape) for shape in ((3, 3), (3,), (3, 1), ())]
    f, g = (
        kroton.function(inputs, build(*inputs), mode=mode, on_unused_input="ignore")
        for mode in (None, PLAIN)
    )
    np.testing.assert_allclose(f(*values), g(*values), rtol=1e-14)


@pytest.mark.parametrize(
    "build", [lambda m, r: T.floor(m / r), lambda m, r: T.eq(m / r, 1), lambda m, r: (m / r) % 1]
)
def test_quotients_stay_where_one_rounding_more_would_be_a_step(build):
    m, r = T.dmatrix("m"), T.dvector("r")
    assert "true_div" in of_each_element([m, r], build(m, r))
    value = np.full((1, 1), 49.0)
    f = kroton.function([m, r], build(m, r))
    assert f(value, [49.0]) == kroton.function([m, r], build(m, r), mode=PLAIN)(value, [49.0])


def test_means_of_equal_numbers_are_exact():
    x = T.dmatrix("x")
    assert np.all(kroton.function([x], x.mean(axis=0))(np.ones((49, 3))) == 1)


def test_integers_and_complex_numbers_are_divided_as_they_were():
    z, s = T.zmatrix("z"), T.zscalar("s")
    names = of_each_element([z, s], z / s)
    assert names == ["true_div"]


def test_a_root_twice_is_what_it_is_the_root_of():
    x, v = T.dmatrix("x"), T.dvector("v")
    root = T.sqrt(T.sqr(v) + 1)
    names = [n.op.name for n in applys([x, v], x / root / root) if type(n.op) is Elemwise]
    assert "sqrt" not in names
    # Of numbers that may be negative it stays.
    names = [n.op.name for n in applys([x, v], x / T.sqrt(v) / T.sqrt(v)) if type(n.op) is Elemwise]
    assert "sqrt" in names


def test_a_sum_of_what_others_sum_by_rows_takes_their_sums():
    x = T.dmatrix("x")
    e = T.exp(x)
    reductions = [n for n in applys([x], [e.sum(axis=0), e.sum()]) if type(n.op) is CAReduce]
    assert [n.op.axis for n in reductions] == [(0,), (0,)]


def test_terms_that_do_not_vary_leave_a_sum():
    x, r = T.dmatrix("x"), T.dvector("r")
    assert of_each_element([x, r], (T.exp(x) - r - 3).sum()) == ["exp"]
    assert of_each_element([x, r], (2 * T.exp(x) + r).sum(axis=0)) == ["exp"]


def test_what_is_centred_by_hand_stays_so():
    x, c = T.dvector("x"), T.dscalar("c")
    near = 1e16 + np.array([2.0, 4.0, 6.0])
    assert kroton.function([x, c], (x - c).sum())(near, 1e16) == 12
    assert kroton.function([x], (2 * x - 2e16).sum())(near) == 24


def test_shapes_of_terms_that_left_a_sum_are_still_checked():
    x, r = T.dmatrix("x"), T.dvector("r")
    f = kroton.function([x, r], (T.exp(x) - r).sum())
    with pytest.raises(ValueError):
        f(np.ones((2, 3)), np.ones(4))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: [T.nnet.logsoftmax(x, 1), T.nnet.softmax(x, 1)],
        lambda x: [T.log(T.exp(x).sum(axis=1)), T.grad(T.log(T.exp(x).sum(axis=1)).sum(), x)],
    ],
)
def test_a_softmax_beside_its_logarithm_is_made_of_that(build):
    x = T.dmatrix("x")
    found = applys([x], build(x))
    assert not any(isinstance(node.op, Softmax) for node in found)
    value = np.array([[1000.0, 999.0, -1000.0], [0.0, -1e-9, 50.0], [-np.inf, 0.0, 1.0]])
    for a, b in zip(
        kroton.function([x], build(x), mode="FAST_RUN")(value),
        kroton.function([x], [build(x)[0], T.nnet.softmax(x, 1)], mode=PLAIN)(value),
    ):
        np.testing.assert_allclose(a, np.where(np.isfinite(b), b, a), rtol=1e-12)


def test_a_mean_over_rows_fills_no_vector_of_weights():
    x, y = T.dmatrix("x"), T.lvector("y")
    cost = T.nnet.categorical_crossentropy(T.nnet.softmax(x), y).mean()
    found = applys([x, y], T.grad(cost, x))
    assert any(isinstance(node.op, CrossentropySoftmax1HotGrad) for node in found)
    assert not any(isinstance(node.op, Alloc) for node in found)


def test_the_gradient_with_one_weight_for_all_rows_has_gradients():
    g, sm, y = T.dscalar(), T.dmatrix(), T.lvector()
    op = CrossentropySoftmax1HotGrad()
    verify_grad(
        lambda g, sm: op(g, sm, np.array([1, 0])), [0.5, np.random.default_rng(0).random((2, 3))],
        rng=np.random.default_rng(1),
    )  # fmt: skip
    f = kroton.function([g, sm, y], op(g, sm, y))
    assert np.array_equal(f(2.0, [[0.25, 0.75]], [1]), [[0.5, -0.5]])


def test_the_gradient_of_a_quadratic_form_multiplies_a_row_by_a_column_where_that_is_used():
    v, k = T.dvector("v"), T.dmatrix("k")
    cost = T.exp(T.dot(T.dot(v, T.exp(k)), v))
    f = kroton.function([v, k], T.grad(cost, k))
    matrices = [n for n in f.maker.fgraph.toposort() if n.outputs[0].type.ndim == 2
                and not n.op.view_map]  # fmt: skip
    assert all(isinstance(node.op, Elemwise) for node in matrices)


@pytest.mark.parametrize(
    "build",
    [
        lambda m, w: T.dot(m.T, (m - w) / m.shape[0]),
        lambda m, w: T.dot(m.T, m * (1.0 / m.shape[0])) + w,
        lambda m, w: ((T.sqr(m) + w) / m.shape[0]).sum(axis=0),
        lambda m, w: T.sqr(m).sum(axis=0) + (T.sqr(m) * w / m.shape[0]).sum(axis=0),
        lambda m, w: T.grad((T.sqr(T.tanh(m * w)) - w).mean(), w),
    ],
)
def test_what_is_divided_by_their_number_stays_finite_where_there_are_no_rows(build):
    m, w = T.dmatrix("m"), T.dvector("w")
    f, g = (kroton.function([m, w], build(m, w), mode=mode) for mode in (None, PLAIN))
    empty, row = np.ones((0, 3)), np.arange(3.0)
    with np.errstate(all="ignore"):
        assert np.all(np.isfinite(g(empty, row)))
        np.testing.assert_array_equal(f(empty, row), g(empty, row))


def test_factors_of_other_dtypes_are_not_multiplied_with_each_other():
    m, k, r = T.dmatrix("m"), T.vector("k", dtype="int8"), T.vector("r", dtype="float32")
    given = [np.ones((1, 2)), np.array([100, 3], "int8"), np.array([1e-30, 1e30], "float32")]
    for out in (m * k * k, m * (k * k), m * r * r, m / r / r, (m * k * k).sum(axis=0)):
        found, plain = (
            kroton.function([m, k, r], out, mode=mode, on_unused_input="ignore")(*given)
            for mode in (None, PLAIN)
        )
        np.testing.assert_allclose(found, plain, rtol=1e-14)
