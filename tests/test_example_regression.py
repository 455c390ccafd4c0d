"""The regression layer trains under every mode, as a Module whose state can be kept."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import kroton

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def regression(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("regression")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("data", "score"), [("diabetes", 0.35), ("cancer", 0.95)])
def test_the_held_out_target_is_predicted(
    regression: ModuleType, data: str, score: float, dtype: str, tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    training = regression.main(["--data", data, "--dtype", dtype, "--output", str(picture)])
    assert training.score > score
    assert training.layer.w.dtype == dtype
    assert np.all(np.diff(training.costs[:50]) < 0)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_profile_names_what_the_training_ran(
    regression: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    training = regression.main(["--epochs", "5", "--no-plot"])
    assert isinstance(training.mode, kroton.ProfileMode)
    printed = capsys.readouterr().out
    assert "ProfileMode.print_summary()" in printed
    assert "in step" in printed


@pytest.mark.parametrize("penalty", ["none", "ridge", "lasso"])
@pytest.mark.parametrize("data", ["diabetes", "cancer"])
def test_every_linker_and_mode_takes_the_same_steps(
    regression: ModuleType, data: str, penalty: str
) -> None:
    def costs(*chosen: str) -> list[float]:
        arguments = ["--data", data, "--penalty", penalty, "--epochs", "5", "--no-plot", *chosen]
        return regression.main(arguments).costs

    reference = costs("--mode", "FAST_COMPILE", "--linker", "py")
    for chosen in (["--linker", "c"], ["--linker", "c&py"], ["--mode", "FAST_RUN"]):
        np.testing.assert_allclose(costs(*chosen), reference, rtol=1e-9)


def test_a_penalty_makes_the_weights_smaller(regression: ModuleType) -> None:
    def size(penalty: str) -> float:
        arguments = ["--penalty", penalty, "--strength", "0.3", "--no-plot", "--mode", "FAST_RUN"]
        return float(np.abs(regression.main(arguments).layer.w).sum())

    assert size("ridge") < size("none")
    assert size("lasso") < size("none")


def test_training_goes_on_where_a_pickle_was_made(regression: ModuleType) -> None:
    training = regression.main(["--epochs", "3", "--no-plot", "--mode", "FAST_RUN"])
    x, _, y, _ = regression.load("diabetes", "float64", 0)
    again = pickle.loads(pickle.dumps(training.layer))
    assert [again.step(x, y) for _ in range(3)] == [training.layer.step(x, y) for _ in range(3)]
