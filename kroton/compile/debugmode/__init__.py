"""DebugMode: every rewrite verified, every kernel compared with its `perform`."""

from kroton.compile.debugmode.errors import (
    BadBuffer,
    BadCLinkerOutput,
    BadDestroyMap,
    BadGradient,
    BadInferShape,
    BadInplace,
    BadOptimization,
    BadRule,
    BadThunkOutput,
    BadViewMap,
    DebugModeError,
    InvalidValueError,
    StochasticOrder,
)
from kroton.compile.debugmode.mode import DebugMode
from kroton.compile.debugmode.reproduce import reproduce

__all__ = [
    "BadBuffer",
    "BadCLinkerOutput",
    "BadDestroyMap",
    "BadGradient",
    "BadInferShape",
    "BadInplace",
    "BadOptimization",
    "BadRule",
    "BadThunkOutput",
    "BadViewMap",
    "DebugMode",
    "DebugModeError",
    "InvalidValueError",
    "StochasticOrder",
    "reproduce",
]
