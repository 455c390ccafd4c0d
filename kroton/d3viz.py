"""Interactive pictures of graphs: `d3viz` writes a page to explore in a browser."""

from __future__ import annotations

from typing import Any

__all__ = ["d3viz"]


def d3viz(fct: Any, outfile: Any) -> None:
    """Write a picture of a graph as one HTML file, which needs no network.

    Zoom with the wheel, drag to move, search, click an Apply to see its types and the line of
    source that made it.

    Parameters
    ----------
    fct : compiled function, FunctionGraph, Variable, Apply, or a list of Variables and Applys
    outfile : path
        The file to write.
    """
    from kroton.picture import scene_of, write_page

    scene = scene_of(fct)
    write_page(outfile, scene.name, {"graphs": [scene.as_dict()], "tables": [], "facts": []})
