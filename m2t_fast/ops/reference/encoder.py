"""``part_encoder`` and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.encoder import EncoderInputs, root_relative, select_joints, valid_frames, velocity


def part_encoder(x: EncoderInputs) -> Tensor:
    """``reference.part_encoder``."""
    return reference.part_encoder(*x)


@in_float32
def part_encoder_backward(grad: Tensor, x: EncoderInputs, saved: Any, need_motion: bool) -> dict[str, Tensor]:
    """Gradients of the motion, if it is asked for, and of the four weight tensors."""
    mask = valid_frames(x.lengths, x.motion.shape[1])[:, :, None, None]
    positions = torch.where(mask, x.motion, 0)
    if not x.relative:
        positions = root_relative(positions)
    sources = (positions, velocity(positions))
    d_sources = tuple(torch.zeros_like(s) for s in sources) if need_motion else ()
    d_weight1, d_bias1, d_weight2, d_bias2 = map(torch.zeros_like, (x.weight1, x.bias1, x.weight2, x.bias2))
    d_output = torch.where(mask, grad, 0) * (1 - saved.parts.square())
    half = x.bias2.shape[-1]
    row = 0
    for part, joints in enumerate(x.parts):
        rows = slice(row, row + 3 * len(joints))
        row = rows.stop
        for stream, source in enumerate(sources):
            coordinates = select_joints(source, joints)
            hidden = torch.tanh(coordinates @ x.weight1[stream, rows] + x.bias1[stream, part])
            d2 = d_output[:, :, part, stream * half : (stream + 1) * half]
            d1 = (d2 @ x.weight2[stream, part].T) * (1 - hidden.square())
            d_weight2[stream, part] = hidden.flatten(0, 1).T @ d2.flatten(0, 1)
            d_bias2[stream, part] = d2.sum(dim=(0, 1))
            d_weight1[stream, rows] = coordinates.flatten(0, 1).T @ d1.flatten(0, 1)
            d_bias1[stream, part] = d1.sum(dim=(0, 1))
            if need_motion:
                d_coordinates = (d1 @ x.weight1[stream, rows].T).unflatten(2, (-1, 3))
                for joint, gradient in zip(joints, d_coordinates.unbind(2), strict=True):
                    d_sources[stream][:, :, joint] += gradient
    found = dict(weight1=d_weight1, bias1=d_bias1, weight2=d_weight2, bias2=d_bias2)
    if not need_motion:
        return found
    d_positions, d_velocity = d_sources
    d_positions[:, 1:] += d_velocity[:, 1:]
    d_positions[:, :-1] -= d_velocity[:, 1:]
    if not x.relative:  # every joint but the root had the root subtracted
        d_positions[:, :, 0] -= d_positions[:, :, 1:].sum(dim=2)
    return dict(motion=torch.where(mask, d_positions, 0), **found)
