"""What a fault is: how it is planted, a function that runs into it, and the harm it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kroton
from kroton._kernels.kernel import CallableKernel
from kroton.compile.debugmode import DebugModeError
from kroton.graph.basic import Apply, Variable
from kroton.graph.op import Op
from kroton.linking.kernels import kernel_for, unregister
from kroton.tensor.elemwise import Elemwise

Plant = Callable[[], AbstractContextManager[Any]]
Symptom = Callable[["Fault", Any], bool]


@dataclass
class Fault:
    """One fault.

    `build` returns inputs, output and the arguments of one call or (a list of tuples) of
    several; `right` computes the right result of the last call; `symptom(fault, f)` compiles
    nothing and tells whether the FAST_RUN function `f` does harm without a word.
    """

    name: str
    error: type[DebugModeError]
    build: Callable[[], tuple[Sequence[Variable], Any, Any]]
    right: Callable[..., Any] | None = None
    plant: Plant = nullcontext
    symptom: Symptom | None = None
    hidden: Callable[[], Any] | None = None
    """Other arguments, on which FAST_RUN is wrong: DebugMode finds the fault without them."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of DebugMode that are not the defaults."""
    flags: dict[str, Any] = field(default_factory=dict)
    """Settings under which FAST_RUN is wrong."""

    def mode(self) -> Any:
        """The strict mode, or that with the options."""
        return kroton.DebugMode(directory="", **self.options) if self.options else "DEBUG_MODE"


FAULTS: list[Fault] = []


def fault(
    name: str, error: type[DebugModeError], build: Any, right: Any = None, **more: Any
) -> None:
    """Add a fault to the table."""
    assert all(f.name != name for f in FAULTS), name
    FAULTS.append(Fault(name, error, build, right, **more))


def calls_of(arguments: Any) -> list[tuple[Any, ...]]:
    """The calls that a fault's arguments stand for."""
    return arguments if isinstance(arguments, list) else [arguments]


def wrong_kernel(
    op_type: type,
    run: Callable[[Apply, list[Any], list[list[Any]]], None],
    matches: Callable[[Apply], bool] = lambda node: True,
    n_out: int = 1,
) -> Plant:
    """Plants a kernel, written in Python, for the Applys of `op_type` that match."""

    @contextmanager
    def plant() -> Iterator[None]:
        def select(node: Apply) -> Any:
            if not matches(node):
                return None
            return CallableKernel(
                lambda inputs, storage: run(node, inputs, storage),
                len(node.inputs),
                len(node.outputs),
                "planted",
            )

        kernel_for(op_type)(select)
        try:
            yield
        finally:
            unregister(select)

    return plant


def elementwise(name: str, run: Callable[[list[Any], list[list[Any]]], None]) -> Plant:
    """Plants a kernel for one scalar operation."""
    return wrong_kernel(
        Elemwise, lambda node, i, s: run(i, s), lambda node: node.op.scalar_op.name == name
    )


def a_rule(phase: Any, *heads: Any) -> Callable[[Callable[[Any, Apply], Any]], Plant]:
    """Plants a rewriter in a phase."""

    def made(transform: Callable[[Any, Apply], Any]) -> Plant:
        @contextmanager
        def plant() -> Iterator[None]:
            phase.rewriter(*heads, name="planted rule")(transform)
            try:
                yield
            finally:
                phase.remove("planted rule")

        return plant

    return made


def op(
    perform: Callable[[list[Any], list[list[Any]]], None],
    otypes: Callable[..., list[Any]],
    **attributes: Any,
) -> Op:
    """An Op of the user's, without a kernel; `otypes(*inputs)` are the outputs' types."""

    def make_node(self: Op, *inputs: Any) -> Apply:
        return Apply(self, list(inputs), [t() for t in otypes(*inputs)])

    body = {
        "__props__": (),
        "make_node": make_node,
        "perform": lambda self, node, inputs, storage: perform(inputs, storage),
        **attributes,
    }
    made: Op = type("Planted", (Op,), body)()
    return made


def same_type(*inputs: Any) -> list[Any]:
    """One output, of the first input's type."""
    return [inputs[0].type]


def returns_an_alias(fault: Fault, f: Any) -> bool:
    """The result is memory of the argument's."""
    arguments = fault.build()[2]
    result = f(*arguments)
    return bool(np.shares_memory(result, arguments[0]))


def changes_its_argument(fault: Fault, f: Any) -> bool:
    """The argument is another one after the call."""
    arguments = fault.build()[2]
    before = [np.array(a) for a in arguments]
    f(*arguments)
    return any(not np.array_equal(a, b) for a, b in zip(arguments, before))


def says_nothing(fault: Fault, f: Any) -> bool:
    """The harm is elsewhere or FAST_RUN is lenient; nothing is said."""
    f(*fault.build()[2])
    return True
