"""Gradients of the elementwise operations: one table, written as mathematics.

`GRADIENTS[name]` has one function for each input of the scalar operation `name`. It is called
with the inputs, the output `z` and the gradient `g` of the cost with respect to `z`, all of the
output's number of dimensions or fewer, and returns `g * dz/d(input)`; None stands for zero.
`elemwise_grad` sums what broadcasting has repeated and sees to dtypes.

A complex input `x = u + iv` has the gradient `dC/du + i dC/dv`. For a holomorphic `f` this is
`g * conj(f'(x))`, which the table gives as `conj(rule(conj(g)))`: the rules are linear in `g`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import kroton.tensor as T
from kroton import scalar
from kroton.config import config
from kroton.graph.nulltype import DisconnectedType, disconnected_type, grad_not_implemented

Rule = Callable[..., Any]


def _zero(*_: Any) -> None:
    """The derivative is zero wherever it exists."""


def _pow_by_base(x: Any, y: Any, z: Any, g: Any) -> Any:
    """y x^(y-1), which is 0 for y = 0 even at x = 0."""
    try:
        exponent = T.get_scalar_constant_value(y).item()
    except T.NotScalarConstantError:
        safe = T.switch(T.eq(y, 0), 1, y)
        return g * y * T.pow(x, safe - 1)
    if exponent == 0:
        return None
    if exponent == 1:
        return g
    if exponent == 2:
        return g * (2 * x)
    return g * (exponent * T.pow(x, exponent - 1))


def _pow_by_exponent(x: Any, y: Any, z: Any, g: Any) -> Any:
    """log(x) x^y, which is 0 at x = 0 where y > 0; NaN for a negative base."""
    return g * (z * T.log(T.switch(T.eq(x, 0), 1, x)))


def _away_from_zero(z: Any) -> Any:
    """z, or 1 where z is 0: a denominator for what is then 0 as well."""
    return T.switch(T.eq(z, 0), 1, z)


_LN2, _LN10 = math.log(2.0), math.log(10.0)
_DEGREE = math.pi / 180
_ERF = 2 / math.sqrt(math.pi)

GRADIENTS: dict[str, tuple[Rule, ...]] = {
    # arithmetic
    "add": (lambda a, b, z, g: g, lambda a, b, z, g: g),
    "sub": (lambda a, b, z, g: g, lambda a, b, z, g: -g),
    "mul": (lambda a, b, z, g: g * b, lambda a, b, z, g: g * a),
    "true_div": (lambda a, b, z, g: g / b, lambda a, b, z, g: -(g * z) / b),
    "int_div": (_zero, _zero),
    "mod": (lambda a, b, z, g: g, lambda a, b, z, g: -(g * T.int_div(a, b))),
    "pow": (_pow_by_base, _pow_by_exponent),
    "neg": (lambda x, z, g: -g,),
    "abs": (lambda x, z, g: g * T.sgn(x),),  # 0 at 0
    "sgn": (_zero,),
    "sqr": (lambda x, z, g: g * (2 * x),),
    "sqrt": (lambda x, z, g: (0.5 * g) / z,),
    "reciprocal": (lambda x, z, g: -(g * T.sqr(z)),),
    "copysign": (lambda a, b, z, g: g * (T.sgn(a) * T.copysign(1.0, b)), _zero),
    "hypot": (
        lambda a, b, z, g: g * (a / _away_from_zero(z)),
        lambda a, b, z, g: g * (b / _away_from_zero(z)),
    ),
    "cbrt": (lambda x, z, g: g / (3 * T.sqr(z)),),
    "fmod": (lambda a, b, z, g: g, lambda a, b, z, g: -(g * T.trunc(a / b))),
    "float_power": (_pow_by_base, _pow_by_exponent),
    "heaviside": (_zero, lambda a, b, z, g: T.switch(T.eq(a, 0), g, 0)),
    "nextafter": (lambda a, b, z, g: g, _zero),
    # exponentials and logarithms
    "exp": (lambda x, z, g: g * z,),
    "exp2": (lambda x, z, g: g * (_LN2 * z),),
    "expm1": (lambda x, z, g: g * T.exp(x),),
    "log": (lambda x, z, g: g / x,),
    "log2": (lambda x, z, g: g / (_LN2 * x),),
    "log10": (lambda x, z, g: g / (_LN10 * x),),
    "log1p": (lambda x, z, g: g / (1 + x),),
    "logaddexp": (
        lambda a, b, z, g: g * T.sigmoid(a - b),
        lambda a, b, z, g: g * T.sigmoid(b - a),
    ),
    "logaddexp2": (
        lambda a, b, z, g: g * T.sigmoid(_LN2 * (a - b)),
        lambda a, b, z, g: g * T.sigmoid(_LN2 * (b - a)),
    ),
    "sigmoid": (lambda x, z, g: g * z * (1 - z),),
    "softplus": (lambda x, z, g: g * T.sigmoid(x),),
    # circular and hyperbolic functions
    "sin": (lambda x, z, g: g * T.cos(x),),
    "cos": (lambda x, z, g: -(g * T.sin(x)),),
    "tan": (lambda x, z, g: g * (1 + T.sqr(z)),),
    "arcsin": (lambda x, z, g: g / T.sqrt(1 - T.sqr(x)),),
    "arccos": (lambda x, z, g: -g / T.sqrt(1 - T.sqr(x)),),
    "arctan": (lambda x, z, g: g / (1 + T.sqr(x)),),
    "arctan2": (
        lambda a, b, z, g: g * (b / (T.sqr(a) + T.sqr(b))),
        lambda a, b, z, g: -(g * (a / (T.sqr(a) + T.sqr(b)))),
    ),
    "sinh": (lambda x, z, g: g * T.cosh(x),),
    "cosh": (lambda x, z, g: g * T.sinh(x),),
    "tanh": (lambda x, z, g: g * (1 - T.sqr(z)),),
    "arcsinh": (lambda x, z, g: g / T.sqrt(T.sqr(x) + 1),),
    "arccosh": (lambda x, z, g: g / (T.sqrt(x - 1) * T.sqrt(x + 1)),),
    "arctanh": (lambda x, z, g: g / (1 - T.sqr(x)),),
    "deg2rad": (lambda x, z, g: g * _DEGREE,),
    "rad2deg": (lambda x, z, g: g / _DEGREE,),
    # rounding
    "ceil": (_zero,),
    "floor": (_zero,),
    "trunc": (_zero,),
    "round_half_to_even": (_zero,),
    "round_half_away_from_zero": (_zero,),
    # choice: of two equal inputs the first has the whole gradient
    "maximum": (
        lambda a, b, z, g: T.switch(T.ge(a, b), g, 0),
        lambda a, b, z, g: T.switch(T.ge(a, b), 0, g),
    ),
    "minimum": (
        lambda a, b, z, g: T.switch(T.le(a, b), g, 0),
        lambda a, b, z, g: T.switch(T.le(a, b), 0, g),
    ),
    "fmax": (
        lambda a, b, z, g: T.switch(T.or_(T.ge(a, b), T.isnan(b)), g, 0),
        lambda a, b, z, g: T.switch(T.or_(T.ge(a, b), T.isnan(b)), 0, g),
    ),
    "fmin": (
        lambda a, b, z, g: T.switch(T.or_(T.le(a, b), T.isnan(b)), g, 0),
        lambda a, b, z, g: T.switch(T.or_(T.le(a, b), T.isnan(b)), 0, g),
    ),
    "clip": (
        lambda x, lo, hi, z, g: T.switch(T.and_(T.ge(x, lo), T.le(x, hi)), g, 0),
        lambda x, lo, hi, z, g: T.switch(T.and_(T.lt(x, lo), T.le(lo, hi)), g, 0),
        lambda x, lo, hi, z, g: T.switch(T.gt(T.maximum(x, lo), hi), g, 0),
    ),
    "switch": (
        _zero,
        lambda c, a, b, z, g: T.switch(c, g, 0),
        lambda c, a, b, z, g: T.switch(c, 0, g),
    ),
    # special functions
    "erf": (lambda x, z, g: g * (_ERF * T.exp(-T.sqr(x))),),
    "erfc": (lambda x, z, g: g * (-_ERF * T.exp(-T.sqr(x))),),
    "gamma": (lambda x, z, g: g * (z * T.psi(x)),),
    "gammaln": (lambda x, z, g: g * T.psi(x),),
    "psi": (lambda x, z, g: g * T.tri_gamma(x),),
    # complex numbers, of a real input
    "conj": (lambda x, z, g: g,),
    "real": (lambda x, z, g: g,),
    "imag": (_zero,),
    "angle": (_zero,),
    # copies
    "identity": (lambda x, z, g: g,),
    "second": (_zero, lambda a, b, z, g: g),
}

HOLOMORPHIC = frozenset(
    [
        "add",
        "sub",
        "mul",
        "true_div",
        "pow",
        "float_power",
        "neg",
        "sqr",
        "sqrt",
        "reciprocal",
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sin",
        "cos",
        "tan",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "arcsinh",
        "arccosh",
        "arctanh",
        "switch",
        "identity",
        "second",
    ]
)
"""Operations whose rule holds for complex inputs, with the gradient conjugated."""

COMPLEX_GRADIENTS: dict[str, Rule] = {
    "conj": lambda x, z, g: T.conj(g),
    "real": lambda x, z, g: T.cast(g, x.type.dtype),
    "imag": lambda x, z, g: g * 1j,
    "abs": lambda x, z, g: g * (x / _away_from_zero(z)),
    "angle": lambda x, z, g: (g * 1j) * (x / T.sqr(T.abs_(x))),
}
"""Those of a complex input that the operation is not holomorphic in."""

CONDITIONS = {"switch": 0, "second": 0}
"""The input that an operation does not depend on differentiably."""


def elemwise_grad(
    op: T.Elemwise,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    output_gradients: Sequence[Any],
    wanted: Sequence[bool] | None = None,
) -> list[Any]:
    """The gradient with respect to each input of an Elemwise, from those of its outputs.

    Each has the number of dimensions of its input; dimensions that broadcasting added or
    stretched are summed. It has the input's dtype, or `config.floatX` for a discrete input,
    for which it is zero.

    Parameters
    ----------
    op : Elemwise
    inputs, outputs, output_gradients : sequences of Variable
        A gradient may be of DisconnectedType.
    wanted : sequence of bool, optional
        Which inputs' gradients are used; the others are returned as disconnected.
    """
    disconnected = [isinstance(g.type, DisconnectedType) for g in output_gradients]
    if all(disconnected):
        return [disconnected_type() for _ in inputs]
    if wanted is None:
        wanted = [True] * len(inputs)
    if isinstance(op.scalar_op, scalar.Composite):
        return _composite_grad(op.scalar_op, inputs, output_gradients, wanted)
    name, z, g = op.name, outputs[0], output_gradients[0]
    discrete = z.type.numpy_dtype.kind not in "fc"
    result: list[Any] = []
    for k, x in enumerate(inputs):
        if not wanted[k] or CONDITIONS.get(name) == k:
            result.append(disconnected_type())
        elif discrete or x.type.numpy_dtype.kind not in "fc":
            result.append(_zeros(x))
        else:
            result.append(_fitted(_pullback(op, k, inputs, z, g), x))
    return result


def _pullback(op: T.Elemwise, k: int, inputs: Sequence[Any], z: Any, g: Any) -> Any:
    """g times the derivative of z by input k: before summing, None where it is zero."""
    x, name = inputs[k], op.name
    complex_input = x.type.numpy_dtype.kind == "c"
    if isinstance(op.scalar_op, scalar.Cast):
        return T.real(g) if not complex_input and g.type.numpy_dtype.kind == "c" else g
    if complex_input and name not in HOLOMORPHIC:
        rule = COMPLEX_GRADIENTS.get(name)
        if rule is None:
            return grad_not_implemented(
                op, k, x, f"{name} of complex numbers is not differentiable in them."
            )
        return rule(*inputs, z, g)
    rules = GRADIENTS.get(name)
    if rules is None:
        return _unknown(op, k, x)
    if not complex_input:
        return rules[k](*inputs, z, g)
    term = rules[k](*inputs, z, T.conj(g))
    return None if term is None else T.conj(term)


def elemwise_tangent(
    op: T.Elemwise, inputs: Sequence[Any], outputs: Sequence[Any], eval_points: Sequence[Any]
) -> Any:
    """The directional derivative of an Elemwise: its rules with the input's direction for `g`.

    They are linear in `g`, so the table serves forward mode as well.

    Returns
    -------
    list of one Variable, None if it is zero; or NotImplemented for programs and for complex
    operations that are not holomorphic
    """
    if isinstance(op.scalar_op, scalar.Composite):
        return NotImplemented
    (z,) = outputs
    if z.type.numpy_dtype.kind not in "fc":
        return [None]
    total = None
    for k, t in enumerate(eval_points):
        if t is None or CONDITIONS.get(op.name) == k:
            continue
        if isinstance(op.scalar_op, scalar.Cast):
            term: Any = t
        elif inputs[k].type.numpy_dtype.kind == "c" and op.name not in HOLOMORPHIC:
            return NotImplemented
        elif op.name in GRADIENTS:
            term = GRADIENTS[op.name][k](*inputs, z, t)
        else:
            term = _unknown(op, k, inputs[k])
        if term is None:
            continue
        if not isinstance(term.type, T.TensorType):
            return [term]
        total = term if total is None else total + term
    if total is None:
        return [None]
    if total.type.ndim < z.type.ndim or any(
        a == 1 != b for a, b in zip(total.type.shape, z.type.shape)
    ):
        total = T.second(z, total)
    return [total if total.type.dtype == z.type.dtype else T.cast(total, z.type.dtype)]


def _unknown(op: T.Elemwise, k: int, x: Any) -> Any:
    return grad_not_implemented(op, k, x, f"No gradient of {op.name} is known.")


def _zeros(x: Any) -> Any:
    return T.zeros_like(x, x.type.dtype if x.type.numpy_dtype.kind in "fc" else config.floatX)


def _fitted(term: Any, x: Any) -> Any:
    """`term` summed to the shape of `x`, in its dtype."""
    if term is None:
        return _zeros(x)
    if not isinstance(term.type, T.TensorType):
        return term
    lead = term.type.ndim - x.type.ndim
    stretched = [d for d, e in enumerate(x.type.shape) if e == 1 and term.type.shape[lead + d] != 1]
    axes = [*range(lead), *(lead + d for d in stretched)]
    if axes:
        term = T.sum(term, axis=axes)
        if stretched:
            kept = iter(range(x.type.ndim))
            pattern = ["x" if d in stretched else next(kept) for d in range(x.type.ndim)]
            term = T.dimshuffle(term, pattern)
    if term.type.dtype != x.type.dtype:
        term = T.cast(term, x.type.dtype)
    return term


def _composite_grad(
    composite: Any, inputs: Sequence[Any], output_gradients: Sequence[Any], wanted: Sequence[bool]
) -> list[Any]:
    """Reverse mode over the program: its registers written out again, then their adjoints."""
    registers = list(inputs)
    needed = list(wanted)
    for step in composite.instructions:
        registers.append(T.Elemwise(step.op)(*(registers[i] for i in step.inputs)))
        needed.append(any(needed[i] for i in step.inputs))
    adjoints: list[Any] = [None] * len(registers)

    def accumulate(register: int, term: Any) -> None:
        known = adjoints[register]
        if known is None or not isinstance(term.type, T.TensorType):
            adjoints[register] = term
        elif isinstance(known.type, T.TensorType):
            adjoints[register] = known + term

    for register, g in zip(composite.outputs, output_gradients):
        if not isinstance(g.type, DisconnectedType) and needed[register]:
            accumulate(register, _fitted(g, registers[register]))
    for k in reversed(range(len(composite.instructions))):
        step, register = composite.instructions[k], len(inputs) + k
        adjoint = adjoints[register]
        if adjoint is None:
            continue
        if not isinstance(adjoint.type, T.TensorType):
            for i in step.inputs:
                if needed[i]:
                    accumulate(i, adjoint)
            continue
        terms = elemwise_grad(
            T.Elemwise(step.op),
            [registers[i] for i in step.inputs],
            [registers[register]],
            [adjoint],
            [needed[i] for i in step.inputs],
        )
        for i, term in zip(step.inputs, terms):
            if not isinstance(term.type, DisconnectedType):
                accumulate(i, term)
    return [disconnected_type() if a is None else a for a in adjoints[: len(inputs)]]
