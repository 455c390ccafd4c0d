"""Files of pictures: a page to explore, SVG, and the language of Graphviz."""

from __future__ import annotations

import html
import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from shutil import which
from typing import Any

from kroton.picture.scene import Scene

_FILL = {"input": "#d9ead3", "shared": "#cfe2f3", "constant": "#eeeeee", "output": "#fff2cc"}


def heat(weight: float) -> str:
    """White for 0, through yellow and orange, to red for 1."""
    w = max(0.0, min(1.0, weight)) ** 0.5
    return f"hsl({55 - 45 * w:.0f} {40 + 55 * w:.0f}% {97 - 37 * w:.0f}%)"


def write_page(path: Any, title: str, data: dict[str, Any]) -> None:
    """Write one HTML file with `data` in it: `graphs` (of `Scene.as_dict`), `tables`, `facts`."""
    room = files("kroton.picture")
    text = (room / "page.html").read_text("utf-8")
    # "</script>" inside of a string would end the script, "<!--" hide its end.
    payload = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    contents = {
        "__TITLE__": html.escape(title),
        "/*STYLE*/": (room / "page.css").read_text("utf-8"),
        "/*SCRIPT*/": (room / "page.js").read_text("utf-8"),
        "__DATA__": payload,
    }
    # At once: what has been put in may look like a mark.
    marks = re.compile("|".join(map(re.escape, contents)))
    text = marks.sub(lambda found: contents[found[0]], text)
    Path(path).write_text(text, "utf-8")


def write_svg(path: Any, scene: Scene) -> None:
    """Write the picture as SVG."""
    drawn = scene.as_dict()
    width, height = drawn["width"], drawn["height"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="11">',
        f"<title>{html.escape(scene.name)}</title>",
    ]
    nodes = drawn["nodes"]
    for edge in drawn["edges"]:
        a, b = nodes[edge["from"]], nodes[edge["to"]]
        points = [(a["x"], a["y"] + a["h"] / 2), *edge["via"], (b["x"], b["y"] - b["h"] / 2)]
        parts.append(
            f'<path d="{curve(points)}" fill="none" stroke="#999">'
            f"<title>{html.escape(edge['label'])}</title></path>"
        )
    for node in nodes:
        x, y = node["x"] - node["w"] / 2, node["y"] - node["h"] / 2
        applied = node["kind"] == "apply"
        fill = heat(node["weight"]) if applied else _FILL[node["kind"]]
        dash = ' stroke-dasharray="4 2"' if node["impl"] == "py" else ""
        radius = 4 if applied else node["h"] / 2
        details = "\n".join(f"{k}: {v}" for k, v in node["details"].items())
        parts.append(
            f'<g><title>{html.escape(details)}</title><rect x="{x:.1f}" y="{y:.1f}" '
            f'width="{node["w"]}" height="{node["h"]}" rx="{radius}" fill="{fill}" '
            f'stroke="#345"{dash}/><text x="{node["x"]}" y="{node["y"] + 4}" '
            f'text-anchor="middle">{html.escape(node["text"])}</text></g>'
        )
    Path(path).write_text("\n".join([*parts, "</svg>\n"]), "utf-8")


def curve(points: list[Any]) -> str:
    """An SVG path through `points` that enters and leaves each of them vertically."""
    (x, y), *rest = points
    path = f"M{x:.1f} {y:.1f}"
    for u, v in rest:
        middle = (y + v) / 2
        path += f"C{x:.1f} {middle:.1f} {u:.1f} {middle:.1f} {u:.1f} {v:.1f}"
        x, y = u, v
    return path


def dot_text(scene: Scene) -> str:
    """The picture in the language of Graphviz."""
    lines = ["digraph {", "  node [fontname=sans, fontsize=10];"]
    for k, node in enumerate(scene.nodes):
        shape = "box" if node.kind == "apply" else "ellipse"
        fill = "white" if node.kind == "apply" else _FILL[node.kind]
        label = json.dumps(node.text, ensure_ascii=False)
        dashed = ",dashed" if node.implementation == "py" else ""
        lines.append(
            f'  n{k} [label={label}, shape={shape}, style="filled{dashed}", fillcolor="{fill}"];'
        )
    for a, b, label in scene.edges:
        lines.append(f"  n{a} -> n{b} [tooltip={json.dumps(label, ensure_ascii=False)}];")
    return "\n".join([*lines, "}", ""])


def write_dot(path: Any, scene: Scene, format: str = "dot") -> None:
    """Write the picture for Graphviz, or have Graphviz render it.

    Raises
    ------
    RuntimeError
        If `format` is not 'dot' and Graphviz' program `dot` is not installed, or fails.
    """
    text = dot_text(scene)
    if format == "dot":
        Path(path).write_text(text, "utf-8")
        return
    program = which("dot")
    if program is None:
        raise RuntimeError(
            f"writing {format} needs Graphviz, and its program 'dot' is not on the PATH; install "
            "it, or choose a name that ends in .svg, .html or .dot, which need nothing"
        )
    done = subprocess.run(
        [program, f"-T{format}", "-o", str(path)], input=text, text=True, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(f"Graphviz could not write {path}: {done.stderr.strip()}")
