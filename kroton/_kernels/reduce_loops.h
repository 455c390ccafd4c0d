/* Loops that reduce, compiled by loops.c once for each instruction set.
 *
 * Positions of extremes take args = {x, best, where} and data = the position of this row:
 * element k of `best` (contiguous) is replaced by x[k] where that is more extreme, and element
 * k of `where` by the position. NaN is more extreme than any number, the first one stays.
 */
#ifndef KROTON_REDUCE_LOOPS_H
#define KROTON_REDUCE_LOOPS_H

#define LEXICOGRAPHIC(a, OP, b) ((a).re OP (b).re || ((a).re == (b).re && (a).im OP (b).im))
#define IS_NAN_C(a) ((a).re != (a).re || (a).im != (a).im)
#define BEYOND_INTEGER(a, OP, b) ((a) OP (b))
#define BEYOND_FLOAT(a, OP, b) (((a) OP (b) || (a) != (a)) && (b) == (b))
#define BEYOND_COMPLEX(a, OP, b) ((LEXICOGRAPHIC(a, OP, b) || IS_NAN_C(a)) && !IS_NAN_C(b))

#define EXTREME_LOOPS(NAME, T, BEYOND, OP)                                                    \
    static void NAME##_rows_##T(ARGUMENTS)                                                    \
    {                                                                                         \
        const npy_intp n = dimensions[0], s = steps[0];                                       \
        const char *x = args[0];                                                              \
        T *best = (T *)args[1];                                                               \
        npy_int64 *where = (npy_int64 *)args[2];                                              \
        const npy_int64 position = *(const npy_int64 *)data;                                  \
        if (s == sizeof(T)) {                                                                 \
            const T *v = (const T *)x;                                                        \
            INDEPENDENT for (npy_intp k = 0; k < n; k++)                                      \
            {                                                                                 \
                const T a = v[k], b = best[k];                                                \
                const int take = BEYOND(a, OP, b);                                            \
                best[k] = take ? a : b;                                                       \
                where[k] = take ? position : where[k];                                        \
            }                                                                                 \
        }                                                                                     \
        else {                                                                                \
            for (npy_intp k = 0; k < n; k++) {                                                \
                const T a = *(const T *)(x + k * s), b = best[k];                             \
                if (BEYOND(a, OP, b)) {                                                       \
                    best[k] = a;                                                              \
                    where[k] = position;                                                      \
                }                                                                             \
            }                                                                                 \
        }                                                                                     \
    }                                                                                         \
    /* One line of n elements against one best: `data` is the position of its first. */       \
    static void NAME##_line_##T(ARGUMENTS)                                                    \
    {                                                                                         \
        const npy_intp n = dimensions[0], s = steps[0];                                       \
        const char *x = args[0];                                                              \
        T best = *(T *)args[1];                                                               \
        npy_int64 where = *(npy_int64 *)args[2];                                              \
        const npy_int64 position = *(const npy_int64 *)data;                                  \
        for (npy_intp k = 0; k < n; k++) {                                                    \
            const T a = *(const T *)(x + k * s);                                              \
            if (BEYOND(a, OP, best)) {                                                        \
                best = a;                                                                     \
                where = position + k;                                                         \
            }                                                                                 \
        }                                                                                     \
        *(T *)args[1] = best;                                                                 \
        *(npy_int64 *)args[2] = where;                                                        \
    }

#define EXTREMES_INTEGER(T, ...)                                                              \
    EXTREME_LOOPS(argmax, T, BEYOND_INTEGER, >)                                               \
    EXTREME_LOOPS(argmin, T, BEYOND_INTEGER, <)
#define EXTREMES_FLOAT(T, ...)                                                                \
    EXTREME_LOOPS(argmax, T, BEYOND_FLOAT, >)                                                 \
    EXTREME_LOOPS(argmin, T, BEYOND_FLOAT, <)
#define EXTREMES_COMPLEX(T)                                                                   \
    EXTREME_LOOPS(argmax, T, BEYOND_COMPLEX, >)                                               \
    EXTREME_LOOPS(argmin, T, BEYOND_COMPLEX, <)

INTEGER_TYPES(EXTREMES_INTEGER)
FLOAT_TYPES(EXTREMES_FLOAT)
EXTREMES_COMPLEX(c8)
EXTREMES_COMPLEX(c16)

/* Sums take args = {acc, x, acc}; steps[0] is 0 where all x go into one accumulator. */

/* The pairwise sum of n elements: LANES sums in turn over at most LEAF elements, halves of a
 * multiple of LANES above. With 8 and 128 it has NumPy's order, and so NumPy's bits. */
#define PAIRWISE(NAME, T, LANES, LEAF)                                                        \
    static T NAME(const char *x, npy_intp n, npy_intp s)                                      \
    {                                                                                         \
        if (n < LANES) {                                                                      \
            T sum = (T)-0.0;                                                                  \
            for (npy_intp k = 0; k < n; k++)                                                  \
                sum += *(const T *)(x + k * s);                                               \
            return sum;                                                                       \
        }                                                                                     \
        if (n > LEAF) {                                                                       \
            npy_intp half = n / 2;                                                            \
            half -= half % LANES;                                                             \
            return NAME(x, half, s) + NAME(x + half * s, n - half, s);                        \
        }                                                                                     \
        T r[LANES];                                                                           \
        npy_intp k = LANES;                                                                   \
        if (s == sizeof(T)) {                                                                 \
            const T *v = (const T *)x;                                                        \
            for (int j = 0; j < LANES; j++)                                                   \
                r[j] = v[j];                                                                  \
            for (; k < n - n % LANES; k += LANES)                                             \
                for (int j = 0; j < LANES; j++)                                               \
                    r[j] += v[k + j];                                                         \
        }                                                                                     \
        else {                                                                                \
            for (int j = 0; j < LANES; j++)                                                   \
                r[j] = *(const T *)(x + j * s);                                               \
            for (; k < n - n % LANES; k += LANES)                                             \
                for (int j = 0; j < LANES; j++)                                               \
                    r[j] += *(const T *)(x + (k + j) * s);                                    \
        }                                                                                     \
        for (int width = 1; width < LANES; width *= 2)                                        \
            for (int j = 0; j < LANES; j += 2 * width)                                        \
                r[j] += r[j + width];                                                         \
        T sum = r[0];                                                                         \
        for (; k < n; k++)                                                                    \
            sum += *(const T *)(x + k * s);                                                   \
        return sum;                                                                           \
    }

/* Integers add up in any order; narrow ones are widened on the way. */
#define ANY_ORDER(TA, TO)                                                                     \
    static TO total_##TA##_##TO(const char *x, npy_intp n, npy_intp s)                        \
    {                                                                                         \
        TO sum = 0;                                                                           \
        if (s == sizeof(TA)) {                                                                \
            const TA *v = (const TA *)x;                                                      \
            for (npy_intp k = 0; k < n; k++)                                                  \
                sum += (TO)v[k];                                                              \
        }                                                                                     \
        else {                                                                                \
            for (npy_intp k = 0; k < n; k++)                                                  \
                sum += (TO) * (const TA *)(x + k * s);                                        \
        }                                                                                     \
        return sum;                                                                           \
    }

#define REDUCE_ADD(TA, TO, TOTAL) ADD_LOOP(reduce_add_##TA##_##TO, TA, TO, TOTAL)
#define ADD_LOOP(NAME, TA, TO, TOTAL)                                                         \
    static void NAME(ARGUMENTS)                                                               \
    {                                                                                         \
        const npy_intp n = dimensions[0], so = steps[0], s = steps[1];                        \
        char *acc = args[0];                                                                  \
        const char *x = args[1];                                                              \
        if (so == 0)                                                                          \
            *(TO *)acc += TOTAL(x, n, s);                                                     \
        else if (so == sizeof(TO) && s == sizeof(TA)) {                                       \
            TO *o = (TO *)acc;                                                                \
            const TA *v = (const TA *)x;                                                      \
            INDEPENDENT for (npy_intp k = 0; k < n; k++) o[k] += (TO)v[k];                    \
        }                                                                                     \
        else {                                                                                \
            for (npy_intp k = 0; k < n; k++)                                                  \
                *(TO *)(acc + k * so) += (TO) * (const TA *)(x + k * s);                      \
        }                                                                                     \
    }

