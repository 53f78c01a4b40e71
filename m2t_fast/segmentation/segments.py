"""A long take as segments: every window captioned, the best tiling by these captions, one caption per segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from m2t_fast.captioning.pipeline import Captioned, caption_joints
from m2t_fast.run_folder import Run
from m2t_fast.segmentation.boundaries import boundary_evidence, moved
from m2t_fast.segmentation.captions import WindowCaptions, caption_windows
from m2t_fast.segmentation.features import window_features
from m2t_fast.segmentation.segmenter import DEFAULT, FILE, Segmenter, best_tiling
from m2t_fast.segmentation.windows import Grid, placed


@dataclass(frozen=True)
class Segment:
    """A stretch of a take that one caption describes: ``start`` and ``end`` are frames at the run's frame rate, end
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
    points = grid_cuts(captions, quality, fps, grid)
    shifts = segmenter.refinement.shifts(boundary_evidence(captions, quality, points, fps))
    points = moved(points, shifts, fps)
    cuts = np.array(list(zip(points, points[1:], strict=False)), dtype=np.int64)
    stretches = list(placed(joints, cuts, run.skeleton))
    found = caption_joints(run, stretches, batch_size, **search)
    return [
        Segment(start, end, _nearest(captions.windows, quality, start, end, round(fps)), captioned)
        for (start, end), captioned in zip(cuts.tolist(), found, strict=True)
    ]


def grid_cuts(captions: WindowCaptions, quality: np.ndarray, fps: float, grid: Grid) -> list[int]:
    """The points of the grid that bound the segments of the best tiling, both ends of the take included."""
    tiles = best_tiling(captions.windows, quality, fps, grid)
    return [tiles[0][0], *(end for _, end in tiles)]


def _nearest(windows: np.ndarray, quality: np.ndarray, start: int, end: int, reach: int) -> float:
    """The quality of the window nearest to a segment whose boundaries were refined: of those, ordered by their start,
    that begin within ``reach`` frames of it, so that a segment costs the same in a take of any length."""
    first, last = np.searchsorted(windows[:, 0], (start - reach, start + reach + 1))
    near = windows[first:last]
    return float(quality[first + (np.abs(near[:, 0] - start) + np.abs(near[:, 1] - end)).argmin()])
