"""What `TensorType.filter` takes from a user, and what it refuses."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.tensor.type import TensorType


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint64", -1),
        ("uint64", np.int64(-1)),
        ("uint64", np.array(-1)),
        ("int64", np.uint64(2**64 - 1)),
        ("int64", 2**63),
    ],
)
def test_an_integer_whose_sign_would_change_is_refused(dtype, value):
    with pytest.raises(TypeError, match="without losing value"):
        TensorType(dtype, ()).filter(value)
    with pytest.raises(TypeError, match="without losing value"):
        TensorType(dtype, (None,)).filter([value] if isinstance(value, int) else [int(value)])


@pytest.mark.parametrize("dtype", ["uint64", "int64", "uint8", "float32"])
def test_an_integer_that_fits_is_taken(dtype):
    for value in (7, np.uint64(7), np.array(7, "int64")):
        taken = TensorType(dtype, ()).filter(value)
        assert taken.dtype == dtype
        assert taken == 7
    assert TensorType("uint64", ()).filter(2**64 - 1) == 2**64 - 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_a_python_integer_beyond_64_bits_is_a_float_as_any_other_is(dtype):
    taken = TensorType(dtype, (None,)).filter([2**70, 1])
    assert taken.dtype == dtype
    np.testing.assert_array_equal(taken, [2.0**70, 1.0])
    with pytest.raises(TypeError, match=f"expected {dtype} values"):
        TensorType(dtype, ()).filter(2**2000)
    with pytest.raises(TypeError, match="expected int64 values"):
        TensorType("int64", ()).filter(2**70)


def test_a_mask_is_never_dropped_silently():
    masked = np.ma.masked_array([1.0, 2.0], mask=[True, False])
    x = T.dvector("x")
    for use in (
        lambda: T.constant(masked),
        lambda: T.as_tensor_variable(masked),
        lambda: x + masked,
        lambda: masked + x,
        lambda: T.set_subtensor(x[:2], masked),
        lambda: kroton.function([x], x)(masked),
        lambda: kroton.shared(np.ones(2)).set_value(masked),
    ):
        with pytest.raises(TypeError, match="masked arrays are not supported; fill them first"):
            use()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (3.7, "int8"),
        ([1.5], "int8"),
        (np.array([300]), "int8"),
        (np.array(-1), "uint8"),
        (np.float64(0.5), "bool"),
        ([1 + 2j], "float64"),
    ],
)
def test_a_constant_that_would_lose_value_is_refused(value, dtype):
    for make in (T.constant, T.as_tensor_variable):
        with pytest.raises(TypeError, match="cannot make a constant"):
            make(value, dtype=dtype)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(3.0, "int8"), ([1.0, 2.0], "int64"), (0.1, "float32"), (1, "bool"), (1 + 0j, "complex64")],
)
def test_a_constant_may_be_rounded_to_floats_and_have_another_dtype_of_the_same_value(value, dtype):
    assert T.constant(value, dtype=dtype).type.dtype == dtype


def test_a_constructor_takes_extents():
    assert T.vector("v", shape=(3,)).type.shape == (3,)
    assert T.vector("v", shape=(3,)).name == "v"
    assert T.fmatrix("m", shape=(None, 3)).type == T.TensorType("float32", (None, 3))
    assert T.row(shape=(1, 4)).type.shape == (1, 4)
    for make, shape in ((T.dvector, (2, 3)), (T.row, (2, 4)), (T.matrix, (3,))):
        with pytest.raises(ValueError, match="does not fit"):
            make("x", shape=shape)
