"""What a data folder holds that cannot be used: left out, counted and listed, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from m2t_fast.errors import UserError
from m2t_fast.wording import counted

LEFT_OUT: tuple[str, ...] = ("motion", "caption", "segments", "id")
"""What a fault can leave out: a motion with its captions, one caption, the known times of actions, a line of a split
file that names no motion of its own."""

_EXAMPLES = 4  # ids that the one-line summary gives of each kind


class DataFault(UserError):
    """A file, or a line of one, that cannot be used. ``kind`` is what faults are counted by: a few words."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Fault:
    """Something that was left out of a data set: ``what`` (one of ``LEFT_OUT``) of the motion ``id`` of ``split``.

    ``kind`` is what faults are counted by; ``message`` names the file and says what is wrong with it. ``id`` is ""
    where the whole of segments.json is left out.
    """

    split: str
    id: str
    what: str
    kind: str
    message: str

    @classmethod
    def of(cls, split: str, motion_id: str, what: str, error: DataFault) -> Fault:
        """The fault that an error describes."""
        return cls(split, motion_id, what, error.kind, str(error))


class NothingLeft(UserError):
    """Nothing of a split can be used; ``faults`` is all that was found in the folder."""

    def __init__(self, message: str, faults: Iterable[Fault]) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


def listed(faults: Iterable[Fault]) -> str:
    """One line per fault."""
    return "\n".join(f"left out: {fault.split}: {' '.join(fault.message.split())}" for fault in faults)


def count_left_out(faults: Iterable[Fault]) -> dict[str, int]:
    """How many of each of ``LEFT_OUT``, without zeros."""
    counts = Counter(fault.what for fault in faults)
    return {what: counts[what] for what in LEFT_OUT if counts[what]}


def in_words(faults: Iterable[Fault]) -> str:
    """Such as "2 motions, 1 caption"; "" where nothing was left out."""
    names = {
        "motion": ("motion", "motions"),
        "caption": ("caption", "captions"),
        "segments": ("motion's segments", "motions' segments"),
        "id": ("line of a split file", "lines of split files"),
    }
    counts = count_left_out(faults)
    return ", ".join(counted(count, *names[what]) for what, count in counts.items())


def summary(source: str, faults: Sequence[Fault]) -> str:
    """One line: what was left out, by kind, with a few ids of each, and how to list all."""
    by_kind: dict[str, list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    kinds = []
    for kind, found in by_kind.items():
        ids = list(dict.fromkeys(fault.id for fault in found if fault.id))
        more = ", ..." if len(ids) > _EXAMPLES else ""
        kinds.append(f"{kind} {len(found):,}" + (f" ({', '.join(ids[:_EXAMPLES])}{more})" if ids else ""))
    return (
        f"{source}: left out {in_words(faults)}: {'; '.join(kinds)} "
        f"(m2t-fast info --data {source} lists all; --strict refuses them)"
    )


def refusal(source: str, faults: Sequence[Fault]) -> UserError:
    """The error of a reader that leaves nothing out: the only fault, or the first one and their number."""
    if len(faults) == 1:
        return UserError(faults[0].message)
    return UserError(
        f"{source}: {len(faults):,} faults ({in_words(faults)} unusable); the first: {faults[0].message}; "
        f"m2t-fast info --data {source} lists all"
    )


def to_rows(faults: Iterable[Fault]) -> list[list[Any]]:
    """JSON-ready rows, which ``from_rows`` reads."""
    return [[fault.split, fault.id, fault.what, fault.kind, fault.message] for fault in faults]


def from_rows(rows: Iterable[Sequence[Any]]) -> tuple[Fault, ...]:
    """The inverse of ``to_rows``."""
    return tuple(Fault(*row) for row in rows)
