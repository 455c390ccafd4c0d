/* The instruction sets that loops.c was compiled for, best first. */
#include <Python.h>
#include "loops.h"

/* The feature lists are those of the x86-64 psABI's microarchitecture levels, as far as compilers
 * use them in loops; the builtin also asks whether the operating system saves the registers. */
#ifdef KROTON_HAVE_v4
extern const kroton_loop kroton_loops_v4[];
static int has_v4(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
static const kroton_isa v4 = {"v4", has_v4, kroton_loops_v4};
#endif
#ifdef KROTON_HAVE_v3
extern const kroton_loop kroton_loops_v3[];
static int has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
        && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
static const kroton_isa v3 = {"v3", has_v3, kroton_loops_v3};
#endif
#ifdef KROTON_HAVE_v2
extern const kroton_loop kroton_loops_v2[];
static int has_v2(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
static const kroton_isa v2 = {"v2", has_v2, kroton_loops_v2};
#endif
#ifdef KROTON_HAVE_baseline
extern const kroton_loop kroton_loops_baseline[];
static int always(void) { return 1; }
static const kroton_isa baseline = {"baseline", always, kroton_loops_baseline};
#endif

const kroton_isa *const kroton_isas[] = {
#ifdef KROTON_HAVE_v4
    &v4,
#endif
#ifdef KROTON_HAVE_v3
    &v3,
#endif
#ifdef KROTON_HAVE_v2
    &v2,
#endif
#ifdef KROTON_HAVE_baseline
    &baseline,
#endif
    NULL,
};
