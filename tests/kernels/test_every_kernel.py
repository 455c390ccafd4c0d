"""Every kernel equals its perform.

For each Op type in the registry, over Applys, dtypes, static and unknown shapes, layouts and
offered output buffers; where the two may differ by rounding, `BOUNDS` says how far and why.
"""

import os

import numpy as np
import pytest
from bounds import ulps_for
from cases import CASES
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from layouts import lay_out, layouts

from kroton._kernels import loops
from kroton.linking.kernels import registered, select_kernel
from kroton.tensor.advanced_subtensor import AdvancedIncSubtensor, AdvancedIncSubtensor1
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
from kroton.tensor.creation import AllocEmpty
from kroton.tensor.cumulative import CumOp, LinearRecurrence
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad
from kroton.tensor.products import BatchedDot, Dot
from kroton.tensor.reduction import CAReduce

# KROTON_EXAMPLES=1000 for a long search.
EXAMPLES = int(os.environ.get("KROTON_EXAMPLES", "30"))

OWN = [op_type for op_type in registered() if op_type.__module__.startswith("kroton.")]


# ---- how far kernel and perform may be apart


def elementwise_bound(node, arrays, expected):
    op = node.op.scalar_op
    eps = np.finfo(expected.dtype).eps
    if expected.dtype.kind == "c" and op.name in ("mul", "sqr", "true_div", "reciprocal"):
        return 4 * eps * np.abs(expected)
    ulps, absolute = ulps_for(op, arrays[0].dtype)
    if absolute and expected.dtype == np.float32:
        absolute = 1e-6
    if not ulps:
        return 0
    return ulps * eps * np.abs(expected) + absolute + np.finfo(expected.dtype).tiny


def magnitude(node, arrays):
    """What perform gives for the absolute values: what rounding errors are relative to."""
    sizes = [np.abs(a).astype(a.dtype) if a.dtype.kind in "fc" else a.copy() for a in arrays]
    storage = [[None] for _ in node.outputs]
    node.op.perform(node, sizes, storage)
    return np.abs(storage[0][0])


def order_bound(node, arrays, expected):
    terms = max([max(a.shape, default=1) for a in arrays], default=1) + 4
    if isinstance(node.op, CAReduce):
        if node.op.scalar_op.name not in ("add", "mul"):
            return 0
        terms = arrays[0].size + 4
    eps = np.finfo(expected.dtype).eps
    return 2 * terms * eps * magnitude(node, arrays) + np.finfo(expected.dtype).tiny


def fused_bound(node, arrays, expected, k):
    """The terms are exact, their sum or product is not."""
    op = node.op
    reduction = op.reductions[k]
    if reduction is None or reduction.scalar_op.name not in ("add", "mul"):
        return 0
    terms = [[None] for _ in node.outputs]
    inner = op.elementwise.make_node(*node.inputs)
    inner.op.perform(inner, arrays, terms)
    size = terms[k][0].size + 4
    reduction.perform(inner, [np.abs(terms[k][0])], terms)
    return 2 * size * np.finfo(expected.dtype).eps * terms[0][0] + np.finfo(expected.dtype).tiny


def softmax_bound(node, arrays, expected):
    x = arrays[-1] if isinstance(node.op, SoftmaxGrad) else arrays[0]
    eps = np.finfo(expected.dtype).eps
    finite = x[np.isfinite(x)]
    largest = max(1.0, float(np.abs(finite).max(initial=0.0)))
    if isinstance(node.op, SoftmaxGrad):
        g, sm = np.abs(arrays[0]).astype("float64"), np.abs(arrays[1]).astype("float64")
        scale = (g + (g * sm).sum(axis=node.op.axis, keepdims=True)) * sm
        return (x.size + 8) * eps * scale
    return (x.size + 8) * eps * (np.abs(expected) + largest)


def row_bound(node, arrays, expected):
    sizes = [float(np.abs(a).max(initial=1.0)) for a in arrays if a.dtype.kind == "f"]
    return 16 * np.finfo(expected.dtype).eps * (np.abs(expected) + np.prod(sizes))


