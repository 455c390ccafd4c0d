"""What an Apply does to memory: what it changes, shares, keeps, and writes beside its own."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from kroton._kernels.fences import Fences, damaged
from kroton._kernels.memory import guards_intact, set_poison
from kroton.compile.debugmode.buffers import Guarded
from kroton.compile.debugmode.checks import SMALL, Runner, check_value, copied
from kroton.compile.debugmode.errors import (
    BadBuffer,
    BadDestroyMap,
    BadThunkOutput,
    BadViewMap,
    InvalidValueError,
    report,
)
from kroton.graph.basic import Apply, Variable

Snapshot = list[tuple[int, Any]]
"""Positions of inputs, with the bytes of small arrays, checksums of others, copies of the rest."""
LANES = 509

WORDS = {n: np.dtype(f"u{n}") for n in (1, 2, 4, 8)}
"""Integers, which compare several times as fast as floats that may be NaN."""


def same_bits(a: Any, b: Any) -> bool:
    """Whether two values are equal to the bit (NaN payloads aside)."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.nbytes <= SMALL:
            if a.tobytes() == b.tobytes():
                return True
        elif (words := WORDS.get(a.itemsize)) and (a.view(words) == b.view(words)).all():
            return True
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    return a is b or bool(np.all(a == b))


def changed(v: Variable, was: Any, now: Any) -> bool:
    """Whether a value of `v`, of which `was` is a copy, is another one now.

    What is no array is compared by its Type, if that calls a value and its copy the same.
    """
    if isinstance(was, np.ndarray):
        return not same_bits(was, now)
    if was is now:
        return False
    equal = v.type.values_eq
    return not equal(was, now) and bool(equal(was, copied(was)))


def run_guarded(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], pattern: int,
) -> list[Any]:  # fmt: skip
    """Run on guarded copies in poisoned memory; check destroy_map, view_map and trespass."""
    outputs = _run_among_guards(node, run, who, inputs, pattern)
    kept = [_kept(v) for v in outputs]
    del outputs
    _check_fences(node, who, inputs)
    return kept


def _kept(value: Any) -> Any:
    """A copy that outlives the guarded memory."""
    return value.copy(order="K") if isinstance(value, np.ndarray) else value


def _run_among_guards(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], pattern: int,
    warn_not_reused: bool = False,
) -> list[Any]:  # fmt: skip
    """The outputs themselves, whose fences are inspected when they are freed."""
    copies = [Guarded(x, pattern) if isinstance(x, np.ndarray) else None for x in inputs]
    arguments = [c.array if c is not None else copied(x) for c, x in zip(copies, inputs)]
    others = {k: copied(x) for k, (c, x) in enumerate(zip(copies, inputs)) if c is None}
    before = set_poison(pattern)
    damaged()
    try:
        with Fences(pattern):
            outputs = run(list(arguments), None)
    finally:
        set_poison(before)
    destroyed = {i for positions in node.op.destroy_map.values() for i in positions}
    for k, (c, x) in enumerate(zip(copies, inputs)):
        was = others[k] if c is None else x
        if k not in destroyed and changed(node.inputs[k], was, arguments[k]):
            raise BadDestroyMap(node, k, was, arguments[k], who, inputs)
        if c is not None and c.trespassed:
            raise BadBuffer(report(node, f"{who} wrote beside the memory of input {k}", inputs))
    for k, value in enumerate(outputs):
        if isinstance(value, np.ndarray) and not guards_intact(value):
            raise BadBuffer(report(node, f"{who} wrote beside its output {k}", inputs))
    check_aliases(node, who, arguments, outputs)
    _check_own(node, who, inputs, outputs)
    if warn_not_reused:
        _warn_not_reused(node, who, arguments, outputs)
    return outputs


def _check_fences(node: Apply, who: str, inputs: Sequence[Any]) -> None:
    if damaged():
        raise BadBuffer(report(node, f"{who} wrote beside the memory of an array it made", inputs))


