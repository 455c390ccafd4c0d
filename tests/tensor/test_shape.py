"""Shapes as values, statements about shapes, and reshaping."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton.tensor as T
from kroton.graph.basic import Constant
from kroton.graph.evaluation import interpret
from kroton.tensor.reshape import static_target

A = np.arange(24.0).reshape(2, 3, 4)


def value(expression, *arguments):
    inputs, values = zip(*arguments) if arguments else ((), ())
    (result,) = interpret(inputs, [expression])(*values)
    expression.type.filter(result, strict=True)
    return result


# ---- shapes


def test_the_shape_is_a_constant_exactly_if_all_extents_are_known():
    known, partly = T.tensor("float32", (2, 3)), T.tensor("float32", (2, None))
    assert isinstance(known.shape, Constant)
    assert known.shape.data.tolist() == [2, 3]
    assert not isinstance(partly.shape, Constant)
    assert isinstance(T.shape_i(partly, 0), Constant)
    np.testing.assert_array_equal(value(partly.shape, (partly, np.ones((2, 5), "f4"))), [2, 5])
    assert T.dscalar().shape.type.shape == (0,)


def test_extents_count_from_the_end_too():
    x = T.dtensor3()
    assert value(T.shape_i(x, -1), (x, A)) == 4
    with pytest.raises(ValueError, match="no dimension 3"):
        T.shape_i(x, 3)
    with pytest.raises(TypeError, match="no dimension 3"):
        T.Shape_i(3)(x)


def test_size_is_the_product_of_the_extents():
    x = T.dtensor3()
    assert value(x.size, (x, A)) == 24
    assert T.tensor("int8", (2, 3)).size.data == 6
    assert T.dscalar().size.data == 1
    assert T.tensor("int8", (0, None)).size.data == 0


def test_make_vector_promotes_as_numpy():
    a, b = T.iscalar(), T.fscalar()
    v = T.make_vector(a, b)
    assert v.type == T.TensorType("float64", (2,))
    np.testing.assert_array_equal(value(v, (a, np.int32(1)), (b, np.float32(2.5))), [1, 2.5])
    assert isinstance(T.make_vector(1, 2), Constant)
    assert T.make_vector().type == T.TensorType("int64", (0,))


def test_make_vector_refuses_what_does_not_fit():
    with pytest.raises(TypeError, match="does not fit into dtype int64"):
        T.MakeVector("int64")(T.dscalar())
    with pytest.raises(TypeError, match="must be a scalar"):
        T.MakeVector("float64")(T.dvector())


def test_a_shape_is_read_from_everything_that_is_one():
    n, v = T.iscalar(), T.tensor("int16", (2,))
    assert [e.type.dtype for e in T.as_extents((n, 3))] == ["int64", "int64"]
    assert len(T.as_extents(v)) == 2
    assert len(T.as_extents(n)) == 1
    assert [e.data for e in T.as_extents(np.array([4, 5]))] == [4, 5]
    assert T.as_extents(()) == T.as_extents([]) == T.as_extents(np.array([])) == []
    x = T.dmatrix()
    assert [type(e.owner.op) for e in T.as_extents(x.shape)] == [T.Shape_i, T.Shape_i]


@pytest.mark.parametrize("shape", [2.5, (2, 0.5), T.dscalar(), T.lmatrix(), (T.lvector(),), True])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(TypeError, match=r"extent|shape"):
        T.as_extents(shape)


def test_a_shape_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="length is not statically known"):
        T.as_extents(T.lvector())


# ---- statements about shapes


def test_specify_shape_puts_extents_into_the_type():
    x = T.dmatrix()
    z = T.specify_shape(x, (2, None))
    assert z.type.shape == (2, None)
    assert T.specify_shape(z, (2, None)) is z
    assert T.specify_shape(z, (None, 3)).type.shape == (2, 3)
    np.testing.assert_array_equal(value(z, (x, A[:, 0])), A[:, 0])


def test_a_wrong_specification_names_both_shapes():
    x = T.dmatrix()
    z = T.specify_shape(x, (2, None))
    with pytest.raises(ValueError, match=r"got shape \(3, 4\), expected shape \(2, \?\)"):
        value(z, (x, A[0]))
    with pytest.raises(ValueError, match="cannot have 3 elements"):
        T.specify_shape(z, (3, None))
    with pytest.raises(ValueError, match="2 dimensions"):
        T.specify_shape(x, (2, 3, 4))
    with pytest.raises(ValueError, match="2 dimensions"):
        T.SpecifyShape((2,))(x)


def test_symbolic_extents_are_checked_at_run_time():
    x, n, v = T.dmatrix(), T.lscalar(), T.lvector()
    z = T.specify_shape(x, (n, 4))
    assert z.type.shape == (None, 4)
    np.testing.assert_array_equal(value(z, (x, A[0]), (n, np.array(3))), A[0])
    with pytest.raises(ValueError, match=r"got shape \(3, 4\), expected 2 elements in dimension 0"):
        value(z, (x, A[0]), (n, np.array(2)))
    z = T.specify_shape(x, v)
    np.testing.assert_array_equal(value(z, (x, A[0]), (v, np.array([3, 4]))), A[0])
    with pytest.raises(ValueError, match="expected 5 elements in dimension 1"):
        value(z, (x, A[0]), (v, np.array([3, 5])))
    with pytest.raises(ValueError, match=r"expected shape \(2,\)"):
        value(z, (x, A[0]), (v, np.array([3, 4, 1])))


def test_a_variable_converts_to_a_more_specific_type():
    x = T.dmatrix()
    assert T.TensorType("float64", (2, None)).filter_variable(x).type.shape == (2, None)


def test_broadcasting_is_forgotten_and_stated():
    x = T.drow()
    forgotten = T.unbroadcast(x, 0)
    assert forgotten.type.broadcastable == (False, False)
    assert T.unbroadcast(forgotten, 0, 1) is forgotten
    assert T.addbroadcast(x, 0) is x
    stated = T.addbroadcast(T.dmatrix(), -1)
    assert stated.type.broadcastable == (False, True)
    assert T.patternbroadcast(x, (False, True)).type.broadcastable == (False, True)
    assert T.patternbroadcast(x, (True, False)) is x
    with pytest.raises(ValueError, match="no dimension 2"):
        T.unbroadcast(x, 2)
    with pytest.raises(ValueError, match="broadcast pattern"):
        T.patternbroadcast(x, (True,))


def test_a_stated_broadcast_is_checked():
    x = T.dmatrix()
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        value(T.addbroadcast(x, 0), (x, np.ones((2, 3))))


def test_a_copy_is_another_array_of_equal_value():
    x = T.dmatrix()
    copied = value(x.copy("y"), (x, A[0]))
    np.testing.assert_array_equal(copied, A[0])
    assert not np.shares_memory(copied, A)


# ---- reshape


@pytest.mark.parametrize("target", [(6, 4), (-1,), (4, -1, 2), (2, 3, 4), (24, 1, 1)])
def test_reshape_to_numbers_agrees_with_numpy(target):
    x = T.dtensor3()
    np.testing.assert_array_equal(value(x.reshape(target), (x, A)), A.reshape(target))
    np.testing.assert_array_equal(value(x.reshape(*target), (x, A)), A.reshape(target))


def test_reshape_takes_scalars_and_vectors():
    x, n, v = T.dtensor3(), T.iscalar(), T.ivector()
    np.testing.assert_array_equal(
        value(x.reshape((n, -1)), (x, A), (n, np.int32(3))), A.reshape(3, 8)
    )
    np.testing.assert_array_equal(
        value(x.reshape(v, ndim=2), (x, A), (v, np.array([8, 3], "int32"))), A.reshape(8, 3)
    )
    assert x.reshape((x.shape[0], x.shape[1] * x.shape[2])).type.ndim == 2
    assert T.reshape(T.dscalar(), ()).type.ndim == 0
    assert T.reshape(T.dvector(), -1).type.ndim == 1


def test_reshape_needs_the_number_of_dimensions():
    with pytest.raises(ValueError, match="reshape needs ndim="):
        T.dvector().reshape(T.lvector())
    with pytest.raises(ValueError, match="cannot have ndim=3"):
        T.dvector().reshape((2, 3), ndim=3)
    with pytest.raises(TypeError, match="integer"):
        T.dvector().reshape(T.dvector(), ndim=1)
    with pytest.raises(TypeError, match="integer"):
        T.dvector().reshape((2.5,))


def test_the_static_shape_of_a_reshape_is_what_can_be_known():
    x, n = T.tensor("float64", (4, 6)), T.lscalar()
    assert x.reshape((3, -1)).type.shape == (3, 8)
    assert x.reshape((3, n)).type.shape == (3, 8)
    assert x.reshape((n, -1)).type.shape == (None, None)
    assert T.dmatrix().reshape((1, -1)).type.broadcastable == (True, False)
    assert T.dmatrix().reshape(T.tensor("int8", (3, 5)).shape).type.shape == (3, 5)


@given(
    st.lists(st.integers(0, 4), max_size=3),
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 6, 8]), max_size=3),
)
def test_the_static_shape_is_numpys_wherever_numpy_has_one(source, target):
    try:
        expected = np.zeros(source).reshape(target).shape
    except ValueError:
        with pytest.raises(ValueError, match="shape"):
            static_target(source, target)
    else:
        assert tuple(static_target(source, target)) == expected


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.data())
def test_the_static_shape_of_an_unknown_target_is_right_where_it_says_something(target, data):
    source = data.draw(st.permutations(target))
    hidden = data.draw(st.lists(st.booleans(), min_size=len(target), max_size=len(target)))
    stated = [None if h else e for h, e in zip(hidden, target)]
    found = static_target(source, stated)
    assert all(f is None or f == e for f, e in zip(found, target))


def test_flatten_merges_the_last_dimensions():
    x = T.dtensor3()
    np.testing.assert_array_equal(value(x.flatten(), (x, A)), A.ravel())
    np.testing.assert_array_equal(value(x.flatten(2), (x, A)), A.reshape(2, 12))
    assert x.flatten(3) is x
    np.testing.assert_array_equal(value(T.ravel(x), (x, A)), A.ravel())
    assert T.flatten(x, outdim=2).type.ndim == 2
    assert T.dscalar().flatten().type.shape == (1,)
    assert T.tensor("int8", (2, 3, 4)).flatten(2).type.shape == (2, 12)


def test_flatten_of_an_empty_tensor_keeps_the_known_extents():
    x = T.dtensor3()
    assert value(x.flatten(2), (x, np.ones((0, 3, 4)))).shape == (0, 12)
    assert value(x.flatten(2), (x, np.ones((2, 0, 4)))).shape == (2, 0)


def test_flatten_to_what_is_not_there_is_refused():
    for ndim in (0, 4):
        with pytest.raises(ValueError, match="cannot flatten"):
            T.dtensor3().flatten(ndim)
    with pytest.raises(ValueError, match="not both"):
        T.flatten(T.dmatrix(), 1, outdim=1)