OTHER_ORDER = "the operations are done in another order than NumPy's"
OWN_EXP = "exponentials and logarithms are our own loops', sums are in another order"
BOUNDS = {
    Elemwise: (elementwise_bound, "some loops are our own, see bounds.py; NumPy's contiguous "
        "complex products use fused multiply-add, its strided ones do not"),
    CAReduce: (order_bound, OTHER_ORDER),
    FusedReduction: (fused_bound, OTHER_ORDER),
    CumOp: (order_bound, "complex products may be fused"),
    LinearRecurrence: (order_bound, "NumPy's products of whole rows may be fused"),
    AdvancedIncSubtensor: (order_bound, "complex sums are in another order"),
    AdvancedIncSubtensor1: (order_bound, "complex sums are in another order"),
    Dot: (order_bound, OTHER_ORDER),
    Dot22: (order_bound, OTHER_ORDER),
    Dot22Scalar: (order_bound, OTHER_ORDER),
    BatchedDot: (order_bound, OTHER_ORDER),
    Gemm: (order_bound, OTHER_ORDER),
    Gemv: (order_bound, OTHER_ORDER),
    Ger: (order_bound, OTHER_ORDER),
    Softmax: (softmax_bound, OWN_EXP),
    LogSoftmax: (softmax_bound, OWN_EXP),
    SoftmaxGrad: (softmax_bound, OTHER_ORDER),
    CrossentropyCategorical1Hot: (row_bound, OWN_EXP),
    CrossentropyCategorical1HotGrad: (row_bound, "a reciprocal is multiplied with"),
    CrossentropySoftmax1HotGrad: (row_bound, "differences may be fused"),
    CrossentropySoftmaxArgmax1Hot: (softmax_bound, OWN_EXP),
}  # fmt: skip


def assert_agree(node, arrays, got, expected, k=0):
    """`got` is `expected` bit by bit but for NaN, or within the bound for its Op type."""
    assert got.shape == expected.shape
    if isinstance(node.op, AllocEmpty):
        return
    bound = 0
    if expected.dtype.kind in "fc" and type(node.op) in BOUNDS:
        with np.errstate(all="ignore"):
            which = (k,) if type(node.op) is FusedReduction else ()
            bound = BOUNDS[type(node.op)][0](node, arrays, expected, *which)
    if np.ndim(bound) == 0 and bound == 0:
        np.testing.assert_array_equal(got, expected)
        return
    finite = np.isfinite(expected)
    # Where the bound of finite inputs is not finite, whether a product over- or underflows on its
    # way depends on the order.
    known = np.broadcast_to(
        np.isfinite(bound) | (not all(np.isfinite(a).all() for a in arrays)), expected.shape
    )
    np.testing.assert_array_equal(np.isfinite(got)[known], finite[known])
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(got[known & ~finite], expected[known & ~finite])
    with np.errstate(all="ignore"):
        excess = np.abs(got - expected) - bound
    assert not np.any(excess[known & finite] > 0), (got, expected, bound)


# ---- what a kernel owes


def performed(node, arrays):
    storage = [[None] for _ in node.outputs]
    node.op.perform(node, arrays, storage)
    return [cell[0] for cell in storage]


def outcome(node, arrays):
    """What perform gives, or the class of error that it raises."""
    try:
        return performed(node, arrays)
    except IndexError:
        return IndexError
    except ValueError:
        return ValueError


def announced(node, k):
    """The inputs that output k may share memory with."""
    return {*node.op.view_map.get(k, ()), *node.op.destroy_map.get(k, ())}


def shared(a, b):
    """Whether two arrays have an element in common."""
    return np.may_share_memory(a, b) and np.shares_memory(a, b)


def destroyed(node):
    return {i for inputs in node.op.destroy_map.values() for i in inputs}


def assert_honest(node, arrays, before, results):
    """Types are those declared; inputs and outputs share and change only what is announced."""
    for k, (out, result) in enumerate(zip(node.outputs, results, strict=True)):
        assert type(result) is np.ndarray
        assert result.dtype == out.type.numpy_dtype
        out.type.filter(result, strict=True)
        for i, array in enumerate(arrays):
            if i not in announced(node, k):
                assert not shared(result, array), f"output {k} shares input {i}"
        for j in range(k):
            if not announced(node, j) & announced(node, k):
                assert not shared(result, results[j]), f"output {k} shares output {j}"
    assert_unchanged(node, arrays, before)


