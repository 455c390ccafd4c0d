"""Compiling: from an expression to a callable."""

from importlib import import_module
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

if TYPE_CHECKING:
    from kroton.compile import debugmode as debugmode
    from kroton.compile import monitormode as monitormode
    from kroton.compile import nanguardmode as nanguardmode
    from kroton.compile import profilemode as profilemode
    from kroton.compile import profiling as profiling
    from kroton.compile.debugmode import DebugMode as DebugMode
    from kroton.compile.module import External, Member, Method, Module
    from kroton.compile.monitormode import MonitorMode as MonitorMode
    from kroton.compile.nanguardmode import NanGuardMode as NanGuardMode
    from kroton.compile.profiling import ProfileMode as ProfileMode
    from kroton.compile.profiling import ProfileStats as ProfileStats
    from kroton.rewriting.lineage import optdb

# Loaded when somebody asks: most programs never do, and importing costs.
_LATER = {
    "DebugMode": "debugmode",
    "External": "module",
    "Member": "module",
    "Method": "module",
    "Module": "module",
    "MonitorMode": "monitormode",
    "NanGuardMode": "nanguardmode",
    "ProfileMode": "profiling",
    "ProfileStats": "profiling",
}
_ROOMS = {*_LATER.values(), "profilemode"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name == "optdb":
        return import_module("kroton.rewriting.lineage").optdb
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
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
