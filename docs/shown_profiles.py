"""Writes the profiles that the manual shows, which are measured:

    python docs/shown_profiles.py

`profile_of_a_step.txt` is shown by profiling.rst, `profile_of_a_regression.txt` by modules.rst.
Needs the `examples` extra. Run it again when rewrites or the summary have changed.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

# One thread: what several do depends on what else the machine does. NumPy reads it when loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "bench"), str(HERE.parent / "examples")]


def of_a_step() -> str:
    """300 steps of the network of bench/profiling.py on batches of 20."""
    from profiling import step

    import kroton

    mode = kroton.ProfileMode()
    f, arguments = step(mode, 20)
    for _ in range(300):
        f(*arguments)
    text = io.StringIO()
    mode.print_summary(n_apply_to_print=8, n_ops_to_print=6, file=text)
    return text.getvalue()


def of_a_regression() -> str:
    """What examples/regression.py prints, up to the table of functions."""
    import regression

    with redirect_stdout(io.StringIO()) as text:
        regression.main(["--epochs", "2000", "--no-plot"])
    shown = text.getvalue().partition("\nClass-wise summary")[0]
    return f"$ python examples/regression.py --epochs 2000 --no-plot\n{shown}"


def main() -> None:
    """Measure and write."""
    (HERE / "profile_of_a_step.txt").write_text(of_a_step(), "utf-8")
    (HERE / "profile_of_a_regression.txt").write_text(of_a_regression(), "utf-8")


if __name__ == "__main__":
    main()
