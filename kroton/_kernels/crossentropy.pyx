# cython: language_level=3
"""The crossentropies of classes, and their gradients.

Each works on the rows of a matrix, of scores or of probabilities, and on one class for each row.
Inputs have any strides; outputs are C-contiguous. float32 and float64, and classes of any
integer dtype. A NaN, or an infinity that makes one, is a NaN in the whole row.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.string cimport memset

from kroton._kernels cimport memory
from kroton._kernels.kernel cimport Kernel
from kroton._kernels.loops cimport canonical
from kroton._kernels.rows cimport (
    LARGE, Loops, Rows, advance, exponentials, largest, load, logarithm, real,
    rows_in_tile, rows_of, scaled, shifted, total,
)

cnp.import_array()


cdef inline int64_t class_at(char *at, int typenum) noexcept nogil:
    """A class index of any integer dtype (one of `canonical`)."""
    if typenum == cnp.NPY_INT64:
        return (<int64_t *> at)[0]
    if typenum == cnp.NPY_INT32:
        return (<int32_t *> at)[0]
    if typenum == cnp.NPY_INT16:
        return (<int16_t *> at)[0]
    if typenum == cnp.NPY_INT8:
        return (<int8_t *> at)[0]
    if typenum == cnp.NPY_UINT64:
        return <int64_t> (<uint64_t *> at)[0]
    if typenum == cnp.NPY_UINT32:
        return (<uint32_t *> at)[0]
    if typenum == cnp.NPY_UINT16:
        return (<uint16_t *> at)[0]
    return (<uint8_t *> at)[0]


cdef inline int64_t column_at(char *at, int typenum, Py_ssize_t n) noexcept nogil:
    """The column of a class that has been checked; one below zero counts from the last."""
    cdef int64_t y = class_at(at, typenum)
    return y + n if y < 0 else y


cdef Py_ssize_t check_classes(
    str name, cnp.ndarray classes, int typenum, Py_ssize_t rows, Py_ssize_t n, bint by_index
) except -1:
    """How many classes there are: one for each row, each in 0 .. n-1.

    With `by_index`, for the first rows, each in -n .. n-1.
    """
    cdef Py_ssize_t r, count = cnp.PyArray_DIM(classes, 0)
    cdef char *at = cnp.PyArray_BYTES(classes)
    cdef Py_ssize_t step = cnp.PyArray_STRIDE(classes, 0)
    cdef int64_t y, least = -n if by_index and typenum != cnp.NPY_UINT64 else 0
    if count > rows or (count < rows and not by_index):
        error = IndexError if by_index else ValueError
        raise error(f"{name}: {count} classes for {rows} rows")
    for r in range(count):
        y = class_at(at + r * step, typenum)
        if y < least or y >= n:
            error = IndexError if by_index else ValueError
            raise error(
                f"{name}: row {r} has class {(<object> classes)[r]}, "
                f"which is not one of the {n} classes {-n if by_index else 0} to {n - 1}"
            )
    return count


cdef void crossentropy_rows(
    Loops *loops, Rows x, char *classes, Py_ssize_t n_classes, Py_ssize_t class_step,
    int class_type, real *nll, real *sm, int64_t *winner
) noexcept nogil:
    """For each row: log(sum(exp(x - max))) - (x[y] - max), softmax(x), argmax(x).

    The first only for rows that have a class.
    """
    cdef Py_ssize_t n = x.n, done = 0, many, r, i
    cdef Py_ssize_t at_once = rows_in_tile(n)
    cdef real *row
    cdef real s
    cdef Rows again = x
    while done < x.count:
        many = min(at_once, x.count - done)
        for r in range(many):
            row = sm + (done + r) * n
            shifted(loops, row, x.at, x.step, n, largest(loops, sm, x.at, x.step, n))
            winner[done + r] = first_zero(row, n)
            if done + r < n_classes:
                nll[done + r] = -row[
                    column_at(classes + (done + r) * class_step, class_type, n)
                ]
            advance(&x)
        exponentials(loops, sm + done * n, sm + done * n, many * n)
        for r in range(many):
            row = sm + (done + r) * n
            s = total(loops, row, n)
            if done + r < n_classes:
                nll[done + r] = nll[done + r] + logarithm(s)
            scaled(loops, row, n, 1 / s)
            if s != s:
                winner[done + r] = first_maximum(row, again.at, again.step, n)
            advance(&again)
        done += many


cdef inline int64_t first_zero(real *row, Py_ssize_t n) noexcept nogil:
    """The position of the first element that is not negative (in a row of no positive ones)."""
    cdef Py_ssize_t i = 0, k
    cdef int found
    while i + 16 <= n:
        found = 0
        for k in range(16):
            found |= not (row[i + k] < 0)
        if found:
            break
        i += 16
    while i < n and row[i] < 0:
        i += 1
    return i


cdef int64_t first_maximum(real *tag, char *x, Py_ssize_t step, Py_ssize_t n) noexcept nogil:
    """The position of the first NaN, else of the first maximum, as `numpy.argmax` has it."""
    cdef Py_ssize_t i, best = 0
    cdef real value
    cdef real top = (<real *> x)[0]
    for i in range(n):
        value = (<real *> (x + i * step))[0]
        if value != value:
            return i
        if value > top:
            top = value
            best = i
    return best


cdef class CrossentropyKernel(Kernel):
    """(nll, softmax, argmax) of the rows of a matrix and their classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    by_index : bool
        whether rows and classes are those of `x[arange(len(y)), y]`
    """

    cdef int typenum, class_type
    cdef bint by_index
    cdef Loops loops

    def __init__(self, int typenum, int class_typenum, bint by_index=False):
        self.arity(2, 3)
        self.by_index = by_index
        self.typenum = typenum
        self.class_type = canonical(class_typenum)
        load(&self.loops, typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray nll, sm, winner
        cdef Rows source = rows_of(x, 1)
        cdef char *classes = cnp.PyArray_BYTES(y)
        cdef Py_ssize_t step = cnp.PyArray_STRIDE(y, 0)
        cdef char *nlls
        cdef char *sms
        cdef int64_t *winners
        cdef cnp.npy_intp count[1]
        cdef Py_ssize_t n_classes = check_classes(
            "crossentropy_softmax", y, self.class_type, source.count, source.n, self.by_index
        )
        count[0] = n_classes
        nll = memory.output(cells, self.out[0], self.typenum, 1, count)
        count[0] = source.count
        sm = memory.output(cells, self.out[1], self.typenum, 2, cnp.PyArray_DIMS(x))
        winner = memory.output(cells, self.out[2], cnp.NPY_INT64, 1, count)
        nlls, sms = cnp.PyArray_BYTES(nll), cnp.PyArray_BYTES(sm)
        winners = <int64_t *> cnp.PyArray_BYTES(winner)
        if source.n == 0:
            memset(winners, 0, source.count * sizeof(int64_t))
            return 0
        if source.count * source.n >= LARGE:
            with nogil:
                self.rows(source, classes, n_classes, step, nlls, sms, winners)
        else:
            self.rows(source, classes, n_classes, step, nlls, sms, winners)
        return 0

    cdef void rows(
        self, Rows x, char *classes, Py_ssize_t n_classes, Py_ssize_t step,
        char *nll, char *sm, int64_t *winner
    ) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT32:
            crossentropy_rows(&self.loops, x, classes, n_classes, step, self.class_type,
                              <float *> nll, <float *> sm, winner)
        else:
            crossentropy_rows(&self.loops, x, classes, n_classes, step, self.class_type,
                              <double *> nll, <double *> sm, winner)


cdef void crossentropy_grad_rows(
    real *out, char *g, Py_ssize_t g_step, Rows sm, char *classes, Py_ssize_t n_classes,
    Py_ssize_t class_step, int class_type
) noexcept nogil:
    """out[r] = g[r] * (sm[r] - one at the class of r), zero where there is none"""
    cdef Py_ssize_t r, i, n = sm.n
    cdef real factor
    cdef real *p
    memset(out + n_classes * n, 0, (sm.count - n_classes) * n * sizeof(real))
    for r in range(n_classes):
        factor = (<real *> (g + r * g_step))[0]
        if sm.step == sizeof(real):
            p = <real *> sm.at
            for i in range(n):
                out[i] = p[i] * factor
        else:
            for i in range(n):
                out[i] = (<real *> (sm.at + i * sm.step))[0] * factor
        i = column_at(classes + r * class_step, class_type, n)
        out[i] = out[i] - factor
        out += n
        advance(&sm)


cdef void categorical_rows(
    real *nll, Rows p, char *classes, Py_ssize_t n_classes, Py_ssize_t step, int class_type
) noexcept nogil:
    """nll[r] = -log(p[r, class of r])"""
    cdef Py_ssize_t r
    cdef int64_t y
    for r in range(n_classes):
        y = column_at(classes + r * step, class_type, p.n)
        nll[r] = -logarithm((<real *> (p.at + y * p.step))[0])
        advance(&p)


cdef void categorical_grad_rows(
    real *out, char *g, Py_ssize_t g_step, Rows p, char *classes, Py_ssize_t n_classes,
    Py_ssize_t step, int class_type
) noexcept nogil:
    """out[r, class of r] = -g[r] / p[r, class of r]; the rest is zero"""
    cdef Py_ssize_t r
    cdef int64_t y
    memset(out, 0, p.count * p.n * sizeof(real))
    for r in range(n_classes):
        y = column_at(classes + r * step, class_type, p.n)
        out[r * p.n + y] = -(<real *> (g + r * g_step))[0] / (<real *> (p.at + y * p.step))[0]
        advance(&p)


cdef class CategoricalKernel(Kernel):
    """-log of each row's probability of its class: inputs probabilities, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    by_index : bool
        whether rows and classes are those of `x[arange(len(y)), y]`
    """

    cdef int typenum, class_type
    cdef bint by_index

    def __init__(self, int typenum, int class_typenum, bint by_index=False):
        self.by_index = by_index
        self.arity(2, 1)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray p = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef Rows rows = rows_of(p, 1)
        cdef cnp.npy_intp count[1]
        count[0] = check_classes(
            "crossentropy_categorical_1hot", y, self.class_type, rows.count, rows.n, self.by_index
        )
        out = memory.output(cells, self.out[0], self.typenum, 1, count)
        if self.typenum == cnp.NPY_FLOAT32:
            categorical_rows(<float *> cnp.PyArray_BYTES(out), rows, cnp.PyArray_BYTES(y),
                             count[0], cnp.PyArray_STRIDE(y, 0), self.class_type)
        else:
            categorical_rows(<double *> cnp.PyArray_BYTES(out), rows, cnp.PyArray_BYTES(y),
                             count[0], cnp.PyArray_STRIDE(y, 0), self.class_type)
        return 0


cdef class GradKernel(Kernel):
    """What the gradients share: inputs are g, a matrix and classes; the result is a matrix."""

    cdef int typenum, class_type
    cdef bint by_index

    def __init__(self, int typenum, int class_typenum, bint by_index=False):
        self.by_index = by_index
        self.arity(3, 1)
        self.typenum = typenum
        self.class_type = canonical(class_typenum)

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray g = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[2]]
        cdef cnp.ndarray out
        cdef Rows rows = rows_of(x, 1)
        cdef char *outs
        cdef char *gs = cnp.PyArray_BYTES(g)
        cdef char *classes = cnp.PyArray_BYTES(y)
        cdef Py_ssize_t g_step = 0, step = cnp.PyArray_STRIDE(y, 0)
        cdef Py_ssize_t count = check_classes(
            self.name(), y, self.class_type, rows.count, rows.n, self.by_index
        )
        if cnp.PyArray_NDIM(g):  # else one number for all rows
            g_step = cnp.PyArray_STRIDE(g, 0)
        if cnp.PyArray_NDIM(g) and cnp.PyArray_DIM(g, 0) != count:
            raise ValueError(
                f"{self.name()}: a gradient of {cnp.PyArray_DIM(g, 0)} rows for {count} rows"
            )
        out = memory.output(cells, self.out[0], self.typenum, 2, cnp.PyArray_DIMS(x))
        outs = cnp.PyArray_BYTES(out)
        if rows.count * rows.n >= LARGE:
            with nogil:
                self.fill(outs, gs, g_step, rows, classes, count, step)
        else:
            self.fill(outs, gs, g_step, rows, classes, count, step)
        return 0

    cdef str name(self):
        raise NotImplementedError("subclasses say what they compute")

    cdef void fill(
        self, char *out, char *g, Py_ssize_t g_step, Rows x, char *classes, Py_ssize_t count,
        Py_ssize_t step
    ) noexcept nogil:
        """Compute the result's rows."""


