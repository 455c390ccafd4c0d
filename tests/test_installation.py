"""What a user has after installing: a package that starts fast and needs no toolchain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import kroton, kroton.tensor as T
print([name for name in ("scipy.linalg", "matplotlib", "Cython") if name in sys.modules])
x = T.dvector("x")
print(kroton.function([x], T.exp(x).sum())([0.0, 0.0]))
"""


def test_a_first_function_needs_no_compiler_and_no_heavy_import(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": "", "CC": "a-compiler-that-is-not-there"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "2.0"]
    assert list(tmp_path.iterdir()) == []
