"""Shrinking a failing case: the smallest subgraph and the smallest inputs that still fail."""

from __future__ import annotations

import base64
import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import combinations
from typing import Any

import numpy as np

from kroton import scalar
from kroton.compile.debugmode import checks
from kroton.compile.debugmode.application import Checks, Subject
from kroton.compile.debugmode.errors import (
    MADE_BY_A_REWRITE,
    BadOptimization,
    DebugModeError,
    source_lines,
)
from kroton.compile.debugmode.replaced import agree
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.evaluation import interpret
from kroton.graph.traversal import ancestors, clone_replace
from kroton.linking.kernels import registered, select_kernel
from kroton.printing import debugprint
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction


@dataclass(frozen=True)
class Case:
    """Something that fails on some inputs."""

    def run(self) -> None:
        """Raise the error again, if it occurs."""
        raise NotImplementedError

    def fails(self) -> bool:
        """Whether it still fails in the same way."""
        raise NotImplementedError

    def values(self) -> list[Any]:
        """The inputs."""
        raise NotImplementedError

    def with_values(self, values: Sequence[Any]) -> Case:
        """The same case on other inputs."""
        raise NotImplementedError

    def parts(self) -> Iterator[Case]:
        """Cases on smaller subgraphs."""
        return iter(())

    def graph(self) -> str:
        """The expression, printed."""
        raise NotImplementedError

    def missing(self) -> str:
        """What a new process lacks, and what to do about it; "" if it lacks nothing."""
        return ""


@dataclass(frozen=True)
class ApplyCase(Case):
    """An Apply whose kernel or `perform` fails a check."""

    node: Apply
    inputs: list[Any]
    error: type[Exception]
    checks: Checks
    module: str = ""
    """Where the kernel comes from: imported first, so that a new process has it."""
    homeless: str = ""
    """What a new process lacks even then, and what to do about it."""
    origin: str = ""
    """Where the user wrote it."""

    @classmethod
    def of(
        cls, node: Apply, inputs: Sequence[Any], error: type[Exception], chosen: Checks,
        origin: str = "",
    ) -> ApplyCase:  # fmt: skip
        """The case of `node` by itself, without the graph before it."""
        selector = selector_of(node) if chosen.check_c_code else None
        module = getattr(selector, "__module__", "") or ""
        homeless = _homeless(selector, "the kernel is chosen by") or _homeless(
            type(node.op), "the Op is an instance of"
        )
        if homeless or module.startswith("kroton."):
            module = ""
        quiet = replace(chosen, warn_input_not_reused=False)
        where = origin or source_lines(node)
        return cls(checks.detached(node), list(inputs), error, quiet, module, homeless, where)

    def run(self) -> None:
        if self.module:
            import_module(self.module)
        node = self.node
        kernel = select_kernel(node) if self.checks.check_c_code else None
        with _written(self.origin):
            outputs = self.checks.run(Subject(node, kernel), self.inputs)
            if self.checks.check_isfinite and not node.op.undefined_output:
                for r, value in zip(node.outputs, outputs):
                    checks.check_value(r, value, "the Apply", True)

    def missing(self) -> str:
        return self.homeless

    def fails(self) -> bool:
        try:
            self.run()
        except self.error:
            return True
        except Exception:
            return False
        return False

    def values(self) -> list[Any]:
        return self.inputs

    def with_values(self, values: Sequence[Any]) -> Case:
        return replace(self, inputs=list(values))

    def parts(self) -> Iterator[Case]:
        """Each instruction of a fused Apply by itself, then each reduction."""
        op = self.node.op
        program = op.program if isinstance(op, FusedReduction) else getattr(op, "scalar_op", None)
        if not isinstance(op, (Elemwise, FusedReduction)) or type(program) is not scalar.Composite:
            return
        variables: list[Any] = list(self.node.inputs)
        for instruction in program.instructions:
            variables.append(Elemwise(instruction.op)(*[variables[k] for k in instruction.inputs]))
        if isinstance(op, FusedReduction):
            for register, reduction in zip(program.outputs, op.reductions):
                if reduction is not None:
                    variables.append(reduction(variables[register]))
        steps = variables[len(self.node.inputs) :]
        values = [*self.inputs, *interpret(self.node.inputs, steps)(*self.inputs)]
        known = dict(zip(variables, values))
        for step in steps:
            fresh = [v.type.make_variable(v.name) for v in step.owner.inputs]
            node = step.owner.op.make_node(*fresh)
            inputs = [known[v] for v in step.owner.inputs]
            yield ApplyCase.of(node, inputs, self.error, self.checks, self.origin)

    def graph(self) -> str:
        text: str = debugprint(list(self.node.outputs), depth=2, print_type=True, file="str")
        return text


