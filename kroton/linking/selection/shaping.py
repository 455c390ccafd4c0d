"""Kernels for shaping."""
