"""Tensors made of a shape and a value."""
__all__: list[str] = []
