"""Every example in the manual and in the docstrings gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import kroton
import kroton.tensor as T

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


def resolved(dotted: str) -> Any:
    """What a dotted name that begins with `kroton` or `T` means."""
    first, *rest = dotted.split(".")
    found: Any = {"kroton": kroton, "T": T}[first]
    path = "kroton" if first == "kroton" else "kroton.tensor"
    for name in rest:
        path += f".{name}"
        found = getattr(found, name, None) or importlib.import_module(path)
    return found


def test_every_name_that_the_texts_quote_exists() -> None:
    texts = [(ROOT / page).read_text() for page in PAGES]
    texts += [Path(importlib.import_module(name).__file__ or "").read_text() for name in MODULES]
    quoted = {name for text in texts for name in re.findall(r"`((?:kroton|T)(?:\.\w+)+)", text)}
    assert len(quoted) > 50
    for name in quoted:
        resolved(name)
