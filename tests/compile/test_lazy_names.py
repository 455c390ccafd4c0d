"""Names of `kroton.compile` that are loaded when somebody asks."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "path",
    [
        "debugmode.DebugMode", "profilemode.ProfileMode", "monitormode.MonitorMode",
        "nanguardmode.NanGuardMode", "profiling.ProfileStats", "DebugMode", "MonitorMode",
        "NanGuardMode", "ProfileMode", "ProfileStats",
    ],
)  # fmt: skip
def test_every_mode_is_found_under_compile_in_a_fresh_process(path):
    script = f"import kroton; print(kroton.compile.{path}.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == path.rpartition(".")[2] + "\n", done.stderr
