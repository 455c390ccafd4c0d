"""Products of matrices: transpositions and scalar factors go where BLAS takes them for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.agreement import same_extent
from kroton.rewriting.emptiness import unspoilt
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.phases import canonicalize, specialize
from kroton.rewriting.shape import extent
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.products import BatchedDot, Dot
from kroton.tensor.type import continuous_dtypes

T: Any = kroton.tensor


@canonicalize.rewriter(DimShuffle, name="transposed_product")
def transposed_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(x.T, y).T is dot(y.T, x), and dot(x, y.T).T is dot(y, x.T)."""
    (product,) = node.inputs
    inner = product.owner
    if inner is None or type(inner.op) is not Dot or not _transposes(node):
        return None
    x, y = inner.inputs
    if x.type.ndim != 2 or y.type.ndim != 2:
        return None
    if len(fgraph.variables[product]) > 1 or not (_is_transposed(x) or _is_transposed(y)):
        return None
    return inner.op(_transposed(y), _transposed(x))


def _transposes(node: Apply) -> bool:
    """Whether it is the transposition of a matrix, and drops no third dimension."""
    return type(node.op) is DimShuffle and node.op.new_order == (1, 0) and not node.op.drop


def _is_transposed(x: Variable) -> bool:
    return x.owner is not None and _transposes(x.owner)


def _transposed(x: Variable) -> Any:
    return x.owner.inputs[0] if _is_transposed(x) else T.dimshuffle(x, (1, 0))  # type: ignore[union-attr]


@specialize.rewriter(Dot, name="scaled_product", depth=2)
def scaled_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(c * x, y) is c * dot(x, y), and so for -x and x / c.

    BLAS scales a product of matrices for nothing, and so do the products and elementwise
    operations that use a vector. Only if no other than products use c * x, which is then not
    computed.
    """
    (out,) = node.outputs
    users = [client for client, _ in fgraph.variables[out]]
    free = out.type.ndim == 2 and out.type.dtype in continuous_dtypes
    if not free and any(user == "output" or type(user.op) not in (Dot, Elemwise) for user in users):
        return None
    for k, operand in enumerate(node.inputs):
        found = _unscaled(operand)
        if found is None:
            continue
        readers = [client for client, _ in fgraph.variables[operand]]
        if not all(_is_product(fgraph, reader) for reader in readers):
            continue
        pair = list(node.inputs)
        pair[k] = found.x
        number = found.number
        if number is not None:
            # The product over nothing is 0, and 0 / n is not where n is 0 as well.
            summed = operand.type.ndim - 1 if k == 0 or operand.type.ndim == 1 else 0
            divides = found.op.name == "true_div"
            number = unspoilt(fgraph, number, operand, (summed,), divides)
        return found.applied(node.op(*pair), number)
    return None


def _is_measured(number: Variable, depth: int = 8) -> bool:
    """Whether the number is computed of many, as a maximum or a norm is.

    What is divided by it may be too large to be multiplied before.
    """
    node = number.owner
    if node is None or number.type.dtype not in continuous_dtypes:
        return False
    if type(node.op) is DimShuffle or type(node.op) is Elemwise:
        return depth == 0 or any(_is_measured(v, depth - 1) for v in node.inputs)
    return True


@dataclass(frozen=True)
class _Scaled:
    """c * x, x / c or -x, with a scalar c."""

    x: Any
    op: Any
    number: Any = None
    """c; None for -x."""

    def applied(self, v: Any, number: Any = None) -> Any:
        """`v` scaled as `x` is, or with another number."""
        if self.number is None:
            return self.op(v)
        return self.op(v, self.number if number is None else number)


def _unscaled(scaled: Variable) -> _Scaled | None:
    node = scaled.owner
    if node is None or type(node.op) is not Elemwise or len(node.outputs) != 1:
        return None
    op, name = node.op, node.op.name
    if name == "neg":
        return _Scaled(node.inputs[0], op)
    if name not in ("mul", "true_div"):
        return None
    for x, c in (node.inputs, node.inputs[::-1])[: 1 if name == "true_div" else 2]:
        number = _number(c)
        if number is not None and x.type == scaled.type and not _is_measured(number):
            return _Scaled(x, op, number)
    return None


def _number(c: Any) -> Any:
    """A 0-d Variable that `c` is, or is a broadcast of; None if it is none."""
    value = uniform_value(c)
    if value is not None:
        return T.constant(value, dtype=c.type.dtype)
    return T.dimshuffle(c, ()) if all(c.type.broadcastable) else None


def _is_product(fgraph: FunctionGraph, reader: Any) -> bool:
    """Whether it is a Dot, or a transposition that only Dots read."""
    if reader == "output":
        return False
    if _transposes(reader):
        users = [client for client, _ in fgraph.variables[reader.outputs[0]]]
        return all(user != "output" and type(user.op) is Dot for user in users)
    return type(reader.op) is Dot


@specialize.rewriter(DimShuffle, name="scaled_transposition", depth=2)
def scaled_transposition(fgraph: FunctionGraph, node: Apply) -> Any:
    """(c * x).T, of which only products are made, is c * x.T."""
    (operand,) = node.inputs
    if not _transposes(node) or not _is_product(fgraph, node):
        return None
    found = _unscaled(operand)
    if found is None:
        return None
    if not all(_is_product(fgraph, reader) for reader, _ in fgraph.variables[operand]):
        return None
    return found.applied(node.op(found.x))


@canonicalize.rewriter(Dot, name="product_with_zeros", depth=1)
def product_with_zeros(fgraph: FunctionGraph, node: Apply) -> Any:
    """dot(x, 0) is 0, where it is known that the extents fit."""
    x, y = node.inputs
    if uniform_value(x) != 0 and uniform_value(y) != 0:
        return None
    if not same_extent(fgraph, x, x.type.ndim - 1, y, 0):
        return None
    kept = [extent(fgraph, x, d) for d in range(x.type.ndim - 1)]
    kept += [extent(fgraph, y, d) for d in range(1, y.type.ndim)]
    return T.alloc(T.constant(0, dtype=node.outputs[0].type.dtype), *kept)


def _swaps(op: DimShuffle) -> bool:
    """Whether it transposes each matrix of a stack."""
    n = len(op.new_order)
    return n > 2 and op.new_order == (*range(n - 2), n - 1, n - 2) and not op.drop


@canonicalize.rewriter(DimShuffle, name="transposed_batched_product")
def transposed_batched_product(fgraph: FunctionGraph, node: Apply) -> Any:
    """The transposed products of stacks of matrices, one of which is transposed already."""
    (products,) = node.inputs
    inner = products.owner
    if inner is None or type(inner.op) is not BatchedDot or not _swaps(node.op):
        return None
    if len(fgraph.variables[products]) > 1:
        return None
    order = node.op.new_order
    turned = [
        v.owner is not None
        and type(v.owner.op) is DimShuffle
        and v.owner.op.new_order == order
        and not v.owner.op.drop
        for v in inner.inputs
    ]
    if not any(turned):
        return None
    x, y = (T.dimshuffle(v, order) for v in inner.inputs)
    return inner.op(y, x)


@canonicalize.rewriter(BatchedDot, name="batch_of_one", depth=1)
def batch_of_one(fgraph: FunctionGraph, node: Apply) -> Any:
    """A single product is no batch."""
    x, y = node.inputs
    n = x.type.ndim - 2
    if any(e != 1 for e in x.type.shape[:n] + y.type.shape[:n]):
        return None
    product = T.dot(*(T.dimshuffle(v, (n, n + 1)) for v in (x, y)))
    return T.dimshuffle(product, ("x",) * n + (0, 1))
