"""An Op whose kernel is compiled outside Kroton, against what the wheel ships."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kroton
import kroton.tensor as T

SOURCE = Path(__file__).resolve().parent / "extension_package"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The package, built and installed as its user would, into a folder of its own."""
    work = tmp_path_factory.mktemp("extension")
    shutil.copytree(SOURCE, work / "source", ignore=shutil.ignore_patterns("__pycache__"))
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps",
            "--no-index", "--disable-pip-version-check", "--target", str(work / "site"),
            str(work / "source"),
        ],
        env=environment, cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(work / "site"))
    try:
        yield importlib.import_module("running_maximum")
    finally:
        sys.path.remove(str(work / "site"))


@pytest.mark.parametrize("linker", ["c|py", "c", "c&py"])
def test_the_kernel_is_selected(package: ModuleType, linker: str) -> None:
    x = T.dvector("x")
    f = kroton.function([x], package.running_maximum(x), mode=kroton.Mode(linker))
    assert f.maker.linked.implementations == ["c&py" if linker == "c&py" else "c"]
    np.testing.assert_array_equal(f([1.0, 3.0, 2.0, 4.0]), [1.0, 3.0, 3.0, 4.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
def test_the_kernel_equals_the_perform_on_every_layout(
    package: ModuleType, dtype: str, data: st.DataObject
) -> None:
    width = 32 if dtype == "float32" else 64
    values = data.draw(st.lists(st.floats(width=width), max_size=20))
    step = data.draw(st.sampled_from([1, 2, 3, -1, -2]))
    array = np.array(values, dtype)[::step]
    x = T.TensorType(dtype, (None,))()
    node = package.running_maximum.make_node(x)
    kernel = package.select(node)
    expected: list[list[np.ndarray | None]] = [[None], [None]]
    node.op.perform(node, [array], expected)
    for found, (wanted,) in zip(kernel(array), expected, strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_the_gradient_is_that_of_the_first_largest_element(package: ModuleType) -> None:
    rng = np.random.default_rng(3)
    point = rng.permutation(12).astype("float64")
    kroton.verify_grad(package.running_maximum, [point], rng=rng)


def test_shapes_are_inferred_without_the_values(package: ModuleType) -> None:
    x = T.dvector("x")
    f = kroton.function([x], package.running_maximum(x * x).shape[0])
    assert f(np.zeros(5)) == 5
    assert not any(isinstance(n.op, package.RunningMaximum) for n in f.maker.fgraph.apply_nodes)


def test_other_types_are_refused(package: ModuleType) -> None:
    with pytest.raises(TypeError, match="takes a vector of floats"):
        package.running_maximum(T.dmatrix())
    kernel = importlib.import_module("running_maximum.kernel")
    with pytest.raises(TypeError, match="float32 and float64 only"):
        kernel.RunningMaximumKernel(np.dtype("int64").num)
