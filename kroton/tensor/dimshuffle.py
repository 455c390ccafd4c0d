"""DimShuffle: dimensions reordered, dropped and inserted."""
__all__: list[str] = []
