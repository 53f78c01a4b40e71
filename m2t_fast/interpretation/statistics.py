"""One record per word of a whole split: its gate, window and body parts, for generated or given captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.modes import evaluating
from m2t_fast.captioning.pipeline import generate_batches
from m2t_fast.captioning.words import spoken
from m2t_fast.data import lexicon
from m2t_fast.data.batches import batch_of, motion_batches
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import targets
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.interpretation.motion_words import FUNCTION_WORDS
from m2t_fast.progress import Progress

MOTION, NO_MOTION, UNKNOWN = 1, 0, -1
"""Kinds of words, as the supervision of the gate divides them (table 5): action verbs, adverbs and trajectory words are
motion words, connection words and subjects are not, all others are undecided."""


@dataclass(frozen=True, eq=False)
class WordRecord:
    """What the model attended to for one word of one caption of a split.

    ``motion`` is the number of the motion in the split, ``caption`` the number among its captions (0 for a generated
    one), ``place`` the word's place. ``kind``: MOTION, NO_MOTION or UNKNOWN; ``supervised``: the body parts of such a
    word are supervised in training. ``gate``: beta (eq. 7). ``mean`` and ``std`` of the window in kept frames (eq. 4).
    ``peak`` (P,): the temporal maximum of each body part's attention alpha (eq. 6), the quantity of the paper's
    histograms. ``share`` (P,): alpha averaged over the frames with the window's weights; sums to 1.
    """

    motion: int
    caption: int
    place: int
    word: str
    stem: str
    kind: int
    supervised: bool
    gate: float
    mean: float
    std: float
    peak: np.ndarray
    share: np.ndarray


def captions_of(records: Iterable[WordRecord]) -> Iterator[list[WordRecord]]:
    """The words of each caption together, in order; ``records`` are as the functions here return them."""
    caption: list[WordRecord] = []
    for record in records:
        if caption and (record.motion, record.caption) != (caption[0].motion, caption[0].caption):
            yield caption
            caption = []
        caption.append(record)
    if caption:
        yield caption


def of_kind(records: Iterable[WordRecord], kind: int) -> dict[str, list[WordRecord]]:
    """The records of words of a kind by stem, the most frequent stem first; ties in alphabetical order."""
    found: dict[str, list[WordRecord]] = {}
    for record in records:
        if record.kind == kind:
            found.setdefault(record.stem, []).append(record)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def usual_word(records: Sequence[WordRecord]) -> str:
    """The most frequent word of these records; of equally frequent ones the first in the alphabet."""
    counts = Counter(record.word for record in records)
    return min(counts, key=lambda word: (-counts[word], word))


def frequent_stems(stems: Mapping[str, Mapping[str, Any]], most: int) -> list[str]:
    """The ``most`` most frequent stems of a figure's data, most frequent first.

    "then" and its like, adverbs that only order the actions, are left out, though the gate's supervision counts them
    (table 5: every adverb).
    """
    return [own for own, entry in stems.items() if entry["word"].lower() not in FUNCTION_WORDS][:most]


def generated_words(
    model: Captioner,
    dataset: MotionDataset,
    vocabulary: Vocabulary,
    batch_size: int = 64,
    progress: bool = False,
    **search: Any,
) -> list[WordRecord]:
    """The words of the best caption of every motion of a split, in the order of the split, without <eos>.

    A generated word has no part-of-speech tag: the built-in lexicon gives one, the same on every machine.
    ``search`` are options of :meth:`Captioner.generate`; ``progress`` shows progress on stderr.
    """
    captions: list[list[WordRecord]] = [[] for _ in dataset.ids]
    batches = generate_batches(model, motion_batches(dataset, batch_size), **search)
    with Progress(dataset.motions, f"attention of {dataset.split}", shown=progress) as bar:
        for batch, found in batches:
            seen = found.attention.cpu()
            peak, share = part_statistics(seen.window, seen.spatial, batch.lengths)
            gate, mean, std = (x.double().numpy() for x in (seen.gate, seen.mean, seen.std))
            for row, motion in enumerate(batch.index.tolist()):
                steps, words = spoken(found.tokens[row, 0].tolist(), vocabulary)
                kinds, parts = targets(words, lexicon.tag(words))
                captions[motion] = [
                    WordRecord(
                        motion, 0, place, word, stem(word), int(kinds[place]), bool(parts[place, 0] >= 0),
                        float(gate[row, step]), float(mean[row, step]), float(std[row, step]),
                        peak[row, step], share[row, step],
                    )
                    for place, (step, word) in enumerate(zip(steps, words, strict=True))
                ]  # fmt: skip
            bar.update(len(batch.index))
    return [record for caption in captions for record in caption]


@torch.no_grad()
def reference_words(
    model: Captioner, dataset: MotionDataset, batch_size: int = 64, progress: bool = False
) -> list[WordRecord]:
    """The words of all reference captions of a split, read by the model word after word (teacher forcing).

    What the model looks at is then separate from what it says. Kinds of words come from the data set's
    part-of-speech tags, as in training. In the order of the split and of its captions; words as written, without <eos>.
    """
    weight = model.embedding.weight
    written = [caption.split() for captions in dataset.references for caption in captions]
    first = torch.searchsorted(dataset.caption_motion, dataset.caption_motion)  # each motion's first sample
    captions: list[list[WordRecord]] = [[] for _ in written]
    with evaluating(model), Progress(len(dataset), f"attention of {dataset.split}", "captions", progress) as bar:
        for samples in torch.argsort(dataset.sample_lengths, stable=True).split(batch_size):
            batch = batch_of(dataset, samples)
            out = model(
                batch.motion.to(weight.device, weight.dtype),
                batch.lengths.to(weight.device),
                batch.tokens.to(weight.device),
            )
            peak, share = part_statistics(out.window.cpu(), out.spatial.cpu(), batch.lengths)
            gate, mean, std = (x.double().cpu().numpy() for x in (out.gate, out.mean, out.std))
            kinds, parts = batch.gate_target.int().numpy(), batch.spatial_target.numpy()
            for row, sample in enumerate(samples.tolist()):
                captions[sample] = [
                    WordRecord(
                        int(dataset.caption_motion[sample]), int(sample - first[sample]), place, word, stem(word),
                        int(kinds[row, place]), bool(parts[row, place, 0] >= 0),
                        float(gate[row, place]), float(mean[row, place]), float(std[row, place]),
                        peak[row, place], share[row, place],
                    )
                    for place, word in enumerate(written[sample])
                ]  # fmt: skip
            bar.update(len(samples))
    return [record for caption in captions for record in caption]


def part_statistics(window: Tensor, spatial: Tensor, lengths: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """``peak`` and ``share`` of :class:`WordRecord`, each (B, L, P), of window (B, L, T) and spatial (B, L, T, P).

    Only the ``lengths`` (B,) valid frames count. Where the window is 0 on all of them, ``share`` is 0.
    """
    inside = torch.arange(window.shape[-1], device=window.device) < lengths[:, None, None]
    peak = torch.where(inside[..., None], spatial, 0).amax(-2)
    weight = torch.where(inside, window, 0)
    total = weight.sum(-1)[..., None]
    share = torch.einsum("blt,bltp->blp", weight.double(), spatial.double()) / torch.where(total > 0, total, 1)
    return peak.double().numpy(), share.numpy()
