"""Interactive pictures of graphs: `d3viz` writes a page to explore in a browser."""

from kroton.d3viz.d3viz import d3viz, d3write

__all__ = ["d3viz", "d3write"]
