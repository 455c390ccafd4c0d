"""Compiling: from an expression to a callable."""

from kroton.compile.debugmode import DebugMode
from kroton.compile.function import Function, compile_for_evaluation, function
from kroton.compile.io import In, Out, SymbolicInput, SymbolicOutput
from kroton.compile.maker import FunctionMaker, UnusedInputError
from kroton.compile.mode import (
    FAST_COMPILE,
    FAST_RUN,
    Mode,
    get_default_mode,
    get_mode,
    predefined_linkers,
    predefined_modes,
    register_linker,
    register_mode,
)
from kroton.compile.ops import as_op, deep_copy_op, view_op
from kroton.compile.sharedvalue import (
    Container,
    SharedVariable,
    TensorSharedVariable,
    shared,
    shared_constructor,
)
from kroton.graph.evaluation import set_compiler

set_compiler(compile_for_evaluation)

__all__ = [
    "FAST_COMPILE",
    "FAST_RUN",
    "Container",
    "DebugMode",
    "Function",
    "FunctionMaker",
    "In",
    "Mode",
    "Out",
    "SharedVariable",
    "SymbolicInput",
    "SymbolicOutput",
    "TensorSharedVariable",
    "UnusedInputError",
    "as_op",
    "deep_copy_op",
    "function",
    "get_default_mode",
    "get_mode",
    "predefined_linkers",
    "predefined_modes",
    "register_linker",
    "register_mode",
    "shared",
    "shared_constructor",
    "view_op",
]
