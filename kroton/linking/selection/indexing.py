"""Kernels for indexing, indexed assignment and addition, and `Nonzero`."""

from __future__ import annotations

from typing import Any

from kroton._kernels.indexing import (
    AdvancedSubtensorKernel,
    IncSubtensorKernel,
    NonzeroKernel,
    SubtensorKernel,
)
from kroton.graph.basic import Apply
from kroton.linking.kernels import kernel_for
from kroton.tensor.advanced_subtensor import (
    AdvancedIncSubtensor,
    AdvancedIncSubtensor1,
    AdvancedSubtensor,
    AdvancedSubtensor1,
    Nonzero,
)
from kroton.tensor.indexing import Entries, Given, Slice
from kroton.tensor.subtensor import IncSubtensor, Subtensor


def described(entries: Entries) -> tuple[Any, ...]:
    """The entries in the words of `kroton._kernels.indexing`."""

    def word(entry: Any) -> Any:
        if isinstance(entry, Slice):
            return (word(entry.start), word(entry.stop), word(entry.step))
        if isinstance(entry, Given):
            if entry.ndim == 0:
                return "scalar"
            return ("mask", entry.ndim) if entry.dtype == "bool" else "array"
        return entry

    return tuple(map(word, entries))


@kernel_for(Subtensor)
def subtensor(node: Apply) -> Any:
    """A `SubtensorKernel`."""
    return SubtensorKernel(described(node.op.idx_list))


@kernel_for(AdvancedSubtensor, AdvancedSubtensor1)
def advanced_subtensor(node: Apply) -> Any:
    """An `AdvancedSubtensorKernel`."""
    x, *given = node.inputs
    return AdvancedSubtensorKernel(x.type.numpy_dtype.num, described(node.op.entries(given)))


@kernel_for(IncSubtensor, AdvancedIncSubtensor, AdvancedIncSubtensor1)
def inc_subtensor(node: Apply) -> Any:
    """An `IncSubtensorKernel`."""
    x, y, *given = node.inputs
    return IncSubtensorKernel(
        x.type.numpy_dtype.num,
        described(node.op.entries(given)),
        y.type.broadcastable,
        node.op.set_instead_of_inc,
        node.op.inplace,
    )


@kernel_for(Nonzero)
def nonzero(node: Apply) -> Any:
    """A `NonzeroKernel`."""
    return NonzeroKernel(node.inputs[0].type.ndim)
