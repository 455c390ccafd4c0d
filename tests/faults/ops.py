"""Wrong Ops: what they say of themselves is not what they do."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton
import kroton.tensor as T
from faults.fault import changes_its_argument, fault, op, returns_an_alias, same_type, says_nothing
from kroton.compile.debugmode import (
    BadBuffer,
    BadDestroyMap,
    BadGradient,
    BadInferShape,
    BadThunkOutput,
    BadViewMap,
    InvalidValueError,
)
from kroton.graph.nulltype import disconnected_type

V = np.array([-1.5, 0.5, 2.0])
M = np.arange(6.0).reshape(2, 3)


def on(made: Any, values: Any = V, then: Any = None) -> Any:
    """A function that builds made(x) and its arguments."""

    def build() -> Any:
        x = T.tensor(dtype="float64", shape=(None,) * np.ndim(values), name="x")
        out = made(x)
        return [x], out if then is None else then(x, out), (np.array(values),)

    return build


# ---- memory


def _sorts(i: Any, s: Any) -> None:
    i[0].sort()
    s[0][0] = i[0].copy()


fault(
    "perform sorts its input, destroy_map says nothing",
    BadDestroyMap,
    on(op(_sorts, same_type), [3.0, 1.0, 2.0]),
    symptom=changes_its_argument,
)


def _scales_second(i: Any, s: Any) -> None:
    i[1][...] *= 2
    s[0][0] = i[0] + i[1]


def _two() -> Any:
    x, y = T.dvectors("x y")
    return [x, y], op(_scales_second, same_type, destroy_map={0: [0]})(x + 0.5, y), (V, V.copy())


fault("destroy_map names the wrong input", BadDestroyMap, _two, symptom=changes_its_argument)


def _view(i: Any, s: Any) -> None:
    s[0][0] = i[0][1:]


fault(
    "perform returns a view, view_map says nothing",
    BadViewMap,
    on(op(_view, same_type)),
    symptom=returns_an_alias,
)


def _two_views() -> Any:
    x, y = T.dvectors("x y")
    return [x, y], op(_view, same_type, view_map={0: [1]})(x, T.exp(y)), (V, V.copy())


fault("view_map names the wrong input", BadViewMap, _two_views, symptom=returns_an_alias)


def _halves(i: Any, s: Any) -> None:
    work = i[0] * 2
    s[0][0], s[1][0] = work[:2], work[1:]


def _overlapping() -> Any:
    x = T.dvector("x")
    return [x], op(_halves, lambda x: [x.type, x.type])(x)[0], (V,)


def _outputs_overlap(fault: Any, f: Any) -> bool:
    x = T.dvector("x")
    a, b = kroton.function([x], op(_halves, lambda x: [x.type, x.type])(x))(V)
    return bool(np.shares_memory(a, b))


fault("two outputs overlap", BadViewMap, _overlapping, symptom=_outputs_overlap)


def _uninitialised(i: Any, s: Any) -> None:
    out = np.empty_like(i[0])
    out[1:] = i[0][1:]
    s[0][0] = out


def _garbage(fault: Any, f: Any) -> bool:
    np.full(3, 77.0)  # leaves its memory behind, as any other work does
    return float(f(V)[0]) != V[0]


fault(
    "perform leaves an element uninitialised",
    BadThunkOutput,
    on(op(_uninitialised, same_type)),
    symptom=_garbage,
)


def _reuses(i: Any, s: Any) -> None:
    if s[0][0] is None:
        s[0][0] = np.zeros_like(i[0])
    s[0][0][...] += i[0]


def _offered(fault: Any, f: Any) -> bool:
    node = fault.build()[1].owner
    cell = [np.ones(3)]
    node.op.perform(node, [V], [cell])
    return not np.allclose(cell[0], V)


fault(
    "perform adds to the buffer it is offered",
    BadBuffer,
    on(op(_reuses, same_type)),
    symptom=_offered,
)


# ---- values


def _random(i: Any, s: Any) -> None:
    s[0][0] = i[0] + np.random.default_rng().normal(size=i[0].shape)


fault("perform depends on chance", BadThunkOutput, on(op(_random, same_type)), lambda x: x)


def _by_memory(i: Any, s: Any) -> None:
    s[0][0] = np.cumsum(i[0].ravel(order="K")).reshape(i[0].shape)


def _cumulated(x: Any) -> Any:
    return np.cumsum(x.ravel()).reshape(x.shape)


fault(
    "perform depends on the memory order",
    BadThunkOutput,
    on(op(_by_memory, same_type), M),
    _cumulated,
    hidden=lambda: (np.asfortranarray(M),),
)


def _half(i: Any, s: Any) -> None:
    s[0][0] = (i[0] / 2).astype(np.float32)


fault(
    "perform returns another dtype",
    InvalidValueError,
    on(op(_half, same_type), [0.1, 0.3]),
    lambda x: x / 2,
)

fault(
    "the static shape is wrong",
    InvalidValueError,
    on(
        op(
            lambda i, s: s[0].__setitem__(0, i[0][1:].copy()),
            lambda x: [T.TensorType("float64", (3,))],
        ),
        V,
    ),
    symptom=lambda fault, f: f(V).shape == (2,),
)

fault(
    "perform returns a list",
    InvalidValueError,
    on(op(lambda i, s: s[0].__setitem__(0, i[0].tolist()), same_type)),
    symptom=says_nothing,
)

fault(
    "perform returns a scalar of NumPy's",
    InvalidValueError,
    on(op(lambda i, s: s[0].__setitem__(0, i[0].sum()), lambda x: [T.dscalar])),
    symptom=says_nothing,
)


def _logarithm(i: Any, s: Any) -> None:
    with np.errstate(all="ignore"):
        s[0][0] = np.log(i[0])


fault(
    "a NaN is made",
    InvalidValueError,
    on(op(_logarithm, same_type), V, lambda x, out: out * 2),
    symptom=lambda fault, f: bool(np.isnan(f(V)).any()),
)


# ---- shapes and gradients


def _transpose(i: Any, s: Any) -> None:
    s[0][0] = i[0].T.copy()


fault(
    "infer_shape forgets the transpose",
    BadInferShape,
    on(op(_transpose, same_type, infer_shape=lambda self, node, shapes: [shapes[0]]), M),
    symptom=lambda fault, f: _says_shape(fault) != M.T.shape,
)


def _shorter(i: Any, s: Any) -> None:
    s[0][0] = np.diff(i[0])


fault(
    "infer_shape is one too long",
    BadInferShape,
    on(op(_shorter, same_type, infer_shape=lambda self, node, shapes: [shapes[0]])),
    symptom=lambda fault, f: _says_shape(fault) != (2,),
)


def _says_shape(fault: Any) -> tuple[int, ...]:
    inputs, out, arguments = fault.build()
    return tuple(kroton.function(inputs, out.shape, mode="FAST_RUN")(*arguments).tolist())


def _square(i: Any, s: Any) -> None:
    s[0][0] = i[0] ** 2


def _slope(fault: Any) -> Any:
    inputs, out, arguments = fault.build()
    return kroton.function(inputs, kroton.grad(out.sum(), inputs[0]), mode="FAST_RUN")(*arguments)


fault(
    "a gradient lacks its factor",
    BadGradient,
    on(op(_square, same_type, grad=lambda self, inputs, g: [g[0] * inputs[0]])),
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), 2 * V),
)


fault(
    "a gradient has the wrong sign for negative numbers",
    BadGradient,
    on(op(_square, same_type, grad=lambda self, inputs, g: [2 * abs(inputs[0]) * g[0]])),
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), 2 * V),
)


def _product(i: Any, s: Any) -> None:
    s[0][0] = i[0] * i[1]


def _multiplied() -> Any:
    x, y = T.dvectors("x y")
    swapped = op(
        _product, same_type, grad=lambda self, inputs, g: [g[0] * inputs[0], g[0] * inputs[1]]
    )
    return [x, y], swapped(x, y), (V, V + 5)


fault(
    "a gradient swaps its two inputs",
    BadGradient,
    _multiplied,
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), V + 5),
)


fault(
    "a gradient lacks its factor, among many elements",
    BadGradient,
    on(
        op(_square, same_type, grad=lambda self, inputs, g: [g[0] * inputs[0]]),
        np.linspace(-1, 1, 20_000),
    ),
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), 2 * np.linspace(-1, 1, 20_000)),
)


def _sine(i: Any, s: Any) -> None:
    s[0][0] = np.sin(i[0])


fault(
    "a gradient is zero, beside an element a million times larger",
    BadGradient,
    on(
        op(_sine, same_type, grad=lambda self, inputs, g: [T.zeros_like(inputs[0])]),
        [1.0, 1e6],
    ),
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), np.cos([1.0, 1e6])),
)


def _sums_rows(i: Any, s: Any) -> None:
    s[0][0] = i[0].sum(axis=1, keepdims=True)


fault(
    "a gradient has the shape of the output",
    BadGradient,
    on(op(_sums_rows, lambda x: [T.col], grad=lambda self, inputs, g: [g[0]]), M),
    options={"check_gradients": True},
    symptom=lambda fault, f: _slope(fault).shape == (2, 1),
)


def _half_connected() -> Any:
    x, y = T.dvectors("x y")
    made = op(
        _product, same_type, grad=lambda self, inputs, g: [disconnected_type(), g[0] * inputs[0]]
    )
    return [x, y], made(x, y) + x, (V, V + 5)


fault(
    "a gradient is said to be disconnected and is not",
    BadGradient,
    _half_connected,
    options={"check_gradients": True},
    symptom=lambda fault, f: np.allclose(_slope(fault), 1.0),
)


def _square_and_order(i: Any, s: Any) -> None:
    s[0][0], s[1][0] = i[0] ** 2, np.argsort(i[0])


fault(
    "a gradient lacks its factor, beside an output of integers",
    BadGradient,
    on(
        op(
            _square_and_order,
            lambda x: [x.type, T.lvector],
            grad=lambda self, inputs, g: [g[0] * inputs[0]],
        ),
        V,
        lambda x, outs: outs[0],
    ),
    options={"check_gradients": True},
    symptom=lambda fault, f: not np.allclose(_slope(fault), 2 * V),
)
