"""The largest element so far: an Op for Kroton with a compiled kernel."""

from running_maximum import selection as _selection  # registers the kernel
from running_maximum.op import RunningMaximum, running_maximum

__all__ = ["RunningMaximum", "running_maximum"]
