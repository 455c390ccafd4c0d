"""What the optimizer makes of training steps, compared with texts that a reader has approved.

The steps are those of `bench/training_steps.py`. A change of the optimizer that changes a graph
fails here. Read the new graph; if an expert would have written it so, approve it with

    KROTON_APPROVE=1 pytest tests/rewriting/test_models.py

and commit the text with the change.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_steps import MODELS, Library

import kroton
from kroton.compile.mode import Mode

APPROVED = Path(__file__).parent / "models"
rng_of = np.random.default_rng

DATA: dict[str, Any] = {
    "logistic_regression": lambda rng: [rng.normal(size=(7, 10)), rng.integers(0, 2, 7) * 1.0],
    "mlp": lambda rng: [rng.normal(size=(7, 20)), rng.integers(0, 5, 7)],
    "batch_normalisation": lambda rng: [rng.normal(size=(7, 20)), rng.normal(size=(7, 30))],
    "naive_crossentropy": lambda rng: [
        rng.normal(size=(7, 20)),
        np.eye(5)[rng.integers(0, 5, 7)],
    ],
    "gaussian": lambda rng: [rng.normal(size=(7, 8))],
    "mixture": lambda rng: [rng.normal(size=7)],
    "attention": lambda rng: [rng.normal(size=(7, 16)), rng.normal(size=(7, 16))],
}
"""Arguments for each model."""


def text_of(name: str, mode: Any = "FAST_RUN") -> str:
    """The optimized graph of a model; branches that come again end in ` ...`."""
    library = Library.kroton()
    inputs, output, updates = MODELS[name](library)
    f = library.function(inputs, output, updates=updates, mode=mode)
    text = kroton.debugprint(f, file="str", ids="")
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", MODELS)
def test_the_optimized_step_is_as_approved(name: str) -> None:
    found = text_of(name)
    file = APPROVED / f"{name}.txt"
    if os.environ.get("KROTON_APPROVE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    approved = file.read_text(encoding="utf-8")
    assert found == approved, (
        f"the optimized graph of {name} has changed; read it, and if it is as it should be, run "
        "KROTON_APPROVE=1 pytest tests/rewriting/test_models.py and commit the text"
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_apply_of_a_step_has_a_kernel(name: str) -> None:
    assert "[py]" not in text_of(name)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_does_what_the_unoptimized_one_does(name: str) -> None:
    library = Library.kroton()
    values = DATA[name](rng_of(5))
    results = []
    for mode in (Mode("py", None), Mode("c|py", "fast_compile"), Mode("c|py", "fast_run")):
        inputs, output, updates = MODELS[name](library)
        step = library.function(inputs, output, updates=updates, mode=mode)
        costs = [step(*values) for _ in range(3)]
        results.append([*costs, *(p.get_value() for p, _ in updates)])
    for other in results[1:]:
        for a, b in zip(other, results[0]):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