cdef class CrossentropyGradKernel(GradKernel):
    """dnll * (softmax - one at the class): inputs dnll, softmax, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    by_index : bool
        whether rows and classes are those of `x[arange(len(y)), y]`
    """

    cdef str name(self):
        return "crossentropy_softmax_grad"

    cdef void fill(
        self, char *out, char *g, Py_ssize_t g_step, Rows x, char *classes, Py_ssize_t count,
        Py_ssize_t step
    ) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT32:
            crossentropy_grad_rows(
                <float *> out, g, g_step, x, classes, count, step, self.class_type
            )
        else:
            crossentropy_grad_rows(
                <double *> out, g, g_step, x, classes, count, step, self.class_type
            )


cdef class CategoricalGradKernel(GradKernel):
    """-g / p at each row's class, else zero: inputs g, probabilities p, classes.

    Parameters
    ----------
    typenum : int
        float32 or float64
    class_typenum : int
        of the classes, an integer
    by_index : bool
        whether rows and classes are those of `x[arange(len(y)), y]`
    """

    cdef str name(self):
        return "crossentropy_categorical_1hot_grad"

    cdef void fill(
        self, char *out, char *g, Py_ssize_t g_step, Rows x, char *classes, Py_ssize_t count,
        Py_ssize_t step
    ) noexcept nogil:
        if self.typenum == cnp.NPY_FLOAT32:
            categorical_grad_rows(
                <float *> out, g, g_step, x, classes, count, step, self.class_type
            )
        else:
            categorical_grad_rows(
                <double *> out, g, g_step, x, classes, count, step, self.class_type
            )
