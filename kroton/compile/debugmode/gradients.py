"""Checking an Op's gradient on the values of one Apply (`check_gradients`).

The vector-Jacobian product is compared with differences of `perform` along directions of a few
elements each. Along many elements at once what is wrong drowns: the slope of random signs grows
like the square root of their number, what the curvature adds grows like the number itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton.compile.debugmode.checks import detached
from kroton.compile.debugmode.errors import BadGradient, report
from kroton.gradient.reverse import vector_jacobian_product
from kroton.graph.basic import Apply, Constant
from kroton.graph.evaluation import interpret
from kroton.graph.nulltype import DisconnectedType, NullType, disconnected_type
from kroton.tensor.type import TensorType

FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Precision:
    """What differences can tell."""

    eps: float
    """Of a value of the Apply."""
    steps: tuple[tuple[float, float], ...]
    """Pairs of steps, relative to the elements; those of a pair must agree."""
    tolerance: float
    """Relative to the slope."""
    floor: float
    """The smallest slope that counts."""


DOUBLE = Precision(2.3e-16, ((1e-5, 1e-6), (1e-7, 1e-8)), 1e-3, 1e-4)
SINGLE = Precision(1.2e-7, ((3e-3, 1e-3), (1e-3, 3e-4)), 5e-2, 1e-2)


def check_gradient(node: Apply, inputs: Sequence[Any]) -> None:
    """Compare `L_op` with central differences along directions of 1, 16 and 256 elements.

    What is real and floating-point is looked at: inputs that are, with a cotangent for the
    outputs that are. The elements of a direction are drawn with a fixed seed, and the step is
    each element's own. At a kink any slope between the two one-sided ones is right. Of an input
    for which `L_op` returns DisconnectedType, though `connection_pattern` does not say so, the
    gradient must be zero.

    Raises
    ------
    BadGradient
        If there is no gradient of the input's type and shape for each input, if `L_op` raises,
        or if a slope is off by more than a thousandth (single precision: a twentieth).
    """
    smooth = [_is_float(r) for r in node.outputs]
    wanted = [_is_float(v) for v in node.inputs]
    pattern = node.op.connection_pattern(node)
    cotangents = [
        r.type.make_variable() if yes else disconnected_type()
        for r, yes in zip(node.outputs, smooth)
    ]
    if not any(smooth) or not any(wanted):
        return
    alone = detached(node)  # a gradient may look beyond the inputs, at what they are made of
    try:
        gradients = vector_jacobian_product(alone, cotangents, wanted)
    except NotImplementedError:
        return
    except Exception as error:
        raise BadGradient(
            report(node, f"L_op of {node.op} gives no gradients: {error!r}", inputs)
        ) from error
    evaluation = _Evaluation(node, inputs, smooth)
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, r.shape) if r is not None else None for r in evaluation.here]
    given = {
        g: w.astype(r.type.dtype)
        for g, w, r in zip(cotangents, weights, node.outputs)
        if w is not None
    }
    for k, g in enumerate(gradients):
        if not wanted[k] or isinstance(g.type, NullType) or inputs[k].size == 0:
            continue
        reached = [yes and (pattern is None or bool(pattern[k][o])) for o, yes in enumerate(smooth)]
        if not any(reached):
            continue
        if isinstance(g.type, DisconnectedType):
            if isinstance(node.inputs[k], Constant):
                continue
            gradient = np.zeros(inputs[k].shape)
            says = "L_op gives DisconnectedType, that is the slope"
        else:
            known = dict(zip(alone.outputs, evaluation.values)) | given
            known |= dict(zip(alone.inputs, inputs))
            gradient = _value(node, inputs, k, g, known)
            says = "L_op gives the slope"
        chosen = [w if yes else None for w, yes in zip(weights, reached)]
        _compare(evaluation, k, gradient, chosen, says)


def _is_float(v: Any) -> bool:
    return isinstance(v.type, TensorType) and v.type.dtype in FLOATS


def _value(
    node: Apply, inputs: Sequence[Any], k: int, g: Any, known: Mapping[Any, Any]
) -> np.ndarray:
    """The value of the gradient `g` of input k; BadGradient if it has none, or another shape."""
    try:
        arguments = [x.copy() if isinstance(x, np.ndarray) else x for x in known.values()]
        with np.errstate(all="ignore"):
            (value,) = interpret(list(known), [g])(*arguments)
    except Exception as error:
        raise BadGradient(
            report(node, f"the gradient of {node.op} for input {k} has no value: {error!r}", inputs)
        ) from error
    if value.shape != inputs[k].shape:
        raise BadGradient(
            report(
                node,
                f"the gradient of {node.op} for input {k} has the shape {value.shape}, the input "
                f"has {inputs[k].shape}",
                inputs,
            )
        )
    gradient: np.ndarray = value.astype("float64")
    return gradient


class _Evaluation:
    """The outputs of `perform` near the inputs."""

    def __init__(self, node: Apply, inputs: Sequence[Any], smooth: Sequence[bool]) -> None:
        self.node, self.inputs, self.smooth = node, list(inputs), smooth
        self.values = self._run(self.inputs)
        self.here = self._floats(self.values)
        types = [v.type.dtype for v in (*node.inputs, *node.outputs) if _is_float(v)]
        self.precision = SINGLE if "float32" in types else DOUBLE

    def _run(self, point: Sequence[Any]) -> list[Any]:
        storage: list[list[Any]] = [[None] for _ in self.node.outputs]
        arguments = [x.copy() if isinstance(x, np.ndarray) else x for x in point]
        with np.errstate(all="ignore"):
            self.node.op.perform(self.node, arguments, storage)
        return [cell[0] for cell in storage]

    def _floats(self, values: Sequence[Any]) -> list[Any]:
        return [
            np.asarray(x, dtype="float64") if yes else None for x, yes in zip(values, self.smooth)
        ]

    def near(self, k: int, value: np.ndarray) -> list[Any] | None:
        """The floating-point outputs where input k is `value`; None where there are none."""
        point = list(self.inputs)
        point[k] = value
        try:
            return self._floats(self._run(point))
        except Exception:  # outside the domain
            return None


def _compare(
    evaluation: _Evaluation, k: int, gradient: np.ndarray, weights: Sequence[Any], says: str
) -> None:
    """Raise BadGradient for an element whose slope is certain not to be that of `gradient`."""
    x = evaluation.inputs[k]
    scale = np.maximum(1.0, np.abs(x.ravel().astype("float64")))
    rng = np.random.default_rng(k + 1)
    signs = rng.choice([-1.0, 1.0], x.size) * rng.uniform(0.5, 1, x.size) * scale
    slopes = gradient.ravel()

    def certain(elements: np.ndarray) -> float | None:
        direction = np.zeros(x.size)
        direction[elements] = signs[elements]
        terms = slopes[elements] * signs[elements]
        return _contradicted(evaluation, k, direction.reshape(x.shape), terms, weights)

    defined = np.flatnonzero(np.isfinite(slopes) & np.isfinite(x.ravel()))
    pending = list(_directions(defined, rng)) if defined.size else []
    while pending:
        elements = pending.pop()
        found = certain(elements)
        if found is None:
            continue
        if len(elements) > 1:
            # The slope of all is the sum of theirs, unless some meet in a kink of their own, as
            # the equal elements of a maximum do.
            half = len(elements) // 2
            pending += [elements[:half], elements[half:]]
            continue
        (e,) = elements
        index = tuple(int(i) for i in np.unravel_index(e, x.shape))
        raise BadGradient(
            report(
                evaluation.node,
                f"along element {index} of input {k}, {says} {slopes[e]:.6g}, finite differences "
                f"give {found / signs[e] + 0.0:.6g} (of the outputs' elements, weighted at random)",
                evaluation.inputs,
            )
        )


def _directions(elements: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Sets of elements, the last to be looked at first: the first, the last, some alone."""
    for count in (256, 16):
        for _ in range(4 if elements.size > count else 1):
            yield rng.choice(elements, min(elements.size, count), replace=False)
    for element in rng.choice(elements, min(elements.size, 6), replace=False):
        yield np.array([element])
    yield elements[-1:]
    yield elements[:1]


