"""Dot products become calls of BLAS: Gemm, Gemv and Ger where something is added, else Dot22
or Dot22Scalar.

    alpha * dot(x, y)                   Dot22Scalar(x, y, alpha)
    beta * z + alpha * dot(x, y)        Gemm(z, alpha, x, y, beta)
    beta * y + alpha * dot(A, x)        Gemv(y, alpha, A, x, beta)
    A + alpha * outer(x, y)             Ger(A, alpha, x, y)

The factors are scalars: constants, 0-d Variables, or broadcasts of these, on either side, in
products, quotients and signs, also of whole sums: W - r * (dot(x, y) + c * W) is one Gemm with
beta = 1 - r * c. A sum of several products becomes several calls, each into the result of the one
before. A product that something else needs too stays as it is, for it is computed anyway; so does
a sum that goes on in an Elemwise, which fusion lets have the addition for nothing, if Gemm would
first copy z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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


_LIMIT = 512
"""Longer sums are not seen as a whole, so that the cost stays linear."""


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
            v = T.cast(v, dtype)
            if k == 0 and abs(self.number) == 1 and self.number.imag == 0:
                result = v if self.number == 1 else -v
            else:
                result = result * v
        for v in self.below:
            result = result / T.cast(v, dtype)
        return result  # type: ignore[no-any-return]

    def is_number(self) -> bool:
        """Whether there are no Variables in it."""
        return not self.variables and not self.below

    def times(self, other: _Factor) -> _Factor:
        """The product of both."""
        number = self.number * other.number
        return _Factor(number, self.variables + other.variables, self.below + other.below)

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


# ---- sums ---------------------------------------------------------------------------------


@dataclass
class _Combination:
    """A sum of scaled products and of scaled other terms."""

    products: list[tuple[_Factor, Apply]] = field(default_factory=list)
    terms: dict[Variable, list[_Factor]] = field(default_factory=dict)
    """Those of the extents of the sum, with the factors of each."""
    stretched: list[tuple[_Factor, Variable]] = field(default_factory=list)
    """Those that are rows, columns or scalars."""


def _is_sum(node: Apply | None) -> bool:
    return (
        node is not None
        and type(node.op) is Elemwise
        and node.op.name in ("add", "sub")
        and not node.op.inplace_pattern
    )


def _combination(fgraph: FunctionGraph, out: Variable) -> _Combination:
    """`out` as a sum; sums that others use as well are single terms."""
    found = _Combination()
    stack: list[tuple[_Factor, Variable]] = [(_Factor(np.ones((), out.type.numpy_dtype)[()]), out)]
    seen = 0
    while stack:
        outer, var = stack.pop()
        seen += 1
        if not _same_extents(var, out):
            found.stretched.append((outer, var))
            continue
        factor, rest = _scaled(fgraph, var, out, shared=var is out)
        factor = outer.times(factor)
        node = rest.owner
        alone = rest is out or len(fgraph.variables[rest]) == 1
        if (
            alone
            and node is not None
            and _is_sum(node)
            and seen < _LIMIT
            and any(_same_extents(v, out) for v in node.inputs)
        ):
            left, right = node.inputs
            stack.append((factor.negated() if node.op.name == "sub" else factor, right))
            stack.append((factor, left))
            continue
        product = _product(fgraph, rest)
        if product is None:
            found.terms.setdefault(rest, []).append(factor)
        else:
            found.products.append((factor, product))
    return found


def _has_product(fgraph: FunctionGraph, out: Variable) -> bool:
    """Whether there may be a dot product among the terms of a sum."""
    stack, seen = [out], 0
    while stack and seen < _LIMIT:
        var = stack.pop()
        node = var.owner
        seen += 1
        if node is None or (var is not out and len(fgraph.variables[var]) != 1):
            continue
        kind = type(node.op)
        if kind is Dot or kind is Dot22:
            return True
        if kind is Elemwise and node.op.name in ("add", "sub", "mul", "true_div", "neg"):
            stack.extend(node.inputs)
    return False


def _is_part_of_sum(fgraph: FunctionGraph, out: Variable) -> bool:
    """Whether the only thing that reads `out` is a sum, or a multiple, that is seen as a whole."""
    users = fgraph.variables[out]
    if len(users) != 1:
        return False
    ((client, place),) = users
    if client == "output" or type(client.op) is not Elemwise or client.op.inplace_pattern:
        return False
    if not _same_extents(out, client.outputs[0]):
        return False
    name = client.op.name
    if name == "mul" or (name == "true_div" and place == 0):
        return _scalar(client.inputs[1 - place]) is not None
    return name in ("add", "sub", "neg")


def _is_fresh(fgraph: FunctionGraph, z: Variable) -> bool:
    """Whether z is a result that may be accumulated into, of something that is not fused."""
    node = z.owner
    return (
        node is not None
        and len(fgraph.variables[z]) == 1
        and not node.op.view_map
        and type(node.op) is not Elemwise
    )


def _goes_on(fgraph: FunctionGraph, out: Variable) -> bool:
    """Whether only what will be fused with a sum reads it."""
    return all(
        node != "output"
        and (
            type(node.op) is CAReduce
            or (type(node.op) is Elemwise and _same_extents(node.outputs[0], out))
        )
        for node, _ in fgraph.clients(out)
    )


def _coefficient(factors: list[_Factor], dtype: str) -> Any:
    """The sum of factors; a number if it is one."""
    number: Any = sum((f.number for f in factors if f.is_number()), np.zeros((), dtype)[()])
    total: Any = None if number == 0 else T.constant(number, dtype=dtype)
    for f in factors:
        if f.is_number():
            continue
        if total is None:
            total = f.build(dtype)
        elif f.number.imag == 0 and f.number.real < 0:
            total = total - f.negated().build(dtype)
        else:
            total = total + f.build(dtype)
    return T.constant(number, dtype=dtype) if total is None else total


def _plus(total: Any, factors: list[_Factor], term: Any, dtype: str) -> Any:
    """`total` (or nothing, None) plus a scaled term."""
    negative = len(factors) == 1 and factors[0].number == -1
    scale = _coefficient([f.negated() for f in factors] if negative else factors, dtype)
    scaled = term if _is_one(scale) else term * scale
    if total is None:
        return -scaled if negative else scaled
    return total - scaled if negative else total + scaled


def _is_one(scale: Any) -> bool:
    return isinstance(scale, Constant) and bool(scale.data == 1)


def _accumulated(z: Variable, alpha: Any, beta: Any, node: Apply) -> Variable:
    """beta * z + alpha * the dot product of `node`."""
    x, y = node.inputs
    if z.type.ndim == 1:
        if x.type.ndim == 2:
            return Gemv()(z, alpha, x, y, beta)  # type: ignore[no-any-return]
        return Gemv()(z, alpha, T.dimshuffle(y, (1, 0)), x, beta)  # type: ignore[no-any-return]
    u, v = _vector(x, 0), _vector(y, 1)
    if u is not None and v is not None and _is_one(beta):
        return Ger()(z, alpha, u, v)  # type: ignore[no-any-return]
    return Gemm()(z, alpha, x, y, beta)  # type: ignore[no-any-return]


@blas.rewriter("add", "sub", "mul", "true_div", "neg", name="accumulate_dot", depth=6)
def accumulate_dot(fgraph: FunctionGraph, node: Apply) -> Any:
    """Scaled dot products that are added to each other or to something else."""
    out = node.outputs[0]
    if out.type.dtype not in continuous_dtypes or out.type.ndim not in (1, 2):
        return None
    if node.op.inplace_pattern or _is_part_of_sum(fgraph, out):
        return None
    if not _has_product(fgraph, out):
        return None
    with np.errstate(all="ignore"):
        found = _combination(fgraph, out)
    products, terms = found.products, found.terms
    if not products or len(products) + len(terms) < 2:
        return None
    dtype = out.type.dtype
    one = T.constant(1, dtype=dtype)
    total: Any = None
    beta: Any = one
    if found.stretched or _goes_on(fgraph, out):
        # Other terms are added where the sum goes on, unless one can be accumulated into.
        fresh = next((z for z in terms if _is_fresh(fgraph, z)), None)
        if fresh is not None:
            total, beta = fresh, _coefficient(terms.pop(fresh), dtype)
        elif len(products) < 2:
            return None
    elif len(terms) == 1:
        ((total, factors),) = terms.items()
        beta = _coefficient(factors, dtype)
        terms = {}
    else:
        for z, factors in terms.items():
            total = _plus(total, factors, z, dtype)
        terms = {}
    for factor, product in products:
        if total is None:
            (made,) = product.outputs
            if made.type.ndim == 1 or (factor.is_number() and factor.number == 1):
                total = _plus(None, [factor], made, dtype)
            else:
                total = Dot22Scalar()(*product.inputs, factor.build(dtype))
            continue
        total = _accumulated(total, factor.build(dtype), beta, product)
        beta = one
    for z, factors in terms.items():
        total = _plus(total, factors, z, dtype)
    for factor, v in found.stretched:
        total = _plus(total, [factor], v, dtype)
    return total


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
    with np.errstate(all="ignore"):
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
