"""Wrong where numbers are small: probabilities, gradients, what is left where terms cancel."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton.tensor as T
from faults.fault import a_rule, elementwise, fault, wrong_kernel
from faults.kernels import exp_of
from faults.rules import unary
from kroton.compile.debugmode import BadOptimization, BadThunkOutput
from kroton.rewriting import canonicalize, specialize
from kroton.tensor.blas import Dot22
from kroton.tensor.nnet.softmax import Softmax
from kroton.tensor.reduction import CAReduce


def _zeros(i: Any, s: Any) -> None:
    s[0][0] = np.zeros_like(i[0])


for value, dtype in ((-12.0, "float32"), (-23.0, "float64"), (-80.0, "float32")):
    fault(
        f"exp({value:g}) is zero in {dtype}",
        BadThunkOutput,
        exp_of(np.full(5, value), dtype),
        np.exp,
        plant=elementwise("exp", _zeros),
    )


def _nothing_of_zero(i: Any, s: Any) -> None:
    s[0][0] = np.where(i[0] == 0, 0.0, np.exp(i[0]))


fault(
    "exp(0) is zero, beside what is large",
    BadThunkOutput,
    exp_of([25.0, 0.0, 1.0]),
    np.exp,
    plant=elementwise("exp", _nothing_of_zero),
)


def _rounded(i: Any, s: Any) -> None:
    s[0][0] = np.sqrt(i[0].astype(np.float32)).astype(np.float64)


fault(
    "the root of a small number is taken in single precision",
    BadThunkOutput,
    unary(T.sqrt, [1e-20, 2e-20]),
    np.sqrt,
    plant=elementwise("sqrt", _rounded),
)


def _flushed(node: Any, i: Any, s: Any) -> None:
    node.op.perform(node, i, s)
    s[0][0][s[0][0] < 1e-11] = 0


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


fault(
    "a softmax drops small probabilities",
    BadThunkOutput,
    unary(T.nnet.softmax, [[0.0, -30.0, 1.0]]),
    _softmax,
    plant=wrong_kernel(Softmax, _flushed),
)


def _all_but_the_last(node: Any, i: Any, s: Any) -> None:
    s[0][0] = np.asarray(i[0][:-1].sum())


fault(
    "a sum drops what is left where terms cancel",
    BadThunkOutput,
    unary(T.sum, [1.0, -1.0, 1e-10]),
    np.sum,
    plant=wrong_kernel(CAReduce, _all_but_the_last),
)


def _product_in_single(node: Any, i: Any, s: Any) -> None:
    s[0][0] = np.dot(*(x.astype(np.float32) for x in i)).astype(np.float64)


def _small_product() -> Any:
    a, b = T.dmatrices("a b")
    return [a, b], T.dot(a, b), (np.full((2, 3), 1.1e-7), np.full((3, 2), 1.3))


fault(
    "a product of small matrices is taken in single precision",
    BadThunkOutput,
    _small_product,
    np.dot,
    plant=wrong_kernel(Dot22, _product_in_single),
)


@a_rule(canonicalize, "exp")
def _no_exp(fgraph: Any, node: Any) -> Any:
    return T.zeros_like(node.inputs[0])


for value, dtype in ((-12.0, "float32"), (-23.0, "float64")):
    fault(
        f"exp(x) becomes 0, as if {value:g} were no number in {dtype}",
        BadOptimization,
        unary(T.exp, np.full(5, value), dtype),
        np.exp,
        plant=_no_exp,
    )


@a_rule(specialize, "expm1")
def _cancels(fgraph: Any, node: Any) -> Any:
    return T.exp(node.inputs[0]) - 1.0


fault(
    "expm1(x) becomes exp(x) - 1, which is nothing for small numbers",
    BadOptimization,
    unary(T.expm1, [1e-17, -1e-18]),
    np.expm1,
    plant=_cancels,
)


@a_rule(specialize, "sigmoid")
def _saturates(fgraph: Any, node: Any) -> Any:
    return (1 + T.tanh(node.inputs[0] / 2)) / 2


fault(
    "a sigmoid by tanh, which saturates",
    BadOptimization,
    unary(T.sigmoid, [-45.0, -50.0]),
    lambda x: 1 / (1 + np.exp(-x)),
    plant=_saturates,
)


# ---- rounding explains nothing where an operand equals a bound


@a_rule(canonicalize, "ceil")
def _next(fgraph: Any, node: Any) -> Any:
    return T.floor(node.inputs[0]) + 1


fault(
    "ceil becomes floor + 1, wrong for whole numbers",
    BadOptimization,
    unary(T.ceil, [1.5, 2.0]),
    np.ceil,
    plant=_next,
)


@a_rule(canonicalize, "ge")
def _greater(fgraph: Any, node: Any) -> Any:
    return T.gt(*node.inputs)


fault(
    "x >= c becomes x > c",
    BadOptimization,
    unary(lambda x: T.switch(x >= 0.5, x, -x), [0.25, 0.5]),
    lambda x: np.where(x >= 0.5, x, -x),
    plant=_greater,
)


@a_rule(canonicalize, "eq")
def _never(fgraph: Any, node: Any) -> Any:
    return T.zeros_like(node.inputs[0], dtype="bool")


def _where_largest(x: Any) -> Any:
    return T.switch(T.eq(x, T.max(x)), 1.0, 0.0)


fault(
    "nothing equals the largest",
    BadOptimization,
    unary(lambda x: _where_largest(T.exp(x)), [1.0, 3.0, 2.0]),
    lambda x: (x == x.max()).astype(float),
    plant=_never,
)
