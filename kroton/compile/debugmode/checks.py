"""The checks of one Apply: run it in every way that must not matter, and compare."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kroton._kernels.fences import Fences, damaged
from kroton._kernels.kernel import Kernel
from kroton._kernels.memory import guards_intact, set_poison
from kroton.compile.debugmode.buffers import Guarded, layouts, offered
from kroton.compile.debugmode.errors import (
    BadBuffer,
    BadDestroyMap,
    BadInferShape,
    BadThunkOutput,
    BadViewMap,
    InvalidValueError,
    report,
)
from kroton.config import config
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.evaluation import interpret
from kroton.graph.op import ShapeError
from kroton.graph.traversal import ancestors
from kroton.linking.comparison import difference
from kroton.tensor.type import TensorType

SMALL = 1 << 14
Runner = Callable[[list[Any], list[Any] | None], list[Any]]


def same_bits(a: Any, b: Any) -> bool:
    """Whether two values are equal to the bit (NaN payloads aside)."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.nbytes <= SMALL and a.tobytes() == b.tobytes():
            return True
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    return a is b or bool(np.all(a == b))


def close(r: Variable, a: Any, b: Any, remove_undefined: bool = False) -> bool:
    """Whether two values of `r` agree up to rounding.

    To a ten-thousandth in single precision, to nine digits in double; the absolute tolerance
    grows with the largest value, since terms cancel. With `remove_undefined`, anything is
    accepted where `a` is NaN or infinite.
    """
    if identical(a, b):
        return True
    compare = r.type.values_eq_approx
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "fc":
        return bool(compare(a, b))
    if a.shape != getattr(b, "shape", None) or a.dtype != b.dtype:
        return False
    single = a.dtype.char in "fF"
    rtol, atol = (1e-4, 1e-5) if single else (1e-9, 1e-9)
    with np.errstate(all="ignore"):
        if within(a, b, atol) or (a == b).all():
            return True
    finite = np.abs(a[np.isfinite(a)]) if a.size else a
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    atol *= scale
    if finite.size == a.size:
        with np.errstate(all="ignore"):
            if within(a, b, atol):
                return True
    undefined = remove_undefined
    return bool(
        compare(a, b, allow_remove_inf=undefined, allow_remove_nan=undefined, rtol=rtol, atol=atol)
    )


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


def within(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether no element differs by more than `tolerance`; False where one is NaN."""
    if a.size == 0:
        return True
    return bool(np.maximum.reduce(np.abs(a - b), axis=None) <= tolerance)


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
                    node.outputs[k], None, None, "no value", f"perform left output {k} empty"
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


def check_value(r: Variable, value: Any, made_by: str, must_be_finite: bool) -> None:
    """Raise InvalidValueError if `value` is none of `r`'s Type, or not finite."""
    if not (type(value) is np.ndarray and exactly(r.type, value)) and not r.type.is_valid_value(
        value
    ):
        raise InvalidValueError(
            r, value, None, f"{made_by} gave a value that the type refuses",
            r.type.value_validity_msg(value),
        )  # fmt: skip
    if must_be_finite and not finite(value):
        bad = ~np.isfinite(value)
        index = tuple(int(i) for i in np.argwhere(bad)[0]) if value.ndim else ()
        raise InvalidValueError(
            r, value, None, "not finite",
            f"{int(bad.sum())} of {value.size} elements are NaN or infinite, the first is "
            f"{value[index]} at index {index} (made by {made_by})",
        )  # fmt: skip


def run_guarded(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], pattern: int,
    warn_not_reused: bool = False,
) -> list[Any]:  # fmt: skip
    """Run on guarded copies in poisoned memory; check destroy_map, view_map and trespass."""
    copies = [Guarded(x, pattern) if isinstance(x, np.ndarray) else None for x in inputs]
    arguments = [c.array if c is not None else x for c, x in zip(copies, inputs)]
    before = set_poison(pattern)
    damaged()
    try:
        with Fences(pattern):
            outputs = run(arguments, None)
    finally:
        set_poison(before)
    destroyed = {i for positions in node.op.destroy_map.values() for i in positions}
    for k, (c, x) in enumerate(zip(copies, inputs)):
        if c is None:
            continue
        if k not in destroyed and not same_bits(c.array, x):
            raise BadDestroyMap(node, k, x, c.array, who)
        if c.trespassed:
            raise BadBuffer(report(node, f"{who} wrote beside the memory of input {k}", inputs))
    _check_guards(node, who, inputs, outputs)
    _check_aliases(node, who, arguments, outputs)
    if warn_not_reused:
        _warn_not_reused(node, who, arguments, outputs)
    # The values must outlive the guarded copies.
    kept = [v.copy(order="K") if isinstance(v, np.ndarray) else v for v in outputs]
    del outputs
    if damaged():
        raise BadBuffer(report(node, f"{who} wrote beside the memory of an array it made", inputs))
    return kept


