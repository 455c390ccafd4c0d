"""Elementwise functions: values and dtypes against NumPy, and what broadcasts."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import kroton
import kroton.tensor as T
from kroton import scalar
from kroton.graph.evaluation import interpret
from kroton.tensor.math import elementwise

NUMPY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "true_div": np.true_divide,
    "int_div": np.floor_divide, "mod": np.remainder, "pow": np.power, "neg": np.negative,
    "abs": np.abs, "sgn": np.sign, "sqr": np.square, "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x, "copysign": np.copysign, "hypot": np.hypot, "exp": np.exp,
    "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "logaddexp": np.logaddexp, "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(0, x), "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "arctan2": np.arctan2,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "arcsinh": np.arcsinh,
    "arccosh": np.arccosh, "arctanh": np.arctanh, "deg2rad": np.deg2rad, "rad2deg": np.rad2deg,
    "ceil": np.ceil, "floor": np.floor, "trunc": np.trunc, "round_half_to_even": np.round,
    "round_half_away_from_zero": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "eq": np.equal, "neq": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "isnan": np.isnan, "isinf": np.isinf, "maximum": np.maximum,
    "minimum": np.minimum, "clip": np.clip, "erf": scipy.special.erf, "erfc": scipy.special.erfc,
    "gamma": scipy.special.gamma, "gammaln": scipy.special.gammaln, "psi": scipy.special.psi,
    "tri_gamma": lambda x: scipy.special.polygamma(1, x), "conj": np.conj, "real": np.real,
    "imag": np.imag, "angle": np.angle, "identity": lambda x: x, "second": lambda a, b: b,
    "and_": np.bitwise_and, "or_": np.bitwise_or, "xor": np.bitwise_xor, "invert": np.invert,
    "cbrt": np.cbrt, "fmod": np.fmod, "float_power": np.float_power, "gcd": np.gcd,
    "lcm": np.lcm, "heaviside": np.heaviside, "nextafter": np.nextafter,
    "logaddexp2": np.logaddexp2, "isfinite": np.isfinite, "signbit": np.signbit,
    "fmax": np.fmax, "fmin": np.fmin, "logical_and": np.logical_and,
    "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "logical_not": np.logical_not, "bitwise_count": np.bitwise_count,
    "left_shift": np.left_shift, "right_shift": np.right_shift,
}  # fmt: skip
BITS = (
    "and_", "or_", "xor", "invert", "left_shift", "right_shift", "gcd", "lcm", "bitwise_count",
)  # fmt: skip


def values_of(name, nin, rng):
    if name in BITS:
        return [rng.integers(0, 9, 6) for _ in range(nin)]
    low = {"arccosh": 1.1, "clip": -2}.get(name, 0.1)
    high = {"arccosh": 3, "clip": 2}.get(name, 0.95)
    given = [rng.uniform(low, high, 6) for _ in range(nin)]
    if name == "clip":
        given[1:] = [np.full(6, -1.0), np.full(6, 0.5)]
    return given


@pytest.mark.parametrize("name", sorted(NUMPY))
def test_values_are_those_of_numpy(name):
    function = getattr(T, name if name != "abs" else "abs_")
    op = elementwise[name]
    values = values_of(name, op.scalar_op.nin, np.random.default_rng(len(name)))
    inputs = [T.as_tensor_variable(v).type() for v in values]
    out = function(*inputs)
    expected = np.asarray(NUMPY[name](*values))
    reference = interpret(inputs, [out])(*values)[0]
    compiled = kroton.function(inputs, out, on_unused_input="ignore")(*values)
    assert out.type.numpy_dtype == reference.dtype == compiled.dtype == expected.dtype
    np.testing.assert_allclose(reference, expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(compiled, expected, rtol=1e-13, atol=1e-14)


def test_every_scalar_operation_has_a_function_with_a_docstring():
    assert set(elementwise) == set(scalar.ops) == set(NUMPY) | {"switch"}
    for name in [*elementwise, "abs_"]:
        function = getattr(T, name)
        assert f"{function.__name__}(" in function.__doc__


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("abs", "abs_"), ("square", "sqr"), ("inv", "reciprocal"), ("floor_div", "int_div"),
        ("power", "pow"), ("where", "switch"), ("bitwise_and", "and_"), ("bitwise_or", "or_"),
        ("bitwise_xor", "xor"), ("bitwise_not", "invert"),
        ("sign", "sgn"), ("conjugate", "conj"),
    ],
)  # fmt: skip
def test_aliases_are_the_same_function(alias, name):
    assert getattr(T, alias) is getattr(T, name)


def test_equal_applications_share_one_op():
    x = T.dvector()
    assert T.exp(x).owner.op is T.exp(x + 1).owner.op is elementwise["exp"]


def test_add_and_mul_take_any_number_of_terms():
    x, y, z = T.dscalars("x y z")
    assert T.add(x, y, z, 1).eval({x: 1.0, y: 2.0, z: 3.0}) == 7
    assert T.mul(x, y, z).eval({x: 2.0, y: 3.0, z: 4.0}) == 24


def test_a_wrong_number_of_inputs_is_a_type_error():
    with pytest.raises(TypeError, match="argument"):
        T.exp(T.dscalar(), T.dscalar())
    with pytest.raises(TypeError, match="exp takes 1 inputs, got 2"):
        elementwise["exp"](T.dscalar(), T.dscalar())


class TestBroadcasting:
    def test_dimensions_align_at_the_right(self):
        x, y = T.dvector("x"), T.tensor("float64", (None, 2, None))
        assert (x + y).type.shape == (None, 2, None)
        f = kroton.function([x, y], x + y)
        np.testing.assert_array_equal(f(np.arange(3.0), np.ones((4, 2, 3)))[0, 0], [1, 2, 3])

    def test_known_extents_that_contradict_are_refused_while_building(self):
        x, y = T.tensor("float64", (3,)), T.tensor("float64", (4,))
        with pytest.raises(ValueError, match=r"add cannot broadcast.*3 and 4"):
            x + y

    @pytest.mark.parametrize("linker", ["py", "c"])
    def test_an_extent_of_one_stretches_only_where_the_type_says_so(self, linker):
        x, y, r = T.dmatrix("x"), T.dmatrix("y"), T.row("r", dtype="float64")
        mode = kroton.Mode(linker=linker)
        f = kroton.function([x, r], x + r, mode=mode)
        assert f(np.ones((3, 2)), np.ones((1, 2))).shape == (3, 2)
        f = kroton.function([x, y], x + y, mode=mode)
        with pytest.raises(ValueError, match=r"(?s)\(3, 2\).*\(1, 2\)|\(1, 2\).*\(3, 2\)"):
            f(np.ones((3, 2)), np.ones((1, 2)))

    def test_shapes_are_inferred_from_any_input_that_knows(self):
        x, y = T.dmatrix("x"), T.dvector("y")
        f = kroton.function([x, y], (x + y).shape)
        np.testing.assert_array_equal(f(np.ones((3, 2)), np.ones(2)), [3, 2])


class TestDtypes:
    @given(
        a=st.sampled_from([d.name for d in scalar.DTYPES]),
        b=st.sampled_from([d.name for d in scalar.DTYPES]),
    )
    @settings(deadline=None, max_examples=60)
    def test_two_arrays_promote_as_in_numpy(self, a, b):
        x, y = T.tensor(a, (None,)), T.tensor(b, (None,))
        assert (x * y).type.numpy_dtype == np.multiply(np.ones(1, a), np.ones(1, b)).dtype

    @pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "float32", "float64", "complex64"])
    @pytest.mark.parametrize("number", [2, 0.5, 1j])
    def test_python_numbers_are_weak(self, dtype, number):
        expected = np.add(np.ones(1, dtype), number).dtype
        assert (T.tensor(dtype, (None,)) + number).type.numpy_dtype == expected
        assert (number + T.tensor(dtype, (None,))).type.numpy_dtype == expected

    def test_what_would_be_float16_is_float32(self):
        assert T.sqrt(T.bvector()).type.dtype == "float32"
        assert T.exp(T.tensor("uint8", (None,))).type.dtype == "float32"

    def test_an_operation_that_is_not_defined_says_so(self):
        with pytest.raises(TypeError, match="invert is not defined for input dtype float64"):
            T.invert(T.dvector())
        with pytest.raises(TypeError, match="mod is not defined"):
            T.mod(T.zvector(), 2)


class TestCast:
    def test_floats_are_truncated(self):
        x = T.dvector("x")
        np.testing.assert_array_equal(T.cast(x, "int32").eval({x: [1.9, -1.9]}), [1, -1])

    def test_to_its_own_dtype_it_is_nothing(self):
        x = T.dvector("x")
        assert T.cast(x, "float64") is x

    def test_complex_to_real_is_refused_with_a_way_out(self):
        with pytest.raises(TypeError, match=r"take real\(x\)"):
            T.cast(T.zvector(), "float64")

    def test_an_unknown_dtype_is_refused_with_the_known_ones(self):
        with pytest.raises(TypeError, match="float16 is not supported; use one of bool, int8"):
            T.cast(T.dvector(), "float16")


class TestCompositions:
    def test_round_has_two_modes(self):
        x = T.dvector("x")
        values = {x: [0.5, 1.5, -0.5, -2.5, 2.4]}
        np.testing.assert_array_equal(T.round(x).eval(values), [0, 2, -0.0, -2, 2])
        np.testing.assert_array_equal(
            T.round(x, "half_away_from_zero").eval(values), [1, 2, -1, -3, 2]
        )
        assert T.iround(x).type.dtype == "int64"
        with pytest.raises(ValueError, match="half_to_even, half_away_from_zero, got 'up'"):
            T.round(x, "up")

    def test_divmod_is_quotient_and_remainder(self):
        x = T.lvector("x")
        q, r = builtins.divmod(x, 3)
        f = kroton.function([x], [q, r])
        for given_, expected in zip(f([7, -7]), np.divmod([7, -7], 3)):
            np.testing.assert_array_equal(given_, expected)

    @pytest.mark.parametrize("dtype", ["int64", "uint8"])
    def test_ceil_intdiv_rounds_up(self, dtype):
        x = T.tensor(dtype, (None,))
        result = T.ceil_intdiv(x, 4)
        assert result.type.dtype == dtype
        np.testing.assert_array_equal(result.eval({x: np.array([0, 1, 4, 5], dtype)}), [0, 1, 1, 2])

    @given(
        a=st.lists(
            st.sampled_from([0.0, 1.0, 1.0 + 1e-9, np.inf, -np.inf, np.nan]), min_size=4, max_size=4
        ),
        b=st.lists(
            st.sampled_from([0.0, 1.0, 1.0 + 1e-4, np.inf, -np.inf, np.nan]), min_size=4, max_size=4
        ),
        equal_nan=st.booleans(),
    )
    @settings(deadline=None, max_examples=40)
    def test_isclose_is_that_of_numpy(self, a, b, equal_nan):
        x, y = T.dvectors("x y")
        out = T.isclose(x, y, equal_nan=equal_nan)
        every = T.allclose(x, y, equal_nan=equal_nan)
        found, all_found = interpret([x, y], [out, every])(np.array(a), np.array(b))
        np.testing.assert_array_equal(found, np.isclose(a, b, equal_nan=equal_nan))
        assert all_found == np.allclose(a, b, equal_nan=equal_nan)

    def test_isclose_of_unsigned_integers_does_not_wrap_around(self):
        x, y = T.tensor("uint8", (None,)), T.tensor("uint8", (None,))
        out = T.isclose(x, y, atol=2)
        values = np.array([0, 5], "uint8"), np.array([1, 200], "uint8")
        np.testing.assert_array_equal(interpret([x, y], [out])(*values)[0], [True, False])

    def test_switch_takes_any_condition(self):
        c, x = T.lvector("c"), T.dvector("x")
        np.testing.assert_array_equal(T.where(c, x, -1).eval({c: [0, 2], x: [5.0, 6.0]}), [-1, 6])

    def test_a_bound_of_clip_may_be_missing(self):
        x = T.dvector("x")
        values = {x: [-2.0, 0.0, 2.0]}
        np.testing.assert_array_equal(T.clip(x, -1, None).eval(values), [-1, 0, 2])
        np.testing.assert_array_equal(T.clip(x, None, 1).eval(values), [-2, 0, 1])
        with pytest.raises(TypeError, match="at least one bound"):
            T.clip(x, None, None)


@pytest.mark.parametrize("name", ["eq", "neq", "lt", "le", "gt", "ge"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "int64"])
def test_a_comparison_is_exact_for_python_integers_beyond_the_dtype(name, dtype):
    x = T.vector("x", dtype=dtype)
    if dtype == "bool":
        value = np.array([False, True])
    else:
        value = np.array([np.iinfo(dtype).min, 0, 7, np.iinfo(dtype).max], dtype)
    compare = getattr(T, name)
    for number in (-(2**70), -(2**63) - 1, -129, -1, 0, 7, 255, 256, 2**64 - 1, 2**64, 2**70):
        f = kroton.function([x], [compare(x, number), compare(number, x)])
        right, left = f(value)
        expected = [NUMPY[name](int(v), number) for v in value]
        mirrored = [NUMPY[name](number, int(v)) for v in value]
        assert right.tolist() == expected
        assert left.tolist() == mirrored


@pytest.mark.parametrize(
    "name",
    ["exp", "log", "sqrt", "sin", "tanh", "arcsin", "log1p", "expm1", "deg2rad", "exp2", "arccosh"],
)
def test_an_elementwise_function_is_a_method(name):
    x = T.dvector("x")
    assert getattr(x, name)().owner.op == getattr(T, name)(x).owner.op
    assert getattr(kroton.shared(np.ones(2)), name)().type.ndim == 1


def test_reductions_of_the_lineage_are_methods():
    m = np.arange(6.0).reshape(2, 3)
    x = T.dmatrix("x")
    for ours, expected in (
        (x.cumsum(axis=1), m.cumsum(axis=1)),
        (x.cumprod(), m.cumprod()),
        (x.ptp(axis=0), np.ptp(m, axis=0)),
        (x.diagonal(1), m.diagonal(1)),
        (x.nonzero_values(), m[m != 0]),
        (round(x / 4), np.round(m / 4)),
    ):
        np.testing.assert_array_equal(ours.eval({x: m}), expected)
    with pytest.raises(TypeError, match="whole numbers only"):
        round(x, 2)
