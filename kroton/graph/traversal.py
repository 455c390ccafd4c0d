"""Walking graphs, without recursion: ancestors, orders, clones, comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kroton.graph.basic import Apply, Constant, Variable


def ancestors(
    variable_list: Iterable[Variable], blockers: Collection[Variable] = ()
) -> Iterator[Variable]:
    """Yield each Variable that the given ones depend on (themselves included), once.

    Does not look behind a Variable in `blockers` (which is yielded).
    """
    seen: set[Variable] = set()
    stack = list(variable_list)[::-1]
    blocked = set(blockers)
    while stack:
        var = stack.pop()
        if var in seen:
            continue
        seen.add(var)
        yield var
        if var.owner is not None and var not in blocked:
            stack.extend(reversed(var.owner.inputs))


def inputs(
    variable_list: Iterable[Variable], blockers: Collection[Variable] = ()
) -> list[Variable]:
    """The Variables without an owner that the given ones depend on."""
    return [var for var in ancestors(variable_list, blockers) if var.owner is None]


graph_inputs = inputs


def explicit_inputs(variable_list: Iterable[Variable]) -> list[Variable]:
    """The inputs that are not Constants."""
    return [var for var in inputs(variable_list) if not isinstance(var, Constant)]


def toposort(outputs: Iterable[Variable], blockers: Collection[Variable] = ()) -> list[Apply]:
    """The Applys that compute `outputs`, each after those it depends on.

    The order is that of a depth-first walk over outputs and inputs as they are listed.
    """
    done: dict[Apply, bool] = {}  # False while what it depends on is walked
    order: list[Apply] = []
    # A FunctionGraph asks with all its Variables: no copy of those.
    blocked = blockers if isinstance(blockers, (dict, set, frozenset)) else set(blockers)
    for out in outputs:
        if out.owner is None or out in blocked or out.owner in done:
            continue
        stack: list[tuple[Apply, int]] = [(out.owner, 0)]
        done[out.owner] = False
        while stack:
            node, k = stack.pop()
            node_inputs = node.inputs
            n = len(node_inputs)
            while k < n:
                var = node_inputs[k]
                k += 1
                owner = var.owner
                if owner is None or (blocked and var in blocked):
                    continue
                known = done.get(owner)
                if known is None:
                    done[owner] = False
                    stack.append((node, k))
                    stack.append((owner, 0))
                    break
                if not known:
                    raise ValueError(f"the graph has a cycle through {owner.op}")
            else:
                done[node] = True
                order.append(node)
    return order


def io_toposort(
    inputs: Iterable[Variable], outputs: Iterable[Variable],
    orderings: Mapping[Apply, Sequence[Apply]] | None = None,
) -> list[Apply]:  # fmt: skip
    """The Applys between `inputs` and `outputs` in topological order.

    Parameters
    ----------
    inputs, outputs : iterables of Variable
    orderings : mapping from Apply to Applys, optional
        What must come before an Apply beside the owners of its inputs.

    Raises
    ------
    ValueError
        If no such order exists.
    """
    if not orderings:
        return toposort(outputs, list(inputs))
    base = toposort(outputs, list(inputs))
    present = set(base)
    done: set[Apply] = set()
    order: list[Apply] = []
    blocked = set(inputs)
    for root in base:
        if root in done:
            continue
        stack: list[tuple[Apply, Iterator[Apply]]] = [(root, _before(root, orderings, blocked))]
        entered = {root}
        while stack:
            node, waiting = stack[-1]
            for earlier in waiting:
                if earlier in done or earlier not in present:
                    continue
                if earlier in entered:
                    raise ValueError(f"the orderings contradict each other at {earlier.op}")
                entered.add(earlier)
                stack.append((earlier, _before(earlier, orderings, blocked)))
                break
            else:
                stack.pop()
                entered.discard(node)
                done.add(node)
                order.append(node)
    return order


def _before(
    node: Apply, orderings: Mapping[Apply, Sequence[Apply]], blocked: set[Variable]
) -> Iterator[Apply]:
    for var in node.inputs:
        if var.owner is not None and var not in blocked:
            yield var.owner
    yield from orderings.get(node, ())


def variables_and_orphans(
    i: Iterable[Variable], o: Iterable[Variable]
) -> tuple[list[Variable], list[Variable]]:
    """All Variables between `i` and `o`, and those among them that are inputs but not in `i`."""
    given = set(i)
    found = list(ancestors(o, given))
    return found, [var for var in found if var.owner is None and var not in given]


def orphans(i: Iterable[Variable], o: Iterable[Variable]) -> list[Variable]:
    """The inputs of the graph of `o` that are not in `i` (Constants included)."""
    return variables_and_orphans(i, o)[1]


def clone_get_equiv(
    inputs: Iterable[Variable], outputs: Iterable[Variable], copy_inputs: bool = True,
    copy_orphans: bool = True, memo: dict[Any, Any] | None = None,
) -> dict[Any, Any]:  # fmt: skip
    """Copy the graph between `inputs` and `outputs`; return what each node became.

    Parameters
    ----------
    inputs, outputs : iterables of Variable
    copy_inputs : bool
        Whether inputs are copied too, or used as they are.
    copy_orphans : bool
        The same for Constants and inputs that are not listed.
    memo : dict, optional
        Replacements decided beforehand; extended in place.
    """
    inputs = list(inputs)
    outputs = list(outputs)
    if memo is None:
        memo = {}
    for var in inputs:
        if var not in memo:
            memo[var] = var.clone() if copy_inputs else var
    for node in toposort(outputs, list(memo)):
        if node in memo:
            continue
        new_inputs = []
        for var in node.inputs:
            new = memo.get(var)
            if new is None:
                new = var.clone() if copy_orphans else var
                memo[var] = new
            new_inputs.append(new)
        twin = node.clone_with_new_inputs(new_inputs)
        memo[node] = twin
        for old, new in zip(node.outputs, twin.outputs):
            memo.setdefault(old, new)
    for var in outputs:
        if var not in memo:
            memo[var] = var.clone() if copy_orphans else var
    return memo


def clone(
    i: Sequence[Variable], o: Sequence[Variable], copy_inputs: bool = True,
    copy_orphans: bool | None = None,
) -> tuple[list[Variable], list[Variable]]:  # fmt: skip
    """Copy the graph between inputs `i` and outputs `o`; return the copies of both."""
    equiv = clone_get_equiv(
        i, o, copy_inputs, copy_inputs if copy_orphans is None else copy_orphans
    )
    return [equiv[var] for var in i], [equiv[var] for var in o]


def clone_replace(
    output: Any, replace: Mapping[Any, Any] | Iterable[tuple[Any, Any]] | None = None,
    strict: bool = True, share_inputs: bool = True,
) -> Any:  # fmt: skip
    """Copy the graph of `output` with some of its Variables replaced.

    Parameters
    ----------
    output : Variable, or a list, tuple or dict of them
    replace : mapping or pairs (Variable, replacement)
        Replacements are used as they are; they may contain what they replace.
    strict : bool
        Require that replacements have the type of what they replace.
    share_inputs : bool
        Keep the inputs of the graph instead of copying them.
    """
    if isinstance(output, Variable):
        outs = [output]
    elif isinstance(output, dict):
        outs = list(output.values())
    else:
        outs = list(output)
    pairs = list(replace.items()) if isinstance(replace, Mapping) else list(replace or ())
    memo: dict[Any, Any] = {}
    for old, new in pairs:
        memo[old] = old.type.filter_variable(new) if strict else new
    for node in toposort(outs, list(memo)):
        new_inputs = []
        changed = False
        for var in node.inputs:
            new = memo.get(var)
            if new is None:
                new = var if share_inputs or isinstance(var, Constant) else var.clone()
                memo[var] = new
            changed = changed or new is not var
            new_inputs.append(new)
        twin = node.clone_with_new_inputs(new_inputs, strict=strict) if changed else node
        for old, new in zip(node.outputs, twin.outputs):
            memo.setdefault(old, new)
    result = [memo.get(var, var) for var in outs]
    if isinstance(output, Variable):
        return result[0]
    if isinstance(output, dict):
        return dict(zip(output, result))
    return type(output)(result)


def view_roots(
    r: Variable, through_destroyers: bool = True,
    known: dict[Variable, list[Variable]] | None = None,
) -> list[Variable]:  # fmt: skip
    """The Variables whose memory `r` may be a view of; `[r]` if it owns its own.

    With `through_destroyers` false, what an Apply has written over counts as a new value.
    `known` remembers the answers of earlier calls with the same choice, on a graph that has not
    changed since, so that those for a whole chain take time linear in it.
    """
    found: dict[Variable, None] = {}
    seen: set[Variable] = set()
    stack = [r]
    while stack:
        var = stack.pop()
        if var in seen:
            continue
        seen.add(var)
        if known is not None and var in known:
            found.update(dict.fromkeys(known[var]))
            continue
        source: list[int] = []
        if var.owner is not None:
            op = var.owner.op
            source = list(op.view_map.get(var.index, ()))
            if through_destroyers:
                source.extend(op.destroy_map.get(var.index, ()))
        if source:
            stack.extend(var.owner.inputs[k] for k in reversed(source))  # type: ignore[union-attr]
        else:
            found[var] = None
    roots = list(found)
    if known is not None:
        known[r] = roots
    return roots


def equal_computations(
    xs: Sequence[Variable], ys: Sequence[Variable], in_xs: Sequence[Variable] = (),
    in_ys: Sequence[Variable] = (),
) -> bool:  # fmt: skip
    """Whether two lists of Variables compute the same by the same Ops in the same places.

    Inputs are equal when they are the same, or stand at the same place of `in_xs` and `in_ys`.
    """
    if len(xs) != len(ys) or len(in_xs) != len(in_ys):
        return False
    same: dict[tuple[Variable, Variable], bool] = dict.fromkeys(zip(in_xs, in_ys), True)
    stack: list[tuple[Variable, Variable]] = list(zip(xs, ys))
    seen: set[tuple[Variable, Variable]] = set()
    while stack:
        a, b = stack.pop()
        if a is b and a not in in_xs and b not in in_ys:
            continue
        if (a, b) in same or (a, b) in seen:
            continue
        seen.add((a, b))
        if isinstance(a, Constant) and isinstance(b, Constant):
            if a.signature() != b.signature():
                return False
            continue
        if a.owner is None or b.owner is None or a.index != b.index:
            return False
        if a.owner.op != b.owner.op or len(a.owner.inputs) != len(b.owner.inputs):
            return False
        stack.extend(zip(a.owner.inputs, b.owner.inputs))
    return True


def is_in_ancestors(l_node: Apply, f_node: Apply) -> bool:
    """Whether `f_node` computes something that `l_node` depends on (or is `l_node`)."""
    return any(var.owner is f_node for out in l_node.outputs for var in ancestors([out]))
