"""The captions that are drawn one by one: all that the model attended to for each word of a few motions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from m2t_fast.captioning.pipeline import generate_batches
from m2t_fast.captioning.words import caption_words
from m2t_fast.data.batches import MotionBatch
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.raw import Segment
from m2t_fast.errors import UserError
from m2t_fast.ops.decoding.result import CaptionAttention, Generation
from m2t_fast.run_folder import Run
from m2t_fast.wording import counted


@dataclass(frozen=True, eq=False)
class Sample:
    """One caption of one motion with L words: ``gate`` (L,), ``window`` (L, T), ``spatial`` (L, T, P), ``mean`` and
    ``std`` (L,), in kept frames, ``fps`` of them per second, frame 0 at ``start`` seconds of the file; the motion's
    ``references`` and what happens in it."""

    id: str
    words: list[str]
    gate: np.ndarray
    window: np.ndarray
    spatial: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    fps: float
    references: list[str]
    segments: list[Segment] | None
    start: float = 0.0

    @property
    def frames(self) -> int:
        """T, the motion's kept frames."""
        return int(self.window.shape[1])

    @property
    def caption(self) -> str:
        """The words, joined."""
        return " ".join(self.words)


def choose(dataset: MotionDataset, wanted: Sequence[str]) -> list[int]:
    """The numbers of the motions that an option names: ids, or how many, spread evenly over the split.

    A single whole number that is not itself an id says how many.

    Raises:
        UserError: an id that the split does not have, or the number is below 0.
    """
    if len(wanted) == 1 and wanted[0] not in dataset.ids and wanted[0].isdecimal():
        count = min(int(wanted[0]), dataset.motions)
        return [(2 * number + 1) * dataset.motions // (2 * count) for number in range(count)]
    places = {motion_id: number for number, motion_id in enumerate(dataset.ids)}
    for motion_id in wanted:
        if motion_id not in places:
            raise UserError(
                f"--samples: {motion_id!r} is not an id of the {dataset.split} split, which has {dataset.ids[0]} and "
                f"{counted(dataset.motions - 1, 'other')}; expected ids or how many"
            )
    return list(dict.fromkeys(places[motion_id] for motion_id in wanted))


def collect_samples(
    run: Run, dataset: MotionDataset, numbers: Sequence[int], references: bool = False, **search: Any
) -> list[Sample]:
    """The samples of these motions, except where the caption is empty.

    Args:
        references: read each motion's first reference caption instead of finding one.
        search: options of :meth:`Captioner.generate` for the captions that are found.
    """
    samples = []
    for number in numbers:
        motion = dataset.motion(number)
        lengths, index = (torch.tensor([x], device="cpu") for x in (len(motion), number))
        batch = MotionBatch(motion[None], lengths, index)
        if references:
            found, written = _read(run, dataset, batch), dataset.references[number][0].split()
        else:
            _, found = next(generate_batches(run.model, [batch], **search))
            written = None
        words = caption_words(found, 0, len(motion), run.vocabulary)
        if not words:
            continue
        samples.append(
            Sample(
                id=dataset.ids[number],
                words=written or [word.word for word in words],
                gate=np.array([word.gate for word in words]),
                mean=np.array([word.mean for word in words]),
                std=np.array([word.std for word in words]),
                window=torch.stack([word.window for word in words]).double().numpy(),
                spatial=torch.stack([word.spatial for word in words]).double().numpy(),
                fps=dataset.fps,
                start=dataset.start,
                references=dataset.references[number],
                segments=dataset.segments[number] if dataset.segments else None,
            )
        )
    return samples


@torch.no_grad()
def _read(run: Run, dataset: MotionDataset, batch: MotionBatch) -> Generation:
    """The motion's first reference caption as if it had been found."""
    sample = int(torch.searchsorted(dataset.caption_motion, batch.index[0]))
    tokens = dataset.tokens[int(dataset.token_offsets[sample]) : int(dataset.token_offsets[sample + 1])][None]
    weight = run.model.embedding.weight
    out = run.model(
        batch.motion.to(weight.device, weight.dtype), batch.lengths.to(weight.device), tokens.to(weight.device)
    )
    attention = CaptionAttention(out.gate, out.window, out.spatial, out.mean, out.std)
    return Generation(tokens[:, None, 1:], torch.zeros(1, 1, device="cpu"), attention)
