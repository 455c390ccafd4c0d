"""A network with one hidden layer on handwritten digits, by minibatch gradient descent.

    python examples/mlp.py --dtype float32 --epochs 40

Prints held-out accuracy, the time to compile and the time per step; writes a picture of the
learning curve and of what 40 of the hidden units have learned to look for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import digits
import numpy as np

import kroton
import kroton.tensor as T

HIDDEN = 256


def main(argv: Sequence[str] | None = None) -> digits.Training:
    """Train as the command line `argv` says; print, draw and return what was measured."""
    options = digits.arguments(__doc__ or "", epochs=40, output="mlp.png").parse_args(argv)
    rng = np.random.default_rng(options.seed)

    def layer(name: str, fan_in: int, fan_out: int) -> tuple[Any, Any]:
        """Normal weights of variance 1 / fan_in (LeCun et al., Efficient BackProp, 1998)."""
        weights = rng.normal(0, fan_in**-0.5, (fan_in, fan_out)).astype(options.dtype)
        w = kroton.shared(weights, name=f"w_{name}")
        b = kroton.shared(np.zeros(fan_out, options.dtype), name=f"b_{name}")
        return w, b

    x, y = T.matrix("x", dtype=options.dtype), T.lvector("y")
    w_hidden, b_hidden = layer("hidden", digits.PIXELS, HIDDEN)
    w_out, b_out = layer("out", HIDDEN, digits.CLASSES)
    hidden = T.tanh(x @ w_hidden + b_hidden)
    probabilities = T.nnet.softmax(hidden @ w_out + b_out)

    parameters = [w_hidden, b_hidden, w_out, b_out]
    training = digits.train(x, y, probabilities, parameters, options, rate=0.1, batch=20)
    digits.report(training, w_hidden.get_value()[:, :40], options)
    return training


if __name__ == "__main__":
    main()
