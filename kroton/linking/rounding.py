"""Whether two values agree up to rounding: element by element, and by stochastic arithmetic.

A relative difference that is small says that rounding explains it; one that is large does not say
the contrary, since terms cancel and small numbers lose their digits. There the reference is
computed again a few times, each operand and each intermediate result moved by a few units in its
last place, at random: the spread of what comes out is what rounding may do (J. Vignes, "A
stochastic arithmetic for reliable scientific computation", Mathematics and Computers in
Simulation 35, 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from kroton import scalar
from kroton.graph.basic import Apply, Constant, Variable
from kroton.graph.traversal import ancestors, toposort
from kroton.tensor.advanced_subtensor import Nonzero
from kroton.tensor.creation import Alloc
from kroton.tensor.diagonal import AllocDiag, ExtractDiag
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.joining import Join, Split
from kroton.tensor.nnet.crossentropy import CrossentropySoftmaxArgmax1Hot
from kroton.tensor.nnet.softmax import LogSoftmax
from kroton.tensor.reduction import CAReduce
from kroton.tensor.repetition import Repeat
from kroton.tensor.shape import MakeVector
from kroton.tensor.subtensor import BaseSubtensor
from kroton.tensor.type import TensorType

RUNS = 5
"""How often a reference is computed again."""
FACTOR = 32.0
"""How many times the spread, or the unit of the last place, a difference may be."""

EXACT = frozenset({
    "abs", "neg", "identity", "second", "maximum", "minimum", "fmax", "fmin", "switch",
    "clip", "conj", "real", "imag",
})  # fmt: skip
"""Scalar operations whose result is one of their operands, or has its digits."""
JUMPS = frozenset({
    "floor", "ceil", "trunc", "round_half_away_from_zero", "round_half_to_even", "sgn",
    "int_div", "mod", "fmod", "heaviside", "copysign", "nextafter",
})  # fmt: skip
"""Scalar operations that are exact, and leap where an operand moves by nothing."""
UNDERFLOWS = frozenset({
    "mul", "sqr", "true_div", "reciprocal", "exp", "exp2", "pow", "float_power", "sigmoid",
    "softplus", "erfc",
})  # fmt: skip
"""Scalar operations whose result is zero where it would be too small."""
MOVERS = (
    Alloc, AllocDiag, BaseSubtensor, ExtractDiag, Join, MakeVector, Nonzero, Repeat, Split,
)  # fmt: skip
"""Ops that move elements and compute nothing, beside those that return views."""

Operand = tuple[Any, Any]
"""A moved value, and the same as it is if no rounding has touched it, else None.

What leaps, a comparison for example, looks at the second: an argument that equals a bound does so
exactly, and is meant to."""


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether each element of two floating-point arrays of one shape and dtype is the same up to
    a ten-thousandth in single precision, a billionth in double; NaN equals NaN."""
    with np.errstate(all="ignore"):
        small = _close(a, b)
        if small.all():
            return True
        return bool((small | (a == b) | (np.isnan(a) & np.isnan(b))).all())


def _close(a: np.ndarray, b: np.ndarray) -> Any:
    """Of each element whether the relative difference is small."""
    rtol, tiny = _tolerance(a.dtype)
    return np.abs(a - b) < np.abs(a) * rtol + tiny


@cache
def _tolerance(dtype: np.dtype) -> tuple[Any, Any]:
    """Relative and absolute, in the precision of `dtype`."""
    info = np.finfo(dtype)
    return info.dtype.type(1e-9 if info.bits > 32 else 1e-4), info.tiny


def agree(
    r: Variable, a: Any, b: Any, rounding: Rounding | None = None, undefined: bool = False
) -> bool:
    """Whether two values of `r` are the same up to rounding.

    Parameters
    ----------
    r : Variable
    a, b : values
        What is right, and what is compared with it.
    rounding : Rounding, optional
        Asked where a relative difference is large; it has `r` among its outputs.
    undefined : bool
        Accept anything where `a` is NaN or infinite.
    """
    if not (isinstance(r.type, TensorType) and isinstance(a, np.ndarray)):
        return bool(r.type.values_eq_approx(a, b))
    if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if near(a, b) if a.dtype.kind in "fc" else bool((a == b).all()):
        return True
    if undefined and explained(a, b, (), undefined):
        return True
    if rounding is None:
        return False
    return explained(a, b, rounding.runs(r), undefined, rounding.may_overflow)


