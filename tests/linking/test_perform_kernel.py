"""What a user's perform leaves is made what its type declares, or refused."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.graph import Apply, Op


@dataclass(frozen=True)
class Leaves(Op):
    """Leaves one of several values in its output, a float64 matrix or scalar."""

    what: str

    def make_node(self, x: Any) -> Apply:
        x = T.as_tensor_variable(x)
        return Apply(self, [x], [T.dscalar() if self.what == "scalar" else T.dmatrix()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        (x,) = inputs
        output_storage[0][0] = {
            "scalar": x.sum(),
            "float32": x.astype("float32"),
            "big endian": x.astype(">f8"),
            "complex": x * 1j,
            "vector": x[0],
        }[self.what]


@pytest.mark.parametrize("linker", ["py", "c|py"])
@pytest.mark.parametrize("what", ["scalar", "float32", "big endian"])
def test_values_that_lose_nothing_are_converted(what, linker):
    x = T.dmatrix("x")
    out = Leaves(what)(x) * T.dot(x, x)
    f = kroton.function([x], out, mode=kroton.compile.mode.Mode(linker=linker))
    v = np.eye(2)
    factor = 2 if what == "scalar" else v
    assert np.array_equal(f(v), factor * v)


@pytest.mark.usefixtures("fast_run")
@pytest.mark.parametrize("what", ["complex", "vector"])
def test_values_of_another_type_are_refused(what):
    x = T.dmatrix("x")
    f = kroton.function([x], T.exp(Leaves(what)(x)))
    with pytest.raises(TypeError, match="left in output 0 what its type"):
        f(np.eye(2))
