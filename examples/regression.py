"""A regression layer as a Module, trained by gradient descent and profiled.

    python examples/regression.py --data cancer --penalty lasso --strength 0.01

Prints the held-out score and, at the end, where the time went; writes a picture of the learning
curve and of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import digits
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import kroton
import kroton.tensor as T
from kroton.compile.mode import get_mode


class RegressionLayer(kroton.Module):
    """Least squares: `prediction = features @ w + b`.

    Subclasses replace `predicted`, `loss` or `goodness`.

    Parameters
    ----------
    features : Variable
        A matrix (samples, features), such as another layer's output.
    target : Variable
        The vector to predict.
    penalty : {'none', 'ridge', 'lasso'}
        What is added to the cost: nothing, half the sum of the squared weights, or the sum of
        their magnitudes, times `strength`.
    """

    def __init__(self, features: Any, target: Any, penalty: str = "ridge") -> None:
        dtype = features.type.dtype
        self.w = T.vector(dtype=dtype)
        self.b = T.scalar(dtype=dtype)
        self.rate = T.scalar(dtype=dtype)

        self.prediction = self.predicted(T.dot(features, self.w) + self.b)
        self.cost = self.loss(target).mean()
        if penalty != "none":
            self.strength = T.scalar(dtype=dtype)
            size = T.sum(self.w**2) / 2 if penalty == "ridge" else T.sum(abs(self.w))
            self.cost = self.cost + self.strength * size

        dw, db = T.grad(self.cost, [self.w, self.b])
        self.step = kroton.Method(
            [features, target], self.cost,
            updates={self.w: self.w - self.rate * dw, self.b: self.b - self.rate * db},
        )  # fmt: skip
        self.predict = kroton.Method(features, self.prediction)
        self.score = kroton.Method([features, target], self.goodness(target))

    def predicted(self, activation: Any) -> Any:
        """The prediction, from an affine function of the features."""
        return activation

    def loss(self, target: Any) -> Any:
        """The cost of each sample."""
        return (self.prediction - target) ** 2 / 2

    def goodness(self, target: Any) -> Any:
        """The share of the target's variance that is explained."""
        return 1 - T.mean((self.prediction - target) ** 2) / T.var(target)

    def _instance_initialize(
        self, inst: Any, *, features: int, seed: int = 0, **initial: Any
    ) -> None:
        """Small random weights for so many `features`; other members by name."""
        inst.w = np.random.default_rng(seed).normal(0, 0.01, features).astype(self.w.dtype)
        inst.b = 0
        super()._instance_initialize(inst, **initial)


class LogisticLayer(RegressionLayer):
    """Logistic regression: the prediction is the probability that the target is 1."""

    def predicted(self, activation: Any) -> Any:
        return T.nnet.sigmoid(activation)

    def loss(self, target: Any) -> Any:
        return T.nnet.binary_crossentropy(self.prediction, target)

    def goodness(self, target: Any) -> Any:
        """The share of samples on the right side of 1/2."""
        return T.mean(T.eq(self.prediction > 0.5, target > 0.5))


DATA = {"diabetes": (load_diabetes, RegressionLayer), "cancer": (load_breast_cancer, LogisticLayer)}


@dataclass(frozen=True)
class Training:
    """What a training run gave."""

    costs: list[float]
    """Before each step."""
    score: float
    """On the samples held out."""
    layer: Any
    """The trained instance."""
    mode: kroton.Mode
    """What it was compiled under."""


def load(name: str, dtype: str, seed: int) -> tuple[np.ndarray, ...]:
    """Training and held-out features, training and held-out targets: 70 % and 30 %.

    Features have mean 0 and variance 1 over the training samples, and so has a target that is
    not 0 or 1.
    """
    features, target = DATA[name][0](return_X_y=True)
    parts = train_test_split(features, target.astype("float64"), test_size=0.3, random_state=seed)
    scaled = parts[:2] if name == "cancer" else parts
    for k in range(0, len(scaled), 2):
        mean, deviation = parts[k].mean(axis=0), parts[k].std(axis=0)
        parts[k : k + 2] = [(part - mean) / deviation for part in parts[k : k + 2]]
    return tuple(part.astype(dtype) for part in parts)


def main(argv: Sequence[str] | None = None) -> Training:
    """Train as the command line `argv` says; print, draw and return what came of it."""
    parser = digits.arguments(
        __doc__ or "", epochs=300, output="regression.png", mode="PROFILE_MODE"
    )
    parser.add_argument("--data", choices=sorted(DATA), default="diabetes")
    parser.add_argument("--penalty", choices=("none", "ridge", "lasso"), default="ridge")
    parser.add_argument("--strength", type=float, default=0.01, help="of the penalty")
    parser.add_argument("--rate", type=float, default=0.1, help="the length of a step")
    options = parser.parse_args(argv)

    if options.mode == "PROFILE_MODE":
        mode = kroton.ProfileMode(optimizer="fast_run", linker=kroton.gof.OpWiseCLinker())
    else:
        mode = get_mode(options.mode)
    if options.linker is not None:
        mode = mode.clone(linker=options.linker)

    x, held_x, y, held_y = load(options.data, options.dtype, options.seed)
    features = T.matrix("features", dtype=options.dtype)
    target = T.vector("target", dtype=options.dtype)
    model = DATA[options.data][1](features, target, options.penalty)
    strength = {} if options.penalty == "none" else {"strength": options.strength}
    layer = model.make(
        mode=mode, features=x.shape[1], seed=options.seed, rate=options.rate, **strength
    )

    costs = [float(layer.step(x, y)) for _ in tqdm(range(options.epochs), unit="step")]
    training = Training(costs, float(layer.score(held_x, held_y)), layer, mode)
    print(f"cost            {costs[0]:.4f} -> {costs[-1]:.4f}")
    print(f"held-out score  {training.score:.4f}")
    if not options.no_plot:
        draw(training).savefig(options.output, dpi=120)
        print(f"picture         {options.output}")
    if isinstance(mode, kroton.ProfileMode):
        mode.print_summary()
    return training


def draw(training: Training) -> Figure:
    """The learning curve and the weights."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    cost, weights = figure.subplots(1, 2)
    cost.plot(training.costs)
    cost.set(xlabel="step", ylabel="training cost", yscale="log")
    weights.bar(np.arange(len(training.layer.w)), training.layer.w)
    weights.set(xlabel="feature", ylabel="weight")
    return figure


if __name__ == "__main__":
    main()