def _contradicted(
    evaluation: _Evaluation, k: int, direction: np.ndarray, terms: np.ndarray,
    weights: Sequence[Any],
) -> float | None:  # fmt: skip
    """The slope along `direction`, where it is certain not to be the sum of `terms`.

    Two steps must agree about what it is: they do not where the function turns within a step, or
    where it is computed with a larger error than its last bits tell.
    """
    precision = evaluation.precision
    slope = float(terms.sum())
    rounding = precision.eps * float(np.abs(terms).sum())
    certain = None
    for steps in precision.steps:
        others = []
        for step in steps:
            difference = _difference(evaluation, k, direction, step, weights)
            if difference is None:
                continue
            size = max(abs(slope), abs(difference.slope), precision.floor)
            allowed = precision.tolerance * size + rounding
            distance = abs(difference.slope - slope)
            if distance <= allowed and difference.noise <= allowed:
                return None
            if distance > allowed + difference.gap + difference.noise:
                others.append(difference.slope)
        if len(others) == 2 and abs(others[0] - others[1]) < abs(others[1] - slope) / 2:
            certain = others[1]
    return certain


@dataclass(frozen=True)
class _Difference:
    """A central difference along a direction."""

    slope: float
    gap: float
    """How far the slopes ahead and behind are apart."""
    noise: float
    """What rounding may have added."""


def _difference(
    evaluation: _Evaluation, k: int, direction: np.ndarray, step: float, weights: Sequence[Any]
) -> _Difference | None:
    """The slope of the weighted outputs; None where a value is undefined, or nothing moves."""
    x = evaluation.inputs[k]
    offset = step * direction
    points = (x + offset).astype(x.dtype), (x - offset).astype(x.dtype)
    if np.any((points[0] == points[1]) & (direction != 0)):
        return None
    ahead, behind = (evaluation.near(k, point) for point in points)
    if ahead is None or behind is None:
        return None
    slope = gap = noise = 0.0
    for w, a, h, b in zip(weights, ahead, evaluation.here, behind):
        if w is None:
            continue
        if not a.shape == h.shape == b.shape:
            return None
        with np.errstate(all="ignore"):
            moved = (a != h) | (b != h)
            w, a, h, b = w[moved], a[moved], h[moved], b[moved]
            slope += float((w * (a - b)).sum()) / (2 * step)
            # Term by term, since those of many elements may cancel.
            gap += float((w * np.abs((a - h) - (h - b))).sum()) / step
            noise += 4 * evaluation.precision.eps * float((w * np.abs(h)).sum()) / step
    if not np.isfinite([slope, gap, noise]).all():
        return None
    return _Difference(slope, gap, noise)