def check_aliases(node: Apply, who: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Raise BadViewMap if an output shares memory and `view_map` does not say so.

    Inputs that share memory with an announced one are no fault of the Apply's.
    """
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
            if isinstance(x, np.ndarray) and _overlap(node.inputs[i], value, x)
        ]
        known = [inputs[i] for i in allowed[o]]
        if any(
            i not in allowed[o] and not any(_overlap(node.inputs[i], inputs[i], x) for x in known)
            for i in shared
        ):
            raise BadViewMap(node, o, value, shared, None, who, inputs)
        others = [
            p
            for p in range(o)
            if isinstance(outputs[p], np.ndarray)
            and _overlap(node.outputs[o], value, outputs[p])
            and not any(
                i == j or _overlap(node.inputs[i], inputs[i], inputs[j])
                for i in allowed[o]
                for j in allowed[p]
            )
        ]
        if others:
            raise BadViewMap(node, o, value, None, others, who, inputs)


def _overlap(v: Variable, a: Any, b: Any) -> bool:
    """Whether values have memory in common; first asks where the memory begins and ends."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and not np.may_share_memory(a, b):
        return False
    return bool(v.type.may_share_memory(a, b))


def _check_own(node: Apply, who: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """What comes next may write into an output: each element must be by itself, and writeable."""
    for o, value in enumerate(outputs):
        if not isinstance(value, np.ndarray):
            continue
        if overlaps_itself(value):
            raise BadViewMap(
                node, o, value, None, [o], who, inputs,
                f"elements of output {o} of {who} share memory with one another: shape "
                f"{value.shape}, strides {value.strides}",
            )  # fmt: skip
        if not value.flags.writeable:
            raise InvalidValueError(
                node.outputs[o], value, None, "a read-only array",
                f"{who} gave an array into which a later Apply could not write", inputs,
            )  # fmt: skip


def overlaps_itself(x: np.ndarray) -> bool:
    """Whether two elements of an array share memory."""
    if x.flags.forc or x.size < 2:
        return False
    reach = x.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(x.strides, x.shape) if n > 1):
        if stride < reach:
            break
        reach += stride * (n - 1)
    else:
        return False
    places = np.zeros(x.shape, dtype=np.int64)
    for d, (stride, n) in enumerate(zip(x.strides, x.shape)):
        places += (np.arange(n) * stride).reshape((n,) + (1,) * (x.ndim - d - 1))
    return bool((np.diff(np.sort(places, axis=None)) < x.itemsize).any())


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


def checksum(x: np.ndarray) -> bytes:
    """Sums of every 509th word of an array: a prime, so that what is moved changes them."""
    if not x.flags.forc:
        x = x.copy("K")
    raw = x.ravel("K").view(np.uint8)
    n = raw.size // (8 * LANES) * LANES
    lanes = raw[: 8 * n].view(np.uint64).reshape(-1, LANES)
    sums: np.ndarray = np.add.reduce(lanes, axis=0)
    return sums.tobytes() + raw[8 * n :].tobytes()


def snapshot(inputs: Sequence[Any], destroyed: Collection[int]) -> Snapshot:
    """The inputs that must not change, with their positions."""
    found: Snapshot = []
    for k, x in enumerate(inputs):
        if k in destroyed:
            continue
        if not isinstance(x, np.ndarray):
            found.append((k, copied(x)))
        else:
            found.append((k, x.tobytes() if x.nbytes <= SMALL else checksum(x)))
    return found


def run_once(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], destroyed: Collection[int],
    before: Snapshot, apart: Any,
) -> list[Any]:  # fmt: skip
    """Run on the inputs themselves, copies where they are destroyed; `before` must stay true.

    Of the outputs only the memory is looked at: `apart` are the pairs of `unannounced`.
    """
    arguments = list(inputs)
    for k in destroyed:
        arguments[k] = copied(inputs[k], "K")
    outputs = run(list(arguments), None)
    for k, was in before:
        x = inputs[k]
        if not isinstance(x, np.ndarray):
            if changed(node.inputs[k], was, x):
                raise BadDestroyMap(node, k, was, x, who, inputs)
        elif x.nbytes > SMALL:
            if checksum(x) != was:
                raise BadDestroyMap(node, k, None, x, who, inputs)
        elif x.tobytes() != was:
            old = np.frombuffer(was, x.dtype).reshape(x.shape)
            raise BadDestroyMap(node, k, old, x, who, inputs)
    for pairs, others in zip(apart, (arguments, outputs)):
        for o, k in pairs:
            a, b = outputs[o], others[k]
            if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
                continue
            if np.may_share_memory(a, b):
                check_aliases(node, who, arguments, outputs)
                return outputs
    return outputs


def unannounced(node: Apply) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs (output, input) and (output, output) that must not share memory."""
    n_out = len(node.outputs)
    allowed = [
        {*node.op.view_map.get(o, ()), *node.op.destroy_map.get(o, ())} for o in range(n_out)
    ]
    inputs = range(len(node.inputs))
    return (
        [(o, i) for o in range(n_out) for i in inputs if i not in allowed[o]],
        [(o, p) for o in range(n_out) for p in range(o) if not allowed[o] & allowed[p]],
    )


def check_runs(
    node: Apply, run: Runner, who: str, inputs: Sequence[Any], warn_not_reused: bool = False
) -> list[Any]:
    """Run twice among different garbage; both must agree to the bit. Returns the outputs.

    A truth value that nobody has written is True among any garbage but zeros: there is a third
    run where outputs are such. The memory of the first outputs is in use until the last run is
    over: another run must not give it out again.
    """
    held = _run_among_guards(node, run, who, inputs, 0xFF, warn_not_reused)
    first = [_kept(v) for v in held]
    for r, value in zip(node.outputs, first):
        check_value(r, value, who, False, inputs)
    truths = any(isinstance(v, np.ndarray) and v.dtype.kind == "b" for v in first)
    for pattern in (0x2A, 0) if truths else (0x2A,):
        second = _run_among_guards(node, run, who, inputs, pattern)
        for k, (r, a, b) in enumerate(zip(node.outputs, first, second)):
            if not same_bits(a, b):
                raise BadThunkOutput(
                    r, f"a first run of {who}", a, f"a second run of {who}", _kept(b), inputs,
                    "the result depends on memory that was never written, on memory beside the "
                    "inputs, or on state",
                )  # fmt: skip
            again = [o for o, v in enumerate(held) if _overlap(r, b, v)] if _is_array(b) else []
            if again or not same_bits(a, held[k]):
                raise BadViewMap(
                    node, k, b, None, again or [k], who, inputs,
                    f"output {k} of {who} is in the memory of output(s) {again or [k]} of an "
                    "earlier run, which its next run overwrites",
                    "return a new array each time, and keep none",
                )  # fmt: skip
        del second, b
        _check_fences(node, who, inputs)
    del held
    _check_fences(node, who, inputs)
    return first


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)
