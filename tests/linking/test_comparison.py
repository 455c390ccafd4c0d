"""The linker 'c&py' compares as closely as the arithmetic of an Apply allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faults.fault import elementwise

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.linking.comparison import BadKernelOutput


def test_single_precision_inside_a_fused_apply_is_compared_as_such() -> None:
    x = T.dvector("x")
    single = T.exp(T.sin(T.cast(x * 1.1, "float32")))
    out = T.cast(single * single, "float64") * 3.0
    f = kroton.function([x], out, mode=Mode("c&py", "fast_run"))
    values = np.linspace(-3, 3, 1000)
    assert np.allclose(f(values), 3 * np.exp(np.sin(values * 1.1)) ** 2, rtol=1e-5)


def _zeros(i: Any, s: Any) -> None:
    s[0][0] = np.zeros_like(i[0])


@pytest.mark.parametrize(("dtype", "value"), [("float32", -12.0), ("float64", -23.0)])
def test_small_numbers_are_compared_as_closely_as_large_ones(dtype: str, value: float) -> None:
    x = T.vector("x", dtype=dtype)
    with elementwise("exp", _zeros)():
        f = kroton.function([x], T.exp(x), mode=Mode("c&py", "fast_run"))
        with pytest.raises(BadKernelOutput, match="5 of 5 elements differ"):
            f(np.full(5, value, dtype))
