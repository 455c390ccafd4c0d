"""Kroton: array expressions compiled to precompiled Cython kernels."""

from kroton.config import config

__version__ = "0.1.0"

__all__ = ["config"]
