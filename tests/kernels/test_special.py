"""Special functions near their poles and far out, against mpmath."""

import mpmath
import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode

POINTS = np.array([
    -1e-3, -1e-7, -1e-12, -1e-15, -1e-100, 1e-100, 1e-12, 1e-7, -0.5, -0.25, -1.5, -1.0000001,
    -1.9999999, -2.7, -10.3, -1000.3, -1234.75, 0.3, 1.0, 3.7, 12.0,
    1e5, 1e12,
])  # fmt: skip


@pytest.mark.parametrize("linker", ["py", "c|py"])
@pytest.mark.parametrize(("name", "order"), [("psi", 0), ("tri_gamma", 1)])
def test_polygamma_has_its_digits_on_both_sides_of_the_poles(name, order, linker):
    x = T.dvector("x")
    f = kroton.function([x], getattr(T, name)(x), mode=Mode(linker))
    with mpmath.workdps(120):
        expected = np.array([float(mpmath.polygamma(order, mpmath.mpf(v))) for v in POINTS])
    np.testing.assert_allclose(f(POINTS), expected, rtol=2e-14)
    poles = f(np.array([-1.0, -2.0, -1e8]))
    assert np.all(np.isnan(poles) if name == "psi" else np.isposinf(poles))
