"""Writes into a run folder how far from its training data a motion may lie before its caption is not to be trusted."""

from __future__ import annotations

from pathlib import Path

import torch

from m2t_fast.captioning.familiarity import Familiarity
from m2t_fast.data.dataset import Prepared
from m2t_fast.run_folder import load_run


def calibrate(folder: Path, data: Prepared, device: str | torch.device = "cpu", batch_size: int = 64) -> bool:
    """Fit a :class:`~m2t_fast.captioning.familiarity.Familiarity` for the weights of a run folder, and store it there.

    Args:
        folder: the run folder. data: what the run was trained on, with the run's vocabulary, statistics and settings.
        device: where to compute. batch_size: motions at a time.

    Returns:
        False where the training split is too small; then nothing is written, and the file of an earlier fit stays.

    Raises:
        UserError: not a run folder, or the file cannot be written.
    """
    run = load_run(folder, device)
    found = Familiarity.fit(run.model, data["train"], data.splits.get("val"), batch_size)
    if found is None:
        return False
    found.save(folder)
    return True
