"""Indexing and indexed assignment."""
__all__: list[str] = []
