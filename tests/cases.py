"""For each Op that has a kernel: a strategy of Applys and of arrays to run them on.

`CASES` maps an Op type to a function of Hypothesis's `draw` that returns a `Case`. The arrays
are C-contiguous; who runs them lays them out.
"""

import functools
import itertools
from dataclasses import dataclass, field

import numpy as np
from bounds import tame
from hypothesis import reject
from hypothesis import strategies as st
from layouts import values

from kroton import scalar
from kroton.graph.basic import Apply
from kroton.graph.identity import DeepCopyOp, PrivateCopy, ViewOp
from kroton.scalar.composite import Composite, Instruction
from kroton.tensor.advanced_subtensor import (
    AdvancedIncSubtensor,
    AdvancedIncSubtensor1,
    AdvancedSubtensor,
    AdvancedSubtensor1,
    Nonzero,
)
from kroton.tensor.arange import ARange
from kroton.tensor.argmax import Argmax, Argmin
from kroton.tensor.blas import Dot22, Dot22Scalar, Gemm, Gemv, Ger
from kroton.tensor.creation import Alloc, AllocEmpty
from kroton.tensor.cumulative import CumOp, LinearRecurrence
from kroton.tensor.diagonal import AllocDiag, ExtractDiag, Eye
from kroton.tensor.dimshuffle import DimShuffle
from kroton.tensor.elemwise import Elemwise
from kroton.tensor.fused_reduction import FusedReduction
from kroton.tensor.grad_markers import MARKERS, GradClip, GradScale
from kroton.tensor.indexing import Given, Slice
from kroton.tensor.joining import Join, Split
from kroton.tensor.nnet.crossentropy import (
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
from kroton.tensor.nnet.softmax import LogSoftmax, Softmax, SoftmaxGrad
from kroton.tensor.products import BatchedDot, Dot
from kroton.tensor.reduction import CAReduce, accumulated_dtype
from kroton.tensor.repetition import Repeat
from kroton.tensor.reshape import Reshape
from kroton.tensor.shape import (
    AssertShape,
    MakeVector,
    Shape,
    Shape_i,
    SpecifyShape,
    Unbroadcast,
)
from kroton.tensor.subtensor import IncSubtensor, Subtensor
from kroton.tensor.type import DTYPES, TensorType

FLOATS = ("float32", "float64")
CONTINUOUS = (*FLOATS, "complex64", "complex128")
INTEGERS = tuple(d for d in DTYPES if d.startswith(("int", "uint")))


@dataclass
class Case:
    """An Apply and arrays for its inputs."""

    node: Apply
    arrays: list
    meaningful: frozenset = field(default_factory=frozenset)
    """Inputs whose very values matter (indices, sizes): no layout may repeat elements."""


CASES = {}


def cases_of(*op_types):
    """Register a function of `draw` and the Op type as the strategy for Op types."""

    def register(function):
        for op_type in op_types:
            CASES[op_type] = functools.partial(function, op_type=op_type)
        return function

    return register


# ---- parts


def one_of(draw, *choices):
    return draw(st.sampled_from(choices))


def extent(draw):
    return one_of(draw, 0, 1, 1, 2, 3, 3, 4, 5, 9, 17)


def shape_of(draw, least=0, most=3, positive=False):
    shape = tuple(extent(draw) for _ in range(draw(st.integers(least, most))))
    if len(shape) == 1 and draw(st.integers(0, 4)) == 0:
        shape = (draw(st.integers(1000, 5000)),)
    return tuple(max(e, 1) for e in shape) if positive else shape


def rng_of(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


def array_of(draw, dtype, shape, special=True):
    size = int(np.prod(shape, dtype=int))
    return values(rng_of(draw), dtype, size, special=special).reshape(shape)


def variable(draw, array, ones=()):
    """An input for `array`: each extent static or not, those in `ones` static."""
    known = [d in ones or draw(st.booleans()) for d in range(array.ndim)]
    shape = [e if k else None for e, k in zip(array.shape, known, strict=True)]
    return TensorType(array.dtype.name, shape)()


def apply(op, *inputs):
    """The Apply; an example in which static knowledge refuses it is not one."""
    try:
        return op.make_node(*inputs)
    except (TypeError, ValueError, IndexError):
        reject()


def case(draw, op, *arrays, meaningful=(), ones=None):
    """A Case of `op` on the arrays; `ones` gives static extents of 1 for each."""
    ones = [()] * len(arrays) if ones is None else ones
    node = apply(op, *(variable(draw, a, o) for a, o in zip(arrays, ones, strict=True)))
    return Case(node, list(arrays), frozenset(meaningful))


def scalars(*numbers, dtype="int64"):
    return [np.array(n, dtype) for n in numbers]


def axis_of(draw, array):
    return draw(st.integers(0, array.ndim - 1))


# ---- elementwise


@functools.cache
def loops_of(name):
    """The distinct input dtypes that a scalar operation resolves to."""
    op = scalar.ops[name]
    found = {}
    for inputs in itertools.product(scalar.DTYPES, repeat=op.nin):
        try:
            found[op.resolve(*inputs)[0]] = None
        except TypeError:
            continue
    return list(found)


EXACT = ("add", "sub", "mul", "maximum", "minimum", "neg", "sqr", "abs")


def fused(draw, dtypes=FLOATS):
    """A program of exact instructions, and the dtypes of its inputs."""
    dtype = one_of(draw, *dtypes)
    nin = draw(st.integers(1, 3))
    steps = []
    for k in range(draw(st.integers(1, 5))):
        op = scalar.ops[one_of(draw, *EXACT)]
        registers = tuple(draw(st.integers(0, nin + k - 1)) for _ in range(op.nin))
        steps.append(Instruction(op, registers, (dtype,) * op.nin, dtype))
    outputs = {nin + len(steps) - 1: None}
    for _ in range(draw(st.integers(0, 2))):
        outputs.setdefault(draw(st.integers(0, nin + len(steps) - 1)))
    return Composite(nin, tuple(steps), tuple(outputs)), (np.dtype(dtype),) * nin


def drawn_pattern(draw, node, results):
    """Which of the results overwrites which input of its type; no input twice."""
    pattern = {}
    for k in results:
        wanted = node.outputs[k].type
        targets = [
            i for i, v in enumerate(node.inputs) if v.type == wanted and i not in pattern.values()
        ]
        if targets and draw(st.booleans()):
            pattern[k] = one_of(draw, *targets)
    return pattern


@cases_of(Elemwise)
def elementwise(draw, op_type):
    kind = one_of(draw, "one", "one", "one", "cast", "fused")
    if kind == "one":
        op = scalar.ops[one_of(draw, *scalar.ops)]
        types = one_of(draw, *loops_of(op.name))
    elif kind == "cast":
        op, types = scalar.Cast(one_of(draw, *DTYPES)), (np.dtype(one_of(draw, *DTYPES)),)
    else:
        op, types = fused(draw)
    shape = shape_of(draw)
    whole = draw(st.integers(0, op.nin - 1))
    arrays, ones = [], []
    for k, dtype in enumerate(types):
        stretched = [k != whole and draw(st.integers(0, 3)) == 0 for _ in shape]
        own = tuple(1 if s else e for e, s in zip(shape, stretched, strict=True))
        first = draw(st.integers(0, len(own))) if k != whole and draw(st.booleans()) else 0
        arrays.append(array_of(draw, dtype, own[first:], special=kind != "cast"))
        ones.append([d - first for d in range(first, len(own)) if stretched[d]])
    if kind == "cast" and np.dtype(op.dtype).kind in "iu":
        arrays[0] = np.abs(arrays[0]).astype(types[0])
    arrays = tame(op, arrays)
    found = case(draw, Elemwise(op), *arrays, ones=ones)
    pattern = drawn_pattern(draw, found.node, range(len(found.node.outputs)))
    if pattern:
        found.node = apply(Elemwise(op, tuple(pattern.items())), *found.node.inputs)
    return found


# ---- identities


@cases_of(DeepCopyOp, PrivateCopy, ViewOp, *MARKERS)
def identity(draw, op_type):
    known = {GradClip: (-1.0, 1.0), GradScale: (2.0,), PrivateCopy: (3,)}
    arguments = known.get(op_type, ())
    return case(draw, op_type(*arguments), array_of(draw, one_of(draw, *DTYPES), shape_of(draw)))


# ---- reductions


@cases_of(CAReduce)
def reduction(draw, op_type):
    name = one_of(draw, "add", "mul", "maximum", "minimum", "and_", "or_")
    dtype = one_of(draw, *DTYPES)
    x = array_of(draw, dtype, shape_of(draw), special=name not in ("add", "mul"))
    out = acc = dtype
    if name in ("and_", "or_"):
        out = acc = "bool"
    elif name in ("add", "mul"):
        out = acc = accumulated_dtype(dtype)
        if draw(st.booleans()):
            acc = "complex128" if acc.startswith("complex") else "float64"
            out = one_of(draw, out, acc)
    axes = tuple(d for d in range(x.ndim) if draw(st.booleans()))
    neutral = is_neutral(draw, name, acc)
    return case(draw, CAReduce(scalar.ops[name], axes, out, acc, neutral), x)


def is_neutral(draw, name, dtype):
    """Whether an extreme of no elements is no error."""
    return (
        name in ("maximum", "minimum") and dtype in ("float32", "float64") and draw(st.booleans())
    )


@cases_of(FusedReduction)
def fused_reduction(draw, op_type):
    op, types = fused(draw, (*FLOATS, *FLOATS, "int32", "uint8", "int64"))
    shape = shape_of(draw)
    if draw(st.integers(0, 9)) == 0:
        shape = one_of(draw, (5, 1300), (1300, 5), (3, 700, 4), (70, 90), (40000,), (9000, 3))
    whole = draw(st.integers(0, op.nin - 1))
    arrays, ones = [], []
    for k, dtype in enumerate(types):
        stretched = [k != whole and draw(st.integers(0, 3)) == 0 for _ in shape]
        own = tuple(1 if s else e for e, s in zip(shape, stretched, strict=True))
        first = draw(st.integers(0, len(own))) if k != whole and draw(st.booleans()) else 0
        arrays.append(array_of(draw, dtype, own[first:], special=False))
        ones.append([d - first for d in range(first, len(own)) if stretched[d]])
    reductions, registers = [], []
    for register in op.outputs:
        for _ in range(draw(st.integers(1, 2))):
            registers.append(register)
            reductions.append(reduction_of(draw, types[0].name, len(shape)))
    program = Composite(op.nin, op.instructions, tuple(registers))
    found = case(draw, op_type(program, tuple(reductions)), *arrays, ones=ones)
    plain = [k for k, reduction in enumerate(reductions) if reduction is None]
    pattern = drawn_pattern(draw, found.node, plain)
    if pattern:
        op = op_type(program, tuple(reductions), tuple(pattern.items()))
        found.node = apply(op, *found.node.inputs)
    return found


def reduction_of(draw, dtype, ndim):
    """A reduction of floating or integer elements over some axes, or none."""
    if draw(st.integers(0, 3)) == 0:
        return None
    name = one_of(draw, "add", "add", "mul", "maximum", "minimum")
    out = acc = dtype if name in ("maximum", "minimum") else accumulated_dtype(dtype)
    if name in ("add", "mul") and draw(st.integers(0, 3)) == 0:
        acc = "complex128" if dtype.startswith("complex") else "float64"
    axes = tuple(d for d in range(ndim) if draw(st.booleans()))
    return CAReduce(scalar.ops[name], axes, out, acc, is_neutral(draw, name, acc))


@cases_of(Argmax, Argmin)
def position(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw))
    return case(draw, op_type(tuple(d for d in range(x.ndim) if draw(st.booleans()))), x)


@cases_of(CumOp)
def running(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 1), special=False)
    return case(draw, CumOp(axis_of(draw, x), one_of(draw, "add", "mul")), x)


