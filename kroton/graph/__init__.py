"""Graphs: Type, Variable, Apply and Op, and the FunctionGraph that rewrites work on."""

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.features import Feature
from kroton.graph.fg import FunctionGraph, InconsistencyError, MissingInputError
from kroton.graph.nulltype import DisconnectedType, NullType, grad_not_implemented, grad_undefined
from kroton.graph.op import Op
from kroton.graph.type import Generic, Type, generic

__all__ = [
    "Apply",
    "Constant",
    "DisconnectedType",
    "Feature",
    "FunctionGraph",
    "Generic",
    "InconsistencyError",
    "MissingInputError",
    "NullType",
    "Op",
    "Type",
    "Variable",
    "generic",
    "grad_not_implemented",
    "grad_undefined",
]
