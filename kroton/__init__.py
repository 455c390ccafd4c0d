"""Kroton: array expressions compiled to precompiled Cython kernels.

Write mathematics on symbolic variables, compile it with `function`, call it on arrays:

>>> import kroton, kroton.tensor as T
>>> x = T.dvector("x")
>>> f = kroton.function([x], 10 * x)
>>> f([1, 2, 3])
array([10., 20., 30.])
"""

from typing import TYPE_CHECKING, Any

from kroton import tensor
from kroton.compile import (
    FAST_COMPILE,
    FAST_RUN,
    Function,
    In,
    Mode,
    Out,
    SharedVariable,
    as_op,
    function,
    get_mode,
    register_linker,
    register_mode,
    shared,
)
from kroton.config import config
from kroton.gradient import (
    Lop,
    Rop,
    consider_constant,
    disconnected_grad,
    grad,
    grad_clip,
    grad_scale,
    hessian,
    hessian_vector_product,
    jacobian,
    subgraph_grad,
    verify_grad,
    zero_grad,
)
from kroton.graph import Apply, Constant, FunctionGraph, Op, Type, Variable
from kroton.graph.testvalues import get_test_value
from kroton.graph.traversal import clone_replace
from kroton.printing import Print, debugprint, dprint, pp

__version__ = "0.1.0"

# These are the lineage's names too; the tensor room is below the gradient's floor.
tensor.grad, tensor.Lop, tensor.Rop = grad, Lop, Rop
tensor.jacobian, tensor.hessian = jacobian, hessian

__all__ = [
    "FAST_COMPILE",
    "FAST_RUN",
    "Apply",
    "Constant",
    "DebugMode",
    "External",
    "Function",
    "FunctionGraph",
    "In",
    "Lop",
    "Member",
    "Method",
    "Mode",
    "Module",
    "MonitorMode",
    "NanGuardMode",
    "Op",
    "Out",
    "Print",
    "ProfileMode",
    "Rop",
    "SharedVariable",
    "Type",
    "Variable",
    "as_op",
    "clone_replace",
    "config",
    "consider_constant",
    "d3viz",
    "debugprint",
    "disconnected_grad",
    "dprint",
    "function",
    "get_mode",
    "get_test_value",
    "gof",
    "grad",
    "grad_clip",
    "grad_scale",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "pp",
    "register_linker",
    "register_mode",
    "shared",
    "subgraph_grad",
    "tensor",
    "verify_grad",
    "zero_grad",
]

if TYPE_CHECKING:
    from kroton import d3viz, gof
    from kroton.compile.debugmode import DebugMode
    from kroton.compile.module import External, Member, Method, Module
    from kroton.compile.monitormode import MonitorMode
    from kroton.compile.nanguardmode import NanGuardMode
    from kroton.compile.profiling import ProfileMode

_LATE = {
    "DebugMode": "kroton.compile.debugmode",
    "External": "kroton.compile.module",
    "Member": "kroton.compile.module",
    "Method": "kroton.compile.module",
    "Module": "kroton.compile.module",
    "MonitorMode": "kroton.compile.monitormode",
    "NanGuardMode": "kroton.compile.nanguardmode",
    "ProfileMode": "kroton.compile.profiling",
    "d3viz": "kroton",
    "gof": "kroton",
}


def __getattr__(name: str) -> Any:
    # Loaded when somebody asks: most programs never do, and importing costs.
    if name in _LATE:
        import importlib

        if _LATE[name] == "kroton":
            return importlib.import_module(f"kroton.{name}")
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
