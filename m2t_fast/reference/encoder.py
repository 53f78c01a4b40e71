"""Part encoder in plain PyTorch: joints -> body-part features (section 3.1, "Skeleton partitioning" and "Encoder")."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
    """(B, T, 3n) of n joints of (B, T, J, 3). Not by a list of indices: it would go to the device, which waits."""
    return torch.cat([source[:, :, joint] for joint in joints], dim=-1)


def part_encoder(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    parts: Sequence[Sequence[int]],
    relative: bool = False,
) -> Tensor:
    """P_ik: each part's positions and velocities through FC -> tanh -> FC -> tanh, concatenated.

    The first layers of all parts lie in one matrix, a row per input coordinate: part 0's joints first, joint-major,
    xyz inner. N below is the sum of the parts' joint counts. Stream 0 encodes positions, stream 1 velocities.

    Args:
        motion: (B, T, J, 3) absolute, standardised positions.
        lengths: (B,) int64 valid frames.
        weight1: (2, 3N, D); bias1: (2, P, D).
        weight2: (2, P, D, H/2); bias2: (2, P, H/2).
        parts: joint indices of each part.
        relative: every joint of ``motion`` but the root is relative to the root already.

    Returns:
        (B, T, P, H), positions in the first half of H; 0 on frames beyond a motion's length.
    """
    mask = valid_frames(lengths, motion.shape[1])[:, :, None, None]
    # Padding may hold anything, NaN included, and the frame after the last one must not see it.
    positions = torch.where(mask, motion, 0)
    if not relative:
        positions = root_relative(positions)
    features = []
    row = 0
    for part, joints in enumerate(parts):
        halves = []
        rows = slice(row, row + 3 * len(joints))
        for stream, source in enumerate((positions, velocity(positions))):
            x = select_joints(source, joints)
            hidden = torch.tanh(x @ weight1[stream, rows] + bias1[stream, part])
            halves.append(torch.tanh(hidden @ weight2[stream, part] + bias2[stream, part]))
        features.append(torch.cat(halves, dim=-1))
        row = rows.stop
    return torch.where(mask, torch.stack(features, dim=2), 0)
