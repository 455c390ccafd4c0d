"""FunctionGraph: the graph between inputs and outputs that rewrites work on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.features import AlreadyThere, Feature
from kroton.graph.trace import format_trace
from kroton.graph.traversal import clone_get_equiv, io_toposort, toposort

Client = tuple[Any, int]


class InconsistencyError(Exception):
    """The graph cannot be executed: a cycle, a value overwritten before it is read, ...

    Attributes
    ----------
    node : Apply or None
        The one that overwrites.
    """

    def __init__(self, problem: str = "", node: Apply | None = None) -> None:
        super().__init__(problem)
        self.node = node


class MissingInputError(Exception):
    """The outputs depend on a Variable that is neither computed, constant nor an input."""


class FunctionGraph:
    """The expression of `outputs` in terms of `inputs`, kept consistent under replacement.

    Two Applys of equal Ops to the same inputs never coexist: on import, and whenever inputs
    change, the later is replaced by the earlier, so no rewrite has to merge. All changes go
    through `replace`, and features are told of each.

    Parameters
    ----------
    inputs, outputs : sequences of Variable
    features : iterable of Feature, optional
    clone : bool
        Work on a copy of the expression (the default), leaving the user's own alone.

    Attributes
    ----------
    inputs, outputs : list of Variable
    apply_nodes : dict from Apply to None
        The Applys, in the order of their arrival.
    variables : dict from Variable to its clients
        `{(Apply, position): None}`; an output of the graph has the client ("output", position).
    """

    def __init__(
        self, inputs: Sequence[Variable], outputs: Sequence[Variable],
        features: Iterable[Feature] | None = None, clone: bool = True,
    ) -> None:  # fmt: skip
        inputs, outputs = list(inputs), list(outputs)
        if len(set(inputs)) != len(inputs):
            raise ValueError("a Variable is listed twice among the inputs")
        memo: dict[Variable, Variable] = {}
        if clone:
            memo.update((var, var.clone()) for var in inputs)
            inputs = list(memo.values())
        self.features: list[Feature] = []
        self.apply_nodes: dict[Apply, None] = {}
        self.variables: dict[Variable, dict[Client, None]] = {}
        self.inputs: list[Any] = inputs
        self.outputs: list[Any] = outputs
        self._is_input = set(inputs)
        self._known: dict[Any, Apply] = {}
        self._constants: dict[Any, Constant] = {}
        self._order: list[Apply] | None = [] if clone else None
        for var in inputs:
            if var.owner is not None:
                raise ValueError(f"{var} is computed by {var.owner.op}; it cannot be an input")
            self.variables[var] = {}
        for k, out in enumerate(outputs):
            self.outputs[k] = self._copy(out, memo) if clone else self._import(out, "init")
            self.variables[self.outputs[k]][("output", k)] = None
        for feature in features or ():
            self.attach_feature(feature)

    # ---- arrivals and departures -------------------------------------------------------

    def _copy(self, var: Variable, memo: dict[Variable, Variable]) -> Variable:
        """Make a copy of `var` and what it depends on part of the new graph; return it.

        `memo` tells what has been copied so far. One walk copies and merges: it is the walks
        over all of a large graph that grow faster than the graph.
        """
        known, variables, applys, order = (
            self._known, self.variables, self.apply_nodes, self._order
        )  # fmt: skip
        for node in toposort([var], memo):
            arguments = []
            for x in node.inputs:
                y = memo.get(x)
                arguments.append(self._copy_leaf(x, memo) if y is None else y)
            key = (node.op, *arguments)
            twin = known.get(key)
            if twin is None:
                known[key] = twin = node.rebuilt(arguments)
                applys[twin] = None
                if order is not None:
                    order.append(twin)
                for old, new in zip(node.outputs, twin.outputs):
                    memo.setdefault(old, new)
                    variables[new] = {}
                for k, y in enumerate(arguments):
                    variables[y][(twin, k)] = None
                continue
            self._order = order = None  # that in which a walk of this graph finds it is another
            for old, new in zip(node.outputs, twin.outputs):
                memo.setdefault(old, new)
                if new.name is None:
                    new.name = old.name
        found = memo.get(var)
        return self._copy_leaf(var, memo) if found is None else found

    def _copy_leaf(self, var: Variable, memo: dict[Variable, Variable]) -> Variable:
        copied = self._import_leaf(var.clone() if isinstance(var, Constant) else var)
        memo[var] = copied
        return copied

    def _import(
        self, var: Variable, reason: str | None, instead_of: Variable | None = None
    ) -> Variable:
        """Make `var` and what it depends on part of the graph; return its representative.

        Raises InconsistencyError, and leaves the graph as it was, if something new depends on
        `instead_of`, perhaps because it is equal to an Apply that is there.
        """
        known = self.variables
        if var in known:
            return var
        if var.owner is None:
            return self._import_leaf(var)
        replaced: dict[Variable, Variable] = {}
        arrived: list[Apply] = []
        for node in toposort([var], known):
            if node in self.apply_nodes:
                continue
            for k, x in enumerate(node.inputs):
                y = replaced.get(x)
                if y is None:
                    y = x if x in known else self._import_leaf(x)
                node.inputs[k] = y
                if y is instead_of:
                    for unused in [*node.inputs[:k], *(n.outputs[0] for n in reversed(arrived))]:
                        self._prune(unused, reason)
                    raise InconsistencyError(
                        f"{var} depends on {y}, in the place of which it was to stand", node
                    )
            key = (node.op, *node.inputs)
            twin = self._known.get(key)
            if twin is not None:
                for old, new in zip(node.outputs, twin.outputs):
                    if new.name is None:
                        new.name = old.name
                    replaced[old] = new
                continue
            self._known[key] = node
            self.apply_nodes[node] = None
            arrived.append(node)
            self._order = None
            for out in node.outputs:
                known[out] = {}
            for k, y in enumerate(node.inputs):
                known[y][(node, k)] = None
            for feature in self.features:
                feature.on_import(self, node, reason)
        return replaced.get(var, var)

    def _import_leaf(self, var: Variable) -> Variable:
        if isinstance(var, Constant):
            signature = var.signature()
            same = self._constants.get(signature)
            if same is None:
                self._constants[signature] = same = var
            if same not in self.variables:
                self.variables[same] = {}
            return same
        where = format_trace(var.trace)
        raise MissingInputError(
            f"the graph depends on {var} of type {var.type}, which is neither among the inputs "
            f"nor computed nor given a value" + (f"; it was made here:\n{where}" if where else "")
        )

    def _prune(self, start: Variable, reason: str | None) -> None:
        """Drop `start`'s Apply, and those before it, if nobody uses them any more."""
        stack = [start]
        while stack:
            var = stack.pop()
            if self.variables.get(var) or var in self._is_input:
                continue
            node = var.owner
            if node is None:
                if var in self.variables:
                    del self.variables[var]
                    if isinstance(var, Constant):
                        self._constants.pop(var.signature(), None)
                continue
            if node not in self.apply_nodes or any(self.variables[out] for out in node.outputs):
                continue
            del self.apply_nodes[node]
            self._order = None
            key = (node.op, *node.inputs)
            if self._known.get(key) is node:
                del self._known[key]
            for out in node.outputs:
                del self.variables[out]
            for k, x in enumerate(node.inputs):
                self.variables[x].pop((node, k), None)
            for feature in self.features:
                feature.on_prune(self, node, reason)
            stack.extend(node.inputs)

    # ---- changes -----------------------------------------------------------------------

    def clients(self, r: Variable) -> list[Client]:
        """Who uses `r`: `(Apply, position)`, and ("output", position) for the graph itself."""
        return list(self.variables[r])

    def change_input(self, node: Any, i: int, new_r: Variable, reason: str | None = None) -> None:
        """Make `new_r` input `i` of `node` (or output `i` of the graph, for "output")."""
        new_r = self._import(new_r, reason)
        merges: list[tuple[Variable, Variable]] = []
        self._change(node, i, new_r, reason, merges)
        self._merge(merges)

    def _change(
        self, node: Any, i: int, new: Variable, reason: str | None,
        merges: list[tuple[Variable, Variable]],
    ) -> None:  # fmt: skip
        if node == "output":
            old = self.outputs[i]
            if old is new:
                return
            if not old.type.in_same_class(new.type):
                raise TypeError(
                    f"output {i} has type {old.type}; it cannot become {new} of type {new.type}"
                )
            self.outputs[i] = new
        else:
            old = node.inputs[i]
            if old is new:
                return
            if not old.type.in_same_class(new.type):
                raise TypeError(
                    f"input {i} of {node.op} has type {old.type}; "
                    f"it cannot become {new} of type {new.type}"
                )
            key = (node.op, *node.inputs)
            if self._known.get(key) is node:
                del self._known[key]
            node.inputs[i] = new
            key = (node.op, *node.inputs)
            twin = self._known.setdefault(key, node)
            if twin is not node:
                pairs = list(zip(node.outputs, twin.outputs))
                if not all(a.type.in_same_class(b.type) for a, b in pairs):
                    # More is known of the shape of this one.
                    self._known[key] = node
                    pairs = [(b, a) for a, b in pairs]
                merges.extend(pairs)
        self._order = None
        del self.variables[old][(node, i)]
        self.variables[new][(node, i)] = None
        for feature in self.features:
            feature.on_change_input(self, node, i, old, new, reason)
        self._prune(old, reason)

    def _merge(self, merges: list[tuple[Variable, Variable]]) -> None:
        while merges:
            old, new = merges.pop()
            if old not in self.variables or new not in self.variables:
                continue
            if new.name is None:
                new.name = old.name
            for node, i in list(self.variables[old]):
                self._change(node, i, new, "merge", merges)

    def replace(self, r: Variable, new_r: Variable, reason: str | None = None) -> None:
        """Let everybody who uses `r` use `new_r`.

        Parameters
        ----------
        r : Variable
            Of this graph.
        new_r : Variable
            Of a type that may replace `r`'s: the same dtype and ndim, a shape that is at
            least as well known; `r.type.filter_variable` is asked for a conversion otherwise.
        reason : str, optional
            The name of the rule, for features, profiles and messages.

        Raises
        ------
        TypeError
            If the types do not fit.
        InconsistencyError
            If `new_r` depends on `r`, as far as it was not part of the graph; nothing changes.
        """
        if r is new_r:
            return
        if r not in self.variables:
            raise ValueError(f"{r} is not part of the graph (reason: {reason})")
        if not r.type.in_same_class(new_r.type):
            new_r = r.type.filter_variable(new_r)
        new_r = self._import(new_r, reason, r)
        if new_r is r:
            return
        if new_r.name is None and r.name is not None and new_r not in self._is_input:
            new_r.name = r.name
        merges: list[tuple[Variable, Variable]] = []
        for node, i in list(self.variables[r]):
            self._change(node, i, new_r, reason, merges)
        if r in self.variables:
            self._prune(r, reason)
        self._merge(merges)
        if new_r in self.variables and not self.variables[new_r]:
            self._prune(new_r, reason)

    def replace_all(
        self, pairs: Iterable[tuple[Variable, Variable]], reason: str | None = None
    ) -> None:
        """`replace` for each pair in turn, skipping those whose Variable has gone."""
        for r, new_r in pairs:
            if r in self.variables:
                self.replace(r, new_r, reason)

    def add_output(self, var: Variable, reason: str | None = None) -> int:
        """Make `var` one more output; return its position."""
        var = self._import(var, reason)
        self.outputs.append(var)
        self.variables[var][("output", len(self.outputs) - 1)] = None
        self._order = None
        return len(self.outputs) - 1

    def add_input(self, var: Variable) -> None:
        """Make `var`, which must have no owner, one more input."""
        if var.owner is not None or var in self._is_input:
            raise ValueError(f"{var} cannot become an input: it is computed, or is one already")
        self.inputs.append(var)
        self._is_input.add(var)
        self.variables.setdefault(var, {})

    # ---- features ----------------------------------------------------------------------

    def attach_feature(self, feature: Feature) -> None:
        """Let `feature` listen. One that is attached, or says it is already there, is ignored."""
        if feature in self.features:
            return
        try:
            feature.on_attach(self)
        except AlreadyThere:
            return
        self.features.append(feature)
        if _orders(feature):
            self._order = None

    def remove_feature(self, feature: Feature) -> None:
        """Stop `feature` from listening."""
        if feature in self.features:
            self.features.remove(feature)
            feature.on_detach(self)
            if _orders(feature):
                self._order = None

    def validate(self) -> None:
        """Let every feature check the graph; raises InconsistencyError."""
        for feature in self.features:
            feature.validate(self)
        self.toposort()

    # ---- order and copies --------------------------------------------------------------

    def orderings(self) -> dict[Apply, list[Apply]]:
        """What must be executed before an Apply, beside what it depends on."""
        merged: dict[Apply, list[Apply]] = {}
        for feature in self.features:
            for node, earlier in feature.orderings(self).items():
                merged.setdefault(node, []).extend(earlier)
        return merged

    def toposort(self) -> list[Apply]:
        """The Applys in an order of execution; the same for the same graph on every run.

        Raises
        ------
        InconsistencyError
            If the features' orderings contradict the graph.
        """
        if self._order is None:
            try:
                self._order = io_toposort(self.inputs, self.outputs, self.orderings())
            except ValueError as error:
                raise InconsistencyError(str(error)) from error
        return list(self._order)

    def clone(self) -> FunctionGraph:
        """Return a copy without features."""
        return self.clone_get_equiv()[0]

    def clone_get_equiv(self) -> tuple[FunctionGraph, dict[Any, Any]]:
        """Return a copy without features, and what each Variable and Apply became."""
        equiv = clone_get_equiv(self.inputs, self.outputs)
        copy = FunctionGraph(
            [equiv[v] for v in self.inputs], [equiv[v] for v in self.outputs], clone=False
        )
        return copy, equiv

    def check_integrity(self) -> None:
        """Raise AssertionError if clients and nodes disagree (for tests and DebugMode)."""
        seen: dict[Variable, set[Client]] = {var: set() for var in self.variables}
        for node in self.apply_nodes:
            for k, var in enumerate(node.inputs):
                if var not in seen:
                    raise AssertionError(f"{var} is used by {node} but is not in the graph")
                seen[var].add((node, k))
            for k, var in enumerate(node.outputs):
                if var.owner is not node or var.index != k:
                    raise AssertionError(f"{var} does not know that it is output {k} of {node}")
        for k, var in enumerate(self.outputs):
            seen[var].add(("output", k))
        for var, clients in self.variables.items():
            if set(clients) != seen[var]:
                raise AssertionError(f"the clients of {var} are {clients}, not {seen[var]}")
            if var.owner is not None and var.owner not in self.apply_nodes:
                raise AssertionError(f"{var} is there without its Apply {var.owner}")
        keys = {(node.op, *node.inputs) for node in self.apply_nodes}
        if len(keys) != len(self.apply_nodes):
            raise AssertionError("two equal Applys coexist")

    def __len__(self) -> int:
        return len(self.apply_nodes)

    def __str__(self) -> str:
        return f"FunctionGraph({len(self.inputs)} inputs, {len(self.apply_nodes)} Applys)"

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> Any:
        return (_rebuild, (self.inputs, self.outputs))


def _orders(feature: Feature) -> bool:
    """Whether the feature may ask for an order beside that of the graph."""
    return type(feature).orderings is not Feature.orderings


def _rebuild(inputs: list[Variable], outputs: list[Variable]) -> FunctionGraph:
    return FunctionGraph(inputs, outputs, clone=False)
