"""Kernels for products."""
