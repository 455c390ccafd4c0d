"""Values of Variables: by interpretation here, by compilation once `kroton.compile` is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kroton.graph.basic import Constant, Variable
from kroton.graph.traversal import explicit_inputs, inputs, toposort

Compiler = Callable[..., Callable[..., Any]]


def interpret(inputs: Sequence[Variable], outputs: Sequence[Variable]) -> Callable[..., list[Any]]:
    """A function of `inputs` that runs the `perform` of each Apply, unoptimized: the reference."""
    order = toposort(outputs, list(inputs))

    def call(*values: Any) -> list[Any]:
        known: dict[Variable, Any] = dict(zip(inputs, values))

        def value_of(var: Variable) -> Any:
            if var in known:
                return known[var]
            if isinstance(var, Constant):
                return var.data
            container = getattr(var, "container", None)
            if container is not None:
                return container.value
            raise ValueError(f"no value is known for {var}")

        for node in order:
            storage: list[list[Any]] = [[None] for _ in node.outputs]
            node.op.perform(node, [value_of(v) for v in node.inputs], storage)
            for out, cell in zip(node.outputs, storage):
                known[out] = cell[0]
        return [value_of(out) for out in outputs]

    return call


_compile: Compiler | None = None


def set_compiler(compiler: Compiler) -> None:
    """Let `compiled` use `compiler(inputs, outputs, mode=..., on_unused_input=...)`."""
    global _compile
    _compile = compiler


def compiled(
    inputs: Sequence[Variable], outputs: Sequence[Variable], mode: Any = None
) -> Callable[..., list[Any]]:
    """A function of `inputs`, compiled if `kroton.compile` is loaded, else interpreted."""
    if _compile is None:
        return interpret(inputs, outputs)
    return _compile(list(inputs), list(outputs), mode=mode, on_unused_input="ignore")


def evaluate(var: Variable, values: Mapping[Any, Any]) -> Any:
    """The value of `var` where each key of `values` (a Variable or a name) has its value.

    Raises
    ------
    TypeError
        If `values` is no mapping.
    ValueError
        If an input has no value, or a name fits no input or several. Variables that `var` does
        not depend on may have values: what became of a gradient may need less than expected.
    """
    if not isinstance(values, Mapping):
        raise TypeError(
            f"eval takes a dict from Variables (or names) to values, as in y.eval({{x: value}}), "
            f"got {type(values).__name__}"
        )
    free = explicit_inputs([var])
    given: dict[Variable, Any] = {}
    for key, value in values.items():
        if isinstance(key, str):
            named = [v for v in free if v.name == key]
            if len(named) != 1:
                raise ValueError(f"{len(named)} inputs of {var} are named {key!r}")
            given[named[0]] = value
        elif isinstance(key, Variable):
            given[key] = value
        else:
            raise TypeError(f"eval: values are given for Variables or names, not for {key!r}")
    needed = [v for v in inputs([var], given) if not isinstance(v, Constant)]
    missing = [v for v in needed if v not in given and getattr(v, "container", None) is None]
    if missing:
        raise ValueError(f"eval needs a value for {', '.join(str(v) for v in missing)}")
    key = tuple(given)
    cache = var.tag.__dict__.setdefault("eval_cache", {})
    if key not in cache:
        cache[key] = compiled(list(given), [var])
    return cache[key](*given.values())[0]
