"""Graph pictures: what is drawn, where, and the files it is written to."""

from kroton.picture.files import write_dot, write_page, write_svg
from kroton.picture.layout import Layout, layered
from kroton.picture.scene import Node, Scene, scene_of

__all__ = [
    "Layout",
    "Node",
    "Scene",
    "layered",
    "scene_of",
    "write_dot",
    "write_page",
    "write_svg",
]
