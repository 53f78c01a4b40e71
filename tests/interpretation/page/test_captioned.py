"""A captioned motion: what it refuses, how it is made from a search's words, and which word is current when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.interpretation import CaptionedMotion, WordAttention


def test_from_words() -> None:
    words = [
        WordAttention("jumps", 0.9, torch.tensor([0.1, 1.0, 0.1]), torch.full((3, 6), 1 / 6), 1.0, 0.5),
        WordAttention("up", 0.4, torch.tensor([0.0, 0.2, 1.0]), torch.eye(6)[:3], 2.0, 0.25),
    ]
    joints = np.arange(3 * 21 * 3, dtype=np.float32).reshape(3, 21, 3)
    motion = CaptionedMotion.of("m", joints, words, fps=6.25, start=0.08, reference="a hop")
    assert (motion.caption, motion.fps, motion.start, motion.reference) == ("jumps up", 6.25, 0.08, "a hop")
    assert motion.skeleton.name == "kit"
    np.testing.assert_array_equal(motion.joints, joints)
    np.testing.assert_allclose(motion.gate, [0.9, 0.4], atol=1e-7)
    np.testing.assert_array_equal(motion.mean, [1.0, 2.0])
    np.testing.assert_array_equal(motion.std, [0.5, 0.25])
    np.testing.assert_allclose(motion.window, [[0.1, 1, 0.1], [0, 0.2, 1]], atol=1e-7)
    np.testing.assert_array_equal(motion.spatial[1], np.eye(6)[:3])


def test_without_words() -> None:
    motion = CaptionedMotion.of("m", np.zeros((4, 22, 3)), [])
    assert motion.caption == "" and motion.window.shape == (0, 4) and motion.spatial.shape == (0, 4, 6)
    assert motion.current_words(0.0).tolist() == [-1] * 4


def test_current_words(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned(frames=41)
    current = motion.current_words(0.5)  # walks is centred at frame 20, waves at 36
    assert current[20] == 2 and current[36] == 4
    assert current[0] == -1 and current[4] == -1  # nothing but "a" is near
    assert sorted(set(current.tolist())) == [-1, 2, 4]
    assert (motion.current_words(1.0) == -1).all()


@given(st.integers(1, 30), st.integers(0, 5), st.floats(0, 1), st.integers(0, 1000))
def test_a_current_word_is_over_the_threshold_and_seen(frames: int, words: int, threshold: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gate, window = rng.random(words), rng.random((words, frames))
    motion = CaptionedMotion(
        "m", np.zeros((frames, 22, 3)), ("w",) * words, gate, window, np.full((words, frames, 6), 1 / 6),
        np.zeros(words), np.ones(words),
    )  # fmt: skip
    for frame, number in enumerate(motion.current_words(threshold)):
        over = [n for n in range(words) if gate[n] >= threshold]
        if number >= 0:
            assert number in over and window[number, frame] >= 0.05
            assert gate[number] * window[number, frame] == max(gate[n] * window[n, frame] for n in over)
        else:
            assert not any(gate[n] * window[n, frame] >= 0.05 for n in over)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": np.zeros((40, 22, 2))}, r"joints: got shape \(40, 22, 2\), expected \(any, any, 3\)"),
        ({"joints": np.zeros((0, 22, 3))}, "at least one frame"),
        ({"joints": np.zeros((40, 20, 3))}, "joints: got 20"),
        ({"joints": np.full((40, 22, 3), np.nan)}, "joints: got values that are not finite"),
        ({"words": ("a",)}, r"gate: got shape \(5,\), expected \(1,\)"),
        ({"gate": np.full(5, 1.2)}, "gate: got values outside 0 to 1"),
        ({"window": np.ones((5, 39))}, r"window: got shape \(5, 39\), expected \(5, 40\)"),
        ({"window": -np.ones((5, 40))}, "window: got values outside"),
        ({"spatial": np.ones((5, 40, 5))}, r"expected \(5, 40, 6\)"),
        ({"mean": np.full(5, np.inf)}, "mean: got values that are not finite"),
        ({"fps": 0.0}, "fps: got 0.0"),
        ({"fps": float("nan")}, "fps: got nan"),
        ({"start": float("inf")}, "start: got inf"),
    ],
)
def test_refused_arguments(captioned: Callable[..., CaptionedMotion], change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(captioned(), **change)
