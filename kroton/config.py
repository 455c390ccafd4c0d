"""Settings: `kroton.config`, read from KROTON_FLAGS and ~/.krotonrc when the package is imported.

KROTON_FLAGS="mode=FAST_COMPILE,floatX=float32,DebugMode.patience=3" python script.py

Quotes keep a value with commas together: optimizer_excluding='switch(x, y, y) -> y'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def _boolean(text: Any) -> bool:
    if isinstance(text, bool):
        return text
    if str(text).lower() in ("true", "1", "yes", "on"):
        return True
    if str(text).lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"expected a boolean, got {text!r}")


def _one_of(*choices: str) -> Callable[[Any], str]:
    def convert(text: Any) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, got {text!r}")
        return str(text)

    return convert


def _count(text: Any) -> int:
    number = int(text)
    if (isinstance(text, float) and number != text) or number < 0:
        raise ValueError(f"expected a number that is not negative, got {text!r}")
    return number


def _object_or_name(value: Any) -> Any:
    return value


class _Setting:
    __slots__ = ("convert", "default", "doc")

    def __init__(self, default: Any, convert: Callable[[Any], Any], doc: str) -> None:
        self.default = default
        self.convert = convert
        self.doc = doc


_SETTINGS: dict[str, _Setting] = {
    "floatX": _Setting("float64", _one_of("float32", "float64"),
        "dtype of constructors without a prefix, such as T.matrix, and of uncommitted floats"),
    "mode": _Setting("FAST_RUN", _object_or_name,
        "the mode of functions that are given none: a name, or a Mode"),
    "linker": _Setting("c|py", _object_or_name,
        "the linker of functions without a mode, and of Mode(): py, c, c|py, c&py, or a Linker"),
    "optimizer": _Setting("fast_run", _object_or_name,
        "the optimizer of functions without a mode, and of Mode(): None, merge, fast_compile, "
        "fast_run, ..."),
    "optimizer_excluding": _Setting("", str,
        "tags or rule names that no optimizer includes, separated by ':'"),
    "optimizer_including": _Setting("", str,
        "tags that every optimizer includes, separated by ':'"),
    "optimizer_requiring": _Setting("", str,
        "tags that every pass must have, separated by ':'"),
    "optimizer_verbose": _Setting(False, _boolean,
        "print each replacement that the optimizer makes"),
    "on_opt_error": _Setting("warn", _one_of("warn", "raise", "ignore", "pdb"),
        "what happens when a rule or a pass raises"),
    "on_unused_input": _Setting("raise", _one_of("raise", "warn", "ignore"),
        "what function() does with an input that no output depends on"),
    "exception_verbosity": _Setting("low", _one_of("low", "high"),
        "high adds the graph and the values' statistics to errors at call time"),
    "compute_test_value": _Setting("off", _one_of("off", "ignore", "warn", "raise", "pdb"),
        "compute tag.test_value of every expression while it is built"),
    "allow_gc": _Setting(True, _boolean,
        "free intermediates as soon as their last reader has run"),
    "profile": _Setting(False, _boolean,
        "profile every function"),
    "threads": _Setting(0, _count,
        "threads that a large kernel may use (BLAS counts its own); 0: the usable cores"),
    "traceback.limit": _Setting(8, _count,
        "how many of the user's frames are remembered for each Variable"),
    "DebugMode.patience": _Setting(10, _count,
        "how many copies of a graph are optimized to see whether the same is done to all"),
    "DebugMode.check_c": _Setting(True, _boolean, "compare the kernels' outputs"),
    "DebugMode.check_py": _Setting(True, _boolean, "compare the outputs of perform"),
    "DebugMode.check_finite": _Setting(True, _boolean, "raise for NaN and inf"),
    "DebugMode.check_strides": _Setting(0, _count,
        "0: ignore, 1: warn, 2: raise when kernel and perform give different strides"),
    "DebugMode.check_preallocated_output": _Setting("ALL", str,
        "which unusual output buffers to offer: initial, previous, c_contiguous, f_contiguous, "
        "strided, wrong_size, ALL; separated by ':'"),
    "DebugMode.warn_input_not_reused": _Setting(True, _boolean,
        "warn when a destroy_map is announced and not used"),
    "NanGuardMode.nan_is_error": _Setting(True, _boolean, "NanGuardMode raises for NaN"),
    "NanGuardMode.inf_is_error": _Setting(True, _boolean, "NanGuardMode raises for inf"),
    "NanGuardMode.big_is_error": _Setting(True, _boolean,
        "NanGuardMode raises for magnitudes over 1e10"),
}  # fmt: skip


class Section:
    """Settings under one prefix; `config` itself is the one without.

    Values are plain attributes, so that reading one costs nothing.
    """

    _prefix: str

    def __init__(self, prefix: str = "") -> None:
        self.__dict__["_prefix"] = prefix
        for name, setting in _SETTINGS.items():
            if name.startswith(prefix):
                head, _, rest = name[len(prefix) :].partition(".")
                if not rest:
                    self.__dict__[head] = setting.default
                elif head not in self.__dict__:
                    self.__dict__[head] = Section(f"{prefix}{head}.")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_unknown(self._prefix + name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._set(name, value)

    def _get(self, name: str) -> Any:
        """The value of a dotted name."""
        section, leaf = self._find(name)
        return section.__dict__[leaf]

    def _set(self, name: str, value: Any) -> None:
        """Convert and store the value of a dotted name."""
        section, leaf = self._find(name)
        full = section._prefix + leaf
        try:
            converted = _SETTINGS[full].convert(value)
            for judge in _judges.get(full, ()):
                judge(converted)
            _store(section, leaf, converted)
        except (TypeError, ValueError) as error:
            raise ValueError(f"config.{full}: {error}") from None

    def _find(self, name: str) -> tuple[Section, str]:
        if self._prefix + name not in _SETTINGS:
            raise AttributeError(_unknown(self._prefix + name))
        section = self
        head, _, rest = name.partition(".")
        while rest:
            section = section.__dict__[head]
            head, _, rest = rest.partition(".")
        return section, head

    @contextmanager
    def change_flags(self, **settings: Any) -> Iterator[None]:
        """Change settings within a `with` block; `__` stands for a dot in their names."""
        names = {k.replace("__", "."): v for k, v in settings.items()}
        before = {name: self._get(name) for name in names}
        try:
            for name, value in names.items():
                self._set(name, value)
            yield
        finally:
            for name, value in before.items():
                section, leaf = self._find(name)
                _store(section, leaf, value)

    def __str__(self) -> str:
        lines = []
        n = len(self._prefix)
        for name, setting in _SETTINGS.items():
            if name.startswith(self._prefix):
                lines.append(f"{name} = {self._get(name[n:])!r}\n    {setting.doc}")
        return "\n".join(lines)


_watchers: dict[str, list[Callable[[Any], None]]] = {}
"""Who is told of a setting's new value."""


