"""Captions of many motions, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tqdm import tqdm

from m2t_fast.captioner import Captioner
from m2t_fast.config import Search
from m2t_fast.data.batches import MotionBatch, motion_batches
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.ops.decoding.result import GeneratedAttention, Generation


class Hypothesis(NamedTuple):
    """One caption that a search found."""

    caption: str
    """Words joined by spaces; may be empty."""
    score: float
    """Log-probability / length ** length_penalty; of a best-first search, the mean log-probability."""


def generate_batches(
    model: Captioner, batches: Iterable[MotionBatch], **search: Any
) -> Iterator[tuple[MotionBatch, Generation]]:
    """Each batch with its captions, all tensors on the CPU; ``search`` are options of :meth:`Captioner.generate`.

    Batches go to the model's device and dtype. The model is in evaluation mode while it works and afterwards in the
    mode it was in.
    """
    weight = model.embedding.weight
    for batch in batches:
        training = model.training
        model.eval()
        try:
            found = model.generate(
                batch.motion.to(weight.device, weight.dtype), batch.lengths.to(weight.device), **search
            )
        finally:
            model.train(training)
        attention = GeneratedAttention(*(tensor.cpu() for tensor in found.attention))
        yield batch, Generation(found.tokens.cpu(), found.scores.cpu(), attention)


def hypotheses_of(generation: Generation, row: int, vocabulary: Vocabulary) -> list[Hypothesis]:
    """The captions of motion ``row`` of a batch, best first: K, or as many as exist."""
    return [
        Hypothesis(vocabulary.decode(tokens), score)
        for tokens, score in zip(generation.tokens[row], generation.scores[row].tolist(), strict=True)
        if score != float("-inf")
    ]


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
    ``progress`` shows a bar on stderr. Of several ``processes`` each captions its share, and all get all captions.

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
    with tqdm(total=dataset.motions, unit="motion", desc="captioning", disable=not progress, leave=False) as bar:
        for batch, generation in batches:
            for row, number in enumerate(batch.index.tolist()):
                own[number] = hypotheses_of(generation, row, vocabulary)
            bar.update(len(batch.index) * processes.size)
    captions = {number: found for part in processes.gather(own) for number, found in part.items()}
    return [captions[number] for number in range(dataset.motions)]
