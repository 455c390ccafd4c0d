"""Handwritten digits: loading them, training on them in minibatches, drawing what was learned.

What `logistic_regression.py` and `mlp.py` share.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import kroton
import kroton.tensor as T
from kroton.compile.mode import get_mode

PIXELS = 64
CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images (n, 64) and their labels (n,): 70 % to train on, 30 % held out.

    Pixels are scaled so that those of the training images have mean 0 and variance 1.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@dataclass(frozen=True)
class Training:
    """What a training run measured."""

    losses: list[float]
    """The cost of each minibatch, before its update."""
    accuracies: list[float]
    """The share of held-out digits recognised after each epoch."""
    compile_seconds: float
    """From the cost to a training step that can be called: the gradient and `function`."""
    step_seconds: float
    """The mean time of a step."""

    @property
    def accuracy(self) -> float:
        """The share of held-out digits recognised at the end."""
        return self.accuracies[-1]


def arguments(
    description: str, epochs: int, output: str, mode: str | None = None
) -> argparse.ArgumentParser:
    """The command line of an example.

    Parameters
    ----------
    description : str
        The example's docstring; its first line is shown by --help.
    epochs : int
        The default of --epochs.
    output : str
        The default of --output.
    mode : str, optional
        The default of --mode: config.mode if it is not given.
    """
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument(
        "--mode",
        default=mode,
        help=f"such as FAST_RUN or FAST_COMPILE (default: {mode or 'config.mode'})",
    )
    parser.add_argument("--linker", help="py, c, c|py or c&py (default: the mode's)")
    parser.add_argument("--epochs", type=int, default=epochs, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the weights")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--output", type=Path, default=Path(output), help="the picture to write")
    parser.add_argument("--no-plot", action="store_true", help="write no picture")
    return parser


def load(dtype: str, seed: int) -> Digits:
    """scikit-learn's 1797 digits of 8x8 pixels, split by `seed`."""
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels.astype("int64"), test_size=0.3, random_state=seed, stratify=labels
    )
    mean, deviation = train_x.mean(), train_x.std()
    return Digits(
        ((train_x - mean) / deviation).astype(dtype),
        train_y,
        ((test_x - mean) / deviation).astype(dtype),
        test_y,
    )


def train(
    x: Any,
    y: Any,
    probabilities: Any,
    parameters: Sequence[Any],
    options: argparse.Namespace,
    *,
    rate: float,
    batch: int,
) -> Training:
    """Minimise the mean cross-entropy of `probabilities` by minibatch gradient descent.

    Parameters
    ----------
    x, y : Variable
        A matrix of images and the vector of their labels; replaced by slices of shared data.
    probabilities : Variable
        (n, 10), computed from `x`.
    parameters : sequence of shared variables
        Changed in place by each step.
    options : argparse.Namespace
        What the parser of `arguments` gives.
    rate : float
        The length of a step along the gradient.
    batch : int
        Digits in a minibatch.
    """
    digits = load(options.dtype, options.seed)
    train_x = kroton.shared(digits.train_x, name="train_x")
    train_y = kroton.shared(digits.train_y, name="train_y")
    test_x = kroton.shared(digits.test_x, name="test_x")
    test_y = kroton.shared(digits.test_y, name="test_y")
    mode = get_mode(options.mode)
    if options.linker is not None:
        mode = mode.clone(linker=options.linker)

    cost = T.nnet.categorical_crossentropy(probabilities, y).mean()
    index = T.lscalar("index")
    rows = slice(index * batch, (index + 1) * batch)

    started = perf_counter()
    gradients = T.grad(cost, list(parameters))
    step = kroton.function(
        [index],
        cost,
        updates=[(p, p - rate * g) for p, g in zip(parameters, gradients, strict=True)],
        givens={x: train_x[rows], y: train_y[rows]},
        mode=mode,
        name="step",
    )
    compile_seconds = perf_counter() - started
    recognised = kroton.function(
        [],
        T.eq(T.argmax(probabilities, axis=1), y).mean(),
        givens={x: test_x, y: test_y},
        mode=mode,
        name="recognised",
    )

    batches = len(digits.train_y) // batch
    losses: list[float] = []
    accuracies: list[float] = []
    stepping = 0.0
    with tqdm(range(options.epochs), unit="epoch") as bar:
        for _ in bar:
            started = perf_counter()
            losses.extend(float(step(i)) for i in range(batches))
            stepping += perf_counter() - started
            accuracies.append(float(recognised()))
            mean = np.mean(losses[-batches:])
            bar.set_postfix(loss=f"{mean:.4f}", accuracy=f"{accuracies[-1]:.4f}")
    return Training(losses, accuracies, compile_seconds, stepping / len(losses))


def report(training: Training, weights: np.ndarray, options: argparse.Namespace) -> None:
    """Print what was measured and, unless --no-plot was given, write the picture.

    Parameters
    ----------
    training : Training
    weights : ndarray (64, k)
        Each column is drawn as an image.
    options : argparse.Namespace
    """
    print(f"held-out accuracy  {training.accuracy:.4f}")
    print(f"time to compile    {training.compile_seconds * 1e3:.1f} ms")
    print(f"time per step      {training.step_seconds * 1e6:.1f} us")
    if not options.no_plot:
        draw(training, weights).savefig(options.output, dpi=120)
        print(f"picture            {options.output}")


def draw(training: Training, weights: np.ndarray) -> Figure:
    """The learning curve, and the columns of `weights` (64, k) as images of 8x8 pixels."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2)

    epochs = len(training.accuracies)
    loss, accuracy = left.subplots(2, 1, sharex=True)
    loss.plot(np.arange(1, len(training.losses) + 1) * epochs / len(training.losses),
              training.losses, linewidth=0.5, label="each minibatch")  # fmt: skip
    loss.plot(np.arange(epochs) + 0.5, np.reshape(training.losses, (epochs, -1)).mean(axis=1),
              label="mean of the epoch")  # fmt: skip
    loss.set(yscale="log", ylabel="training cost")
    loss.legend()
    accuracy.plot(np.arange(1, epochs + 1), training.accuracies)
    accuracy.set(xlabel="epoch", ylabel="held-out accuracy")
    accuracy.grid(alpha=0.4)

    columns = int(np.ceil(np.sqrt(weights.shape[1] * 1.25)))
    rows = -(-weights.shape[1] // columns)
    images = right.subplots(rows, columns, squeeze=False).ravel()
    right.suptitle("learned weights")
    for image in images:
        image.set_axis_off()
    limit = np.abs(weights).max()
    for image, column in zip(images, weights.T, strict=False):
        image.imshow(column.reshape(8, 8), cmap="RdBu", vmin=-limit, vmax=limit)
    return figure
