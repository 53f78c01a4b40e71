"""From motions to captions, for all callers: motions of similar length padded together, searches, words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.modes import evaluating
from m2t_fast.captioning.padding import padded_batches
from m2t_fast.captioning.trust import Judge, Trust
from m2t_fast.captioning.words import WordAttention, caption_words
from m2t_fast.config import Search
from m2t_fast.data.batches import MotionBatch, motion_batches
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.preprocessing import downsample
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.progress import Progress
from m2t_fast.run_folder import Run


class Hypothesis(NamedTuple):
    """One caption that a search found."""

    caption: str
    """Words joined by spaces; may be empty."""
    score: float
    """Log-probability / length ** length_penalty; of a best-first search, the mean log-probability."""


@dataclass(frozen=True)
class Captioned:
    """A motion and what a run says about it.

    ``joints`` (T, J, 3): the kept frames that the model read, absolute, in the run's unit, Y up; ``captions`` best
    first; ``words`` of the best one, with the attention of each; ``trust``: what speaks against it.
    """

    joints: np.ndarray
    captions: list[Hypothesis]
    words: list[WordAttention]
    trust: Trust = Trust()


def generate_batches(
    model: Captioner, batches: Iterable[MotionBatch], **search: Any
) -> Iterator[tuple[MotionBatch, Generation]]:
    """Each batch with its captions; ``search`` are options of :meth:`Captioner.generate`.

    Batches go to the model's device and dtype; tokens and scores come back to the CPU, the attention when it is asked
    for. The model is in evaluation mode while it works and afterwards in the mode it was in.
    """
    weight = model.embedding.weight
    for batch in batches:
        with evaluating(model):
            found = model.generate(
                batch.motion.to(weight.device, weight.dtype), batch.lengths.to(weight.device), **search
            )
        yield batch, found._replace(tokens=found.tokens.cpu(), scores=found.scores.cpu())


def hypotheses_of(generation: Generation, row: int, vocabulary: Vocabulary) -> list[Hypothesis]:
    """The captions of motion ``row`` of a batch, best first: K, or as many as exist."""
    return [
        Hypothesis(vocabulary.decode(tokens), score)
        for tokens, score in zip(generation.tokens[row], generation.scores[row].tolist(), strict=True)
        if score != float("-inf")
    ]


def caption_joints(
    run: Run, motions: Sequence[np.ndarray], batch_size: int = 64, progress: bool = False, **search: Any
) -> list[Captioned]:
    """What a run says about motions (T, J, 3) at its skeleton's frame rate, in its unit, Y up; in their order.

    ``search`` are options of :meth:`Captioner.generate`; ``progress`` shows on stderr how far it is.
    """
    judge = Judge(run)
    kept = [downsample(joints, run.settings) for joints in motions]
    batches = padded_batches([torch.from_numpy(run.statistics.apply(joints)) for joints in kept], batch_size)
    found: dict[int, Captioned] = {}
    with Progress(len(motions), "captioning", shown=progress) as bar:
        for batch, generation in generate_batches(run.model, batches, **search):
            distances = judge.distances(run.model, batch)
            for row, index in enumerate(batch.index.tolist()):
                captions = hypotheses_of(generation, row, run.vocabulary)
                words = caption_words(generation, row, len(kept[index]), run.vocabulary)
                trust = judge.verdict(judge.look(motions[index]), distances[row])
                found[index] = Captioned(kept[index], captions, words, trust)
            bar.update(len(batch.index))
    return [found[index] for index in range(len(motions))]


def caption_motions(
    model: Captioner,
    dataset: MotionDataset,
    vocabulary: Vocabulary,
    beam_size: int = 1,
    batch_size: int = 64,
    max_length: int | None = None,
    length_penalty: float = 1.0,
    force_gate: float | None = None,
    search: Search = "beam",
    progress: bool = False,
    processes: Processes = ALONE,
) -> list[list[Hypothesis]]:
    """The captions of every motion of a split, in the order of ``dataset.ids``; per motion the n best, best first.

    Motions are batched by length, on the model's device. The arguments are those of :meth:`Captioner.generate`;
    ``progress`` shows on stderr how far it is. Of several ``processes`` each captions its share, and all get all
    captions.

    Raises:
        ValueError: an argument is out of range, or the motions do not have the model's joints.
    """
    own: dict[int, list[Hypothesis]] = {}
    batches = generate_batches(
        model,
        motion_batches(dataset, batch_size, processes),
        beam_size=beam_size,
        max_length=max_length,
        length_penalty=length_penalty,
        force_gate=force_gate,
        search=search,
    )
    with Progress(dataset.motions, "captioning", shown=progress) as bar:
        for batch, generation in batches:
            for row, number in enumerate(batch.index.tolist()):
                own[number] = hypotheses_of(generation, row, vocabulary)
            bar.update(len(batch.index) * processes.size)
    captions = {number: found for part in processes.gather(own) for number, found in part.items()}
    return [captions[number] for number in range(dataset.motions)]
