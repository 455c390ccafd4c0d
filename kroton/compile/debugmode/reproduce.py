"""Failing cases on disk: what is needed to see an error again, with one line of Python."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Mapping
from importlib import import_module
from tempfile import gettempdir
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
    text = str(error)
    try:
        case = _case_of(error, what, values, chosen)
        if minimize:
            case = shrink(case)
    except Exception as problem:  # what was found matters more than how it is told
        error.args = (f"{text}\n(no case could be made of it: {problem!r})",)
        return
    if directory != "":
        text += f"\n{_saved(error, case, directory)}"
    if minimize:  # at the end, so that all that follows can be copied
        text += "\nThe smallest case that still fails, as a script:\n" + script(case)
    error.args = (text,)


def _case_of(error: DebugModeError, what: Any, values: Any, chosen: Checks) -> Case:
    if isinstance(what, Apply):
        return ApplyCase.of(what, list(values), type(error), chosen)
    assert isinstance(error, BadOptimization)
    assert isinstance(values, Mapping)
    return RewriteCase.cut(what.old, what.new, str(what.reason), values)


def _saved(error: DebugModeError, case: Case, directory: str | None) -> str:
    """Save the case, in the system's temporary directory where it cannot be in `directory`."""
    try:
        data = pickle.dumps(case)
    except Exception as problem:  # an Op defined in a function cannot be pickled
        return f"(the case could not be saved: {problem})"
    notes = []
    for folder in dict.fromkeys((directory, None)):
        try:
            error.path = _write(data, folder)
        except OSError as problem:
            notes.append(f"(the case could not be saved in {folder or gettempdir()}: {problem})")
        else:
            line = "from kroton.compile.debugmode import reproduce; "
            notes.append(f"To reproduce it: {line}reproduce({error.path!r})")
            if case.missing():
                notes.append(f"That alone is not enough: {case.missing()}.")
            break
    return "\n".join(notes)


def _write(data: bytes, folder: str | None) -> str:
    handle, path = tempfile.mkstemp(".pkl", "kroton_debug_", folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError:
        os.unlink(path)
        raise
    return path


def load(data: bytes) -> Case:
    """The case that was pickled.

    Raises
    ------
    ModuleNotFoundError, AttributeError
        Saying what it needs, where that cannot be imported.
    """
    try:
        case: Case = pickle.loads(data)
        if isinstance(case, ApplyCase) and case.module:
            import_module(case.module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the case needs the module {error.name!r}, which cannot be found: put its folder on "
            "sys.path (or in PYTHONPATH)",
            name=error.name,
        ) from error
    except AttributeError as error:
        raise AttributeError(
            f"the case needs something that is not there: {error}. What is defined in the main "
            "program must be defined first in this one, or moved to a module that can be imported"
        ) from error
    return case


def reproduce(path: str) -> None:
    """Run the case that an error of DebugMode saved; raises the error again.

    Parameters
    ----------
    path : str
        As printed in the error. The file is a pickle: open only your own.
    """
    with open(path, "rb") as file:
        case = load(file.read())
    case.run()
    print(f"{path}: the error did not occur again")
    if case.missing():
        print(f"({case.missing()})")
