"""Compiling: from an expression to a callable."""

from typing import TYPE_CHECKING, Any

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
    register_optimizer,
)
from kroton.compile.module import External, Member, Method, Module
from kroton.compile.ops import as_op, deep_copy_op, view_op
from kroton.compile.sharedvalue import (
    Container,
    SharedVariable,
    TensorSharedVariable,
    shared,
    shared_constructor,
)
from kroton.graph.evaluation import set_compiler
from kroton.rewriting.lineage import optdb

set_compiler(compile_for_evaluation)

if TYPE_CHECKING:
    from kroton.compile.debugmode import DebugMode as DebugMode
    from kroton.compile.profiling import ProfileMode as ProfileMode


def __getattr__(name: str) -> Any:
    # Loaded when somebody asks: most programs never do, and importing costs.
    if name == "DebugMode":
        from kroton.compile.debugmode import DebugMode

        return DebugMode
    if name == "ProfileMode":
        from kroton.compile.profiling import ProfileMode

        return ProfileMode
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FAST_COMPILE",
    "FAST_RUN",
    "Container",
    "External",
    "Function",
    "FunctionMaker",
    "In",
    "Member",
    "Method",
    "Mode",
    "Module",
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
    "optdb",
    "predefined_linkers",
    "predefined_modes",
    "register_linker",
    "register_mode",
    "register_optimizer",
    "shared",
    "shared_constructor",
    "view_op",
]
