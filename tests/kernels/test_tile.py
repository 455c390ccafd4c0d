"""The fused elementwise kernel computes what its program means, in every layout and in place."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import lay_out, operands, values

from kroton import scalar
from kroton._kernels.tile import ElementwiseKernel

F4, F8, I8, B = (np.dtype(name) for name in ("float32", "float64", "int64", "bool"))

# Operations whose loops are exact, so that a whole program can be compared bit by bit.
EXACT = sorted(
    {"add", "sub", "mul", "true_div", "neg", "abs", "sqr", "sqrt", "maximum", "minimum"}
    | {"switch", "lt", "eq", "and_", "or_", "isnan", "identity", "second", "sgn", "clip"}
    | {"round_half_away_from_zero", "floor"}
)


def kernel_of(program, in_types, patterns, inplace=None):
    """The kernel of a Composite."""
    steps = [
        (
            step.op.name,
            step.op.ufunc,
            step.inputs,
            tuple(np.dtype(d).num for d in step.in_dtypes),
            np.dtype(step.out_dtype).num,
        )
        for step in program.instructions
    ]
    numbers = tuple(t.num for t in in_types)
    return ElementwiseKernel(numbers, patterns, steps, program.outputs, inplace or {})


def expected_of(program, arrays, shape):
    with np.errstate(all="ignore"):
        return [np.broadcast_to(a, shape) for a in program.impl(*arrays)]


def f8(name, *registers):
    """An instruction on float64 registers."""
    op = scalar.ops[name]
    return scalar.Instruction(op, registers, ("float64",) * op.nin, "float64")


@st.composite
def programs(draw, in_types, *, length=8):
    """A random Composite of exact operations; casts are inserted as make_node would."""
    types = list(in_types)
    steps = []

    def read(register, dtype):
        if types[register] == dtype:
            return register
        cast = scalar.Cast(dtype)
        steps.append((cast, (register,), (str(types[register]),), str(dtype)))
        types.append(dtype)
        return len(types) - 1

    for _ in range(draw(st.integers(1, length))):
        op = scalar.ops[draw(st.sampled_from(EXACT))]
        registers = [draw(st.integers(0, len(types) - 1)) for _ in range(op.nin)]
        try:
            loop, out = op.resolve(*(types[r] for r in registers))
        except TypeError:
            continue
        registers = tuple(read(r, t) for r, t in zip(registers, loop, strict=True))
        steps.append((op, registers, tuple(map(str, loop)), str(out)))
        types.append(out)
    first = draw(st.integers(0, len(types) - 1))
    more = draw(st.lists(st.integers(0, len(types) - 1), max_size=2))
    outputs = (len(types) - 1, first, *more) if draw(st.booleans()) else (len(types) - 1,)
    return scalar.Composite(len(in_types), tuple(steps), outputs)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_random_program_agrees_with_its_composite_on_every_layout(data):
    in_types = data.draw(st.lists(st.sampled_from([F8, F8, F4, I8, B]), min_size=1, max_size=4))
    program = data.draw(programs(in_types))
    arrays, patterns, shape = data.draw(operands(in_types))
    results = kernel_of(program, in_types, patterns)(*arrays)
    for got, expected in zip(results, expected_of(program, arrays, shape), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_random_program_in_place_gives_the_same_values_in_the_inputs_memory(data):
    n = data.draw(st.integers(1, 3))
    program = data.draw(programs([F8] * n))
    arrays, patterns, shape = data.draw(operands([F8] * n))
    arrays = [a if a.flags.writeable else a.copy() for a in arrays]
    if n > 1 and data.draw(st.booleans()):
        arrays[1], patterns = arrays[0], (patterns[0], patterns[0], *patterns[2:])
    source = data.draw(st.integers(0, n - 1))
    output = data.draw(st.integers(0, len(program.outputs) - 1))
    if program.out_dtypes(*[F8] * n)[output] != F8:
        return
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    expected = [a.copy() for a in expected_of(program, arrays, shape)]
    others = [a.copy() for a in arrays]
    results = kernel_of(program, [F8] * n, patterns, {output: source})(*arrays)
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    if arrays[source].shape == shape and all(arrays[source].strides):
        assert results[output] is arrays[source]
    for k, (array, before) in enumerate(zip(arrays, others, strict=True)):
        if k != source and array is not arrays[source]:
            np.testing.assert_array_equal(array, before)


def test_an_input_that_overlaps_the_overwritten_one_is_read_as_it_was():
    program = scalar.Composite(2, (f8("add", 0, 1),), (2,))
    kernel = kernel_of(program, [F8, F8], ((False,), (False,)), {0: 0})
    for n in (5, 5000):
        memory = np.arange(n + 1.0)
        expected = memory[1:] + memory[:-1]
        (got,) = kernel(memory[1:], memory[:-1])
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(memory[1:], expected)
        square = np.arange(n * 1.0)
        (got,) = kernel(square, square[::-1])
        np.testing.assert_array_equal(got, np.full(n, n - 1.0))


def test_an_alias_that_a_later_instruction_reads_is_read_as_it_was():
    steps = (f8("add", 0, 1), f8("mul", 1, 2))
    program = scalar.Composite(2, steps, (2, 3))
    x = np.arange(4.0)
    kernel = kernel_of(program, [F8, F8], ((False,), (False,)), {0: 0})
    total, product = kernel(x, x)
    np.testing.assert_array_equal(total, [0, 2, 4, 6])
    np.testing.assert_array_equal(product, [0, 2, 8, 18])


def test_a_read_only_input_is_not_overwritten():
    program = scalar.Composite(1, (f8("neg", 0),), (1,))
    x = np.arange(4.0)
    x.flags.writeable = False
    (got,) = kernel_of(program, [F8], ((False,),), {0: 0})(x)
    np.testing.assert_array_equal(got, [-0.0, -1, -2, -3])
    np.testing.assert_array_equal(x, np.arange(4.0))


def test_an_input_smaller_than_the_output_is_not_overwritten():
    program = scalar.Composite(2, (f8("add", 0, 1),), (2,))
    kernel = kernel_of(program, [F8, F8], ((True,), (False,)), {0: 0})
    x, y = np.ones(1), np.arange(4.0)
    (got,) = kernel(x, y)
    np.testing.assert_array_equal(got, y + 1)
    np.testing.assert_array_equal(x, [1])


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 127, 2047, 2048, 2049, 10007])
def test_rows_of_every_length_are_covered_exactly_once(n):
    steps = (f8("sqr", 0), f8("sqr", 1), f8("add", 2, 3), f8("sub", 4, 0))
    program = scalar.Composite(2, steps, (5, 4))
    x, y = values(np.random.default_rng(1), F8, 2 * n).reshape(2, n)
    results = kernel_of(program, [F8, F8], ((False,), (False,)))(x, y)
    for got, expected in zip(results, expected_of(program, [x, y], (n,)), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(3, 4000), (4000, 3), (300, 200), (2, 3, 500), (500, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_that_do_not_vary_along_the_row_are_right_in_every_row(shape, order):
    steps = (f8("sqrt", 1), f8("neg", 3), f8("mul", 0, 4), f8("add", 2, 5), f8("sqr", 3))
    program = scalar.Composite(3, steps, (6, 7))
    rng = np.random.default_rng(2)
    x = np.asarray(rng.normal(size=shape), order=order)
    column = rng.random((*shape[:-1], 1))
    row = rng.random(shape[-1:])
    patterns = ((False,) * len(shape), (False,) * (len(shape) - 1) + (True,), (False,))
    results = kernel_of(program, [F8] * 3, patterns)(x, column, row)
    for got, expected in zip(results, expected_of(program, [x, column, row], shape), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_program_of_hundreds_of_registers_and_inputs_runs():
    n = 90
    steps = [f8("add", 0, 1)]
    for k in range(2, n):
        steps.append(f8("sub", n + k - 2, k))
    for k in range(n - 1):
        steps.append(f8("mul", n + k, n + len(steps) - 1))
    program = scalar.Composite(n, tuple(steps), (n + len(steps) - 1,))
    rng = np.random.default_rng(4)
    for extent in (3, 3000):
        arrays = [rng.uniform(-1, 1, extent) for _ in range(n)]
        arrays[5] = arrays[5][:1]
        patterns = tuple((k == 5,) for k in range(n))
        (got,) = kernel_of(program, [F8] * n, patterns)(*arrays)
        np.testing.assert_array_equal(got, expected_of(program, arrays, (extent,))[0])
        matrices = [np.stack([a] * 2, 1)[:, ::-1] for a in arrays]
        patterns = tuple((k == 5, False) for k in range(n))
        (got,) = kernel_of(program, [F8] * n, patterns)(*matrices)
        np.testing.assert_array_equal(got, expected_of(program, matrices, (extent, 2))[0])


def test_many_values_alive_at_once_fit_in_a_larger_scratch():
    live = 60
    steps = [f8("add" if k % 2 else "sub", 0, k % 2) for k in range(live)]
    for k in range(live):
        steps.append(f8("maximum", 2 + k, 2 + len(steps) - 1))
    program = scalar.Composite(2, tuple(steps), (2 + len(steps) - 1,))
    x, y = np.random.default_rng(0).normal(size=(2, 5000))
    (got,) = kernel_of(program, [F8, F8], ((False,), (False,)))(x, y)
    np.testing.assert_array_equal(got, expected_of(program, [x, y], (5000,))[0])


def test_an_output_may_be_an_input_or_appear_twice():
    program = scalar.Composite(1, (f8("neg", 0),), (0, 1, 1))
    x = np.arange(3.0)
    same, first, second = kernel_of(program, [F8], ((False,),))(x)
    assert not np.shares_memory(same, x)
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(first, -x)
    np.testing.assert_array_equal(second, -x)


def test_results_of_no_dimensions_are_arrays():
    program = scalar.Composite(2, (f8("add", 0, 1),), (2,))
    (got,) = kernel_of(program, [F8, F8], ((), ()))(np.array(1.0), np.array(2.0))
    assert isinstance(got, np.ndarray)
    assert got.shape == ()
    assert got == 3


def test_an_offered_buffer_of_the_right_shape_is_used_again():
    program = scalar.Composite(1, (f8("neg", 0),), (1,))
    kernel = kernel_of(program, [F8], ((False,),))
    buffers = [np.empty(4)]
    address = buffers[0].ctypes.data
    (got,) = kernel(np.arange(4.0), outputs=buffers)
    np.testing.assert_array_equal(got, [-0.0, -1, -2, -3])
    assert got.ctypes.data == address
    assert buffers == [None]


@pytest.mark.parametrize(
    ("patterns", "shapes", "message"),
    [
        (((False,), (False,)), ((4,), (3,)), "input 1 has 3 elements in dimension 0, but input 0"),
        (((False,) * 2, (False,)), ((2, 4), (3,)), "input 1 has 3 elements in dimension 1, but"),
        (((False,), (False,)), ((4,), (1,)), "broadcast only where the type says"),
        (((True,), (False,)), ((4,), (4,)), "input 0 has 4 elements .* but its type says 1"),
        (((False,), (False,)), ((4,), (4, 1)), "input 1 has 2 dimensions"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_that_says_where(patterns, shapes, message):
    program = scalar.Composite(2, (f8("add", 0, 1),), (2,))
    kernel = kernel_of(program, [F8, F8], patterns, {0: 0})
    arrays = [np.ones(shape) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        kernel(*arrays)
    with pytest.raises(ValueError, match=message):
        kernel.would_run(*arrays)
    assert all(np.all(a == 1) for a in arrays)


def test_check_promises_success_where_shapes_fit():
    program = scalar.Composite(2, (f8("add", 0, 1),), (2,))
    kernel = kernel_of(program, [F8, F8], ((False,), (False,)))
    assert kernel.would_run(np.ones(3), np.ones(3))


@pytest.mark.parametrize("n", [3, 100_000])
def test_an_error_in_a_loop_is_raised_and_leaves_the_inputs_alone(n):
    step = ("pow", np.power, (0, 1), (I8.num, I8.num), I8.num)
    kernel = ElementwiseKernel((I8.num,) * 2, ((False,), (False,)), [step], (2,), {0: 0})
    x, y = np.full(n, 3), np.full(n, 2)
    (got,) = kernel(x, y)
    np.testing.assert_array_equal(got, 9)
    np.testing.assert_array_equal(x, 3)
    assert kernel.would_run(x, y) is None
    y[-1] = -1
    with pytest.raises(ValueError, match="negative integer powers"):
        kernel(x, y)
    np.testing.assert_array_equal(x, 3)


def test_a_missing_loop_is_a_lookup_error_that_names_it():
    with pytest.raises(LookupError, match="frobnicate"):
        ElementwiseKernel((12,), ((False,),), [("frobnicate", None, (0,), (12,), 12)], (1,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((12,), (), [], (0,)), "broadcast patterns"),
        (((12,), ((),), [("neg", np.negative, (1,), (12,), 12)], (1,)), "reads register 1"),
        (((12,), ((),), [("neg", np.negative, (0,), (11,), 11)], (1,)), "reads register 0"),
        (((12,), ((),), [], (1,)), "never written"),
        (((12,), ((),), [], ()), "without outputs"),
        (((12, 12), ((), ()), [], (0, 1), {0: 0, 1: 0}), "two outputs"),
        (((12, 11), ((), ()), [], (0,), {0: 1}), "not of one type"),
    ],
)
def test_a_program_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ElementwiseKernel(*arguments)


def test_one_kernel_runs_in_several_threads_at_once():
    steps = (f8("sqr", 0), f8("sqr", 1), f8("add", 2, 3), f8("sqrt", 4))
    program = scalar.Composite(2, steps, (5,))
    kernel = kernel_of(program, [F8, F8], ((False,), (False,)))
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            x, y = rng.normal(size=(2, 20_000))
            if not np.array_equal(kernel(x, y)[0], np.sqrt(x * x + y * y)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_origin_of_every_loop_is_told():
    program = scalar.Composite(1, (f8("sqrt", 0), f8("sigmoid", 1)), (2,))
    origins = kernel_of(program, [F8], ((False,),)).loop_origins
    assert origins[0] == "numpy"
    assert origins[1].startswith("own:")


def test_layouts_cover_what_they_say():
    x = np.arange(24.0).reshape(2, 3, 4)
    y = lay_out(x, (2, 0, 1), (1, -2, 2))
    np.testing.assert_array_equal(x, y)
    assert y.strides[1] < 0
    assert lay_out(x, (0, 1, 2), (1, 0, 1)).strides[1] == 0


@pytest.mark.parametrize("width", [1, 2, 3, 8, 9, 30, 64, 127, 128, 300])
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 100, 1001])
def test_short_rows_with_broadcast_inputs_are_evaluated_as_one(width, rows):
    program = scalar.Composite(
        4, (f8("sub", 0, 1), f8("mul", 4, 2), f8("add", 5, 3), f8("neg", 6)), (6, 7)
    )
    patterns = ((False, False), (False,), (False, True), ())
    rng = np.random.default_rng(0)
    a, row, column = (rng.normal(size=s) for s in ((rows, width), (width,), (rows, 1)))
    number = np.array(0.25)
    for x in (a, a[:, ::-1], np.asfortranarray(a)):
        got = kernel_of(program, (np.dtype("float64"),) * 4, patterns)(x, row, column, number)
        expected = (x - row) * column + number
        np.testing.assert_array_equal(got[0], expected)
        np.testing.assert_array_equal(got[1], -expected)


def test_short_rows_are_evaluated_as_one_within_larger_arrays():
    program = scalar.Composite(3, (f8("sub", 0, 1), f8("mul", 3, 2)), (4,))
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=s) for s in ((6, 50, 7), (6, 1, 7), (1, 50, 1)))
    patterns = ((False,) * 3, (False, True, False), (True, False, True))
    (got,) = kernel_of(program, (np.dtype("float64"),) * 3, patterns)(x, y, z)
    np.testing.assert_array_equal(got, (x - y) * z)
