"""Part encoder in plain PyTorch: joints -> body-part features (section 3.1, "Skeleton partitioning" and "Encoder")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from m2t_fast.records import Index, Kind, Lists, from_fields


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Mask (B, T) bool: True on each motion's ``lengths`` (B,) first frames."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def root_relative(motion: Tensor) -> Tensor:
    """Every joint but the root relative to the root of its frame; the root keeps the global trajectory.

    Args:
        motion: (B, T, J, 3) absolute, standardised positions; joint 0 is the root.
    """
    root = motion[:, :, :1]
    return torch.cat([root, motion[:, :, 1:] - root], dim=2)


def velocity(positions: Tensor) -> Tensor:
    """Frame difference of (B, T, J, 3) positions, 0 at frame 0."""
    return torch.cat([torch.zeros_like(positions[:, :1]), positions[:, 1:] - positions[:, :-1]], dim=1)


def select_joints(source: Tensor, joints: Sequence[int]) -> Tensor:
    """(B, T, 3n) of n joints of (B, T, J, 3). Not by a list of indices: copying it to the device would wait."""
    return torch.cat([source[:, :, joint] for joint in joints], dim=-1)


class EncoderInputs(NamedTuple):
    """Motions, and the layers of P parts; the first layers of all parts lie in one matrix.

    A row of it is one input coordinate: part 0's joints first, joint-major, xyz inner; N is the sum of the parts' joint
    counts. Stream 0 encodes positions, stream 1 velocities.
    """

    motion: Annotated[Tensor, "B T J 3"]
    """Absolute, standardised positions."""
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid frames."""
    weight1: Annotated[Tensor, "2 3*N D"]
    bias1: Annotated[Tensor, "2 P D"]
    weight2: Annotated[Tensor, "2 P D half"]
    """half = H/2."""
    bias2: Annotated[Tensor, "2 P half"]
    parts: Annotated[Sequence[Sequence[int]], Lists("P", "N")]
    """Joint indices of each part."""
    relative: bool = False
    """Every joint of ``motion`` but the root is relative to the root already, as of ``gather_motions``."""


@from_fields(EncoderInputs)
def part_encoder(x: EncoderInputs) -> Annotated[Tensor, Kind("B T P 2*half", "parts")]:
    """P_ik: each part's positions and velocities through FC -> tanh -> FC -> tanh (section 3.1, "Encoder").

    Gives (B, T, P, H), positions in the first half of H; 0 on frames beyond a motion's length.
    """
    mask = valid_frames(x.lengths, x.motion.shape[1])[:, :, None, None]
    # Padding may hold anything, NaN included, and the frame after the last one must not see it.
    positions = torch.where(mask, x.motion, 0)
    if not x.relative:
        positions = root_relative(positions)
    features = []
    row = 0
    for part, joints in enumerate(x.parts):
        halves = []
        rows = slice(row, row + 3 * len(joints))
        for stream, source in enumerate((positions, velocity(positions))):
            coordinates = select_joints(source, joints)
            hidden = torch.tanh(coordinates @ x.weight1[stream, rows] + x.bias1[stream, part])
            halves.append(torch.tanh(hidden @ x.weight2[stream, part] + x.bias2[stream, part]))
        features.append(torch.cat(halves, dim=-1))
        row = rows.stop
    return torch.where(mask, torch.stack(features, dim=2), 0)
