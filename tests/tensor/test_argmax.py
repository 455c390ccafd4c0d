"""Positions of extremes."""

import numpy as np
import pytest

import kroton
import kroton.tensor as T
from kroton.graph.evaluation import interpret
from kroton.graph.nulltype import DisconnectedType


def evaluated(function, value):
    x = T.tensor(value.dtype.name, (None,) * value.ndim)
    output = function(x)
    (result,) = interpret([x], [output])(value)
    assert output.type.is_valid_value(result)
    return result


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_positions_are_numpys(axis, keepdims):
    x = np.random.default_rng(0).integers(0, 4, (3, 4, 2)).astype("float64")
    for ours, numpys in ((T.argmax, np.argmax), (T.argmin, np.argmin)):
        result = evaluated(lambda v, f=ours: f(v, axis=axis, keepdims=keepdims), x)
        np.testing.assert_array_equal(result, numpys(x, axis=axis, keepdims=keepdims))
        assert result.dtype == np.int64


def test_several_axes_count_as_one_in_c_order():
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    result = evaluated(lambda v: T.argmax(v, axis=(0, 2)), x)
    expected = np.argmax(x.transpose(1, 0, 2).reshape(4, 6), axis=1)
    np.testing.assert_array_equal(result, expected)


def test_the_first_nan_is_the_most_extreme():
    x = np.array([1.0, np.nan, 5.0, np.nan])
    assert evaluated(T.argmax, x) == 1
    assert evaluated(T.argmin, x) == 1


def test_the_first_of_equals_counts():
    assert evaluated(T.argmax, np.array([1, 3, 3])) == 1
    assert evaluated(T.argmin, np.array([3, 1, 1])) == 1


def test_the_position_in_a_scalar_is_zero():
    assert evaluated(T.argmax, np.array(3.0)) == 0


def test_a_position_in_nothing_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        evaluated(T.argmax, np.zeros((0, 2)))


def test_max_and_argmax_gives_both():
    x = T.matrix()
    top, where = T.max_and_argmax(x, axis=1, keepdims=True)
    assert top.type.shape == where.type.shape == (None, 1)
    value = np.array([[1.0, 4.0], [3.0, 2.0]])
    found = interpret([x], [top, where])(value)
    np.testing.assert_array_equal(found[0], [[4.0], [3.0]])
    np.testing.assert_array_equal(found[1], [[1], [0]])


def test_a_position_has_no_gradient():
    x = T.matrix()
    position = T.argmax(x, axis=1)
    assert position.owner.op.connection_pattern(position.owner) == [[False]]
    assert isinstance(position.owner.op.grad([x], [None])[0].type, DisconnectedType)
    with pytest.raises(kroton.gradient.DisconnectedInputError):
        kroton.grad(T.cast(position.sum(), "float64"), x)


def test_a_wrong_axis_is_named():
    with pytest.raises(ValueError, match="argmin: axis 3 is out of range"):
        T.argmin(T.matrix(), axis=3)
    with pytest.raises(ValueError, match="argmax: axis 0 is out of range for 0 dimensions"):
        T.argmax(T.scalar(), axis=0)
