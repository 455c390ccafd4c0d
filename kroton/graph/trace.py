"""Where the user wrote it: the source lines that made a Variable or an Apply."""

from __future__ import annotations

import linecache
import sys
from types import CodeType

from kroton.config import config

Trace = tuple[tuple[CodeType, int], ...]

_PACKAGE = "kroton."


def creation_trace() -> Trace:
    """The innermost `config.traceback.limit` user frames, innermost first, as (code, line).

    Frames of the package itself are left out. Nothing is formatted until somebody asks.
    """
    limit = config.traceback.limit
    if limit == 0:
        return ()
    frame = sys._getframe(2)
    found: list[tuple[CodeType, int]] = []
    depth = 0
    while frame is not None and depth < 40:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(_PACKAGE) and name != "kroton" and name != "dataclasses":
            found.append((frame.f_code, frame.f_lineno))
            if len(found) == limit:
                break
        depth += 1
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def format_trace(trace: Trace | None) -> str:
    """The trace as a Python traceback shows it, outermost frame first; '' if there is none."""
    if not trace:
        return ""
    lines = []
    for code, line in reversed(trace):
        lines.append(f'  File "{code.co_filename}", line {line}, in {code.co_name}')
        text = linecache.getline(code.co_filename, line).strip()
        if text:
            lines.append(f"    {text}")
    return "\n".join(lines)
