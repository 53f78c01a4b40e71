"""Segmentation of takes scored beside windows of a fixed length and a detector of changes of speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2t_fast.captioning.pipeline import caption_joints
from m2t_fast.data.matching import ActionNames
from m2t_fast.data.takes import Take
from m2t_fast.data.text import tokenise
from m2t_fast.evaluation.segment_scores import Spoken, segment_scores
from m2t_fast.run_folder import Run
from m2t_fast.segmentation.segments import segment_joints
from m2t_fast.segmentation.windows import placed

WIDTHS: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0)
"""Seconds of the windows of a fixed length."""

COLUMNS: dict[str, str] = {
    "f1_30": "F1@0.3",
    "f1_50": "F1@0.5",
    "f1_70": "F1@0.7",
    "iou": "IoU",
    "boundary_error": "boundary (s)",
    "count": "found/known",
    "bleu_4": "BLEU@4",
    "cider": "CIDEr",
    "content": "content",
    "soda": "SODA",
}

_SMOOTH = 0.25  # seconds before and after an instant whose mean speeds are compared
_APART = 1.0  # seconds at least between two changes of speed
_STRONG = 4.0  # times the median change; this and _SMOOTH found the most on validation takes


@dataclass(frozen=True)
class SegmentRow:
    """One method to cut takes, and its scores."""

    name: str
    scores: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, scores on the same level."""
        return {"name": self.name, **self.scores}


def segment_rows(
    run: Run, takes: Sequence[Take], batch_size: int = 64, progress: bool = False, **search: Any
) -> list[SegmentRow]:
    """The segments that ``run`` finds in takes, then fixed windows of each of ``WIDTHS``, then changes of speed.

    All are captioned by the run: ``search`` are options of :meth:`Captioner.generate`.

    Raises:
        ValueError: no takes.
    """
    fps = run.skeleton.fps
    names = ActionNames.of(segment.parts for take in takes for segment in take.segments)
    known = [
        [
            Spoken(
                s.start / fps,
                s.end / fps,
                tuple(" ".join(tokenise(text)) for text in s.captions),
                tuple(names.stems_of(part) for part in s.parts),
            )
            for s in take.segments
        ]
        for take in takes
    ]
    found = [
        [
            Spoken(s.start / fps, s.end / fps, (s.captioned.captions[0].caption,))
            for s in segment_joints(run, take.joints, batch_size=batch_size, progress=progress, **search)
        ]
        for take in takes
    ]
    rows = [SegmentRow("segments", segment_scores(found, known))]
    ways = {f"every {width:g} s": [fixed(len(t.joints), width * fps) for t in takes] for width in WIDTHS}
    ways["changes of speed"] = [changes_of_speed(take.joints, fps) for take in takes]
    for name, cuts in ways.items():
        said = [_captioned(run, take, pairs, batch_size, search) for take, pairs in zip(takes, cuts, strict=True)]
        rows.append(SegmentRow(name, segment_scores(said, known)))
    return rows


def _captioned(
    run: Run, take: Take, cuts: Sequence[tuple[int, int]], batch_size: int, search: dict[str, Any]
) -> list[Spoken]:
    windows = np.array(cuts, dtype=np.int64)
    captions = caption_joints(run, list(placed(take.joints, windows, run.skeleton)), batch_size, **search)
    fps = run.skeleton.fps
    return [
        Spoken(start / fps, end / fps, (said.captions[0].caption,))
        for (start, end), said in zip(cuts, captions, strict=True)
    ]


def fixed(frames: int, width: float) -> list[tuple[int, int]]:
    """``frames`` frames in equal windows whose length is as near to ``width`` frames as possible."""
    count = max(1, round(frames / width))
    cuts = [round(frames * number / count) for number in range(count + 1)]
    return list(zip(cuts, cuts[1:], strict=False))


def changes_of_speed(joints: np.ndarray, fps: float) -> list[tuple[int, int]]:
    """Joints (T, J, 3) cut where the mean speed of the joints changes most, jumps of the pose included."""
    speed = np.linalg.norm(np.diff(joints.astype(np.float64), axis=0), axis=2).mean(axis=1)
    reach, apart = max(1, round(_SMOOTH * fps)), max(1, round(_APART * fps))
    total = np.concatenate([[0.0], np.cumsum(speed)])
    at = np.arange(reach, len(speed) - reach + 1)
    if not len(at):
        return [(0, len(joints))]
    change = np.abs((total[at + reach] - total[at]) - (total[at] - total[at - reach]))
    cuts: list[int] = []
    for number in np.argsort(-change, kind="stable"):
        place = int(at[number])
        far = all(abs(place - cut) >= apart for cut in (0, len(joints), *cuts))
        if far and change[number] >= _STRONG * np.median(change):
            cuts.append(place)
    points = [0, *sorted(cuts), len(joints)]
    return list(zip(points, points[1:], strict=False))


def printed(rows: Sequence[SegmentRow]) -> str:
    """The rows as a table for a terminal."""
    cells = [["", *COLUMNS.values()]]
    for row in rows:
        values = [row.scores[name] for name in COLUMNS]
        formats = ["{:.1f}" if name in ("bleu_4", "cider") else "{:.2f}" for name in COLUMNS]
        cells.append([row.name, *("-" if v is None else f.format(v) for f, v in zip(formats, values, strict=True))])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )
