"""Rewriting: the graph that was written becomes the program that is run.

`get_optimizer("fast_run").apply(fgraph)` runs the passes of a named optimizer. Rules are tables in
the phases `canonicalize`, `stabilize` and `specialize`, one file each; `kroton.rewriting.engine`
says how to add some.
"""

from importlib import import_module

from kroton.rewriting.engine import (
    ANY,
    Phase,
    RewriteLoopError,
    RewriteWarning,
    Rule,
    apply_rules,
)
from kroton.rewriting.observer import Observer, Observers, RewriteProfile, RewriteTrace
from kroton.rewriting.passes import (
    Optimizer,
    Pass,
    PhasePass,
    Selection,
    check_settings,
    get_optimizer,
    optimizer_names,
    passes,
    register_optimizer,
    register_pass,
    rules_of,
    unregister_pass,
)
from kroton.rewriting.phases import canonicalize, specialize, stabilize

# The tables of rules and the other passes; each registers itself, and rules are tried in this
# order. Their patterns are compiled when they are first tried.
for _phase in (canonicalize, stabilize, specialize):
    _phase.deferring = True
for _table in (
    "constant_folding",
    "arithmetic",
    "broadcasting",
    "shape",
    "indexing",
    "lifting",
    "reductions",
    "joins",
    "softmax",
    "crossentropy",
    "likelihood",
    "stabilization",
    "logarithms",
    "logproducts",
    "limits",
    "mixtures",
    "selections",
    "factors",
    "logistic",
    "sums",
    "moments",
    "complements",
    "increments",
    "idle",
    "textbook",
    "products",
    "specialization",
    "blas",
    "arrangement",
    "sharing",
    "fusion",
    "inplace",
):
    import_module(f"{__name__}.{_table}")
for _phase in (canonicalize, stabilize, specialize):
    _phase.deferring = False
check_settings()

__all__ = [
    "ANY",
    "Observer",
    "Observers",
    "Optimizer",
    "Pass",
    "Phase",
    "PhasePass",
    "RewriteLoopError",
    "RewriteProfile",
    "RewriteTrace",
    "RewriteWarning",
    "Rule",
    "Selection",
    "apply_rules",
    "canonicalize",
    "get_optimizer",
    "optimizer_names",
    "passes",
    "register_optimizer",
    "register_pass",
    "rules_of",
    "specialize",
    "stabilize",
    "unregister_pass",
]
