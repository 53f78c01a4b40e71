"""Warns when a checkout of the repository is imported in place of the installed package."""

from __future__ import annotations

import os
import sys
import warnings


def warn_if_shadowing() -> None:
    """Warn, naming both folders, where this is the checkout's folder and another m2t_fast is installed.

    Python looks in the current folder first, so that in a checkout it finds the sources, which may have no compiled
    extension, instead of the package. After ``pip install -e .`` both are one.
    """
    own = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(own)
    if not os.path.isdir(os.path.join(root, "csrc")):
        return
    for entry in sys.path:
        other = os.path.join(os.path.abspath(entry), "m2t_fast")
        if os.path.isfile(os.path.join(other, "__init__.py")) and not os.path.samefile(own, other):
            warnings.warn(
                f"m2t_fast is imported from the checkout {own}, not from where it is installed, {other}: run in "
                "another folder, or install the checkout with pip install -e .",
                stacklevel=3,
            )
            return
