"""Dimensions reordered, dropped and inserted as NumPy does it, in one Op."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.graph.evaluation import interpret

A = np.arange(24.0).reshape(2, 3, 4)


def value(expression, *arguments):
    inputs, values = zip(*arguments)
    (result,) = interpret(inputs, [expression])(*values)
    expression.type.filter(result, strict=True)
    return result


@given(st.permutations(range(3)), st.lists(st.integers(0, 3), max_size=3))
def test_dimshuffle_permutes_and_inserts(order, places):
    pattern, expected = list(order), A.transpose(order)
    for k in places:
        pattern.insert(k, "x")
        expected = np.expand_dims(expected, k)
    x = T.dtensor3()
    np.testing.assert_array_equal(value(T.dimshuffle(x, pattern), (x, A)), expected)


@given(st.permutations(range(3)), st.permutations(range(4)))
def test_a_dimshuffle_of_a_dimshuffle_is_one_dimshuffle(first, second):
    x = T.dtensor3()
    z = x.dimshuffle(*first, "x").dimshuffle(*second)
    assert z.owner.inputs == [x]
    expected = A.transpose(first)[..., None].transpose(second)
    np.testing.assert_array_equal(value(z, (x, A)), expected)


def test_the_identity_is_the_variable_itself():
    x = T.dmatrix()
    assert x.dimshuffle(0, 1) is x
    assert x.T.T is x
    assert T.squeeze(T.shape_padleft(x, 2)) is x


def test_dropping_needs_a_static_one():
    with pytest.raises(ValueError, match="drops dimension 0, whose extent is not statically 1"):
        T.dimshuffle(T.dmatrix(), (1,))
    assert T.drow().dimshuffle(1).type.ndim == 1


@pytest.mark.parametrize(
    ("pattern", "error"),
    [((0, 0), ValueError), ((0, 2), ValueError), ((0, 1, "y"), ValueError), ((0, 0.5), TypeError)],
)
def test_a_pattern_that_makes_no_sense_is_refused(pattern, error):
    with pytest.raises(error, match="dimension"):
        T.dimshuffle(T.dmatrix(), pattern)


def test_an_op_for_other_dimensions_is_refused():
    op = T.DimShuffle((True, False), (1,))
    with pytest.raises(TypeError, match="2 dimensions"):
        op(T.dvector())
    with pytest.raises(TypeError, match="statically 1"):
        op(T.dmatrix())


def test_static_extents_follow_their_dimensions():
    x = T.tensor("float32", (2, None, 5))
    assert x.dimshuffle(2, "x", 0, 1).type.shape == (5, 1, 2, None)


def test_transpose_takes_axes_as_numpy():
    x = T.dtensor3()
    np.testing.assert_array_equal(value(x.T, (x, A)), A.T)
    np.testing.assert_array_equal(value(x.transpose(1, -1, 0), (x, A)), A.transpose(1, -1, 0))
    np.testing.assert_array_equal(value(x.transpose((2, 0, 1)), (x, A)), A.transpose(2, 0, 1))
    with pytest.raises(ValueError, match="no permutation"):
        x.transpose(0, 1, 1)


@given(st.integers(-3, 2), st.integers(-3, 2))
def test_swapaxes_and_moveaxis_agree_with_numpy(a, b):
    x = T.dtensor3()
    np.testing.assert_array_equal(value(x.swapaxes(a, b), (x, A)), A.swapaxes(a, b))
    np.testing.assert_array_equal(value(T.moveaxis(x, a, b), (x, A)), np.moveaxis(A, a, b))


def test_moveaxis_moves_several():
    x = T.dtensor3()
    moved = value(T.moveaxis(x, (0, 1), (-1, 0)), (x, A))
    np.testing.assert_array_equal(moved, np.moveaxis(A, (0, 1), (-1, 0)))
    with pytest.raises(ValueError, match="as many"):
        T.moveaxis(x, (0, 1), 0)
    with pytest.raises(ValueError, match="twice"):
        T.moveaxis(x, (0, -3), (0, 1))


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), (0, -1)])
def test_expand_dims_agrees_with_numpy(axis):
    x = T.dmatrix()
    np.testing.assert_array_equal(
        value(T.expand_dims(x, axis), (x, A[0])), np.expand_dims(A[0], axis)
    )


def test_squeeze_drops_what_is_statically_one():
    x = T.tensor("float64", (1, None, 1))
    assert T.squeeze(x).type.shape == (None,)
    assert T.squeeze(x, 0).type.shape == (None, 1)
    assert T.squeeze(x, (0, -1)).type.shape == (None,)


def test_squeeze_of_an_unknown_extent_is_checked_at_run_time():
    x = T.dmatrix()
    z = T.squeeze(x, 0)
    np.testing.assert_array_equal(value(z, (x, np.ones((1, 3)))), np.ones(3))
    with pytest.raises(ValueError, match=r"got shape \(2, 3\), expected shape \(1, \?\)"):
        value(z, (x, np.ones((2, 3))))
    with pytest.raises(ValueError, match="cannot squeeze"):
        T.squeeze(T.tensor("float64", (2, 3)), 0)


def test_padding_puts_ones_where_it_says():
    x = T.dmatrix()
    assert T.shape_padleft(x, 2).type.broadcastable == (True, True, False, False)
    assert T.shape_padright(x).type.broadcastable == (False, False, True)
    assert T.shape_padaxis(x, 1).type.broadcastable == (False, True, False)
    assert T.shape_padaxis(x, -1).type.broadcastable == (False, False, True)
    with pytest.raises(IndexError, match=r"out of range \[-3, 2\]"):
        T.shape_padaxis(x, 3)
