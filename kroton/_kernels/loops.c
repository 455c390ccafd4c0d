/* Kroton's own inner loops.
 *
 * This file is compiled once for each instruction set, with KROTON_ISA naming it; everything in it
 * is static but one table. Each loop is written once as an expression of one element; the macros
 * give it a body for unit strides and for scalar operands, which compilers vectorise, and one
 * for any strides. Outputs may be exactly an input (an in-place call); no other overlap occurs.
 */
#include <Python.h>
#include "loops.h"
#include "elementary.h"
#include "special.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

typedef npy_bool b1;
typedef npy_int8 i1;
typedef npy_int16 i2;
typedef npy_int32 i4;
typedef npy_int64 i8;
typedef npy_uint8 u1;
typedef npy_uint16 u2;
typedef npy_uint32 u4;
typedef npy_uint64 u8;
typedef float f4;
typedef double f8;
typedef struct { float re, im; } c8;
typedef struct { double re, im; } c16;

#define ARGUMENTS \
    char **args, npy_intp const *dimensions, npy_intp const *steps, void *data

/* -- loops of one, two and three inputs ------------------------------------------------------- */

#define UNARY(NAME, TA, TO, EXPRESSION)                                                       \
    static void NAME(ARGUMENTS)                                                               \
    {                                                                                         \
        npy_intp n = dimensions[0], sa = steps[0], so = steps[1];                             \
        char *pa = args[0], *po = args[1];                                                    \
        if (sa == sizeof(TA) && so == sizeof(TO)) {                                           \
            const TA *va = (const TA *)pa;                                                    \
            TO *vo = (TO *)po;                                                                \
            INDEPENDENT for (npy_intp i = 0; i < n; i++)                                      \
            {                                                                                 \
                const TA a = va[i];                                                           \
                vo[i] = (EXPRESSION);                                                         \
            }                                                                                 \
        }                                                                                     \
        else {                                                                                \
            for (npy_intp i = 0; i < n; i++, pa += sa, po += so) {                            \
                const TA a = *(const TA *)pa;                                                 \
                *(TO *)po = (EXPRESSION);                                                     \
            }                                                                                 \
        }                                                                                     \
    }

/* b and c are each contiguous or one scalar where the fast bodies apply */
#define TERNARY_BODY(TA, TB, TC, TO, EXPRESSION, A, B, C)                                     \
    {                                                                                         \
        INDEPENDENT for (npy_intp i = 0; i < n; i++)                                          \
        {                                                                                     \
            const TA a = A;                                                                   \
            const TB b = B;                                                                   \
            const TC c = C;                                                                   \
            vo[i] = (EXPRESSION);                                                             \
        }                                                                                     \
    }

#define TERNARY(NAME, TA, TB, TC, TO, EXPRESSION)                                             \
    static void NAME(ARGUMENTS)                                                               \
    {                                                                                         \
        npy_intp n = dimensions[0], sa = steps[0], sb = steps[1], sc = steps[2], so = steps[3]; \
        char *pa = args[0], *pb = args[1], *pc = args[2], *po = args[3];                      \
        const TA *va = (const TA *)pa;                                                        \
        const TB *vb = (const TB *)pb;                                                        \
        const TC *vc = (const TC *)pc;                                                        \
        TO *vo = (TO *)po;                                                                    \
        if (n > 0 && sa == sizeof(TA) && so == sizeof(TO)                                     \
            && (sb == sizeof(TB) || sb == 0) && (sc == sizeof(TC) || sc == 0)) {              \
            const TB b0 = vb[0];                                                              \
            const TC c0 = vc[0];                                                              \
            if (sb != 0 && sc != 0)                                                           \
                TERNARY_BODY(TA, TB, TC, TO, EXPRESSION, va[i], vb[i], vc[i])                 \
            else if (sb != 0)                                                                 \
                TERNARY_BODY(TA, TB, TC, TO, EXPRESSION, va[i], vb[i], c0)                    \
            else if (sc != 0)                                                                 \
                TERNARY_BODY(TA, TB, TC, TO, EXPRESSION, va[i], b0, vc[i])                    \
            else                                                                              \
                TERNARY_BODY(TA, TB, TC, TO, EXPRESSION, va[i], b0, c0)                       \
        }                                                                                     \
        else {                                                                                \
            for (npy_intp i = 0; i < n; i++, pa += sa, pb += sb, pc += sc, po += so) {        \
                const TA a = *(const TA *)pa;                                                 \
                const TB b = *(const TB *)pb;                                                 \
                const TC c = *(const TC *)pc;                                                 \
                *(TO *)po = (EXPRESSION);                                                     \
            }                                                                                 \
        }                                                                                     \
    }

