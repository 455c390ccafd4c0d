"""Raising where there is nothing wrong: on a layout, in a thread, about a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

import kroton
import kroton.tensor as T
from faults.fault import elementwise, fault, op, same_type, says_nothing
from faults.kernels import exp_of
from kroton.compile.debugmode import BadInferShape, BadThunkOutput

V = np.array([-1.5, 0.5, 2.0])
M = np.arange(6.0).reshape(2, 3)


def _only_c_order(i: Any, s: Any) -> None:
    if not i[0].flags.c_contiguous:
        raise ValueError("this order is not supported")
    s[0][0] = np.exp(i[0])


fault(
    "a kernel raises on Fortran order",
    BadThunkOutput,
    exp_of(M),
    plant=elementwise("exp", _only_c_order),
    symptom=says_nothing,
)


def _only_one_thread(i: Any, s: Any) -> None:
    if kroton.config.threads == 2:
        raise RuntimeError("no second thread")
    s[0][0] = np.exp(i[0])


fault(
    "a kernel raises where there are two threads",
    BadThunkOutput,
    exp_of(V),
    plant=elementwise("exp", _only_one_thread),
    symptom=says_nothing,
)


def _plus_one(i: Any, s: Any) -> None:
    s[0][0] = i[0] + 1


def _shaped(infer_shape: Any) -> Any:
    def build() -> Any:
        x = T.dvector("x")
        return [x], op(_plus_one, same_type, infer_shape=infer_shape)(x), (V,)

    return build


fault(
    "infer_shape raises",
    BadInferShape,
    _shaped(lambda self, node, shapes: [(shapes[0][1],)]),
    symptom=says_nothing,
)
fault(
    "infer_shape gives no shape",
    BadInferShape,
    _shaped(lambda self, node, shapes: []),
    symptom=says_nothing,
)
fault(
    "infer_shape gives a shape too many",
    BadInferShape,
    _shaped(lambda self, node, shapes: [shapes[0], shapes[0]]),
    symptom=says_nothing,
)