def _check_guards(node: Apply, who: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    for k, value in enumerate(outputs):
        if isinstance(value, np.ndarray) and not guards_intact(value):
            raise BadBuffer(report(node, f"{who} wrote beside its output {k}", inputs))


def _check_aliases(node: Apply, who: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    allowed = {
        o: {*node.op.view_map.get(o, ()), *node.op.destroy_map.get(o, ())}
        for o in range(len(outputs))
    }
    for o, value in enumerate(outputs):
        if not isinstance(value, np.ndarray):
            continue
        shared = [
            i
            for i, x in enumerate(inputs)
            if isinstance(x, np.ndarray) and node.inputs[i].type.may_share_memory(value, x)
        ]
        if any(i not in allowed[o] for i in shared):
            raise BadViewMap(node, o, value, shared, None, who)
        others = [
            p
            for p in range(o)
            if isinstance(outputs[p], np.ndarray)
            and node.outputs[o].type.may_share_memory(value, outputs[p])
            and not allowed[o] & allowed[p]
        ]
        if others:
            raise BadViewMap(node, o, value, None, others, who)


def _warn_not_reused(node: Apply, who: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Warn of outputs that `destroy_map` promises in an input's memory, and that are not there."""
    for o, positions in node.op.destroy_map.items():
        value = outputs[o]
        if not isinstance(value, np.ndarray) or value.size == 0:
            continue
        if not any(node.outputs[o].type.may_share_memory(value, inputs[i]) for i in positions):
            warnings.warn(
                report(
                    node,
                    f"{who} did not reuse input {list(positions)} for output {o}, although "
                    f"destroy_map {dict(node.op.destroy_map)} announces it",
                    inputs,
                    "where nothing is gained in place, leave it out of destroy_map: other Applys "
                    "must wait, or work on copies, for nothing",
                ),
                stacklevel=2,
            )


def snapshot(inputs: Sequence[Any], destroyed: Collection[int]) -> list[tuple[int, bytes]]:
    """The bytes of the small inputs that must not change, with their positions."""
    return [
        (k, x.tobytes())
        for k, x in enumerate(inputs)
        if isinstance(x, np.ndarray) and x.nbytes <= SMALL and k not in destroyed
    ]


def run_once(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], destroyed: Collection[int],
    before: Sequence[tuple[int, bytes]],
) -> list[Any]:  # fmt: skip
    """Run on the inputs themselves, copies where they are destroyed; `before` must stay true.

    The outputs are not looked at.
    """
    arguments = list(inputs)
    for k in destroyed:
        if isinstance(inputs[k], np.ndarray):
            arguments[k] = inputs[k].copy(order="K")
    outputs = run(arguments, None)
    for k, bits in before:
        x = inputs[k]
        if x.tobytes() != bits:
            was = np.frombuffer(bits, x.dtype).reshape(x.shape)
            raise BadDestroyMap(node, k, was, x, who)
    return outputs


def check_runs(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], warn_not_reused: bool = False
) -> list[Any]:
    """Run twice among different garbage; both must agree to the bit. Returns the outputs."""
    first = run_guarded(node, run, who, inputs, 0xFF, warn_not_reused)
    for r, value in zip(node.outputs, first):
        check_value(r, value, who, False)
    second = run_guarded(node, run, who, inputs, 0x2A)
    for r, a, b in zip(node.outputs, first, second):
        if not same_bits(a, b):
            raise BadThunkOutput(
                r, f"a first run of {who}", a, f"a second run of {who}", b, inputs,
                "the result depends on memory that was never written, on memory beside the "
                "inputs, or on state",
            )  # fmt: skip
    return first


def check_agreement(
    node: Apply, expected: Sequence[Any], found: Sequence[Any], who: str, inputs: Sequence[Any]
) -> None:
    """Raise BadThunkOutput where a kernel and `perform` differ."""
    for r, a, b in zip(node.outputs, expected, found):
        if not close(r, a, b):
            raise BadThunkOutput(r, "perform", a, who, b, inputs)


def check_layouts(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any]
) -> None:
    """The layout of the inputs must not matter."""
    variants = [dict(layouts(x)) if isinstance(x, np.ndarray) else {} for x in inputs]
    names = list(dict.fromkeys(name for v in variants for name in v))
    for name in names:
        arguments = [
            v[name] if name in v else (x.copy() if isinstance(x, np.ndarray) else x)
            for v, x in zip(variants, inputs)
        ]
        found = run(arguments, None)
        for r, a, b in zip(node.outputs, expected, found):
            if not close(r, a, b):
                raise BadThunkOutput(
                    r, who, a, f"{who} on inputs with {name}", b, inputs,
                    "the result must not depend on the strides of the inputs",
                )  # fmt: skip


