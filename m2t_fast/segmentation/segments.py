"""A long take as segments: every window captioned, the tiling its captions speak for, a caption per segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2t_fast.captioning.pipeline import Captioned, caption_joints
from m2t_fast.data.takes import Take
from m2t_fast.run_folder import Run
from m2t_fast.segmentation.captions import caption_windows
from m2t_fast.segmentation.features import window_features
from m2t_fast.segmentation.segmenter import DEFAULT, FILE, Segmenter, best_tiling
from m2t_fast.segmentation.windows import Grid, placed


@dataclass(frozen=True)
class Segment:
    """A stretch of a take that one caption tells: ``start`` and ``end`` are frames at the run's frame rate, end
    exclusive; ``confidence`` is the tIoU with a true segment that the segmenter expects, 0 to 1; ``captioned`` is the
    stretch, placed as training motions are, with its captions, and the words of the best one."""

    start: int
    end: int
    confidence: float
    captioned: Captioned


def segmenter_of(run: Run) -> Segmenter:
    """The segmenter fitted for a run, or the one that comes with the package.

    Raises:
        UserError: the run's own is damaged.
    """
    own = run.folder / FILE
    return Segmenter.load(own if own.exists() else DEFAULT)


def segment_joints(
    run: Run,
    joints: np.ndarray,
    segmenter: Segmenter | None = None,
    grid: Grid | None = None,
    batch_size: int = 64,
    progress: bool = False,
    **search: Any,
) -> list[Segment]:
    """The segments of joints (T, J, 3) at the run's frame rate, in its unit, Y up; they tile the take, in order.

    Time and memory grow with T alone. Windows that begin together share their placement; their parts and keys cannot be
    shared, because the floor, the lowest joint of a window, is in the coordinates of the root.

    Args:
        run: captions the windows.
        joints: the take, at least one frame.
        segmenter: None: see :func:`segmenter_of`.
        grid: which windows are captioned; None: starts every half second, one to ten seconds long.
        batch_size: most windows at a time.
        progress: shows a bar on stderr.
        search: options of :meth:`Captioner.generate` for the segments' own captions; windows are captioned greedily.
    """
    grid, segmenter = grid or Grid(), segmenter or segmenter_of(run)
    fps = run.skeleton.fps
    captions = caption_windows(run, joints, grid.windows(len(joints), fps), batch_size, progress)
    quality = segmenter.predict(window_features(captions, fps, grid))
    cuts = np.array(best_tiling(captions.windows, quality, fps, grid), dtype=np.int64)
    windows = {
        (int(start), int(end)): float(value) for (start, end), value in zip(captions.windows, quality, strict=True)
    }
    stretches = list(placed(joints, cuts, run.skeleton))
    found = caption_joints(run, stretches, batch_size, **search)
    return [
        Segment(start, end, _nearest(windows, start, end), captioned)
        for (start, end), captioned in zip(cuts.tolist(), found, strict=True)
    ]


def _nearest(windows: dict[tuple[int, int], float], start: int, end: int) -> float:
    """The quality of the window nearest to a segment whose boundaries were refined."""
    best = min(windows, key=lambda window: abs(window[0] - start) + abs(window[1] - end))
    return windows[best]


def true_overlap(windows: np.ndarray, take: Take) -> np.ndarray:
    """(W,) float64: the largest tIoU of each window (W, 2) with a segment of ``take``."""
    start, end = windows.T
    best = np.zeros(len(windows))
    for segment in take.segments:
        common = np.maximum(0, np.minimum(end, segment.end) - np.maximum(start, segment.start))
        best = np.maximum(best, common / (np.maximum(end, segment.end) - np.minimum(start, segment.start)))
    return best


def fit_segmenter(
    run: Run, takes: Sequence[Take], grid: Grid | None = None, batch_size: int = 64, progress: bool = False
) -> Segmenter:
    """A segmenter for ``run`` from takes whose segments are known, best of motions that it was not trained on.

    Raises:
        ValueError: no takes.
    """
    if not takes:
        raise ValueError("takes: got none, expected at least one")
    grid, fps = grid or Grid(), run.skeleton.fps
    features, targets = [], []
    for take in takes:
        captions = caption_windows(run, take.joints, grid.windows(len(take.joints), fps), batch_size, progress)
        features.append(window_features(captions, fps, grid))
        targets.append(true_overlap(captions.windows, take))
    return Segmenter.fit(np.concatenate(features), np.concatenate(targets))