PAIRWISE(pairwise_f4, f4, 8, 128)
PAIRWISE(pairwise_f8, f8, 8, 128)
/* Where NumPy's bits are not asked for: more sums at a time, which do not wait for each other. */
PAIRWISE(wide_f4, f4, 32, 512)
PAIRWISE(wide_f8, f8, 16, 256)
ADD_LOOP(wide_add_f4, f4, f4, wide_f4)
ADD_LOOP(wide_add_f8, f8, f8, wide_f8)
REDUCE_ADD(f4, f4, pairwise_f4)
REDUCE_ADD(f8, f8, pairwise_f8)
#define WIDENING_ADD(TA, TO) ANY_ORDER(TA, TO) REDUCE_ADD(TA, TO, total_##TA##_##TO)
/* Signed sums wrap: they are taken in unsigned numbers. */
/* True is 1: up to 255 rows of 32 truths are counted in bytes. */
static u8 total_b1_u8(const char *x, npy_intp n, npy_intp s)
{
    u8 sum = 0;
    if (s == 1) {
        const u1 *v = (const u1 *)x;
        while (n >= 32) {
            const npy_intp rows = n / 32 < 255 ? n / 32 : 255;
            u1 lanes[32] = {0};
            for (npy_intp k = 0; k < rows; k++)
                for (int j = 0; j < 32; j++)
                    lanes[j] += v[32 * k + j];
            for (int j = 0; j < 32; j++)
                sum += lanes[j];
            v += 32 * rows;
            n -= 32 * rows;
        }
        x = (const char *)v;
    }
    for (npy_intp k = 0; k < n; k++)
        sum += *(const u1 *)(x + k * s);
    return sum;
}
REDUCE_ADD(b1, u8, total_b1_u8)
WIDENING_ADD(i1, u8)
WIDENING_ADD(i2, u8)
WIDENING_ADD(i4, u8)
WIDENING_ADD(i8, u8)
WIDENING_ADD(u1, u8)
WIDENING_ADD(u2, u8)
WIDENING_ADD(u4, u8)

#define ROW_ADD(TA, IN, OUT) {"reduce_add", 2, {OUT, IN}, OUT, reduce_add_##TA##_u8},

#define ROW_EXTREMES(T, NUMBER)                                                               \
    {"argmax_rows", 1, {NUMBER}, NPY_INT64, argmax_rows_##T},                                 \
    {"argmin_rows", 1, {NUMBER}, NPY_INT64, argmin_rows_##T},                                 \
    {"argmax_line", 1, {NUMBER}, NPY_INT64, argmax_line_##T},                                 \
    {"argmin_line", 1, {NUMBER}, NPY_INT64, argmin_line_##T},

#define REDUCE_ROWS                                                                           \
    {"reduce_add", 2, {NPY_FLOAT32, NPY_FLOAT32}, NPY_FLOAT32, reduce_add_f4_f4},             \
    {"reduce_add", 2, {NPY_FLOAT64, NPY_FLOAT64}, NPY_FLOAT64, reduce_add_f8_f8},             \
    {"wide_add", 2, {NPY_FLOAT32, NPY_FLOAT32}, NPY_FLOAT32, wide_add_f4},                    \
    {"wide_add", 2, {NPY_FLOAT64, NPY_FLOAT64}, NPY_FLOAT64, wide_add_f8},                    \
    ROW_ADD(b1, NPY_BOOL, NPY_INT64)                                                          \
    ROW_ADD(i1, NPY_INT8, NPY_INT64)                                                          \
    ROW_ADD(i2, NPY_INT16, NPY_INT64)                                                         \
    ROW_ADD(i4, NPY_INT32, NPY_INT64)                                                         \
    ROW_ADD(i8, NPY_INT64, NPY_INT64)                                                         \
    ROW_ADD(u1, NPY_UINT8, NPY_UINT64)                                                        \
    ROW_ADD(u2, NPY_UINT16, NPY_UINT64)                                                       \
    ROW_ADD(u4, NPY_UINT32, NPY_UINT64)                                                       \
    INTEGER_TYPES(ROW_EXTREMES)                                                               \
    FLOAT_TYPES(ROW_EXTREMES)                                                                 \
    ROW_EXTREMES(c8, NPY_COMPLEX64)                                                           \
    ROW_EXTREMES(c16, NPY_COMPLEX128)

#endif
