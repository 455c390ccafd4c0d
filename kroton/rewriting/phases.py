"""The phases in which rules are collected, and the passes that apply them."""

from __future__ import annotations

from kroton.rewriting.engine import Phase
from kroton.rewriting.passes import PhasePass, register_pass

canonicalize = Phase("canonicalize")
"""Every way to write an expression becomes one: no neutral elements, constants folded, shapes
known without values."""

stabilize = Phase("stabilize", tags=("fast_run",))
"""Expressions that would overflow or lose digits become ones that do not."""

specialize = Phase("specialize", tags=("fast_run",))
"""General operations become cheaper special ones."""

register_pass(
    PhasePass(
        "canonicalize", frozenset({"fast_run", "fast_compile", "canonicalize"}), 1.0,
        phases=(canonicalize,),
    )
)  # fmt: skip
register_pass(
    PhasePass(
        "stabilize", frozenset({"fast_run", "stabilize"}), 1.5,
        phases=(stabilize,), cleanup=(canonicalize,),
    )
)  # fmt: skip
register_pass(
    PhasePass(
        "specialize", frozenset({"fast_run", "specialize"}), 2.0,
        phases=(specialize,), cleanup=(canonicalize,),
    )
)  # fmt: skip
