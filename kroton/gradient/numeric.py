"""Gradients by finite differences, and the verification of symbolic ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.gradient.reverse import grad
from kroton.graph.evaluation import compiled
from kroton.tensor.type import TensorType

_STEPS = {"float64": 1e-6, "float32": 5e-3}
_TOLERANCES = {"float64": 1e-4, "float32": 1e-2}


class GradientError(Exception):
    """A symbolic gradient that disagrees with finite differences; carries all the figures."""

    def __init__(
        self,
        arg: int,
        err_pos: tuple[int, ...],
        shape: tuple[int, ...],
        val1: float,
        val2: float,
        abs_err: float,
        rel_err: float,
        abs_tol: float,
        rel_tol: float,
    ) -> None:
        super().__init__(arg, err_pos, shape, val1, val2, abs_err, rel_err, abs_tol, rel_tol)
        self.arg = arg
        self.err_pos = err_pos
        self.shape = shape
        self.val1 = val1
        self.val2 = val2
        self.abs_err = abs_err
        self.rel_err = rel_err
        self.abs_tol = abs_tol
        self.rel_tol = rel_tol

    def __str__(self) -> str:
        return (
            f"the gradient by argument {self.arg} (shape {self.shape}) is wrong, worst at index "
            f"{self.err_pos}:\n"
            f"  by finite differences {self.val1}\n"
            f"  by the symbolic gradient {self.val2}\n"
            f"  absolute error {self.abs_err}, tolerance {self.abs_tol}\n"
            f"  relative error {self.rel_err}, tolerance {self.rel_tol}"
        )


class numeric_grad:
    """The gradient of a function by central differences, in `gf`.

    Parameters
    ----------
    f : callable
        Takes arrays like `pt`, returns a number.
    pt : array or list of arrays
        The point, of float dtype.
    eps : float, optional
        Half the distance between the two evaluations: 1e-6 in float64 and 5e-3 in float32,
        near the cube root of the precision, where truncation and rounding balance.
    out_type : str, optional
        The dtype that `f` computes in, where it is less precise than the point.
    """

    def __init__(
        self, f: Callable[..., Any], pt: Any, eps: float | None = None, out_type: Any = None
    ) -> None:
        packed = not isinstance(pt, (list, tuple))
        points = [np.array(p, order="C") for p in ([pt] if packed else pt)]
        for k, p in enumerate(points):
            if p.dtype.name not in _STEPS:
                raise TypeError(
                    f"numeric_grad needs float32 or float64 points, argument {k} is {p.dtype}"
                )
        dtypes = [p.dtype.name for p in points] + ([] if out_type is None else [str(out_type)])
        if eps is None:
            eps = max(_STEPS.get(name, 0.0) for name in dtypes)
        gradients = [np.zeros_like(p) for p in points]
        for p, g in zip(points, gradients):
            flat, into = p.reshape(-1), g.reshape(-1)
            for i in range(flat.size):
                here = flat[i]
                flat[i] = here + eps
                above, high = np.asarray(f(*points), dtype="float64"), flat[i]
                flat[i] = here - eps
                below, low = np.asarray(f(*points), dtype="float64"), flat[i]
                flat[i] = here
                # the distance as it was rounded, not as it was meant
                into[i] = (above - below) / (np.float64(high) - np.float64(low))
        self.gf: Any = gradients[0] if packed else gradients

    @staticmethod
    def abs_rel_err(a: Any, b: Any) -> tuple[Any, Any]:
        """`|a - b|`, and that over `|a| + |b|`, elementwise."""
        a, b = np.asarray(a), np.asarray(b)
        abs_err = abs(a - b)
        return abs_err, abs_err / np.maximum(abs(a) + abs(b), 1e-8)

    def max_err(self, g_pt: Any, abs_tol: float, rel_tol: float) -> tuple[int, int, float, float]:
        """Where `g_pt` differs most from this gradient, relative to the tolerances.

        Returns
        -------
        arg, pos : int
            The argument and the position in it, flattened.
        abs_err, rel_err : float
            The errors there; infinite where one gradient is not finite and the other differs.
        """
        mine = self.gf if isinstance(self.gf, list) else [self.gf]
        others = list(g_pt) if isinstance(g_pt, (list, tuple)) else [g_pt]
        if len(mine) != len(others):
            raise ValueError(f"{len(others)} gradients were given for {len(mine)} arguments")
        worst = (0, 0, 0.0, 0.0)
        worst_ratio = -1.0
        for k, (a, b) in enumerate(zip(mine, others)):
            b = np.asarray(b)
            if a.shape != b.shape:
                raise ValueError(
                    f"the gradient by argument {k} has shape {b.shape}, the argument {a.shape}"
                )
            if a.size == 0:
                continue
            with np.errstate(all="ignore"):
                abs_err, rel_err = self.abs_rel_err(a, b)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            abs_err = np.where(same, 0.0, np.where(np.isfinite(abs_err), abs_err, np.inf))
            rel_err = np.where(same, 0.0, np.where(np.isfinite(rel_err), rel_err, np.inf))
            ratio = np.minimum(abs_err / abs_tol, rel_err / rel_tol)
            pos = int(np.argmax(ratio))
            if ratio.flat[pos] > worst_ratio:
                worst_ratio = float(ratio.flat[pos])
                worst = (k, pos, float(abs_err.flat[pos]), float(rel_err.flat[pos]))
        return worst


def verify_grad(
    fun: Callable[..., Any],
    pt: Sequence[Any],
    n_tests: int = 2,
    rng: Any = None,
    eps: float | None = None,
    out_type: Any = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
    mode: Any = None,
    cast_to_output_type: bool = False,
) -> None:
    """Check the symbolic gradient of `fun` against central differences at a point.

    The output is multiplied by random numbers and summed, and the gradient of that scalar is
    compared.

    Parameters
    ----------
    fun : callable
        Takes Variables, returns one Variable.
    pt : list of arrays
        The point, float32 or float64, one array for each argument of `fun`.
    n_tests : int
        How many random projections are tried.
    rng : numpy.random.Generator or RandomState, optional
        Where they come from; a generator with a fixed seed by default.
    eps : float, optional
        See `numeric_grad`.
    out_type : str, optional
        The dtype of the output, if it is less precise than the arguments.
    abs_tol, rel_tol : float, optional
        An element is wrong if it exceeds both: 1e-4 in float64, 1e-2 in float32 by default.
    mode : Mode or str, optional
        How the functions are compiled.
    cast_to_output_type : bool
        Cast the projected output to `out_type`.

    Raises
    ------
    GradientError
        If the gradients disagree.
    TypeError
        If the point is not of float arrays, or `fun` returns more than one Variable.
    """
    if rng is None:
        rng = np.random.default_rng(20240229)
    draw = rng.random if hasattr(rng, "random") else rng.random_sample
    points = [np.array(p) for p in pt]
    for k, p in enumerate(points):
        if p.dtype.name not in _STEPS:
            raise TypeError(
                f"verify_grad needs float32 or float64 points, argument {k} is {p.dtype}"
            )
    names = [p.dtype.name for p in points] + ([] if out_type is None else [str(out_type)])
    if abs_tol is None:
        abs_tol = max(_TOLERANCES.get(name, 0.0) for name in names)
    if rel_tol is None:
        rel_tol = max(_TOLERANCES.get(name, 0.0) for name in names)
    arguments = [
        TensorType(p.dtype.name, tuple(1 if e == 1 else None for e in p.shape))(f"input {k}")
        for k, p in enumerate(points)
    ]
    output = fun(*arguments)
    if isinstance(output, (list, tuple)):
        raise TypeError("verify_grad checks functions with one output")
    projection = TensorType(output.type.dtype, output.type.shape)("random projection")
    cost = T.sum(projection * output) if output.type.ndim else projection * output
    if cast_to_output_type and out_type is not None:
        cost = T.cast(cost, out_type)
    value = compiled(arguments, [output], mode)
    cost_of = compiled([*arguments, projection], [cost], mode)
    gradients = compiled(
        [*arguments, projection], grad(cost, arguments, disconnected_inputs="ignore"), mode
    )
    shape = np.shape(value(*points)[0])
    for _ in range(n_tests):
        weights = np.asarray(draw(shape) + 0.5, dtype=output.type.dtype)

        def scalar(*at: Any, weights: np.ndarray = weights) -> Any:
            return cost_of(*at, weights)[0]

        numeric = numeric_grad(scalar, points, eps, out_type)
        symbolic = gradients(*points, weights)
        arg, pos, abs_err, rel_err = numeric.max_err(symbolic, abs_tol, rel_tol)
        if abs_err > abs_tol and rel_err > rel_tol:
            raise GradientError(
                arg,
                tuple(int(i) for i in np.unravel_index(pos, points[arg].shape)),
                points[arg].shape,
                float(numeric.gf[arg].flat[pos]),
                float(np.asarray(symbolic[arg]).flat[pos]),
                abs_err,
                rel_err,
                abs_tol,
                rel_tol,
            )
