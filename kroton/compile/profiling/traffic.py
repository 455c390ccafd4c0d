"""How many bytes an Apply reads and writes, from the sizes of what it works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def bytes_moved(op: Any, inputs: Sequence[int], outputs: Sequence[int]) -> int:
    """The bytes that one run reads and writes.

    Each input is read and each output written once, but that shapes are known without reading
    the values, and that integer indices read no more than they take.

    Parameters
    ----------
    op : Op
    inputs, outputs : sequences of int
        The bytes of each.
    """
    from kroton.tensor.advanced_subtensor import AdvancedSubtensor, AdvancedSubtensor1
    from kroton.tensor.shape import Shape, Shape_i

    if isinstance(op, (Shape, Shape_i)):
        return sum(outputs)
    if isinstance(op, (AdvancedSubtensor, AdvancedSubtensor1)):
        return 2 * sum(outputs) + sum(inputs[1:])
    return sum(inputs) + sum(outputs)