def assert_unchanged(node, arrays, before, also_destroyed=False):
    for i, (array, old) in enumerate(zip(arrays, before, strict=True)):
        if also_destroyed or i not in destroyed(node):
            assert array.tobytes() == old, f"input {i} has changed"


@st.composite
def buffers(draw, expected):
    """What may lie in an output cell: nothing, or a buffer that fits, nearly fits, or does not."""
    kind = draw(
        st.sampled_from(
            ["nothing", "fits", "fits", "shape", "dtype", "strided", "read-only", "view"]
        )
    )
    shape, dtype = expected.shape, expected.dtype
    if kind == "nothing":
        return None
    if kind == "shape":
        shape = (*shape, 2) if draw(st.booleans()) else tuple(e + 1 for e in shape)
    elif kind == "dtype":
        dtype = np.dtype("int16" if dtype != np.int16 else "float64")
    if kind == "strided" and shape:
        wide = np.full([2 * e for e in shape], 77).astype(dtype)
        return wide[(slice(None, None, 2),) * len(shape)]
    buffer = np.full(shape, 77).astype(dtype)
    if kind == "read-only":
        buffer.flags.writeable = False
    return buffer[...] if kind == "view" else buffer


def laid_out(draw, case):
    """The arrays in some layout; what is not destroyed may be read-only."""
    arrays = []
    for i, array in enumerate(case.arrays):
        own = i in destroyed(case.node)
        once = own or i in case.meaningful
        placed = lay_out(array, *draw(layouts(array.ndim, overlapping=not once)))
        if not own and draw(st.booleans()):
            placed.flags.writeable = False
        arrays.append(placed)
    return arrays


def same_again(arrays):
    """Copies in the same layout."""
    again = []
    for array in arrays:
        if 0 in array.strides and array.size > 1:
            again.append(array)
            continue
        order = tuple(sorted(range(array.ndim), key=lambda d: -abs(array.strides[d])))
        again.append(lay_out(array, order, (1,) * array.ndim))
    return again


def check(draw, op_type):
    case = CASES[op_type](draw)
    node = case.node
    assert type(node.op) is op_type
    kernel = select_kernel(node)
    assert kernel is not None, f"{node.op} has no kernel for {[v.type for v in node.inputs]}"
    arrays = laid_out(draw, case)
    for v, array in zip(node.inputs, arrays, strict=True):
        v.type.filter(array, strict=True)
    values = [array.copy() for array in arrays]
    before = [array.tobytes() for array in arrays]
    reference = [a.copy() if i in destroyed(node) else a for i, a in enumerate(arrays)]
    note(f"{node} on {[(a.dtype.name, a.shape, a.strides) for a in arrays]}")
    expected = outcome(node, list(reference))
    if isinstance(expected, type):
        with pytest.raises(expected):
            kernel(*arrays)
        assert_unchanged(node, arrays, before, also_destroyed=True)
        return
    assert_honest(node, reference, before, expected)
    second = same_again(arrays)
    certain = kernel.would_run(*arrays)
    assert certain in (True, None)
    results = kernel(*arrays)
    assert_honest(node, arrays, before, results)
    for k, (got, wanted) in enumerate(zip(results, expected, strict=True)):
        assert_agree(node, values, got, wanted, k)
    offered = [draw(buffers(wanted)) for wanted in expected]
    note(f"offered {[None if b is None else (b.dtype.name, b.shape, b.strides) for b in offered]}")
    results = kernel(*second, outputs=offered)
    assert_honest(node, second, before, results)
    for k, (got, wanted) in enumerate(zip(results, expected, strict=True)):
        assert_agree(node, values, got, wanted, k)


# ---- the property


@pytest.fixture(params=loops.available_isas())
def isa(request):
    before = loops.isa()
    loops.select(request.param)
    yield request.param
    loops.select(before)


def test_every_op_type_with_a_kernel_has_a_strategy():
    missing = [op_type.__name__ for op_type in OWN if op_type not in CASES]
    assert not missing, f"write a strategy in tests/cases.py for {', '.join(missing)}"


@pytest.mark.parametrize("op_type", CASES, ids=lambda op_type: op_type.__name__)
def test_every_kernel_equals_its_perform(op_type, isa):
    @settings(
        deadline=None,
        max_examples=EXAMPLES * (5 if op_type is Elemwise else 1),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(st.data())
    def every_example(data):
        check(data.draw, op_type)

    every_example()
