# cython: language_level=3
"""Matrix products: `c = beta * c + alpha * a @ b` on any strides, and the kernels made of it.

`multiply` tells from the strides whether BLAS can take an operand as it is (column-major,
row-major, a vector with a positive increment) and copies only what it cannot take: negative
strides, strides 0 of broadcast arrays, both strides larger than an element. Small products and
dtypes that BLAS does not know (booleans, integers, which wrap around) run in loops of this
module. Where beta is 0, c is not read; where alpha is 0, a and b are not.
"""
cimport numpy as cnp
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from kroton._kernels cimport blas, memory
from kroton._kernels.kernel cimport Kernel

cnp.import_array()

cdef enum:
    WIDTH = 128                 # columns that the loops accumulate at a time
    SMALL = 600                 # multiplications below which a call of BLAS costs more
    LARGE = 1 << 14             # multiplications from which the GIL is released

ctypedef fused number:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    float
    double
    float complex
    double complex

ctypedef fused scalable:
    float
    double
    float complex
    double complex

cdef union Value:
    double z[2]
    float c[2]
    double d
    float s


# ---- loops ----------------------------------------------------------------------------------


cdef inline number times(number x, number y) noexcept nogil:
    if number is uint16_t:
        return <uint16_t> (<uint32_t> x * <uint32_t> y)     # int would overflow
    else:
        return x * y


cdef inline number *row_of(
    number *tag, Matrix b, Py_ssize_t p, Py_ssize_t j, Py_ssize_t w, number *buffer
) noexcept nogil:
    """Elements j .. j+w of row p, gathered if they are not adjacent."""
    cdef char *at = b.data + p * b.rs + j * b.cs
    cdef Py_ssize_t t
    if b.cs == <Py_ssize_t> sizeof(number):
        return <number *> at
    for t in range(w):
        buffer[t] = (<number *> (at + t * b.cs))[0]
    return buffer


cdef inline void store(
    number *acc, Matrix c, Py_ssize_t i, Py_ssize_t j, Py_ssize_t w, void *alpha, void *beta
) noexcept nogil:
    """Row i, columns j .. j+w: c = beta * c + alpha * acc."""
    cdef char *at = c.data + i * c.rs + j * c.cs
    cdef Py_ssize_t t
    cdef number al, be
    if alpha == NULL:
        for t in range(w):
            (<number *> (at + t * c.cs))[0] = acc[t]
        return
    al = (<number *> alpha)[0]
    be = (<number *> beta)[0]
    if be == 0:
        for t in range(w):
            (<number *> (at + t * c.cs))[0] = times(al, acc[t])
    else:
        for t in range(w):
            (<number *> (at + t * c.cs))[0] = (
                times(be, (<number *> (at + t * c.cs))[0]) + times(al, acc[t])
            )


cdef void loop(number *tag, Matrix a, Matrix b, Matrix c, void *alpha, void *beta) noexcept nogil:
    """The product, four rows and WIDTH columns at a time, so that b is read m / 4 times."""
    cdef number acc0[WIDTH]
    cdef number acc1[WIDTH]
    cdef number acc2[WIDTH]
    cdef number acc3[WIDTH]
    cdef number gathered[WIDTH]
    cdef number *row
    cdef char *left
    cdef number v0, v1, v2, v3, y
    cdef Py_ssize_t i, j, p, t, w
    j = 0
    while j < b.cols:
        w = min(<Py_ssize_t> WIDTH, b.cols - j)
        i = 0
        while i + 4 <= a.rows:
            for t in range(w):
                acc0[t] = acc1[t] = acc2[t] = acc3[t] = 0
            for p in range(a.cols):
                row = row_of(tag, b, p, j, w, gathered)
                left = a.data + i * a.rs + p * a.cs
                v0 = (<number *> left)[0]
                v1 = (<number *> (left + a.rs))[0]
                v2 = (<number *> (left + 2 * a.rs))[0]
                v3 = (<number *> (left + 3 * a.rs))[0]
                for t in range(w):
                    y = row[t]
                    acc0[t] += times(v0, y)
                    acc1[t] += times(v1, y)
                    acc2[t] += times(v2, y)
                    acc3[t] += times(v3, y)
            store(acc0, c, i, j, w, alpha, beta)
            store(acc1, c, i + 1, j, w, alpha, beta)
            store(acc2, c, i + 2, j, w, alpha, beta)
            store(acc3, c, i + 3, j, w, alpha, beta)
            i += 4
        while i < a.rows:
            for t in range(w):
                acc0[t] = 0
            for p in range(a.cols):
                row = row_of(tag, b, p, j, w, gathered)
                v0 = (<number *> (a.data + i * a.rs + p * a.cs))[0]
                for t in range(w):
                    acc0[t] += times(v0, row[t])
            store(acc0, c, i, j, w, alpha, beta)
            i += 1
        j += WIDTH


