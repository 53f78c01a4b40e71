"""What a run says about every window of a take, in a few numbers each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from m2t_fast.captioning.padding import padded_batches
from m2t_fast.captioning.pipeline import generate_batches
from m2t_fast.captioning.words import spoken
from m2t_fast.data.preprocessing import downsample
from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import base_form
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.run_folder import Run
from m2t_fast.segmentation.windows import placed

WORDS = 10
"""Content words of a caption that are kept; further ones do not count."""
BLOCK = 4096
"""Windows that are read, sorted by length and captioned together."""

_FRAMES = 60  # a batch has at most this many times its size in kept frames, padding included


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that say neither what is done nor with which part of the body.
_FUNCTION = _words(
    """
    a about an and are as at be been before being both by for from he her him his human in into is it its kid lady man
    men of off on one or other out over people person she some someone somebody something that the their them then they
    thing this to up was were which while who with woman
    """
)
_JOINTS = _words("then after afterwards before finally while")  # they join two actions in a caption


@dataclass(frozen=True)
class WindowCaptions:
    """The greedy caption of each of W windows, in numbers.

    ``windows`` (W, 2) frames; ``log_probability`` (W,) of the caption with <eos>; ``steps`` (W,) its words, <eos>
    counted; ``joined`` (W,) how many words join actions ("then"); ``content`` (W, WORDS) int32 numbers of the stems of
    its content words, -1 where there are fewer; ``attention`` (W, 8): over these words the least and the greatest mean
    and standard deviation of their windows, then mean and deviation of the first and of the last, all as shares of the
    window.
    """

    windows: np.ndarray
    log_probability: np.ndarray
    steps: np.ndarray
    joined: np.ndarray
    content: np.ndarray
    attention: np.ndarray


def caption_windows(
    run: Run, joints: np.ndarray, windows: np.ndarray, batch_size: int = 64, progress: bool = False
) -> WindowCaptions:
    """Greedy captions of the windows (W, 2) of joints (T, J, 3) at the run's frame rate, in its unit, Y up."""
    count = len(windows)
    stems = _content_stems(run.vocabulary)
    joining = np.array([word in _JOINTS for word in run.vocabulary.words])
    found = WindowCaptions(
        windows,
        np.zeros(count, np.float32),
        np.ones(count, np.int32),
        np.zeros(count, np.int32),
        np.full((count, WORDS), -1, np.int32),
        np.tile(np.array([0.5, 0.5, 0.3, 0.3, 0.5, 0.3, 0.5, 0.3], np.float32), (count, 1)),
    )
    with tqdm(total=count, unit="window", desc="captioning", disable=not progress, leave=False) as bar:
        for first, block in _blocks(run, joints, windows):
            batches = padded_batches(block, batch_size, batch_size * _FRAMES)
            for batch, generation in generate_batches(run.model, batches, beam_size=1):
                attention = [x.cpu().numpy() for x in (generation.attention.mean, generation.attention.std)]
                scores = generation.scores[:, 0].tolist()
                for row, index in enumerate(batch.index.tolist()):
                    tokens = generation.tokens[row, 0].tolist()
                    steps, _ = spoken(tokens, run.vocabulary)
                    said = np.array([tokens[step] for step in steps], dtype=np.int64)
                    total = min(len(tokens), len(steps) + 1)
                    at = first + index
                    found.log_probability[at], found.steps[at] = scores[row] * total, total
                    found.joined[at] = joining[said].sum()
                    numbers = stems[said]
                    telling = np.flatnonzero(numbers >= 0)[:WORDS]
                    found.content[at, : len(telling)] = numbers[telling]
                    if len(telling):
                        length = float(batch.lengths[row])
                        mean, std = (x[row, np.array(steps)[telling]] / length for x in attention)
                        extremes = (mean.min(), mean.max(), std.min(), std.max())
                        found.attention[at] = (*extremes, mean[0], std[0], mean[-1], std[-1])
                bar.update(len(batch.index))
    return found


def _blocks(run: Run, joints: np.ndarray, windows: np.ndarray) -> Iterator[tuple[int, list[Tensor]]]:
    """The number of its first window, and the frames that the model reads of each, block by block."""
    ready = placed(joints, windows, run.skeleton)
    for first in range(0, len(windows), BLOCK):
        kept = (downsample(window, run.settings) for window in islice(ready, BLOCK))
        yield first, [torch.from_numpy(run.statistics.apply(np.ascontiguousarray(window))) for window in kept]


def _content_stems(vocabulary: Vocabulary) -> np.ndarray:
    """(V,) int32: for each word of the vocabulary the number of its stem among content words, -1 for the others."""
    numbers: dict[str, int] = {}
    return np.array(
        [
            -1
            if word in _FUNCTION or word in _JOINTS or word.startswith("<")
            else numbers.setdefault(_stem(word), len(numbers))
            for word in vocabulary.words
        ],
        dtype=np.int32,
    )


@lru_cache(maxsize=1 << 14)
def _stem(word: str) -> str:
    return stem(base_form(word))
