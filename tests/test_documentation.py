"""Every example in the manual and in the docstrings gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import kroton

ROOT = Path(__file__).resolve().parent.parent
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = ["kroton"] + [
    found.name
    for found in pkgutil.walk_packages(kroton.__path__, "kroton.")
    if not found.name.startswith("kroton._kernels.")
]
PAGES = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("docs/*.rst"), ROOT / "README.md"])


@pytest.fixture(autouse=True)
def _settings_as_they_were() -> object:
    before = {name: getattr(kroton.config, name) for name in ("floatX", "mode", "linker")}
    yield
    for name, value in before.items():
        setattr(kroton.config, name, value)


@pytest.mark.usefixtures("fast_run")
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_docstring_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert result.failed == 0


@pytest.mark.usefixtures("fast_run")
@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_are_true(page: str) -> None:
    result = doctest.testfile(str(ROOT / page), module_relative=False, optionflags=FLAGS)
    assert result.failed == 0
