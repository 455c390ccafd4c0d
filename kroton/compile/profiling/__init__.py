"""Profiling: where the time of compiling and of calls goes."""

from kroton.compile.profiling.flops import flops_of
from kroton.compile.profiling.mode import ProfileMode, profile_for, profile_mode_by_name
from kroton.compile.profiling.stats import ProfileStats, merged

__all__ = [
    "ProfileMode",
    "ProfileStats",
    "flops_of",
    "merged",
    "profile_for",
    "profile_mode_by_name",
]
