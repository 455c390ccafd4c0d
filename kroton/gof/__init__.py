"""The lineage's names for graphs, linkers and rewriting, in one place.

Nothing is defined here: each name is imported from the room it lives in.
"""

from kroton.gof import graph
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.destroyhandler import DestroyHandler
from kroton.graph.features import AlreadyThere, Feature
from kroton.graph.fg import FunctionGraph, InconsistencyError, MissingInputError
from kroton.graph.op import Op
from kroton.graph.traversal import (
    ancestors,
    clone,
    clone_get_equiv,
    equal_computations,
    inputs,
    io_toposort,
    orphans,
    variables_and_orphans,
    view_roots,
)
from kroton.graph.type import Generic, Type, generic
from kroton.linking.hooks import Hook
from kroton.linking.kernels import kernel_for
from kroton.linking.linker import (
    CLinker,
    DualLinker,
    Linker,
    MissingKernelError,
    OpWiseCLinker,
    PerformLinker,
)
from kroton.linking.wrap import Thunk, WrapLinker, WrapLinkerMany
from kroton.rewriting.lineage import (
    LocalOptimizer,
    OpRemove,
    OpSub,
    PatternSub,
    Query,
    in2out,
    local_optimizer,
    optdb,
    optimizer,
    out2in,
)

PureOp = Op
PureType = Type

__all__ = [
    "AlreadyThere",
    "Apply",
    "CLinker",
    "Constant",
    "DestroyHandler",
    "DualLinker",
    "Feature",
    "FunctionGraph",
    "Generic",
    "Hook",
    "InconsistencyError",
    "Linker",
    "LocalOptimizer",
    "MissingInputError",
    "MissingKernelError",
    "Op",
    "OpRemove",
    "OpSub",
    "OpWiseCLinker",
    "PatternSub",
    "PerformLinker",
    "PureOp",
    "PureType",
    "Query",
    "Thunk",
    "Type",
    "Variable",
    "WrapLinker",
    "WrapLinkerMany",
    "ancestors",
    "clone",
    "clone_get_equiv",
    "equal_computations",
    "generic",
    "graph",
    "in2out",
    "inputs",
    "io_toposort",
    "kernel_for",
    "local_optimizer",
    "optdb",
    "optimizer",
    "orphans",
    "out2in",
    "variables_and_orphans",
    "view_roots",
]
