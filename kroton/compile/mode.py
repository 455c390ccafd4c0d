"""Modes: an optimizer, a linker and hooks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from kroton.config import check, config
from kroton.linking.hooks import Hook
from kroton.linking.linker import (
    CLinker,
    DualLinker,
    Linker,
    OpWiseCLinker,
    PerformLinker,
    get_linker,
    predefined_linkers,
    register_linker,
)
from kroton.rewriting import Optimizer, get_optimizer
from kroton.rewriting import register_optimizer as _register_optimizer

__all__ = [
    "FAST_COMPILE",
    "FAST_RUN",
    "CLinker",
    "DualLinker",
    "Linker",
    "Mode",
    "OpWiseCLinker",
    "PerformLinker",
    "get_default_mode",
    "get_mode",
    "predefined_linkers",
    "predefined_modes",
    "register_linker",
    "register_mode",
    "register_optimizer",
]


def checked_hooks(hooks: Any) -> tuple[Hook, ...]:
    """`hooks` as a tuple.

    Raises
    ------
    TypeError
        If they are no list or tuple of Hooks.
    """
    if not isinstance(hooks, (list, tuple)):
        raise TypeError(f"hooks is a tuple of Hook objects, got {hooks!r}; write hooks=(hook,)")
    for hook in hooks:
        if not isinstance(hook, Hook):
            what = "the class" if isinstance(hook, type) else "the object"
            raise TypeError(
                f"a mode's hooks are instances of classes derived from kroton.gof.Hook; {what} "
                f"{hook!r} is none"
            )
    return tuple(hooks)


@dataclass(frozen=True)
class Mode:
    """How a function is compiled: which passes, which implementations, who watches.

    Examples
    --------
    >>> mode = Mode(linker="py", optimizer="fast_run").excluding("fusion")
    """

    linker: Any = None
    """A Linker or the name of one; None takes `config.linker`."""
    optimizer: Any = "default"
    """An Optimizer, the name of one, or None for no rewriting; "default" takes
    `config.optimizer`."""
    hooks: tuple[Hook, ...] = field(default=())
    """What is told of compilation and calls; anything but Hooks raises TypeError."""

    def __post_init__(self) -> None:
        linker = config.linker if self.linker is None else self.linker
        object.__setattr__(self, "linker", get_linker(linker))
        chosen = config.optimizer if self.optimizer == "default" else self.optimizer
        object.__setattr__(self, "optimizer", get_optimizer(chosen))
        object.__setattr__(self, "hooks", checked_hooks(self.hooks))

    def including(self, *tags: str) -> Any:
        """The same mode with the passes and rules that have one of the tags or names.

        Raises
        ------
        ValueError
            As `excluding` and `requiring` do: for what no pass, rule or tag is called, with close
            names. Several names may stand in one string, separated by ':'.
        """
        return self._with_optimizer(self.optimizer.including(*tags))

    def excluding(self, *tags: str) -> Any:
        """The same mode without the passes and rules that have one of the tags or names."""
        return self._with_optimizer(self.optimizer.excluding(*tags))

    def requiring(self, *tags: str) -> Any:
        """The same mode with only those passes that have all of the tags."""
        return self._with_optimizer(self.optimizer.requiring(*tags))

    def clone(self, link_kwargs: dict[str, Any] | None = None, **changes: Any) -> Any:
        """The same mode with other fields; `link_kwargs` change fields of the linker."""
        if link_kwargs:
            changes["linker"] = dataclasses.replace(self.linker, **link_kwargs)
        return dataclasses.replace(self, **changes)

    def _with_optimizer(self, optimizer: Optimizer) -> Any:
        return dataclasses.replace(self, optimizer=optimizer)


FAST_COMPILE = Mode("c|py", "fast_compile")
FAST_RUN = Mode("c|py", "fast_run")


def _debug_mode() -> Mode:
    from kroton.compile.debugmode import DebugMode

    return DebugMode()


def _profile_mode() -> Mode:
    from kroton.compile.profiling import profile_mode_by_name

    return profile_mode_by_name()


def _nan_guard_mode() -> Mode:
    from kroton.compile.nanguardmode import NanGuardMode

    return NanGuardMode()


predefined_modes: dict[str, Any] = {
    "FAST_COMPILE": FAST_COMPILE,
    "FAST_RUN": FAST_RUN,
    "DEBUG_MODE": _debug_mode,
    "DebugMode": _debug_mode,
    "NanGuardMode": _nan_guard_mode,
    "PROFILE_MODE": _profile_mode,
    "ProfileMode": _profile_mode,
}


def register_mode(name: str, mode: Any) -> None:
    """Make `mode` (a Mode, or a function that returns one) known under `name`.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If the name is taken.
    """
    if not isinstance(mode, Mode) and not callable(mode):
        raise TypeError(f"register_mode takes a Mode, or a function that returns one, got {mode!r}")
    if name in predefined_modes:
        raise ValueError(f"there already is a mode named {name!r}")
    predefined_modes[name] = mode


def register_optimizer(name: str, opt: Optimizer) -> None:
    """Make `opt` known under `name`, for `Mode(optimizer=name)`.

    Raises
    ------
    TypeError
        If `opt` is no Optimizer.
    ValueError
        If the name is taken.
    """
    if not isinstance(opt, Optimizer):
        raise TypeError(f"register_optimizer takes an Optimizer, got {opt!r}")
    _register_optimizer(name, opt)


def get_mode(mode: Any) -> Mode:
    """A Mode from an object, a name, or None for `config.mode`.

    Where `config.mode` is the default, FAST_RUN, None takes `config.linker` and
    `config.optimizer`. What `config.optimizer_including`, `_excluding` and `_requiring` say is
    applied to modes that are not given as an object.

    Raises
    ------
    ValueError
        For an unknown name, listing the known ones.
    """
    if mode is None:
        mode = config.mode
        if mode == "FAST_RUN" and (config.linker, config.optimizer) != ("c|py", "fast_run"):
            return _configured(Mode())
    known = _known_mode(mode)
    if known is mode:
        return mode  # type: ignore[no-any-return]
    return _configured(known if isinstance(known, Mode) else known())


def _known_mode(mode: Any) -> Any:
    """A Mode as it is; for a name, the Mode or the function that makes it."""
    if isinstance(mode, Mode):
        return mode
    try:
        return predefined_modes[mode]
    except (KeyError, TypeError):
        names = ", ".join(predefined_modes)
        raise ValueError(
            f"there is no mode {mode!r}; use one of {names}, or a Mode object"
        ) from None


def _configured(mode: Mode) -> Mode:
    """`mode` with what `config.optimizer_including`, `_excluding` and `_requiring` say."""
    for change in ("including", "excluding", "requiring"):
        names = getattr(config, f"optimizer_{change}")
        if names:
            mode = getattr(mode, change)(names)
    return mode


def get_default_mode() -> Mode:
    """The mode that `config.mode` names."""
    return get_mode(None)


check("mode", _known_mode)
check("linker", get_linker)
check("optimizer", get_optimizer)
