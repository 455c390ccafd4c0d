"""Every typed inner loop computes what its scalar operation's reference computes."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from bounds import tame, ulps_for
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import operands, values

from kroton import scalar
from kroton._kernels import loops
from kroton._kernels.tile import ElementwiseKernel

ISAS = loops.available_isas()


def kernel_for(op, types, out, patterns):
    """A kernel of one instruction."""
    numbers = tuple(t.num for t in types)
    step = (op.name, op.ufunc, tuple(range(op.nin)), numbers, out.num)
    return ElementwiseKernel(numbers, patterns, [step], (op.nin,))


def every_loop(op):
    """The distinct (input dtypes, output dtype) that an operation resolves to."""
    found = {}
    for inputs in itertools.product(scalar.DTYPES, repeat=op.nin):
        try:
            found[op.resolve(*inputs)] = None
        except TypeError:
            continue
    return list(found)


def assert_agree(op, got, expected, dtype):
    """Equal, bit by bit but for the sign of a NaN, or within the bound of `bounds.ULPS`."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    ulps, absolute = ulps_for(op, dtype)
    if got.dtype.kind == "c" and op.name in {"mul", "sqr", "true_div", "reciprocal"}:
        # NumPy's loops for contiguous rows use fused multiply-add, those for strided rows do not.
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(got), finite)
        eps = np.finfo(got.dtype).eps
        np.testing.assert_allclose(got[finite], expected[finite], rtol=4 * eps, atol=0)
        return
    if not ulps or got.dtype.kind not in "f":
        np.testing.assert_array_equal(got, expected)
        if got.dtype.kind == "f" and op.name not in {"maximum", "minimum", "clip"}:
            number = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(got)[number], np.signbit(expected)[number])
        return
    eps = np.finfo(got.dtype).eps
    if got.dtype == np.float32 and absolute:
        absolute = 1e-6
    absolute += float(np.finfo(got.dtype).tiny)
    np.testing.assert_allclose(got, expected, rtol=ulps * eps, atol=absolute)


def reference(op, arrays, shape):
    with np.errstate(all="ignore"):
        return np.broadcast_to(op.impl(*arrays), shape)


@pytest.fixture(params=ISAS)
def isa(request):
    before = loops.isa()
    loops.select(request.param)
    yield request.param
    loops.select(before)


@pytest.mark.parametrize("name", list(scalar.ops))
def test_there_is_a_loop_for_all_that_an_operation_resolves(name):
    op = scalar.ops[name]
    for types, out in every_loop(op):
        found = loops.lookup(name, tuple(t.num for t in types), out.num, op.ufunc)
        assert found in {"numpy", f"own:{loops.isa()}"}


@pytest.mark.parametrize("name", list(scalar.ops))
def test_every_loop_agrees_with_the_reference(name, isa):
    op = scalar.ops[name]
    rng = np.random.default_rng(7)
    for types, out in every_loop(op):
        for shapes in {((67,),) * op.nin, ((67,),) + ((),) * (op.nin - 1), ((64, 3),) * op.nin}:
            arrays = [
                values(rng, t, int(np.prod(s))).reshape(s, order="F")
                for t, s in zip(types, shapes, strict=True)
            ]
            arrays = tame(op, arrays)
            kernel = kernel_for(op, types, out, tuple((False,) * len(s) for s in shapes))
            (got,) = kernel(*arrays)
            assert_agree(op, got, reference(op, arrays, shapes[0]), arrays[0].dtype)


@pytest.mark.parametrize("source", scalar.DTYPES, ids=str)
@pytest.mark.parametrize("target", scalar.DTYPES, ids=str)
def test_every_cast_agrees_with_numpy_where_the_value_fits(source, target, isa):
    op = scalar.Cast(target)
    rng = np.random.default_rng(3)
    fits = target.kind not in "iu" or source.kind in "biu"
    x = values(rng, source, 300, special=fits)
    if source.kind == "i" or source.kind == "u":
        info = np.iinfo(source)
        x[:20] = rng.integers(info.min, info.max, 20, dtype=source, endpoint=True)
    elif not fits and target.kind == "u":
        x = np.abs(x).astype(source)
    kernel = kernel_for(op, (source,), target, ((False,),))
    for array in (x, x[::-2]):
        (got,) = kernel(array)
        assert_agree(op, got, reference(op, [array], array.shape), array.dtype)
        assert kernel.loop_origins == [f"own:{isa}"]


@pytest.mark.parametrize("name", list(scalar.ops))
def test_every_operation_agrees_with_its_reference_on_every_layout(name):
    op = scalar.ops[name]
    choices = every_loop(op)

    @settings(deadline=None, max_examples=15)
    @given(st.data())
    def check(data):
        types, out = data.draw(st.sampled_from(choices))
        arrays, patterns, shape = data.draw(operands(types))
        arrays = tame(op, arrays)
        (got,) = kernel_for(op, types, out, patterns)(*arrays)
        assert_agree(op, got, reference(op, arrays, shape), arrays[0].dtype)

    check()


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, -1])
def test_a_strided_array_is_negated_in_place(dtype, step, isa):
    x = np.arange(40).astype(dtype)[::step]
    expected = -x.copy()
    dtype = np.dtype(dtype)
    step = ("neg", np.negative, (0,), (dtype.num,), dtype.num)
    (got,) = ElementwiseKernel((dtype.num,), ((False,),), [step], (1,), {0: 0})(x)
    assert got is x
    np.testing.assert_array_equal(got, expected)


