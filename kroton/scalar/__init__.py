"""Scalar operations: what each elementwise operation means for one element.

`ops` maps the lineage's names to `ScalarOp`s; each is also an attribute of this module
(`scalar.add`, `scalar.exp`). `Cast(dtype)` converts; `Composite` is a program of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kroton.scalar import table
from kroton.scalar.composite import Composite, Instruction
from kroton.scalar.op import Cast, ScalarOp, named
from kroton.scalar.promotion import DTYPES, promote
from kroton.scalar.table import *  # noqa: F403  (its names are listed there, once)

ops: Mapping[str, ScalarOp] = MappingProxyType(named)
"""Every scalar operation by its name."""

__all__ = [
    "DTYPES", "Cast", "Composite", "Instruction", "ScalarOp", "ops", "promote",
]  # fmt: skip
__all__ += table.__all__
