"""DebugMode warns of what `destroy_map` announces and does not happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.graph import Apply, Op


@dataclass(frozen=True)
class Increment(Op):
    """x + 1, in place or only said to be."""

    reuses: bool

    @property
    def destroy_map(self) -> dict[int, list[int]]:
        return {0: [0]}

    def make_node(self, *inputs: Any) -> Apply:
        (x,) = (T.as_tensor_variable(v) for v in inputs)
        return Apply(self, [x], [x.type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        output_storage[0][0] = np.add(x, 1.0, out=x) if self.reuses else x + 1.0


def increment(reuses: bool) -> Any:
    x = T.dvector("x")
    return kroton.function([x], Increment(reuses)(T.exp(x)), mode=kroton.DebugMode(directory=""))


def test_an_announced_reuse_that_does_not_happen_is_warned_of() -> None:
    f = increment(reuses=False)
    with pytest.warns(UserWarning, match=r"perform did not reuse input \[0\] for output 0") as seen:
        assert f([0.0, 0.0]).tolist() == [2.0, 2.0]
    assert len(seen) == 1
    assert "Increment" in str(seen[0].message)


def test_an_announced_reuse_that_happens_is_not() -> None:
    f = increment(reuses=True)
    assert f([0.0]).tolist() == [2.0]
    assert f([]).tolist() == []


def test_the_warning_can_be_switched_off() -> None:
    with kroton.config.change_flags(DebugMode__warn_input_not_reused=False):
        f = increment(reuses=False)
    assert f([0.0]).tolist() == [2.0]


def test_in_place_kernels_reuse_what_they_announce() -> None:
    x = T.dmatrix("x")
    w = kroton.shared(np.ones((3, 3)), name="w")
    b = kroton.shared(np.ones(3), name="b")
    f = kroton.function(
        [x], T.exp(T.tanh(x) @ w + b),
        updates=[(w, w - 0.1 * (x.T @ x)), (b, T.set_subtensor(b[1:], x[0, 1:]) * 2)],
        mode=kroton.DebugMode(directory=""),
    )  # fmt: skip
    assert any(node.op.destroy_map for node in f.maker.fgraph.apply_nodes)
    for _ in range(3):
        f(np.ones((3, 3)))