def check_buffers(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any], which: str
) -> None:
    """Whatever buffers are offered for the outputs, the result must be the same."""
    if node.op.destroy_map or not all(isinstance(v, np.ndarray) for v in expected):
        return
    makers = [list(offered(v.shape, v.dtype, which)) for v in expected]
    for k in range(max((len(m) for m in makers), default=0)):
        chosen = [m[k] if k < len(m) else None for m in makers]
        names = next(c[0] for c in chosen if c is not None)
        arguments = [x.copy() if isinstance(x, np.ndarray) else x for x in inputs]
        buffers = [None if c is None else c[1]() for c in chosen]
        try:
            found = run(arguments, buffers)
        except Exception as error:
            raise BadBuffer(
                report(node, f"{who} failed when offered {names} for its output: {error!r}", inputs)
            ) from error
        for r, a, b in zip(node.outputs, expected, found):
            if not r.type.is_valid_value(b) or not close(r, a, b):
                raise BadBuffer(
                    report(
                        node,
                        f"{who}, offered {names} for its output, gives another result"
                        f"{difference(a, b)}",
                        inputs,
                    )
                )


def check_threads(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], expected: Sequence[Any]
) -> None:
    """The number of threads must not matter, nor a run at the same time in another thread."""
    for count in (1, 2):
        with config.change_flags(threads=count):
            found = run([x.copy() if isinstance(x, np.ndarray) else x for x in inputs], None)
        for r, a, b in zip(node.outputs, expected, found):
            if not close(r, a, b):
                raise BadThunkOutput(
                    r, who, a, f"{who} with config.threads = {count}", b, inputs,
                    "the number of threads must not matter",
                )  # fmt: skip
    results: list[Any] = [None, None]

    def work(k: int) -> None:
        try:
            results[k] = run([x.copy() if isinstance(x, np.ndarray) else x for x in inputs], None)
        except BaseException as error:
            results[k] = error

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for found in results:
        if isinstance(found, BaseException):
            raise found
        for r, a, b in zip(node.outputs, expected, found):
            if not close(r, a, b):
                raise BadThunkOutput(
                    r, who, a, f"{who} beside another thread", b, inputs,
                    "a kernel must keep nothing between or beside its calls",
                )  # fmt: skip


def check_infer_shape(
    node: Apply, inputs: Sequence[Any], outputs: Sequence[Any], known: Mapping[Variable, Any]
) -> None:
    """Raise BadInferShape if `infer_shape` is wrong about these values.

    It may look beyond the Apply's inputs, at the extents that a shape was made of; `known` has
    the values of what lies there. Where it is not known, an Apply on fresh inputs is asked.
    """
    if not all(isinstance(x, np.ndarray) for x in (*inputs, *outputs)):
        return
    given = {**known, **dict(zip(node.inputs, inputs))}
    shapes = [x.shape for x in inputs]
    try:
        inferred = node.op.infer_shape(node, shapes)
        leaves = list(_leaves(inferred, given))
        if any(v not in given and not isinstance(v, Constant) for v in leaves):
            node = detached(node)
            inferred = node.op.infer_shape(node, shapes)
            given = dict(zip(node.inputs, inputs))
            leaves = list(_leaves(inferred, given))
    except ShapeError:
        return
    leaves = [v for v in leaves if v in given]
    values = [given[v] for v in leaves]
    for k, (shape, value) in enumerate(zip(inferred, outputs)):
        if shape is None:
            continue
        symbolic = [e for e in shape if isinstance(e, Variable)]
        computed = iter(interpret(leaves, symbolic)(*values) if symbolic else ())
        found = tuple(int(next(computed)) if isinstance(e, Variable) else int(e) for e in shape)
        if found != value.shape:
            raise BadInferShape(
                report(
                    node,
                    f"infer_shape says that output {k} has shape {found}, its value has "
                    f"{value.shape}",
                    inputs,
                )
            )


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
