"""An expression for every rewrite that is written as code: one in which it has something to do.

Rewrites that are written as mathematics are their own examples: their left sides.

The parameters of an expression say what it is made of: `x_mn` is a matrix of m rows and n columns,
`y_n` a vector as long as these rows, `z` a scalar, `x_3n` has statically three rows and `x_m1`
one column. Their first letters say what is in them: `p` is positive, `k` integers, `c` numbers of
columns (from 0 to n - 1), all others are real.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import kroton.gradient
import kroton.tensor as T
from kroton.tensor.nnet.crossentropy import CrossentropySoftmaxArgmax1Hot
from kroton.tensor.nnet.softmax import SoftmaxGrad


@dataclass(frozen=True)
class Example:
    """An expression of inputs that its parameters describe."""

    build: Callable[..., Any]
    """The expression of Variables."""
    everywhere: bool = False
    """Whether it is for any dtype, and means the same for NaN and infinities."""

    @property
    def names(self) -> list[str]:
        """The inputs as they are described."""
        return list(inspect.signature(self.build).parameters)

    def inputs(self, dtype: str) -> list[Any]:
        """The inputs as Variables."""
        found = []
        for name in self.names:
            kind = "int64" if name[0] in "kc" else dtype
            shape = [int(e) if e.isdigit() else None for e in name.partition("_")[2]]
            found.append(T.TensorType(kind, shape)(name))
        return found

    def values(self, dtype: str, extents: dict[str, int], rng: np.random.Generator) -> list[Any]:
        """Arrays for the inputs, with these extents."""
        found: list[Any] = []
        for name in self.names:
            shape = [int(e) if e.isdigit() else extents[e] for e in name.partition("_")[2]]
            if name[0] == "c":
                found.append(rng.integers(0, extents["n"], shape))
            elif name[0] == "k":
                found.append(rng.integers(-3, 4, shape))
            elif name[0] == "p":
                found.append(np.asarray(rng.uniform(0.1, 3, shape)).astype(dtype))
            else:
                drawn = rng.uniform(-3, 3, shape)
                if np.dtype(dtype).kind == "c":
                    drawn = drawn + 1j * rng.uniform(-3, 3, shape)
                elif self.everywhere and np.dtype(dtype).kind == "f":
                    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
                    drawn = np.where(rng.random(shape) < 0.1, special, drawn)
                found.append(np.asarray(drawn).astype(dtype))
        return found


def anywhere(build: Callable[..., Any]) -> Example:
    """An example for any dtype and any value."""
    return Example(build, True)


def _softmax_by_hand(x: Any) -> Any:
    e = T.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def _chosen(p: Any, c: Any) -> Any:
    return p[T.arange(c.shape[0]), c]


def _crossentropy(x: Any, c: Any) -> Any:
    return T.nnet.categorical_crossentropy(T.nnet.softmax(x), c)


def _penalized(x: Any, c: Any) -> Any:
    p = T.nnet.softmax(x)
    return T.log(p)[T.arange(c.shape[0]), c].sum() + (p**2).sum()


def _less_its_part(y: Any, s: Any) -> Any:
    return y * s - y * s * s


def _sum_and_multiple(x: Any, y: Any) -> Any:
    scaled = x * y
    return x.sum(axis=0) + scaled.sum(axis=0) + scaled[0]


def _halves(x: Any) -> Any:
    return (T.sqr(x[:1]) * 2).sum() + T.exp(x[1:]).sum()


def _set_twice(x: Any, y: Any, z: Any) -> Any:
    return T.set_subtensor(T.set_subtensor(x[0], z)[0], y)


def _softmax_gradient(y: Any, x: Any) -> Any:
    sm = T.nnet.softmax(x)
    return y * sm - (y * sm).sum(axis=1, keepdims=True) * sm


EXAMPLES: dict[str, Example] = {
    # ---- canonicalize
    "constant_folding": anywhere(lambda x_n: x_n * T.sum(T.constant(np.arange(4)))),
    "useless_check_of_shape": anywhere(
        lambda x_mn: T.AssertShape((0, 1))(x_mn, T.exp(x_mn).shape[0], x_mn.sum(axis=0).shape[0])
    ),
    "shape_to_extents": anywhere(lambda x_mn: T.shape(x_mn)),
    "infer_extent": anywhere(lambda x_mn: T.dot(x_mn, x_mn.T).shape[1]),
    "useless_shape_statement": anywhere(lambda x_11: T.unbroadcast(T.unbroadcast(x_11, 0), 1)),
    "useless_reshape": anywhere(lambda x_mn: x_mn.reshape((-1,)).reshape(x_mn.T.shape)),
    "extents_are_not_negative": anywhere(lambda x_mn: T.maximum(x_mn.shape[0], 0)),
    "comparison_of_extent": anywhere(lambda x_mn: T.lt(x_mn.shape[0], 0)),
    "cast_of_cast": Example(lambda k_n: T.cast(T.cast(T.cast(k_n, "int32"), "float64"), "int64")),
    "view_of_itself": anywhere(lambda x_n: kroton.gradient.disconnected_grad(x_n) * 2),
    "pow_of_pow": Example(lambda x_n: (x_n**2.0) ** 3.0),
    "commuted_twin": anywhere(lambda x_n, y_n: T.sqr(x_n * y_n) - abs(y_n * x_n)),
    "second_to_alloc": anywhere(lambda x_n, y: T.fill(x_n, y)),
    "useless_alloc": anywhere(lambda x_n: T.alloc(x_n, x_n.shape[0])),
    "sink_broadcast": anywhere(lambda x_n, y: T.sqr(T.alloc(y, x_n.shape[0])) - x_n),
    "merge_dimshuffle": anywhere(lambda x_n: T.alloc(x_n, 3, x_n.shape[0]).dimshuffle(1, 0)),
    "lift_dimshuffle": anywhere(lambda x_n: T.sqr(x_n).dimshuffle(0, "x")),
    "element_of_vector": anywhere(lambda x, y: T.make_vector(x, y)[1]),
    "full_slice": anywhere(lambda x_n: x_n[:]),
    "slice_to_the_end": anywhere(lambda x_mn: x_mn[0 : x_mn.shape[0], x_mn.shape[1] :]),
    "rounding_of_whole_numbers": Example(lambda x_n: T.floor(T.round(x_n))),
    "neutral_array": Example(lambda x_m4: x_m4.reshape((-1, x_m4.shape[1] * 1)) + np.zeros(4)),
    "repeat_once": anywhere(lambda x_mn: T.repeat(x_mn, 1, axis=0)),
    "diagonal_of_diagonal": anywhere(lambda x_n: T.diag(T.diag(x_n))),
    "position_of_the_only_element": Example(lambda x_m1: T.argmax(x_m1, axis=1)),
    "reduction_of_flattened": Example(lambda x_mn: x_mn.flatten().sum()),
    "extreme_of_scaled": Example(lambda x_mn: (2 * x_mn - 1).max(axis=0)),
    "idle_increment": anywhere(lambda x_n: T.set_subtensor(x_n[1:], x_n[1:])),
    "set_again": anywhere(lambda x_mn, y_n, z: _set_twice(x_mn, y_n, z)),
    "subtensor_of_subtensor": anywhere(lambda x_mn: x_mn[1:][:2]),
    "subtensor_of_dimshuffle": anywhere(lambda x_mn: x_mn.T[0]),
    "subtensor_of_alloc": anywhere(lambda x_n: T.alloc(x_n, 3, x_n.shape[0])[1]),
    "subtensor_of_join": anywhere(lambda x_3n, y_mn: T.join(0, x_3n, y_mn)[1]),
    "subtensor_of_inc_subtensor": anywhere(lambda x_mn, y_n: T.inc_subtensor(x_mn[0], y_n)[0]),
    "reduction_of_nothing": anywhere(lambda x_m1: x_m1.sum(axis=1)),
    "reduction_of_reduction": anywhere(lambda x_mn: x_mn.sum(axis=0).sum()),
    "reduction_of_dimshuffle": anywhere(lambda x_mn: x_mn.T.sum()),
    "sum_of_alloc": Example(lambda x_mn, y_n: T.alloc(y_n, *x_mn.shape).sum(axis=0)),
    "sum_of_scaled": Example(lambda x_mn, y: (x_mn * y).sum()),
    "join_of_joins": anywhere(lambda x_m, y_n, z_k: T.join(0, T.join(0, x_m, y_n), z_k)),
    "reduction_of_join": anywhere(lambda x_mn, y_kn: T.join(0, x_mn, y_kn).sum(axis=0)),
    "softmax_by_hand": Example(lambda x_mn: _softmax_by_hand(x_mn)),
    "scaled_softmax_by_hand": Example(
        lambda x_mn, y_m: T.exp(x_mn) * (y_m / T.exp(x_mn).sum(axis=1)).dimshuffle(0, "x")
    ),
    "softmax_of_shifted": Example(lambda x_mn, y_m1: T.nnet.softmax(x_mn - y_m1)),
    "logsoftmax_by_hand": Example(
        lambda x_mn: x_mn - T.log(T.exp(x_mn).sum(axis=1, keepdims=True))
    ),
    "exp(logsoftmax(x)) -> softmax(x)": Example(lambda x_mn: T.exp(T.nnet.logsoftmax(x_mn))),
    "collect_terms": Example(lambda x_n, y_n: (x_n + 2) + (y_n - 3 * x_n) + 5),
    "extreme_of_negated": Example(lambda x_mn: (-x_mn).max(axis=0)),
    "inc_subtensor_of_everything": anywhere(lambda x_n, y_n: T.inc_subtensor(x_n[:], y_n)),
    "transposed_batched_product": Example(
        lambda x_bkm, y_bkn: T.batched_dot(x_bkm.dimshuffle(0, 2, 1), y_bkn).dimshuffle(0, 2, 1)
    ),
    "product_with_zeros": Example(lambda x_mn: T.dot(x_mn, T.zeros((x_mn.shape[1], 2)))),
    "batch_of_one": Example(lambda x_1mk, y_1kn: T.batched_dot(x_1mk, y_1kn)),
    "transposed_product": anywhere(lambda x_km, y_kn: T.dot(x_km.T, y_kn).T),
    # ---- stabilize
    "softmax_gradient_by_hand": Example(lambda x_mn, y_mn: _softmax_gradient(y_mn, x_mn)),
    "sum_of_softmax_gradient": Example(
        lambda x_mn, y_mn: SoftmaxGrad(1)(y_mn, T.nnet.softmax(x_mn)).sum(axis=1)
    ),
    "log(softmax(x)) -> logsoftmax(x)": Example(lambda x_mn: T.log(T.nnet.softmax(x_mn))),
    "log_sum_exp": Example(lambda x_mn: T.log(T.exp(x_mn).sum(axis=1))),
    "crossentropy_of_softmax": Example(lambda x_mn, c_m: _crossentropy(x_mn, c_m)),
    "grad_of_crossentropy_of_softmax": Example(
        lambda x_mn, c_m: T.grad(_crossentropy(x_mn, c_m).sum(), x_mn)
    ),
    "log_of_fused_softmax": Example(
        lambda x_mn, c_m: T.log(CrossentropySoftmaxArgmax1Hot()(x_mn, c_m)[1])
    ),
    "grad_of_log_of_softmax": Example(
        lambda x_mn, y_mn: T.grad((T.log(T.nnet.softmax(x_mn)) * y_mn).sum(), x_mn)
    ),
    "softmax_grad_of_sum": Example(lambda x_mn, c_m: T.grad(_penalized(x_mn, c_m), x_mn)),
    "transposed_back": Example(lambda x_mn, y_m: (x_mn.T * y_m).T),
    "transposed_together": Example(lambda x_mn, y_mn: x_mn.T * y_mn.T),
    "grad_of_log_of_indexed_softmax": Example(
        lambda x_mn, c_m: T.grad(T.log(_chosen(T.nnet.softmax(x_mn), c_m)).sum(), x_mn)
    ),
    "likelihood_by_hand": Example(lambda x_mn, c_m: _chosen(T.log(T.nnet.softmax(x_mn)), c_m)),
    "gradient_of_likelihood": Example(
        lambda x_mn, c_m: T.grad(_chosen(T.log(T.nnet.softmax(x_mn)), c_m).sum(), x_mn)
    ),
    "cancel_factors": Example(lambda x_n, p_n: x_n * p_n / p_n),
    "p - p * sigmoid(x) -> p * sigmoid(-x)": Example(
        lambda x_n, y_n: _less_its_part(y_n, T.nnet.sigmoid(x_n))
    ),
    "function_less_constant": Example(lambda x_n, y_n: 2 * T.exp(x_n) + y_n - 2),
    "x * log(x) -> 0 at 0": Example(lambda p_n: p_n * T.log(p_n)),
    "dot(x, log(x)) -> 0 at 0": Example(lambda p_n: T.dot(p_n, T.log(p_n))),
    "log(1 - exp(x))": Example(lambda p_n: T.log(1 - T.exp(-p_n))),
    "log(erfc(x))": Example(lambda x_n: T.log(T.erfc(x_n))),
    "log_of_selected_softmax": Example(
        lambda x_mn, p_n: T.log((p_n * T.nnet.softmax(x_mn)).sum(axis=1))
    ),
    "grad_of_log_of_selected_softmax": Example(
        lambda x_mn, p_n: T.grad(T.log((p_n * T.nnet.softmax(x_mn)).sum(axis=1)).sum(), x_mn)
    ),
    "share_of_selected_softmax": Example(
        lambda x_mn, p_n: (
            p_n * T.nnet.softmax(x_mn) / (p_n * T.nnet.softmax(x_mn)).sum(axis=1, keepdims=True)
        )
    ),
    "log_of_powers": Example(lambda x_n, y_n: T.log(x_n**2 * y_n**2)),
    "log(prod(exp(x))) -> sum(x)": Example(lambda x_n: T.log(T.prod(T.exp(x_n)))),
    "erfc(x) * exp(x**2) where both are far out": Example(lambda x_n: T.erfc(x_n) * T.exp(x_n**2)),
    "p + p * tanh(x) -> 2 * p * sigmoid(2 * x)": Example(lambda x_n, y_n: y_n + y_n * T.tanh(x_n)),
    "log_of_product": Example(lambda x_n, p_n: T.log(T.exp(x_n) * p_n * T.sigmoid(x_n))),
    "logarithm_to_a_base": Example(lambda x_n: T.log2(T.exp(x_n).sum())),
    "log_of_mixture": Example(lambda x_n, y_n: T.log(1 + T.exp(x_n) + T.exp(y_n).sum())),
    "reshape_of_ones": Example(lambda x_n: x_n.reshape((-1, 1))),
    "log_of_weighted_sum": Example(lambda x_mn, p_n: T.log((p_n * T.exp(x_mn)).sum(axis=1))),
    "log_of_exponentials": Example(lambda x_n, y_n: T.log(2 * T.exp(x_n) + 3 * T.exp(y_n) + 1)),
    "log(softmax(x)[i]) -> logsoftmax(x)[i]": Example(
        lambda x_mn: T.log(T.nnet.softmax(x_mn)[:, 0])
    ),
    "sum_of_product": Example(lambda x_mn, y_n, z_mn: (x_mn * y_n * z_mn).sum(axis=0)),
    "variance_by_hand": Example(lambda x_mn: (x_mn**2).mean(axis=0) - x_mn.mean(axis=0) ** 2),
    "softmax_beside_crossentropy": Example(
        lambda x_mn, c_m: T.concatenate(
            [CrossentropySoftmaxArgmax1Hot()(x_mn, c_m)[0], T.nnet.softmax(x_mn)[:, 0]]
        )
    ),
    "sum_of_crossentropy_gradient": Example(
        lambda x_mn, c_m: T.grad(_crossentropy(x_mn, c_m).sum(), x_mn).sum(axis=1)
    ),
    "sum_of_centred": Example(lambda x_mn: (x_mn - x_mn.mean(axis=0)).sum(axis=0)),
    # ---- specialize
    "subtensor_of_elemwise": Example(lambda x_mn, y_n: T.exp(x_mn + y_n)[0]),
    "subtensor_of_product": anywhere(lambda x_mk, y_kn: T.dot(x_mk, y_kn)[0]),
    "subtensor_of_batched_product": anywhere(lambda x_bmk, y_bkn: T.batched_dot(x_bmk, y_bkn)[0]),
    "subtensor_of_reduction": anywhere(lambda x_mn: x_mn.sum(axis=1)[0]),
    "subtensor_of_argmax": Example(lambda x_mn: T.argmax(x_mn, axis=1)[0]),
    "subtensor_of_cumulative": Example(lambda x_mn: T.cumsum(x_mn, axis=1)[0]),
    "subtensor_of_checked": anywhere(lambda x_mn, y_mn: T.stack([x_mn, y_mn])[0]),
    "subtensor_of_softmax": Example(lambda x_mn: T.nnet.softmax(x_mn)[0]),
    "logistic_crossentropy": Example(
        lambda x_n, y_n: y_n * T.nnet.softplus(x_n) + (1 - y_n) * T.nnet.softplus(-x_n)
    ),
    "sum_of_terms": Example(lambda x_mn, y_n: (T.sqr(x_mn) - y_n - 0.5).sum()),
    "sum_of_dot": Example(lambda x_mk, y_kn: T.dot(x_mk, y_kn).sum(axis=0)),
    "scaled_product": Example(lambda x_mk, y_kn: T.exp(T.dot(x_mk * 0.5, y_kn))),
    "scaled_transposition": Example(lambda x_km, y_kn: T.exp(T.dot((x_km * 0.5).T, y_kn))),
    "parts_of_zeros": Example(lambda x_3n: T.grad(_halves(x_3n), x_3n)),
    "scaled_increment": Example(lambda x_mn, y: T.grad((x_mn[0] * y).sum(), x_mn) / y),
    "sum_with_increment": Example(
        lambda x_mn, y_n: x_mn - T.inc_subtensor(T.zeros_like(x_mn)[0], y_n)
    ),
    "small_power": Example(lambda x_n: x_n**5.0),
    # ---- blas
    "accumulate_dot": Example(lambda x_mk, y_kn, z_mn: z_mn - 0.5 * T.dot(x_mk, y_kn)),
    "scaled_dot": Example(lambda x_mk, y_kn: 0.5 * T.dot(x_mk, y_kn)),
    "dot_to_dot22": Example(lambda x_mk, y_kn: T.dot(x_mk, y_kn)),
    # ---- arrange
    "arrange_factors": Example(lambda x_mn, p_n, p: x_mn * 2 / p / T.sqrt(p_n)),
    "sum_of_finer_sum": Example(lambda x_mn: x_mn.sum(axis=0) + 2 * x_mn.sum()),
    "sum_of_multiple": Example(lambda x_mn, y_n: _sum_and_multiple(T.exp(x_mn), y_n)),
    "outer_product": Example(lambda x_m, y_n: T.exp(T.outer(x_m, y_n))),
    "one_weight_for_all_rows": Example(
        lambda x_mn, c_m: T.grad(_crossentropy(x_mn, c_m).mean(), x_mn)
    ),
    "softmax_beside_its_logarithm": Example(
        lambda x_mn: T.nnet.softmax(x_mn) * T.nnet.logsoftmax(x_mn)
    ),
}
"""By the name of the rule."""