def _store(section: Section, leaf: str, value: Any) -> None:
    section.__dict__[leaf] = value
    for tell in _watchers.get(section._prefix + leaf, ()):
        tell(value)


_judges: dict[str, list[Callable[[Any], Any]]] = {}
"""Who refuses wrong values of a setting whose choices are not known here."""


_sources: dict[str, str] = {}
"""Where the settings that were read at the start came from: KROTON_FLAGS or a file's path."""


def check(name: str, judge: Callable[[Any], Any]) -> None:
    """Call `judge` with each value that setting `name` shall get; it raises for a wrong one.

    A value that came from the environment or the file is judged at once.

    Raises
    ------
    ValueError
        If that value is wrong, saying where it came from.
    """
    if name in _sources:
        try:
            judge(config._get(name))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{_sources[name]}: config.{name}: {error}") from None
    _judges.setdefault(name, []).append(judge)


def watch(name: str, tell: Callable[[Any], None]) -> None:
    """Call `tell` with the value of setting `name`, now and whenever it is set."""
    _watchers.setdefault(name, []).append(tell)
    tell(config._get(name))


def _unknown(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, _SETTINGS, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"there is no setting {name!r}{hint}; there are {', '.join(_SETTINGS)}"


_FLAG = re.compile(r"""\s*([^=,]*?)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^,]*?))\s*(?:,|$)""")
"""`name=value` up to the next comma, the value in quotes or without."""


def _pairs_of_flags(flags: str) -> Iterator[tuple[str, str]]:
    start = 0
    while start < len(flags):
        part = flags[start:].partition(",")[0]
        if not part.strip():
            start += len(part) + 1
            continue
        found = _FLAG.match(flags, start)
        if found is None or "=" not in part:
            raise ValueError(
                f"KROTON_FLAGS: {part!r} is not of the form name=value (a value that contains a "
                "comma stands in quotes)"
            )
        name, *values = found.groups()
        yield name, next(value for value in values if value is not None)
        start = found.end()


def _pairs_of_file(path: str) -> Iterator[tuple[str, str]]:
    if not os.path.isfile(path):
        return
    from configparser import ConfigParser

    parser = ConfigParser(interpolation=None)  # the names of rules contain "%"
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(path)
    for section in parser.sections():
        prefix = "" if section == "global" else section + "."
        for name, value in parser.items(section):
            yield prefix + name, _unquoted(value)


def _unquoted(value: str) -> str:
    """`value` without the quotes around it, which only KROTON_FLAGS needs."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def _load() -> Section:
    section = Section()
    path = os.environ.get("KROTONRC", os.path.expanduser("~/.krotonrc"))
    for source, pairs in (
        (path, _pairs_of_file(path)),
        ("KROTON_FLAGS", _pairs_of_flags(os.environ.get("KROTON_FLAGS", ""))),
    ):
        for name, value in pairs:
            try:
                section._set(name, value)
            except (AttributeError, ValueError) as error:
                raise type(error)(f"{source}: {error}") from None
            _sources[name] = source
    return section


config: Any = _load()
