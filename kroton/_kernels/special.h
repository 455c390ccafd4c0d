/* Special functions of one double. */
#ifndef KROTON_SPECIAL_H
#define KROTON_SPECIAL_H

#define _USE_MATH_DEFINES
#include <math.h>

/* log |gamma(x)|, without the global `signgam` of lgamma; -inf at -inf, as in SciPy */
#if defined(__GLIBC__) || defined(__APPLE__)
extern double lgamma_r(double, int *);
static inline double gammaln_f64(double x)
{
    int sign;
    return x == -INFINITY ? x : lgamma_r(x, &sign);
}
#else
static inline double gammaln_f64(double x) { return x == -INFINITY ? x : lgamma(x); }
#endif

/* Gamma: the recurrence to 2 <= x < 3 and there a rational function, S. L. Moshier, "Methods and
 * Programs for Mathematical Functions" (1989), Cephes' gamma.c; the C library's far from zero and
 * at the poles. Several times faster than most C libraries' where gamma is mostly used.
 */
static inline double gamma_f64(double x)
{
    if (!(fabs(x) < 20.0) || fabs(x) < 1e-9 || (x < 0.0 && floor(x) == x))
        return tgamma(x);
    double above = 1.0, below = 1.0;
    while (x >= 3.0) {
        x -= 1.0;
        above *= x;
    }
    while (x < 2.0) {
        below *= x;
        x += 1.0;
    }
    x -= 2.0;
    double p = 1.60119522476751861407e-4;
    p = p * x + 1.19135147006586384913e-3;
    p = p * x + 1.04213797561761569935e-2;
    p = p * x + 4.76367800457137231464e-2;
    p = p * x + 2.07448227648435975150e-1;
    p = p * x + 4.94214826801497100753e-1;
    p = p * x + 9.99999999999999996796e-1;
    double q = -2.31581873324120129819e-5;
    q = q * x + 5.39605580493303397206e-4;
    q = q * x - 4.45641913851797240494e-3;
    q = q * x + 1.18139785222060435552e-2;
    q = q * x + 3.58236398605498653373e-2;
    q = q * x - 2.34591795718243348568e-1;
    q = q * x + 7.14304917030273074085e-2;
    q = q * x + 1.00000000000000000320e0;
    return above * p / (q * below);
}

/* The logarithmic derivative of gamma.
 *
 * Reflection for x < 0, the recurrence psi(x) = psi(x + 1) - 1 / x up to x >= 10, then the
 * asymptotic series with Bernoulli numbers: J. M. Bernardo, "Algorithm AS 103: Psi (Digamma)
 * Function", Applied Statistics 25 (1976); Abramowitz and Stegun 6.3.5, 6.3.7, 6.3.18.
 * Absolute error near the zero of psi at 1.4616 is a few units of 1e-16.
 */
static inline double psi_f64(double x)
{
    const double pi = 3.14159265358979323846;
    double result = 0.0;
    if (x != x || x == INFINITY)
        return x;
    if (x == 0.0)
        return copysign(INFINITY, -x);
    if (x < 0.0) {
        double fraction = x - rint(x); /* exact; cot has period 1 in x */
        if (fraction == 0.0 || x == -INFINITY)
            return NAN;
        if (fabs(fraction) != 0.5)
            result = -pi / tan(pi * fraction);
        x = 1.0 - x;
    }
    while (x < 10.0) {
        result -= 1.0 / x;
        x += 1.0;
    }
    double z = 1.0 / (x * x);
    double series = 1.0 / 12.0
        - z * (1.0 / 120.0
               - z * (1.0 / 252.0
                      - z * (1.0 / 240.0
                             - z * (1.0 / 132.0 - z * (691.0 / 32760.0 - z * (1.0 / 12.0))))));
    return result + (log(x) - 0.5 / x - z * series);
}

/* The derivative of psi.
 *
 * Reflection psi'(x) = (pi / sin(pi x))^2 - psi'(1 - x) for x < 0, the recurrence
 * psi'(x) = psi'(x + 1) + 1 / x^2 up to x >= 10, then the asymptotic series: Abramowitz and
 * Stegun 6.4.6, 6.4.7, 6.4.12.
 */
static inline double tri_gamma_f64(double x)
{
    const double pi = 3.14159265358979323846;
    double result = 0.0, sign = 1.0;
    if (x != x)
        return x;
    if (x == INFINITY)
        return 0.0;
    if (x <= 0.0) {
        double fraction = x - rint(x); /* exact */
        if (fraction == 0.0 || x == -INFINITY)
            return INFINITY;
        double s = pi / sin(pi * fraction);
        result = s * s;
        sign = -1.0;
        x = 1.0 - x;
    }
    while (x < 10.0) {
        result += sign / (x * x);
        x += 1.0;
    }
    double z = 1.0 / (x * x);
    double series = 1.0 / 6.0
        - z * (1.0 / 30.0
               - z * (1.0 / 42.0
                      - z * (1.0 / 30.0
                             - z * (5.0 / 66.0 - z * (691.0 / 2730.0 - z * (7.0 / 6.0))))));
    return result + sign * (1.0 / x + z * (0.5 + series / x));
}

#endif
