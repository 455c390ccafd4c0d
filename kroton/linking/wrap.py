"""WrapLinker: a function of the user's runs each Apply, with one or several implementations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kroton._kernels.kernel import CallableKernel, Kernel
from kroton.graph.basic import Apply
from kroton.linking.linker import Linker, get_linker

Wrapper = Callable[..., Any]


class Thunk:
    """One step of one linker: calling it runs the Apply once.

    Attributes
    ----------
    inputs : list of one-element lists
        The values that the step reads.
    outputs : list of one-element lists
        What the step has computed; each holds None before.
    node : Apply
    kernel : Kernel
        The implementation.
    """

    __slots__ = ("inputs", "kernel", "node", "outputs")

    def __init__(self, node: Apply, kernel: Kernel, values: Sequence[Any]) -> None:
        self.node = node
        self.kernel = kernel
        self.inputs: list[list[Any]] = [[value] for value in values]
        self.outputs: list[list[Any]] = [[None] for _ in node.outputs]

    def __call__(self) -> None:
        """Compute the outputs from the inputs, anew at each call."""
        values = self.kernel(*(cell[0] for cell in self.inputs))
        for cell, value in zip(self.outputs, values):
            cell[0] = value

    def __repr__(self) -> str:
        return f"<thunk of {self.node} by {self.kernel!r}>"


@dataclass(frozen=True)
class WrapLinker(Linker):
    """Runs every Apply through `wrapper(i, node, *thunks)`, in the lineage's style.

    `i` is the position of the Apply in the order of execution, and there is one `Thunk` for
    each linker. The wrapper calls the thunks it wants to run, before or after looking at their
    inputs and outputs; it must run the first one (or fill its outputs): what the first thunk's
    outputs hold afterwards is the result of the Apply, and what all thunks of the next Applys
    read. If the Op overwrites an input, the other thunks read copies of it, so that the order
    of the calls does not matter.

    Raises
    ------
    TypeError
        If the wrapper cannot be called.
    ValueError
        If there is no linker, or an unknown name. At call time, if the wrapper leaves an output
        of the first thunk empty.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> def announce(i, node, thunk):
    ...     print(i, node.op, [cell[0].shape for cell in thunk.inputs])
    ...     thunk()
    >>> linker = kroton.gof.WrapLinker([kroton.gof.OpWiseCLinker()], announce)
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], T.sum(x), mode=kroton.Mode(linker=linker))
    >>> f([1.0, 2.0])
    0 Sum{axes=[0]} [(2,)]
    array(3.)
    """

    linkers: Any = ()
    """The linkers, or their names; the first one's results are used."""
    wrapper: Wrapper | None = None
    """Called as `wrapper(i, node, *thunks)`."""
    allow_gc: bool | None = field(default=None, kw_only=True)

    name = "wrap"

    def __post_init__(self) -> None:
        given = self.linkers
        if isinstance(given, (str, Linker)):
            given = [given]
        linkers = tuple(get_linker(linker) for linker in given)
        if not linkers:
            raise ValueError(f"{type(self).__name__} needs at least one linker")
        if not callable(self.wrapper):
            raise TypeError(
                f"{type(self).__name__} needs a function wrapper(i, node, *thunks), "
                f"got {self.wrapper!r}"
            )
        object.__setattr__(self, "linkers", linkers)

    def implement(self, node: Apply) -> tuple[Kernel | None, str]:
        """What the first linker chooses; the wrapper comes with `kernels`."""
        return self.linkers[0].implement(node)  # type: ignore[no-any-return]

    def kernels(self, order: Sequence[Apply]) -> tuple[list[Kernel], list[str]]:
        """A kernel for each Apply that calls the wrapper."""
        chosen = [linker.kernels(order) for linker in self.linkers]
        steps = zip(*(kernels for kernels, _ in chosen))
        wrapped = [
            self._wrapped(position, node, kernels)
            for position, (node, kernels) in enumerate(zip(order, steps))
        ]
        return wrapped, chosen[0][1]

    def _wrapped(self, position: int, node: Apply, kernels: Sequence[Kernel]) -> Kernel:
        wrapper = self.wrapper
        assert wrapper is not None
        destroyed = {i for positions in node.op.destroy_map.values() for i in positions}

        def run(inputs: list[Any], storage: list[list[Any]]) -> None:
            thunks = [Thunk(node, kernels[0], inputs)]
            for kernel in kernels[1:]:
                values = [
                    copy.deepcopy(value) if i in destroyed else value
                    for i, value in enumerate(inputs)
                ]
                thunks.append(Thunk(node, kernel, values))
            wrapper(position, node, *thunks)
            for k, cell in enumerate(thunks[0].outputs):
                if cell[0] is None:
                    raise ValueError(
                        f"the wrapper left output {k} of {node} empty: it must call its first thunk"
                    )
                storage[k][0] = cell[0]

        return CallableKernel(run, len(node.inputs), len(node.outputs), f"{node.op}.wrap")


@dataclass(frozen=True)
class _Sequence:
    """Calls several wrappers, one after the other."""

    wrappers: tuple[Wrapper, ...]

    def __call__(self, i: int, node: Apply, *thunks: Thunk) -> None:
        for wrapper in self.wrappers:
            wrapper(i, node, *thunks)


def WrapLinkerMany(linkers: Any, wrappers: Sequence[Wrapper]) -> WrapLinker:
    """A `WrapLinker` that calls each of `wrappers` in turn, for every Apply.

    One of them has to run the first thunk; those before it see its outputs empty.

    Raises
    ------
    TypeError
        If one of the wrappers cannot be called.
    ValueError
        If there is none.
    """
    wrappers = tuple(wrappers)
    if not wrappers:
        raise ValueError("WrapLinkerMany needs at least one wrapper")
    for wrapper in wrappers:
        if not callable(wrapper):
            raise TypeError(f"a wrapper must be a function, got {wrapper!r}")
    return WrapLinker(linkers, _Sequence(wrappers))
