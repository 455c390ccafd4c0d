"""A chain of 100 000 Applys goes through everything without recursion."""

import pickle

import numpy as np

import kroton
import kroton.tensor as T
from kroton.graph.traversal import clone

DEPTH = 100_000


def test_a_chain_of_100_000_applys_goes_through_everything():
    x = T.dscalar("x")
    y = x
    for _ in range(DEPTH):
        y = T.sin(y)
    expected = 0.5
    slope = 1.0
    for _ in range(DEPTH):
        slope *= np.cos(expected)
        expected = np.sin(expected)

    (x2,), (y2,) = clone([x], [y])
    assert len(kroton.debugprint(y2, file="str").splitlines()) == DEPTH + 1
    assert kroton.pp(y2) == "sin(" * DEPTH + "x" + ")" * DEPTH
    del x2, y2

    f = kroton.function([x], [y, T.grad(y, x)], mode="FAST_COMPILE")
    value, gradient = f(0.5)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(gradient, slope, rtol=1e-7)


def test_a_function_of_100_000_applys_is_pickled():
    x = T.dscalar("x")
    y = x
    for _ in range(DEPTH):
        y = -y
    f = pickle.loads(pickle.dumps(kroton.function([x], y, mode="FAST_COMPILE")))
    assert f(0.5) == 0.5
