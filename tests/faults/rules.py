"""Wrong rules and passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import kroton
import kroton.tensor as T
from faults.fault import a_rule, changes_its_argument, fault
from kroton.compile.debugmode import BadInplace, BadOptimization, StochasticOrder
from kroton.rewriting import Pass, canonicalize, register_pass, specialize, unregister_pass
from kroton.tensor.creation import Alloc
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.products import Dot
from kroton.tensor.reduction import CAReduce
from kroton.tensor.subtensor import Subtensor

V = np.array([-1.5, 0.5, 2.0])


def unary(function: Any, values: Any = V, dtype: str = "float64") -> Any:
    """A function that builds function(x) and its arguments."""

    def build() -> Any:
        x = T.tensor(dtype=dtype, shape=(None,) * np.ndim(values), name="x")
        return [x], function(x), (np.array(values, dtype),)

    return build


def binary(function: Any, a: Any, b: Any, dtype: str = "float64") -> Any:
    """The same for a function of two arguments."""

    def build() -> Any:
        x = T.tensor(dtype=dtype, shape=(None,) * np.ndim(a), name="a")
        y = T.tensor(dtype=dtype, shape=(None,) * np.ndim(b), name="b")
        return [x, y], function(x, y), (np.array(a, dtype), np.array(b, dtype))

    return build


def _inner(v: Any, name: str) -> Any:
    """The input of the Elemwise `name` that computes `v`, or None."""
    owner = v.owner
    if owner is None or not isinstance(owner.op, Elemwise) or owner.op.scalar_op.name != name:
        return None
    return owner.inputs[0]


def _planted(*heads: Any, phase: Any = canonicalize) -> Any:
    return a_rule(phase, *heads)


def _a_pass(made: Any) -> Any:
    """Plants a pass that runs last."""

    @contextmanager
    def plant() -> Iterator[None]:
        register_pass(made("planted pass", frozenset({"fast_run"}), 90.0))
        try:
            yield
        finally:
            unregister_pass("planted pass")

    return plant


# ---- wrong for some values


@_planted("abs")
def _abs(fgraph: Any, node: Any) -> Any:
    return node.inputs[0]


fault(
    "abs(x) becomes x, wrong for negative numbers", BadOptimization, unary(abs), np.abs, plant=_abs
)


@_planted("floor")
def _floor(fgraph: Any, node: Any) -> Any:
    return T.trunc(node.inputs[0])


fault(
    "floor becomes trunc, wrong for negative fractions",
    BadOptimization,
    unary(T.floor),
    np.floor,
    plant=_floor,
)


@_planted("arctan2")
def _quadrant(fgraph: Any, node: Any) -> Any:
    a, b = node.inputs
    return T.arctan(a / b)


fault(
    "arctan2 becomes arctan, wrong in two quadrants",
    BadOptimization,
    binary(T.arctan2, [1.0, 1.0], [1.0, -1.0]),
    np.arctan2,
    plant=_quadrant,
)


@_planted("log")
def _log_of_product(fgraph: Any, node: Any) -> Any:
    owner = node.inputs[0].owner
    if owner is None or _inner(node.inputs[0], "mul") is None:
        return None
    a, b = owner.inputs
    return T.log(a) + T.log(b)


fault(
    "log(ab) becomes log(a) + log(b), NaN for negative numbers",
    BadOptimization,
    binary(lambda a, b: T.log(a * b), [-2.0, 3.0], [-2.0, 3.0]),
    lambda a, b: np.log(a * b),
    plant=_log_of_product,
)


@_planted("tanh")
def _tanh(fgraph: Any, node: Any) -> Any:
    e = T.expm1(2 * node.inputs[0])
    return e / (e + 2)


fault(
    "tanh by expm1, which overflows",
    BadOptimization,
    unary(T.tanh, [0.0, 800.0]),
    np.tanh,
    plant=_tanh,
)


@_planted("isnan")
def _no_nan(fgraph: Any, node: Any) -> Any:
    return T.zeros_like(node.inputs[0], dtype="bool")


fault(
    "isnan becomes False, ignoring NaN",
    BadOptimization,
    unary(lambda x: T.isnan(T.log(x))),
    lambda x: x < 0,
    plant=_no_nan,
)


# ---- wrong for integers


@_planted("mul")
def _int_cancel(fgraph: Any, node: Any) -> Any:
    return _inner(node.inputs[0], "int_div")


fault(
    "(a // b) * b becomes a, wrong for integers",
    BadOptimization,
    binary(lambda a, b: (a // b) * b, [7, 8], [2, 2], "int64"),
    lambda a, b: a // b * b,
    plant=_int_cancel,
)


@_planted("sqrt", phase=specialize)
def _through_float32(fgraph: Any, node: Any) -> Any:
    x = node.inputs[0]
    if x.type.dtype != "float64" or _inner(x, "cast") is not None:
        return None
    return T.cast(T.sqrt(T.cast(x, "float32")), "float64")


fault(
    "a root is taken in single precision",
    BadOptimization,
    unary(T.sqrt, [2.0, 3.0]),
    np.sqrt,
    plant=_through_float32,
)


@_planted("cast")
def _cast_of_cast(fgraph: Any, node: Any) -> Any:
    (x,) = node.inputs
    source = x.owner.inputs[0] if x.owner is not None and isinstance(x.owner.op, Elemwise) else None
    return source if source is not None and source.type == node.outputs[0].type else None


fault(
    "a cast to int and back is dropped",
    BadOptimization,
    unary(lambda x: T.cast(T.cast(x, "int64"), "float64")),
    np.trunc,
    plant=_cast_of_cast,
)


@_planted("add")
def _wraps(fgraph: Any, node: Any) -> Any:
    x, y = node.inputs
    return T.maximum(x, y) if x.type.dtype == "int8" else None


fault(
    "a + b becomes max(a, b) for small integers",
    BadOptimization,
    binary(lambda a, b: a + b, [1, 2], [3, 4], "int8"),
    np.add,
    plant=_wraps,
)


# ---- wrong terms


@_planted("add")
def _drops_a_term(fgraph: Any, node: Any) -> Any:
    return node.inputs[0] if len(node.inputs) == 2 else T.add(*node.inputs[:-1])


def _three_terms() -> Any:
    x, y, z = T.dvectors("x y z")
    return [x, y, z], x + T.exp(y) + T.sin(z), (V, V, V)


fault(
    "a sum loses a term",
    BadOptimization,
    _three_terms,
    lambda x, y, z: x + np.exp(y) + np.sin(z),
    plant=_drops_a_term,
)


@_planted("sub")
def _swaps(fgraph: Any, node: Any) -> Any:
    a, b = node.inputs
    return b - a if (a.name, b.name) == ("a", "b") else None


fault(
    "a - b becomes b - a",
    BadOptimization,
    binary(lambda a, b: a - b, V, V**2),
    np.subtract,
    plant=_swaps,
)


@_planted("switch")
def _other_branch(fgraph: Any, node: Any) -> Any:
    return node.inputs[2]


fault(
    "switch takes the second branch always",
    BadOptimization,
    binary(lambda a, b: T.switch(a > 0, a, b), V, V * 3),
    lambda a, b: np.where(a > 0, a, b * 1),
    plant=_other_branch,
)


@_planted(Dot)
def _square_product(fgraph: Any, node: Any) -> Any:
    a, b = node.inputs
    return T.dot(b, a) if (a.name, b.name) == ("a", "b") else None


A, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [1.0, 1.0]])
fault(
    "ab becomes ba, as if matrices commuted",
    BadOptimization,
    binary(T.dot, A, B),
    np.dot,
    plant=_square_product,
)


# ---- wrong about dimensions


@dataclass(frozen=True)
class _NoAlloc(Pass):
    def apply(self, fgraph: Any, observer: Any = None, selection: Any = None) -> None:
        for node in fgraph.toposort():
            out = node.outputs[0]
            if isinstance(node.op, Alloc) and out.type.in_same_class(node.inputs[0].type):
                fgraph.replace(out, node.inputs[0], self.name)


def _row_filled() -> Any:
    r, n = T.TensorType("float64", (1, 2))("r"), T.lscalar("n")
    return [r, n], T.exp(T.alloc(r, n, 2)), (A[:1], np.array(3))


fault(
    "alloc(x, n) becomes x, wrong where x has size-1 dimensions",
    BadOptimization,
    _row_filled,
    plant=_a_pass(_NoAlloc),
    symptom=lambda fault, f: f(A[:1], 3).shape == (1, 2),
)


@_planted(CAReduce)
def _over_one(fgraph: Any, node: Any) -> Any:
    (x,) = node.inputs
    return x[0] if node.op.axis == (0,) and x.type.ndim == 2 else None


fault(
    "a sum over an axis becomes its first row, right for size-1 dimensions only",
    BadOptimization,
    unary(lambda x: T.sum(x, axis=0), A),
    lambda x: x.sum(0),
    plant=_over_one,
)


@_planted(CAReduce)
def _wrong_axis(fgraph: Any, node: Any) -> Any:
    (x,) = node.inputs
    return replace(node.op, axis=(1,))(x) if node.op.axis == (0,) and x.type.ndim == 2 else None


fault(
    "a reduction goes over the wrong axis",
    BadOptimization,
    unary(lambda x: T.max(x, axis=0), A),
    lambda x: x.max(0),
    plant=_wrong_axis,
)


@_planted(DimShuffle)
def _no_transpose(fgraph: Any, node: Any) -> Any:
    return node.inputs[0] if node.op.new_order == (1, 0) else None


fault(
    "a transpose is dropped",
    BadOptimization,
    unary(lambda x: T.exp(x.T), A),
    lambda x: np.exp(x.T),
    plant=_no_transpose,
)


@_planted(Subtensor)
def _no_slice(fgraph: Any, node: Any) -> Any:
    x = node.inputs[0]
    return x if x.owner is None and x.type.ndim == 1 else None


fault(
    "x[::-1] becomes x",
    BadOptimization,
    unary(lambda x: T.exp(x[::-1])),
    lambda x: np.exp(x[::-1]),
    plant=_no_slice,
)


# ---- not reproducible


def _every_second_graph(head: str, other: Any) -> Any:
    def plant() -> Any:
        graphs: list[Any] = []

        @a_rule(canonicalize, head)
        def rule(fgraph: Any, node: Any) -> Any:
            if all(g is not fgraph for g in graphs):
                graphs.append(fgraph)
            x = node.inputs[0]
            return other(x) if len(graphs) % 2 == 0 and x.name == "x" else None

        return rule()

    return plant


def only_graph(number: int) -> Any:
    """A rule that fires for one graph: as if it depended on time."""

    def plant() -> Any:
        graphs: list[Any] = []

        @a_rule(canonicalize, "sin")
        def rule(fgraph: Any, node: Any) -> Any:
            if all(g is not fgraph for g in graphs):
                graphs.append(fgraph)
            return T.cos(node.inputs[0] - np.pi / 2) if len(graphs) == number else None

        return rule()

    return plant


def _sequences_differ(fault: Any, f: Any) -> bool:
    """Compiled again, the same function is another graph."""
    inputs, out, _ = fault.build()
    graphs = {
        str([str(n.op) for n in kroton.function(inputs, out, mode=FIRST).maker.fgraph.toposort()])
        for _ in range(12)
    }
    return len(graphs) > 1


FIRST = kroton.Mode("py", "fast_compile")
fault(
    "a rule fires every second time",
    StochasticOrder,
    unary(T.sin),
    plant=_every_second_graph("sin", lambda x: T.cos(x - np.pi / 2)),
    symptom=_sequences_differ,
)
fault(
    "a rule depends on what was compiled before",
    StochasticOrder,
    unary(lambda x: T.tanh(x) * 3),
    plant=_every_second_graph("tanh", lambda x: T.sinh(2 * x) / (1 + T.cosh(2 * x))),
    symptom=_sequences_differ,
)

fault(
    "a rule fires for the eleventh graph",
    StochasticOrder,
    unary(T.sin),
    plant=only_graph(11),
    symptom=_sequences_differ,
)
fault(
    "a rule fires for the second graph, and one is compared",
    StochasticOrder,
    unary(T.sin),
    plant=only_graph(2),
    symptom=_sequences_differ,
    options={"stability_patience": 1},
)


# ---- in place


@dataclass(frozen=True)
class _EverythingInPlace(Pass):
    def apply(self, fgraph: Any, observer: Any = None, selection: Any = None) -> None:
        for node in fgraph.toposort():
            if isinstance(node.op, Elemwise) and not node.op.destroy_map:
                inplace = Elemwise(node.op.scalar_op, inplace_pattern=((0, 0),))
                fgraph.replace(node.outputs[0], inplace(*node.inputs), self.name)


fault(
    "a pass overwrites the user's argument",
    BadInplace,
    unary(lambda x: x + 1.5),
    plant=_a_pass(_EverythingInPlace),
    symptom=changes_its_argument,
)


def _read_later() -> Any:
    x = T.dvector("x")
    y = T.cumsum(x)
    return [x], T.concatenate([T.exp(y), y]), (V,)


fault(
    "a pass overwrites what is read later",
    BadInplace,
    _read_later,
    lambda x: np.concatenate([np.exp(np.cumsum(x)), np.cumsum(x)]),
    plant=_a_pass(_EverythingInPlace),
)