cdef void column(number *tag, Matrix a, Matrix b, Matrix c, void *alpha, void *beta) noexcept nogil:
    """The product where b is one column: a sum for each row, in four parts."""
    cdef number s0, s1, s2, s3
    cdef char *x
    cdef char *y
    cdef Py_ssize_t i, p, xs = a.cs, ys = b.rs
    for i in range(a.rows):
        s0 = s1 = s2 = s3 = 0
        x = a.data + i * a.rs
        y = b.data
        p = 0
        while p + 4 <= a.cols:
            s0 += times((<number *> x)[0], (<number *> y)[0])
            s1 += times((<number *> (x + xs))[0], (<number *> (y + ys))[0])
            s2 += times((<number *> (x + 2 * xs))[0], (<number *> (y + 2 * ys))[0])
            s3 += times((<number *> (x + 3 * xs))[0], (<number *> (y + 3 * ys))[0])
            x += 4 * xs
            y += 4 * ys
            p += 4
        while p < a.cols:
            s0 += times((<number *> x)[0], (<number *> y)[0])
            x += xs
            y += ys
            p += 1
        s0 = (s0 + s1) + (s2 + s3)
        store(&s0, c, i, 0, 1, alpha, beta)


cdef void logical(Matrix a, Matrix b, Matrix c) noexcept nogil:
    """The product of booleans: whether some p has both a[i, p] and b[p, j]."""
    cdef uint8_t acc[WIDTH]
    cdef uint8_t gathered[WIDTH]
    cdef uint8_t *row
    cdef Py_ssize_t i, j, p, t, w
    j = 0
    while j < b.cols:
        w = min(<Py_ssize_t> WIDTH, b.cols - j)
        for i in range(a.rows):
            memset(acc, 0, w)
            for p in range(a.cols):
                if (<uint8_t *> (a.data + i * a.rs + p * a.cs))[0]:
                    row = row_of(<uint8_t *> NULL, b, p, j, w, gathered)
                    for t in range(w):
                        acc[t] |= row[t]
            for t in range(w):
                acc[t] = acc[t] != 0
            store(acc, c, i, j, w, NULL, NULL)
        j += WIDTH


cdef inline void dispatch(
    number *tag, Matrix a, Matrix b, Matrix c, void *alpha, void *beta
) noexcept nogil:
    if b.cols == 1:
        column(tag, a, b, c, alpha, beta)
    else:
        loop(tag, a, b, c, alpha, beta)


cdef void loops(int typenum, Matrix a, Matrix b, Matrix c, void *alpha, void *beta) noexcept nogil:
    """The product without BLAS."""
    cdef Py_ssize_t item
    if typenum == cnp.NPY_FLOAT64:
        dispatch(<double *> NULL, a, b, c, alpha, beta)
    elif typenum == cnp.NPY_FLOAT32:
        dispatch(<float *> NULL, a, b, c, alpha, beta)
    elif typenum == cnp.NPY_COMPLEX64:
        dispatch(<float complex *> NULL, a, b, c, alpha, beta)
    elif typenum == cnp.NPY_COMPLEX128:
        dispatch(<double complex *> NULL, a, b, c, alpha, beta)
    elif typenum == cnp.NPY_BOOL:
        logical(a, b, c)
    else:
        # Signed integers wrap around as the unsigned ones do.
        item = size_of(typenum)
        if item == 1:
            dispatch(<uint8_t *> NULL, a, b, c, NULL, NULL)
        elif item == 2:
            dispatch(<uint16_t *> NULL, a, b, c, NULL, NULL)
        elif item == 4:
            dispatch(<uint32_t *> NULL, a, b, c, NULL, NULL)
        else:
            dispatch(<uint64_t *> NULL, a, b, c, NULL, NULL)


