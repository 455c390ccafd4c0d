# BLAS by type number. Ships in the wheel.
#
# `load` once (under the GIL) before anything else; then everything is callable without the GIL.
# Matrices are column-major (Fortran), extents and increments count elements, alpha and beta
# point to values of the dtype.


cdef int load() except -1
cdef bint serves(int typenum) noexcept nogil
cdef bint fits(Py_ssize_t extent) noexcept nogil

cdef void gemm(
    int typenum, char op_a, char op_b, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    void *alpha, void *a, Py_ssize_t lda, void *b, Py_ssize_t ldb,
    void *beta, void *c, Py_ssize_t ldc,
) noexcept nogil
cdef void gemv(
    int typenum, char op_a, Py_ssize_t m, Py_ssize_t n, void *alpha, void *a, Py_ssize_t lda,
    void *x, Py_ssize_t incx, void *beta, void *y, Py_ssize_t incy,
) noexcept nogil
cdef void ger(
    int typenum, Py_ssize_t m, Py_ssize_t n, void *alpha, void *x, Py_ssize_t incx,
    void *y, Py_ssize_t incy, void *a, Py_ssize_t lda,
) noexcept nogil
cdef bint has_dot(int typenum) noexcept nogil
cdef void dot(
    int typenum, Py_ssize_t n, void *x, Py_ssize_t incx, void *y, Py_ssize_t incy, void *result,
) noexcept nogil
