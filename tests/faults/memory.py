"""Wrong about memory: what is kept, shared, overwritten, or written beside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import kroton
import kroton.tensor as T
from faults.fault import a_rule, elementwise, fault, op, same_type
from faults.kernels import _after_a_while, exp_of
from kroton.compile.debugmode import (
    BadBuffer,
    BadDestroyMap,
    BadThunkOutput,
    BadViewMap,
    InvalidValueError,
)
from kroton.graph.type import Type
from kroton.linking.kernels import select_kernel
from kroton.rewriting import canonicalize

V = np.linspace(-1, 2, 7)
LARGE = np.linspace(0, 1, 5000)


# ---- memory that is given out again


def _keeps_a_buffer() -> Any:
    kept: dict[int, np.ndarray] = {}

    def perform(i: Any, s: Any) -> None:
        out = kept.setdefault(i[0].size, np.empty(i[0].size))
        s[0][0] = np.multiply(i[0], 2, out=out)

    return op(perform, same_type)


def _twice() -> Any:
    x = T.dvector("x")
    double = _keeps_a_buffer()
    return [x], T.stack([double(x), double(x + 1)]), (V,)


fault(
    "perform gives out the same buffer each time",
    BadViewMap,
    _twice,
    lambda x: np.stack([x * 2, x * 2 + 2]),
)

ONES = np.ones(7)


def _everybodys(i: Any, s: Any) -> None:
    s[0][0] = ONES


def _overwritten() -> Any:
    x = T.dvector("x")
    made = op(_everybodys, same_type)
    return [x], T.inc_subtensor(made(x)[0], 1.0), [(V,), (V,)]


def _lasts(fault: Any, f: Any) -> bool:
    f(V)
    wrong = bool(f(V)[0] != 2.0)
    ONES[...] = 1.0
    return wrong


fault("perform returns an array of its module", BadViewMap, _overwritten, symptom=_lasts)


def _kernel_keeps() -> Any:
    kept: dict[int, np.ndarray] = {}

    def run(i: Any, s: Any) -> None:
        out = kept.setdefault(i[0].size, np.empty(i[0].size))
        s[0][0] = np.exp(i[0], out=out)

    return elementwise("exp", run)()


fault(
    "a kernel gives out the same buffer each time",
    BadViewMap,
    exp_of(V),
    plant=_kernel_keeps,
    symptom=lambda fault, f: bool(np.shares_memory(f(V), f(V))),
)


# ---- outputs that are no memory of their own


def _one_for_all(i: Any, s: Any) -> None:
    s[0][0] = as_strided(np.array([3.0]), i[0].shape, (0,))


def _then_changed(made: Any) -> Any:
    def build() -> Any:
        x = T.dvector("x")
        return [x], T.inc_subtensor(made(x)[0], 1.0), (V,)

    return build


fault(
    "all elements of an output are one",
    BadViewMap,
    _then_changed(op(_one_for_all, same_type)),
    lambda x: np.append(4.0, np.full(6, 3.0)),
)


def _windows(i: Any, s: Any) -> None:
    x = i[0].copy()
    s[0][0] = as_strided(x, (x.size - 1, 2), (x.itemsize, x.itemsize))


def _windowed() -> Any:
    x = T.dvector("x")
    windows = op(_windows, lambda x: [T.dmatrix])(x)
    return [x], T.set_subtensor(windows[0], 0.0), (V,)


def _pairs(x: Any) -> Any:
    pairs = np.stack([x[:-1], x[1:]], axis=1)
    pairs[0] = 0
    return pairs


fault("elements of an output overlap", BadViewMap, _windowed, _pairs)


def _frozen(i: Any, s: Any) -> None:
    s[0][0] = i[0] * 2
    s[0][0].flags.writeable = False


def _plain(made: Any) -> Any:
    def build() -> Any:
        x = T.dvector("x")
        return [x], made(x), (V,)

    return build


fault(
    "an output is read-only",
    InvalidValueError,
    _plain(op(_frozen, same_type)),
    symptom=lambda fault, f: not f(V).flags.writeable,
)


# ---- offered buffers


def _fits(out: Any, x: Any) -> bool:
    return out is not None and out.shape == x.shape and out.flags.writeable


def _past_its_buffer(i: Any, s: Any) -> None:
    (x,), out = i, s[0][0]
    if not _fits(out, x) or not out.flags.c_contiguous:
        s[0][0] = np.exp(x)
        return
    np.exp(x, out=out)
    as_strided(out, (x.size + 1,))[-1] = 0.0


def _between_its_elements(i: Any, s: Any) -> None:
    (x,), out = i, s[0][0]
    if not _fits(out, x) or out.strides != (2 * x.itemsize,):
        s[0][0] = np.exp(x)
        return
    np.exp(x, out=out)
    as_strided(out, (2 * x.size - 1,), (x.itemsize,))[1::2] = 0.0


def _harms(part: Any) -> Any:
    """The memory beside the part of an array that is offered changes."""

    def symptom(fault: Any, f: Any) -> bool:
        whole = np.ones(20)
        select_kernel(fault.build()[1].owner)(V, outputs=[whole[part]])
        mask = np.ones(20, dtype=bool)
        mask[part] = False
        return bool((whole[mask] != 1).any())

    return symptom


fault(
    "writes past the end of the buffer it is offered",
    BadBuffer,
    exp_of(V),
    plant=elementwise("exp", _past_its_buffer),
    symptom=_harms(slice(0, 7)),
)
fault(
    "writes between the elements of the buffer it is offered",
    BadBuffer,
    exp_of(V),
    plant=elementwise("exp", _between_its_elements),
    symptom=_harms(slice(0, 14, 2)),
)


def _in_place_and_beside(i: Any, s: Any) -> None:
    x, out = i[0], s[1][0]
    if _fits(out, x) and out.flags.c_contiguous:
        np.exp(x, out=out)
        as_strided(out, (x.size + 1,))[-1] = 0.0
    else:
        s[1][0] = np.exp(x)
    x *= 2
    s[0][0] = x


def _one_in_place() -> Any:
    x = T.dvector("x")
    made = op(_in_place_and_beside, lambda x: [x.type, x.type], destroy_map={0: [0]})
    return [x], made(T.sin(x))[1], (V,)


def _second_buffer(fault: Any, f: Any) -> bool:
    node = fault.build()[1].owner
    whole = np.ones(8)
    node.op.perform(node, [V.copy()], [[None], [whole[:7]]])
    return bool(whole[7] != 1)


fault(
    "writes past the buffer of its second output, the first is in place",
    BadBuffer,
    _one_in_place,
    symptom=_second_buffer,
)


# ---- what is changed


DESTROYS: list[bool] = []


def _doubles(i: Any, s: Any) -> None:
    s[0][0] = i[0] * 2
    if DESTROYS:
        i[0][...] = 99.0


DOUBLE = op(_doubles, same_type)


@a_rule(canonicalize, type(DOUBLE))
def _is_a_product(fgraph: Any, node: Any) -> Any:
    return node.inputs[0] * 2


@contextmanager
def _behind_a_rule() -> Iterator[None]:
    with _is_a_product():
        DESTROYS.append(True)
        yield
        DESTROYS.clear()


def _doubled() -> Any:
    x = T.dvector("x")
    return [x], DOUBLE(x), (V.copy(),)


def _without_the_rule(fault: Any, f: Any) -> bool:
    inputs, out, (x,) = fault.build()
    kroton.function(inputs, out, mode=kroton.Mode("py", optimizer=None))(x)
    return not np.array_equal(x, V)


fault(
    "an Op that a right rule replaces works on its input",
    BadDestroyMap,
    _doubled,
    lambda x: x * 2,
    plant=_behind_a_rule,
    symptom=_without_the_rule,
)


class ListType(Type):
    """A list of Python's."""

    def filter(self, data: Any, strict: bool = False, allow_downcast: bool | None = None) -> Any:
        if not isinstance(data, list):
            raise TypeError(f"a list is expected, got {data!r}")
        return data

    def is_valid_value(self, data: Any) -> bool:
        return isinstance(data, list)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


