"""What can go wrong when an expression is differentiated."""

from __future__ import annotations


class NullTypeGradError(TypeError):
    """A gradient that is asked for is undefined or not implemented."""


class DisconnectedInputError(ValueError):
    """The cost does not depend differentiably on a variable."""
