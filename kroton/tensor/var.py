"""TensorVariable: NumPy's operators and methods on symbolic tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import kroton.tensor as T
from kroton.graph.basic import Constant, Variable
from kroton.tensor.type import TensorType


class TensorOperators:
    """What a tensor Variable can do; each method is the function of the same name in `T`."""

    __slots__ = ()

    type: TensorType
    __array_priority__ = 1000
    __array_ufunc__ = None

    # ---- arithmetic

    def __neg__(self) -> Any:
        return T.neg(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return T.abs_(self)

    def __add__(self, other: Any) -> Any:
        return _binary(T.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _binary(T.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _binary(T.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _binary(T.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _binary(T.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _binary(T.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _binary(T.true_div, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _binary(T.true_div, other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _binary(T.int_div, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _binary(T.int_div, other, self)

    def __mod__(self, other: Any) -> Any:
        return _binary(T.mod, self, other)

    def __rmod__(self, other: Any) -> Any:
        return _binary(T.mod, other, self)

    def __divmod__(self, other: Any) -> Any:
        return T.divmod(self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return T.divmod(other, self)

    def __pow__(self, other: Any) -> Any:
        return _binary(T.pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return _binary(T.pow, other, self)

    def __matmul__(self, other: Any) -> Any:
        return _binary(T.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _binary(T.matmul, other, self)

    # ---- bits and comparisons (`==` and `!=` compare identity; use T.eq and T.neq)

    def __and__(self, other: Any) -> Any:
        return _binary(T.and_, self, other)

    def __rand__(self, other: Any) -> Any:
        return _binary(T.and_, other, self)

    def __or__(self, other: Any) -> Any:
        return _binary(T.or_, self, other)

    def __ror__(self, other: Any) -> Any:
        return _binary(T.or_, other, self)

    def __xor__(self, other: Any) -> Any:
        return _binary(T.xor, self, other)

    def __rxor__(self, other: Any) -> Any:
        return _binary(T.xor, other, self)

    def __lshift__(self, other: Any) -> Any:
        return _binary(T.left_shift, self, other)

    def __rlshift__(self, other: Any) -> Any:
        return _binary(T.left_shift, other, self)

    def __rshift__(self, other: Any) -> Any:
        return _binary(T.right_shift, self, other)

    def __rrshift__(self, other: Any) -> Any:
        return _binary(T.right_shift, other, self)

    def __invert__(self) -> Any:
        return T.invert(self)

    def __lt__(self, other: Any) -> Any:
        return _binary(T.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return _binary(T.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return _binary(T.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return _binary(T.ge, self, other)

    def __bool__(self) -> bool:
        raise TypeError(
            f"the truth of the symbolic variable {self} is not known while the graph is built; "
            "use T.switch, or & | ~ for elementwise logic"
        )

    def ceil(self) -> Any:
        """Round up."""
        return T.ceil(self)

    __ceil__ = ceil

    def floor(self) -> Any:
        """Round down."""
        return T.floor(self)

    __floor__ = floor

    def trunc(self) -> Any:
        """Round towards zero."""
        return T.trunc(self)

    __trunc__ = trunc

    def round(self, mode: str | None = None) -> Any:
        """Round to the nearest integer; see `T.round`."""
        return T.round(self, mode)

    def __round__(self, ndigits: int | None = None) -> Any:
        if ndigits:
            raise TypeError(
                f"round(x, {ndigits}): a symbolic variable is rounded to whole numbers only; "
                "scale it before and after"
            )
        return T.round(self)

    # ---- shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.type.ndim

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self.type.dtype

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """For each dimension, whether its extent is statically 1."""
        return self.type.broadcastable

    @property
    def shape(self) -> Any:
        """The shape, as an int64 vector."""
        return T.shape(self)

    @property
    def size(self) -> Any:
        """The number of elements, as an int64 scalar."""
        return T.size(self)

    @property
    def T(self) -> Any:
        """The transpose: dimensions in reverse order."""
        return T.transpose(self)

    @property
    def real(self) -> Any:
        """The real part."""
        return T.real(self)

    @property
    def imag(self) -> Any:
        """The imaginary part."""
        return T.imag(self)

    def __len__(self) -> int:
        n = self.type.shape[0] if self.type.shape else None
        if n is None:
            raise TypeError(
                f"the length of the symbolic variable {self} is not known while the graph is "
                "built; use .shape[0]"
            )
        return n

    def __iter__(self) -> Iterator[Any]:
        if not self.type.shape:
            raise TypeError("cannot iterate over a 0-d tensor")
        n = self.type.shape[0]
        if n is None:
            raise TypeError(
                f"cannot iterate over {self}: its first extent is not known while the graph is "
                "built; work on all of it at once (x * 2, x.sum()), or state the extent with "
                "T.specify_shape, or where the variable is made: T.tensor(dtype, shape=(3, None))"
            )
        return iter([self[k] for k in range(n)])

    def __contains__(self, item: Any) -> bool:
        raise TypeError("`in` needs values; use T.any(T.eq(x, item))")

    def __index__(self) -> int:
        raise TypeError(
            f"the symbolic variable {self} has no value to index with while the graph is built"
        )

    def __getitem__(self, index: Any) -> Any:
        return T.getitem(self, index)

    def reshape(self, *shape: Any, ndim: int | None = None) -> Any:
        """The same elements in another shape; see `T.reshape`."""
        if len(shape) == 1 and (
            isinstance(shape[0], (tuple, list, np.ndarray))
            or (isinstance(shape[0], Variable) and shape[0].type.ndim == 1)
        ):
            return T.reshape(self, shape[0], ndim=ndim)
        return T.reshape(self, shape, ndim=ndim)

    def dimshuffle(self, *pattern: Any) -> Any:
        """Dimensions reordered, dropped (extent 1) and inserted ('x'); see `T.dimshuffle`."""
        if len(pattern) == 1 and isinstance(pattern[0], (list, tuple)):
            pattern = tuple(pattern[0])
        return T.dimshuffle(self, pattern)

    def flatten(self, ndim: int = 1) -> Any:
        """The last dimensions merged into one, so that `ndim` remain."""
        return T.flatten(self, ndim)

    def ravel(self) -> Any:
        """All dimensions merged into one."""
        return T.flatten(self, 1)

    def transpose(self, *axes: Any) -> Any:
        """Dimensions permuted; see `T.transpose`."""
        if not axes:
            return T.transpose(self)
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (list, tuple))):
            return T.transpose(self, axes[0])
        return T.transpose(self, axes)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Two dimensions exchanged."""
        return T.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Any:
        """Without the dimensions whose extent is statically 1."""
        return T.squeeze(self, axis)

    def repeat(self, repeats: Any, axis: int | None = None) -> Any:
        """Each element repeated; see `T.repeat`."""
        return T.repeat(self, repeats, axis)

    def take(self, indices: Any, axis: int | None = None, mode: str = "raise") -> Any:
        """Elements along an axis; see `T.take`."""
        return T.take(self, indices, axis, mode)

    def fill(self, value: Any) -> Any:
        """A tensor of this shape filled with `value`."""
        return T.fill(self, value)

    def copy(self, name: str | None = None) -> Any:
        """The same value under another identity."""
        copied = T.tensor_copy(self)
        copied.name = name
        return copied

    def zeros_like(self, dtype: Any = None) -> Any:
        """Zeros of this shape."""
        return T.zeros_like(self, dtype)

    def ones_like(self, dtype: Any = None) -> Any:
        """Ones of this shape."""
        return T.ones_like(self, dtype)

    # ---- values

    def astype(self, dtype: Any) -> Any:
        """Each element converted to `dtype`; see `T.cast`."""
        return T.cast(self, dtype)

    def clip(self, a_min: Any, a_max: Any) -> Any:
        """Each element limited to the interval from `a_min` to `a_max`."""
        return T.clip(self, a_min, a_max)

    def conj(self) -> Any:
        """The complex conjugate."""
        return T.conj(self)

    conjugate = conj

    def nonzero(self, return_matrix: bool = False) -> Any:
        """The indices of the elements that are not zero; see `T.nonzero`."""
        return T.nonzero(self, return_matrix)

    def dot(self, right: Any) -> Any:
        """The matrix product; see `T.dot`."""
        return T.dot(self, right)

    def norm(self, L: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
        """The L-norm: `(abs(x)**L).sum(axis)**(1/L)`, the 2-norm by default; see `T.norm`."""
        return T.norm(self, L, axis, keepdims)

    def sum(
        self, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
    ) -> Any:
        """The sum over an axis; see `T.sum`."""
        return T.sum(self, axis=axis, dtype=dtype, keepdims=keepdims, acc_dtype=acc_dtype)

    def prod(
        self, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
    ) -> Any:
        """The product over an axis; see `T.prod`."""
        return T.prod(self, axis=axis, dtype=dtype, keepdims=keepdims, acc_dtype=acc_dtype)

    def mean(
        self, axis: Any = None, dtype: Any = None, keepdims: bool = False, acc_dtype: Any = None
    ) -> Any:
        """The mean over an axis; see `T.mean`."""
        return T.mean(self, axis=axis, dtype=dtype, keepdims=keepdims, acc_dtype=acc_dtype)

    def var(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """The variance over an axis; see `T.var`."""
        return T.var(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Any:
        """The standard deviation over an axis; see `T.std`."""
        return T.std(self, axis=axis, ddof=ddof, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest element along an axis."""
        return T.min(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest element along an axis."""
        return T.max(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The index of the smallest element along an axis."""
        return T.argmin(self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The index of the largest element along an axis."""
        return T.argmax(self, axis=axis, keepdims=keepdims)

    def ptp(self, axis: Any = None) -> Any:
        """The largest element minus the smallest, along an axis."""
        return T.ptp(self, axis)

    def cumsum(self, axis: int | None = None) -> Any:
        """The running sum along an axis, or of the flattened tensor."""
        return T.cumsum(self, axis)

    def cumprod(self, axis: int | None = None) -> Any:
        """The running product along an axis, or of the flattened tensor."""
        return T.cumprod(self, axis)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
        """A diagonal over two dimensions, as the last dimension; see `T.diagonal`."""
        return T.diagonal(self, offset, axis1, axis2)

    def nonzero_values(self) -> Any:
        """The elements that are not zero, as a vector."""
        return T.nonzero_values(self)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Whether all elements along an axis are true."""
        return T.all(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Whether some element along an axis is true."""
        return T.any(self, axis=axis, keepdims=keepdims)


def _elementwise(name: str) -> Any:
    def method(self: Any) -> Any:
        return getattr(T, name)(self)

    method.__name__ = name
    method.__qualname__ = f"TensorOperators.{name}"
    method.__doc__ = f"`T.{name}` of each element."
    return method


for _name in (
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cos", "cosh", "deg2rad", "exp",
    "exp2", "expm1", "log", "log10", "log1p", "log2", "rad2deg", "sin", "sinh", "sqrt", "tan",
    "tanh",
):  # fmt: skip
    setattr(TensorOperators, _name, _elementwise(_name))


def _binary(operation: Any, a: Any, b: Any) -> Any:
    """Apply, or let the other operand try if it is nothing a tensor can be made of."""
    other = b if isinstance(a, TensorOperators) else a
    if not isinstance(other, (TensorOperators, int, float, complex, np.ndarray, np.generic)):
        try:
            T.as_tensor_variable(other)
        except TypeError:
            return NotImplemented
    return operation(a, b)


class TensorVariable(TensorOperators, Variable):
    """A symbolic tensor."""

    __slots__ = ()
    __hash__ = Variable.__hash__


class TensorConstant(TensorOperators, Constant):
    """A tensor whose value is known. The value is read-only."""

    __slots__ = ()
    __hash__ = Variable.__hash__
    data: np.ndarray

    def __init__(self, type: TensorType, data: Any, name: str | None = None) -> None:
        super().__init__(type, data, name)
        if self.data.flags.writeable:
            self.data = self.data.copy() if self.data.base is not None else self.data
            self.data.flags.writeable = False

    def _make_signature(self) -> Any:
        return (self.type, self.data.shape, self.data.tobytes())

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
        if self.data.ndim == 0:
            return f"TensorConstant{{{self.data.item()!r}}}"
        if self.data.size and self.data.ndim and (self.data == self.data.flat[0]).all():
            return f"TensorConstant{{{self.data.shape} of {self.data.flat[0].item()!r}}}"
        text = np.array2string(self.data, threshold=6, edgeitems=2).replace("\n", "")
        return f"TensorConstant{{{text}}}"


TensorType.variable_type = TensorVariable
TensorType.constant_type = TensorConstant
