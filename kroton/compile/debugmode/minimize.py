"""Shrinking a failing case: the smallest subgraph and the smallest inputs that still fail."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from kroton import scalar
from kroton.compile.debugmode import checks
from kroton.compile.debugmode.application import Checks, Subject
from kroton.compile.debugmode.errors import BadOptimization, DebugModeError
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


@dataclass(frozen=True)
class ApplyCase(Case):
    """An Apply whose kernel or `perform` fails a check."""

    node: Apply
    inputs: list[Any]
    error: type[Exception]
    checks: Checks
    modules: tuple[str, ...] = ()
    """Where the kernels come from: imported first, so that a new process has them."""

    @classmethod
    def of(
        cls, node: Apply, inputs: Sequence[Any], error: type[Exception], chosen: Checks
    ) -> ApplyCase:
        """The case of `node` by itself, without the graph before it."""
        modules = dict.fromkeys(s.__module__ for s in registered().get(type(node.op), ()))
        others = tuple(m for m in modules if not m.startswith(("kroton.", "__main__")))
        quiet = replace(chosen, warn_input_not_reused=False)
        return cls(checks.detached(node), list(inputs), error, quiet, others)

    def run(self) -> None:
        for name in self.modules:
            with suppress(ImportError):
                import_module(name)
        node = self.node
        kernel = select_kernel(node) if self.checks.check_c_code else None
        outputs = self.checks.run(Subject(node, kernel), self.inputs)
        if self.checks.check_isfinite and not node.op.undefined_output:
            for r, value in zip(node.outputs, outputs):
                checks.check_value(r, value, "the Apply", True)

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
            yield ApplyCase.of(node, inputs, self.error, self.checks)

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
        return cls(roots[0], roots[1], reason, list(fresh.values()), [values[v] for v in frontier])

    def run(self) -> None:
        arguments = [x.copy() if isinstance(x, np.ndarray) else x for x in self.inputs]
        old, new = interpret(self.variables, [self.old, self.new])(*arguments)
        if not checks.close(self.old, old, new, remove_undefined=True):
            before, after = (
                debugprint(v, print_type=True, file="str") for v in (self.old, self.new)
            )
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


def shrink(case: Case) -> Case:
    """The smallest part of `case`, on the smallest and simplest inputs, that still fails."""
    for part in case.parts():
        if part.fails():
            case = part
            break
    changed = True
    rounds = 0
    while changed and rounds < 200:
        changed = False
        rounds += 1
        for values in _smaller(case.values()):
            candidate = case.with_values(values)
            if candidate.fails():
                case, changed = candidate, True
                break
    for k, x in enumerate(case.values()):
        for simple in _simpler(x):
            values = list(case.values())
            values[k] = simple
            candidate = case.with_values(values)
            if candidate.fails():
                case = candidate
                break
    return case


def _smaller(values: Sequence[Any]) -> Iterator[list[Any]]:
    """The inputs with an extent, wherever it occurs, cut at an end: by a half, a quarter, ..."""
    extents = dict.fromkeys(
        n for x in values if isinstance(x, np.ndarray) for n in x.shape if n > 0
    )
    for n in sorted(extents, reverse=True):
        less = max(n // 2, 1)
        while less:
            for kept in (slice(0, n - less), slice(less, n)):
                yield [
                    x[tuple(kept if e == n else slice(None) for e in x.shape)]
                    if isinstance(x, np.ndarray)
                    else x
                    for x in values
                ]
            less //= 2


def _simpler(x: Any) -> Iterator[Any]:
    if not isinstance(x, np.ndarray) or x.size == 0 or x.dtype.kind not in "iufc":
        return
    for value in (0, 1):
        yield np.full(x.shape, value, x.dtype)
    if x.dtype.kind in "fc" and np.isfinite(x).all():
        for digits in (0, 1, 2):
            yield np.round(x, digits)


def script(case: Case) -> str:
    """A program that runs the case, with the graph and the inputs in its comments."""
    lines = ["# The graph:"]
    lines += [f"#   {line}" for line in case.graph().rstrip().splitlines()]
    lines.append("# on the inputs:")
    for x in case.values():
        lines += [f"#   {line}" for line in repr(x)[:400].splitlines()]
    try:
        blob = base64.b85encode(pickle.dumps(case)).decode()
    except Exception as problem:  # an Op defined in a function cannot be pickled
        return "\n".join([*lines, f"# (the graph cannot be pickled: {problem})"])
    lines.append("import base64, pickle")
    lines.append("case = pickle.loads(base64.b85decode(")
    lines += [f"    {blob[k : k + 80]!r}" for k in range(0, len(blob), 80)]
    lines.append("))")
    lines.append("case.run()")
    return "\n".join(lines)