cdef inline Py_ssize_t size_of(int typenum) noexcept nogil:
    if typenum == cnp.NPY_FLOAT64:
        return 8
    if typenum == cnp.NPY_FLOAT32:
        return 4
    if typenum == cnp.NPY_COMPLEX64:
        return 8
    if typenum == cnp.NPY_COMPLEX128:
        return 16
    if typenum in (cnp.NPY_BOOL, cnp.NPY_BYTE, cnp.NPY_UBYTE):
        return 1
    if typenum in (cnp.NPY_SHORT, cnp.NPY_USHORT):
        return 2
    if typenum in (cnp.NPY_INT, cnp.NPY_UINT):
        return 4
    if typenum in (cnp.NPY_LONG, cnp.NPY_ULONG):
        return sizeof(long)
    return 8


# ---- alpha and beta -------------------------------------------------------------------------


cdef inline bint equals(int typenum, void *value, double wanted) noexcept nogil:
    if typenum == cnp.NPY_FLOAT64:
        return (<double *> value)[0] == wanted
    if typenum == cnp.NPY_FLOAT32:
        return (<float *> value)[0] == wanted
    if typenum == cnp.NPY_COMPLEX64:
        return (<float *> value)[0] == wanted and (<float *> value)[1] == 0
    return (<double *> value)[0] == wanted and (<double *> value)[1] == 0


cdef inline void real_value(int typenum, double value, Value *out) noexcept nogil:
    """A real number in one of the four dtypes of BLAS."""
    if typenum == cnp.NPY_FLOAT64 or typenum == cnp.NPY_COMPLEX128:
        out.z[0] = value
        out.z[1] = 0
    else:
        out.c[0] = <float> value
        out.c[1] = 0


cdef void scaled(scalable *tag, Matrix c, void *beta) noexcept nogil:
    cdef scalable be = (<scalable *> beta)[0]
    cdef scalable *at
    cdef Py_ssize_t i, j
    for i in range(c.rows):
        for j in range(c.cols):
            at = <scalable *> (c.data + i * c.rs + j * c.cs)
            at[0] = be * at[0]


cdef void zero(Matrix c, Py_ssize_t item) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(c.rows):
        if c.cs == item:
            memset(c.data + i * c.rs, 0, c.cols * item)
        else:
            for j in range(c.cols):
                memset(c.data + i * c.rs + j * c.cs, 0, item)


cdef void scale(int typenum, Matrix c, void *beta) noexcept nogil:
    """c = beta * c; zeros where there is no beta or it is 0."""
    if beta == NULL or equals(typenum, beta, 0):
        zero(c, size_of(typenum))
    elif not equals(typenum, beta, 1):
        if typenum == cnp.NPY_FLOAT64:
            scaled(<double *> NULL, c, beta)
        elif typenum == cnp.NPY_FLOAT32:
            scaled(<float *> NULL, c, beta)
        elif typenum == cnp.NPY_COMPLEX64:
            scaled(<float complex *> NULL, c, beta)
        else:
            scaled(<double complex *> NULL, c, beta)


# ---- layouts --------------------------------------------------------------------------------


cdef inline Matrix matrix(
    char *data, Py_ssize_t rows, Py_ssize_t cols, Py_ssize_t rs, Py_ssize_t cs
) noexcept nogil:
    cdef Matrix a
    a.data = data
    a.rows = rows
    a.cols = cols
    a.rs = rs
    a.cs = cs
    return a


cdef inline Matrix transposed(Matrix a) noexcept nogil:
    return matrix(a.data, a.cols, a.rows, a.cs, a.rs)