@cases_of(LinearRecurrence)
def recurrence(draw, op_type):
    dtype, shape = one_of(draw, *CONTINUOUS), shape_of(draw, 1)
    a, b = (array_of(draw, dtype, shape, special=False) for _ in range(2))
    a = a / np.maximum(1, np.abs(a)).astype(a.dtype)
    return case(draw, LinearRecurrence(axis_of(draw, a), draw(st.booleans())), a, b)


# ---- shapes


@cases_of(DimShuffle)
def dimshuffle(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw))
    dropped = [d for d in range(x.ndim) if x.shape[d] == 1 and draw(st.booleans())]
    order = list(draw(st.permutations([d for d in range(x.ndim) if d not in dropped])))
    for _ in range(draw(st.integers(0, 2))):
        order.insert(draw(st.integers(0, len(order))), "x")
    v = variable(draw, x, ones=dropped)
    return Case(apply(DimShuffle(v.type.broadcastable, tuple(order)), v), [x])


@cases_of(Reshape)
def reshape(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw))
    shape = list(draw(st.permutations(x.shape)))
    if len(shape) > 1 and draw(st.booleans()):
        shape[:2] = [shape[0] * shape[1]]
    if draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    if shape and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = one_of(draw, -1, -1, -2, 7)
    return case(draw, Reshape(len(shape)), x, np.array(shape, "int64"), meaningful=[1])


