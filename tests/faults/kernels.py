"""Wrong kernels."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import kroton
import kroton.tensor as T
from faults.fault import (
    changes_its_argument,
    elementwise,
    fault,
    op,
    returns_an_alias,
    says_nothing,
    wrong_kernel,
)
from kroton._kernels.memory import empty_array
from kroton.compile.debugmode import (
    BadBuffer,
    BadDestroyMap,
    BadThunkOutput,
    BadViewMap,
    InvalidValueError,
)
from kroton.linking.kernels import select_kernel
from kroton.tensor.argmax import Argmax
from kroton.tensor.blas import Dot22
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.reduction import CAReduce


def exp_of(values: Any, dtype: str = "float64") -> Any:
    """A function that builds exp(x) and its arguments."""

    def build() -> Any:
        x = T.tensor(dtype=dtype, shape=(None,) * np.ndim(values), name="x")
        return [x], T.exp(x), (np.array(values, dtype),)

    return build


def binary(function: Any, a: Any, b: Any, dtype: str = "float64") -> Any:
    """The same for a function of two arguments."""

    def build() -> Any:
        x, y = (
            T.tensor(dtype=dtype, shape=(None,) * np.ndim(v), name="xy"[k])
            for k, v in enumerate((a, b))
        )
        return [x, y], function(x, y), (np.array(a, dtype), np.array(b, dtype))

    return build


V = np.linspace(-1, 2, 7)
M = np.linspace(-1, 2, 9).reshape(3, 3) ** 2


# ---- wrong on some inputs


def _one_dtype(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])
    if i[0].dtype == np.float32:
        s[0][0] += np.float32(0.01)


fault(
    "exp is wrong in float32",
    BadThunkOutput,
    exp_of(V, "float32"),
    np.exp,
    plant=elementwise("exp", _one_dtype),
)


def _tile_edge(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])
    s[0][0][1024:1025] = 0


fault(
    "off by one where a tile of 1024 ends",
    BadThunkOutput,
    exp_of(np.linspace(0, 1, 1500)),
    np.exp,
    plant=elementwise("exp", _tile_edge),
)


def _last_tile(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])
    if i[0].size % 2048 == 1:
        s[0][0][-1] = i[0][-1]


fault(
    "the last tile of one element is forgotten",
    BadThunkOutput,
    exp_of(np.linspace(0, 1, 2049)),
    np.exp,
    plant=elementwise("exp", _last_tile),
)


def _large(i: Any, s: Any) -> None:
    s[0][0] = np.exp(np.minimum(i[0], 500.0))


fault(
    "exp saturates", BadThunkOutput, exp_of([1.0, 600.0]), np.exp, plant=elementwise("exp", _large)
)


def _small(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])
    s[0][0][s[0][0] < 1e-6] = 0


fault(
    "small results are flushed to zero",
    BadThunkOutput,
    exp_of([-20.0, -15.0]),
    np.exp,
    plant=elementwise("exp", _small),
)


def _int_div(i: Any, s: Any) -> None:
    s[0][0] = np.trunc(i[0] / i[1]).astype(i[0].dtype)


fault(
    "integers are divided towards zero",
    BadThunkOutput,
    binary(lambda x, y: x // y, [-7, 7], [2, 2], "int32"),
    np.floor_divide,
    plant=elementwise("int_div", _int_div),
)


def _mod(i: Any, s: Any) -> None:
    s[0][0] = np.fmod(i[0], i[1])


fault(
    "the remainder has C's sign",
    BadThunkOutput,
    binary(lambda x, y: x % y, [-7, 7], [3, 3], "int64"),
    np.mod,
    plant=elementwise("mod", _mod),
)


def _saturating(i: Any, s: Any) -> None:
    s[0][0] = np.clip(i[0].astype(int) + i[1], -128, 127).astype(np.int8)


fault(
    "int8 saturates",
    BadThunkOutput,
    binary(lambda x, y: x + y, [100, 1], [100, 1], "int8"),
    np.add,
    plant=elementwise("add", _saturating),
)


def _complex(i: Any, s: Any) -> None:
    s[0][0] = np.abs(np.sqrt(i[0]).real) - 1j * np.sqrt(i[0]).imag


def _complex_sqrt() -> Any:
    z = T.zvector("z")
    return [z], T.sqrt(z), (np.array([1 + 2j, -3 + 1j]),)


fault(
    "the other branch of a complex root",
    BadThunkOutput,
    _complex_sqrt,
    np.sqrt,
    plant=elementwise("sqrt", _complex),
)


def _columns_for_rows(i: Any, s: Any) -> None:
    a, b = i
    s[0][0] = a + (b.T if b.shape == (1, a.shape[0]) else b)


def _matrix_and_row() -> Any:
    x, r = T.dmatrix("x"), T.drow("r")
    return [x, r], x + r, (M, M[:1] * 3)


fault(
    "a row is broadcast as a column",
    BadThunkOutput,
    _matrix_and_row,
    np.add,
    plant=elementwise("add", _columns_for_rows),
)


# ---- reductions, products, positions


def _reducing(name: str, run: Any) -> Any:
    return wrong_kernel(CAReduce, run, lambda node: node.op.scalar_op.name == name)


def _sum_of(values: Any, axis: Any = None, function: str = "sum") -> Any:
    def build() -> Any:
        x = T.tensor(dtype="float64", shape=(None,) * np.ndim(values), name="x")
        return [x], getattr(T, function)(x, axis=axis), (np.array(values, "float64"),)

    return build


def _empty(node: Any, i: Any, s: Any) -> None:
    node.op.perform(node, i, s)
    if i[0].size == 0:
        s[0][0] = np.ones_like(s[0][0])


fault(
    "the sum of nothing is one",
    BadThunkOutput,
    _sum_of(np.zeros((0, 3)), 0),
    lambda x: x.sum(0),
    plant=_reducing("add", _empty),
)


def _single(node: Any, i: Any, s: Any) -> None:
    s[0][0] = np.asarray(i[0].sum(dtype=np.float32), dtype=np.float64)


fault(
    "a sum is accumulated in single precision",
    BadThunkOutput,
    _sum_of(np.full(100, 1.1)),
    np.sum,
    plant=_reducing("add", _single),
)


def _other_axis(node: Any, i: Any, s: Any) -> None:
    s[0][0] = i[0].max(axis=1 - node.op.axis[0])


fault(
    "the maximum over the other axis",
    BadThunkOutput,
    _sum_of(np.array([[1.0, 5.0], [2.0, 3.0]]), 0, "max"),
    lambda x: x.max(0),
    plant=_reducing("maximum", _other_axis),
)


def _last_of_equals(node: Any, i: Any, s: Any) -> None:
    s[0][0] = np.asarray(i[0].size - 1 - np.argmax(i[0][::-1]), dtype=np.int64)


fault(
    "argmax takes the last of equals",
    BadThunkOutput,
    _sum_of([1.0, 3.0, 3.0, 0.0], None, "argmax"),
    np.argmax,
    plant=wrong_kernel(Argmax, _last_of_equals),
)


def _transposed(node: Any, i: Any, s: Any) -> None:
    s[0][0] = i[0] @ (i[1].T if i[1].shape[0] == i[1].shape[1] else i[1])


fault(
    "a square factor is transposed",
    BadThunkOutput,
    binary(T.dot, M, M + np.triu(M)),
    np.dot,
    plant=wrong_kernel(Dot22, _transposed),
)


def _tail(node: Any, i: Any, s: Any) -> None:
    k = i[0].shape[1] // 4 * 4
    s[0][0] = i[0][:, :k] @ i[1][:k]


fault(
    "a product forgets the tail of the sum",
    BadThunkOutput,
    binary(T.dot, np.ones((2, 6)), np.ones((6, 2))),
    np.dot,
    plant=wrong_kernel(Dot22, _tail),
)


# ---- layouts


def _backwards(i: Any, s: Any) -> None:
    x = i[0]
    s[0][0] = np.exp(x[::-1] if x.strides[0] < 0 else x)


fault(
    "negative strides are read forwards",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _backwards),
    hidden=lambda: (V[::-1],),
)


def _memory_order(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0].ravel(order="K").reshape(i[0].shape))


fault(
    "Fortran order is read as C order",
    BadThunkOutput,
    exp_of(M),
    np.exp,
    plant=elementwise("exp", _memory_order),
    hidden=lambda: (np.asfortranarray(M),),
)


def _unit_stride(i: Any, s: Any) -> None:
    x = i[0]
    s[0][0] = np.exp(as_strided(x, strides=(8,)) if x.strides[0] > 8 else x)


fault(
    "every stride is taken for one",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _unit_stride),
    hidden=lambda: (np.arange(14.0)[::2],),
)


def _sum_in_c_order(node: Any, i: Any, s: Any) -> None:
    x = i[0]
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        x = x.T
    s[0][0] = np.ascontiguousarray(x.sum(0))


fault(
    "a reduction of Fortran order goes along the wrong axis",
    BadThunkOutput,
    _sum_of(M, 0),
    lambda x: x.sum(0),
    plant=_reducing("add", _sum_in_c_order),
    hidden=lambda: (np.asfortranarray(M),),
)


# ---- memory


def _part_of(values: Any) -> Any:
    """Arguments that are part of a larger array, so that reading on is no crash."""

    def build() -> Any:
        x = T.dvector("x")
        return [x], T.exp(x), (np.append(np.array(values), [3.0, 4.0])[: len(values)],)

    return build


def _past_the_end(i: Any, s: Any) -> None:
    x = i[0]
    s[0][0] = np.exp(x)
    beyond = as_strided(x, (x.size + 1,))
    s[0][0][-1] = np.exp(np.nan_to_num(beyond[-1], nan=0.0))


fault(
    "reads one element past the end",
    BadThunkOutput,
    _part_of([1.0, 2.0]),
    np.exp,
    plant=elementwise("exp", _past_the_end),
)


def _before(i: Any, s: Any) -> None:
    x = i[0]
    first = as_strided(x[::-1], (x.size + 1,))[-1]
    s[0][0] = np.exp(x)
    s[0][0][0] = np.exp(np.nan_to_num(first, nan=0.0))


def _middle() -> Any:
    x = T.dvector("x")
    return [x], T.exp(x), (np.arange(5.0)[2:],)


fault(
    "reads one element before the beginning",
    BadThunkOutput,
    _middle,
    np.exp,
    plant=elementwise("exp", _before),
)


def _beside_the_input(i: Any, s: Any) -> None:
    x = i[0]
    s[0][0] = np.exp(x)
    as_strided(x, (x.size + 1,))[-1] = 0.0


def _neighbour_is_lost(fault: Any, f: Any) -> bool:
    whole = np.ones(4)
    f(whole[:3])
    return bool(whole[3] != 1)


fault(
    "writes beside its input",
    BadBuffer,
    _part_of([1.0, 2.0]),
    np.exp,
    plant=elementwise("exp", _beside_the_input),
    symptom=_neighbour_is_lost,
)


def _beside_numpy(i: Any, s: Any) -> None:
    out = np.empty(5, np.float32)
    np.exp(i[0], out=out)
    as_strided(out, (6,))[5] = 0
    s[0][0] = out


def _beside_kroton(i: Any, s: Any) -> None:
    out = empty_array(np.dtype("float32"), (5,))
    np.exp(i[0], out=out)
    as_strided(out, (6,))[5] = 0
    s[0][0] = out


# Five floats of four bytes: what lies behind them is padding of the allocator's.
fault(
    "writes beside its output",
    BadBuffer,
    exp_of(np.linspace(0, 1, 5), "float32"),
    np.exp,
    plant=elementwise("exp", _beside_kroton),
    symptom=says_nothing,
)
fault(
    "writes beside an array of NumPy's",
    BadBuffer,
    exp_of(np.linspace(0, 1, 5), "float32"),
    np.exp,
    plant=elementwise("exp", _beside_numpy),
    symptom=says_nothing,
)


def _unwritten(i: Any, s: Any) -> None:
    out = np.empty_like(i[0])
    out[:-1] = np.exp(i[0][:-1])
    s[0][0] = out


def _unwritten_kroton(i: Any, s: Any) -> None:
    out = empty_array(i[0].dtype, i[0].shape)
    out[:-1] = np.exp(i[0][:-1])
    s[0][0] = out


def _garbage(fault: Any, f: Any) -> bool:
    (x,) = fault.build()[2]
    np.full(x.size, 77.0)  # leaves its memory behind, as any other work does
    return not np.allclose(f(x), np.exp(x))


fault(
    "the last element is never written",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _unwritten),
    symptom=_garbage,
)
fault(
    "the last element of a kernel's own array is never written",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _unwritten_kroton),
    symptom=_garbage,
)


def _same_array(i: Any, s: Any) -> None:
    s[0][0] = i[0] if (i[0] >= 0).all() else np.abs(i[0])


def _absolute() -> Any:
    x = T.dvector("x")
    return [x], abs(x), (np.array([1.0, 2.0]),)


fault(
    "returns its input where it changes nothing",
    BadViewMap,
    _absolute,
    np.abs,
    plant=elementwise("abs", _same_array),
    symptom=returns_an_alias,
)


def _in_place(i: Any, s: Any) -> None:
    i[0][i[0] < 0] *= -1
    s[0][0] = i[0].copy()


def _negative() -> Any:
    x = T.dvector("x")
    return [x], abs(x), (np.array([1.0, -2.0]),)


fault(
    "a kernel works on its input",
    BadDestroyMap,
    _negative,
    np.abs,
    plant=elementwise("abs", _in_place),
    symptom=changes_its_argument,
)


# ---- offered buffers


def _offered(make: Any, x: Any = V) -> Any:
    """What the planted kernel makes of a buffer: what a Program that keeps buffers would get."""

    def symptom(fault: Any, f: Any) -> bool:
        kernel = select_kernel(fault.build()[1].owner)
        (found,) = kernel(x, outputs=[make()])
        return found.shape != x.shape or not np.allclose(found, np.exp(x))

    return symptom


def _accumulates(i: Any, s: Any) -> None:
    out = s[0][0]
    if out is None or out.shape != i[0].shape or not out.flags.writeable:
        out = np.zeros(i[0].shape)
    s[0][0] = out
    out += np.exp(i[0])


fault(
    "adds to the buffer it is offered",
    BadBuffer,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _accumulates),
    symptom=_offered(lambda: np.ones(7)),
)


def _larger(i: Any, s: Any) -> None:
    out = s[0][0]
    if out is None or out.size < i[0].size or not out.flags.writeable:
        out = np.empty(i[0].shape)
    out[: i[0].size] = np.exp(i[0])
    s[0][0] = out


fault(
    "returns a buffer that is larger",
    BadBuffer,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _larger),
    symptom=_offered(lambda: np.ones(9)),
)


def _ignores_strides(i: Any, s: Any) -> None:
    out = s[0][0]
    if out is None or out.shape != i[0].shape or not out.flags.writeable or not out.flags.aligned:
        out = np.empty(i[0].shape)
    if out.base is not None and out.strides[0] > 8:
        as_strided(out, (out.size,), (8,))[:] = np.exp(i[0])
    else:
        out[...] = np.exp(i[0])
    s[0][0] = out


fault(
    "writes a strided buffer as if it were none",
    BadBuffer,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _ignores_strides),
    symptom=_offered(lambda: np.ones(14)[::2]),
)


def _fortran_buffer(i: Any, s: Any) -> None:
    out = s[0][0]
    if out is None or out.shape != i[0].shape or not out.flags.f_contiguous:
        out = np.empty(i[0].shape)
    if not out.flags.writeable:
        out = np.empty(i[0].shape)
    out.ravel(order="K")[:] = np.exp(i[0]).ravel()
    s[0][0] = out


fault(
    "fills a buffer of Fortran order in C order",
    BadBuffer,
    exp_of(M),
    np.exp,
    plant=elementwise("exp", _fortran_buffer),
    symptom=_offered(lambda: np.ones((3, 3), order="F"), M),
)


# ---- state and threads


def _state() -> Any:
    runs = [0]

    def run(i: Any, s: Any) -> None:
        runs[0] += 1
        s[0][0] = np.exp(i[0]) + (0.5 if runs[0] > 1 else 0)

    return elementwise("exp", run)()


fault(
    "the first run differs from the second",
    BadThunkOutput,
    lambda: (*exp_of(V)()[:2], [(V,), (V,)]),
    np.exp,
    plant=_state,
)


def _after_a_while(spoil: Callable[[Any, Any], None]) -> Any:
    """An exp that goes wrong in its fortieth run: everything has been tried by then."""

    def plant() -> Any:
        runs = [0]

        def run(i: Any, s: Any) -> None:
            runs[0] += 1
            s[0][0] = np.exp(i[0])
            if runs[0] >= 40:
                spoil(i[0], s[0])

        return elementwise("exp", run)()

    return plant


def _many_calls() -> Any:
    return (*exp_of(V)()[:2], [(V.copy(),)] * 50)


def _last_changes_its_argument(fault: Any, f: Any) -> bool:
    calls = fault.build()[2]
    for values in calls:
        f(*values)
    return not np.array_equal(calls[-1][0], V)


def _slightly(x: Any, out: Any) -> None:
    out[0][-1] *= 1.001


def _its_input(x: Any, out: Any) -> None:
    x[0] += 1


def _single(x: Any, out: Any) -> None:
    out[0] = out[0].astype("float32")


fault(
    "wrong from the fortieth run on",
    BadThunkOutput,
    _many_calls,
    np.exp,
    plant=_after_a_while(_slightly),
)
fault(
    "changes its input from the fortieth run on",
    BadDestroyMap,
    _many_calls,
    plant=_after_a_while(_its_input),
    symptom=_last_changes_its_argument,
)
fault(
    "of another dtype from the fortieth run on",
    InvalidValueError,
    _many_calls,
    plant=_after_a_while(_single),
    symptom=lambda fault, f: [f(V) for _ in range(50)][-1].dtype == np.float32,
)


def _two_results() -> Any:
    x = T.dvector("x")
    return [x], T.dot(T.exp(x) + 1, T.exp(x) * 2), (V,)


def _second_of_two(node: Any, i: Any, s: Any) -> None:
    for cell, value in zip(s, node.op.scalar_op.impl(*i)):
        cell[0] = np.array(value)
    s[1][0] += 1e-3


fault(
    "the second result of a fused Apply is off",
    BadThunkOutput,
    _two_results,
    lambda x: np.dot(np.exp(x) + 1, np.exp(x) * 2),
    plant=wrong_kernel(Elemwise, _second_of_two, lambda node: len(node.outputs) == 2, 2),
)


def _memory() -> Any:
    known: dict[Any, Any] = {}

    def run(i: Any, s: Any) -> None:
        key = i[0].shape
        if key not in known:
            known[key] = np.exp(i[0])
        s[0][0] = known[key].copy()

    return elementwise("exp", run)()


fault(
    "remembers a result by its shape",
    BadThunkOutput,
    lambda: (*exp_of(V)()[:2], [(V,), (V + 1,)]),
    np.exp,
    plant=_memory,
)


def _two_threads(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])
    if kroton.config.threads == 2:
        s[0][0][i[0].size // 2] = 0


fault(
    "wrong where two threads meet",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=elementwise("exp", _two_threads),
    flags={"threads": 2},
)


def _shared_scratch() -> Any:
    scratch: dict[str, Any] = {"users": 0}

    def run(i: Any, s: Any) -> None:
        scratch["users"] += 1
        time.sleep(0.05)
        crowded = scratch["users"] > 1
        time.sleep(0.05)
        scratch["users"] -= 1
        s[0][0] = np.exp(i[0]) + crowded

    return elementwise("exp", run)()


def _crowd(fault: Any, f: Any) -> bool:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(f, [V, V]))
    return not all(np.allclose(r, np.exp(V)) for r in results)


fault(
    "two calls at a time share a scratch array",
    BadThunkOutput,
    exp_of(V),
    np.exp,
    plant=_shared_scratch,
    symptom=_crowd,
)


# ---- what is no value of the type


def _single_precision(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0]).astype(np.float32)


fault(
    "a kernel returns float32 for float64",
    InvalidValueError,
    exp_of(V),
    plant=elementwise("exp", _single_precision),
    symptom=lambda fault, f: f(V).dtype != np.float64,
)


def _one_more(i: Any, s: Any) -> None:
    s[0][0] = np.exp(i[0])[:, None]


fault(
    "a kernel returns a dimension too many",
    InvalidValueError,
    exp_of(V),
    plant=elementwise("exp", _one_more),
    symptom=lambda fault, f: f(V).ndim != 1,
)


def _scalar(node: Any, i: Any, s: Any) -> None:
    s[0][0] = i[0].sum()


fault(
    "a kernel returns a NumPy scalar",
    InvalidValueError,
    _sum_of(V),
    np.sum,
    plant=_reducing("add", _scalar),
    symptom=lambda fault, f: not isinstance(f(V), np.ndarray),
)


def _element() -> Any:
    def perform(i: Any, s: Any) -> None:
        s[0][0] = np.asarray(i[0][i[1]])

    at = op(perform, lambda x, k: [T.dscalar])
    planted = wrong_kernel(
        type(at), lambda node, i, s: s[0].__setitem__(0, np.asarray(i[0][i[1] % len(i[0])]))
    )

    def build() -> Any:
        x, k = T.dvector("x"), T.lscalar("k")
        return [x, k], at(x, k), (V, np.array(9))

    def silently(fault: Any, f: Any) -> bool:
        return float(f(V, 9)) == V[2]

    fault(
        "an index beyond the end wraps around",
        BadThunkOutput,
        build,
        plant=planted,
        symptom=silently,
    )


_element()


def _pair() -> Any:
    def perform(i: Any, s: Any) -> None:
        s[0][0], s[1][0] = i[0] + 1, i[0] + 1

    def run(node: Any, i: Any, s: Any) -> None:
        s[0][0] = s[1][0] = i[0] + 1

    both = op(perform, lambda x: [x.type, x.type])

    def build() -> Any:
        x = T.dvector("x")
        return [x], both(x)[0], (V,)

    def shared(fault: Any, f: Any) -> bool:
        x = T.dvector("x")
        a, b = kroton.function([x], both(x))(V)
        return bool(np.shares_memory(a, b))

    fault(
        "two outputs are one array",
        BadViewMap,
        build,
        plant=wrong_kernel(type(both), run),
        symptom=shared,
    )


_pair()
