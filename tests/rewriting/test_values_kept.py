"""Values that rewriting by the rules of algebra would lose: small constants, overflow, nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.config import config
from kroton.rewriting.gathering import gathered, product_is_safe, sum_is_safe

WRITTEN = Mode("py", None)


def both(inputs: list[Any], out: Any, *values: Any) -> tuple[Any, Any]:
    """What the optimized function gives, and what the graph as it was written gives."""
    return tuple(kroton.function(inputs, out, mode=mode)(*values) for mode in ("FAST_RUN", WRITTEN))  # type: ignore[return-value]


d, f = T.dvector("d"), T.fvector("f")
tiny = np.float32(1e-8)


@pytest.mark.parametrize(
    ("x", "out", "value"),
    [
        (f, T.log(1 - f + 1e-10), [1.0, 0.5]),
        (f, T.log(1e-10 + (1 - f)), [1.0, 0.5]),
        (f, T.log(1 - T.sigmoid(f) + tiny), [37.0, 0.0]),
        (d, 1 / (d - 3 + 1e-20), [3.0, 2.0]),
        (d, T.log(1 - d - 1e-10 + 2e-10), [1.0]),
    ],
)
def test_a_small_constant_beside_a_large_one_is_kept(x: Any, out: Any, value: list[float]) -> None:
    fast, written = both([x], out, np.array(value, x.dtype))
    np.testing.assert_allclose(fast, written, rtol=1e-5)
    (gradient, plain) = both([x], T.grad(out.sum(), x), np.array(value, x.dtype))
    np.testing.assert_allclose(gradient, plain, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("x", "out", "value"),
    [
        (d, 1e200 * d * 1e200, [1e-100, 0.0]),
        (d, d * 1e-200 * 1e-200, [1e300]),
        (d, d / 1e-200 / 1e-200, [1e-300]),
        (d, d * 1e-200 / 1e200, [1e300]),
        (d, d + 1e308 + 1e308, [-1.5e308]),
        (d, -1e308 - (d + 1e308), [-1.5e308]),
        (f, f * 1e-30 * 1e-30, [1e30]),
        (f, f / 1e30 / 1e30, [1e38]),
        (f, f / 1e-30 / 1e-30, [1e-38]),
    ],
)
def test_constants_whose_product_or_sum_overflows_stay_apart(
    x: Any, out: Any, value: list[float]
) -> None:
    fast, written = both([x], out, np.array(value, x.dtype))
    np.testing.assert_allclose(fast, written, rtol=1e-6)


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(c=NUMBERS, e=NUMBERS, x=NUMBERS)
@settings(deadline=None, max_examples=300)
def test_gathered_constants_lose_at_most_four_bits_of_the_smaller(
    c: float, e: float, x: float
) -> None:
    if not sum_is_safe(c, e, "float64"):
        return
    smaller = min(abs(c), abs(e))
    # At x = -c, where (x + c) + e is e.
    assert abs((-c + (c + e)) - e) <= 16 * np.finfo(float).eps * smaller
    assert abs((-e + (c + e)) - c) <= 16 * np.finfo(float).eps * max(abs(c), abs(e))


def test_numbers_of_a_sum_are_gathered_where_that_is_safe() -> None:
    assert gathered([1.0, 2.0, 1e-10], "float64") == [3.0, 1e-10]
    assert gathered([1.0, -1.0], "float64") == []
    assert gathered([3, 1000], "int8") == [1003]
    assert gathered([1e-10, 3e-10, 1.0], "float32") == [1.0, 4e-10]


def test_a_product_is_safe_unless_it_overflows_where_its_factors_do_not() -> None:
    assert product_is_safe(1e10, "float32", 1e5, 1e5)
    assert not product_is_safe(1e40, "float32", 1e20, 1e20)
    assert not product_is_safe(1e-40, "float32", 1e-20, 1e-20)
    assert product_is_safe(0.0, "float32", 0.0, 1e20)
    assert product_is_safe(np.inf, "float64", np.inf, 2.0)


def test_the_absolute_value_of_a_negated_unsigned_integer_wraps() -> None:
    u = T.vector("u", dtype="uint8")
    fast, written = both([u], abs(-u), np.array([0, 5, 255], "uint8"))
    assert fast.tolist() == written.tolist() == [0, 251, 1]


@pytest.mark.parametrize("between", ["float32", "float64", "complex128"])
def test_integers_beyond_what_a_float_holds_are_rounded_by_it(between: str) -> None:
    k = T.lvector("k")
    there = T.cast(k, between)
    if between.startswith("complex"):
        there = there.real
    fast, written = both([k], T.cast(there, "int64"), np.array([2**53 + 1, 7]))
    assert fast.tolist() == written.tolist()
    assert fast[1] == 7


n, m = T.dmatrices("n", "m")


@pytest.mark.parametrize(
    "out",
    [
        T.alloc(n, 1, 1) + m,
        T.alloc(n, 1, 1)[0] * m,
        T.switch(m > 0, T.alloc(n, 1, 1), 0.0),
        T.alloc(T.alloc(n, 1, 1), m.shape[0], m.shape[1]),
        T.exp(T.alloc(n[0], 1)) * m,
    ],
)
def test_what_is_one_element_by_an_alloc_only_is_still_broadcast(out: Any) -> None:
    fast, written = both([n, m], out, np.full((1, 1), 2.0), np.ones((2, 3)))
    assert fast.tolist() == written.tolist()


a, count = T.dscalar("a"), T.lscalar("count")


@pytest.mark.parametrize("extent", [0, 3])
@pytest.mark.parametrize(
    ("inputs", "out"),
    [
        ([d], (d / d.shape[0]).sum()),
        ([d, a], (d * (a / d.shape[0])).sum()),
        ([d, a], T.alloc(a / d.shape[0], d.shape[0]).sum()),
        ([d, a], T.alloc(1 / T.cast(d.shape[0], "float64") * a, d.shape[0]).sum()),
        ([m], (m / m.shape[0]).sum(axis=0)),
        ([m], (m / m.shape[1]).sum(axis=0)),
        ([m], (T.exp(m) / m.size * m).sum()),
        ([m, a], (m * a / m.size).sum(axis=1)),
        ([m], m[:, : m.shape[0]].var(axis=0).sum()),
        ([m, a], (m[:0] * a / m[:0].shape[0]).sum(axis=0)),
        ([m, a], (m[:, :0] / (a - a)).sum(axis=1)),
        ([d, count], (d[:count] / d[:count].shape[0]).sum()),
        ([d, count], (d[:count] / count).sum()),
        ([d], (d[(d > 5).nonzero()] / d[(d > 5).nonzero()].shape[0]).sum()),
        ([m, count], T.dot(m[:count].T, m[:count] / m[:count].shape[0]).sum()),
    ],
)
def test_a_sum_over_nothing_is_zero_whatever_its_terms_are_divided_by(
    inputs: list[Any], out: Any, extent: int
) -> None:
    values = {d: np.ones(extent), a: 2.0, m: np.ones((extent, 2)), count: extent and extent - 1}
    fast, written = both(inputs, out, *(values[v] for v in inputs))
    np.testing.assert_allclose(fast, written, rtol=1e-14)


@pytest.mark.usefixtures("nan_is_meant")
def test_an_empty_batch_leaves_parameters_as_they_are() -> None:
    x = T.dmatrix("x")
    mu = kroton.shared(np.array([1.0, 2.0]), name="mu")
    log_sigma = kroton.shared(np.zeros(2), name="log_sigma")
    density = -0.5 * ((x - mu) / T.exp(log_sigma)) ** 2 - log_sigma
    cost = -density.sum(axis=1).mean()
    step = kroton.function(
        [x], cost, updates=[(p, p - 0.1 * T.grad(cost, p)) for p in (mu, log_sigma)]
    )
    assert np.isnan(step(np.empty((0, 2))))
    assert mu.get_value().tolist() == [1.0, 2.0]
    assert log_sigma.get_value().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (0, 0)])
def test_the_logarithm_of_a_sum_of_no_exponentials_is_minus_infinity(
    shape: tuple[int, int],
) -> None:
    for out in (T.log(T.exp(m).sum(axis=1)), T.log(T.exp(m).sum(axis=1, keepdims=True))):
        fast, written = both([m], out, np.empty(shape))
        assert fast.shape == written.shape
        assert fast.tolist() == written.tolist()
        assert kroton.function([m], T.grad(out.sum(), m))(np.empty(shape)).shape == shape


@pytest.mark.parametrize("x", [1e-20, -1e-20, 1e-8, 0.3])
@pytest.mark.parametrize("sign", [1, -1])
def test_logarithms_of_erfc_keep_their_digits_near_zero(x: float, sign: int) -> None:
    mpmath = pytest.importorskip("mpmath")
    v = T.dscalar("v")
    for out in (T.log1p(-sign * T.erf(v)), T.log(1 - sign * T.erf(v)), T.log(T.erfc(sign * v))):
        with mpmath.workdps(50):
            true = float(mpmath.log(mpmath.erfc(sign * mpmath.mpf(x))))
        assert kroton.function([v], out)(x) == pytest.approx(true, rel=1e-15)


@pytest.mark.parametrize("build", [lambda m, s: (m + s) - m, lambda m, s: m - (m - s * 2)])
def test_what_is_left_of_terms_that_cancel_keeps_their_shape(build: Any) -> None:
    m, s = T.dmatrix("m"), T.dscalar("s")
    with config.change_flags(on_opt_error="raise"):
        fast, written = both([m, s], build(m, s), np.ones((2, 3)), 0.5)
    assert fast.shape == (2, 3)
    np.testing.assert_array_equal(fast, written)


@pytest.mark.parametrize("c", [3, 10, 49, 98, 103, 196])
@pytest.mark.parametrize(
    "jump",
    [
        lambda q, c: T.floor(q / c),
        lambda q, c: T.cast(q / c, "int64"),
        lambda q, c: (q / c) // 1,
        lambda q, c: q - c * T.floor(q / c),
        lambda q, c: (q / c - 1) >= 0,
        lambda q, c: T.eq(q / c, 1),
        lambda q, c: T.ceil(q * 3 / c),
        lambda q, c: T.floor(q / c * 2 + 0.5),
        lambda q, c: T.floor(q / c + q / c),
        lambda q, c: T.floor(q / c / 3),
        lambda q, c: T.arange(4000)[T.cast(q / c, "int64")],
    ],
)
@pytest.mark.parametrize("q", [T.dvector("q"), T.lvector("q")])
def test_a_quotient_that_is_rounded_or_compared_stays_one(q: Any, jump: Any, c: int) -> None:
    fast, written = both([q], jump(q, c), np.arange(2000, dtype=q.type.dtype))
    np.testing.assert_array_equal(fast, written)


@pytest.mark.parametrize("rows", [49, 98, 103])
@pytest.mark.parametrize("static", [False, True])
def test_equal_numbers_are_their_mean_and_vary_by_nothing(rows: int, static: bool) -> None:
    m = T.tensor("float64", (rows if static else None, 1))
    centred = m - m.mean(axis=0, keepdims=True)
    for out in (centred, m.var(axis=0), m.std(axis=0), m.mean(axis=0) - m[0]):
        assert not np.any(kroton.function([m], out)(np.ones((rows, 1))))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int64"])
@pytest.mark.parametrize(
    "build",
    [
        lambda a: (a + 1) - 1,
        lambda a: (a - 1) + 1,
        lambda a: 1 - (a + 1),
        lambda a: 1 - (2 - a),
        lambda a: (1 - a) - 1,
        lambda a: a - (a + 1),
        lambda a: a * 3 - a * 5,
        lambda a: a * 100 + a * 100,
        lambda a: (a + 100) + 100,
        lambda a: 1 - a - a - 100 - 100,
    ],
)
def test_integers_wrap_in_any_order(build: Any, dtype: str) -> None:
    a = T.vector("a", dtype=dtype)
    limits = np.iinfo(dtype)
    with config.change_flags(on_opt_error="raise"):
        fast, written = both([a], build(a), np.array([limits.min, 0, 1, limits.max], dtype))
    assert fast.dtype == written.dtype
    np.testing.assert_array_equal(fast, written)


@pytest.mark.usefixtures("nan_is_meant")
@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
@pytest.mark.parametrize("batch", ["slice", "bounds", "mask"])
def test_a_batch_that_is_an_empty_part_leaves_parameters_as_they_are(batch: str, mode: str) -> None:
    k = T.lscalar("k")
    part = {"slice": m[k:], "bounds": m[2 * k : 2 * (k + 1)], "mask": m[(m[:, 0] > k).nonzero()]}
    rows = part[batch]
    w, b = kroton.shared(np.array([1.0, 2.0])), kroton.shared(0.5)
    out = T.dot(rows, w) + b
    for cost in (
        T.sqr(out - 1).mean(), T.nnet.softplus(out).mean(), (rows * b).mean() + (rows + w).mean(),
        T.sqr((rows - rows.mean(axis=0)) / T.sqrt(rows.var(axis=0) + 1e-5) * w + b).mean(),
    ):  # fmt: skip
        updates = [(p, p - 0.1 * kroton.grad(cost, p)) for p in (w, b)]
        kroton.function([m, k], [], updates=updates, mode=mode)(np.ones((2, 2)), 2)
        assert w.get_value().tolist() == [1.0, 2.0]
        assert b.get_value() == 0.5


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_what_is_scaled_by_its_own_size_is_multiplied_afterwards(size: float) -> None:
    x = T.fmatrix("x")
    values = np.full((2, 2), size, "float32")
    for unit in (x / T.max(T.abs(x)), x * (1 / T.sqrt(T.sqr(x / x.max()).sum()) / x.max())):
        for out in (T.dot(unit.T, unit), T.dot(unit, x)):
            fast, written = both([x], out, values)
            assert np.all(np.isfinite(written))
            np.testing.assert_allclose(fast, written, rtol=1e-5)
