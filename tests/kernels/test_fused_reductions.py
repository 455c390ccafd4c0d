"""Reductions of what a program computes: the bits, errors and accuracy of the fused kernel."""

import math

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.compile.mode import Mode
from kroton.linking.kernels import select_kernel
from kroton.rewriting import get_optimizer
from kroton.tensor.fused_reduction import FusedReduction

FUSED = Mode("c", get_optimizer("fast_run"))
UNFUSED = Mode("c", get_optimizer("fast_run").excluding("fusion"))


def both(inputs, outputs):
    """The function with and without fusion."""
    fused, unfused = (kroton.function(inputs, outputs, mode=m) for m in (FUSED, UNFUSED))
    assert any(isinstance(n.op, FusedReduction) for n in fused.maker.fgraph.toposort())
    return fused, unfused


def kernel_of(f):
    """The kernel of the only FusedReduction of a function."""
    (node,) = (n for n in f.maker.fgraph.toposort() if isinstance(n.op, FusedReduction))
    return select_kernel(node)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1,), 0), ((7,), 0), ((129,), 0), ((2048,), 0), ((2049,), 0), ((100_003,), 0),
        ((700_001,), 0),
        ((5, 10_000), 1), ((1000, 100), 0), ((1000, 100), 1), ((1000, 100), None),
        ((30, 40, 50), None), ((30, 40, 50), 2), ((30, 40, 50), 0),
    ],
)  # fmt: skip
def test_a_sum_of_contiguous_rows_has_the_bits_that_it_has_unfused(dtype, shape, axis):
    x, y = (T.TensorType(dtype, (None,) * len(shape))(n) for n in "xy")
    fused, unfused = both([x, y], T.sum(T.sqr(x - y), axis=axis))
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, *shape)).astype(dtype)
    np.testing.assert_array_equal(fused(a, b), unfused(a, b))


@pytest.mark.parametrize("name", ["max", "min", "prod"])
def test_extremes_and_products_of_rows_have_the_same_bits(name):
    m = T.dmatrix("m")
    fused, unfused = both([m], [getattr(T, name)(T.sqr(m) + 0.5, axis=a) for a in (0, 1, None)])
    x = np.random.default_rng(2).normal(size=(300, 70))
    for a, b in zip(fused(x), unfused(x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sums_over_different_axes_are_taken_in_one_sweep():
    m, row = T.dmatrix("m"), T.dvector("row")
    z = T.sqr(m - row)
    sums = [z.sum(), z.sum(axis=0), z.sum(axis=1), z.max(axis=1)]
    # By itself the optimizer takes the first as a sum of the second.
    fused = kroton.function([m, row], sums, mode=FUSED.excluding("sum_of_finer_sum"))
    assert len(fused.maker.fgraph.toposort()) == 1
    rng = np.random.default_rng(3)
    for shape in ((3, 4), (1000, 8), (40, 900), (2, 5000), (0, 4)):
        a, b = rng.normal(size=shape), rng.normal(size=shape[1])
        value = np.square(a - b)
        for found, expected in zip(
            fused(a, b), [value.sum(), value.sum(0), value.sum(1), value.max(1)], strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_long_sum_in_single_precision_stays_accurate():
    v = T.fvector("v")
    fused, _ = both([v], T.sum(T.sqr(v)))
    x = np.random.default_rng(4).uniform(size=3_000_001).astype("float32")
    exact = math.fsum(np.square(x).tolist())
    assert abs(float(fused(x)) - exact) < 4e-7 * exact


def test_strided_and_reversed_inputs_give_the_same_sums():
    m = T.dmatrix("m")
    fused, _ = both([m], [T.sum(T.exp(m), axis=0), T.sum(T.exp(m))])
    x = np.random.default_rng(5).normal(size=(200, 300))
    for view in (x.T, x[::-1], x[::3, ::-2], np.broadcast_to(x[0], (50, 300))):
        for a, b in zip(fused(view), [np.exp(view).sum(0), np.exp(view).sum()], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_extreme_of_nothing_is_an_error_that_names_the_axes():
    m = T.dmatrix("m")
    fused, _ = both([m], T.max(T.exp(m), axis=0))
    with pytest.raises(ValueError, match=r"maximum of no elements.*axes \(0,\)"):
        fused(np.zeros((0, 3)))
    assert fused(np.zeros((3, 0))).shape == (0,)


def test_extents_that_disagree_are_an_error():
    v, w = T.dvectors("v", "w")
    fused, _ = both([v, w], T.sum(T.exp(v * w)))
    with pytest.raises(ValueError, match="input 1 has 4 elements"):
        kernel_of(fused)(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match=r"It computes mul\(v, w\), of operands with the shapes"):
        fused(np.zeros(3), np.zeros(4))


def test_a_result_that_is_not_reduced_has_memory_of_its_own():
    m = T.dmatrix("m")
    z = T.exp(m)
    fused, _ = both([m], [T.sin(z), T.sum(T.cos(z), axis=0)])
    x = np.random.default_rng(6).normal(size=(90, 70))
    first = fused(x)[0]
    kept = first.copy()
    fused(x + 1)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(kept, np.sin(np.exp(x)), rtol=1e-12)
