"""Failing cases on disk: what is needed to see an error again, with one line of Python."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from typing import Any

from kroton.compile.debugmode.application import Checks
from kroton.compile.debugmode.errors import BadOptimization, DebugModeError
from kroton.compile.debugmode.minimize import ApplyCase, Case, RewriteCase, script, shrink
from kroton.graph.basic import Apply


def save_case(
    error: DebugModeError, what: Any, values: Any, chosen: Checks, directory: str | None,
    minimize: bool,
) -> None:  # fmt: skip
    """Save the failing Apply or replacement with its inputs, and say so in the error.

    Parameters
    ----------
    error : DebugModeError
        Its message gets the line that reproduces it, and the script if `minimize`.
    what : Apply or Replacement
    values : list, or dict from Variable
        The inputs of the Apply, or all known values.
    chosen : Checks
        What was checked.
    directory : str or None
        None for the system's temporary one; "" to save nothing.
    minimize : bool
        Shrink the case first.
    """
    case: Case
    if isinstance(what, Apply):
        case = ApplyCase.of(what, list(values), type(error), chosen)
    else:
        assert isinstance(error, BadOptimization)
        assert isinstance(values, Mapping)
        case = RewriteCase.cut(what.old, what.new, str(what.reason), values)
    text = str(error)
    if minimize:
        case = shrink(case)
    if directory != "":
        try:
            data = pickle.dumps(case)
        except Exception as problem:  # an Op defined in a function cannot be pickled
            text += f"\n(the case could not be saved: {problem})"
        else:
            handle, path = tempfile.mkstemp(".pkl", "kroton_debug_", directory)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            error.path = path
            text += (
                "\nTo reproduce it: from kroton.compile.debugmode import reproduce; "
                f"reproduce({path!r})"
            )
    if minimize:  # at the end, so that all that follows can be copied
        text += "\nThe smallest case that still fails, as a script:\n" + script(case)
    error.args = (text,)


def reproduce(path: str) -> None:
    """Run the case that an error of DebugMode saved; raises the error again.

    Parameters
    ----------
    path : str
        As printed in the error. The file is a pickle: open only your own.
    """
    with open(path, "rb") as file:
        case = pickle.load(file)
    case.run()
    print(f"{path}: the error did not occur again")