def precise(name, x):
    """The function in extended precision."""
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    if name == "softplus":
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
    return getattr(np, name)(x)


@pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="long double is no wider than double here"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["exp", "log", "log1p", "expm1", "tanh", "sigmoid", "softplus", "sin", "cos"]
)
def test_elementary_functions_are_within_four_units_in_the_last_place(name, dtype, isa):
    op = scalar.ops[name]
    dtype = np.dtype(dtype)
    info = np.finfo(dtype)
    rng = np.random.default_rng(11)
    top = np.log(float(info.max))
    x = np.concatenate(
        [
            rng.uniform(-1.2 * top, 1.2 * top, 20000),
            rng.uniform(-2, 2, 20000),
            rng.normal(size=20000) * 10 ** rng.uniform(-9, 0, 20000),
            1 + rng.normal(size=20000) * 10 ** rng.uniform(-7, 0, 20000),
            np.exp(rng.uniform(np.log(float(info.smallest_subnormal)), top, 20000)),
            [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, info.tiny, info.max, -info.max],
        ]
    ).astype(dtype)
    (got,) = kernel_for(op, (dtype,), dtype, ((False,),))(x)
    with np.errstate(all="ignore"):
        exact = precise(name, x.astype(np.longdouble))
        expected = exact.astype(dtype)
        unit = np.spacing(np.abs(expected)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - exact) / unit
    finite = np.isfinite(expected) & np.isfinite(got)
    assert error[finite].max() <= 4
    # Where the result is not finite, or just not, the two agree but for rounding at the edge.
    edge = np.isinf(expected) != np.isinf(got)
    assert np.all(np.abs(exact[edge]) >= float(info.max) * (1 - 4 * float(info.eps)))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(expected[zero]))


def multiples_of_half_pi(dtype):
    """The numbers nearest to n pi / 2, and their neighbours: what argument reduction finds hard."""
    n = np.random.default_rng(2).integers(-1_018_000, 1_018_000, 20_000).astype(np.longdouble)
    near = (n * np.arctan2(np.longdouble(1), np.longdouble(0))).astype(dtype)
    return np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)])


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sines_near_multiples_of_half_pi_are_those_of_the_c_library(name, isa):
    x = multiples_of_half_pi(np.float64)
    dtype = np.dtype("float64")
    (got,) = kernel_for(scalar.ops[name], (dtype,), dtype, ((False,),))(x)
    np.testing.assert_array_max_ulp(got, getattr(np, name)(x), maxulp=1)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_one_large_element_does_not_change_the_bits_of_its_neighbours(name, isa):
    x = np.random.default_rng(4).normal(scale=100, size=3000)
    dtype = np.dtype("float64")
    kernel = kernel_for(scalar.ops[name], (dtype,), dtype, ((False,),))
    alone = kernel(x)[0].copy()
    x[1700] = 1e300
    beside = kernel(x)[0]
    assert beside[1700] == getattr(np, name)(1e300)
    beside[1700] = alone[1700]
    assert beside.tobytes() == alone.tobytes()


def test_all_instruction_sets_give_the_same_bits():
    results = {}
    before = loops.isa()
    try:
        for name in (
            "exp", "log", "log1p", "expm1", "tanh", "sigmoid", "softplus", "sin", "cos"
        ):  # fmt: skip
            for dtype in map(np.dtype, ("float32", "float64")):
                x = values(np.random.default_rng(5), dtype, 5000)
                for isa in ISAS:
                    loops.select(isa)
                    kernel = kernel_for(scalar.ops[name], (dtype,), dtype, ((False,),))
                    if kernel.loop_origins == ["numpy"]:
                        continue
                    got = kernel(x)[0].tobytes()
                    assert results.setdefault((name, dtype), got) == got
    finally:
        loops.select(before)


def test_an_instruction_set_that_is_missing_is_refused():
    with pytest.raises(ValueError, match="'v9' is not available"):
        loops.select("v9")


@pytest.mark.parametrize("name", ISAS)
def test_the_environment_chooses_the_instruction_set(name):
    done = subprocess.run(
        [sys.executable, "-c", "from kroton._kernels import loops; print(loops.isa())"],
        env={**os.environ, "KROTON_ISA": name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == name


def test_a_wrong_instruction_set_in_the_environment_is_an_import_error():
    done = subprocess.run(
        [sys.executable, "-c", "import kroton._kernels.loops"],
        env={**os.environ, "KROTON_ISA": "v9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "KROTON_ISA: instruction set 'v9' is not available" in done.stderr


def test_an_unknown_operation_has_no_loop():
    assert loops.lookup("frobnicate", (12,), 12) is None
    assert loops.lookup("exp", (12,), 0, np.exp) is None
    assert loops.lookup("exp", (12, 12), 12, np.exp) is None
