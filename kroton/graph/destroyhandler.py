"""In-place safety: nobody reads a value after it has been overwritten."""

from __future__ import annotations

from collections.abc import Iterable

from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.features import Feature
from kroton.graph.fg import FunctionGraph, InconsistencyError
from kroton.graph.traversal import view_roots


class DestroyHandler(Feature):
    """Orders the readers of a value before the Apply that overwrites it, or refuses.

    A *root* is a Variable that owns its memory; `view_map` and `destroy_map` say which other
    Variables may share it. Each root is overwritten at most once along any order, constants
    and protected inputs never.

    Parameters
    ----------
    protected : iterable of Variable
        Inputs of the graph that nobody may overwrite.
    """

    def __init__(self, protected: Iterable[Variable] = ()) -> None:
        self.protected = list(protected)

    def destroyers(self, fgraph: FunctionGraph) -> dict[Variable, list[tuple[Apply, int]]]:
        """For each root, the Applys that overwrite it and by which input."""
        found: dict[Variable, list[tuple[Apply, int]]] = {}
        known: dict[Variable, list[Variable]] = {}
        for node in fgraph.apply_nodes:
            for positions in node.op.destroy_map.values():
                for k in positions:
                    for root in view_roots(node.inputs[k], known=known):
                        found.setdefault(root, []).append((node, k))
        return found

    def orderings(self, fgraph: FunctionGraph) -> dict[Apply, list[Apply]]:
        order: dict[Apply, list[Apply]] = {}
        known: dict[Variable, list[Variable]] = {}
        for node in fgraph.apply_nodes:
            if not node.op.destroy_map:
                continue
            for positions in node.op.destroy_map.values():
                for k in positions:
                    # What an earlier destroyer made counts as a value of its own here.
                    for version in view_roots(node.inputs[k], False, known):
                        earlier = order.setdefault(node, [])
                        for reader in _readers(fgraph, version):
                            if reader is not node and reader not in earlier:
                                earlier.append(reader)
        return order

    def validate(self, fgraph: FunctionGraph) -> None:
        self._refuse_outputs(fgraph)
        protected = set(self.protected)
        for root, nodes in self.destroyers(fgraph).items():
            node = nodes[0][0]
            if isinstance(root, Constant):
                raise InconsistencyError(f"{node.op} would overwrite the constant {root}", node)
            if root in protected:
                raise InconsistencyError(
                    f"{node.op} would overwrite the input {root}, which is not mutable", node
                )
            if len({n for n, _ in nodes}) > 1 and not _in_a_row([n for n, _ in nodes]):
                raise InconsistencyError(
                    f"{root} would be overwritten by several Applys: {nodes}", node
                )

    def _refuse_outputs(self, fgraph: FunctionGraph) -> None:
        """Raise if an output of the graph is, or is a view of, what an Apply overwrites."""
        known: dict[Variable, list[Variable]] = {}
        returned: dict[Variable, int] = {}
        for i, out in enumerate(fgraph.outputs):
            for version in view_roots(out, False, known):
                returned.setdefault(version, i)
        for node in fgraph.apply_nodes:
            for positions in node.op.destroy_map.values():
                for k in positions:
                    for version in view_roots(node.inputs[k], False, known):
                        if version in returned:
                            i = returned[version]
                            same = "is" if fgraph.outputs[i] is version else "is seen through"
                            raise InconsistencyError(
                                f"{node.op} would overwrite {version}, which {same} output {i} "
                                "of the graph", node
                            )  # fmt: skip


def _readers(fgraph: FunctionGraph, root: Variable) -> list[Apply]:
    """The Applys that read the memory of `root`, directly or through a view."""
    found: dict[Apply, None] = {}
    stack = [root]
    seen = {root}
    while stack:
        var = stack.pop()
        for client, i in fgraph.variables.get(var, ()):
            if client == "output":
                continue
            found[client] = None
            for o, positions in client.op.view_map.items():
                if i in positions and client.outputs[o] not in seen:
                    seen.add(client.outputs[o])
                    stack.append(client.outputs[o])
    return list(found)


def _in_a_row(nodes: list[Apply]) -> bool:
    """Whether each overwrites what the one before it made: one memory handed down a chain."""
    distinct = list(dict.fromkeys(nodes))
    followers = 0
    for node in distinct:
        for positions in node.op.destroy_map.values():
            for k in positions:
                owner = node.inputs[k].owner
                while owner is not None and owner not in distinct:
                    source = [i for p in owner.op.view_map.values() for i in p]
                    owner = owner.inputs[source[0]].owner if source else None
                if owner is not None:
                    followers += 1
    return followers >= len(distinct) - 1
