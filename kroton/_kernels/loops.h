/* Typed inner loops with the signature of NumPy's ufunc loops, built once per instruction set. */
#ifndef KROTON_LOOPS_H
#define KROTON_LOOPS_H

#include <numpy/ndarraytypes.h>

typedef void kroton_function(char **args, npy_intp const *dimensions, npy_intp const *steps,
                             void *data);

#define KROTON_LOOP_MAX_INPUTS 3
#define KROTON_ANY_TYPE (-1)

typedef struct {
    const char *name;
    int nin;
    int in[KROTON_LOOP_MAX_INPUTS]; /* type numbers; KROTON_ANY_TYPE for an input never read */
    int out;
    kroton_function *function;
} kroton_loop;

typedef struct {
    const char *isa;
    int (*supported)(void); /* whether this machine can run them */
    const kroton_loop *loops; /* the last row's name is NULL */
} kroton_isa;

extern const kroton_isa *const kroton_isas[]; /* best first; the last is NULL */

#endif
