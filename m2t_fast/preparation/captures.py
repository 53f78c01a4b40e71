"""Captures with their captions become the motions of a data folder: whole takes, pieces, mirrored ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m2t_fast.data.folder import SPLITS
from m2t_fast.data.raw import Caption, RawMotion, Segment
from m2t_fast.data.supervision import targets
from m2t_fast.data.tagging import tag_words
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.preparation.captions import CaptionRow
from m2t_fast.preparation.folder import write_folder
from m2t_fast.preparation.mirror import mirror_motion
from m2t_fast.preparation.splits import SHARES, assign_splits
from m2t_fast.skeleton import PART_NAMES, Skeleton

Reader = Callable[[Path], list[np.ndarray]]
"""Reads the motions (T, J, 3) of a file, float32, Y up, at the skeleton's frame rate; most files hold one."""


@dataclass
class Prepared:
    """What :func:`prepare_captures` did: motions per split, and a line for everything that was left out."""

    counts: dict[str, int] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def prepare_captures(
    folder: str | Path,
    captioned: dict[Path, list[CaptionRow]],
    read: Reader,
    skeleton: Skeleton,
    mirror: bool = False,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> Prepared:
    """Writes captures into ``folder``, an existing, empty one; memory does not grow with the captures.

    A caption with times becomes a motion of its own, cut out of the take; captions of the same times share it. A take
    that also has captions without times stays as a whole, and the times become its segments (``segments.json``).
    Everything of one source is in one split.

    Args:
        folder: where to write.
        captioned: the captions of every file; a file without any is left out.
        read: reads a file; its ``UserError`` leaves the file out.
        skeleton: the joints and frames per second of what ``read`` gives.
        mirror: write every motion once more, mirrored, into the same split.
        shares: of train, val and test.
        seed: of the splits.

    Raises:
        UserError: nothing is left for train, or one source is given two splits.
        ValueError: mistaken ``shares``.
    """
    done = Prepared()
    sources: dict[str, int] = {}
    settled: dict[str, str] = {}
    for path, rows in captioned.items():
        if not rows:
            done.left_out.append(f"{path}: no caption")
            continue
        source = _source_of(path, rows)
        sources[source] = sources.get(source, 0) + 1
        for row in rows:
            if row.split and settled.setdefault(source, row.split) != row.split:
                raise UserError(f"captions: source {source} is in {settled[source]} and in {row.split}; expected one")
    if not sources:
        raise UserError("captions: none is of a motion file that was given")
    chosen = assign_splits(sources, shares, seed, settled)

    taken: set[str] = set()

    def motions_of(split: str) -> Iterator[RawMotion]:
        for path, rows in captioned.items():
            if not rows or chosen[_source_of(path, rows)] != split:
                continue
            try:
                found = read(path)
                names = [_plain(path) + (f"-{number}" if len(found) > 1 else "") for number in range(len(found))]
                takes = zip(names, found, strict=True)
                motions = [m for name, joints in takes for m in cut_take(path, name, joints, rows, skeleton.fps)]
            except UserError as error:
                done.left_out.append(str(error))
                continue
            for motion in motions:
                for one in (motion, mirror_motion(motion)) if mirror else (motion,):
                    one.id = _unique(one.id, taken)
                    yield one

    done.counts = write_folder(folder, {split: motions_of(split) for split in SPLITS})
    if not done.counts["train"]:
        reason = f"; the first left out: {done.left_out[0]}" if done.left_out else ""
        raise UserError(f"nothing is left for train{reason}")
    return done


def cut_take(path: Path, name: str, joints: np.ndarray, rows: Sequence[CaptionRow], fps: float) -> list[RawMotion]:
    """The motions of one take (T, J, 3): the whole, where a caption has no times, and a piece for every pair of times.

    Raises:
        UserError: times outside the take.
    """
    seconds = len(joints) / fps
    whole = [Caption(row.caption, None) for row in rows if row.start is None and row.end is None]
    timed: dict[tuple[int, int], list[str]] = {}
    for row in rows:
        if row.start is None and row.end is None:
            continue
        start = round((row.start or 0.0) * fps)
        end = len(joints) if row.end is None else min(round(row.end * fps), len(joints))
        if end <= start:
            given = f"{row.start or 0.0:g} to {'the end' if row.end is None else f'{row.end:g}'} s"
            raise UserError(f"{path}: caption {row.caption!r} is of {given}, but the motion lasts {seconds:.2f} s")
        timed.setdefault((start, end), []).append(row.caption)
    motions = []
    if whole:
        segments = [
            Segment(texts[0], start, end, _parts_of(texts), words=_verbs(texts[0], whole))
            for (start, end), texts in sorted(timed.items())
        ]
        motions.append(RawMotion(name, joints, whole, segments or None))
    for (start, end), texts in sorted(timed.items()):
        piece = f"{name}-{start}-{end}"
        motions.append(RawMotion(piece, joints[start:end], [Caption(text, None) for text in texts]))
    return motions


def _parts_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The body parts that the words of captions name, by the rules of the supervision; of a pair of limbs only the one
    on the side that the words name, where they name just one."""
    named = np.zeros(len(PART_NAMES), dtype=bool)
    for text in texts:
        words = tokenise(text)
        parts = (targets(words, tag_words(words))[1] == 1).any(axis=0)
        sides = [side for side in ("left", "right") if side in words]
        if len(sides) == 1:
            other = "right" if sides == ["left"] else "left"
            parts &= np.array([not name.startswith(other) for name in PART_NAMES])
        named |= parts
    return tuple(name for name, there in zip(PART_NAMES, named, strict=True) if there)


def _verbs(text: str, whole: Sequence[Caption]) -> tuple[str | None, ...]:
    """For each caption of the whole take, the verb that it shares with ``text``."""
    words = tokenise(text)
    verbs = [word for word, tag in zip(words, tag_words(words), strict=True) if tag == "VERB"]
    found = tuple(next((verb for verb in verbs if verb in tokenise(caption.text)), None) for caption in whole)
    return found if any(found) else ()


def _source_of(path: Path, rows: Sequence[CaptionRow]) -> str:
    return next((row.source for row in rows if row.source), str(path))


def _plain(path: Path) -> str:
    """The stem of a path as a plain file name."""
    return re.sub(r"[^\w.-]+", "_", path.stem).strip("._") or "motion"


def _unique(name: str, taken: set[str]) -> str:
    """``name``, numbered if it is already taken."""
    count, found = 1, name
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found
