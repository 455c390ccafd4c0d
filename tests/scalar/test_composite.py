"""Composites: programs of scalar operations, as their `impl` computes them."""

from __future__ import annotations

import numpy as np

from kroton import scalar


def test_results_never_share_memory_with_each_other_or_with_an_input() -> None:
    double = "float64"
    steps = (
        scalar.Instruction(scalar.sin, (0,), (double,), double),
        scalar.Instruction(scalar.identity, (1,), (double,), double),
    )
    composite = scalar.Composite(1, steps, (1, 0, 2, 1))
    x = np.arange(6.0).reshape(2, 3)
    results = composite.impl(x)
    wanted = [np.sin(x), x, np.sin(x), np.sin(x)]
    for k, (found, value) in enumerate(zip(results, wanted)):
        np.testing.assert_array_equal(found, value)
        assert not any(np.shares_memory(found, other) for other in (x, *results[:k]))
