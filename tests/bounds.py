"""How far our own scalar loops may be from their references, and where those are not defined."""

import numpy as np

from kroton._kernels import loops

ULPS = {
    "exp": (2, 0),
    "log": (5, 0),
    "log1p": (4, 0),
    "expm1": (4, 0),
    "tanh": (5, 0),
    "sin": (2, 0),
    "cos": (2, 0),
    "sigmoid": (5, 0),
    "softplus": (5, 0),
    "erf": (8, 0),
    "erfc": (512, 0),  # SciPy's loses digits in the tail, C's does not
    "gamma": (64, 0),
    "gammaln": (32, 1e-14),
    "psi": (64, 1e-13),
    "tri_gamma": (64, 1e-13),
    "angle": (2, 0),
}
"""(ulp of the reference, absolute difference allowed) where a loop is not exact."""

if "v4" in loops.available_isas():
    # With AVX-512, NumPy computes rows that it can load as vectors by Intel's short vector math
    # library, whose bound this is, and all others by the C library.
    _VECTORISED = (
        "arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt cosh exp2 log10 log2 pow sinh "
        "tan"
    )
    ULPS |= dict.fromkeys(_VECTORISED.split(), (4, 0))
    # The size of complex numbers, too, depends on whether they are adjacent.
    ULPS["abs of complex"] = (4, 0)


def ulps_for(op, dtype):
    """The entry of `ULPS` for an operation on inputs of which the first has this dtype."""
    name = "abs of complex" if op.name == "abs" and dtype.kind == "c" else op.name
    return ULPS.get(name, (0, 0))


def tame(op, arrays):
    """The same arrays without what an operation refuses or leaves open."""
    if op.name == "pow" and arrays[1].dtype.kind in "iu":
        arrays[1] = np.asarray(np.abs(arrays[1]))
    if op.name in {"psi", "tri_gamma"}:
        with np.errstate(all="ignore"):
            arrays[0] = np.where(arrays[0] < 0, np.floor(arrays[0]) + 0.3125, arrays[0])
    return arrays
