"""Canonicalization of indexing: elements of vectors of extents, indices that take everything."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.phases import canonicalize
from kroton.tensor.indexing import FULL, Slice
from kroton.tensor.shape import MakeVector
from kroton.tensor.subtensor import Subtensor

T: Any = kroton.tensor


@canonicalize.rewriter(Subtensor, name="element_of_vector")
def element_of_vector(fgraph: FunctionGraph, node: Apply) -> Any:
    """What was put into a vector is taken out again."""
    owner = node.inputs[0].owner
    if owner is None or type(owner.op) is not MakeVector or len(node.op.idx_list) != 1:
        return None
    (entry,) = node.op.idx_list
    elements = owner.inputs
    if isinstance(entry, int):
        return elements[entry] if -len(elements) <= entry < len(elements) else None
    if isinstance(entry, Slice):
        parts = (entry.start, entry.stop, entry.step)
        if all(p is None or isinstance(p, int) for p in parts):
            return T.make_vector(*elements[slice(*parts)], dtype=owner.op.dtype)
    return None


@canonicalize.rewriter(Subtensor, name="full_slice", depth=1)
def full_slice(fgraph: FunctionGraph, node: Apply) -> Any:
    """An index that takes everything."""
    if all(entry == FULL for entry in node.op.idx_list):
        return node.inputs[0]
    return None
