"""Arrays in every layout, and values with every special case, for tests of kernels."""

import numpy as np
from hypothesis import strategies as st

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-5, 7.25, 30.0, np.inf, -np.inf, np.nan]


def values(rng, dtype, size, *, special=True, low=-9, high=10):
    """`size` values of `dtype`: moderate ones, and the special ones where there are such."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, size).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else low, high, size).astype(dtype)
    if dtype.kind == "c":
        parts = [values(rng, f"f{dtype.itemsize // 2}", size, special=special) for _ in range(2)]
        result = np.empty(size, dtype)
        result.real, result.imag = parts
        return result
    result = rng.normal(size=size) * 10.0 ** rng.integers(-3, 2, size)
    if special and size:
        where = rng.random(size) < 0.3
        result[where] = rng.choice(FLOATS, where.sum())
    return result.astype(dtype)


def lay_out(array, order, steps):
    """The same values as a view: axes in memory order `order`, every |step|-th element.

    A negative step reverses the axis in memory, 0 leaves one element for the whole axis.
    """
    shape = array.shape
    if any(step == 0 for step in steps):
        one = array[tuple(slice(0, 1) if step == 0 else slice(None) for step in steps)]
        kept = lay_out(one, order, tuple(step or 1 for step in steps))
        return np.broadcast_to(kept, shape)
    full = [n * abs(step) for n, step in zip(shape, steps, strict=True)]
    memory = np.empty([full[axis] for axis in order], array.dtype).transpose(np.argsort(order))
    view = memory[(..., *(slice(None, None, step) for step in steps))]
    view[...] = array
    return view


@st.composite
def layouts(draw, ndim, *, overlapping=True):
    """An (order, steps) for `lay_out`."""
    order = tuple(draw(st.permutations(range(ndim))))
    choices = [1, 1, 1, 2, 4, -1, -2] + ([0] if overlapping else [])
    steps = tuple(draw(st.sampled_from(choices)) for _ in range(ndim))
    return order, steps


@st.composite
def operands(draw, dtypes, *, max_dims=3, max_extent=9):
    """Arrays of `dtypes` that broadcast together, and the dimensions where they may.

    Returns (arrays, patterns, shape): patterns as `ElementwiseKernel` takes them.
    """
    shape = tuple(draw(st.lists(st.integers(0, max_extent), min_size=0, max_size=max_dims)))
    if len(shape) == 1 and draw(st.booleans()):
        shape = (draw(st.integers(2000, 5000)),)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arrays, patterns = [], []
    whole = draw(st.integers(0, len(dtypes) - 1))
    for k, dtype in enumerate(dtypes):
        own = list(shape)
        pattern = [n == 1 and draw(st.booleans()) for n in shape]
        if k != whole:
            for d in range(len(shape)):
                if draw(st.booleans()):
                    own[d], pattern[d] = 1, True
            dropped = draw(st.integers(0, len(shape)))
            own, pattern = own[dropped:], pattern[dropped:]
        array = values(rng, dtype, int(np.prod(own, dtype=int))).reshape(own)
        arrays.append(lay_out(array, *draw(layouts(len(own)))))
        patterns.append(tuple(pattern))
    result = [1] * len(shape)
    for pattern in patterns:
        for d, broadcast in enumerate(reversed(pattern)):
            if not broadcast:
                result[-1 - d] = shape[-1 - d]
    return arrays, tuple(patterns), tuple(result)