def _appends(i: Any, s: Any) -> None:
    s[0][0] = i[0] + len(i[1])
    i[1].append(1)


def _with_a_list() -> Any:
    x, names = T.dvector("x"), ListType()("names")
    return [x, names], op(_appends, same_type)(x, names), (V, ["a"])


def _grows(fault: Any, f: Any) -> bool:
    names = ["a"]
    f(V, names)
    return len(names) == 2


fault("perform appends to a list", BadDestroyMap, _with_a_list, symptom=_grows)


def _many_large() -> Any:
    return (*exp_of(LARGE)()[:2], [(LARGE.copy(),)] * 50)


def _large_changes(fault: Any, f: Any) -> bool:
    x = LARGE.copy()
    for _ in range(50):
        f(x)
    return not np.array_equal(x, LARGE)


def _its_end(x: Any, out: Any) -> None:
    x[-1] += 1


fault(
    "changes a large input from the fortieth run on",
    BadDestroyMap,
    _many_large,
    plant=_after_a_while(_its_end),
    symptom=_large_changes,
)


def _absolutes(values: Any) -> Any:
    def build() -> Any:
        x = T.dvector("x")
        return [x], abs(x), [(values.copy(),)] * 50

    return build


def _views_after_a_while() -> Any:
    runs = [0]

    def run(i: Any, s: Any) -> None:
        runs[0] += 1
        s[0][0] = np.abs(i[0]) if runs[0] < 40 else i[0][:]

    return elementwise("abs", run)()


def _becomes_a_view(fault: Any, f: Any) -> bool:
    return bool([np.shares_memory(f(LARGE), LARGE) for _ in range(50)][-1])


fault(
    "returns a view from the fortieth run on",
    BadViewMap,
    _absolutes(LARGE),
    plant=_views_after_a_while,
    symptom=_becomes_a_view,
)


# ---- what is never written


def _positive(i: Any, s: Any) -> None:
    out = np.empty(i[0].shape, dtype=bool)
    out[1:] = i[0][1:] > 0
    s[0][0] = out


def _signs() -> Any:
    x = T.dvector("x")
    return [x], op(_positive, lambda x: [T.TensorType("bool", (None,))])(x), (V,)


def _true_before(fault: Any, f: Any) -> bool:
    found = set()
    for garbage in (False, True):
        for _ in range(8):
            np.full(V.size, garbage)  # leaves its memory behind, as any other work does
            found.add(bool(f(V)[0]))
    return True in found


fault("a truth value is never written", BadThunkOutput, _signs, symptom=_true_before)
