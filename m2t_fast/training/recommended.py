"""Which settings fit a data set when there is no preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from m2t_fast.training.settings import TrainingSettings
from m2t_fast.wording import counted

LARGE = 20_000
"""Least training samples of a large data set: KIT-ML has 10,408, HumanML3D 66,734."""

_STEPS_AN_EPOCH = 10  # at least, where there are enough samples: fewer steps learn little in 200 epochs
_SMALLEST_BATCH = 8


@dataclass(frozen=True)
class Recommended:
    """``preset``: whose model sizes fit, "kit" or "humanml3d"; ``training``: changes to its training settings; ``why``
    in a few words."""

    preset: str
    training: dict[str, Any]
    why: str


def recommend(samples: int) -> Recommended:
    """The settings for this number of training samples.

    Small data sets take KIT-ML's model and recipe, large ones HumanML3D's. The guidance of the attention is on in both,
    with the weights of KIT-ML: for HumanML3D, too, the paper's table 6 has its best CIDEr there; its preset, which has
    the best BLEU, leaves spatial guidance out. Where a batch of 64 would leave fewer than ten steps per epoch it is
    halved, down to 8.
    """
    own = TrainingSettings.kit()
    guidance = {"lambda_spat": own.lambda_spat, "lambda_adapt": own.lambda_adapt}
    if samples >= LARGE:
        return Recommended("humanml3d", guidance, f"{counted(samples, 'training sample')}, {LARGE:,} or more")
    batch = own.batch_size
    while batch > _SMALLEST_BATCH and samples < _STEPS_AN_EPOCH * batch:
        batch //= 2
    why = f"{counted(samples, 'training sample')}, fewer than {LARGE:,}"
    return Recommended("kit", {**guidance, "batch_size": batch}, why)
