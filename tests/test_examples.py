"""The examples train, and give the same with every linker."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = ("logistic_regression", "mlp")


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module(request.param)


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_every_linker_gives_the_same_losses(example: ModuleType) -> None:
    def losses(linker: str) -> list[float]:
        return example.main(["--linker", linker, "--epochs", "2", "--no-plot"]).losses

    reference = losses("py")
    for linker in ("c", "c|py", "c&py"):
        np.testing.assert_allclose(losses(linker), reference, rtol=1e-9, atol=0)


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_every_mode_trains(example: ModuleType) -> None:
    fast_run = example.main(["--mode", "FAST_RUN", "--epochs", "1", "--no-plot"])
    fast_compile = example.main(["--mode", "FAST_COMPILE", "--epochs", "1", "--no-plot"])
    np.testing.assert_allclose(fast_run.losses, fast_compile.losses, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("example", "accuracy"),
    [("logistic_regression", 0.94), ("mlp", 0.97)],
    indirect=["example"],
)
def test_held_out_digits_are_recognised(
    example: ModuleType, accuracy: float, dtype: str, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    training = example.main(["--linker", "c|py", "--dtype", dtype, "--output", str(picture)])
    assert training.accuracy >= accuracy
    assert np.mean(training.losses[-60:]) < np.mean(training.losses[:60])
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_the_same_seed_gives_the_same_training(example: ModuleType) -> None:
    arguments = ["--epochs", "1", "--seed", "3", "--no-plot"]
    assert example.main(arguments).losses == example.main(arguments).losses


@pytest.mark.parametrize("example", NAMES, indirect=True)
def test_an_unknown_linker_is_refused_with_the_known_ones(example: ModuleType) -> None:
    with pytest.raises(ValueError, match="c&py"):
        example.main(["--linker", "llvm", "--epochs", "1", "--no-plot"])
