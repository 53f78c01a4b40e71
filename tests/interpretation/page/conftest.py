"""Captioned motions to draw, made by hand: known words, gates, windows and parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from m2t_fast.interpretation import CaptionedMotion

WORDS = ("a", "person", "walks", "then", "waves")
GATES = (0.02, 0.1, 0.9, 0.4, 0.97)


def _joints(frames: int, joints: int, seed: int) -> np.ndarray:
    """A body that walks ahead and swings its limbs."""
    rng = np.random.default_rng(seed)
    pose = rng.uniform([-0.4, 0.1, -0.15], [0.4, 1.7, 0.15], (joints, 3))
    pose[0] = (0.0, 0.9, 0.0)
    time = np.arange(frames)[:, None, None] / 10
    swing = 0.15 * np.sin(2 * time + np.arange(joints)[None, :, None]) * rng.uniform(0, 1, (joints, 3))
    return pose + swing + time * np.array([0.05, 0.0, 0.8])


@pytest.fixture(scope="session")
def captioned() -> Callable[..., CaptionedMotion]:
    """``captioned(frames=40, words=..., gate=..., joints=22, seed=0, **fields)``: word w looks at part w + 1 (all other
    parts share a tenth) around the frame (w + 0.5) / W of the motion."""

    def make(
        frames: int = 40,
        words: Sequence[str] = WORDS,
        gate: Sequence[float] | None = None,
        joints: int = 22,
        seed: int = 0,
        **fields: object,
    ) -> CaptionedMotion:
        count = len(words)
        mean = (np.arange(count) + 0.5) / max(count, 1) * (frames - 1)
        std = np.full(count, max(frames / 10, 1.0))
        window = np.exp(-((np.arange(frames) - mean[:, None]) ** 2) / (2 * std[:, None] ** 2))
        spatial = np.full((count, frames, 6), 0.02)
        for word in range(count):
            spatial[word, :, (word + 1) % 6] = 0.9
        if gate is None:
            gate = GATES if count == len(GATES) else np.linspace(0.1, 0.9, count)
        given = {"name": "motion.npy", "fps": 10.0, **fields}
        return CaptionedMotion(
            joints=_joints(frames, joints, seed), words=words, gate=gate, window=window, spatial=spatial,
            mean=mean, std=std, **given,
        )  # fmt: skip

    return make