/* -- the types --------------------------------------------------------------------------------- */

/* X(type, type number, kind); the second list exists because a macro cannot expand in itself */
#define REAL_TYPES(X, ...)                                                                    \
    X(b1, NPY_BOOL, b, __VA_ARGS__)                                                           \
    X(i1, NPY_INT8, i, __VA_ARGS__)                                                           \
    X(i2, NPY_INT16, i, __VA_ARGS__)                                                          \
    X(i4, NPY_INT32, i, __VA_ARGS__)                                                          \
    X(i8, NPY_INT64, i, __VA_ARGS__)                                                          \
    X(u1, NPY_UINT8, i, __VA_ARGS__)                                                          \
    X(u2, NPY_UINT16, i, __VA_ARGS__)                                                         \
    X(u4, NPY_UINT32, i, __VA_ARGS__)                                                         \
    X(u8, NPY_UINT64, i, __VA_ARGS__)                                                         \
    X(f4, NPY_FLOAT32, f, __VA_ARGS__)                                                        \
    X(f8, NPY_FLOAT64, f, __VA_ARGS__)
#define TYPES(X, ...)                                                                         \
    REAL_TYPES(X, __VA_ARGS__)                                                                \
    X(c8, NPY_COMPLEX64, c, __VA_ARGS__)                                                      \
    X(c16, NPY_COMPLEX128, c, __VA_ARGS__)
#define INTEGER_TYPES(X)                                                                      \
    X(b1, NPY_BOOL) X(i1, NPY_INT8) X(i2, NPY_INT16) X(i4, NPY_INT32) X(i8, NPY_INT64)        \
    X(u1, NPY_UINT8) X(u2, NPY_UINT16) X(u4, NPY_UINT32) X(u8, NPY_UINT64)
#define FLOAT_TYPES(X) X(f4, NPY_FLOAT32) X(f8, NPY_FLOAT64)

/* -- casts ---------------------------------------------------------------------------------------- */

#define REAL_OF_b(a) (a)
#define REAL_OF_i(a) (a)
#define REAL_OF_f(a) (a)
#define REAL_OF_c(a) ((a).re)
#define IMAG_OF_b(a) 0
#define IMAG_OF_i(a) 0
#define IMAG_OF_f(a) 0
#define IMAG_OF_c(a) ((a).im)

#define TO_b1(K, a) (REAL_OF_##K(a) != 0 || IMAG_OF_##K(a) != 0)
#define TO_i1(K, a) (i1) REAL_OF_##K(a)
#define TO_i2(K, a) (i2) REAL_OF_##K(a)
#define TO_i4(K, a) (i4) REAL_OF_##K(a)
#define TO_i8(K, a) (i8) REAL_OF_##K(a)
#define TO_u1(K, a) (u1) REAL_OF_##K(a)
#define TO_u2(K, a) (u2) REAL_OF_##K(a)
#define TO_u4(K, a) (u4) REAL_OF_##K(a)
#define TO_u8(K, a) (u8) REAL_OF_##K(a)
#define TO_f4(K, a) (f4) REAL_OF_##K(a)
#define TO_f8(K, a) (f8) REAL_OF_##K(a)
#define TO_c8(K, a) ((c8){(f4)REAL_OF_##K(a), (f4)IMAG_OF_##K(a)})
#define TO_c16(K, a) ((c16){(f8)REAL_OF_##K(a), (f8)IMAG_OF_##K(a)})

#define CAST(T, NUMBER, K, TO, ...) UNARY(cast_##T##_##TO, T, TO, TO_##TO(K, a))
TYPES(CAST, b1)
TYPES(CAST, i1)
TYPES(CAST, i2)
TYPES(CAST, i4)
TYPES(CAST, i8)
TYPES(CAST, u1)
TYPES(CAST, u2)
TYPES(CAST, u4)
TYPES(CAST, u8)
TYPES(CAST, f4)
TYPES(CAST, f8)
TYPES(CAST, c8)
TYPES(CAST, c16)

/* -- copies and choice -------------------------------------------------------------------------- */

