"""ProfileMode: functions that count what they do; profiles that are printed at exit."""

from __future__ import annotations

import atexit
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from kroton.compile.mode import Mode, checked_hooks
from kroton.compile.profiling.stats import ProfileStats, merged
from kroton.linking.hooks import Hook


@dataclass(frozen=True, init=False)
class ProfileMode(Mode):
    """Compiles as `optimizer` and `linker` say, and counts where the time goes.

    Several functions may be compiled under one ProfileMode: they are summed, and listed.
    Including or excluding rewrites gives a mode that counts into the same profile.

    Parameters
    ----------
    optimizer : str or Optimizer
    linker : str or Linker, optional
        None takes `config.linker`.
    hooks : tuple of Hook
        More that want to be told of compilation and calls.
    stats : ProfileStats, optional
        Where to count: a new profile by default.

    Examples
    --------
    >>> import kroton, kroton.tensor as T
    >>> mode = kroton.ProfileMode(optimizer="fast_run", linker=kroton.gof.OpWiseCLinker())
    >>> x = T.dvector("x")
    >>> f = kroton.function([x], T.exp(x).sum(), mode=mode)
    >>> f([0.0, 0.0])
    array(2.)
    >>> mode.stats.calls
    1
    """

    stats: ProfileStats = field(default_factory=ProfileStats)
    """What has been counted."""

    def __init__(
        self, optimizer: Any = "fast_run", linker: Any = None, hooks: tuple[Hook, ...] = (),
        stats: ProfileStats | None = None,
    ) -> None:  # fmt: skip
        chosen = ProfileStats() if stats is None else stats
        kept = tuple(hook for hook in checked_hooks(hooks) if hook is not chosen)
        object.__setattr__(self, "optimizer", optimizer)
        object.__setattr__(self, "linker", linker)
        object.__setattr__(self, "stats", chosen)
        object.__setattr__(self, "hooks", (chosen, *kept))
        self.__post_init__()

    @property
    def local_time(self) -> float:
        """Seconds in Applys."""
        return self.stats.local_time

    def print_summary(
        self, n_apply_to_print: int = 15, n_ops_to_print: int = 20, file: Any = None
    ) -> None:
        """Print where the time went: see `ProfileStats.print_summary`."""
        self.stats.print_summary(n_apply_to_print, n_ops_to_print, file)

    def summary(
        self, file: Any = None, n_ops_to_print: int = 20, n_apply_to_print: int = 20
    ) -> None:
        """Print where the time went: see `ProfileStats.summary`."""
        self.stats.summary(file, n_ops_to_print, n_apply_to_print)

    def reset(self) -> None:
        """Forget the calls (for instance the first ones), not the functions."""
        self.stats.reset()

    def print_diff_summary(
        self, other: Any, n_apply_to_print: int = 15, n_ops_to_print: int = 20, file: Any = None
    ) -> None:
        """Print this profile against `other`, a ProfileMode or ProfileStats of the same work."""
        self.stats.print_diff_summary(other, n_apply_to_print, n_ops_to_print, file)

    def to_dict(self) -> dict[str, Any]:
        """Everything that was measured, as plain dicts, lists, strings and numbers."""
        return self.stats.to_dict()

    def to_json(self, path: Any = None) -> str:
        """`to_dict()` as JSON; also written to `path` if one is given."""
        return self.stats.to_json(path)

    def write_trace(self, path: Any) -> None:
        """Write a file for Perfetto or chrome://tracing: see `ProfileStats.write_trace`."""
        self.stats.write_trace(path)

    def write_html(self, path: Any) -> None:
        """Write one HTML file: see `ProfileStats.write_html`."""
        self.stats.write_html(path)


# What is printed at exit: the profile of functions compiled under the name PROFILE_MODE, and
# those that config.profile asked for.
_lock = threading.Lock()
_named: ProfileMode | None = None
_configured: list[ProfileStats] = []
_registered = False


def profile_mode_by_name() -> ProfileMode:
    """The one ProfileMode that 'PROFILE_MODE' names; its summary is printed at exit."""
    global _named
    with _lock:
        if _named is None:
            _named = ProfileMode()
            _print_at_exit()
        return _named


def profile_for(profile: Any) -> ProfileStats:
    """The profile that `function(..., profile=...)` asks for.

    Raises
    ------
    TypeError
        If it is neither a bool, None nor a ProfileStats.
    """
    if isinstance(profile, ProfileMode):
        return profile.stats
    if isinstance(profile, ProfileStats):
        return profile
    stats = ProfileStats()
    if profile is None:
        with _lock:
            _configured.append(stats)
            _print_at_exit()
    elif profile is not True:
        raise TypeError(f"profile is True, False, None or a ProfileStats, not {profile!r}")
    return stats


def _print_at_exit() -> None:
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_print_all)


def _print_all() -> None:
    profiles = [*_configured, *([] if _named is None else [_named.stats])]
    total = merged(profiles)
    if (total.calls or total.failed) and not getattr(sys.stdout, "closed", True):
        total.print_summary()
