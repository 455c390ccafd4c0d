"""The linker 'c&py' compares as closely as the arithmetic of an Apply allows."""

from __future__ import annotations

import numpy as np

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode


def test_single_precision_inside_a_fused_apply_is_compared_as_such() -> None:
    x = T.dvector("x")
    single = T.exp(T.sin(T.cast(x * 1.1, "float32")))
    out = T.cast(single * single, "float64") * 3.0
    f = kroton.function([x], out, mode=Mode("c&py", "fast_run"))
    values = np.linspace(-3, 3, 1000)
    assert np.allclose(f(values), 3 * np.exp(np.sin(values * 1.1)) ** 2, rtol=1e-5)
