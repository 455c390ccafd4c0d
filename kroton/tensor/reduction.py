"""Reductions over axes."""
__all__: list[str] = []
