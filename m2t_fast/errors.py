"""The error that the command line prints as one line and turns into exit code 2."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave: a file, a folder, an id or an option. The message names it."""
