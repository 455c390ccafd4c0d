"""The lineage's place of the registrars: `from kroton.tensor.opt import register_canonicalize`.

Nothing is defined here, and nothing in this room imports it: rewriting is the floor above.
"""

from kroton.rewriting.lineage import (
    register_canonicalize,
    register_specialize,
    register_stabilize,
)

__all__ = ["register_canonicalize", "register_specialize", "register_stabilize"]
