"""Differentiation of expression graphs: reverse and forward mode, and their verification."""

from kroton.gradient.directional import Rop, hessian, hessian_vector_product, jacobian
from kroton.gradient.errors import DisconnectedInputError, NullTypeGradError
from kroton.gradient.numeric import GradientError, numeric_grad, verify_grad
from kroton.gradient.reverse import Lop, grad, subgraph_grad
from kroton.graph.nulltype import (
    DisconnectedType,
    NullType,
    disconnected_type,
    grad_not_implemented,
    grad_undefined,
)
from kroton.tensor.grad_markers import (
    consider_constant,
    disconnected_grad,
    grad_clip,
    grad_scale,
    undefined_grad,
    zero_grad,
)

__all__ = [
    "DisconnectedInputError",
    "DisconnectedType",
    "GradientError",
    "Lop",
    "NullType",
    "NullTypeGradError",
    "Rop",
    "consider_constant",
    "disconnected_grad",
    "disconnected_type",
    "grad",
    "grad_clip",
    "grad_not_implemented",
    "grad_scale",
    "grad_undefined",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "numeric_grad",
    "subgraph_grad",
    "undefined_grad",
    "verify_grad",
    "zero_grad",
]
