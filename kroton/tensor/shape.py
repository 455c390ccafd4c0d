"""Shapes, and the same elements in another shape."""
__all__: list[str] = []
