"""The checks of one Apply: run it in every way that must not matter, and compare."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np

from kroton._kernels.fences import Fences, damaged
from kroton._kernels.kernel import Kernel
from kroton.compile.debugmode.buffers import layouts, offered
from kroton.compile.debugmode.errors import (
    BadBuffer,
    BadInferShape,
    BadThunkOutput,
    DebugModeError,
    InvalidValueError,
    report,
)
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.evaluation import interpret
from kroton.graph.op import ShapeError
from kroton.graph.traversal import ancestors
from kroton.linking.comparison import difference
from kroton.linking.rounding import Rounding, agree
from kroton.tensor.type import TensorType

SMALL = 1 << 14
Runner = Callable[[list[Any], list[Any] | None], list[Any]]


def copied(x: Any, order: Any = "C") -> Any:
    """A copy of a value, whatever it is; the value itself if it cannot be copied."""
    if isinstance(x, np.ndarray):
        return x.copy(order)
    try:
        return deepcopy(x)
    except Exception:  # an open file, a lock
        return x


def close(
    r: Variable, a: Any, b: Any, remove_undefined: bool = False, rounding: Rounding | None = None
) -> bool:
    """Whether two values of `r` agree up to rounding: see `kroton.linking.rounding.agree`."""
    return identical(a, b) or agree(r, a, b, rounding, remove_undefined)


def identical(a: Any, b: Any) -> bool:
    """Whether two values are known at once to be the same: small arrays, equal to the bit."""
    return (
        type(a) is np.ndarray
        and type(b) is np.ndarray
        and a.nbytes <= SMALL
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
    )


def finite(x: Any) -> bool:
    """Whether a value has neither NaN nor infinities."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fc":
        return True
    return bool(np.logical_and.reduce(np.isfinite(x), axis=None))


def perform_runner(node: Apply) -> Runner:
    """Runs the Op's `perform`, offering output buffers if there are any."""

    def run(inputs: list[Any], buffers: list[Any] | None = None) -> list[Any]:
        storage = [[None if buffers is None else buffers[k]] for k in range(len(node.outputs))]
        if buffers is not None:
            buffers.clear()
        node.op.perform(node, inputs, storage)
        for k, cell in enumerate(storage):
            if cell[0] is None:
                raise InvalidValueError(
                    node.outputs[k],
                    None,
                    None,
                    "no value",
                    f"perform left output {k} empty",
                    inputs,
                )
        return [cell[0] for cell in storage]

    return run


def kernel_runner(kernel: Kernel) -> Runner:
    """Runs a compiled kernel, offering output buffers if there are any."""

    def run(inputs: list[Any], buffers: list[Any] | None = None) -> list[Any]:
        return list(kernel(*inputs, outputs=buffers))

    return run


def exactly(type_: Any, value: np.ndarray) -> bool:
    """Whether `value` has the dtype and the static shape of a TensorType."""
    if not isinstance(type_, TensorType) or value.dtype != type_.numpy_dtype:
        return False
    static, shape = type_.shape, value.shape
    if len(static) != len(shape):
        return False
    return static.count(None) == len(shape) or all(
        s is None or s == n for s, n in zip(static, shape)
    )


def check_value(
    r: Variable, value: Any, made_by: str, must_be_finite: bool, inputs: Sequence[Any] = ()
) -> None:
    """Raise InvalidValueError if `value` is none of `r`'s Type, or not finite."""
    if not (type(value) is np.ndarray and exactly(r.type, value)) and not r.type.is_valid_value(
        value
    ):
        raise InvalidValueError(
            r, value, None, f"{made_by} gave a value that the type refuses",
            r.type.value_validity_msg(value), inputs,
        )  # fmt: skip
    if must_be_finite and not finite(value):
        bad = ~np.isfinite(value)
        index = tuple(int(i) for i in np.argwhere(bad)[0]) if value.ndim else ()
        raise InvalidValueError(
            r, value, None, "not finite",
            f"{int(bad.sum())} of {value.size} elements are NaN or infinite, the first is "
            f"{value[index]} at index {index} (made by {made_by})", inputs,
        )  # fmt: skip


def check_agreement(
    node: Apply, expected: Sequence[Any], found: Sequence[Any], who: str, inputs: Sequence[Any]
) -> None:
    """Raise BadThunkOutput where a kernel and `perform` differ."""
    rounding = Rounding.of_apply(node, inputs)
    for r, a, b in zip(node.outputs, expected, found):
        if not close(r, a, b, rounding=rounding):
            raise BadThunkOutput(r, "perform", a, who, b, inputs)


def _check_variant(
    node: Apply, run: Callable[[], Sequence[Any]], who: str, how: str, inputs: Sequence[Any],
    expected: Sequence[Any], hint: str,
) -> None:  # fmt: skip
    """Raise BadThunkOutput if `run` fails, or gives another result than `expected`."""
    try:
        found = run()
    except DebugModeError:
        raise
    except Exception as error:
        raise BadThunkOutput(
            node.outputs[0], who, expected[0], f"{who} {how}", error, inputs, hint
        ) from error
    rounding = Rounding.of_apply(node, inputs)
    for r, a, b in zip(node.outputs, expected, found):
        if not close(r, a, b, rounding=rounding):
            raise BadThunkOutput(r, who, a, f"{who} {how}", b, inputs, hint)


def check_layouts(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any]
) -> None:
    """The layout of the inputs must not matter."""
    variants = [dict(layouts(x)) if isinstance(x, np.ndarray) else {} for x in inputs]
    names = list(dict.fromkeys(name for v in variants for name in v))
    for name in names:
        arguments = [v[name] if name in v else copied(x) for v, x in zip(variants, inputs)]
        _check_variant(
            node, partial(run, arguments, None), who, f"on inputs with {name}", inputs,
            expected, "the result must not depend on the strides of the inputs",
        )  # fmt: skip


