"""The registry: which kernel serves an Apply. The only place that knows both sides.

A *selector* is a function of an Apply that returns a fresh, unbound `Kernel`, or None if no
compiled kernel serves these dtypes and shapes. The package's own selectors are in
`kroton.linking.selection`; others register theirs in the same way:

    @kernel_for(MyOp)
    def select(node): return MyKernel(node.inputs[0].type.numpy_dtype.num)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kroton.graph.basic import Apply

Selector = Callable[[Apply], Any]

_selectors: dict[type, list[Selector]] = {}


def kernel_for(*op_types: type) -> Callable[[Selector], Selector]:
    """Register a selector for Op types (not their subclasses). The latest is asked first."""

    def register(selector: Selector) -> Selector:
        _load()  # the package's own come first, so that this one is asked before them
        for op_type in op_types:
            _selectors.setdefault(op_type, []).insert(0, selector)
        return selector

    return register


def unregister(selector: Selector) -> None:
    """Take a selector out of the registry again."""
    for selectors in _selectors.values():
        if selector in selectors:
            selectors.remove(selector)


def registered() -> dict[type, tuple[Selector, ...]]:
    """The registry: for each Op type its selectors, in the order in which they are asked."""
    _load()
    return {op_type: tuple(s) for op_type, s in _selectors.items() if s}


def select_kernel(node: Apply) -> Any:
    """A compiled kernel for `node`, or None."""
    _load()
    for selector in _selectors.get(type(node.op), ()):
        kernel = selector(node)
        if kernel is not None:
            return kernel
    return None


_loaded = False


def _load() -> None:
    global _loaded
    if not _loaded:
        _loaded = True
        import kroton.linking.selection  # noqa: F401
