"""Dot products become calls of BLAS, with the same values."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.shape import Shape_i

PLAIN = Mode(linker="py", optimizer=None)


def compiled(inputs, outputs, **options):
    return kroton.function(inputs, outputs, on_unused_input="ignore", **options)


def ops(f):
    return [node.op for node in f.maker.fgraph.toposort()]


def matrices(dtype="float64"):
    Z, A, B = (T.matrix(name, dtype=dtype) for name in "ZAB")
    y, x = (T.vector(name, dtype=dtype) for name in "yx")
    return Z, A, B, y, x, T.scalar("a", dtype=dtype)


def values(dtype="float64"):
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(s) for s in [(4, 4)] * 3 + [(4,)] * 2]
    if np.dtype(dtype).kind == "c":
        drawn = [v + 1j * rng.standard_normal(v.shape) for v in drawn]
    return [v.astype(dtype) for v in drawn] + [np.array(0.3, dtype)]


EXPRESSIONS = {
    "Z - a * dot(A, B)": (lambda Z, A, B, y, x, a: Z - a * T.dot(A, B), [Gemm()]),
    "dot * 2 + Z * 3": (lambda Z, A, B, y, x, a: T.dot(A, B) * 2 + Z * 3, [Gemm()]),
    "transposes": (lambda Z, A, B, y, x, a: Z + 0.5 * T.dot(A.T, B.T), [Gemm()]),
    "a quotient and signs": (lambda Z, A, B, y, x, a: -Z - (-T.dot(A, B) / a), [Gemm()]),
    "variable factors": (lambda Z, A, B, y, x, a: Z * a - a * T.dot(A, B) * a, [Gemm()]),
    "dot - Z": (lambda Z, A, B, y, x, a: T.dot(A, B) - Z, [Gemm()]),
    "two products": (
        lambda Z, A, B, y, x, a: Z + T.dot(A, B) + T.dot(B, A),
        [Gemm(), Gemm(inplace=True)],
    ),
    "two products and no more": (
        lambda Z, A, B, y, x, a: T.dot(A, B) - 2 * T.dot(B, A),
        [Dot22(), Gemm(inplace=True)],
    ),
    "a multiple of a sum": (lambda Z, A, B, y, x, a: a * (Z + T.dot(A, B)), [Gemm()]),
    "a scaled operand": (lambda Z, A, B, y, x, a: T.dot(2 * A, B), [Dot22Scalar()]),
    "a negated operand": (lambda Z, A, B, y, x, a: T.dot(A, -B), [Dot22Scalar()]),
    "two scaled operands": (lambda Z, A, B, y, x, a: Z - T.dot(a * A.T, B / a), [Gemm()]),
    "a sum with a sign": (lambda Z, A, B, y, x, a: -(Z / 2 + T.dot(A, B)), [Gemm()]),
    "one matrix twice": (lambda Z, A, B, y, x, a: Z - a * (T.dot(A, B) + 2 * a * Z), [Gemm()]),
    "a row between two products": (
        lambda Z, A, B, y, x, a: T.dot(A, B) + y + T.dot(B, A),
        [Dot22(), Gemm(inplace=True)],
    ),
    "products that go on": (
        lambda Z, A, B, y, x, a: T.tanh(a * (T.dot(A, B) + Z + T.dot(B, A))),
        [Dot22Scalar(), Gemm(inplace=True)],
    ),
    "vectors of two products": (
        lambda Z, A, B, y, x, a: 2 * T.dot(A, x) - T.dot(y, B),
        [Gemv(inplace=True)],
    ),
    "y + a * dot(A, x)": (lambda Z, A, B, y, x, a: y + a * T.dot(A, x), [Gemv()]),
    "2 * y - dot(x, A)": (lambda Z, A, B, y, x, a: 2 * y - T.dot(x, A), [Gemv()]),
    "Z - 0.1 * outer(x, y)": (lambda Z, A, B, y, x, a: Z - 0.1 * T.outer(x, y), [Ger()]),
    "3 * Z + outer(x, y)": (lambda Z, A, B, y, x, a: 3 * Z + T.outer(x, y), [Gemm()]),
    "a product alone": (lambda Z, A, B, y, x, a: T.dot(A, B), [Dot22()]),
    "a scaled product": (lambda Z, A, B, y, x, a: -0.5 * T.dot(A, B) / a, [Dot22Scalar()]),
    "a row is no matrix": (lambda Z, A, B, y, x, a: T.dot(A, B) + y, [Dot22()]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_sums_with_products_become_one_call_with_the_same_value(name, dtype):
    build, expected = EXPRESSIONS[name]
    inputs = matrices(dtype)
    out = build(*inputs)
    f = compiled(inputs, out)
    found = [op for op in ops(f) if isinstance(op, (Gemm, Gemv, Ger, Dot22, Dot22Scalar))]
    assert found == expected
    plain = compiled(inputs, out, mode=PLAIN)
    rtol = 1e-4 if dtype == "float32" else 1e-10
    actual = f(*values(dtype))
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual, plain(*values(dtype)), rtol=rtol, atol=rtol)


def test_integer_products_stay_as_they_are():
    A, B = T.lmatrices("A B")
    f = kroton.function([A, B], A + T.dot(A, B))
    assert not any(isinstance(op, (Gemm, Dot22)) for op in ops(f))
    assert np.array_equal(f([[1, 2], [3, 4]], [[1, 0], [0, 1]]), [[2, 4], [6, 8]])


def test_a_product_with_two_readers_is_made_once():
    Z, A, B, *_ = matrices()
    product = T.dot(A, B)
    f = kroton.function([Z, A, B], [Z + product, product])
    assert sum(isinstance(op, (Gemm, Dot22)) for op in ops(f)) == 1


def test_a_stretched_operand_is_not_accumulated_into():
    A, B = T.dmatrices("A B")
    row = T.drow("row")
    f = kroton.function([A, B, row], row + T.dot(A, B))
    assert not any(isinstance(op, Gemm) for op in ops(f))
    assert np.array_equal(f(np.ones((3, 2)), np.ones((2, 4)), [[1, 2, 3, 4]])[0], [3, 4, 5, 6])


def test_an_update_by_a_product_is_made_in_place():
    w = kroton.shared(np.zeros((3, 4)))
    x, d = T.dmatrices("x d")
    f = kroton.function([x, d], updates=[(w, w - 0.1 * T.dot(x.T, d))])
    assert Gemm(inplace=True) in ops(f)
    f(np.ones((5, 3)), np.ones((5, 4)))
    np.testing.assert_allclose(w.get_value(), np.full((3, 4), -0.5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_descent_with_decay_is_one_product_in_place_for_scalars_of_any_kind(dtype):
    x, d = T.matrices("x d", dtype=dtype)
    rate, decay, k = T.scalar("rate", dtype=dtype), kroton.shared(np.array(0.3, dtype)), T.bscalar()
    start = np.arange(12).reshape(3, 4).astype(dtype)
    w = kroton.shared(start)
    gradient = T.dot(x.T, d) / x.shape[0].astype(dtype) + 2 * decay * w + k * w
    f = kroton.function([x, d, rate, k], updates=[(w, w - rate * gradient)])
    assert [op for op in ops(f) if not isinstance(op, (Shape_i, DimShuffle, Elemwise))] == [
        Gemm(inplace=True)
    ]
    assert all(out.type.ndim == 0 for node in f.maker.fgraph.apply_nodes for out in node.outputs
               if isinstance(node.op, Elemwise))  # fmt: skip
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 3)).astype(dtype), rng.standard_normal((5, 4)).astype(dtype)
    f(a, b, np.array(0.1, dtype), 2)
    expected = start - 0.1 * (a.T @ b / 5 + 0.6 * start + 2 * start)
    np.testing.assert_allclose(w.get_value(), expected, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_an_update_whose_shapes_do_not_fit_leaves_the_value_alone():
    w = kroton.shared(np.zeros((3, 4)))
    x, d = T.dmatrices("x d")
    f = kroton.function([x, d], updates=[(w, w - 0.1 * T.dot(x.T, d))])
    with pytest.raises(ValueError, match="cannot be added"):
        f(np.ones((5, 3)), np.ones((5, 5)))
    assert np.all(w.get_value() == 0)


def test_optimized_graphs_are_differentiable():
    z, alpha, x, y, beta = T.dmatrix(), T.dscalar(), T.dmatrix(), T.dmatrix(), T.dscalar()
    out = Gemm()(z, alpha, x, y, beta)
    plain = beta * z + alpha * T.dot(x, y)
    inputs = [z, alpha, x, y, beta]
    cost = [T.sum(T.sqr(v)) for v in (out, plain)]
    f, g = (kroton.function(inputs, kroton.grad(c, inputs)) for c in cost)
    rng = np.random.default_rng(0)
    vals = [rng.standard_normal(v.type.ndim * (3,)) for v in inputs]
    for a, b in zip(f(*vals), g(*vals)):
        np.testing.assert_allclose(a, b)


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (
            lambda A, u, v: A + T.dot(T.dimshuffle(u, (0, "x")), T.dimshuffle(v, ("x", 0))),
            [(3, 4), (3, 1), (4, 1)],
        ),
        (
            lambda A, c: T.dimshuffle(T.dot(A.T, T.dimshuffle(c, (1, 0))), (1, 0)),
            [(4, 3), (5, 4, 1)],
        ),
        (lambda A, c: T.dimshuffle(T.dot(A.T, c), (1, 0)), [(4, 3), (2, 4, 1)]),
        (
            lambda c, d: T.dimshuffle(T.batched_dot(T.dimshuffle(c, (0, 2, 1)), d), (0, 2, 1)),
            [(5, 4, 3, 1), (5, 4, 2)],
        ),
    ],
)
def test_what_drops_a_dimension_is_no_transposition(build, shapes):
    inputs = [T.tensor("float64", tuple(1 if e == 1 else None for e in shape)) for shape in shapes]
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(shape) for shape in shapes]
    out = build(*inputs)
    with kroton.config.change_flags(on_opt_error="raise"):
        found = compiled(inputs, out)(*drawn)
    np.testing.assert_allclose(found, compiled(inputs, out, mode=PLAIN)(*drawn))


def test_terms_of_other_dtypes_are_scaled_in_that_of_the_sum():
    A, B = T.dmatrices("A B")
    k, r = T.vector("k", dtype="int8"), T.vector("r", dtype="float32")
    out = 0.5 * (T.dot(A, B) - k) - 0.1 * (T.dot(B, A) + r)
    rng = np.random.default_rng(0)
    given = [rng.standard_normal((3, 3)), rng.standard_normal((3, 3))]
    given += [np.array([1, 3, -5], "int8"), np.array([0.1, 0.2, 0.3], "float32")]
    found, plain = (compiled([A, B, k, r], out, mode=mode)(*given) for mode in (None, PLAIN))
    np.testing.assert_allclose(found, plain, rtol=1e-14)
