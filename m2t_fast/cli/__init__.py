"""The command line ``m2t-fast``: one file per command."""

from m2t_fast.cli.main import main

__all__ = ["main"]
