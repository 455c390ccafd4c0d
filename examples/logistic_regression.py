"""Softmax regression on handwritten digits, by minibatch gradient descent.

    python examples/logistic_regression.py --linker 'c|py' --epochs 30

Prints held-out accuracy, the time to compile and the time per step; writes a picture of the
learning curve and of what each class has learned to look for.
"""

from __future__ import annotations

from collections.abc import Sequence

import digits
import numpy as np

import kroton
import kroton.tensor as T


def main(argv: Sequence[str] | None = None) -> digits.Training:
    """Train as the command line `argv` says; print, draw and return what was measured."""
    options = digits.arguments(
        __doc__ or "", epochs=30, output="logistic_regression.png"
    ).parse_args(argv)

    x, y = T.matrix("x", dtype=options.dtype), T.lvector("y")
    w = kroton.shared(np.zeros((digits.PIXELS, digits.CLASSES), options.dtype), name="w")
    b = kroton.shared(np.zeros(digits.CLASSES, options.dtype), name="b")
    probabilities = T.nnet.softmax(x @ w + b)

    training = digits.train(x, y, probabilities, [w, b], options, rate=0.05, batch=20)
    digits.report(training, w.get_value(), options)
    return training


if __name__ == "__main__":
    main()
