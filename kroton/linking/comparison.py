"""Running an Apply's kernel and its perform, and comparing what they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton._kernels.kernel import CallableKernel, Kernel
from kroton.graph.basic import Apply
from kroton.linking.rounding import Rounding, agree


class BadKernelOutput(AssertionError):
    """A kernel and the `perform` of the same Apply disagree (linker 'c&py')."""


def ComparingKernel(kernel: Kernel, reference: Kernel, node: Apply) -> Kernel:
    """A kernel that runs `reference` on copies, then `kernel`, and raises where they differ.

    The result is the kernel's. A difference counts unless rounding explains it (`agree`).

    Raises
    ------
    BadKernelOutput
        At call time, naming the Apply, the output and the largest difference.
    """

    def run(inputs: list[Any], storage: list[list[Any]]) -> None:
        copies = [_copied(x) for x in inputs]
        kept = [_copied(x) for x in inputs] if node.op.destroy_map else copies
        expected = reference(*copies)
        found = kernel(*inputs)
        rounding = Rounding.of_apply(node, kept)
        for k, (a, b, out) in enumerate(zip(expected, found, node.outputs)):
            if not agree(out, a, b, rounding):
                raise BadKernelOutput(
                    f"output {k} of {node}: kernel {kernel!r} and perform disagree"
                    f"{difference(a, b)}"
                )
            storage[k][0] = b

    return CallableKernel(run, len(node.inputs), len(node.outputs), f"{node.op}.c&py")


def _copied(x: Any) -> Any:
    return np.copy(x, order="K") if isinstance(x, np.ndarray) else x


def difference(expected: Any, found: Any) -> str:
    """How two values differ, in a clause that starts with ': '."""
    a, b = np.asarray(expected), np.asarray(found)
    if a.dtype != b.dtype:
        return f": dtype {a.dtype} was expected, {b.dtype} found"
    if a.shape != b.shape:
        return f": shape {a.shape} was expected, {b.shape} found"
    if a.size == 0 or a.dtype.kind not in "biufc":
        return f": {expected!r} was expected, {found!r} found"
    with np.errstate(all="ignore"):
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        gap = np.abs(a.astype(wide) - b.astype(wide))
        gap = np.where((a == b) | (np.isnan(a.astype(wide)) & np.isnan(b.astype(wide))), 0, gap)
        gap = np.where(np.isnan(gap), np.inf, gap)
        worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
        relative = gap[worst] / abs(a[worst]) if a[worst] != 0 else np.inf
    where = tuple(int(i) for i in worst)
    return (
        f": at index {where} {a[worst]!r} was expected, {b[worst]!r} found "
        f"(largest absolute difference {gap[worst]:.3g}, relative {relative:.3g}; "
        f"{int((gap > 0).sum())} of {gap.size} elements differ)"
    )
