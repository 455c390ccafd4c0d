"""Kernels for indexing."""