@dataclass(frozen=True)
class RewriteCase(Case):
    """An expression and what a rule made of it, as functions of what both are computed from."""

    old: Variable
    new: Variable
    reason: str
    variables: list[Variable]
    inputs: list[Any]
    origin: str = ""
    """Where the user wrote the expression."""
    raises: bool = False
    """Whether what the rule made cannot be computed."""

    @classmethod
    def cut(
        cls, old: Variable, new: Variable, reason: str, values: Mapping[Variable, Any]
    ) -> RewriteCase:
        """Cut both graphs where they meet: there lie the inputs of the smallest case."""
        common = set(ancestors([new])) & set(ancestors([old]))
        common.discard(old)
        frontier = [
            v
            for v in ancestors([old, new], common)
            if (v in common or v.owner is None) and not isinstance(v, Constant) and v in values
        ]
        fresh = {v: v.type.make_variable(v.name) for v in frontier}
        roots = clone_replace([old, new], fresh)
        origin = "" if old.owner is None else source_lines(old.owner)
        inputs = [values[v] for v in frontier]
        raises = new not in values and not isinstance(new, Constant)
        return cls(roots[0], roots[1], reason, list(fresh.values()), inputs, origin, raises)

    def run(self) -> None:
        arguments = [x.copy() if isinstance(x, np.ndarray) else x for x in self.inputs]
        (old,) = interpret(self.variables, [self.old])(*arguments)
        new: Any
        try:
            (new,) = interpret(self.variables, [self.new])(*arguments)
        except Exception as error:
            if not self.raises:
                raise
            new = error
        known = {**dict(zip(self.variables, self.inputs)), self.old: old, self.new: new}
        if isinstance(new, Exception) or not agree(self.old, self.new, known):
            before, after = (
                debugprint(v, print_type=True, file="str") for v in (self.old, self.new)
            )
            with _written(self.origin):
                raise BadOptimization(
                    self.old, self.new, old, new, self.reason, before, after,
                    list(zip(self.variables, self.inputs)),
                )  # fmt: skip

    def fails(self) -> bool:
        try:
            self.run()
        except DebugModeError:
            return True
        except Exception:
            return False
        return False

    def values(self) -> list[Any]:
        return self.inputs

    def with_values(self, values: Sequence[Any]) -> Case:
        return replace(self, inputs=list(values))

    def graph(self) -> str:
        text: str = debugprint([self.old, self.new], print_type=True, file="str")
        return text


def selector_of(node: Apply) -> Any:
    """The selector that gives the Apply its kernel; None if it has none."""
    for selector in registered().get(type(node.op), ()):
        if selector(node) is not None:
            return selector
    return None


def _homeless(thing: Any, what: str) -> str:
    """Why a new process has not got a function or a class; "" if importing is enough."""
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    if module != "__main__" and "<locals>" not in name:
        return ""
    return (
        f"{what} {name} of {module}, which no import brings back: a new process must run what "
        "defines it first; or move it to the top level of a module that can be imported"
    )


@contextmanager
def _written(origin: str) -> Iterator[None]:
    """Errors say where the user wrote what fails; of a saved case the Applys do not know it."""
    try:
        yield
    except DebugModeError as error:
        if origin and error.args:
            error.args = (str(error.args[0]).replace(MADE_BY_A_REWRITE, origin),)
        raise


class _Attempts:
    """Tries cases, a limited number of times: a check of a large Apply takes a while."""

    def __init__(self, left: int = 3000) -> None:
        self.left = left

    def fails(self, case: Case) -> bool:
        self.left -= 1
        return self.left >= 0 and case.fails()


