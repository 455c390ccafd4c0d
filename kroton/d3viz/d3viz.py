"""The functions of `kroton.d3viz`, where the lineage has them."""

from __future__ import annotations

from typing import Any

__all__ = ["d3viz", "d3write"]


def d3viz(fct: Any, outfile: Any, copy_deps: bool = True, *args: Any, **kwargs: Any) -> None:
    """Write a picture of a graph as one HTML file, which needs no network.

    Zoom with the wheel, drag to move, search, click an Apply to see its types and the line of
    source that made it.

    Parameters
    ----------
    fct : compiled function, FunctionGraph, Variable, Apply, or a list of Variables and Applys
    outfile : path
        The file to write.
    copy_deps : bool
        The lineage's: whether libraries are written beside the page. Here they are in it.
    *args, **kwargs
        How the lineage's picture is formatted; without effect here.
    """
    from kroton.picture import scene_of, write_page

    scene = scene_of(fct)
    write_page(outfile, scene.name, {"graphs": [scene.as_dict()], "tables": [], "facts": []})


def d3write(fct: Any, path: Any, *args: Any, **kwargs: Any) -> None:
    """Write a picture of a graph in the language of Graphviz.

    Parameters
    ----------
    fct : compiled function, FunctionGraph, Variable, Apply, or a list of Variables and Applys
    path : path
        The file to write.
    *args, **kwargs
        How the lineage's picture is formatted; without effect here.
    """
    from kroton.picture import scene_of, write_dot

    write_dot(path, scene_of(fct))
