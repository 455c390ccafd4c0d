"""Logarithms of products of powers, and of the product of all elements along an axis."""

from __future__ import annotations

from math import gcd
from typing import Any

import kroton.tensor
from kroton.graph.basic import Apply
from kroton.graph.fg import FunctionGraph
from kroton.rewriting.factors import factors_of, power_of
from kroton.rewriting.logarithms import known_log
from kroton.rewriting.matching import scalar_name
from kroton.rewriting.orders import in_order, reordered_as
from kroton.rewriting.phases import stabilize
from kroton.tensor.reduction import CAReduce

T: Any = kroton.tensor

_PRODUCTS = ("mul", "true_div", "reciprocal")
_FACTOR = 1e3
"""Numbers up to this, and from its reciprocal on, leave the logarithm of a product of powers."""


@stabilize.rewriter("log", name="log_of_powers", depth=5, stretches=True)
def log_of_powers(fgraph: FunctionGraph, node: Apply) -> Any:
    """log(x**4 * y**2 / z**6) = 2 * log(abs(x**2 * y / z**3)), and so on for any common exponent.

    That overflows and underflows later. Factors without a common exponent stay together, for
    the logarithm of a product near 1 has more digits than the sum of large ones.
    """
    (argument,) = node.inputs
    if argument.type.numpy_dtype.kind != "f" or scalar_name(argument) not in _PRODUCTS:
        return None
    product = factors_of(fgraph, argument, shared=True)
    if product is None or not 1 / _FACTOR <= product.coefficient <= _FACTOR:
        return None
    exponents: dict[Any, int] = {}
    for factors, sign in ((product.above, 1), (product.below, -1)):
        for v in factors:
            base, exponent = power_of(v)
            if exponent != int(exponent) or known_log(base) is not None:
                return None
            exponents[base] = exponents.get(base, 0) + sign * int(exponent)
    common = gcd(*exponents.values())
    if common < 2 or 0 in exponents.values():
        return None
    if all(e < 0 for e in exponents.values()):
        common = -common
    root: Any = None
    for upper in (True, False):
        for base, e in exponents.items():
            e //= common
            if (e > 0) != upper:
                continue
            power = base if abs(e) == 1 else base ** T.constant(abs(e), dtype=base.type.dtype)
            if root is None:
                root = power
            else:
                root = root * power if upper else root / power
    if common % 2 == 0:
        root = T.abs_(root)
    result = T.log(root) * T.constant(common, dtype=argument.type.dtype)
    if product.coefficient != 1:
        result = result + T.log(T.constant(product.coefficient, dtype=argument.type.dtype))
    return result


@stabilize.rewriter("log", name="log(prod(exp(x))) -> sum(x)", depth=4)
def log_of_product_along_axis(fgraph: FunctionGraph, node: Apply) -> Any:
    """The logarithm of a product of elements of which the logarithms are known is their sum.

    The product of nothing is 1, and the sum 0.
    """
    (argument,) = node.inputs
    inner = in_order(argument)
    if inner.owner is None or type(inner.owner.op) is not CAReduce:
        return None
    op, (x,) = inner.owner.op, inner.owner.inputs
    if op.scalar_op.name != "mul" or not op.dtype == op.acc_dtype == x.type.dtype:
        return None
    known = known_log(x)
    if known is None or x.type.numpy_dtype.kind != "f":
        return None
    total = T.sum(known, axis=op.axis)
    return reordered_as(argument, total)
