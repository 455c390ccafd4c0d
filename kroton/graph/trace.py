"""Where the user wrote it: the source lines that made a Variable or an Apply."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from kroton.config import config

Trace = tuple[tuple[CodeType, int], ...]

_PACKAGE = "kroton."


# Whether a code object is the package's own; asked for every frame, so remembered.
_own: dict[CodeType, bool] = {}


class _Recording(threading.local):
    on = True


_recording = _Recording()


@contextmanager
def traces_suspended() -> Iterator[None]:
    """Within it nothing is recorded in this thread: for graphs that get the trace of another."""
    before = _recording.on
    _recording.on = False
    try:
        yield
    finally:
        _recording.on = before


def creation_trace(of_input: bool = False) -> Trace:
    """The innermost `config.traceback.limit` user frames, innermost first, as (code, line).

    Frames of the package itself are left out. Nothing is formatted until somebody asks.
    With `of_input`, nothing is recorded below a `make_node`: the Variable will be an output.
    """
    if not _recording.on:
        return ()
    limit = config.traceback.limit
    if limit == 0:
        return ()
    frame: FrameType | None = sys._getframe(2)
    found: list[tuple[CodeType, int]] = []
    while frame is not None:
        code = frame.f_code
        own = _own.get(code)
        if own is None:
            name = frame.f_globals.get("__name__", "")
            own = name.startswith(_PACKAGE) or name in ("kroton", "dataclasses")
            if len(_own) < 100_000:
                _own[code] = own
        if of_input and code.co_name == "make_node":
            return ()
        if not own:
            found.append((code, frame.f_lineno))
            if len(found) == limit:
                break
        frame = frame.f_back
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
