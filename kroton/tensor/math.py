"""Elementwise functions."""
__all__: list[str] = []