def explained(
    a: Any, b: Any, runs: Iterable[Any], undefined: bool = False, overflow: bool = False
) -> bool:
    """Whether rounding explains how `b` differs from `a`.

    Parameters
    ----------
    a, b : ndarray
        Of one shape and dtype.
    runs : iterable of ndarray
        What `a` is where its operands are moved.
    undefined : bool
        Accept anything where `a` is NaN or infinite.
    overflow : bool
        Accept any NaN or infinity there.
    """
    if a.dtype.kind not in "fc":
        wrong = np.asarray(a != b)
        for run in runs:
            wrong = wrong & (run == a)
        return not wrong.any()
    info = np.finfo(a.dtype)
    with np.errstate(all="ignore"):
        spread = np.abs(a) * info.eps
        for run in runs:
            moved = np.abs(run - a)
            spread = np.fmax(spread, np.where(np.isfinite(moved), moved, 0))
        accepted = _close(a, b) | (np.abs(a - b) <= FACTOR * spread)
        accepted &= np.isfinite(b)
        lost = ~np.isfinite(a)
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (overflow & ~np.isfinite(b))
        return bool(np.where(lost, undefined | same, accepted).all())


class Rounding:
    """What rounding may make of the outputs of one Apply, or of a Variable; computed when asked.

    Parameters
    ----------
    outputs : sequence of Variable
    nodes : sequence of Apply
        What computes them, in order.
    values : mapping
        Of the Variables that `nodes` start from.
    """

    def __init__(
        self, outputs: Sequence[Variable], nodes: Sequence[Apply], values: Mapping[Variable, Any]
    ) -> None:
        self._outputs, self._nodes, self._values = outputs, nodes, values
        self._runs: list[list[Any]] | None = None

    @classmethod
    def of_apply(cls, node: Apply, inputs: Sequence[Any]) -> Rounding:
        """That of the outputs of `node` on `inputs`."""
        return cls(node.outputs, [node], dict(zip(node.inputs, inputs)))

    @classmethod
    def between(cls, old: Variable, new: Variable, values: Mapping[Variable, Any]) -> Rounding:
        """That of `old`, as it is computed from what `new` is computed from too."""
        common = set(ancestors([new])) & set(ancestors([old]))
        common.discard(old)
        common = {v for v in common if v in values}
        nodes = toposort([old], common)
        return cls([old], nodes, values)

    @property
    def may_overflow(self) -> bool:
        """Whether terms are added up, in whatever order: where they overflow, the sum is infinite
        or NaN."""
        return not any(isinstance(n.op, Elemwise) or _exact(n.op) for n in self._nodes)

    def runs(self, r: Variable) -> list[Any]:
        """Values of the output `r`, one for each time that all could be computed."""
        if self._runs is None:
            self._runs = []
            for seed in range(RUNS):
                try:
                    with np.errstate(all="ignore"):
                        self._runs.append(self._run(_Trial(seed)))
                except Exception:  # moved operands may be none that an Op takes
                    continue
        k = self._outputs.index(r)
        return [run[k] for run in self._runs]

    def _run(self, trial: _Trial) -> list[Any]:
        known: dict[Variable, Operand] = {}

        def operand(v: Variable) -> Operand:
            if v not in known:
                x = v.data if isinstance(v, Constant) else self._values[v]
                known[v] = (x if isinstance(v, Constant) else trial.moved(x), x)
            return known[v]

        for node in self._nodes:
            results = trial.apply(node, [operand(v) for v in node.inputs])
            known.update(zip(node.outputs, results))
        return [operand(v)[0] for v in self._outputs]


