"""Products of matrices: transpositions and scalar factors go where BLAS takes them for nothing."""

from __future__ import annotations

from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import canonicalize, specialize
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.products import Dot

T: Any = kroton.tensor


@canonicalize.rewriter(DimShuffle, name="transposed_product")
def transposed_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(x.T, y).T is dot(y.T, x), and dot(x, y.T).T is dot(y, x.T)."""
    (product,) = node.inputs
    inner = product.owner
    if inner is None or type(inner.op) is not Dot or node.op.new_order != (1, 0):
        return None
    x, y = inner.inputs
    if len(fgraph.variables[product]) > 1 or not (_is_transposed(x) or _is_transposed(y)):
        return None
    return inner.op(_transposed(y), _transposed(x))


def _is_transposed(x: Variable) -> bool:
    node = x.owner
    return node is not None and type(node.op) is DimShuffle and node.op.new_order == (1, 0)


def _transposed(x: Variable) -> Any:
    return x.owner.inputs[0] if _is_transposed(x) else T.dimshuffle(x, (1, 0))  # type: ignore[union-attr]


@specialize.rewriter(Dot, name="scaled_product", depth=2)
def scaled_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(c * x, y) is c * dot(x, y), where what uses it can take the factor c.

    Those are other products, which pass it on, and elementwise operations. Only if no other
    than products use c * x, which is then not computed.
    """
    users = [client for client, _ in fgraph.variables[node.outputs[0]]]
    if any(user == "output" or type(user.op) not in (Dot, Elemwise) for user in users):
        return None
    for k, operand in enumerate(node.inputs):
        scaled = operand.owner
        if scaled is None or type(scaled.op) is not Elemwise or scaled.op.name != "mul":
            continue
        readers = [client for client, _ in fgraph.variables[operand]]
        if not all(_is_product(fgraph, reader) for reader in readers):
            continue
        for x, c in (scaled.inputs, scaled.inputs[::-1]):
            value = uniform_value(c)
            if value is None or x.type != operand.type:
                continue
            pair = list(node.inputs)
            pair[k] = x
            number = T.constant(value, dtype=node.outputs[0].type.dtype)
            return node.op(*pair) * number
    return None


def _is_product(fgraph: FunctionGraph, reader: Any) -> bool:
    """Whether it is a Dot, or a transposition that only Dots read."""
    if reader == "output":
        return False
    if type(reader.op) is DimShuffle and reader.op.new_order == (1, 0):
        users = [client for client, _ in fgraph.variables[reader.outputs[0]]]
        return all(user != "output" and type(user.op) is Dot for user in users)
    return type(reader.op) is Dot


@specialize.rewriter(DimShuffle, name="scaled_transposition", depth=2)
def scaled_transposition(fgraph: FunctionGraph, node: Apply) -> Any:
    """(c * x).T, of which only products are made, is c * x.T."""
    (operand,) = node.inputs
    scaled = operand.owner
    if node.op.new_order != (1, 0) or scaled is None or type(scaled.op) is not Elemwise:
        return None
    if scaled.op.name != "mul" or not _is_product(fgraph, node):
        return None
    if not all(_is_product(fgraph, reader) for reader, _ in fgraph.variables[operand]):
        return None
    for x, c in (scaled.inputs, scaled.inputs[::-1]):
        value = uniform_value(c)
        if value is not None and x.type == operand.type:
            return node.op(x) * T.constant(value, dtype=operand.type.dtype)
    return None
