/* Elementary functions of one float or double, in straight-line code that compilers vectorise.
 *
 * No branches, no tables, no calls; every selection is a blend. None of it relies on fused
 * multiply-add, so that all instruction sets give the same bits. Errors are below 4 ulp (the
 * tests measure them); infinities, NaN, signed zeros and subnormals come out as C's libm has them.
 *
 * exp, expm1:  x = n ln 2 + r with ln 2 in two parts (Cody and Waite, "Software Manual for the
 *     Elementary Functions", 1980); exp(r) = 1 + r + r^2 P(r), P the Chebyshev fit of
 *     (exp(r) - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2].
 * log, log1p:  x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), and
 *     log(1 + f) = f - f^2 / 2 + s (f^2 / 2 + R(s^2)), s = f / (2 + f): P. T. P. Tang, "Table-driven
 *     implementation of the logarithm function", ACM TOMS 16 (1990), with the coefficients of R
 *     that K. C. Ng found for FreeBSD's msun.
 * sin, cos (double):  x = n pi/2 + y with pi/2 in parts of 33 bits, so that n times a part is exact,
 *     and y in two numbers (Cody and Waite; W. Kahan, "Minimizing q*m - n", 1983); then Ng's
 *     polynomials on [-pi/4, pi/4]. For |x| < PERIODIC_LIMIT; beyond it is the C library's turn.
 */
#ifndef KROTON_ELEMENTARY_H
#define KROTON_ELEMENTARY_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t bits_f64(double x) { uint64_t u; memcpy(&u, &x, 8); return u; }
static inline double from_bits_f64(uint64_t u) { double x; memcpy(&x, &u, 8); return x; }
static inline uint32_t bits_f32(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
static inline float from_bits_f32(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* Adding this to a number below 2^51 in size leaves its nearest integer in the low bits. */
#define SHIFT_F64 0x1.8p52
#define SHIFT_F32 0x1.8p23f

#define LN2_HI_F64 0x1.62e42feep-1
#define LN2_LO_F64 0x1.a39ef35793c76p-33
#define LOG2E_F64 0x1.71547652b82fep+0
#define LN2_HI_F32 0x1.62e4p-1f
#define LN2_LO_F32 0x1.7f7d1cp-20f
#define LOG2E_F32 0x1.715476p+0f

static inline double rint_f64(double x) { return (x + SHIFT_F64) - SHIFT_F64; }
static inline float rint_f32(float x) { return (x + SHIFT_F32) - SHIFT_F32; }

/* 2^n for an integer n, -1022 <= n <= 1023 (f32: -126 <= n <= 127) */
static inline double exp2i_f64(double n)
{
    return from_bits_f64(bits_f64(n + (SHIFT_F64 + 1023.0)) << 52);
}
static inline float exp2i_f32(float n)
{
    return from_bits_f32(bits_f32(n + (SHIFT_F32 + 127.0f)) << 23);
}

/* exp(r) - 1 for |r| <= ln(2) / 2 */
static inline double expm1_reduced_f64(double r)
{
    double p = 0x1.af38a9b0ec855p-26;
    p = p * r + 0x1.289185613a3d6p-22;
    p = p * r + 0x1.71de0dae63bb3p-19;
    p = p * r + 0x1.a019b90d2ae7ap-16;
    p = p * r + 0x1.a01a01a7c41d5p-13;
    p = p * r + 0x1.6c16c1788bd90p-10;
    p = p * r + 0x1.11111111109b3p-7;
    p = p * r + 0x1.5555555553d63p-5;
    p = p * r + 0x1.5555555555556p-3;
    p = p * r + 0x1.0000000000001p-1;
    return r + (r * r) * p;
}
static inline float expm1_reduced_f32(float r)
{
    float p = 0x1.a124f2p-13f;
    p = p * r + 0x1.6d4324p-10f;
    p = p * r + 0x1.1110e1p-7f;
    p = p * r + 0x1.5554eap-5f;
    p = p * r + 0x1.555556p-3f;
    p = p * r + 0x1.000000p-1f;
    return r + (r * r) * p;
}

static inline double exp_f64(double x)
{
    x = x < -746.0 ? -746.0 : x;
    x = x > 710.0 ? 710.0 : x;
    double n = rint_f64(x * LOG2E_F64);
    double r = (x - n * LN2_HI_F64) - n * LN2_LO_F64;
    double half = rint_f64(n * 0.5); /* 2^n may be out of range where 2^n exp(r) is not */
    return (1.0 + expm1_reduced_f64(r)) * exp2i_f64(half) * exp2i_f64(n - half);
}
static inline float exp_f32(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float n = rint_f32(x * LOG2E_F32);
    float r = (x - n * LN2_HI_F32) - n * LN2_LO_F32;
    float half = rint_f32(n * 0.5f);
    return (1.0f + expm1_reduced_f32(r)) * exp2i_f32(half) * exp2i_f32(n - half);
}

static inline double expm1_f64(double x)
{
    double y = x < -50.0 ? -50.0 : x;
    y = y > 710.0 ? 710.0 : y;
    double n = rint_f64(y * LOG2E_F64);
    double r = (y - n * LN2_HI_F64) - n * LN2_LO_F64;
    double s = exp2i_f64(n - 1.0); /* half of 2^n, which is out of range for n = 1024 */
    double result = 2.0 * (s * expm1_reduced_f64(r) + (s - 0.5));
    return fabs(x) < 0x1p-54 ? x : result;
}
static inline float expm1_f32(float x)
{
    float y = x < -25.0f ? -25.0f : x;
    y = y > 89.0f ? 89.0f : y;
    float n = rint_f32(y * LOG2E_F32);
    float r = (y - n * LN2_HI_F32) - n * LN2_LO_F32;
    float s = exp2i_f32(n - 1.0f);
    float result = 2.0f * (s * expm1_reduced_f32(r) + (s - 0.5f));
    return fabsf(x) < 0x1p-25f ? x : result;
}

/* k ln 2 + log(1 + f) + c, c tiny */
static inline double log_reduced_f64(double k, double f, double c)
{
    double s = f / (2.0 + f), z = s * s, w = z * z;
    double even = w * (3.999999999940941908e-01
                       + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01));
    double odd = z * (6.666666666666735130e-01
                      + w * (2.857142874366239149e-01
                             + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01)));
    double square = 0.5 * f * f;
    return s * (square + (even + odd)) + (k * LN2_LO_F64 + c) - square + f + k * LN2_HI_F64;
}
static inline float log_reduced_f32(float k, float f, float c)
{
    float s = f / (2.0f + f), z = s * s, w = z * z;
    float even = w * (0.40000972152f + w * 0.24279078841f);
    float odd = z * (0.66666662693f + w * 0.28498786688f);
    float square = 0.5f * f * f;
    return s * (square + (even + odd)) + (k * LN2_LO_F32 + c) - square + f + k * LN2_HI_F32;
}

