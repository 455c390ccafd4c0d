"""The package's own selectors, one module for each family of kernels."""

from kroton.linking.selection import (
    elementwise,
    identity,
    indexing,
    nnet,
    products,
    reductions,
    shaping,
)

__all__ = ["elementwise", "identity", "indexing", "nnet", "products", "reductions", "shaping"]
