"""Evenly spaced numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.config import config
from kroton.graph.basic import Apply, Constant
from kroton.graph.nulltype import DisconnectedType
from kroton.graph.op import Op
from kroton.tensor.constant import as_tensor_variable, constant
from kroton.tensor.elemwise import cast
from kroton.tensor.shape import as_dtype, as_extent
from kroton.tensor.type import TensorType, complex_dtypes, discrete_dtypes, dtype_of

__all__ = ["ARange", "arange", "linspace"]


@dataclass(frozen=True, repr=False)
class ARange(Op):
    """The vector `start + k*step` for k = 0, 1, ... before `stop`, as `numpy.arange` has it.

    Integer inputs are cast to int64, others to the dtype that NumPy promotes theirs to.
    """

    dtype: str
    """The dtype of the result."""

    def make_node(self, start: Any, stop: Any, step: Any) -> Apply:
        if self.dtype == "bool":
            raise TypeError("arange: booleans cannot be counted up")
        inputs = [as_tensor_variable(v) for v in (start, stop, step)]
        for name, v in zip(("start", "stop", "step"), inputs):
            if v.type.ndim != 0 or v.type.dtype in complex_dtypes:
                raise TypeError(f"arange: {name} must be a real scalar, got {v} of type {v.type}")
        common = dtype_of(np.result_type(*(v.type.dtype for v in inputs)))
        common = "int64" if common in discrete_dtypes else common
        inputs = [as_dtype(v, common) for v in inputs]
        n = None
        if all(isinstance(v, Constant) for v in inputs):
            n = arange_length(*(v.data for v in inputs))
        elif isinstance(inputs[2], Constant) and inputs[2].data == 0:
            raise ValueError("arange: the step must not be zero")
        return Apply(self, inputs, [TensorType(self.dtype, (n,))()])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        arange_length(*inputs)
        start, stop, step = (v[()] for v in inputs)
        if self.dtype in discrete_dtypes and node.inputs[0].type.dtype in discrete_dtypes:
            # Counted in 64 bits and then cut to fewer, where NumPy refuses to count in fewer.
            output_storage[0][0] = np.arange(start, stop, step).astype(self.dtype)
        else:
            output_storage[0][0] = np.arange(start, stop, step, dtype=self.dtype)

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        (n,) = node.outputs[0].type.shape
        if n is not None:
            return [(n,)]
        start, stop, step = node.inputs
        span = stop
        if not (isinstance(start, Constant) and start.data == 0):
            span = T.sub(stop, start)
        if start.type.dtype == "int64":
            if not (isinstance(step, Constant) and step.data == 1):
                # The ceiling of a quotient is minus the floor of its negative.
                span = T.neg(T.int_div(T.neg(span), step))
            return [(T.maximum(span, 0),)]
        return [(cast(T.maximum(T.ceil(T.true_div(span, step)), 0), "int64"),)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True], [False], [True]]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        start, _, step = inputs
        (out,), (gz,) = outputs, output_gradients
        if start.type.dtype in discrete_dtypes or self.dtype in discrete_dtypes:
            zero = constant(0, dtype=config.floatX)
            return [
                T.zeros_like(start, dtype=zero.type.dtype if start.type.dtype == "int64" else None),
                DisconnectedType()(),
                T.zeros_like(step, dtype=zero.type.dtype if step.type.dtype == "int64" else None),
            ]
        position = cast(arange(T.shape_i(out, 0)), gz.type.dtype)
        return [
            cast(T.sum(gz), start.type.dtype),
            DisconnectedType()(),
            cast(T.sum(T.mul(gz, position)), step.type.dtype),
        ]

    def R_op(self, inputs: Sequence[Any], eval_points: Sequence[Any]) -> Sequence[Any]:
        start, _, step = eval_points
        if (start is None and step is None) or self.dtype in discrete_dtypes:
            return [None]
        start = T.zeros_like(inputs[0]) if start is None else start
        step = T.zeros_like(inputs[2]) if step is None else step
        n = T.shape_i(self(*inputs), 0)
        return [cast(T.add(start, T.mul(step, arange(n))), self.dtype)]

    def do_constant_folding(self, node: Apply) -> bool:
        (n,) = node.outputs[0].type.shape
        return n is not None and n <= 1024

    def __repr__(self) -> str:
        return f"ARange{{{self.dtype}}}"

    __str__ = __repr__


def arange_length(start: Any, stop: Any, step: Any) -> int:
    """The number of elements of `numpy.arange` on 0-d arrays of one dtype.

    Raises
    ------
    ValueError
        If the step is zero, or the quotient is no number.
    """
    start, stop, step = start[()], stop[()], step[()]
    if step == 0:
        raise ValueError("arange: the step must not be zero")
    with np.errstate(all="ignore"):
        span = stop - start
        n = float(span / step)
        if span != 0 and n == 0:
            return 0 if math.copysign(1.0, n) < 0 else 1
    if not math.isfinite(n) or n > 2**62:
        raise ValueError(f"arange: there is no vector from {start} to {stop} in steps of {step}")
    return max(math.ceil(n), 0)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """The vector `start, start + step, ...` before `stop`.

    Parameters
    ----------
    start : scalar
        0 if `stop` is not given; this is then the stop.
    stop, step : scalar
    dtype : str, optional
        By default what `numpy.arange` gives for the dtypes of the arguments (at least int64);
        but float32 under `config.floatX = 'float32'` if no argument is a float64 Variable.

    Raises
    ------
    TypeError
        If an argument is no real scalar.
    ValueError
        If the step is zero (at run time if not known before).
    """
    if stop is None:
        start, stop = 0, start
    arguments = (start, stop, step)
    if dtype is None:
        dtype = _default_dtype(arguments)
    name = dtype_of(dtype)
    # A Python float keeps its precision where the result has it.
    wide = "float64" if name in ("float64", "complex128") else None
    return ARange(name)(
        *(constant(a, dtype=wide) if type(a) is float else as_tensor_variable(a) for a in arguments)
    )


def _default_dtype(arguments: Sequence[Any]) -> str:
    kinds = [
        np.dtype(type(a))
        if type(a) in (bool, int, float)
        else as_tensor_variable(a).type.numpy_dtype
        for a in arguments
    ]
    found = dtype_of(np.result_type(np.int64, *kinds))
    explicit = any(k == np.float64 and type(a) is not float for k, a in zip(kinds, arguments))
    floats = any(k.kind == "f" for k in kinds)
    return "float32" if config.floatX == "float32" and floats and not explicit else found


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, which is left out unless `endpoint`.

    Parameters
    ----------
    start, stop : scalar
    num : int or integer scalar
    endpoint : bool
    dtype : str, optional
        `config.floatX`, or float64 if `start` or `stop` is a float64 Variable.
    """
    start, stop = as_tensor_variable(start), as_tensor_variable(stop)
    real = np.result_type(start.type.dtype, stop.type.dtype, config.floatX)
    name = dtype_of(real) if dtype is None else dtype_of(dtype)
    count = as_extent(num)
    wide = dtype_of(real)
    start, stop = as_dtype(start, wide), as_dtype(stop, wide)
    position = arange(count)
    gaps = T.maximum(T.sub(count, 1), 1) if endpoint else T.maximum(count, 1)
    step = T.true_div(T.sub(stop, start), cast(gaps, wide))
    spaced = T.add(T.mul(cast(position, wide), step), start)
    if endpoint:
        spaced = T.switch(T.eq(position, gaps), stop, spaced)
    return cast(spaced, name)