@cases_of(Split)
def split(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 1))
    axis, parts = axis_of(draw, x), draw(st.integers(1, 3))
    cuts = sorted(draw(st.integers(0, x.shape[axis])) for _ in range(parts - 1))
    sizes = np.diff([0, *cuts, x.shape[axis]]).astype("int64")
    sizes[0] += one_of(draw, 0, 0, 0, 1)
    return case(draw, Split(parts, axis), x, sizes, meaningful=[1])


@cases_of(Join)
def join(draw, op_type):
    dtype, shape = one_of(draw, *DTYPES), shape_of(draw, 1)
    axis = draw(st.integers(0, len(shape) - 1))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        own = list(shape)
        own[axis] = extent(draw)
        if len(own) > 1 and draw(st.integers(0, 9)) == 0:
            own[axis - 1] += 1
        parts.append(array_of(draw, dtype, own))
    return case(draw, Join(axis), *parts)


@cases_of(Repeat)
def repeat(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 1))
    axis = axis_of(draw, x)
    shape = one_of(draw, (), (x.shape[axis],))
    repeats = rng_of(draw).integers(one_of(draw, 0, 0, -1), 4, shape)
    return case(draw, Repeat(axis), x, np.asarray(repeats, "int64"), meaningful=[1])


@cases_of(ExtractDiag)
def extract_diag(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 2))
    first, second = draw(st.permutations(range(x.ndim)))[:2]
    return case(draw, ExtractDiag(draw(st.integers(-4, 4)), first, second), x)


