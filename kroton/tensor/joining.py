"""Tensors joined, split, repeated and rolled."""
__all__: list[str] = []
