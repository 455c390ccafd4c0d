"""Kernels for nnet."""
