"""The errors that the command line prints as one line and turns into an exit code."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave: a file, a folder, an id or an option. The message names it."""


class ReportedElsewhere(UserError):
    """A mistake that another process of the same job reports; this one ends silently."""


class JobError(RuntimeError):
    """A process of a job has lost the others. What they had saved is kept."""
