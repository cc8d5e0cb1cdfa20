"""Settings of the site: `make docs` builds it into build/site, without a network."""

import importlib.metadata
from pathlib import Path
from typing import Any

from docutils import nodes

project = "batchot"
author = "the batchot developers"
copyright = "the batchot developers"
release = importlib.metadata.version("batchot")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
]
myst_heading_anchors = 4
templates_path: list[str] = []
exclude_patterns: list[str] = []

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes and units, which is more
napoleon_custom_sections = [("Source", "returns_style"), ("Conventions", "notes_style")]
napoleon_use_rtype = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "batchot"
html_show_sphinx = False
html_copy_source = False
html_extra_path = ["../examples"]


def outside(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Resolve what the pages name in the repository: examples are copied, the rest is named without a link."""
    file = (Path(app.srcdir) / node["reftarget"]).resolve()
    if file.parent.name == "examples" and file.is_file():
        return nodes.reference("", "", text, refuri=file.name)
    return nodes.inline("", "", text) if file.exists() else None


def setup(app: Any) -> None:
    app.connect("missing-reference", outside)