def check_buffers(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any], which: str
) -> None:
    """Whatever buffers are offered for the outputs, the result must be the same, and nothing
    beside a buffer may be written."""
    if not all(isinstance(v, np.ndarray) for v in expected):
        return
    rounding = Rounding.of_apply(node, inputs)
    makers = [list(offered(v.shape, v.dtype, which)) for v in expected]
    for k in range(max((len(m) for m in makers), default=0)):
        chosen = [m[k] if k < len(m) else None for m in makers]
        names = next(c[0] for c in chosen if c is not None)
        arguments = [copied(x) for x in inputs]
        damaged()
        with Fences(0x5B):
            offers = [None if c is None else c[1]() for c in chosen]
            buffers = [None if o is None else o.take() for o in offers]
            try:
                found = run(arguments, buffers)
            except DebugModeError:
                raise
            except Exception as error:
                problem = f"{who} failed when offered {names} for its output: {error!r}"
                raise BadBuffer(report(node, problem, inputs)) from error
        for r, a, b in zip(node.outputs, expected, found):
            if not r.type.is_valid_value(b) or not close(r, a, b, rounding=rounding):
                raise BadBuffer(
                    report(
                        node,
                        f"{who}, offered {names} for its output, gives another result"
                        f"{difference(a, b)}",
                        inputs,
                    )
                )
        del found, buffers, b  # guards are inspected when memory is freed
        if any(o is not None and o.trespassed for o in offers) or damaged():
            raise BadBuffer(
                report(node, f"{who}, offered {names} for its output, wrote beside it", inputs)
            )


def check_threads(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any]
) -> None:
    """The number of threads must not matter, nor a run at the same time in another thread."""

    def alone(count: int) -> list[Any]:
        with config.change_flags(threads=count):
            return run([copied(x) for x in inputs], None)

    for count in (1, 2):
        _check_variant(
            node, partial(alone, count), who, f"with config.threads = {count}", inputs,
            expected, "the number of threads must not matter",
        )  # fmt: skip
    results: list[Any] = [None, None]

    def work(k: int) -> None:
        try:
            results[k] = run([copied(x) for x in inputs], None)
        except BaseException as error:
            results[k] = error

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for found in results:
        _check_variant(
            node, partial(_raised, found), who, "beside another thread", inputs,
            expected, "a kernel must keep nothing between or beside its calls",
        )  # fmt: skip


def _raised(result: Any) -> Any:
    """The result of a thread, unless that is what it raised."""
    if isinstance(result, BaseException):
        raise result
    return result


def check_infer_shape(
    node: Apply, inputs: Sequence[Any], outputs: Sequence[Any], known: Mapping[Variable, Any]
) -> None:
    """Raise BadInferShape if `infer_shape` is wrong about these values.

    It may look beyond the Apply's inputs, at the extents that a shape was made of; `known` has
    the values of what lies there. Where it is not known, an Apply on fresh inputs is asked.
    """
    if not all(isinstance(x, np.ndarray) for x in (*inputs, *outputs)):
        return
    try:
        inferred = _inferred(node, inputs, known)
    except ShapeError:
        return
    except Exception as error:
        problem = f"infer_shape failed on inputs that the Apply takes: {error!r}"
        raise BadInferShape(report(node, problem, inputs)) from error
    if len(inferred) != len(outputs):
        problem = f"infer_shape gives {len(inferred)} shapes for {len(outputs)} outputs"
        raise BadInferShape(report(node, problem, inputs))
    for k, (found, value) in enumerate(zip(inferred, outputs)):
        if found is not None and found != value.shape:
            problem = (
                f"infer_shape says that output {k} has shape {found}, its value has {value.shape}"
            )
            raise BadInferShape(report(node, problem, inputs))


def _inferred(
    node: Apply, inputs: Sequence[Any], known: Mapping[Variable, Any]
) -> list[tuple[int, ...] | None]:
    """The shapes that `infer_shape` gives, as numbers."""
    given = {**known, **dict(zip(node.inputs, inputs))}
    shapes = [x.shape for x in inputs]
    inferred = node.op.infer_shape(node, shapes)
    leaves = list(_leaves(inferred, given))
    if any(v not in given and not isinstance(v, Constant) for v in leaves):
        node = detached(node)
        inferred = node.op.infer_shape(node, shapes)
        given = dict(zip(node.inputs, inputs))
        leaves = list(_leaves(inferred, given))
    leaves = [v for v in leaves if v in given]
    values = [given[v] for v in leaves]
    found: list[tuple[int, ...] | None] = []
    for shape in inferred:
        if shape is None:
            found.append(None)
            continue
        symbolic = [e for e in shape if isinstance(e, Variable)]
        computed = iter(interpret(leaves, symbolic)(*values) if symbolic else ())
        found.append(
            tuple(int(next(computed)) if isinstance(e, Variable) else int(e) for e in shape)
        )
    return found


def detached(node: Apply) -> Apply:
    """The same Apply on fresh inputs: a graph of its own."""
    fresh = [v if isinstance(v, Constant) else v.type.make_variable(v.name) for v in node.inputs]
    return Apply(node.op, fresh, [r.type.make_variable(r.name) for r in node.outputs])


def _leaves(shapes: Sequence[Any], given: Mapping[Variable, Any]) -> Iterator[Variable]:
    """What symbolic extents are computed from: Variables that are given, or have no owner."""
    known = [shape for shape in shapes if shape is not None]
    symbolic = [e for shape in known for e in shape if isinstance(e, Variable)]
    for v in ancestors(symbolic, given):
        if v in given or v.owner is None:
            yield v
