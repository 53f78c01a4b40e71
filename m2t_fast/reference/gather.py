"""Gathering motions in plain PyTorch: ragged frames -> a padded batch, standardised and root-relative."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Data, Index, Size, from_fields
from m2t_fast.reference.encoder import root_relative, valid_frames


class GatherInputs(NamedTuple):
    """A ragged store of N motions, and which of them are wanted."""

    frames: Annotated[Tensor, Data("F J 3")]
    """Positions of all motions, one after the other; joint 0 is the root."""
    offsets: Annotated[Tensor, Index("N+1", 0, "F")]
    """Motion n is ``frames[offsets[n]:offsets[n + 1]]``."""
    index: Annotated[Tensor, Index("B", 0, "N-1")]  # type: ignore[assignment]  # tuples have a method of this name
    """Motions wanted, in any order, repeats allowed."""
    width: Annotated[int, Size("T")]
    """Frames of the result."""
    mean: Annotated[Tensor, Data("3")] | None = None
    """Of each axis, and std: standardise by them; None: the frames are standardised."""
    std: Annotated[Tensor, Data("3")] | None = None


@from_fields(GatherInputs)
def gather_motions(x: GatherInputs) -> Annotated[Tensor, Data("B T J 3", "motion")]:
    """Motions of a ragged store as one batch that the encoder reads (contract, model point 1).

    Every joint but the root is relative to the root of its frame, as ``part_encoder(..., relative=True)`` takes it; 0
    beyond the end of a motion. No requested motion may be longer than the width.
    """
    begin = x.offsets[x.index]
    rows = begin[:, None] + torch.arange(x.width, device=x.frames.device)
    mask = valid_frames(x.offsets[x.index + 1] - begin, x.width)
    # A row behind the end is another motion's, or none: row 0 stands in, and is not seen.
    frames = x.frames
    motion = frames[torch.where(mask, rows, 0)] if len(frames) else frames.new_zeros(*rows.shape, *frames.shape[1:])
    if x.mean is not None and x.std is not None:
        motion = (motion - x.mean) / x.std
    return torch.where(mask[:, :, None, None], root_relative(motion), 0)