def shrink(case: Case) -> Case:
    """The smallest part of `case`, on the smallest and simplest inputs, that still fails."""
    attempts = _Attempts()
    for part in case.parts():
        if attempts.fails(part):
            case = part
            break
    tried: set[Any] = set()
    while True:
        shapes = tuple(np.shape(x) for x in case.values())
        group = next((g for g in _groups(shapes) if (shapes, g) not in tried), None)
        if group is None or attempts.left <= 0:
            break
        tried.add((shapes, group))
        case = _cut(case, group, attempts)
    for k, x in enumerate(case.values()):
        for simple in _simpler(x):
            values = list(case.values())
            values[k] = simple
            candidate = case.with_values(values)
            if attempts.fails(candidate):
                case = candidate
                break
    return case


Axes = tuple[tuple[int, int], ...]


def _groups(shapes: Sequence[tuple[int, ...]]) -> Iterator[Axes]:
    """Axes, as (input, axis), to cut together: all of an extent, then two of them, then one."""
    extents: dict[int, list[tuple[int, int]]] = {}
    for k, shape in enumerate(shapes):
        for d, n in enumerate(shape):
            if n > 1:
                extents.setdefault(n, []).append((k, d))
    alike = [tuple(extents[n]) for n in sorted(extents, reverse=True)]
    yield from alike
    for axes in alike:
        yield from combinations(axes, 2)
    for axes in alike:
        yield from ((axis,) for axis in axes)


def _cut(case: Case, axes: Axes, attempts: _Attempts) -> Case:
    """Delete blocks from these axes, of a half, a quarter, ... of the extent, as long as it fails.

    One element is left: nothing at all is a case of its own. The blocks are those at the ends,
    and while there are few of them those between (ddmin of A. Zeller and R. Hildebrandt,
    Simplifying and isolating failure-inducing input, 2002).
    """

    def extent() -> int:
        k, d = axes[0]
        return int(np.shape(case.values()[k])[d])

    size = extent() // 2
    while size and extent() > 1:
        starts = range(0, extent(), size)
        if len(starts) > 16:
            starts = range(0, extent(), extent() - size)
        removed = False
        for start in reversed(starts):
            if extent() <= size:
                break
            candidate = case.with_values(_without(case.values(), axes, start, size))
            if attempts.fails(candidate):
                case, removed = candidate, True
        if not removed or size >= extent():
            size //= 2
    return case


def _without(values: Sequence[Any], axes: Axes, start: int, size: int) -> list[Any]:
    """The values without the elements from `start` on, along each of the axes."""
    shorter = list(values)
    for k, d in axes:
        gone = slice(start, min(start + size, shorter[k].shape[d]))
        shorter[k] = np.delete(shorter[k], gone, axis=d)
    return shorter


def _simpler(x: Any) -> Iterator[Any]:
    if not isinstance(x, np.ndarray) or x.size == 0 or x.dtype.kind not in "iufc":
        return
    for value in (0, 1):
        yield np.full(x.shape, value, x.dtype)
    if x.dtype.kind in "fc" and np.isfinite(x).all():
        for digits in (0, 1, 2):
            yield np.round(x, digits)


def script(case: Case) -> str:
    """A program that runs the case, with the graph and the inputs in its comments.

    It ends with the error, or says that there was none and exits with the status 1.
    """
    lines = ["# The graph:"]
    lines += [f"#   {line}" for line in case.graph().rstrip().splitlines()]
    lines.append("# on the inputs:")
    for x in case.values():
        lines += [f"#   {line}" for line in repr(x)[:400].splitlines()]
    if case.missing():
        lines.append(f"# NOTE: {case.missing()}.")
    try:
        blob = base64.b85encode(zlib.compress(pickle.dumps(case))).decode()
    except Exception as problem:  # an Op defined in a function cannot be pickled
        return "\n".join([*lines, f"# (the graph cannot be pickled: {problem})"])
    lines.append("import base64, sys, zlib")
    lines.append("from kroton.compile.debugmode.reproduce import load")
    lines.append("case = load(zlib.decompress(base64.b85decode(")
    lines += [f"    {blob[k : k + 80]!r}" for k in range(0, len(blob), 80)]
    lines.append(")))")
    lines.append("case.run()")
    lines.append("sys.exit('the error did not occur again')")
    return "\n".join(lines)
