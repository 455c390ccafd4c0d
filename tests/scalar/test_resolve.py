"""Scalar operations compute in the dtypes that NumPy computes in."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from kroton import scalar

DTYPES = scalar.DTYPES
F8 = "float64"


def combinations(op):
    """Every tuple of input dtypes that `op` resolves."""
    for inputs in itertools.product(DTYPES, repeat=op.nin):
        try:
            yield inputs, op.resolve(*inputs)
        except TypeError:
            continue


@pytest.mark.parametrize("name", list(scalar.ops))
def test_the_reference_returns_the_dtype_that_resolve_promises(name):
    op = scalar.ops[name]
    seen = set()
    for _, (loop, out) in combinations(op):
        if loop in seen:
            continue
        seen.add(loop)
        arrays = [np.ones(3, dtype) for dtype in loop]
        with np.errstate(all="ignore"):
            result = op.impl(*arrays)
            assert op.impl(*(a[0] for a in arrays)).dtype == out
        assert isinstance(result, np.ndarray)
        assert result.dtype == out
        assert result.shape == (3,)
    assert seen, "defined for no dtype at all"


@pytest.mark.parametrize("name", list(scalar.ops))
def test_resolving_the_loop_dtypes_again_changes_nothing(name):
    op = scalar.ops[name]
    for _, (loop, out) in combinations(op):
        assert op.resolve(*loop) == (loop, out)
        assert {*loop, out} <= set(DTYPES)


@pytest.mark.parametrize("name", [n for n, op in scalar.ops.items() if op.ufunc is not None])
def test_ufuncs_give_numpys_dtype_where_numpy_does_not_say_float16(name):
    op = scalar.ops[name]
    differs = {"ceil", "floor", "trunc", "round_half_to_even", "reciprocal"}
    for inputs, (_, out) in combinations(op):
        if name in differs and all(d.kind in "biu" for d in inputs):
            continue
        with np.errstate(all="ignore"):
            expected = op.ufunc(*(np.ones(1, d) for d in inputs)).dtype
        assert out == (np.float32 if expected == np.float16 else expected)


@pytest.mark.parametrize(
    ("name", "inputs", "out"),
    [
        ("add", (np.dtype("int8"), int), "int8"),
        ("add", (np.dtype("float32"), float), "float32"),
        ("add", (np.dtype("int8"), float), "float64"),
        ("add", (np.dtype("float32"), complex), "complex64"),
        ("add", (np.dtype("bool"), bool), "bool"),
        ("mul", (int, float), "float64"),
        ("true_div", (np.dtype("int8"), np.dtype("int8")), "float64"),
        ("sqrt", (np.dtype("int8"),), "float32"),
        ("sqrt", (np.dtype("bool"),), "float32"),
        ("sqrt", (np.dtype("int32"),), "float64"),
        ("arctan2", (np.dtype("int8"), np.dtype("uint8")), "float32"),
        ("exp", (int,), "float64"),
        ("sigmoid", (np.dtype("uint16"),), "float32"),
        ("gammaln", (np.dtype("int64"),), "float64"),
        ("reciprocal", (np.dtype("int64"),), "float64"),
        ("second", (np.dtype("int8"), np.dtype("float32")), "float32"),
        ("second", (np.dtype("float32"), float), "float32"),
        ("switch", (np.dtype("int8"), np.dtype("int16"), float), "float64"),
        ("clip", (np.dtype("int8"), int, int), "int8"),
        ("real", (np.dtype("complex64"),), "float32"),
        ("angle", (np.dtype("int8"),), "float32"),
        ("abs", (np.dtype("complex128"),), "float64"),
        ("ceil", (np.dtype("int8"),), "int8"),
        ("eq", (np.dtype("int64"), np.dtype("uint64")), "bool"),
    ],
)
def test_promotion_follows_nep_50(name, inputs, out):
    assert scalar.ops[name].resolve(*inputs)[1] == out


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("sub", (np.dtype(bool), np.dtype(bool))),
        ("neg", (np.dtype(bool),)),
        ("and_", (np.dtype("float32"), np.dtype("float32"))),
        ("left_shift", (np.dtype("int64"), np.dtype("uint64"))),
        ("gamma", (np.dtype("complex64"),)),
        ("mod", (np.dtype("complex64"), np.dtype("complex64"))),
        ("exp", (np.dtype("float16"),)),
        ("exp", (np.dtype("longdouble"),)),
        ("exp", (np.dtype(">f8"),)),
        ("exp", (np.dtype(object),)),
        ("exp", (str,)),
        ("exp", ()),
        ("clip", (np.dtype("complex64"),) * 3),
    ],
)
def test_an_undefined_operation_is_a_type_error_that_names_it(name, inputs):
    with pytest.raises(TypeError, match=name):
        scalar.ops[name].resolve(*inputs)


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_cast_converts_every_dtype_to_every_other(source, target):
    op = scalar.Cast(target)
    assert op.resolve(source) == ((source,), target)
    result = op.impl(np.array([0, 1, 2, 1], source))
    assert result.dtype == target
    np.testing.assert_array_equal(result, np.array([0, 1, 2, 1], source).real.astype(target))


def test_cast_of_a_complex_number_drops_the_imaginary_part_silently():
    x = np.array([1 + 2j, 3j])
    np.testing.assert_array_equal(scalar.Cast("float32").impl(x), [1, 0])
    np.testing.assert_array_equal(scalar.Cast(bool).impl(x), [True, True])


def test_cast_refuses_a_dtype_that_nothing_computes_in():
    with pytest.raises(TypeError, match="float16"):
        scalar.Cast("float16")


@pytest.mark.parametrize(
    "op",
    [
        scalar.add,
        scalar.erf,
        scalar.Cast("int8"),
        scalar.Composite(
            2, ((scalar.add, (0, 1), (F8, F8), F8), (scalar.exp, (2,), (F8,), F8)), (3, 2)
        ),
    ],
)
def test_operations_survive_pickling_and_copying_with_their_identity(op):
    for other in (pickle.loads(pickle.dumps(op)), copy.deepcopy(op), copy.copy(op)):
        assert other == op
        assert hash(other) == hash(op)
        assert repr(other) == repr(op)


def test_operations_differ_by_name_dtype_and_program():
    step = (scalar.add, (0, 1), (F8, F8), F8)
    other = (scalar.mul, (0, 1), (F8, F8), F8)
    assert scalar.add != scalar.mul
    assert scalar.Cast("int8") != scalar.Cast("int16")
    assert scalar.Composite(2, (step,), (2,)) != scalar.Composite(2, (other,), (2,))
    assert scalar.Composite(2, (step,), (2,)) != scalar.Composite(2, (step,), (0,))
    assert len({scalar.Cast("int8"), scalar.Cast("int8"), scalar.add}) == 2


def test_a_composite_evaluates_its_instructions_in_order():
    program = scalar.Composite(
        2,
        (
            (scalar.sub, (0, 1), (F8, F8), F8),
            (scalar.sqr, (2,), (F8,), F8),
            (scalar.Cast("float32"), (3,), (F8,), "float32"),
        ),
        (4, 2),
    )
    a, b = np.arange(3.0), np.array(2.0)
    squared, difference = program.impl(a, b)
    np.testing.assert_array_equal(difference, a - b)
    np.testing.assert_array_equal(squared, ((a - b) ** 2).astype("f4"))
    assert program.out_dtypes(np.dtype(F8), np.dtype(F8)) == (np.dtype("f4"), np.dtype(F8))
    assert program.in_dtypes == (F8, F8)
    assert program.nout == 2
    assert repr(program) == "Composite{t0 = sub(i0, i1); cast{float32}(sqr(t0)), t0}"


@pytest.mark.parametrize(
    ("instructions", "outputs", "message"),
    [
        (((scalar.exp, (1,), (F8,), F8),), (1,), "reads register 1"),
        (((scalar.exp, (0,), (F8,), F8),), (2,), "output register 2"),
        (((scalar.add, (0,), (F8,), F8),), (1,), "takes 2 inputs"),
        (
            ((scalar.exp, (0,), (F8,), F8), (scalar.exp, (1,), ("float32",), "float32")),
            (2,),
            "holds float64",
        ),
    ],
)
def test_a_composite_that_makes_no_sense_is_refused(instructions, outputs, message):
    with pytest.raises(ValueError, match=message):
        scalar.Composite(1, instructions, outputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_and_softplus_are_stable_at_both_ends(dtype):
    x = np.array([-np.inf, -1000, -80, -1, -0.0, 0, 1, 80, 1000, np.inf, np.nan], dtype)
    with np.errstate(over="raise"):
        s, p = scalar.sigmoid.impl(x), scalar.softplus.impl(x)
    wide = x.astype("longdouble")
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    np.testing.assert_allclose(s, 1 / (1 + np.exp(-wide)), rtol=4 * eps, atol=tiny)
    exact = np.where(wide > 800, wide, np.log1p(np.exp(wide)))
    np.testing.assert_allclose(p, exact, rtol=4 * eps, atol=tiny)


def test_half_way_cases_round_to_even_or_away_from_zero():
    x = np.array([0.5, 1.5, 2.5, -0.5, -2.5, 0.49999999999999994, 2**52 + 1.0, np.inf])
    with np.errstate(invalid="ignore"):
        even = scalar.round_half_to_even.impl(x)
        away = scalar.round_half_away_from_zero.impl(x)
    np.testing.assert_array_equal(even, [0, 2, 2, -0.0, -2, 0, 2**52 + 1, np.inf])
    np.testing.assert_array_equal(away, [1, 2, 3, -1, -3, 0, 2**52 + 1, np.inf])
