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

#define ROW_EXTREMES(T, NUMBER)                                                               \
    {"argmax_rows", 1, {NUMBER}, NPY_INT64, argmax_rows_##T},                                 \
    {"argmin_rows", 1, {NUMBER}, NPY_INT64, argmin_rows_##T},                                 \
    {"argmax_line", 1, {NUMBER}, NPY_INT64, argmax_line_##T},                                 \
    {"argmin_line", 1, {NUMBER}, NPY_INT64, argmin_line_##T},

#define REDUCE_ROWS                                                                           \
    INTEGER_TYPES(ROW_EXTREMES)                                                               \
    FLOAT_TYPES(ROW_EXTREMES)                                                                 \
    ROW_EXTREMES(c8, NPY_COMPLEX64)                                                           \
    ROW_EXTREMES(c16, NPY_COMPLEX128)

#endif
