"""Elements that an index names several times: which of the values put there stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Constant
from kroton.tensor.indexing import Entries, consumed, is_array, places, region_shape

__all__: list[str] = []


def last_writes(x: Any, entries: Entries, given: Sequence[Any]) -> Any:
    """For an assignment to `x[index]`, which values of the region are not written over again.

    Only index arrays name an element twice. Each place in their common shape is numbered, the
    numbers are put where the arrays point, and those that are found there again were the last.

    Parameters
    ----------
    x : tensor
    entries : tuple
        The entries of the index.
    given : sequence of Variable
        What stands at its `Given` places.

    Returns
    -------
    boolean tensor or None
        It broadcasts to the region. None: no element is indexed twice, whatever the values.
    """
    arrays = [v for place, v in zip(places(entries), given) if is_array(place)]
    extents: list[Any] = []
    static: list[int | None] = []
    axis = 0
    for entry in entries:
        if is_array(entry):
            for d in range(axis, axis + consumed(entry)):
                extents.append(T.shape(x)[d])
                static.append(x.type.shape[d])
        axis += consumed(entry)
    if never_repeats(arrays, static):
        return None
    index = tuple(arrays)
    board = T.zeros(extents, dtype="int64")
    common = T.shape(board[index])
    ndim = board[index].type.ndim
    numbers = T.reshape(T.arange(T.prod(common)), common, ndim=ndim)
    last = T.eq(T.set_subtensor(board[index], numbers)[index], numbers)
    dimensions = [("array", d) for d in range(ndim)]
    region = region_shape(entries, ["x"] * x.type.ndim, lambda part, extent: extent, dimensions)
    return T.dimshuffle(last, [d[1] if isinstance(d, tuple) else "x" for d in region])


def never_repeats(arrays: Sequence[Any], extents: Sequence[int | None]) -> bool:
    """Whether it is known before any value that the arrays together name no element twice.

    `extents` are those of the dimensions they index, as far as they are known.
    """
    if all(v.type.dtype == "bool" for v in arrays):
        return True
    owner = arrays[0].owner
    if owner is not None and isinstance(owner.op, T.Nonzero) and arrays == owner.outputs:
        return True
    if any(v.type.dtype == "bool" or not isinstance(v, Constant) for v in arrays):
        return False
    columns = []
    for v, extent in zip(np.broadcast_arrays(*(v.data for v in arrays)), extents):
        if extent is None and v.size and v.min() < 0 <= v.max():
            return False
        columns.append((v if extent is None else v % max(extent, 1)).ravel())
    return len(set(zip(*(c.tolist() for c in columns)))) == columns[0].size
