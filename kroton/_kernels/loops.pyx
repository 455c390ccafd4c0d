# cython: language_level=3
"""Inner loops: for an operation and type numbers, the C function that runs over a row.

There are two sources. NumPy's ufuncs hold their inner loops as C function pointers, many of them
written with SIMD intrinsics and dispatched at run time. Kroton's own, in loops.c, are compiled
once for each instruction set; the best that the machine has is chosen at import, or the one that
the environment variable KROTON_ISA names (v4, v3, v2 or baseline). A loop in Kroton's table is
preferred: it is there because NumPy has none or a slower one.
"""
import os

cimport numpy as cnp
from libc.stddef cimport ptrdiff_t

cnp.import_array()
cnp.import_ufunc()

cdef extern from "loops.h":
    ctypedef struct kroton_loop:
        const char *name
        int nin
        int *in_types "in"
        int out
        LoopFunction function
    ctypedef struct kroton_isa:
        const char *isa
        int (*supported)()
        const kroton_loop *loops
    const kroton_isa **kroton_isas
    int ANY_TYPE "KROTON_ANY_TYPE"

cdef extern from "numpy/ufuncobject.h":
    ctypedef struct PyUFuncObject:
        int nin
        int nout
        int ntypes
        const char *types
        LoopFunction *functions
        void **data

cdef const kroton_isa *chosen = NULL
cdef dict index = {}    # (name, input types, output type) -> row in the chosen table


def available_isas():
    """The instruction sets that were compiled and that this machine has, best first."""
    cdef list names = []
    cdef int k = 0
    while kroton_isas[k] != NULL:
        if kroton_isas[k].supported():
            names.append(kroton_isas[k].isa.decode())
        k += 1
    return tuple(names)


def isa():
    """The instruction set whose loops new kernels use."""
    return chosen.isa.decode()


def select(str name):
    """Use the loops of one of `available_isas()` in kernels built from now on.

    Raises ValueError for an instruction set that the machine or this build lacks.
    """
    global chosen
    cdef int k = 0
    available = available_isas()
    if name not in available:
        raise ValueError(
            f"instruction set {name!r} is not available: this build and this machine "
            f"have {', '.join(available) or 'none'}"
        )
    while kroton_isas[k].isa.decode() != name:
        k += 1
    chosen = kroton_isas[k]
    index.clear()
    k = 0
    while chosen.loops[k].name != NULL:
        types = tuple([chosen.loops[k].in_types[i] for i in range(chosen.loops[k].nin)])
        index[chosen.loops[k].name.decode(), types, chosen.loops[k].out] = k
        k += 1


cdef int canonical(int typenum) noexcept:
    """One type number for each dtype: C has more integer types than there are sizes."""
    if typenum == cnp.NPY_BYTE or typenum == cnp.NPY_SHORT:
        return typenum
    if typenum == cnp.NPY_INT:
        return cnp.NPY_INT32
    if typenum == cnp.NPY_UINT:
        return cnp.NPY_UINT32
    if typenum == cnp.NPY_LONG:
        return cnp.NPY_INT64 if sizeof(long) == 8 else cnp.NPY_INT32
    if typenum == cnp.NPY_ULONG:
        return cnp.NPY_UINT64 if sizeof(long) == 8 else cnp.NPY_UINT32
    if typenum == cnp.NPY_LONGLONG:
        return cnp.NPY_INT64
    if typenum == cnp.NPY_ULONGLONG:
        return cnp.NPY_UINT64
    return typenum


cdef bint find_numpy(PyUFuncObject *ufunc, tuple in_types, int out_type, Loop *loop):
    """NumPy's loop for exactly these types, where its ufunc has one."""
    cdef int k, i, n = ufunc.nin
    if ufunc.nin != len(in_types) or ufunc.nout != 1 or ufunc.functions == NULL:
        return False
    for k in range(ufunc.ntypes):
        for i in range(n):
            if canonical(ufunc.types[k * (n + 1) + i]) != <int> in_types[i]:
                break
        else:
            if canonical(ufunc.types[k * (n + 1) + n]) != out_type:
                continue
            if ufunc.functions[k] == NULL:
                continue
            loop.function = ufunc.functions[k]
            loop.data = ufunc.data[k] if ufunc.data != NULL else NULL
            loop.origin = NULL
            return True
    return False


cdef bint is_integer(int typenum) noexcept:
    return cnp.NPY_BYTE <= typenum <= cnp.NPY_ULONGLONG


cdef bint find(str name, tuple in_types, int out_type, object ufunc, Loop *loop) except -1:
    """Fill in `loop` for an operation on exactly these type numbers; False where there is none.

    `name` is the scalar operation's (`cast{float32}` is `cast`), `ufunc` the NumPy ufunc that it
    is or None.
    """
    cdef tuple types = tuple([canonical(t) for t in in_types])
    cdef object row
    out_type = canonical(out_type)
    if name.startswith("cast{"):
        name = "cast"
    loop.data = NULL
    loop.may_raise = False
    row = index.get((name, types, out_type))
    if row is None and name == "second":
        row = index.get((name, (ANY_TYPE, types[1]), out_type))
    if row is not None:
        loop.function = chosen.loops[<int> row].function
        loop.origin = chosen.isa
        return True
    if ufunc is None or not isinstance(ufunc, cnp.ufunc):
        return False
    # An integer to a negative integer power is a ValueError.
    loop.may_raise = name == "pow" and is_integer(types[0])
    return find_numpy(<PyUFuncObject *> ufunc, types, out_type, loop)


def lookup(str name, tuple in_types, int out_type, ufunc=None):
    """Where the loop for these type numbers comes from: 'numpy', 'own:v3', ..., or None."""
    cdef Loop loop
    if not find(name, in_types, out_type, ufunc, &loop):
        return None
    return "numpy" if loop.origin == NULL else f"own:{loop.origin.decode()}"


def _choose():
    asked = os.environ.get("KROTON_ISA")
    available = available_isas()
    if asked:
        try:
            select(asked)
        except ValueError as error:
            raise ImportError(f"KROTON_ISA: {error}") from None
    elif available:
        select(available[0])
    else:
        raise ImportError(
            "Kroton was built for instruction sets that this machine does not have "
            "(x86-64-v2 is the least)"
        )


_choose()
