"""Random data sets of the paper's sizes (table 4): counts and lengths of motions and captions, size of the vocabulary.

Motions are noise and captions random words: what a training step costs does not depend on what they say. Lengths:

- KIT-ML: log-normal, fitted to the durations and captions of its own training split: after downsampling and without
  motions of more than 100 frames, 38 frames on average (5 to 100) and 8.5 words (3 to 35).
- HumanML3D: its authors give 7.1 s on average, 2 to 10 s, which at 10 frames per second and cut as they cut is a
  normal distribution around 75 frames from 20 to 100; and captions of 12 words on average, median 10, here log-normal
  with the paper's limit of 20 words.

Of the words 31% are motion words, 33% are not and the others have no target, and 8% name body parts: the shares in
KIT-ML's captions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from m2t_fast.config import EOS, SOS, UNK
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.supervision import UNSUPERVISED
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.skeleton import PART_NAMES, skeleton_of

_MOTION_WORDS, _OTHER_WORDS, _PART_WORDS = 0.31, 0.335, 0.083
_PART_SHARES = (0.72, 0.03, 0.11, 0.11, 0.15, 0.15)
"""Of the words that name parts: how many name each."""

Lengths = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class PaperData:
    """One data set.

    Args:
        title: as the paper calls it; the benchmarked size of that name in ``SIZES`` has its model.
        motions, samples: of the splits train and val; a sample is a motion with one of its captions.
        frames, words: draw so many lengths; words without <sos> and <eos>.
        captions: fewest captions per motion.
    """

    title: str
    motions: dict[str, int]
    samples: dict[str, int]
    frames: Lengths
    words: Lengths
    captions: int = 1


def _clipped(draw: Lengths, least: int, most: int) -> Lengths:
    return lambda generator, count: np.clip(np.rint(draw(generator, count)), least, most).astype(np.int64)


PAPER: dict[str, PaperData] = {
    "kit": PaperData(
        "KIT-ML",
        {"train": 4886, "val": 300},
        {"train": 10408, "val": 636},
        _clipped(lambda generator, count: generator.lognormal(3.54, 0.436, count), 5, 100),
        _clipped(lambda generator, count: generator.lognormal(2.027, 0.473, count), 3, 35),
    ),
    "humanml3d": PaperData(
        "HumanML3D",
        {"train": 22068, "val": 1386},
        {"train": 66734, "val": 4186},
        _clipped(lambda generator, count: generator.normal(75.0, 25.0, count), 20, 100),
        _clipped(lambda generator, count: generator.lognormal(2.3, 0.6, count), 3, 20),
        captions=3,
    ),
    "tiny": PaperData(
        "tiny",
        {"train": 20, "val": 5},
        {"train": 37, "val": 9},
        _clipped(lambda generator, count: generator.uniform(3, 10, count), 3, 10),
        _clipped(lambda generator, count: generator.uniform(2, 5, count), 2, 5),
    ),
}
"""By the names of ``SIZES``; the last is for tests."""


def vocabulary_of(words: int) -> Vocabulary:
    """Words that are none, ``words`` with the specials."""
    return Vocabulary(f"word{number}" for number in range(words - UNK - 1))


def paper_split(name: str, split: str, joints: int, vocabulary: Vocabulary, seed: int = 0) -> MotionDataset:
    """The split ``train`` or ``val`` of ``PAPER[name]``; the same for the same arguments. HumanML3D's takes 0.4 GB."""
    paper, generator = PAPER[name], np.random.default_rng((seed, len(split)))
    motions, samples = paper.motions[split], paper.samples[split]
    more = generator.multinomial(samples - paper.captions * motions, np.full(motions, 1 / motions))
    frame_offsets = _offsets(paper.frames(generator, motions))
    words = paper.words(generator, samples)
    token_offsets = _offsets(words + 2)
    count = int(token_offsets[-1])

    # Few words are said often: by rank, as in any language.
    rank = np.arange(1, len(vocabulary) - UNK)
    said = generator.choice(len(rank), count, p=(1 / rank) / (1 / rank).sum()) + UNK + 1
    inside = np.ones(count, dtype=bool)
    for edge, token in ((token_offsets[:-1], SOS), (token_offsets[1:] - 1, EOS)):
        said[edge], inside[edge] = token, False
    share = generator.random(count)
    gate = np.full(count, UNSUPERVISED, dtype=np.int8)
    gate[inside & (share < _MOTION_WORDS + _OTHER_WORDS)] = 0
    gate[inside & (share < _MOTION_WORDS)] = 1
    named = inside & (share < _PART_WORDS)
    spatial = np.full((count, len(PART_NAMES)), UNSUPERVISED, dtype=np.int8)
    spatial[named] = generator.random((int(named.sum()), len(PART_NAMES))) < np.array(_PART_SHARES)

    caption_motion = np.repeat(np.arange(motions), paper.captions + more)
    references: list[list[str]] = [[] for _ in range(motions)]
    if split == "val":  # nobody reads those of training samples
        for motion, start, length in zip(caption_motion, token_offsets[:-1], words, strict=True):
            references[motion].append(vocabulary.decode(said[start + 1 : start + 1 + length].tolist()))
    frames = generator.standard_normal((int(frame_offsets[-1]), joints, 3), dtype=np.float32)
    return MotionDataset(
        split=split,
        frames=torch.from_numpy(frames),
        frame_offsets=torch.from_numpy(frame_offsets),
        tokens=torch.from_numpy(said.astype(np.int64)),
        token_offsets=torch.from_numpy(token_offsets),
        gate_targets=torch.from_numpy(gate),
        spatial_targets=torch.from_numpy(spatial),
        caption_motion=torch.from_numpy(caption_motion),
        ids=[f"{number:06d}" for number in range(motions)],
        references=references,
        processed=references,
        segments=None,
        skeleton=skeleton_of(joints),
        statistics=Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        settings=DataSettings(),
    )


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
