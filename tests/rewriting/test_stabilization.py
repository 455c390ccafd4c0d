"""Stabilized expressions are accurate where the ones that were written give NaN, inf or noise."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.config import config
from kroton.graph import FunctionGraph
from kroton.graph.evaluation import interpret
from kroton.rewriting import get_optimizer

mp = mpmath.mp.clone()
mp.prec = 4000

CASES: list[tuple[str, Any, Any, float]] = [
    ("log(1 + x)", lambda x: T.log(1 + x), lambda x: mp.log(1 + x), 1e-20),
    ("log(1 - x)", lambda x: T.log(1 - x), lambda x: mp.log(1 - x), 1e-20),
    ("exp(x) - 1", lambda x: T.exp(x) - 1, lambda x: mp.exp(x) - 1, 1e-20),
    ("1 - exp(x)", lambda x: 1 - T.exp(x), lambda x: 1 - mp.exp(x), -1e-18),
    ("log(1 + exp(x))", lambda x: T.log(1 + T.exp(x)), lambda x: mp.log(1 + mp.exp(x)), 1000.0),
    ("log(1 + exp(x))", lambda x: T.log(1 + T.exp(x)), lambda x: mp.log(1 + mp.exp(x)), -100.0),
    ("1/(1 + exp(-x))", lambda x: 1 / (1 + T.exp(-x)), lambda x: 1 / (1 + mp.exp(-x)), -700.0),
    ("exp(x)/(1 + exp(x))", lambda x: T.exp(x) / (1 + T.exp(x)),
     lambda x: mp.exp(x) / (1 + mp.exp(x)), 800.0),
    ("1 - sigmoid(x)", lambda x: 1 - T.nnet.sigmoid(x), lambda x: 1 / (1 + mp.exp(x)), 50.0),
    ("log(sigmoid(x))", lambda x: T.log(T.nnet.sigmoid(x)),
     lambda x: -mp.log(1 + mp.exp(-x)), -1000.0),
    ("log(1 - sigmoid(x))", lambda x: T.log(1 - T.nnet.sigmoid(x)),
     lambda x: -mp.log(1 + mp.exp(x)), 900.0),
    ("log(1 - 1/(1 + exp(-x)))", lambda x: T.log(1 - 1 / (1 + T.exp(-x))),
     lambda x: -mp.log(1 + mp.exp(x)), 900.0),
    ("log(exp(x))", lambda x: T.log(T.exp(x)), lambda x: x, 1000.0),
    ("tanh from exponentials", lambda x: (T.exp(x) - T.exp(-x)) / (T.exp(x) + T.exp(-x)),
     mp.tanh, 1000.0),
    ("tanh from exp(2x)", lambda x: (T.exp(2 * x) - 1) / (T.exp(2 * x) + 1), mp.tanh, 1e-15),
    ("tanh from exp(-2x)", lambda x: (1 - T.exp(-2 * x)) / (1 + T.exp(-2 * x)), mp.tanh, 1e-15),
    ("log(exp(x) + exp(-x))", lambda x: T.log(T.exp(x) + T.exp(-x)),
     lambda x: mp.log(mp.exp(x) + mp.exp(-x)), 900.0),
    ("1 - erf(x)", lambda x: 1 - T.erf(x), mp.erfc, 10.0),
    ("sqrt(x**2)", lambda x: T.sqrt(x**2), abs, 1e200),
    ("(x/y)*y with y = exp(x)", lambda x: (x / T.exp(x)) * T.exp(x), lambda x: x, 800.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "written", "truth", "at"), CASES)
def test_the_stabilized_form_has_all_digits(text: str, written: Any, truth: Any, at: float) -> None:
    v = T.dvector("v")
    fgraph = FunctionGraph([v], [written(v)])
    get_optimizer("fast_run").apply(fgraph)
    (value,) = interpret(fgraph.inputs, fgraph.outputs)(np.array([at]))
    true = truth(mp.mpf(at))
    error = abs((mp.mpf(float(value[0])) - true) / true)
    assert error < 1e-14


@pytest.mark.parametrize(("text", "written", "truth", "at"), CASES)
def test_the_gradient_of_the_stabilized_form_is_finite(
    text: str, written: Any, truth: Any, at: float
) -> None:
    if "sqrt" in text:
        return
    v = T.dvector("v")
    fgraph = FunctionGraph([v], [T.grad(written(v).sum(), v)])
    get_optimizer("fast_run").apply(fgraph)
    (value,) = interpret(fgraph.inputs, fgraph.outputs)(np.array([at]))
    assert np.isfinite(value).all(), fgraph.toposort()


def test_the_tail_of_the_error_function_keeps_its_digits_wherever_the_form_changes() -> None:
    v = T.dvector("v")
    tail = T.log(T.erfc(v))
    f = kroton.function([v], [tail, T.grad(tail.sum(), v)])
    at = np.concatenate([np.linspace(-4, 40, 89), np.linspace(9.9, 10.1, 41), [24.9, 25.1, 1e8]])
    for x, value, slope in zip(at, *f(at)):
        z = mp.mpf(float(x))
        if x < 1000:
            true = mp.log(mp.erfc(z))
            assert abs(value - true) <= 2e-15 * abs(true)
            true = -2 / mp.sqrt(mp.pi) * mp.exp(-z * z) / mp.erfc(z)
        else:  # from the expansion's first terms
            assert abs(value + z * z) <= 2e-15 * z * z
            true = -2 * z - 1 / z
        assert abs(slope - true) <= 1e-14 * abs(true)


def test_logarithms_of_products_stay_in_single_precision() -> None:
    f = T.fvector("f")
    with config.change_flags(on_opt_error="raise"):
        for factor in (1.0, 2.0):
            out = T.log(np.float32(factor) * f / T.exp(f))
            value = kroton.function([f], out)([100.0])
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, np.log(100.0 * factor) - 100.0, rtol=1e-6)


def test_logarithms_of_what_is_left_of_a_product_have_its_shape() -> None:
    m, s = T.dmatrix("m"), T.dscalar("s")
    values = [np.ones((2, 3)) / 2, 0.5]
    with config.change_flags(on_opt_error="raise"):
        for out in (
            T.log(m * T.exp(s) / m), T.log(T.exp(m) * T.exp(s - m)), T.log(T.exp(s + m) / T.exp(m)),
            T.log2(m * T.exp(s) / m), T.log(m**2 * T.sqr(s) / m**2), T.exp(m + s) / T.exp(m) - 1,
        ):  # fmt: skip
            f = kroton.function([m, s], out)
            plain = kroton.function([m, s], out, mode=Mode("py", None))
            assert f(*values).shape == (2, 3)
            np.testing.assert_allclose(f(*values), plain(*values), rtol=1e-12)
