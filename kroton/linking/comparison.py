"""Running an Apply's kernel and its perform, and comparing what they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from kroton._kernels.kernel import CallableKernel, Kernel
from kroton.graph.basic import Apply
from kroton.scalar.composite import Composite


class BadKernelOutput(AssertionError):
    """A kernel and the `perform` of the same Apply disagree (linker 'c&py')."""


def ComparingKernel(kernel: Kernel, reference: Kernel, node: Apply) -> Kernel:
    """A kernel that runs `reference` on copies, then `kernel`, and raises where they differ.

    The result is the kernel's. Values are compared by the output type's `values_eq_approx`, as
    single precision is if some step of a fused Apply is computed in that.

    Raises
    ------
    BadKernelOutput
        At call time, naming the Apply, the output and the largest difference.
    """

    tolerance = {"rtol": 1e-4, "atol": 1e-5} if _computes_in_single(node) else {}

    def run(inputs: list[Any], storage: list[list[Any]]) -> None:
        copies = [np.copy(x, order="K") if isinstance(x, np.ndarray) else x for x in inputs]
        expected = reference(*copies)
        found = kernel(*inputs)
        for k, (a, b, out) in enumerate(zip(expected, found, node.outputs)):
            if not out.type.values_eq_approx(a, b, **tolerance):
                raise BadKernelOutput(
                    f"output {k} of {node}: kernel {kernel!r} and perform disagree"
                    f"{difference(a, b)}"
                )
            storage[k][0] = b

    return CallableKernel(run, len(node.inputs), len(node.outputs), f"{node.op}.c&py")


def _computes_in_single(node: Apply) -> bool:
    """Whether a fused Apply casts to single precision on its way to something wider."""
    operation = getattr(node.op, "scalar_op", getattr(node.op, "program", None))
    if type(operation) is not Composite:
        return False
    single = {"float32", "complex64"}
    return any(step.out_dtype in single for step in operation.instructions)


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
