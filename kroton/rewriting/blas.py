"""Dot products become calls of BLAS: Gemm, Gemv and Ger where something is added, else Dot22
or Dot22Scalar.

    alpha * dot(x, y)                   Dot22Scalar(x, y, alpha)
    beta * z + alpha * dot(x, y)        Gemm(z, alpha, x, y, beta)
    beta * y + alpha * dot(A, x)        Gemv(y, alpha, A, x, beta)
    A + alpha * outer(x, y)             Ger(A, alpha, x, y)

The factors are scalars: constants, 0-d Variables, or broadcasts of these, on either side, in
products, quotients and signs. A sum of several terms becomes several calls. A product that
something else needs too stays as it is, for it is computed anyway; so does a sum that goes on in
an Elemwise, which fusion lets have the addition for nothing, if Gemm would first copy z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.engine import Phase
from kroton.rewriting.inplace import inplace_version
from kroton.rewriting.matching import uniform_value
from kroton.rewriting.passes import PhasePass, register_pass
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce
from kroton.tensor.type import continuous_dtypes

blas = Phase("blas", tags=("fast_run", "blas"))
"""Dot products become calls of BLAS."""

register_pass(PhasePass("blas", frozenset({"fast_run", "blas", "BlasOpt"}), 10.0, phases=(blas,)))


@dataclass(frozen=True)
class _Factor:
    """A product of a number and scalar Variables."""

    number: Any
    variables: tuple[Any, ...] = ()
    below: tuple[Any, ...] = ()
    """The Variables that it is divided by."""

    def build(self, dtype: str) -> Variable:
        """As a scalar Variable."""
        result: Any = T.constant(self.number, dtype=dtype)
        for k, v in enumerate(self.variables):
            if k == 0 and abs(self.number) == 1 and self.number.imag == 0:
                result = v if self.number == 1 else -v
            else:
                result = result * v
        for v in self.below:
            result = result / v
        return result  # type: ignore[no-any-return]

    def is_one(self) -> bool:
        """Whether it is the number 1."""
        return bool(self.number == 1) and not self.variables and not self.below

    def negated(self) -> _Factor:
        """With the other sign."""
        return _Factor(-self.number, self.variables, self.below)


def _scalar(var: Variable) -> Any:
    """A number, or a 0-d Variable, that `var` is a broadcast of; None if it is none."""
    value = uniform_value(var)
    if value is not None:
        return value[()]
    if var.type.ndim == 0:
        return var
    if not all(var.type.broadcastable):
        return None
    node = var.owner
    if node is not None and type(node.op) is DimShuffle and node.inputs[0].type.ndim == 0:
        return node.inputs[0]
    return T.dimshuffle(var, ())


def _scaled(
    fgraph: FunctionGraph, var: Variable, like: Variable, shared: bool = False
) -> tuple[_Factor, Variable]:
    """`var` as a scalar factor and the rest, which has the type class of `like`.

    Products that something else needs too are the rest, but for `var` itself if `shared`.
    """
    first = var
    factor = _Factor(np.ones((), like.type.numpy_dtype)[()])
    with np.errstate(all="ignore"):
        while var.owner is not None and type(var.owner.op) is Elemwise:
            if len(fgraph.variables[var]) > 1 and not (shared and var is first):
                break
            name, inputs = var.owner.op.name, var.owner.inputs
            if name == "neg":
                inner = inputs[0]
                factor = factor.negated()
            elif name == "mul" and len(inputs) == 2:
                if _same_extents(inputs[0], like):
                    inner, scalar = inputs[0], _scalar(inputs[1])
                elif _same_extents(inputs[1], like):
                    inner, scalar = inputs[1], _scalar(inputs[0])
                else:
                    break
                if scalar is None:
                    inner, scalar = inputs[1], _scalar(inputs[0])
                    if scalar is None or not _same_extents(inner, like):
                        break
                if isinstance(scalar, Variable):
                    factor = _Factor(factor.number, (*factor.variables, scalar), factor.below)
                else:
                    factor = _Factor(factor.number * scalar, factor.variables, factor.below)
            elif name == "true_div" and _same_extents(inputs[0], like):
                inner, scalar = inputs[0], _scalar(inputs[1])
                if scalar is None:
                    break
                if isinstance(scalar, Variable):
                    factor = _Factor(factor.number, factor.variables, (*factor.below, scalar))
                else:
                    factor = _Factor(factor.number / scalar, factor.variables, factor.below)
            else:
                break
            if not _same_extents(inner, like):
                break
            var = inner
    return factor, var


def _same_extents(var: Variable, like: Variable) -> bool:
    """Whether an Elemwise of `like`'s extents does not stretch `var`."""
    return bool(
        var.type.dtype == like.type.dtype
        and len(var.type.shape) == len(like.type.shape)
        and var.type.broadcastable == like.type.broadcastable
    )


