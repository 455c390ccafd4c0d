"""Printing: `debugprint` shows a graph as a tree, `pp` as mathematics, `Print` a value."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.fg import FunctionGraph
from kroton.graph.identity import Identity
from kroton.graph.traversal import explicit_inputs

_MAX_INDENT = 40


def debugprint(
    obj: Any, depth: int = -1, print_type: bool = False, file: Any = None, ids: str = "CHAR",
    stop_on_name: bool = False, done: dict[Any, str] | None = None, print_storage: bool = False,
    print_clients: bool = False, used_ids: dict[Any, str] | None = None,
) -> Any:  # fmt: skip
    """Print a graph as a tree, each Apply once.

    Of a compiled function the optimized graph is shown: after each Apply stand its position in
    the schedule and its implementation, `[c]` for a compiled kernel, `[py]` for `perform`,
    `[c&py]` for both. `{d: [[0, 1]]}` says that output 0 overwrites input 1, `{v: ...}` that it
    is a view. A branch that has been printed before ends in ` ...`.

    Parameters
    ----------
    obj : Variable, Apply, FunctionGraph, compiled function, or a list of these
    depth : int
        Levels to print; -1 for all.
    print_type : bool
        Print each Variable's type.
    file : file object, "str" or None
        Where to: standard output by default; "str" returns the text instead.
    ids : {'CHAR', 'int', 'id', ''}
        How Variables are identified: letters, numbers, memory addresses, or not.
    stop_on_name : bool
        Do not descend into Variables with a name.
    done, used_ids : dict, optional
        Carry what has been printed, and the identifiers used, from one call to the next.
    print_storage : bool
        Print the values of constants, of shared variables and, of a compiled function, of inputs
        with a default. Those of other Variables are not kept between calls.
    print_clients : bool
        Print how many Applys use each Variable (for graphs and functions).

    Returns
    -------
    str or the file
    """
    if ids not in ("CHAR", "int", "id", ""):
        raise ValueError(f"ids is 'CHAR', 'int', 'id' or '', not {ids!r}")
    if not isinstance(depth, int):
        raise TypeError(f"depth must be an int, got {depth!r}")
    printer = _TreePrinter(
        depth, print_type, ids, stop_on_name, {} if done is None else done,
        {} if used_ids is None else used_ids, print_storage, print_clients,
    )  # fmt: skip
    lines: list[str] = []
    for item in obj if isinstance(obj, (list, tuple, set)) else [obj]:
        lines.extend(printer.lines_of(item))
    text = "\n".join(lines) + "\n"
    if file == "str":
        return text
    stream = sys.stdout if file is None else file
    stream.write(text)
    stream.flush()
    return stream


dprint = debugprint


def char_from_number(number: int) -> str:
    """A, B, ..., Z, BA, BB, ...: letters as digits of base 26."""
    letters = ""
    while True:
        number, digit = divmod(number, 26)
        letters = chr(ord("A") + digit) + letters
        if number == 0:
            return letters


class _TreePrinter:
    def __init__(
        self, depth: int, print_type: bool, ids: str, stop_on_name: bool, done: dict[Any, str],
        used_ids: dict[Any, str], print_storage: bool, print_clients: bool,
    ) -> None:  # fmt: skip
        self.depth = depth
        self.print_type = print_type
        self.ids = ids
        self.stop_on_name = stop_on_name
        self.done = done
        self.used_ids = used_ids
        self.print_storage = print_storage
        self.print_clients = print_clients
        self.positions: dict[Apply, int] = {}
        self.kinds: dict[Apply, str] = {}
        self.clients: dict[Variable, Any] = {}
        self.defaults: dict[Variable, Any] = {}

    def lines_of(self, item: Any) -> Iterator[str]:
        roots: Sequence[Any]
        if isinstance(item, Variable):
            roots = [item]
        elif isinstance(item, Apply):
            roots = item.outputs
        else:
            maker = getattr(item, "maker", None)
            fgraph = item if maker is None else maker.fgraph
            if not hasattr(fgraph, "outputs"):
                raise TypeError(f"debugprint cannot print an object of type {type(item).__name__}")
            roots = fgraph.outputs
            self.clients = fgraph.variables
            order = fgraph.toposort() if maker is None else maker.linked.order
            self.positions = {node: k for k, node in enumerate(order)}
            if maker is not None:
                self.kinds = dict(zip(order, maker.linked.implementations))
                containers = maker.spec.containers
                self.defaults = {
                    var: containers[item.variable]
                    for item, var in zip(maker.inputs, fgraph.inputs)
                    if item.variable in containers
                }
        for root in roots:
            yield from self._tree(root)

    def _tree(self, root: Variable) -> Iterator[str]:
        stack: list[tuple[Variable, int]] = [(root, 0)]
        while stack:
            var, level = stack.pop()
            node = var.owner
            if level > _MAX_INDENT:
                indent = " |" * _MAX_INDENT + f"({level})"
            else:
                indent = " |" * level
            line = indent + self._describe(var)
            if node is None or (self.stop_on_name and var.name is not None and level > 0):
                yield line
                continue
            if node in self.done:
                yield line + (" ..." if node.inputs else "")
                continue
            if self.depth >= 0 and level + 1 >= self.depth:
                yield line
                continue
            self.done[node] = ""
            yield line
            stack.extend((v, level + 1) for v in reversed(node.inputs))

    def _describe(self, var: Variable) -> str:
        node = var.owner
        parts: list[str]
        if node is None:
            parts = [str(var), self._identify(var)]
        else:
            which = f".{var.index}" if len(node.outputs) > 1 else ""
            parts = [f"{node.op}{which}", self._identify(node)]
        if self.print_type:
            parts.append(f"<{var.type}>")
        if node is not None:
            parts.append(f"'{var.name or ''}'")
            for letter, mapping in (("d", node.op.destroy_map), ("v", node.op.view_map)):
                if mapping and (node in self.positions):
                    pairs = [[o, *i] for o, i in mapping.items()]
                    parts.append(f"{{{letter}: {pairs}}}")
            if node in self.positions:
                parts.append(f" {self.positions[node]}")
            if node in self.kinds:
                parts.append(f"[{self.kinds[node]}]")
        if self.print_clients and var in self.clients:
            parts.append(f"clients: {len(self.clients[var])}")
        if self.print_storage:
            container = getattr(var, "container", self.defaults.get(var))
            if container is not None:
                parts.append(repr(container.value))
            elif isinstance(var, Constant):
                parts.append(repr(var.data))
        return " ".join(p for p in parts if p)

    def _identify(self, thing: Any) -> str:
        if self.ids == "":
            return ""
        if thing not in self.used_ids:
            number = len(self.used_ids)
            if self.ids == "CHAR":
                self.used_ids[thing] = char_from_number(number)
            elif self.ids == "int":
                self.used_ids[thing] = str(number)
            else:
                self.used_ids[thing] = str(id(thing))
        return f"[id {self.used_ids[thing]}]"


# ---- mathematics ---------------------------------------------------------------------------

_INFIX = {
    "add": ("+", 4, True), "sub": ("-", 4, False), "mul": ("*", 5, True),
    "true_div": ("/", 5, False), "int_div": ("//", 5, False), "mod": ("%", 5, False),
    "pow": ("**", 7, False), "lt": ("<", 2, False), "gt": (">", 2, False),
    "le": ("<=", 2, False), "ge": (">=", 2, False), "eq": ("==", 2, False),
    "neq": ("!=", 2, False), "and_": ("&", 3, True), "or_": ("|", 3, True),
    "xor": ("^", 3, True),
}  # fmt: skip
_PREFIX = {"neg": "-", "invert": "~"}
ARGUMENT = 1
"""The precedence of a place between brackets and commas: nothing needs brackets there."""
POSTFIX = 8
"""That of what an index, an attribute or a method follows: operators need brackets there."""
_LIMIT = 2_000_000

_special: dict[type, Callable[[Apply], list[Any] | None]] = {}
_tables: list[Callable[[], Any]] = []


def register_pp_table(load: Callable[[], Any]) -> None:
    """Call `load`, which registers printers, before the first expression is printed by `pp`."""
    _tables.append(load)


def _printer_of(op_type: type) -> Callable[[Apply], list[Any] | None] | None:
    while _tables:
        _tables.pop()()
    return _special.get(op_type)


def register_pp(op_type: type, tokens: Callable[[Apply], list[Any] | None]) -> None:
    """Let `pp` print Applys of `op_type` as `tokens(node)`.

    Parameters
    ----------
    op_type : subclass of Op
    tokens : callable
        From an Apply to a list of strings and of pairs (Variable, precedence), or to None for
        what is printed without it. The precedence is that of the place the Variable stands at,
        `ARGUMENT` or `POSTFIX` for instance. Of an Op with several outputs, `[k]` follows.

    Raises
    ------
    TypeError
        If `op_type` is no class, or `tokens` cannot be called.
    """
    if not isinstance(op_type, type) or not callable(tokens):
        raise TypeError(
            f"register_pp takes an Op class and a function, got {op_type!r}, {tokens!r}"
        )
    _printer_of(op_type)  # Tables come first: what is registered later replaces theirs.
    _special[op_type] = tokens


def pp(*args: Any) -> str:
    """Expressions as mathematics, for reading: `pp(x * 2 + T.exp(y))` is `'x * 2 + exp(y)'`.

    Shared subexpressions are written out each time; the text ends in `...` after 2 000 000
    symbols.
    """
    return "\n".join(_expression(arg) for arg in args)


pprint = pp


def _expression(obj: Any) -> str:
    maker = getattr(obj, "maker", None)
    if maker is not None:
        obj = maker.fgraph
    if hasattr(obj, "outputs") and not isinstance(obj, Variable):
        return ", ".join(_expression(out) for out in obj.outputs)
    if not isinstance(obj, Variable):
        raise TypeError(f"pp prints expressions, not {type(obj).__name__}")
    pieces: list[str] = []
    stack: list[Any] = [(obj, 0)]
    while stack:
        if len(pieces) > _LIMIT:
            pieces.append("...")
            break
        token = stack.pop()
        if isinstance(token, str):
            pieces.append(token)
            continue
        var, precedence = token
        stack.extend(reversed(_tokens(var, precedence)))
    return "".join(pieces)


def outline(obj: Any, depth: int = 3) -> str:
    """An expression as `pp` writes it, with `...` for what is more than `depth` Applys away."""
    pieces: list[str] = []
    stack: list[tuple[Any, int]] = [((obj, 0), 0)]
    while stack:
        token, level = stack.pop()
        if isinstance(token, str):
            pieces.append(token)
        elif level >= depth and token[0].owner is not None and token[0].name is None:
            pieces.append("...")
        else:
            stack.extend((inner, level + 1) for inner in reversed(_tokens(*token)))
    return "".join(pieces)


def rewrite_trace(obj: Any, mode: Any = None, file: Any = None) -> Any:
    """What the optimizer did to an expression: which rule replaced what with what, in order.

    A compiled function keeps no trace; what it was made from is rewritten once more by the
    optimizer of its mode, and watched. The function itself stays as it is.

    Parameters
    ----------
    obj : compiled function, FunctionGraph, Variable, or a list of Variables
        A FunctionGraph is copied.
    mode : Mode, Optimizer or str, optional
        By which optimizer; by default that of the function, or of `config.mode`.
    file : file object, "str" or None
        Where to print the trace, if anywhere; "str" returns the text.

    Returns
    -------
    RewriteTrace or str
        `str(trace)` is the text; `trace.replacements` has a `Replacement` (pass, rule, what was
        replaced, by what, seconds) for each line, `trace.profile.rules` the time and the number
        of tries of each rule, `trace.profile.passes` those of each pass.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], T.log(1 + x) * 1)
    >>> [line.rule for line in kroton.printing.rewrite_trace(f).replacements]
    ['x * 1 -> x', 'log(1 + x) -> log1p(x)']
    """
    from kroton.compile.mode import get_mode
    from kroton.rewriting import Optimizer, RewriteTrace

    maker = getattr(obj, "maker", None)
    trace = RewriteTrace()
    if maker is not None:
        fgraph = maker.written()
    elif isinstance(obj, FunctionGraph):
        fgraph = obj.clone()
    else:
        outputs = list(obj) if isinstance(obj, (list, tuple)) else [obj]
        if not outputs or not all(isinstance(out, Variable) for out in outputs):
            raise TypeError(f"rewrite_trace takes a function, a graph or Variables, not {obj!r}")
        fgraph = FunctionGraph(explicit_inputs(outputs), outputs)
    if isinstance(mode, Optimizer):
        optimizer = mode
    elif mode is None and maker is not None:
        optimizer = maker.mode.optimizer
    else:
        optimizer = get_mode(mode).optimizer
    with config.change_flags(compute_test_value="off", optimizer_verbose=False):
        optimizer.apply(fgraph, trace)
    if file == "str":
        return str(trace)
    if file is not None:
        print(trace, file=file)
    return trace


def _tokens(var: Variable, precedence: int) -> list[Any]:
    node = var.owner
    if node is None or (var.name is not None and precedence > 0):
        return [_leaf(var)]
    special = _printer_of(type(node.op))
    if special is not None:
        tokens = special(node)
        if tokens is not None:
            return [*tokens, f"[{var.index}]"] if len(node.outputs) > 1 else tokens
    name = getattr(node.op, "name", None) or _short(node.op)
    if name in _INFIX and len(node.inputs) == 2:
        symbol, own, associative = _INFIX[name]
        left, right = node.inputs
        inside: list[Any] = [
            (left, own if name != "pow" else own + 1), f" {symbol} ",
            (right, own if associative else own + 1),
        ]  # fmt: skip
        return ["(", *inside, ")"] if own < precedence else inside
    if name in _PREFIX:
        inside = [_PREFIX[name], (node.inputs[0], 6)]
        return ["(", *inside, ")"] if precedence > 6 else inside
    call: list[Any] = [name, "("]
    for k, v in enumerate(node.inputs):
        if k:
            call.append(", ")
        call.append((v, ARGUMENT))
    call.append(")")
    if len(node.outputs) > 1:
        call.append(f".{var.index}")
    return call


def _leaf(var: Variable) -> str:
    if var.name is not None:
        return var.name
    if isinstance(var, Constant):
        data = np.asarray(var.data)
        if data.ndim == 0:
            return str(data.item())
        if data.dtype.kind in "biufc":
            text = np.array2string(data, separator=", ", threshold=10, edgeitems=2)
            return " ".join(text.split()).replace("[ ", "[")
    return str(var)


def _short(op: Any) -> str:
    text = str(op)
    return text.partition("{")[0].partition("(")[0] or text


# ---- values as they pass --------------------------------------------------------------------


def _print_fn(op: Print, value: Any) -> None:
    for attribute in op.attrs:
        found = getattr(value, attribute)
        shown = found() if callable(found) else found
        print(op.message, attribute, "=", shown)


@dataclass(frozen=True)
class Print(Identity):
    """An identity that prints its input whenever it is computed.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], Print("x is")(x) * 2)
    >>> f([1.0, 2.0])
    x is __str__ = [1. 2.]
    array([2., 4.])
    """

    message: str = ""
    """Printed in front."""
    attrs: tuple[str, ...] = ("__str__",)
    """What is printed: attributes of the value, called if they can be."""
    global_fn: Callable[[Print, Any], None] = field(default=_print_fn, repr=False)
    """Called with the Op and the value; prints."""

    view_map = {0: [0]}

    def make_node(self, *inputs: Any) -> Apply:
        if len(inputs) != 1 or not isinstance(inputs[0], Variable):
            raise TypeError(f"Print takes one Variable, got {inputs!r}")
        return Apply(self, inputs, [inputs[0].type()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        output_storage[0][0] = inputs[0]
        self.global_fn(self, inputs[0])

    def do_constant_folding(self, node: Apply) -> bool:
        return False


# ---- pictures -------------------------------------------------------------------------------


def pydotprint(
    fct: Any, outfile: Any = None, compact: bool = True, format: str | None = None,
    with_ids: bool = False, max_label_size: int = 34, var_with_name_simple: bool = True,
    print_output_file: bool = True,
) -> None:  # fmt: skip
    """Write a picture of a graph.

    The lineage's keywords that choose colours, or have no meaning here, are not taken.

    Parameters
    ----------
    fct : compiled function, FunctionGraph, Variable, Apply, or a list of Variables and Applys
    outfile : path
        The file to write, "kroton_graph.svg" by default. What it is follows from its name:
        `.svg`, `.html` (the page of `kroton.d3viz.d3viz`) and `.dot` need nothing else; `.png`,
        `.pdf` and the rest of what Graphviz renders need its program `dot`.
    compact : bool
        The lineage's: intermediate Variables are not drawn. Here they never are.
    format : str, optional
        Decides instead of the name.
    with_ids : bool
        Begin the labels of Applys with their positions in the order of execution.
    max_label_size : int
        Longer labels are cut.
    var_with_name_simple : bool
        Whether Variables are drawn with their names alone, or with their types as well.
    print_output_file : bool
        Say where the picture is.

    Raises
    ------
    RuntimeError
        If the format needs Graphviz and there is none.
    ValueError
        If `compact` is False.
    """
    from kroton.picture import scene_of, write_dot, write_page, write_svg

    if not compact:
        raise ValueError("compact=False is not supported: intermediate Variables are not drawn")
    outfile = "kroton_graph.svg" if outfile is None else outfile
    scene = scene_of(fct)
    for node in scene.nodes:
        node.longest = max_label_size
        if with_ids and node.kind == "apply":
            node.label = f"{node.position} {node.label}"
        elif not var_with_name_simple and "type" in node.details:
            node.label = f"{node.label}: {node.details['type']}"
    chosen = format or os.path.splitext(str(outfile))[1].lstrip(".") or "svg"
    if chosen in ("html", "htm"):
        write_page(outfile, scene.name, {"graphs": [scene.as_dict()], "tables": [], "facts": []})
    elif chosen == "svg":
        write_svg(outfile, scene)
    else:
        write_dot(outfile, scene, chosen)
    if print_output_file:
        print(f"The output file is available at {outfile}")
