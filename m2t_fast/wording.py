"""Counts in messages: "1 motion", "1,200 motions", and the verb that goes with them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: ``counted(1, "epoch")`` is "1 epoch", ``counted(1200, "epoch")`` "1,200 epochs".

    Args:
        number: how many.
        noun: what one is called.
        plural: what several are called; without it, the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def be(number: int, past: bool = False) -> str:
    """ "is" or "are", "was" or "were", to agree with the number."""
    return ("was" if past else "is") if number == 1 else "were" if past else "are"
