"""The lineage's names for graphs and for walking them.

Nothing is defined here: each name is imported from the room it lives in.
"""

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.traversal import (
    ancestors,
    clone,
    clone_get_equiv,
    equal_computations,
    inputs,
    io_toposort,
    is_in_ancestors,
    orphans,
    variables_and_orphans,
    view_roots,
)

__all__ = [
    "Apply",
    "Constant",
    "Variable",
    "ancestors",
    "clone",
    "clone_get_equiv",
    "equal_computations",
    "inputs",
    "io_toposort",
    "is_in_ancestors",
    "orphans",
    "variables_and_orphans",
    "view_roots",
]
