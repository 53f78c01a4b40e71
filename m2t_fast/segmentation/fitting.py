"""A run's own segmenter, fitted on takes joined from its validation split: after training, or by ``fit-segments``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from m2t_fast.data.dataset import Prepared
from m2t_fast.data.takes import Take, load_clips, make_takes
from m2t_fast.run_folder import Run, load_run
from m2t_fast.segmentation.boundaries import Refinement, boundary_evidence
from m2t_fast.segmentation.captions import caption_windows
from m2t_fast.segmentation.features import window_features
from m2t_fast.segmentation.segmenter import FILE, Segmenter
from m2t_fast.segmentation.segments import grid_cuts
from m2t_fast.segmentation.windows import Grid

TAKES, SEED = 60, 1
"""Takes to fit on, and what draws their clips."""
_LEAST = 20  # clips of one action: fewer say too little of where actions end


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
    captions = [
        caption_windows(run, take.joints, grid.windows(len(take.joints), fps), batch_size, progress) for take in takes
    ]
    features = [window_features(said, fps, grid) for said in captions]
    targets = [true_overlap(said.windows, take) for said, take in zip(captions, takes, strict=True)]
    segmenter = Segmenter.fit(np.concatenate(features), np.concatenate(targets))
    evidence, offsets = [], []
    for take, said, numbers in zip(takes, captions, features, strict=True):
        quality = segmenter.predict(numbers)
        cuts = grid_cuts(said, quality, fps, grid)
        evidence.append(boundary_evidence(said, quality, cuts, fps))
        offsets.append(_to_known(np.array(cuts[1:-1]), take) / fps)
    return segmenter.refined_by(Refinement.fit(np.concatenate(evidence), np.concatenate(offsets)))


def _to_known(cuts: np.ndarray, take: Take) -> np.ndarray:
    """(N,) frames from each cut to the nearest known boundary, the middle of a pause if there is one."""
    pairs = zip(take.segments, take.segments[1:], strict=False)
    known = np.array([(before.end + after.start) / 2 for before, after in pairs])
    if not len(known):
        return np.full(len(cuts), np.inf)
    away = known - cuts[:, None]
    found: np.ndarray = away[np.arange(len(cuts)), np.abs(away).argmin(axis=1)]
    return found


def fit_after_training(
    folder: Path, data: Prepared, takes: int = TAKES, device: str | torch.device = "cpu", progress: bool = False
) -> bool:
    """Fit a segmenter for the weights of a run folder and store it there, if the validation split says when actions
    happen and has at least 20 motions of a single action.

    Args:
        folder: the run folder. data: what the run was trained on. takes: how many to join. device: where to compute.
        progress: says on stderr that it was done, and on a terminal shows a bar.

    Returns:
        False where there is nothing to fit on.

    Raises:
        UserError: not a run folder, or the file cannot be written.
    """
    split = data.splits.get("val")
    known = [] if split is None else split.segments or []
    if sum(segments is not None and len(segments) == 1 for segments in known) < _LEAST:
        return False
    run = load_run(folder, device)
    clips = [clip for clip in load_clips(data.source, "val", run.skeleton) if clip.segments is not None]
    joined = make_takes(clips, run.skeleton, takes, SEED)
    fit_segmenter(run, joined, progress=progress and sys.stderr.isatty()).save(folder / FILE)
    if progress:
        print(f"segmenter of long takes fitted on {takes} takes joined from the validation split", file=sys.stderr)
    return True
