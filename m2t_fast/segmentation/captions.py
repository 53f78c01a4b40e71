"""What a run says about every window of a take, in a few numbers each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from m2t_fast.captioning.modes import evaluating
from m2t_fast.captioning.words import says_words
from m2t_fast.data.preprocessing import downsample
from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import base_form
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.ops.decoding.decoder import Memory
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.run_folder import Run
from m2t_fast.segmentation.windows import placed_together

WORDS = 10
"""Content words of a caption that are kept; further ones do not count."""
_FRAMES = 60  # at most this many times the batch size of kept frames are read at once, padding included


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
    stems, joining = _content_stems(run.vocabulary), np.array([word in _JOINTS for word in run.vocabulary.words])
    found = WindowCaptions(
        windows,
        np.zeros(count, np.float32),
        np.ones(count, np.int32),
        np.zeros(count, np.int32),
        np.full((count, WORDS), -1, np.int32),
        np.tile(np.array([0.5, 0.5, 0.3, 0.3, 0.5, 0.3, 0.5, 0.3], np.float32), (count, 1)),
    )
    with tqdm(total=count, unit="window", desc="captioning", disable=not progress, leave=False) as bar:
        for numbers, lengths, generation in _generations(run, joints, windows, batch_size):
            _describe(found, np.array(numbers), np.array(lengths), generation, stems, joining)
            bar.update(len(numbers))
    return found


def _describe(
    found: WindowCaptions,
    numbers: np.ndarray,
    lengths: np.ndarray,
    generation: Generation,
    stems: np.ndarray,
    joining: np.ndarray,
) -> None:
    """Fill in the windows (B,) whose kept frames and captions these are; ``stems`` and ``joining`` are of all words."""
    tokens = generation.tokens[:, 0].cpu().numpy()
    said = says_words(tokens)
    total = np.minimum(tokens.shape[1], said.sum(axis=1) + 1)
    found.log_probability[numbers] = generation.scores[:, 0].double().cpu().numpy() * total
    found.steps[numbers] = total
    found.joined[numbers] = (said & joining[tokens]).sum(axis=1)
    telling = said & (stems[tokens] >= 0)
    place = telling.cumsum(axis=1) - 1
    telling &= place < WORDS
    rows, steps = np.nonzero(telling)
    found.content[numbers[rows], place[rows, steps]] = stems[tokens[rows, steps]]
    # Of the windows with a content word: least and greatest, and of the first and the last such word.
    some = np.flatnonzero(telling.any(axis=1))
    telling = telling[some]
    first, last = telling.argmax(axis=1), telling.shape[1] - 1 - telling[:, ::-1].argmax(axis=1)
    attention = generation.attention.mean.cpu().numpy(), generation.attention.std.cpu().numpy()
    mean, std = (x[some] / lengths[some, None].astype(x.dtype) for x in attention)
    extremes = [
        edge(np.where(telling, x, away), axis=1)
        for x in (mean, std)
        for edge, away in ((np.min, np.inf), (np.max, -np.inf))
    ]
    at = np.arange(len(some))
    ends = [x[at, step] for step in (first, last) for x in (mean, std)]
    found.attention[numbers[some]] = np.stack([*extremes, *ends], axis=1)


def _generations(
    run: Run, joints: np.ndarray, windows: np.ndarray, batch_size: int
) -> Iterator[tuple[list[int], list[int], Generation]]:
    """The numbers of some windows, the kept frames of each, and their captions, until all were there.

    Windows that are placed alike are read once, by the longest of them: parts and keys of a frame depend on what comes
    before it alone, so the shorter ones begin like it.
    """
    model, weight = run.model, run.model.embedding.weight
    for block in _blocks(run, joints, windows, batch_size * _FRAMES):
        frames = [torch.from_numpy(kept) for kept, _ in block]
        ends = torch.tensor([len(kept) for kept in frames], device=weight.device)
        with evaluating(model), torch.no_grad():
            motion = pad_sequence(frames, batch_first=True).to(weight.device, weight.dtype)
            memory = model.encode(motion, ends)
        members = sorted((length, number, row) for row, (_, some) in enumerate(block) for length, number in some)
        for first in range(0, len(members), batch_size):
            lengths, numbers, rows = (list(x) for x in zip(*members[first : first + batch_size], strict=True))
            # Whole frames of one table: that copies several times as fast as rows of a view.
            first_frame = torch.tensor(rows, device=weight.device)[:, None] * motion.shape[1]
            place = first_frame + torch.arange(lengths[-1], device=weight.device)
            parts, temporal, spatial = (
                x.flatten(0, 1).index_select(0, place.flatten()).unflatten(0, place.shape) for x in memory[:3]
            )
            own = Memory(parts, temporal, spatial, ends.new_tensor(lengths))
            with evaluating(model):
                generation = model.generate_from(own, beam_size=1)
            yield numbers, lengths, generation


Alike = tuple[np.ndarray, list[tuple[int, int]]]
"""The kept frames (n, J, 3), standardised, with which windows begin: how many are its own, and the number, of each."""


def _blocks(run: Run, joints: np.ndarray, windows: np.ndarray, most_frames: int) -> Iterator[list[Alike]]:
    """Windows that are read together: at most so many kept frames, padding included, or those of a single one."""
    block: list[Alike] = []
    longest = 0
    for kept, members in _alike(run, joints, windows):
        longest = max(longest, len(kept))
        if block and (len(block) + 1) * longest > most_frames:
            yield block
            block, longest = [], len(kept)
        block.append((kept, members))
    if block:
        yield block


def _alike(run: Run, joints: np.ndarray, windows: np.ndarray) -> Iterator[Alike]:
    for placed, numbers in placed_together(joints, windows, run.skeleton):
        frames = windows[numbers, 1] - windows[numbers, 0]
        # One that ends before the first frame that is kept keeps its last instead: no other begins with it.
        early = frames <= run.settings.first_frame
        for some in filter(len, (np.flatnonzero(~early), *np.flatnonzero(early)[:, None])):
            kept = downsample(placed[: frames[some].max()], run.settings)
            members = [(len(downsample(placed[: frames[n]], run.settings)), int(numbers[n])) for n in some]
            yield run.statistics.apply(np.ascontiguousarray(kept)), members


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
