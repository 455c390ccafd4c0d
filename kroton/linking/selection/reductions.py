"""Kernels for reductions."""
