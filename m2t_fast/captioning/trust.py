"""Whether a caption is to be trusted: the motion is long enough, moves, and is like those the run was trained on."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.familiarity import FILE, SHARE, Familiarity, pooled_features
from m2t_fast.data.batches import MotionBatch
from m2t_fast.errors import UserError
from m2t_fast.motion.read import units_of
from m2t_fast.run_folder import Run
from m2t_fast.wording import counted

LEAST_FRAMES = 10
"""Before downsampling; of fewer, a caption means little whatever the run was trained on."""
STILL = 0.02
"""Metres that a joint moves at least, unless training motions moved less."""

_ROUNDING = 1e-3  # a motion that set a limit must not be beyond it on another device


@dataclass(frozen=True)
class Trust:
    """What speaks against a caption.

    ``distance``: of the motion from the training data in the features of the encoder; 1 is the limit within which
    95 % of the validation motions lie. None: the run was not calibrated (``m2t-fast calibrate``). ``reasons``: why the
    caption is not to be trusted, one phrase each; none: nothing speaks against it.
    """

    distance: float | None = None
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether nothing speaks against the caption."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        distance = None if self.distance is None else round(self.distance, 3)
        return {"trusted": bool(self), "distance": distance, "reasons": list(self.reasons)}


class Judge:
    """Tells of motions whether a run's captions of them are to be trusted.

    Raises:
        UserError: ``trust.safetensors`` of the run is damaged.
    """

    def __init__(self, run: Run):
        self._familiarity, self._file = Familiarity.load(run.folder), run.folder / FILE
        if self._familiarity is None and self._file.exists():
            text = "belongs to other weights and is not used; m2t-fast calibrate RUN --data DATA makes it again"
            warnings.warn(f"{self._file}: {text}", stacklevel=2)
        self._units = units_of(run.statistics, run.skeleton)
        self._shortest = max(run.settings.min_frames or 0, LEAST_FRAMES)
        self._still = STILL
        if self._familiarity is not None:
            kept = int(self._familiarity.shortest)
            seen = run.settings.first_frame + (kept - 1) * run.settings.downsample + 1
            self._shortest = max(self._shortest, seen)
            self._still = min(STILL, float(self._familiarity.least_path) / self._units)

    def look(self, joints: np.ndarray) -> list[str]:
        """What speaks against a motion (T, J, 3) before the run has read it; at the skeleton's frame rate, in the run's
        unit."""
        count = counted(len(joints), "frame")
        if len(joints) < self._shortest:
            return [f"{count}: shorter than anything in training ({self._shortest} frames or more)"]
        if np.ptp(joints, axis=0).max() < (1.0 - _ROUNDING) * self._still * self._units:
            return [f"nothing moves by {100 * self._still:.2g} cm"]
        return []

    def distances(self, model: Captioner, batch: MotionBatch) -> list[float | None]:
        """The distance of every motion of a batch, as in :class:`Trust`.

        Raises:
            UserError: one is not finite.
        """
        if self._familiarity is None:
            return [None] * len(batch.index)
        features = pooled_features(model, batch)
        if features.shape[1] != len(self._familiarity.mean):
            return [None] * len(batch.index)
        found: list[float | None] = self._familiarity.distance(features).tolist()
        if not all(distance is not None and math.isfinite(distance) for distance in found):
            text = "damaged: it gives distances that are not finite; make it again with m2t-fast calibrate"
            raise UserError(f"{self._file}: {text}")
        return found

    @staticmethod
    def verdict(reasons: list[str], distance: float | None) -> Trust:
        """Both together."""
        if distance is not None and distance > 1.0 + _ROUNDING:
            far = f"{distance:.1f} times as far from the training data as {SHARE:.0%} of the validation motions"
            reasons = [*reasons, far]
        return Trust(distance, tuple(reasons))
