"""Gathering motions in plain PyTorch: ragged frames -> a padded batch, standardised and root-relative."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.encoder import root_relative, valid_frames


def gather_motions(
    frames: Tensor,
    offsets: Tensor,
    index: Tensor,
    width: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
) -> Tensor:
    """Motions of a ragged store as the encoder reads them (contract, model point 1).

    Args:
        frames: (F, J, 3) positions of all motions, one after the other; joint 0 is the root.
        offsets: (N+1,) int64; motion n is ``frames[offsets[n]:offsets[n + 1]]``.
        index: (B,) int64 motions.
        width: T, frames of the result.
        mean: (3,) of each axis, and std (3,): standardise by them; None: the frames are standardised.

    Returns:
        (B, T, J, 3), every joint but the root relative to the root of its frame; 0 behind the end of a motion.
    """
    begin = offsets[index]
    rows = begin[:, None] + torch.arange(width, device=frames.device)
    mask = valid_frames(offsets[index + 1] - begin, width)
    # A row behind the end is another motion's, or none: row 0 stands in, and is not seen.
    motion = frames[torch.where(mask, rows, 0)] if len(frames) else frames.new_zeros(*rows.shape, *frames.shape[1:])
    if mean is not None and std is not None:
        motion = (motion - mean) / std
    return torch.where(mask[:, :, None, None], root_relative(motion), 0)
