"""Motions of similar length, padded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from m2t_fast.data.batches import MotionBatch


def padded_batches(motions: Sequence[Tensor], batch_size: int, most_frames: int | None = None) -> Iterator[MotionBatch]:
    """Motions (T, J, 3) of similar length together, shortest first; ``index`` is the place in ``motions``.

    ``most_frames``: of a batch of several motions, padding included; bounds its memory.
    """
    rows: list[int] = []
    for row in sorted(range(len(motions)), key=lambda row: len(motions[row])):
        frames = (len(rows) + 1) * len(motions[row])
        if rows and (len(rows) == batch_size or (most_frames is not None and frames > most_frames)):
            yield _padded(motions, rows)
            rows = []
        rows.append(row)
    if rows:
        yield _padded(motions, rows)


def _padded(motions: Sequence[Tensor], rows: list[int]) -> MotionBatch:
    batch = [motions[row] for row in rows]
    lengths = torch.tensor([len(motion) for motion in batch], device="cpu")
    return MotionBatch(pad_sequence(batch, batch_first=True), lengths, torch.tensor(rows, device="cpu"))