@cases_of(AllocDiag)
def alloc_diag(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 1, 2))
    first, second = draw(st.permutations(range(x.ndim + 1)))[:2]
    offset = draw(st.integers(-3, 3))
    n, m = x.shape[-1] + max(-offset, 0), x.shape[-1] + max(offset, 0)
    sizes = scalars(n, m + one_of(draw, 0, 0, 1))
    return case(draw, AllocDiag(offset, first, second), x, *sizes)


@cases_of(Eye)
def eye(draw, op_type):
    sizes = scalars(one_of(draw, 0, 1, 3, 7, -1), extent(draw), draw(st.integers(-9, 9)))
    return case(draw, Eye(one_of(draw, *DTYPES)), *sizes)


@cases_of(Shape, Shape_i, Unbroadcast, SpecifyShape, AssertShape)
def about_shape(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, op_type is Shape_i))
    stated = [e + one_of(draw, *[0] * 15, 1) for e in x.shape]
    axes = tuple(d for d in range(x.ndim) if draw(st.booleans()))
    if op_type is Shape:
        return case(draw, Shape(), x)
    if op_type is Shape_i:
        return case(draw, Shape_i(axis_of(draw, x)), x)
    if op_type is Unbroadcast:
        return case(draw, Unbroadcast(axes), x)
    if op_type is AssertShape:
        return case(draw, AssertShape(axes), x, *scalars(*(stated[d] for d in axes)))
    return case(
        draw, SpecifyShape(tuple(e if d in axes else None for d, e in enumerate(stated))), x
    )