class _Trial:
    """One run: moves what it is given, at random from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.reaches = seed % 2 == 1
        """Whether what overflows is taken for the largest number."""

    def moved(self, x: Any) -> Any:
        """`x` with each number moved by a few units in its last place; zero and inf as they are."""
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fc":
            return x
        if x.dtype.kind == "c":
            both = np.empty_like(x)
            both.real, both.imag = self.moved(x.real), self.moved(x.imag)
            return both
        info = np.finfo(x.dtype)
        y = x + x * (self._steps(x.shape) * info.eps).astype(x.dtype)
        y = y + self._steps(x.shape).astype(x.dtype) * info.smallest_subnormal
        y = np.where(np.signbit(x) == np.signbit(y), y, x + self._least(x))
        return np.where(np.isfinite(x) & (x != 0), y, x).astype(x.dtype)

    def _steps(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(self.rng.integers(-2, 2, shape) * 2 + 1)  # -3, -1, 1 or 3

    def _least(self, x: np.ndarray) -> np.ndarray:
        """A few of the smallest steps there are, with the signs of `x`, be it zero."""
        steps = self._steps(x.shape).astype(x.dtype) * np.finfo(x.dtype).smallest_subnormal
        return np.asarray(np.copysign(steps, x))

    def rounded(self, name: str, x: Any, operands: Sequence[Any]) -> Any:
        """A result of the scalar operation `name`, moved; also where it under- or overflowed."""
        y = self.moved(x)
        if x.dtype.kind != "f":
            return y
        if name in UNDERFLOWS and not x.all():
            exact = np.zeros((), dtype=bool)
            for operand in operands:
                exact = exact | (np.asarray(operand) == 0)
            y = np.where((x == 0) & ~exact, self._least(x), y).astype(x.dtype)
        if self.reaches and np.isinf(x).any():
            y = np.where(np.isinf(x), np.copysign(np.finfo(x.dtype).max, x), y).astype(x.dtype)
        return y

    def scalar(self, op: Any, operands: Sequence[Operand]) -> Operand:
        """The result of one scalar operation."""
        values = [value for value, _ in operands]
        anchors = [anchor for _, anchor in operands]
        anchored = all(anchor is not None for anchor in anchors)
        firm = [v if a is None else a for v, a in operands]
        out = np.asarray(op.impl(*firm))
        narrows = isinstance(op, scalar.Cast) and out.dtype.itemsize < firm[0].dtype.itemsize
        if out.dtype.kind not in "fc" or op.name in JUMPS:
            return out, out if anchored else None
        if op.name in EXACT or (isinstance(op, scalar.Cast) and not narrows):
            return np.asarray(op.impl(*values)), out if anchored else None
        return self.rounded(op.name, np.asarray(op.impl(*values)), values), None

    def program(self, op: Any, operands: Sequence[Operand]) -> list[Operand]:
        """The results of a scalar operation or a program of them, in their full shape."""
        if isinstance(op, scalar.Composite):
            registers = list(operands)
            for step in op.instructions:
                registers.append(self.scalar(step.op, [registers[i] for i in step.inputs]))
            results = [registers[k] for k in op.outputs]
        else:
            results = [self.scalar(op, operands)]
        shape = np.broadcast_shapes(*[np.shape(v) for v, _ in operands])
        return [
            (np.array(np.broadcast_to(v, shape)), None if a is None else np.broadcast_to(a, shape))
            for v, a in results
        ]

    def apply(self, node: Apply, operands: Sequence[Operand]) -> list[Operand]:
        """The outputs of an Apply."""
        op = node.op
        if isinstance(op, Elemwise):
            return [
                (v.astype(r.type.dtype, copy=False), a)
                for r, (v, a) in zip(node.outputs, self.program(op.scalar_op, operands))
            ]
        if isinstance(op, FusedReduction):
            results = self.program(op.program, operands)
            return [
                x if r is None else self._computed(node, r.perform, [x], 1, _exact(r))[0]
                for r, x in zip(op.reductions, results)
            ]
        return self._computed(node, op.perform, operands, len(node.outputs), _exact(op))

    def _computed(
        self, node: Apply, perform: Callable[..., None], operands: Sequence[Operand], n_out: int,
        exact: bool,
    ) -> list[Operand]:  # fmt: skip
        def outputs(inputs: Sequence[Any]) -> list[Any]:
            cells: list[list[Any]] = [[None] for _ in range(n_out)]
            perform(node, [np.array(x) if isinstance(x, np.ndarray) else x for x in inputs], cells)
            return [cell[0] for cell in cells]

        anchored = all(anchor is not None for _, anchor in operands)
        results = outputs([value for value, _ in operands])
        if not exact:
            results = [self._inside(node.op, k, self.moved(x)) for k, x in enumerate(results)]
            if all(_floating(x) for x in results):
                return [(x, None) for x in results]
        firm = outputs([v if a is None else a for v, a in operands])
        found: list[Operand] = []
        for x, y in zip(results, firm):
            if not _floating(x):
                found.append((y, y if anchored else None))
            elif exact:
                found.append((x, y if anchored else None))
            else:
                found.append((x, None))
        return found

    def _inside(self, op: Any, k: int, x: Any) -> Any:
        """Output `k` of an Op, moved by what rounding may do to intermediates that nobody sees."""
        if not _floating(x) or x.size == 0:
            return x
        if isinstance(op, LogSoftmax) or (isinstance(op, CrossentropySoftmaxArgmax1Hot) and k == 0):
            size = 1.0  # the logarithm of a sum that is one, or more
        elif not type(op).__module__.startswith("kroton.tensor."):  # it may be anything
            size = float(np.abs(np.where(np.isfinite(x), x, 0)).max())
        else:
            return x
        return (x + self._steps(x.shape) * (size * np.finfo(x.dtype).eps)).astype(x.dtype)


def _floating(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind in "fc"


def _exact(op: Any) -> bool:
    """Whether the outputs of an Op have the digits of its inputs."""
    if isinstance(op, CAReduce):
        return op.scalar_op.name in EXACT
    return bool(op.view_map) or isinstance(op, MOVERS) or getattr(op, "set_instead_of_inc", False)
