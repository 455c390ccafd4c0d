"""Elemwise: a scalar operation on every element of broadcast arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kroton import scalar
from kroton.graph.basic import Apply, Variable
from kroton.graph.op import Op
from kroton.tensor.type import TensorType, continuous_dtypes

_WEAK = (int, float, complex)
_NAMES = {dtype: dtype.name for dtype in scalar.DTYPES}  # NumPy computes a name on each access


def broadcast_static(name: str, types: Sequence[TensorType]) -> tuple[int | None, ...]:
    """The static shape of an elementwise result.

    Dimensions align at the right. An extent of 1 stretches, an unknown one is taken to be what
    the others are.

    Raises
    ------
    ValueError
        If two known extents contradict each other.
    """
    ndim = max((len(t.shape) for t in types), default=0)
    shape: list[int | None] = []
    for d in range(-ndim, 0):
        extent: int | None = 1
        for t in types:
            if len(t.shape) < -d:
                continue
            e = t.shape[d]
            if e == 1:
                continue
            if e is None:
                extent = None if extent == 1 else extent
            elif extent is None or extent == 1:
                extent = e
            elif extent != e:
                raise ValueError(
                    f"{name} cannot broadcast shapes "
                    f"{', '.join(str(t.shape) for t in types)}: dimension {d} has "
                    f"{extent} and {e} elements"
                )
        shape.append(extent)
    return tuple(shape)


def broadcast_values(
    name: str, types: Sequence[TensorType], shapes: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """The shape of an elementwise result; only extents that are statically 1 stretch.

    Raises
    ------
    ValueError
        Naming the inputs and their shapes.
    """
    if not any(shapes):
        return ()
    ndim = max(len(s) for s in shapes)
    result = []
    for d in range(-ndim, 0):
        extent, who = 1, -1
        for k, (t, s) in enumerate(zip(types, shapes)):
            if len(s) < -d or t.shape[d] == 1:
                continue
            if who < 0:
                extent, who = s[d], k
            elif s[d] != extent:
                hint = ""
                if s[d] == 1 or extent == 1:
                    hint = (
                        "; an extent of 1 is stretched only where the type says so: "
                        "use unbroadcast's counterpart addbroadcast, or a row or col"
                    )
                raise ValueError(
                    f"{name}: input {k} of shape {s} has {s[d]} elements in dimension "
                    f"{d + len(s)}, but input {who} of shape {shapes[who]} has {extent} in "
                    f"dimension {d + len(shapes[who])}{hint}"
                )
        result.append(extent)
    return tuple(result)


@dataclass(frozen=True, repr=False)
class Elemwise(Op):
    """`scalar_op` applied to each element of its broadcast inputs.

    Inputs may have different numbers of dimensions, aligned at the right. An extent stretches
    only where it is statically 1. Inputs are cast to the dtypes of one loop of the scalar
    operation (NumPy 2's promotion, weak Python scalars).

    Parameters
    ----------
    scalar_op : kroton.scalar.ScalarOp
    inplace_pattern : tuple of (output, input)
        Which output overwrites which input; the input must have the output's type.
    """

    scalar_op: scalar.ScalarOp
    """What is done to each element."""
    inplace_pattern: tuple[tuple[int, int], ...] = ()
    """Pairs (output, input): the output is written over the input."""

    def __post_init__(self) -> None:
        if self.inplace_pattern:
            destroyed = {o: [i] for o, i in self.inplace_pattern}
            object.__setattr__(self, "destroy_map", destroyed)

    @property
    def name(self) -> str:
        """The name of the scalar operation."""
        return self.scalar_op.name

    def make_node(self, *inputs: Any) -> Apply:
        if len(inputs) != self.scalar_op.nin:
            raise TypeError(f"{self.name} takes {self.scalar_op.nin} inputs, got {len(inputs)}")
        from kroton.tensor.constant import as_tensor_variable, constant

        if isinstance(self.scalar_op, scalar.Composite):
            return self._make_composite(inputs)
        given: list[Any] = []
        kinds: list[Any] = []
        for x in inputs:
            if type(x) in _WEAK:
                given.append(x)
                kinds.append(type(x))
            else:
                v = as_tensor_variable(x)
                given.append(v)
                kinds.append(v.type.numpy_dtype)
        in_dtypes, out_dtype = self.scalar_op.resolve(*kinds)
        variables = []
        for x, dtype in zip(given, in_dtypes):
            if not isinstance(x, Variable):
                variables.append(constant(x, dtype=dtype))
            elif x.type.numpy_dtype != dtype:
                variables.append(cast(x, dtype.name))
            else:
                variables.append(x)
        shape = broadcast_static(self.name, [v.type for v in variables])
        return Apply(self, variables, [TensorType(_NAMES[out_dtype], shape)()])

    def _make_composite(self, inputs: Sequence[Any]) -> Apply:
        composite: Any = self.scalar_op
        shape = broadcast_static(self.name, [v.type for v in inputs])
        dtypes = [v.type.dtype for v in inputs] + [i.out_dtype for i in composite.instructions]
        return Apply(self, inputs, [TensorType(dtypes[r], shape)() for r in composite.outputs])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[list[Any]]) -> None:
        types = [v.type for v in node.inputs]
        shape = broadcast_values(self.name, types, [x.shape for x in inputs])
        with np.errstate(all="ignore"):
            results = self.scalar_op.impl(*inputs)
        if not isinstance(results, tuple):
            results = (results,)
        inplace = dict(self.inplace_pattern)
        for k, (value, storage) in enumerate(zip(results, output_storage)):
            dtype = node.outputs[k].type.numpy_dtype
            if k in inplace:
                target = inputs[inplace[k]]
                target[...] = value
                storage[0] = target
                continue
            value = np.asarray(value)
            if value.shape != shape:
                value = np.broadcast_to(value, shape)
            if value.dtype != dtype or not value.flags.owndata or not value.flags.writeable:
                value = np.array(value, dtype=dtype)
            storage[0] = value

    def infer_shape(self, node: Apply, input_shapes: Sequence[Any]) -> list[Any]:
        out = node.outputs[0].type
        ndim = len(out.shape)
        shape: list[Any] = []
        for d in range(-ndim, 0):
            chosen: Any = out.shape[d]
            if chosen is None:
                for v, s in zip(node.inputs, input_shapes):
                    if len(v.type.shape) >= -d and v.type.shape[d] != 1:
                        chosen = s[d]
                        break
            shape.append(chosen)
        return [tuple(shape)] * len(node.outputs)

    def connection_pattern(self, node: Apply) -> list[list[bool]] | None:
        if self.name in ("second", "switch"):
            return [[k > 0] for k in range(len(node.inputs))]
        return None

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        from kroton.tensor.elemwise_grad import elemwise_grad

        return elemwise_grad(self, inputs, outputs, output_gradients)

    def __repr__(self) -> str:
        if not self.inplace_pattern:
            return f"Elemwise{{{self.name}}}"
        return f"Elemwise{{{self.name}, inplace={dict(self.inplace_pattern)}}}"

    __str__ = __repr__


_casts: dict[str, Elemwise] = {}


def cast(x: Any, dtype: Any) -> Any:
    """`x` with each element converted to `dtype` ('floatX' stands for `config.floatX`).

    Float to integer truncates towards zero; anything to bool is `x != 0`. Complex to real is
    refused: take `real(x)` or `abs(x)`.

    Raises
    ------
    TypeError
        For complex to real, or a dtype that is not supported.
    """
    from kroton.tensor.constant import as_tensor_variable
    from kroton.tensor.type import dtype_of

    name = dtype_of(dtype)
    v = as_tensor_variable(x)
    if v.type.dtype == name:
        return v
    if v.type.dtype.startswith("complex") and not name.startswith("complex"):
        raise TypeError(f"cannot cast {v.type.dtype} to {name}: take real(x), imag(x) or abs(x)")
    op = _casts.get(name)
    if op is None:
        _casts[name] = op = Elemwise(scalar.Cast(name))
    return op(v)


def is_continuous(v: Variable) -> bool:
    """Whether the Variable's dtype is a float or complex one."""
    return v.type.dtype in continuous_dtypes
