"""Settings of the documentation site: docs/ as it is and the API from the docstrings; `make site` builds it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from m2t_fast import __version__

project = "m2t_fast"
author = "the m2t_fast authors"
copyright = "the m2t_fast authors, MIT licence"  # noqa: A001  (Sphinx reads this name)
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Shapes and units are in the docstrings; signatures carry the types.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"m2t_fast {__version__}"
html_copy_source = False


def setup(app: Any) -> None:
    """After the build: pages that everybody can use, and the twelve motions as a page, by the template as it is now."""

    def finish(built: Any, error: Exception | None) -> None:
        if error is None:
            sys.path.insert(0, str(Path(__file__).parent))
            import accessible
            import motions

            accessible.mend_site(Path(built.outdir))
            motions.page(Path(built.outdir) / "motions.html")

    app.connect("build-finished", finish)
