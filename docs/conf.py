"""Sphinx configuration of the manual."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import kroton
from kroton.config import _SETTINGS

project = "Kroton"
author = "The Kroton developers"
copyright = "2026, the Kroton developers"
version = release = kroton.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"Kroton {version}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
exclude_patterns = ["_build"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"
# Napoleon makes references of attribute names such as `name`, which several classes have.
suppress_warnings = ["ref.python"]


class Settings(SphinxDirective):
    """The table of settings in `kroton.config`, with their defaults."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name, setting in _SETTINGS.items():
            lines += [f"``{name}`` (default ``{setting.default!r}``)", f"   {setting.doc}.", ""]
        return self.parse_text_to_nodes(StringList(lines, source="kroton/config.py"))


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("kroton-settings", Settings)