@cases_of(MakeVector)
def make_vector(draw, op_type):
    dtype = one_of(draw, *DTYPES)
    parts = [array_of(draw, dtype, ()) for _ in range(draw(st.integers(0, 4)))]
    return case(draw, MakeVector(dtype), *parts)


@cases_of(Alloc)
def alloc(draw, op_type):
    shape = shape_of(draw)
    own = [1 if draw(st.booleans()) else e for e in shape][draw(st.integers(0, len(shape))) :]
    x = array_of(draw, one_of(draw, *DTYPES), own)
    extents = scalars(*(e * one_of(draw, *[1] * 9, -1) for e in shape))
    stretched = [d for d in range(x.ndim) if draw(st.integers(0, 9)) and own[d] == 1]
    return case(draw, Alloc(), x, *extents, ones=[stretched, *[()] * len(extents)])


@cases_of(AllocEmpty)
def alloc_empty(draw, op_type):
    return case(draw, AllocEmpty(one_of(draw, *DTYPES)), *scalars(*shape_of(draw)))


@cases_of(ARange)
def arange(draw, op_type):
    dtype = one_of(draw, "int64", "float64", "float32")
    numbers = [draw(st.integers(-20, 20)) for _ in range(2)]
    step = one_of(draw, -3, -1, 0, 1, 2) / one_of(draw, 1, 1, 4)
    target = dtype if dtype != "int64" else one_of(draw, *INTEGERS)
    return case(draw, ARange(target), *scalars(*numbers, step, dtype=dtype))


# ---- indexing


def whole_number(draw, n):
    return draw(st.integers(-n - 1, n)) if draw(st.integers(0, 7)) == 0 else (
        draw(st.integers(-n, n - 1)) if n else 0
    )  # fmt: skip


def slice_entry(draw, n, given):
    """A `Slice`, some of whose parts are inputs."""
    parts = []
    for k in range(3):
        number = one_of(draw, 1, 2, -1, -2) if k == 2 else draw(st.integers(-n - 2, n + 2))
        kind = one_of(draw, "none", "fixed", "input")
        if kind == "input":
            dtype = one_of(draw, "int64", "int16")
            given.append(np.array(number, dtype))
            parts.append(Given(dtype))
        else:
            parts.append(number if kind == "fixed" else None)
    return Slice(*parts)


def basic_index(draw, shape, given):
    entries = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        kind = one_of(draw, "number", "input", "slice", "slice")
        if kind == "slice":
            entries.append(slice_entry(draw, n, given))
        elif kind == "number":
            entries.append(whole_number(draw, n))
        else:
            given.append(np.array(whole_number(draw, n), "int64"))
            entries.append(Given("int64"))
    return tuple(entries)


def index_array(draw, n, shape):
    dtype = one_of(draw, "int64", "int32", "uint8") if n else "int64"
    low = 0 if dtype == "uint8" else -n
    high = n + (draw(st.integers(0, 9)) == 0)
    size = shape if high > low else tuple(0 for _ in shape)
    return rng_of(draw).integers(low, max(high, low + 1), size).astype(dtype)


