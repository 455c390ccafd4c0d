"""Gradients of the elementwise operations, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton import scalar
from kroton.gradient import DisconnectedType, NullTypeGradError, Rop, grad, verify_grad
from kroton.graph.nulltype import NullType, disconnected_type
from kroton.scalar import Composite, Instruction
from kroton.tensor.elemwise_grad import (
    COMPLEX_GRADIENTS,
    GRADIENTS,
    HOLOMORPHIC,
    elemwise_grad,
)
from kroton.tensor.math import elementwise

# Where each operation is smooth: an interval for each input.
DOMAINS = {
    "true_div": [(-2, 2), (0.5, 2)],
    "int_div": [(0.6, 0.9), (1.1, 1.9)],
    "mod": [(2.1, 2.9), (1.1, 1.4)],
    "pow": [(0.2, 3), (-2, 2)],
    "float_power": [(0.2, 3), (-2, 2)],
    "fmod": [(2.1, 2.9), (1.1, 1.4)],
    "cbrt": [(0.3, 2)],
    "sgn": [(0.3, 2)],
    "abs": [(-2, -0.1)],
    "sqrt": [(0.2, 3)],
    "reciprocal": [(0.3, 2)],
    "copysign": [(0.2, 2), (-2, -0.2)],
    "log": [(0.2, 3)],
    "log2": [(0.2, 3)],
    "log10": [(0.2, 3)],
    "log1p": [(-0.7, 3)],
    "tan": [(-1, 1)],
    "arcsin": [(-0.9, 0.9)],
    "arccos": [(-0.9, 0.9)],
    "arccosh": [(1.2, 3)],
    "arctanh": [(-0.9, 0.9)],
    "ceil": [(0.1, 0.9)],
    "floor": [(0.1, 0.9)],
    "trunc": [(0.1, 0.9)],
    "round_half_to_even": [(0.6, 0.9)],
    "round_half_away_from_zero": [(0.6, 0.9)],
    "clip": [(-2, 2), (-1.0, -0.5), (0.5, 1.0)],
    "gamma": [(0.5, 3)],
    "gammaln": [(0.5, 3)],
    "psi": [(0.5, 3)],
}
BITS = (
    "and_", "or_", "xor", "invert", "left_shift", "right_shift", "gcd", "lcm", "bitwise_count",
)  # fmt: skip
DISCRETE = sorted(name for name in elementwise if name not in GRADIENTS and name != "tri_gamma")
REAL = sorted(name for name in GRADIENTS if name not in ("switch", "second"))


def point(rng, name, nin, shapes=((2, 3), (2, 3), (2, 3))):
    domains = DOMAINS.get(name, [(-2, 2)] * nin)
    return [rng.uniform(lo, hi, shape) for (lo, hi), shape in zip(domains, shapes)]


def test_every_operation_with_a_continuous_output_has_a_gradient():
    f64 = np.dtype("float64")
    for name, op in scalar.ops.items():
        try:
            _, out = op.resolve(*[f64] * op.nin)
        except TypeError:
            continue
        if out.kind == "f" and name != "tri_gamma":
            assert len(GRADIENTS[name]) == op.nin, name


@pytest.mark.parametrize("name", REAL)
def test_the_gradient_agrees_with_finite_differences(name):
    op = elementwise[name]
    rng = np.random.default_rng(len(name))
    verify_grad(op, point(rng, name, op.scalar_op.nin), n_tests=1)


@pytest.mark.parametrize("name", ["add", "mul", "true_div", "pow", "maximum", "arctan2", "hypot"])
@pytest.mark.parametrize(
    "shapes", [((2, 3), ()), ((3,), (2, 3)), ((2, 1), (1, 3)), ((1,), (2, 1)), ((), (1, 1, 2))]
)
def test_the_gradient_is_summed_where_its_input_was_broadcast(name, shapes):
    rng = np.random.default_rng(3)
    verify_grad(elementwise[name], point(rng, name, 2, shapes), n_tests=1)


@pytest.mark.parametrize("name", REAL)
def test_the_gradient_in_float32_has_dtype_float32(name):
    op = elementwise[name]
    inputs = [T.tensor("float32", (None,)) for _ in range(op.scalar_op.nin)]
    for g in grad(op(*inputs).sum(), inputs, disconnected_inputs="ignore"):
        assert g.type.dtype == "float32"


@pytest.mark.parametrize("name", REAL)
def test_forward_mode_agrees_with_reverse_mode(name):
    op = elementwise[name]
    rng = np.random.default_rng(5)
    values = point(rng, name, op.scalar_op.nin)
    directions = [rng.normal(size=v.shape) for v in values]
    inputs = [T.dmatrix() for _ in values]
    tangents = [T.dmatrix() for _ in values]
    out = op(*inputs)
    w = rng.normal(size=(2, 3))
    forward = Rop(out, inputs, tangents, disconnected_outputs="ignore")
    reverse = grad((out * w).sum(), inputs, disconnected_inputs="ignore")
    f = kroton.function([*inputs, *tangents], [forward, *reverse], on_unused_input="ignore")
    jv, *vj = f(*values, *directions)
    np.testing.assert_allclose(
        (jv * w).sum(), sum((g * d).sum() for g, d in zip(vj, directions)), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", DISCRETE)
def test_comparisons_and_bits_have_zero_gradient(name):
    op = elementwise[name].scalar_op
    dtype = "int64" if name in BITS else "float64"
    inputs = [T.tensor(dtype, (None,)) for _ in range(op.nin)]
    out = elementwise[name](*inputs)
    given = elemwise_grad(out.owner.op, inputs, [out], [T.dvector()])
    for g in given:
        assert g.type.dtype == "float64"
        values = [np.ones(3, dtype)] * op.nin
        np.testing.assert_array_equal(
            kroton.function(inputs, g, on_unused_input="ignore")(*values), np.zeros(3)
        )


def test_a_discrete_input_has_a_zero_gradient_of_floatx():
    n = T.lvector()
    out = T.cast(n, "float64")
    (g,) = elemwise_grad(out.owner.op, [n], [out], [T.dvector()])
    assert g.type.dtype == kroton.config.floatX
    np.testing.assert_array_equal(g.eval({n: [1, 2]}), [0.0, 0.0])


def test_disconnected_gradients_stay_disconnected():
    x = T.dvector()
    out = T.exp(x)
    (g,) = elemwise_grad(out.owner.op, [x], [out], [disconnected_type()])
    assert isinstance(g.type, DisconnectedType)


def value_of_grad(expression, x, at):
    return grad(expression.sum(), x).eval({x: np.asarray(at, dtype="float64")})


def test_abs_has_the_gradient_zero_at_zero():
    x = T.dvector()
    np.testing.assert_array_equal(value_of_grad(abs(x), x, [-1, 0, 2]), [-1, 0, 1])


def test_of_two_equal_inputs_the_first_has_the_gradient_of_maximum_and_minimum():
    x, y = T.dscalars("x y")
    for op in (T.maximum, T.minimum):
        gx, gy = grad(op(x, y), [x, y])
        assert gx.eval({x: 1.0, y: 1.0}) == 1
        assert gy.eval({x: 1.0, y: 1.0}) == 0


@pytest.mark.usefixtures("nan_is_meant")
def test_maximum_sends_the_whole_gradient_of_nan_to_one_input():
    x, y = T.dscalars("x y")
    gx, gy = grad(T.maximum(x, y), [x, y])
    assert gx.eval({x: np.nan, y: 1.0}) + gy.eval({x: np.nan, y: 1.0}) == 1


def test_a_power_has_a_finite_gradient_at_base_zero():
    x = T.dvector()
    np.testing.assert_array_equal(value_of_grad(x**2, x, [0, 1]), [0, 2])
    np.testing.assert_array_equal(value_of_grad(x**1, x, [0, 1]), [1, 1])
    np.testing.assert_array_equal(value_of_grad(x**3, x, [0, -1]), [0, 3])
    np.testing.assert_array_equal(value_of_grad(x**0, x, [0, 1]), [0, 0])
    y = T.dscalar()
    gx, gy = grad(T.pow(x, y).sum(), [x, y])
    assert gx.eval({x: [0.0], y: 2.0}) == 0
    assert gx.eval({x: [0.0], y: 0.0}) == 0
    assert gy.eval({x: [0.0], y: 2.0}) == 0


def test_a_power_of_a_negative_base_is_differentiable_by_the_base():
    x = T.dvector()
    np.testing.assert_array_equal(value_of_grad(x**3, x, [-2]), [12])


@pytest.mark.usefixtures("nan_is_meant")
def test_no_nan_leaks_from_the_branch_that_is_not_taken():
    x = T.dvector()
    safe = T.switch(x > 0, T.sqrt(T.switch(x > 0, x, 1)), 0)
    np.testing.assert_array_equal(value_of_grad(safe, x, [0, 4]), [0, 0.25])
    y, z = T.dvectors("y z")
    gy, gz = grad(T.switch(y > 0, y, z).sum(), [y, z])
    values = {y: [1.0, -1.0], z: [np.inf, np.nan]}
    np.testing.assert_array_equal(gy.eval(values | {}), [1, 0])
    np.testing.assert_array_equal(
        kroton.function([y, z], gz, on_unused_input="ignore")([1.0, -1.0], [np.inf, np.nan]), [0, 1]
    )


@pytest.mark.usefixtures("nan_is_meant")
def test_xlogx_and_xlogy0_are_zero_with_finite_gradients_at_zero():
    x, y = T.dvectors("x y")
    np.testing.assert_array_equal(T.xlogx(x).eval({x: [0.0, 1.0]}), [0, 0])
    np.testing.assert_allclose(value_of_grad(T.xlogx(x), x, [0, 2]), [0, 1 + np.log(2)])
    out = T.xlogy0(x, y)
    values = [0.0, 0.0, 0.0, 2.0], [0.0, np.nan, np.inf, 3.0]
    f = kroton.function([x, y], [out, *grad(out.sum(), [x, y])])
    value, gx, gy = f(*values)
    np.testing.assert_allclose(value, [0, 0, 0, 2 * np.log(3)])
    np.testing.assert_allclose(gx, [0, 0, 0, np.log(3)])
    np.testing.assert_allclose(gy, [0, 0, 0, 2 / 3])


def test_hypot_has_the_gradient_zero_at_the_origin():
    x, y = T.dscalars("x y")
    for g in grad(T.hypot(x, y), [x, y]):
        assert g.eval({x: 0.0, y: 0.0}) == 0


def test_clip_sends_the_gradient_to_what_the_output_equals():
    x, lo, hi = T.dvectors("x lo hi")
    f = kroton.function([x, lo, hi], grad(T.clip(x, lo, hi).sum(), [x, lo, hi]))
    # below, inside, above, and bounds the wrong way round, where the output is hi
    given = f([-1.0, 0.5, 2.0, 0.0], [0.0, 0.0, 0.0, 3.0], [1.0, 1.0, 1.0, -3.0])
    np.testing.assert_array_equal(given[0], [0, 1, 0, 0])
    np.testing.assert_array_equal(given[1], [1, 0, 0, 0])
    np.testing.assert_array_equal(given[2], [0, 0, 1, 1])


def complex_functions():
    one_input = sorted(
        name for name in (HOLOMORPHIC | set(COMPLEX_GRADIENTS)) if len(GRADIENTS[name]) == 1
    )
    return [*one_input, *sorted(n for n in HOLOMORPHIC if len(GRADIENTS[n]) == 2)]


@pytest.mark.parametrize("part", [T.real, T.imag])
@pytest.mark.parametrize("name", complex_functions())
def test_the_gradient_by_a_complex_input_is_that_by_its_two_parts(name, part):
    op = elementwise[name]
    rng = np.random.default_rng(7)
    values = [rng.uniform(0.3, 1.2, 3) for _ in range(2 * op.scalar_op.nin)]

    def fun(*parts):
        inputs = [re + 1j * im for re, im in zip(parts[::2], parts[1::2])]
        out = op(*inputs)
        return part(out)

    verify_grad(fun, values, n_tests=1)


def test_an_operation_that_is_not_differentiable_in_complex_numbers_says_so():
    x = T.tensor("complex128", (None,), name="x")
    with pytest.raises(NullTypeGradError, match=r"sgn of complex numbers"):
        grad(T.real(T.sgn(x)).sum(), x)


def softplus_of_product():
    return Composite(
        2,
        (
            Instruction(scalar.ops["mul"], (0, 1), ("float64", "float64"), "float64"),
            Instruction(scalar.ops["softplus"], (2,), ("float64",), "float64"),
            Instruction(scalar.ops["add"], (3, 0), ("float64", "float64"), "float64"),
            Instruction(scalar.ops["gt"], (2, 1), ("float64", "float64"), "bool"),
        ),
        (4, 3, 5),
    )


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((1, 3), (2, 1)), ((3,), (2, 3))])
@pytest.mark.parametrize("output", [0, 1])
def test_a_program_is_as_differentiable_as_its_instructions(shapes, output):
    op = T.Elemwise(softplus_of_product())
    rng = np.random.default_rng(11)
    values = [rng.normal(size=s) for s in shapes]
    verify_grad(lambda x, y: op(x, y, return_list=True)[output], values, n_tests=1)

    def both(x, y):
        first, second, _ = op(x, y, return_list=True)
        return first * T.sin(second)

    verify_grad(both, values, n_tests=1)


def test_a_null_gradient_inside_a_program_comes_out_of_it():
    sgn = Composite(
        1,
        (
            Instruction(scalar.ops["sgn"], (0,), ("complex128",), "complex128"),
            Instruction(scalar.ops["real"], (1,), ("complex128",), "float64"),
        ),
        (2,),
    )
    x = T.tensor("complex128", (None,))
    out = T.Elemwise(sgn)(x)
    (g,) = elemwise_grad(out.owner.op, [x], [out], [T.dvector()])
    assert isinstance(g.type, NullType)


def test_gradients_that_nobody_wants_are_not_built():
    x, y = T.dvectors("x y")
    out = x * y
    gx, gy = elemwise_grad(out.owner.op, [x, y], [out], [T.dvector()], [False, True])
    assert isinstance(gx.type, DisconnectedType)
    assert not isinstance(gy.type, DisconnectedType)