/* x = 2^k m with sqrt(1/2) <= m < sqrt(2), for a positive normal x */
static inline double split_f64(double x, double *k)
{
    uint64_t u = bits_f64(x) + (0x3ff0000000000000u - 0x3fe6a09e00000000u);
    *k = from_bits_f64((u >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
    return from_bits_f64((u & 0x000fffffffffffffu) + 0x3fe6a09e00000000u);
}
static inline float split_f32(float x, float *k)
{
    uint32_t u = bits_f32(x) + (0x3f800000u - 0x3f3504f3u);
    *k = (float)((int32_t)(u >> 23) - 127);
    return from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u);
}

static inline double log_f64(double x)
{
    double k, small = x < DBL_MIN ? 54.0 : 0.0;
    double m = split_f64(x < DBL_MIN ? x * 0x1p54 : x, &k);
    double result = log_reduced_f64(k - small, m - 1.0, 0.0);
    result = x == 0.0 ? -INFINITY : result;
    result = x < 0.0 ? NAN : result;
    result = x == INFINITY ? x : result;
    return x != x ? x : result;
}
static inline float log_f32(float x)
{
    float k, small = x < FLT_MIN ? 25.0f : 0.0f;
    float m = split_f32(x < FLT_MIN ? x * 0x1p25f : x, &k);
    float result = log_reduced_f32(k - small, m - 1.0f, 0.0f);
    result = x == 0.0f ? -INFINITY : result;
    result = x < 0.0f ? NAN : result;
    result = x == INFINITY ? x : result;
    return x != x ? x : result;
}

/* log1p where x is finite and above -1; also right for -0.0 up to its sign */
static inline double log1p_finite_f64(double x)
{
    double k, u = 1.0 + x;
    double m = split_f64(u, &k);
    double lost = (k >= 2.0 ? 1.0 - (u - x) : x - (u - 1.0)) / u; /* of x when 1 was added */
    return log_reduced_f64(k, k == 0.0 ? x : m - 1.0, k == 0.0 ? 0.0 : lost);
}
static inline float log1p_finite_f32(float x)
{
    float k, u = 1.0f + x;
    float m = split_f32(u, &k);
    float lost = (k >= 2.0f ? 1.0f - (u - x) : x - (u - 1.0f)) / u;
    return log_reduced_f32(k, k == 0.0f ? x : m - 1.0f, k == 0.0f ? 0.0f : lost);
}

static inline double log1p_f64(double x)
{
    double result = log1p_finite_f64(x);
    result = x == 0.0 ? x : result;
    result = x == -1.0 ? -INFINITY : result;
    result = x < -1.0 ? NAN : result;
    result = x == INFINITY ? x : result;
    return x != x ? x : result;
}
static inline float log1p_f32(float x)
{
    float result = log1p_finite_f32(x);
    result = x == 0.0f ? x : result;
    result = x == -1.0f ? -INFINITY : result;
    result = x < -1.0f ? NAN : result;
    result = x == INFINITY ? x : result;
    return x != x ? x : result;
}

/* tanh |x| = -t / (2 + t), t = expm1(-2 |x|) */
static inline double tanh_f64(double x)
{
    double t = expm1_f64(-2.0 * fabs(x));
    return copysign(-t / (2.0 + t), x);
}
static inline float tanh_f32(float x)
{
    float t = expm1_f32(-2.0f * fabsf(x));
    return copysignf(-t / (2.0f + t), x);
}

/* 1 / (1 + exp(-x)) = exp(x) / (1 + exp(x)), of the two the one that cannot overflow */
static inline double sigmoid_f64(double x)
{
    double e = exp_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}
static inline float sigmoid_f32(float x)
{
    float e = exp_f32(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
static inline double softplus_f64(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p_finite_f64(exp_f64(-fabs(x)));
}
static inline float softplus_f32(float x)
{
    return (x > 0.0f ? x : 0.0f) + log1p_finite_f32(exp_f32(-fabsf(x)));
}

#define PERIODIC_LIMIT 1.6e6 /* n has 20 bits */

/* x as y + tail and a multiple of pi / 2, whose number is in the low bits of the result */
static inline uint64_t quadrant_f64(double x, double *y, double *tail)
{
    double shifted = x * 6.36619772367581382433e-01 + SHIFT_F64;
    double n = shifted - SHIFT_F64;
    double r = x - n * 1.57079632673412561417e+00; /* exact */
    double w = n * 6.07710050630396597660e-11;     /* exact */
    double s = r - w, back = s - r;
    double lost = (r - (s - back)) - (w + back);   /* of r - w */
    double t = n * 2.02226624879595063154e-21 - lost;
    *y = s - t;
    *tail = (s - *y) - t;
    return bits_f64(shifted);
}
static inline double sin_reduced_f64(double y, double tail)
{
    double z = y * y, w = z * z, v = z * y;
    double r = 8.33333333332248946124e-03
        + z * (-1.98412698298579493134e-04 + z * 2.75573137070700676789e-06)
        + z * w * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10);
    return y - ((z * (0.5 * tail - v * r) - tail) - v * -1.66666666666666324348e-01);
}
static inline double cos_reduced_f64(double y, double tail)
{
    double z = y * y, w = z * z, half = 0.5 * z, one = 1.0 - half;
    double r = z * (4.16666666666666019037e-02
                    + z * (-1.38888888888741095749e-03 + z * 2.48015872894767294178e-05))
        + w * w * (-2.75573143513906633035e-07
                   + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11));
    return one + (((1.0 - one) - half) + (z * r - y * tail));
}
/* the sine or the cosine of y, as the quadrant has it */
static inline double turned_f64(uint64_t quadrant, double y, double tail)
{
    double size = quadrant & 1 ? cos_reduced_f64(y, tail) : sin_reduced_f64(y, tail);
    return from_bits_f64(bits_f64(size) ^ (quadrant & 2) << 62);
}
static inline double sin_f64(double x)
{
    double y, tail;
    uint64_t quadrant = quadrant_f64(x, &y, &tail);
    return turned_f64(quadrant, y, tail);
}
static inline double cos_f64(double x)
{
    double y, tail;
    uint64_t quadrant = quadrant_f64(x, &y, &tail) + 1;
    return turned_f64(quadrant, y, tail);
}

/* The nearest integer, ties away from zero. */
static inline double round_away_f64(double x)
{
    double size = fabs(x), down = floor(size);
    return copysign(down + (size - down >= 0.5 ? 1.0 : 0.0), x);
}
static inline float round_away_f32(float x)
{
    float size = fabsf(x), down = floorf(size);
    return copysignf(down + (size - down >= 0.5f ? 1.0f : 0.0f), x);
}

#endif