def advanced_index(draw, shape, given):
    entries, d, arrays = [], 0, 0
    common = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
    while d < len(shape) and (d == 0 or draw(st.integers(0, 3))):
        kind = one_of(draw, "array", "array", "mask", "slice", "new", "number")
        if kind == "mask":
            k = draw(st.integers(1, len(shape) - d))
            given.append(rng_of(draw).integers(0, 2, shape[d : d + k]).astype(bool))
            entries.append(Given("bool", k))
            d += k
            arrays += 1
            continue
        if kind == "array":
            given.append(index_array(draw, shape[d], common))
            entries.append(Given(given[-1].dtype.name, given[-1].ndim))
            arrays += given[-1].ndim > 0
        elif kind == "slice":
            entries.append(slice_entry(draw, shape[d], given))
        elif kind == "new":
            entries.append(None)
            continue
        else:
            entries.append(whole_number(draw, shape[d]))
        d += 1
    if not arrays:
        reject()
    return tuple(entries)


def index_of(draw, op_type, shape, given):
    """The idx_list of an Op type, () for those that have none; fills in `given`."""
    if op_type in (AdvancedSubtensor1, AdvancedIncSubtensor1):
        given.append(index_array(draw, shape[0], (draw(st.integers(0, 5)),)))
        return ()
    if op_type in (Subtensor, IncSubtensor):
        return (basic_index(draw, shape, given),)
    return (advanced_index(draw, shape, given),)


@cases_of(Subtensor, AdvancedSubtensor, AdvancedSubtensor1)
def reading(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, op_type is not Subtensor))
    given = []
    op = op_type(*index_of(draw, op_type, x.shape, given))
    return case(draw, op, x, *given, meaningful=range(1, 1 + len(given)))


@cases_of(IncSubtensor, AdvancedIncSubtensor, AdvancedIncSubtensor1)
def writing(draw, op_type):
    x = array_of(draw, one_of(draw, *DTYPES), shape_of(draw, op_type is not IncSubtensor), False)
    given = []
    index = index_of(draw, op_type, x.shape, given)
    op = op_type(*index, inplace=draw(st.booleans()), set_instead_of_inc=draw(st.booleans()))
    region = apply(op.reader(), x, *given)
    storage = [[None]]
    try:
        region.op.perform(region, [x, *given], storage)
    except (IndexError, ValueError):
        storage[0][0] = np.zeros((1,) * region.outputs[0].type.ndim)
    shape = storage[0][0].shape
    own = [1 if draw(st.integers(0, 3)) == 0 else e for e in shape]
    own = own[draw(st.integers(0, len(own))) if draw(st.booleans()) else 0 :]
    y = array_of(draw, x.dtype, own, False)
    stretched = [d for d in range(y.ndim) if own[d] == 1 and draw(st.integers(0, 9))]
    ones = [(), stretched, *[()] * len(given)]
    return case(draw, op, x, y, *given, meaningful=range(2, 2 + len(given)), ones=ones)


@cases_of(Nonzero)
def nonzero(draw, op_type):
    return case(draw, Nonzero(), array_of(draw, one_of(draw, *DTYPES), shape_of(draw, 1)))


# ---- products


def finite(draw, dtype, *shape):
    return array_of(draw, dtype, shape, special=False)


@cases_of(Dot, Dot22)
def dot(draw, op_type):
    dtype = one_of(draw, *(DTYPES if op_type is Dot else CONTINUOUS))
    m, k, n = (extent(draw) for _ in range(3))
    inner = k + one_of(draw, *[0] * 9, 1)
    left = op_type is Dot22 or draw(st.booleans())
    right = op_type is Dot22 or draw(st.booleans())
    x = finite(draw, dtype, *((m, k) if left else (k,)))
    return case(draw, op_type(), x, finite(draw, dtype, *((inner, n) if right else (inner,))))


