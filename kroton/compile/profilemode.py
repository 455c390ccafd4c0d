"""The lineage's place of ProfileMode."""

from kroton.compile.profiling import ProfileMode, ProfileStats

__all__ = ["ProfileMode", "ProfileStats"]
