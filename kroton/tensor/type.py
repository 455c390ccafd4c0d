"""TensorType: arrays of one dtype and one number of dimensions, with what is known of the shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kroton.config import config
from kroton.graph.basic import Variable
from kroton.graph.type import Type

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float32", "float64", "complex64", "complex128",
)  # fmt: skip

float_dtypes = ("float32", "float64")
complex_dtypes = ("complex64", "complex128")
continuous_dtypes = float_dtypes + complex_dtypes
discrete_dtypes = tuple(d for d in DTYPES if d not in continuous_dtypes)
integer_dtypes = discrete_dtypes[1:]

Shape = tuple[int | None, ...]

_interned: dict[tuple[str, Shape], TensorType] = {}


class TensorType(Type):
    """Arrays of `dtype` with `len(shape)` dimensions.

    Parameters
    ----------
    dtype : str or numpy.dtype
        bool, (u)int8 to (u)int64, float32, float64, complex64 or complex128; `'floatX'`
        stands for `config.floatX`.
    shape : sequence of int, None or bool
        The extent of each dimension, None where it is not known. As in the lineage, a sequence
        of booleans is a broadcast pattern: True is extent 1, False an unknown one.
    name : str, optional
        Shown by `str`.

    Raises
    ------
    TypeError
        For a dtype or an extent that is none of these.

    Examples
    --------
    >>> TensorType("float64", (None, 1)).broadcastable
    (False, True)
    """

    __slots__ = ("_hash", "broadcastable", "dtype", "name", "numpy_dtype", "shape")

    dtype: str
    shape: Shape
    broadcastable: tuple[bool, ...]
    numpy_dtype: np.dtype[Any]
    name: str | None
    _hash: int

    def __new__(
        cls, dtype: Any, shape: Sequence[int | bool | None] | None = None, name: str | None = None,
        broadcastable: Sequence[bool] | None = None,
    ) -> TensorType:  # fmt: skip
        if shape is None:
            shape = broadcastable
        if shape is None:
            raise TypeError("TensorType needs a shape (or a broadcast pattern)")
        dtype_name = dtype if isinstance(dtype, str) and dtype in DTYPES else dtype_of(dtype)
        extents = tuple(map(_extent, shape))
        known = _interned.get((dtype_name, extents)) if name is None and cls is TensorType else None
        if known is not None:
            return known
        self = super().__new__(cls)
        self.dtype = dtype_name
        self.shape = extents
        self.broadcastable = tuple(e == 1 for e in extents)
        self.numpy_dtype = np.dtype(dtype_name)
        self.name = name
        self._hash = hash((cls, dtype_name, extents))
        if name is None and cls is TensorType and len(_interned) < 10_000:
            _interned[dtype_name, extents] = self
        return self

    def __reduce__(self) -> Any:
        return (type(self), (self.dtype, self.shape, self.name))

    def __copy__(self) -> TensorType:
        return self

    def __deepcopy__(self, memo: Any) -> TensorType:
        return self

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def clone(self, dtype: Any = None, shape: Any = None, broadcastable: Any = None) -> TensorType:
        """The same type with another dtype or shape."""
        if shape is None:
            shape = self.shape if broadcastable is None else broadcastable
        return TensorType(self.dtype if dtype is None else dtype, shape)

    def __call__(self, name: str | None = None, shape: Sequence[Any] | None = None) -> Any:
        """A new Variable of this type, or, with `shape`, of one with these extents.

        Raises
        ------
        ValueError
            If `shape` contradicts what is known of this type's.
        """
        if shape is None:
            return self.make_variable(name)
        extents = tuple(map(_extent, shape))
        if len(extents) != len(self.shape) or any(
            known not in (None, e) for known, e in zip(self.shape, extents)
        ):
            raise ValueError(f"shape {tuple(shape)} does not fit {self}")
        return TensorType(self.dtype, extents).make_variable(name)

    # ---- values ------------------------------------------------------------------------

    def filter(
        self, data: Any, strict: bool = False, allow_downcast: bool | None = None
    ) -> np.ndarray:
        """Return `data` as an aligned array of this type in native byte order.

        Conversions that keep every value are made (int32 to float64, a list, a Python number);
        those that may lose are refused unless `allow_downcast`, except that Python floats may
        become float32, rounded, if they are within its range. An array that fits is returned as
        it is, without a copy.

        Raises
        ------
        TypeError
            If dtype, number of dimensions or a known extent do not fit.
        """
        if type(data) is np.ndarray and data.dtype.num == self.numpy_dtype.num:
            array = data
        elif strict:
            found = f"{data.dtype} array" if isinstance(data, np.ndarray) else type(data).__name__
            raise TypeError(f"expected a {self.dtype} array of {self._extents()}, got a {found}")
        else:
            array = self._convert(data, allow_downcast)
        if array.ndim != len(self.shape):
            raise TypeError(
                f"expected {self._extents()} ({len(self.shape)} dimensions), "
                f"got {array.ndim} dimensions of shape {array.shape}"
            )
        for d, extent in enumerate(self.shape):
            if extent is not None and array.shape[d] != extent:
                raise TypeError(
                    f"expected {self._extents()}, got shape {array.shape}: "
                    f"dimension {d} has {array.shape[d]} elements instead of {extent}"
                )
        if not (array.flags.aligned and array.dtype.isnative):
            if strict:
                raise TypeError("expected an aligned array in native byte order")
            array = np.array(array, dtype=self.numpy_dtype)
        return array

    def _extents(self) -> str:
        inside = ", ".join("?" if e is None else str(e) for e in self.shape)
        return f"shape ({inside}{',' if len(self.shape) == 1 else ''})"

    def _convert(self, data: Any, allow_downcast: bool | None) -> np.ndarray:
        if isinstance(data, Variable):
            raise TypeError(
                f"expected a value, got the symbolic variable {data}; "
                "a graph takes variables when it is built, a compiled function takes arrays"
            )
        if isinstance(data, np.ma.MaskedArray):
            raise TypeError("masked arrays are not supported; fill them first")
        weak = not hasattr(data, "dtype")
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise TypeError(f"cannot make an array of {type(data).__name__}: {error}") from None
        if array.dtype.kind == "O" and weak and self.numpy_dtype.kind in "fc":
            array = _from_large_integers(array)
        if array.dtype.kind not in "biufc":
            raise TypeError(
                f"expected {self.dtype} values, got {_described(data)} of dtype {array.dtype}"
            )
        wanted = self.numpy_dtype
        if array.dtype == wanted:
            return array.view(wanted) if array.dtype.num != wanted.num else array
        if array.size == 0 and weak:
            return array.astype(wanted)
        if np.can_cast(array.dtype, wanted, "safe") or allow_downcast:
            return array.astype(wanted)
        if (weak or array.ndim == 0) and array.dtype.kind in "iu" and wanted.kind in "iufc":
            with np.errstate(all="ignore"):
                converted = array.astype(wanted)
            if np.array_equal(converted.astype(array.dtype), array) and np.array_equal(
                converted < 0, array < 0
            ):
                return converted
        elif (
            weak and allow_downcast is None and array.dtype.kind + wanted.kind in ("ff", "fc", "cc")
        ):
            with np.errstate(over="ignore"):
                converted = array.astype(wanted)
            if np.array_equal(np.isfinite(converted), np.isfinite(array)):
                return converted
        raise TypeError(
            f"expected {self.dtype} values, got {_described(data)} of dtype {array.dtype}, "
            "which cannot be converted without losing value; cast it yourself, "
            "or allow it with allow_downcast=True (allow_input_downcast=True for a whole function)"
        )

    def values_eq(self, a: Any, b: Any) -> bool:
        """Whether two arrays have the same dtype, shape and values; NaN equals NaN."""
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))

    def values_eq_approx(
        self, a: Any, b: Any, allow_remove_inf: bool = False, allow_remove_nan: bool = False,
        rtol: float | None = None, atol: float | None = None,
    ) -> bool:  # fmt: skip
        """Whether two arrays agree up to what rewriting may change by rounding.

        Parameters
        ----------
        a, b : array_like
        allow_remove_inf, allow_remove_nan : bool
            Accept any value of `b` where `a` is infinite or NaN (stabilization removes those).
        rtol, atol : float, optional
            By default 1e-8 and 1e-8 for float64, 1e-4 and 1e-5 for float32.
        """
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype.kind not in "fc":
            return bool(np.array_equal(a, b))
        single = a.dtype in (np.dtype("float32"), np.dtype("complex64"))
        rtol = (1e-4 if single else 1e-8) if rtol is None else rtol
        atol = (1e-5 if single else 1e-8) if atol is None else atol
        with np.errstate(all="ignore"):
            close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
        if allow_remove_inf:
            close |= np.isinf(a)
        if allow_remove_nan:
            close |= np.isnan(a)
        return bool(close.all())

    def may_share_memory(self, a: Any, b: Any) -> bool:
        """Whether two arrays have an element in common."""
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        try:
            return bool(np.shares_memory(a, b, max_work=100_000))  # type: ignore[arg-type]
        except np.exceptions.TooHardError:
            return bool(np.may_share_memory(a, b))

    # ---- relations between types -------------------------------------------------------

    def is_super(self, other: Type) -> bool:
        return (
            isinstance(other, TensorType)
            and self.dtype == other.dtype
            and len(self.shape) == len(other.shape)
            and all(s is None or s == o for s, o in zip(self.shape, other.shape))
        )

    def in_same_class(self, other: Type) -> bool:
        return self is other or self.is_super(other)

    def convert_variable(self, var: Variable) -> Variable | None:
        if self.is_super(var.type):
            return var
        if (
            isinstance(var.type, TensorType)
            and self.dtype == var.type.dtype
            and len(self.shape) == len(var.type.shape)
            and all(s is None or o is None or s == o for s, o in zip(self.shape, var.type.shape))
        ):
            import kroton.tensor as T

            converted: Variable = T.specify_shape(var, self.shape)
            return converted
        return None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and self.dtype == other.dtype and self.shape == other.shape

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self.name is not None:
            return self.name
        known = {
            (): "scalar", (None,): "vector", (1, None): "row", (None, 1): "col",
            (None, None): "matrix",
        }.get(self.shape)  # fmt: skip
        if known is not None:
            return f"TensorType({self.dtype}, {known})"
        inside = ", ".join("?" if e is None else str(e) for e in self.shape)
        return f"TensorType({self.dtype}, ({inside}{',' if len(self.shape) == 1 else ''}))"


def _from_large_integers(array: np.ndarray) -> np.ndarray:
    """Python ints, of which one is beyond 64 bits, as float64; anything else as it came."""
    if all(type(item) is int for item in array.flat):
        try:
            return array.astype(np.float64)
        except OverflowError:
            pass
    return array


def _described(data: Any) -> str:
    if isinstance(data, np.ndarray):
        return f"an array of shape {data.shape}"
    text = repr(data)
    if len(text) > 40:
        text = text[:37] + "..."
    return f"{type(data).__name__} {text}"


def _extent(e: Any) -> int | None:
    if e is None:
        return None
    if e is True or e is np.True_:
        return 1
    if e is False or e is np.False_:
        return None
    try:
        n = e.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"an extent is an int, None or a bool, got {e!r}") from None
    if n < 0:
        raise TypeError(f"an extent cannot be negative, got {n}")
    return int(n)


def dtype_of(dtype: Any) -> str:
    """The name of a supported dtype.

    Raises
    ------
    TypeError
        For a dtype that is not supported (float16, longdouble, object, strings, ...).
    """
    if isinstance(dtype, str):
        if dtype == "floatX":
            return str(config.floatX)
        if dtype in DTYPES:
            return dtype
    try:
        name = str(np.dtype(dtype).newbyteorder("=").name)
    except TypeError:
        raise TypeError(f"{dtype!r} is not a dtype; use one of {', '.join(DTYPES)}") from None
    if name not in DTYPES:
        raise TypeError(f"dtype {name} is not supported; use one of {', '.join(DTYPES)}")
    return name