def _product(fgraph: FunctionGraph, var: Variable) -> Apply | None:
    """The Apply of a dot product that only one thing reads."""
    node = var.owner
    if node is None or type(node.op) not in (Dot, Dot22) or len(fgraph.variables[var]) != 1:
        return None
    return node


def _vector(var: Variable, position: int) -> Variable | None:
    """The vector of which `var` is a column (position 0) or a row (1); None if it is none."""
    node = var.owner
    order = (0, "x") if position == 0 else ("x", 0)
    if node is None or type(node.op) is not DimShuffle or node.op.drop:
        return None
    if node.op.new_order == order:
        return node.inputs[0]  # type: ignore[no-any-return]
    return None


def _better_fused(fgraph: FunctionGraph, z: Variable, out: Variable) -> bool:
    """Whether z would have to be copied first, and the sum goes on in an Elemwise anyway."""
    if z.owner is not None and len(fgraph.variables[z]) == 1:
        return False
    clients = fgraph.clients(out)
    return all(
        node != "output" and type(node.op) is Elemwise and _same_extents(node.outputs[0], out)
        for node, _ in clients
    )


def _accumulate(z: Variable, alpha: Any, beta: Any, node: Apply) -> Variable:
    """beta * z + alpha * the dot product of `node`."""
    dtype = z.type.dtype
    x, y = node.inputs
    a, b = alpha.build(dtype), beta.build(dtype)
    if z.type.ndim == 1:
        if x.type.ndim == 2:
            return Gemv()(z, a, x, y, b)  # type: ignore[no-any-return]
        return Gemv()(z, a, T.dimshuffle(y, (1, 0)), x, b)  # type: ignore[no-any-return]
    u, v = _vector(x, 0), _vector(y, 1)
    if u is not None and v is not None and beta.is_one():
        return Ger()(z, a, u, v)  # type: ignore[no-any-return]
    return Gemm()(z, a, x, y, b)  # type: ignore[no-any-return]


@blas.rewriter("add", "sub", name="accumulate_dot", depth=6)
def accumulate_dot(fgraph: FunctionGraph, node: Apply) -> Any:
    """A dot product, scaled or not, that is added to something or subtracted from it."""
    out = node.outputs[0]
    if out.type.dtype not in continuous_dtypes or out.type.ndim not in (1, 2):
        return None
    if node.op.inplace_pattern or not all(_same_extents(v, out) for v in node.inputs):
        return None
    left, right = node.inputs
    if left is right:
        return None
    minus = node.op.name == "sub"
    for term, other, first in ((right, left, False), (left, right, True)):
        if len(fgraph.variables[term]) != 1:
            continue
        alpha, rest = _scaled(fgraph, term, out)
        product = _product(fgraph, rest)
        if product is None:
            continue
        beta, z = _scaled(fgraph, other, out)
        if _better_fused(fgraph, z, out):
            continue
        if minus and first:
            beta = beta.negated()
        elif minus:
            alpha = alpha.negated()
        return _accumulate(z, alpha, beta, product)
    return None


@blas.rewriter("mul", "true_div", "neg", name="scaled_dot", depth=6)
def scaled_dot(fgraph: FunctionGraph, node: Apply) -> Any:
    """A scaled product of matrices, unless it goes on in an Elemwise, which scales as well."""
    out = node.outputs[0]
    if out.type.dtype not in continuous_dtypes or out.type.ndim != 2 or node.op.inplace_pattern:
        return None
    if any(
        client != "output" and type(client.op) in (Elemwise, CAReduce)
        for client, _ in fgraph.clients(out)
    ):
        return None
    alpha, rest = _scaled(fgraph, out, out, shared=True)
    product = _product(fgraph, rest)
    if product is None or rest is out:
        return None
    return Dot22Scalar()(*product.inputs, alpha.build(out.type.dtype))


@blas.rewriter(Dot, name="dot_to_dot22", depth=1)
def dot_to_dot22(fgraph: FunctionGraph, node: Apply) -> Any:
    """The product of two matrices of floats."""
    x, y = node.inputs
    if x.type.ndim != 2 or y.type.ndim != 2 or x.type.dtype not in continuous_dtypes:
        return None
    return Dot22()(x, y)


@inplace_version(Gemm, Gemv, Ger)
def accumulate_in_place(node: Apply) -> Iterator[tuple[int, Any]]:
    """The first input is written over."""
    if not node.op.inplace and not isinstance(node.inputs[0], Constant):
        yield 0, type(node.op)(inplace=True)