cdef inline Py_ssize_t leading(Matrix a, Py_ssize_t item) noexcept nogil:
    """The leading dimension of `a` as a column-major matrix, 0 if it is none.

    The distance of columns means nothing where there is only one, that of rows likewise.
    """
    cdef Py_ssize_t least = max(<Py_ssize_t> 1, a.rows)
    if a.rows > 1 and a.rs != item:
        return 0
    if a.cols <= 1:
        return least
    if a.cs % item != 0 or a.cs < least * item or not blas.fits(a.cs // item):
        return 0
    return a.cs // item


cdef inline Py_ssize_t increment(
    Py_ssize_t n, Py_ssize_t stride, Py_ssize_t item
) noexcept nogil:
    """The increment of a vector, 0 if BLAS cannot take it."""
    if n <= 1:
        return 1
    if stride <= 0 or stride % item != 0 or not blas.fits(stride // item):
        return 0
    return stride // item


cdef void copy_elements(Matrix source, Matrix target, Py_ssize_t item) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef char *x
    cdef char *y
    for i in range(source.rows):
        x = source.data + i * source.rs
        y = target.data + i * target.rs
        if item == 8:
            for j in range(source.cols):
                (<uint64_t *> (y + j * target.cs))[0] = (<uint64_t *> (x + j * source.cs))[0]
        elif item == 4:
            for j in range(source.cols):
                (<uint32_t *> (y + j * target.cs))[0] = (<uint32_t *> (x + j * source.cs))[0]
        else:
            for j in range(source.cols):
                (<uint64_t *> (y + j * target.cs))[0] = (<uint64_t *> (x + j * source.cs))[0]
                (<uint64_t *> (y + j * target.cs))[1] = (<uint64_t *> (x + j * source.cs))[1]


cdef int compact(Matrix *a, Py_ssize_t item, void **owned) except -1 nogil:
    """Replace `a` by a row-major copy, which the caller frees through `owned`."""
    cdef Matrix copy
    owned[0] = malloc(max(a.rows * a.cols * item, <Py_ssize_t> 1))
    if owned[0] == NULL:
        with gil:
            raise MemoryError(f"no memory for a copy of a {a.rows} x {a.cols} operand")
    copy = matrix(<char *> owned[0], a.rows, a.cols, a.cols * item, item)
    copy_elements(a[0], copy, item)
    a[0] = copy
    return 0


# ---- the product ----------------------------------------------------------------------------


cdef int multiply(
    int typenum, Matrix a, Matrix b, Matrix c, void *alpha, void *beta
) except -1 nogil:
    """c = beta * c + alpha * a @ b; c shares no memory with a and b.

    alpha and beta point to values of the dtype, or are both NULL, which stands for 1 and 0 and
    is what booleans and integers need.
    """
    cdef Py_ssize_t item = size_of(typenum)
    cdef double work = <double> a.rows * a.cols * b.cols
    cdef Value one, nothing
    if a.rows == 0 or b.cols == 0:
        return 0
    if a.cols == 0 or (alpha != NULL and equals(typenum, alpha, 0)):
        scale(typenum, c, beta)
        return 0
    if a.rows == 1 and b.cols != 1:
        return multiply(typenum, transposed(b), transposed(a), transposed(c), alpha, beta)
    if (
        work <= SMALL
        or not blas.serves(typenum)
        or not (blas.fits(a.rows) and blas.fits(a.cols) and blas.fits(b.cols))
    ):
        loops(typenum, a, b, c, alpha, beta)
        return 0
    if alpha == NULL:
        real_value(typenum, 1, &one)
        real_value(typenum, 0, &nothing)
        alpha = &one
        beta = &nothing
    if b.cols == 1:
        return matrix_vector(typenum, a, b, c, alpha, beta)
    return matrix_matrix(typenum, a, b, c, alpha, beta)


cdef int matrix_vector(
    int typenum, Matrix a, Matrix x, Matrix y, void *alpha, void *beta
) except -1 nogil:
    """y = beta * y + alpha * a @ x, where x and y are one column."""
    cdef Py_ssize_t item = size_of(typenum)
    cdef Py_ssize_t incx = increment(x.rows, x.rs, item)
    cdef Py_ssize_t incy = increment(y.rows, y.rs, item)
    cdef Py_ssize_t lda
    cdef char op = c'N'
    cdef Matrix target = y
    cdef Value sum
    cdef void *copies[3]
    copies[0] = copies[1] = copies[2] = NULL
    if a.rows == 1 and incx != 0 and blas.has_dot(typenum):
        lda = increment(a.cols, a.cs, item)
        if lda != 0:
            blas.dot(typenum, a.cols, a.data, lda, x.data, incx, &sum)
            if typenum == cnp.NPY_FLOAT64:
                store(&sum.d, y, 0, 0, 1, alpha, beta)
            else:
                store(&sum.s, y, 0, 0, 1, alpha, beta)
            return 0
    try:
        if incx == 0:
            compact(&x, item, &copies[0])
            incx = 1
        if incy == 0:
            compact(&target, item, &copies[1])
            incy = 1
        lda = leading(a, item)
        if lda == 0:
            op = c'T'
            lda = leading(transposed(a), item)
            if lda == 0:
                compact(&a, item, &copies[2])
                lda = max(<Py_ssize_t> 1, a.cols)
        if equals(typenum, beta, 0):
            zero(target, item)      # some libraries multiply what is there by 0
        if op == c'N':
            blas.gemv(typenum, op, a.rows, a.cols, alpha, a.data, lda, x.data, incx,
                      beta, target.data, incy)
        else:
            blas.gemv(typenum, op, a.cols, a.rows, alpha, a.data, lda, x.data, incx,
                      beta, target.data, incy)
        if copies[1] != NULL:
            copy_elements(target, y, item)
    finally:
        free(copies[0])
        free(copies[1])
        free(copies[2])
    return 0


cdef int matrix_matrix(
    int typenum, Matrix a, Matrix b, Matrix c, void *alpha, void *beta
) except -1 nogil:
    """c = beta * c + alpha * a @ b by gemm, or by ger where that is all of it."""
    cdef Py_ssize_t item = size_of(typenum)
    cdef Py_ssize_t lda, ldb, ldc, incx, incy
    cdef char op_a = c'N', op_b = c'N'
    cdef Matrix target = c
    cdef void *copies[3]
    copies[0] = copies[1] = copies[2] = NULL
    ldc = leading(c, item)
    if ldc == 0 and leading(transposed(c), item) != 0:
        # c is row-major: its transpose is b.T @ a.T.
        return matrix_matrix(typenum, transposed(b), transposed(a), transposed(c), alpha, beta)
    if a.cols == 1 and ldc != 0 and equals(typenum, beta, 1):
        incx = increment(a.rows, a.rs, item)
        incy = increment(b.cols, b.cs, item)
        if incx != 0 and incy != 0:
            blas.ger(typenum, a.rows, b.cols, alpha, a.data, incx, b.data, incy, c.data, ldc)
            return 0
    try:
        if ldc == 0:
            target = transposed(target)
            compact(&target, item, &copies[2])
            target = transposed(target)
            ldc = c.rows
        lda = leading(a, item)
        if lda == 0:
            op_a = c'T'
            lda = leading(transposed(a), item)
            if lda == 0:
                compact(&a, item, &copies[0])
                lda = a.cols
        ldb = leading(b, item)
        if ldb == 0:
            op_b = c'T'
            ldb = leading(transposed(b), item)
            if ldb == 0:
                compact(&b, item, &copies[1])
                ldb = b.cols
        blas.gemm(typenum, op_a, op_b, a.rows, b.cols, a.cols, alpha, a.data, lda, b.data, ldb,
                  beta, target.data, ldc)
        if copies[2] != NULL:
            copy_elements(target, c, item)
    finally:
        free(copies[0])
        free(copies[1])
        free(copies[2])
    return 0


# ---- kernels --------------------------------------------------------------------------------


cdef inline Matrix as_matrix(cnp.ndarray x, bint as_column) noexcept:
    """A matrix as it is; a vector as one column or one row."""
    if cnp.PyArray_NDIM(x) == 2:
        return matrix(
            cnp.PyArray_BYTES(x), cnp.PyArray_DIM(x, 0), cnp.PyArray_DIM(x, 1),
            cnp.PyArray_STRIDE(x, 0), cnp.PyArray_STRIDE(x, 1),
        )
    if as_column:
        return matrix(cnp.PyArray_BYTES(x), cnp.PyArray_DIM(x, 0), 1, cnp.PyArray_STRIDE(x, 0), 0)
    return matrix(cnp.PyArray_BYTES(x), 1, cnp.PyArray_DIM(x, 0), 0, cnp.PyArray_STRIDE(x, 0))


cdef tuple shape_of(cnp.ndarray x):
    return tuple([cnp.PyArray_DIM(x, d) for d in range(cnp.PyArray_NDIM(x))])


cdef int product(
    int typenum, Matrix a, Matrix b, Matrix c, void *alpha, void *beta
) except -1:
    """`multiply`, without the GIL if it is large."""
    if a.rows * b.cols * max(a.cols, <Py_ssize_t> 1) >= LARGE:
        with nogil:
            multiply(typenum, a, b, c, alpha, beta)
    else:
        multiply(typenum, a, b, c, alpha, beta)
    return 0


cdef class DotKernel(Kernel):
    """`dot(a, b)` of vectors and matrices of one dtype, or `alpha * dot(a, b)`.

    Parameters
    ----------
    typenum : int
    a_ndim, b_ndim : {1, 2}
    scaled : bool
        Whether there is a third input, alpha, a scalar of the dtype, which is one of BLAS's.
    """

    cdef int typenum, a_ndim, b_ndim
    cdef bint scaled

    def __init__(self, int typenum, int a_ndim, int b_ndim, bint scaled=False):
        self.arity(3 if scaled else 2, 1)
        self.typenum = typenum
        self.a_ndim = a_ndim
        self.b_ndim = b_ndim
        self.scaled = scaled
        blas.load()

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef Matrix a = as_matrix(x, False), b = as_matrix(y, True), c
        cdef cnp.npy_intp dims[2]
        cdef int nd = 0
        cdef Value nothing
        if a.cols != b.rows:
            raise ValueError(
                f"dot: shapes {shape_of(x)} and {shape_of(y)} do not fit: "
                f"the last extent of the first is {a.cols}, "
                f"the first of the second is {b.rows}"
            )
        if self.a_ndim == 2:
            dims[nd] = a.rows
            nd += 1
        if self.b_ndim == 2:
            dims[nd] = b.cols
            nd += 1
        out = memory.output(cells, self.out[0], self.typenum, nd, dims)
        c = matrix(cnp.PyArray_BYTES(out), a.rows, b.cols, 0, 0)
        c.cs = cnp.PyArray_ITEMSIZE(out)
        c.rs = c.cs * b.cols
        if not self.scaled:
            return product(self.typenum, a, b, c, NULL, NULL)
        real_value(self.typenum, 0, &nothing)
        return product(
            self.typenum, a, b, c, cnp.PyArray_DATA(<cnp.ndarray> cells[self.inp[2]]), &nothing
        )

    def __repr__(self):
        return f"DotKernel({self.a_ndim}, {self.b_ndim}{', scaled' if self.scaled else ''})"


cdef class BatchedDotKernel(Kernel):
    """`a @ b` over leading dimensions, for operands of the same number of dimensions.

    Parameters
    ----------
    typenum : int
    a_stretches, b_stretches : tuple of bool
        For each leading dimension whether the operand's extent is 1 and stretches.
    """

    cdef int typenum, n_batch
    cdef bint a_stretches[32]
    cdef bint b_stretches[32]

    def __init__(self, int typenum, a_stretches, b_stretches):
        cdef int d
        self.arity(2, 1)
        self.typenum = typenum
        self.n_batch = len(a_stretches)
        if self.n_batch > 30 or len(b_stretches) != self.n_batch:
            raise ValueError("both operands have the same number of dimensions, at most 32")
        for d in range(self.n_batch):
            self.a_stretches[d] = a_stretches[d]
            self.b_stretches[d] = b_stretches[d]
        blas.load()

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[0]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[1]]
        cdef cnp.ndarray out
        cdef cnp.npy_intp dims[32]
        cdef Py_ssize_t index[32]
        cdef Py_ssize_t xs[32]
        cdef Py_ssize_t ys[32]
        cdef Py_ssize_t n, batches = 1
        cdef int d, nb = self.n_batch
        cdef Matrix a = matrix(
            cnp.PyArray_BYTES(x), cnp.PyArray_DIM(x, nb), cnp.PyArray_DIM(x, nb + 1),
            cnp.PyArray_STRIDE(x, nb), cnp.PyArray_STRIDE(x, nb + 1),
        )
        cdef Matrix b = matrix(
            cnp.PyArray_BYTES(y), cnp.PyArray_DIM(y, nb), cnp.PyArray_DIM(y, nb + 1),
            cnp.PyArray_STRIDE(y, nb), cnp.PyArray_STRIDE(y, nb + 1),
        )
        cdef Matrix c
        if a.cols != b.rows:
            raise ValueError(
                f"batched_dot: shapes {shape_of(x)} and {shape_of(y)} do not fit: "
                f"the matrices are {a.rows} x {a.cols} and {b.rows} x {b.cols}"
            )
        for d in range(nb):
            n = cnp.PyArray_DIM(y, d) if self.a_stretches[d] else cnp.PyArray_DIM(x, d)
            if not self.b_stretches[d] and cnp.PyArray_DIM(y, d) != n:
                raise ValueError(
                    f"batched_dot: shapes {shape_of(x)} and {shape_of(y)} do not fit: "
                    f"dimension {d} has {n} and {cnp.PyArray_DIM(y, d)} elements"
                )
            dims[d] = n
            batches *= n
            index[d] = 0
            xs[d] = 0 if self.a_stretches[d] else cnp.PyArray_STRIDE(x, d)
            ys[d] = 0 if self.b_stretches[d] else cnp.PyArray_STRIDE(y, d)
        dims[nb] = a.rows
        dims[nb + 1] = b.cols
        out = memory.output(cells, self.out[0], self.typenum, nb + 2, dims)
        c = matrix(cnp.PyArray_BYTES(out), a.rows, b.cols, 0, 0)
        c.cs = cnp.PyArray_ITEMSIZE(out)
        c.rs = c.cs * b.cols
        with nogil:
            for n in range(batches):
                multiply(self.typenum, a, b, c, NULL, NULL)
                c.data += a.rows * c.rs
                for d in range(nb - 1, -1, -1):
                    index[d] += 1
                    a.data += xs[d]
                    b.data += ys[d]
                    if index[d] < dims[d]:
                        break
                    index[d] = 0
                    a.data -= xs[d] * dims[d]
                    b.data -= ys[d] * dims[d]
        return 0


cdef inline void bounds(cnp.ndarray x, char **low, char **high) noexcept:
    """The first byte of an array and the one after its last."""
    cdef int d
    cdef Py_ssize_t reach
    low[0] = high[0] = cnp.PyArray_BYTES(x)
    for d in range(cnp.PyArray_NDIM(x)):
        if cnp.PyArray_DIM(x, d) == 0:
            return
        reach = (cnp.PyArray_DIM(x, d) - 1) * cnp.PyArray_STRIDE(x, d)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(x)


cdef inline cnp.ndarray apart(cnp.ndarray x, cnp.ndarray z):
    """`x`, or a copy of it if it may share memory with `z`."""
    cdef char *x0
    cdef char *x1
    cdef char *z0
    cdef char *z1
    bounds(x, &x0, &x1)
    bounds(z, &z0, &z1)
    if x0 < z1 and z0 < x1:
        return cnp.PyArray_NewCopy(x, cnp.NPY_KEEPORDER)
    return x


cdef class Accumulation(Kernel):
    """`z = beta * z + alpha * a @ b`: what gemm, gemv and ger have in common.

    `roles` gives the positions of z, alpha, a, b and beta among the inputs.
    """

    cdef int typenum
    cdef bint inplace
    cdef int z, alpha, a, b, beta       # positions among the inputs; beta is -1 where it is 1
    cdef bint columns                   # vectors: b is a column and a a matrix, or the outer product
    cdef str name

    cdef int setup(self, int typenum, bint inplace, Py_ssize_t n_in, tuple roles, bint outer,
                   str name) except -1:
        self.arity(n_in, 1)
        self.typenum = typenum
        self.inplace = inplace
        self.z, self.alpha, self.a, self.b, self.beta = roles
        self.columns = not outer
        self.name = name
        blas.load()
        if not blas.serves(typenum) and typenum not in (
            cnp.NPY_FLOAT32, cnp.NPY_FLOAT64, cnp.NPY_COMPLEX64, cnp.NPY_COMPLEX128
        ):
            raise TypeError(f"{name} computes in float and complex dtypes")
        return 0

    cdef int fit(self, cnp.ndarray z, Matrix *c, Matrix *a, Matrix *b, PyObject **cells) except -1:
        """Check shapes."""
        if a.cols != b.rows or a.rows != c.rows or b.cols != c.cols:
            raise ValueError(
                f"{self.name}: the product of shapes "
                f"{shape_of(<cnp.ndarray> cells[self.inp[self.a]])} and "
                f"{shape_of(<cnp.ndarray> cells[self.inp[self.b]])} "
                f"cannot be added to shape {shape_of(z)}"
            )
        if self.inplace and not cnp.PyArray_ISWRITEABLE(z):
            raise ValueError(f"{self.name}: the array to be overwritten is read-only")
        return 0

    cdef int check(self, PyObject **cells) except -1:
        cdef cnp.ndarray z = <cnp.ndarray> cells[self.inp[self.z]]
        cdef Matrix a = as_matrix(<cnp.ndarray> cells[self.inp[self.a]], not self.columns)
        cdef Matrix b = as_matrix(<cnp.ndarray> cells[self.inp[self.b]], self.columns)
        cdef Matrix c = as_matrix(z, True)
        self.fit(z, &c, &a, &b, cells)
        return 1

    cdef int run(self, PyObject **cells) except -1:
        cdef cnp.ndarray z = <cnp.ndarray> cells[self.inp[self.z]]
        cdef cnp.ndarray x = <cnp.ndarray> cells[self.inp[self.a]]
        cdef cnp.ndarray y = <cnp.ndarray> cells[self.inp[self.b]]
        cdef cnp.ndarray out
        cdef Matrix a = as_matrix(x, not self.columns), b = as_matrix(y, self.columns)
        cdef Matrix c = as_matrix(z, True)
        cdef Value alpha, beta
        cdef Py_ssize_t item = cnp.PyArray_ITEMSIZE(z), k
        cdef char *value
        self.fit(z, &c, &a, &b, cells)
        # By value: the scalars may lie in the memory that is overwritten.
        value = cnp.PyArray_BYTES(<cnp.ndarray> cells[self.inp[self.alpha]])
        for k in range(item):
            (<char *> &alpha)[k] = value[k]
        if self.beta < 0:
            real_value(self.typenum, 1, &beta)
        else:
            value = cnp.PyArray_BYTES(<cnp.ndarray> cells[self.inp[self.beta]])
            for k in range(item):
                (<char *> &beta)[k] = value[k]
        if self.inplace:
            x = apart(x, z)
            y = apart(y, z)
            a = as_matrix(x, not self.columns)
            b = as_matrix(y, self.columns)
            product(self.typenum, a, b, c, &alpha, &beta)
            return memory.put(cells, self.out[0], z)
        out = memory.output(
            cells, self.out[0], self.typenum, cnp.PyArray_NDIM(z), cnp.PyArray_DIMS(z)
        )
        if not equals(self.typenum, &beta, 0):
            cnp.PyArray_CopyInto(out, z)
        c = as_matrix(out, True)
        return product(self.typenum, a, b, c, &alpha, &beta)

    def __repr__(self):
        return f"{type(self).__name__}({'inplace' if self.inplace else ''})"


cdef class GemmKernel(Accumulation):
    """`beta * z + alpha * dot(x, y)` of matrices; inputs z, alpha, x, y, beta."""

    def __init__(self, int typenum, bint inplace):
        self.setup(typenum, inplace, 5, (0, 1, 2, 3, 4), False, "gemm")


cdef class GemvKernel(Accumulation):
    """`beta * y + alpha * dot(A, x)` of a matrix and vectors; inputs y, alpha, A, x, beta."""

    def __init__(self, int typenum, bint inplace):
        self.setup(typenum, inplace, 5, (0, 1, 2, 3, 4), False, "gemv")


cdef class GerKernel(Accumulation):
    """`A + alpha * outer(x, y)` of a matrix and vectors; inputs A, alpha, x, y."""

    def __init__(self, int typenum, bint inplace):
        self.setup(typenum, inplace, 4, (0, 1, 2, 3, -1), True, "ger")