@cases_of(Dot22Scalar)
def dot_scaled(draw, op_type):
    dtype = one_of(draw, *CONTINUOUS)
    m, k, n = (extent(draw) for _ in range(3))
    x, y = finite(draw, dtype, m, k), finite(draw, dtype, k + one_of(draw, *[0] * 9, 1), n)
    return case(draw, Dot22Scalar(), x, y, np.asarray(one_of(draw, 0, 1, -1, 0.5), dtype))


@cases_of(BatchedDot)
def batched_dot(draw, op_type):
    dtype = one_of(draw, *DTYPES)
    m, k, n = (extent(draw) for _ in range(3))
    shapes, ones = ([], []), ([], [])
    for d in range(draw(st.integers(1, 2))):
        e = extent(draw)
        stretched = draw(st.integers(0, 5))
        for side in range(2):
            shapes[side].append(1 if stretched == side else e)
            if stretched == side:
                ones[side].append(d)
    x, y = finite(draw, dtype, *shapes[0], m, k), finite(draw, dtype, *shapes[1], k, n)
    return case(draw, BatchedDot(), x, y, ones=ones)


@cases_of(Gemm, Gemv, Ger)
def accumulated_product(draw, op_type):
    dtype = one_of(draw, *CONTINUOUS)
    m, k, n = (extent(draw) for _ in range(3))
    k_too = k + one_of(draw, *[0] * 9, 1)
    alpha, beta = (np.asarray(one_of(draw, 0, 1, -1, 0.5), dtype) for _ in range(2))
    op = op_type(inplace=draw(st.booleans()))
    if op_type is Ger:
        parts = finite(draw, dtype, m, n), alpha, finite(draw, dtype, m), finite(draw, dtype, n)
        return case(draw, op, *parts)
    if op_type is Gemv:
        parts = finite(draw, dtype, m), alpha, finite(draw, dtype, m, k), finite(draw, dtype, k_too)
    else:
        x, y = finite(draw, dtype, m, k), finite(draw, dtype, k_too, n)
        parts = finite(draw, dtype, m, n), alpha, x, y
    return case(draw, op, *parts, beta)


# ---- neural networks


@cases_of(Softmax, LogSoftmax, SoftmaxGrad)
def softmax(draw, op_type):
    dtype = one_of(draw, *FLOATS)
    x = array_of(draw, dtype, shape_of(draw, 1), special=op_type is not SoftmaxGrad)
    op = op_type(None if draw(st.integers(0, 4)) == 0 else axis_of(draw, x))
    if op_type is SoftmaxGrad:
        return case(draw, op, finite(draw, dtype, *x.shape), x)
    return case(draw, op, x)


@cases_of(
    CrossentropyCategorical1Hot,
    CrossentropyCategorical1HotGrad,
    CrossentropySoftmax1HotGrad,
    CrossentropySoftmaxArgmax1Hot,
)
def crossentropy(draw, op_type):
    dtype, (rows, n) = one_of(draw, *FLOATS), shape_of(draw, 2, 2)
    x = finite(draw, dtype, rows, n)
    if op_type in (CrossentropyCategorical1Hot, CrossentropyCategorical1HotGrad):
        x = np.abs(x)
    by_index = one_of(draw, False, True)
    least = -n if by_index else 0
    low, high = one_of(draw, (least, n), (least, n), (least, n), (least - 1, n + 1))
    classes = max(0, rows + one_of(draw, 0, 0, -1, -2, 1)) if by_index else rows
    y = rng_of(draw).integers(low, max(high, low + 1), classes).astype(one_of(draw, *INTEGERS))
    if op_type in (CrossentropyCategorical1HotGrad, CrossentropySoftmax1HotGrad):
        g = finite(draw, dtype, classes)
        return case(draw, op_type(by_index), g, x, y, meaningful=[2])
    return case(draw, op_type(by_index), x, y, meaningful=[1])
