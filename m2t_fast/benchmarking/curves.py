"""Loss curves: the same training steps taken on other backends and in other dtypes, and how far they stay together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.buckets import choose_buckets, epoch_plan
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.ops.registry import use_backend
from m2t_fast.training.engine import Engine
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import adamw, weights_in

END = 20
"""Steps whose mean is a curve's final loss."""


class Difference(NamedTuple):
    """How far a curve is from another, in relative differences of the total loss."""

    largest: float
    """Of any step."""
    together: int
    """Steps before the first that differs by more than the tolerance; all of them, if none does."""
    smoothed: float
    """Largest of the running means over ``END`` steps."""
    final: float
    """Of the mean of the last ``END`` steps."""


def loss_curve(
    split: MotionDataset,
    config: CaptionerConfig,
    settings: TrainingSettings,
    steps: int,
    backend: str = "auto",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """Train for some steps as ``m2t-fast train`` does, without validation, and keep every step's losses.

    All that is random is a function of the settings' seed: curves of other backends, dtypes and devices begin with the
    same weights and take the same batches, coins and dropout masks.

    Returns:
        (steps, 4) float64: total, language, spatial and adaptive loss before each step.
    """
    torch.manual_seed(settings.seed)
    model = Captioner(config).to(device=device, dtype=weights_in(dtype)).train()
    weight = model.embedding.weight
    resident = ResidentSplit(split, weight.device, weight.dtype)
    engine = Engine(model, adamw(model, settings), resident, settings, dtype=dtype)
    buckets = choose_buckets(split, settings.batch_size)
    rows: list[torch.Tensor] = []
    epoch = 0
    with use_backend(backend):
        while len(rows) < steps:
            plan = epoch_plan(split, buckets, settings.batch_size, settings.seed, epoch)
            rows += engine.steps(plan[: steps - len(rows)])
            epoch += 1
    found: np.ndarray = torch.stack(rows).double().cpu().numpy()
    return found


def compare(found: np.ndarray, expected: np.ndarray, tolerance: float) -> Difference:
    """The difference of two curves (steps, 4), as a share of the second's losses."""
    ours, theirs = found[:, 0], expected[:, 0]
    each = np.abs(ours - theirs) / theirs
    beyond = np.flatnonzero(~(each <= tolerance))
    smooth = np.abs(_running_mean(ours) - _running_mean(theirs)) / _running_mean(theirs)
    final = abs(ours[-END:].mean() - theirs[-END:].mean()) / theirs[-END:].mean()
    return Difference(
        float(each.max()), int(beyond[0]) if len(beyond) else len(each), float(smooth.max()), float(final)
    )


def _running_mean(values: np.ndarray) -> np.ndarray:
    width = min(END, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")
