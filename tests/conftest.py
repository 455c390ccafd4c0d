"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import kroton


def pytest_configure() -> None:
    """Let interpreters that tests start import the kroton under test.

    Without this they would find the source tree first, in the directory that they start from.
    """
    os.environ["PYTHONSAFEPATH"] = "1"


def pytest_report_header() -> str:
    """Say which kroton is tested: an installed wheel, or a source tree."""
    return f"kroton: {kroton.__version__} from {kroton.__file__}"


@pytest.fixture
def nan_is_meant() -> Iterator[None]:
    """For tests of what NaN and inf become: DebugMode lets them pass."""
    with kroton.config.change_flags(DebugMode__check_finite=False):
        yield


@pytest.fixture
def fast_run() -> Iterator[None]:
    """For tests of how a function runs: whatever `config.mode` says, FAST_RUN is the default."""
    with kroton.config.change_flags(mode="FAST_RUN"):
        yield
