"""The largest element so far: an Op for Kroton with a compiled kernel."""

from running_maximum.op import RunningMaximum, running_maximum
from running_maximum.selection import select

__all__ = ["RunningMaximum", "running_maximum", "select"]
