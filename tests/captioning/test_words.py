"""Attention word by word: what belongs to which word, weights of parts, and times."""

from __future__ import annotations

import pytest
import torch

from m2t_fast.captioning.words import WordAttention, caption_words, seconds_of
from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.data.preprocessing import DataSettings, downsample
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.ops.decoding.result import CaptionAttention, Generation
from m2t_fast.skeleton import PART_NAMES


def test_parts_are_averaged_over_the_window() -> None:
    spatial = torch.zeros(3, 6)
    spatial[0, 1], spatial[1, 2], spatial[2, 5] = 1.0, 1.0, 1.0
    word = WordAttention("waves", 0.9, torch.tensor([0.5, 1.0, 0.5]), spatial, 1.0, 0.5)
    assert word.parts == {
        "root": 0.0,
        "torso": pytest.approx(0.25),
        "left_arm": pytest.approx(0.5),
        "right_arm": 0.0,
        "left_leg": 0.0,
        "right_leg": pytest.approx(0.25),
    }
    assert tuple(word.parts) == PART_NAMES


def test_words_and_their_attention() -> None:
    vocabulary = Vocabulary(["a", "jumps", "person"])
    tokens = torch.tensor([[[4, 5, EOS, PAD, PAD], [6, EOS, PAD, PAD, PAD]], [[SOS, 6, PAD, 3, 5], [4, 4, 4, 4, 4]]])
    step = torch.arange(5.0).expand(2, 5)
    window = step[..., None].expand(2, 5, 7)
    attention = CaptionAttention(step / 10, window, window[..., None].expand(2, 5, 7, 6), step + 0.5, step + 1)
    generation = Generation(tokens, torch.zeros(2, 2), attention)
    first = caption_words(generation, 0, 7, vocabulary)
    assert [(word.word, round(word.gate, 3), word.mean, word.std) for word in first] == [
        ("a", 0.0, 0.5, 1.0),
        ("jumps", 0.1, 1.5, 2.0),
    ]
    second = caption_words(generation, 1, 4, vocabulary)
    assert [word.word for word in second] == ["person", "<unk>", "jumps"]
    assert " ".join(word.word for word in second) == vocabulary.decode(tokens[1, 0])
    assert [word.mean for word in second] == [1.5, 3.5, 4.5]
    assert second[0].window.shape == (4,) and second[0].spatial.shape == (4, 6)


@pytest.mark.parametrize(("frames", "settings"), [(50, DataSettings()), (1, DataSettings()), (9, DataSettings(3, 2))])
def test_times_of_kept_frames(frames: int, settings: DataSettings) -> None:
    times = torch.arange(frames)[:, None, None].numpy() / 20.0
    for kept, time in enumerate(downsample(times, settings)[:, 0, 0]):
        assert seconds_of(kept, settings, 20.0, frames) == pytest.approx(time)
