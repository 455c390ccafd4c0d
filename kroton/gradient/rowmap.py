"""RowMap: a graph evaluated for each row of its sequences, for Jacobians of any height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.gradient.reverse import pullback
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.evaluation import compiled
from kroton.graph.nulltype import DisconnectedType, NullType, disconnected_type
from kroton.graph.op import Op
from kroton.graph.traversal import clone_replace, toposort
from kroton.tensor.type import TensorType


@dataclass(frozen=True, eq=False, repr=False)
class RowMap(Op):
    """`out[i] = outputs(sequence[i] for each sequence, *others)`, stacked for all i.

    The first `n_sequences` inputs have one dimension more than those of the inner graph; all
    have the same number of rows.
    """

    n_sequences: int
    """How many of the inputs are taken row by row."""
    inner_inputs: tuple[Any, ...]
    """The inner graph's inputs: a row of each sequence, then the others."""
    inner_outputs: tuple[Any, ...]
    """What is computed for each row."""
    _function: list[Any] = field(default_factory=list, repr=False)

    def make_node(self, *inputs: Any) -> Apply:
        if len(inputs) != len(self.inner_inputs):
            raise ValueError(f"{self} takes {len(self.inner_inputs)} inputs, got {len(inputs)}")
        variables = [T.as_tensor_variable(x) for x in inputs]
        n_rows = None
        for k, (x, inner) in enumerate(zip(variables, self.inner_inputs)):
            expected = inner.type.ndim + (k < self.n_sequences)
            if x.type.dtype != inner.type.dtype or x.type.ndim != expected:
                raise TypeError(
                    f"input {k} of {self} must be {inner.type.dtype} of {expected} dimensions, "
                    f"got {x.type}"
                )
            if k < self.n_sequences and x.type.shape[0] is not None:
                n_rows = x.type.shape[0]
        return Apply(
            self,
            variables,
            [TensorType(o.type.dtype, (n_rows, *o.type.shape))() for o in self.inner_outputs],
        )

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        if not self._function:
            self._function.append(compiled(self.inner_inputs, self.inner_outputs))
        function = self._function[0]
        sequences, others = inputs[: self.n_sequences], inputs[self.n_sequences :]
        n_rows = len(sequences[0])
        for k, s in enumerate(sequences):
            if len(s) != n_rows:
                raise ValueError(f"{self}: sequence {k} has {len(s)} rows, sequence 0 {n_rows}")
        if n_rows == 0:
            # only a run of the inner graph knows the other extents
            rows = [np.zeros(s.shape[1:], s.dtype) for s in sequences]
            for value, storage in zip(function(*rows, *others), output_storage):
                storage[0] = np.zeros((0, *value.shape), value.dtype)
            return
        results: list[np.ndarray] = []
        for i in range(n_rows):
            values = function(*(np.asarray(s[i]) for s in sequences), *others)
            if i == 0:
                results = [np.empty((n_rows, *v.shape), v.dtype) for v in values]
            for whole, value in zip(results, values):
                whole[i] = value
        for storage, whole in zip(output_storage, results):
            storage[0] = whole

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        live = [
            (o, g)
            for o, g in zip(self.inner_outputs, output_gradients)
            if not isinstance(g.type, DisconnectedType)
        ]
        if not live:
            return [disconnected_type() for _ in inputs]
        cotangents = [o.type() for o, _ in live]
        continuous = [x for x in self.inner_inputs if x.type.numpy_dtype.kind in "fc"]
        found = dict(
            zip(continuous, pullback([(o, c) for (o, _), c in zip(live, cotangents)], continuous))
        )
        result: list[Any] = [found.get(x, disconnected_type()) for x in self.inner_inputs]
        where = [
            k for k, g in enumerate(result) if not isinstance(g.type, (DisconnectedType, NullType))
        ]
        if not where:
            return result
        n = self.n_sequences
        mapped = map_rows(
            [*cotangents, *self.inner_inputs[:n]],
            [result[k] for k in where],
            [*(g for _, g in live), *inputs[:n]],
            dict(zip(self.inner_inputs[n:], inputs[n:])),
        )
        for k, rows in zip(where, mapped):
            result[k] = rows if k < n else T.sum(rows, axis=0)
        return result

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [
            [x.type.numpy_dtype.kind in "fc"] * len(self.inner_outputs) for x in self.inner_inputs
        ]

    def __repr__(self) -> str:
        return f"RowMap{{{', '.join(str(o) for o in self.inner_outputs)}}}"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        return (RowMap, (self.n_sequences, self.inner_inputs, self.inner_outputs))


def map_rows(
    rows: Sequence[Any],
    outputs: Sequence[Any],
    sequences: Sequence[Any],
    given: dict[Any, Any] | None = None,
) -> list[Any]:
    """`outputs`, expressions of `rows`, for each row of `sequences`, stacked.

    What does not depend on `rows` is computed once, outside, and stays differentiable.

    Parameters
    ----------
    rows : sequence of Variable
        Inputs that stand for a row of each sequence.
    outputs : sequence of Variable
    sequences : sequence of Variable
        Each has one dimension more than its row.
    given : dict from Variable to Variable, optional
        What other inputs of the expressions stand for.
    """
    dependent = set(rows)
    frontier: dict[Any, None] = {}
    for node in toposort(outputs, list(rows)):
        if dependent.isdisjoint(node.inputs):
            continue
        dependent.update(node.outputs)
        for var in node.inputs:
            if var not in dependent and not isinstance(var, Constant):
                frontier[var] = None
    for out in outputs:
        if out not in dependent and not isinstance(out, Constant):
            frontier[out] = None
    inner_rows: list[Variable] = [var.type() for var in rows]
    stand_ins = [var.type() for var in frontier]
    replacements = [*zip(rows, inner_rows), *zip(frontier, stand_ins)]
    inner = clone_replace(list(outputs), replacements)
    others = clone_replace(list(frontier), given) if given else list(frontier)
    op = RowMap(len(rows), (*inner_rows, *stand_ins), tuple(inner))
    return list(op(*sequences, *others, return_list=True))
