"""Logarithms of products of powers and of elements, and products of tails, have their digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

PLAIN = Mode("py", None)
mp = mpmath.mp.clone()
mp.prec = 4000
log = T.log


def rules_of(f: Any) -> list[str]:
    return [r.rule for r in kroton.printing.rewrite_trace(f).replacements]


POWERS: dict[str, tuple[Any, Any]] = {
    "x*x*x*x": (lambda x, y: log(x * x * x * x), lambda x, y: 4 * mp.log(abs(x))),
    "x**2*y**2": (
        lambda x, y: log(x**2 * y**2), lambda x, y: 2 * mp.log(abs(x * y))),
    "x**2/y**2": (
        lambda x, y: log(x**2 / y**2), lambda x, y: 2 * mp.log(abs(x / y))),
    "x**4*y**2": (
        lambda x, y: log(x**4 * y**2), lambda x, y: 2 * mp.log(abs(x * x * y))),
    "x**3*y**3": (lambda x, y: log(x**3 * y**3), lambda x, y: 3 * mp.log(x * y)),
    "2*x*x*y*y": (
        lambda x, y: log(2 * x * x * y * y), lambda x, y: mp.log(2 * x * x * y * y)),
    "1/(x**2*y**2)": (
        lambda x, y: log(1 / (x**2 * y**2)), lambda x, y: -2 * mp.log(abs(x * y))),
}  # fmt: skip


@pytest.mark.parametrize("at", [(-1e120, -1e30), (1e-110, 1e-60), (3.0, 0.25), (-1.5, -2.5)])
@pytest.mark.parametrize("text", POWERS)
def test_the_logarithm_of_a_product_of_powers_has_all_digits(
    text: str, at: tuple[float, float]
) -> None:
    written, truth = POWERS[text]
    x, y = T.dvectors("x", "y")
    f = kroton.function([x, y], written(x, y), on_unused_input="ignore")
    assert "log_of_powers" in rules_of(f)
    (found,) = f([at[0]], [at[1]])
    true = truth(mp.mpf(at[0]), mp.mpf(at[1]))
    assert abs(mp.mpf(float(found)) - true) <= 4e-16 * abs(true)


@pytest.mark.usefixtures("nan_is_meant")
def test_the_logarithm_of_a_negative_product_stays_no_number() -> None:
    x, y = T.dvectors("x", "y")
    f = kroton.function([x, y], [log(x**3 * y**3), log(-(x**2) * y**2)])
    for v in f([-1.0], [2.0]):
        assert np.isnan(v).all()


@pytest.mark.parametrize(
    "expression",
    [lambda x, y: log(x**2 * y), lambda x, y: log(x * y), lambda x, y: log(1e200 * x**2 * y**2)],
)
def test_products_near_1_are_not_taken_apart(expression: Any) -> None:
    x, y = T.dvectors("x", "y")
    assert "log_of_powers" not in rules_of(kroton.function([x, y], expression(x, y)))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("kept", [True, False])
def test_the_logarithm_of_a_product_of_probabilities_is_a_sum(axis: Any, kept: bool) -> None:
    x = T.dmatrix("x")
    for p, known in (
        (T.sigmoid(x), -T.softplus(-x)),
        (1 / (1 + T.exp(-x)), -T.softplus(-x)),
        (T.exp(x), x),
        (T.nnet.softmax(x), T.nnet.logsoftmax(x, axis=1)),
    ):
        out = log(p.prod(axis=axis, keepdims=kept))
        f = kroton.function([x], out)
        assert "log(prod(exp(x))) -> sum(x)" in rules_of(f)
        wanted = kroton.function([x], known.sum(axis=axis, keepdims=kept), mode=PLAIN)
        for values in (
            np.array([[-800.0, 3.0], [-700.0, 1.0]]),
            np.zeros((2, 0)),
            np.zeros((0, 2)),
        ):
            if "softmax" in str(p.owner.op).lower() and not values.size:
                continue
            np.testing.assert_allclose(f(values), wanted(values), rtol=1e-14)


@pytest.mark.parametrize(
    ("written", "truth"),
    [
        (lambda x: T.erfc(x) * T.exp(x**2), lambda x: mp.erfc(x) * mp.exp(x * x)),
        (lambda x: T.exp(T.sqr(x)) * T.erfc(x), lambda x: mp.erfc(x) * mp.exp(x * x)),
        (lambda x: T.exp(-(x**2) / 2) / T.erfc(x / np.sqrt(2)),
         lambda x: mp.exp(-x * x / 2) / mp.erfc(x / mp.sqrt(2))),
        (lambda x: T.exp(-0.5 * x * x) / T.erfc(x / np.sqrt(2)),
         lambda x: mp.exp(-x * x / 2) / mp.erfc(x / mp.sqrt(2))),
    ],
)  # fmt: skip
def test_tails_of_the_normal_distribution_are_finite_far_out(written: Any, truth: Any) -> None:
    x = T.dvector("x")
    points = [-3.0, 0.0, 0.5, 5.0, 9.5, 11.0, 27.0, 100.0, 1e5]
    found = kroton.function([x], written(x))(points)
    for at, value in zip(points, found):
        true = truth(mp.mpf(at))
        assert abs(mp.mpf(float(value)) - true) <= 2e-14 * abs(true), at


def test_gaussians_of_another_width_are_left_with_their_tails() -> None:
    x = T.dvector("x")
    f = kroton.function([x], T.erfc(x) * T.exp(2 * x**2))
    assert "erfc(x) * exp(x**2) where both are far out" not in rules_of(f)
    plain = kroton.function([x], T.erfc(x) * T.exp(2 * x**2), mode=PLAIN)
    np.testing.assert_allclose(f([0.5, 2.0]), plain([0.5, 2.0]))


def test_the_gradient_of_a_tanh_by_hand_has_digits_far_out() -> None:
    x, w = T.dvectors("x", "w")
    tanh = (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x))
    f = kroton.function([x, w], T.grad((w * tanh).sum(), x))
    points = [-340.0, -40.0, -3.0, 0.0, 1e-10, 2.0, 15.0]
    for at, value in zip(points, f(points, np.full(len(points), 3.0))):
        true = 3 / mp.cosh(mp.mpf(at)) ** 2
        assert abs(mp.mpf(float(value)) - true) <= 1e-14 * abs(true), at


def test_a_term_and_its_product_with_a_tanh_do_not_cancel() -> None:
    x, p, q = T.dvectors("x", "p", "q")
    for sign in (1, -1):
        out = q + p * q + sign * p * q * T.tanh(x) - 3
        f = kroton.function([x, p, q], out)
        assert "p + p * tanh(x) -> 2 * p * sigmoid(2 * x)" in rules_of(f)
        plain = kroton.function([x, p, q], out, mode=PLAIN)
        values = np.random.default_rng(0).standard_normal((3, 4))
        np.testing.assert_allclose(f(*values), plain(*values), rtol=1e-12)