#define COPIES(T, ...)                                                                        \
    UNARY(identity_##T, T, T, a)                                                              \
    TERNARY(switch_##T, b1, T, T, T, a ? b : c)                                               \
    static void second_##T(ARGUMENTS)                                                         \
    {                                                                                         \
        char *shifted_args[2] = {args[1], args[2]};                                           \
        npy_intp shifted_steps[2] = {steps[1], steps[2]};                                     \
        identity_##T(shifted_args, dimensions, shifted_steps, data);                          \
    }
TYPES(COPIES)

/* As NumPy's clip: NaN where any of the three is. */
#define CLIP_INTEGER(T, NUMBER) \
    TERNARY(clip_##T, T, T, T, T, (a > b ? a : b) < c ? (a > b ? a : b) : c)
#define UPPER(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define LOWER(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define CLIP_FLOAT(T, NUMBER) TERNARY(clip_##T, T, T, T, T, LOWER(UPPER(a, b), c))
INTEGER_TYPES(CLIP_INTEGER)
FLOAT_TYPES(CLIP_FLOAT)

/* -- complex parts -------------------------------------------------------------------------------- */

#define ZERO(T, ...) UNARY(zero_##T, T, T, (T)(0 * (a == a)))
REAL_TYPES(ZERO)
UNARY(real_c8, c8, f4, a.re)
UNARY(real_c16, c16, f8, a.re)
UNARY(imag_c8, c8, f4, a.im)
UNARY(imag_c16, c16, f8, a.im)
UNARY(angle_c8, c8, f4, atan2f(a.im, a.re))
UNARY(angle_c16, c16, f8, atan2(a.im, a.re))
UNARY(angle_f4, f4, f4, atan2f(0.0f, a))
UNARY(angle_f8, f8, f8, atan2(0.0, a))

/* -- negation: for an output that is not contiguous, NumPy 2.4's AVX2 loops read inputs of a stride
 * of four 32-bit or eight 64-bit elements as if they were contiguous ------------------------------ */

UNARY(neg_i4, i4, i4, (i4)(0 - (u4)a))
UNARY(neg_i8, i8, i8, (i8)(0 - (u8)a))
UNARY(neg_f4, f4, f4, -a)
UNARY(neg_f8, f8, f8, -a)

/* -- tests; NumPy 2.4's write wrong answers where the output is strided --------------------------- */

UNARY(isnan_f4, f4, b1, a != a)
UNARY(isnan_f8, f8, b1, a != a)
UNARY(isnan_c8, c8, b1, a.re != a.re || a.im != a.im)
UNARY(isnan_c16, c16, b1, a.re != a.re || a.im != a.im)
UNARY(isinf_f4, f4, b1, fabsf(a) == INFINITY)
UNARY(isinf_f8, f8, b1, fabs(a) == INFINITY)
UNARY(isinf_c8, c8, b1, fabsf(a.re) == INFINITY || fabsf(a.im) == INFINITY)
UNARY(isinf_c16, c16, b1, fabs(a.re) == INFINITY || fabs(a.im) == INFINITY)

UNARY(isfinite_f4, f4, b1, fabsf(a) < INFINITY)
UNARY(isfinite_f8, f8, b1, fabs(a) < INFINITY)
UNARY(isfinite_c8, c8, b1, fabsf(a.re) < INFINITY && fabsf(a.im) < INFINITY)
UNARY(isfinite_c16, c16, b1, fabs(a.re) < INFINITY && fabs(a.im) < INFINITY)
UNARY(signbit_f4, f4, b1, signbit(a) != 0)
UNARY(signbit_f8, f8, b1, signbit(a) != 0)

/* -- functions of a real number --------------------------------------------------------------------- */

UNARY(round_away_loop_f4, f4, f4, round_away_f32(a))
UNARY(round_away_loop_f8, f8, f8, round_away_f64(a))
UNARY(sigmoid_loop_f4, f4, f4, sigmoid_f32(a))
UNARY(sigmoid_loop_f8, f8, f8, sigmoid_f64(a))
UNARY(softplus_loop_f4, f4, f4, softplus_f32(a))
UNARY(softplus_loop_f8, f8, f8, softplus_f64(a))
UNARY(exp_loop_f4, f4, f4, exp_f32(a))
UNARY(exp_loop_f8, f8, f8, exp_f64(a))
UNARY(log_loop_f4, f4, f4, log_f32(a))
UNARY(log_loop_f8, f8, f8, log_f64(a))
UNARY(log1p_loop_f4, f4, f4, log1p_f32(a))
UNARY(log1p_loop_f8, f8, f8, log1p_f64(a))
UNARY(expm1_loop_f4, f4, f4, expm1_f32(a))
UNARY(expm1_loop_f8, f8, f8, expm1_f64(a))
UNARY(tanh_loop_f4, f4, f4, tanh_f32(a))
UNARY(tanh_loop_f8, f8, f8, tanh_f64(a))

/* Elements of PERIODIC_LIMIT and beyond, and what is not finite, are the C library's; rows without
 * such are computed in vectors. */
#define PERIODIC(NAME)                                                                        \
    static inline f8 NAME##_any(f8 a)                                                         \
    {                                                                                         \
        return fabs(a) < PERIODIC_LIMIT ? NAME##_f64(a) : NAME(a);                            \
    }                                                                                         \
    static void NAME##_loop_f8(ARGUMENTS)                                                     \
    {                                                                                         \
        const npy_intp sa = steps[0], so = steps[1];                                          \
        npy_intp left = dimensions[0];                                                        \
        char *pa = args[0], *po = args[1];                                                    \
        while (left > 0) {                                                                    \
            const npy_intp n = left < 1024 ? left : 1024;                                     \
            int within = sa == sizeof(f8) && so == sizeof(f8);                                \
            if (within) {                                                                     \
                const f8 *va = (const f8 *)pa;                                                \
                f8 *vo = (f8 *)po;                                                            \
                for (npy_intp i = 0; i < n; i++)                                              \
                    within &= fabs(va[i]) < PERIODIC_LIMIT;                                   \
                if (within)                                                                   \
                    INDEPENDENT for (npy_intp i = 0; i < n; i++) vo[i] = NAME##_f64(va[i]);   \
            }                                                                                 \
            if (!within)                                                                      \
                for (npy_intp i = 0; i < n; i++)                                              \
                    *(f8 *)(po + i * so) = NAME##_any(*(const f8 *)(pa + i * sa));            \
            pa += n * sa;                                                                     \
            po += n * so;                                                                     \
            left -= n;                                                                        \
        }                                                                                     \
    }
PERIODIC(sin)
PERIODIC(cos)

UNARY(erf_f4, f4, f4, erff(a))
UNARY(erf_f8, f8, f8, erf(a))
UNARY(erfc_f4, f4, f4, erfcf(a))
UNARY(erfc_f8, f8, f8, erfc(a))
UNARY(gamma_f4, f4, f4, (f4)gamma_f64(a))
UNARY(gamma_f8, f8, f8, gamma_f64(a))
UNARY(gammaln_f4, f4, f4, (f4)gammaln_f64(a))
UNARY(gammaln_f8, f8, f8, gammaln_f64(a))
UNARY(psi_f4, f4, f4, (f4)psi_f64(a))
UNARY(psi_f8, f8, f8, psi_f64(a))
UNARY(tri_gamma_f4, f4, f4, (f4)tri_gamma_f64(a))
UNARY(tri_gamma_f8, f8, f8, tri_gamma_f64(a))

#include "reduce_loops.h"

/* -- the table -------------------------------------------------------------------------------------- */

#define ROW1(NAME, A, OUT, FUNCTION) {NAME, 1, {A}, OUT, FUNCTION},
#define ROW_CAST(T, NUMBER, K, TO, TO_NUMBER) ROW1("cast", NUMBER, TO_NUMBER, cast_##T##_##TO)
#define ROW_COPIES(T, NUMBER, ...)                                                            \
    ROW1("identity", NUMBER, NUMBER, identity_##T)                                            \
    {"second", 2, {KROTON_ANY_TYPE, NUMBER}, NUMBER, second_##T},                             \
    {"switch", 3, {NPY_BOOL, NUMBER, NUMBER}, NUMBER, switch_##T},
#define ROW_CLIP(T, NUMBER) {"clip", 3, {NUMBER, NUMBER, NUMBER}, NUMBER, clip_##T},
#define ROW_REAL(T, NUMBER, ...)                                                              \
    ROW1("real", NUMBER, NUMBER, identity_##T)                                                \
    ROW1("imag", NUMBER, NUMBER, zero_##T)
#define ROW_WHOLE(T, NUMBER)                                                                  \
    ROW1("ceil", NUMBER, NUMBER, identity_##T)                                                \
    ROW1("floor", NUMBER, NUMBER, identity_##T)                                               \
    ROW1("trunc", NUMBER, NUMBER, identity_##T)                                               \
    ROW1("round_half_to_even", NUMBER, NUMBER, identity_##T)                                  \
    ROW1("round_half_away_from_zero", NUMBER, NUMBER, identity_##T)
#define ROW_TESTS(NAME, FUNCTION)                                                             \
    ROW1(NAME, NPY_FLOAT32, NPY_BOOL, FUNCTION##_f4)                                          \
    ROW1(NAME, NPY_FLOAT64, NPY_BOOL, FUNCTION##_f8)                                          \
    ROW1(NAME, NPY_COMPLEX64, NPY_BOOL, FUNCTION##_c8)                                        \
    ROW1(NAME, NPY_COMPLEX128, NPY_BOOL, FUNCTION##_c16)
#define ROW_FLOATS(NAME, FUNCTION)                                                            \
    ROW1(NAME, NPY_FLOAT32, NPY_FLOAT32, FUNCTION##_f4)                                       \
    ROW1(NAME, NPY_FLOAT64, NPY_FLOAT64, FUNCTION##_f8)

/* Data only: reading it is safe on a machine without the instruction set. */
const kroton_loop JOIN(kroton_loops_, KROTON_ISA)[] = {
    TYPES(ROW_CAST, b1, NPY_BOOL)
    TYPES(ROW_CAST, i1, NPY_INT8)
    TYPES(ROW_CAST, i2, NPY_INT16)
    TYPES(ROW_CAST, i4, NPY_INT32)
    TYPES(ROW_CAST, i8, NPY_INT64)
    TYPES(ROW_CAST, u1, NPY_UINT8)
    TYPES(ROW_CAST, u2, NPY_UINT16)
    TYPES(ROW_CAST, u4, NPY_UINT32)
    TYPES(ROW_CAST, u8, NPY_UINT64)
    TYPES(ROW_CAST, f4, NPY_FLOAT32)
    TYPES(ROW_CAST, f8, NPY_FLOAT64)
    TYPES(ROW_CAST, c8, NPY_COMPLEX64)
    TYPES(ROW_CAST, c16, NPY_COMPLEX128)
    TYPES(ROW_COPIES)
    INTEGER_TYPES(ROW_CLIP)
    FLOAT_TYPES(ROW_CLIP)
    INTEGER_TYPES(ROW_WHOLE)
    REAL_TYPES(ROW_REAL)
    ROW1("real", NPY_COMPLEX64, NPY_FLOAT32, real_c8)
    ROW1("real", NPY_COMPLEX128, NPY_FLOAT64, real_c16)
    ROW1("imag", NPY_COMPLEX64, NPY_FLOAT32, imag_c8)
    ROW1("imag", NPY_COMPLEX128, NPY_FLOAT64, imag_c16)
    ROW1("angle", NPY_COMPLEX64, NPY_FLOAT32, angle_c8)
    ROW1("angle", NPY_COMPLEX128, NPY_FLOAT64, angle_c16)
    ROW_FLOATS("angle", angle)
    ROW1("neg", NPY_INT32, NPY_INT32, neg_i4)
    ROW1("neg", NPY_INT64, NPY_INT64, neg_i8)
    ROW_FLOATS("neg", neg)
    ROW_TESTS("isnan", isnan)
    ROW_TESTS("isinf", isinf)
    ROW_TESTS("isfinite", isfinite)
    ROW1("signbit", NPY_FLOAT32, NPY_BOOL, signbit_f4)
    ROW1("signbit", NPY_FLOAT64, NPY_BOOL, signbit_f8)
    ROW_FLOATS("round_half_away_from_zero", round_away_loop)
    ROW_FLOATS("sigmoid", sigmoid_loop)
    ROW_FLOATS("softplus", softplus_loop)
#if !defined(__AVX512F__)
    /* NumPy vectorises most of these for AVX-512 only. */
    ROW_FLOATS("exp", exp_loop)
    ROW_FLOATS("log", log_loop)
    ROW_FLOATS("log1p", log1p_loop)
    ROW_FLOATS("expm1", expm1_loop)
#endif
    ROW_FLOATS("tanh", tanh_loop)
    ROW1("sin", NPY_FLOAT64, NPY_FLOAT64, sin_loop_f8)
    ROW1("cos", NPY_FLOAT64, NPY_FLOAT64, cos_loop_f8)
    ROW_FLOATS("erf", erf)
    ROW_FLOATS("erfc", erfc)
    ROW_FLOATS("gamma", gamma)
    ROW_FLOATS("gammaln", gammaln)
    ROW_FLOATS("psi", psi)
    ROW_FLOATS("tri_gamma", tri_gamma)
    REDUCE_ROWS
    {NULL},
};
