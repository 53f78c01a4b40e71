"""``part_encoder`` on GPUs: both layers of all parts and streams as one batched product each, forward and backward.

Products take and give the tensors' own dtype, with sums in float32. A part with fewer joints than the largest has zeros
in place of the rest, and a column of ones, whose weights are the first layer's bias.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from m2t_fast.ops.reference import encoder as reference
from m2t_fast.reference.encoder import EncoderInputs, root_relative, velocity

_ALIGNED = 8
"""An operand's columns are a multiple of this: 16 bytes of a short format, which the matrix units load at once."""


def part_encoder(x: EncoderInputs) -> Tensor:
    """Parts (B, T, P, H) of ``ops.part_encoder``."""
    padding = _padding(x)
    hidden = _hidden(_coordinates(x, padding), _first_weights(x))
    batch, frames, count, half = *x.motion.shape[:2], len(x.parts), x.bias2.shape[-1]
    out = x.motion.new_empty(batch, frames, count, 2 * half)
    bias = x.bias2.transpose(0, 1).reshape(2 * count, 1, half)
    torch.baddbmm(bias, hidden, _second_weights(x), out=_by_layer(out, 2 * count))
    return out.tanh_().masked_fill_(padding[:, :, None, None], 0)


def part_encoder_backward(grad: Tensor, x: EncoderInputs, saved: Any, need_motion: bool) -> dict[str, Tensor]:
    """Gradients of the four weight tensors; with that of the motion, which training never needs, as ``reference``."""
    if need_motion:
        return reference.part_encoder_backward(grad, x, saved, need_motion=True)
    padding, count = _padding(x), len(x.parts)
    coordinates = _coordinates(x, padding)
    hidden = _hidden(coordinates, _first_weights(x))
    d_output = torch.ops.aten.tanh_backward(grad.contiguous(), saved.parts.contiguous())
    d_output = d_output.masked_fill_(padding[:, :, None, None], 0)
    d_second = _by_layer(d_output, 2 * count)
    d_weight2 = torch.bmm(hidden.mT, d_second)
    d_first = torch.ops.aten.tanh_backward(torch.bmm(d_second, _second_weights(x).mT), hidden)
    d_weight1 = torch.bmm(coordinates.mT, d_first).unflatten(0, (count, 2))
    layers = [(part, stream, 3 * len(joints)) for stream in range(2) for part, joints in enumerate(x.parts)]
    return dict(
        weight1=torch.cat([d_weight1[part, stream, :n] for part, stream, n in layers]).view_as(x.weight1),
        bias1=torch.stack([d_weight1[part, stream, n] for part, stream, n in layers]).view_as(x.bias1),
        weight2=d_weight2.unflatten(0, (count, 2)).transpose(0, 1).contiguous(),
        bias2=d_output.sum((0, 1)).view(count, 2, -1).transpose(0, 1).contiguous(),
    )


def _padding(x: EncoderInputs) -> Tensor:
    """(B, T) bool: the frames beyond a motion's length."""
    return torch.arange(x.motion.shape[1], device=x.motion.device) >= x.lengths[:, None]


def _columns(x: EncoderInputs) -> int:
    """Inputs of a first layer: coordinates of the part with most joints, one for the bias, and padding."""
    return -(-(3 * max(map(len, x.parts)) + 1) // _ALIGNED) * _ALIGNED


def _coordinates(x: EncoderInputs, padding: Tensor) -> Tensor:
    """What the first layers read, (2P, B*T, columns): part-major, positions before velocities."""
    positions = x.motion.masked_fill(padding[:, :, None, None], 0)
    if not x.relative:
        positions = root_relative(positions)
    sources, columns = (positions, velocity(positions)), _columns(x)
    rest = positions.new_zeros(*positions.shape[:2], columns)
    rest[..., 0] = 1
    pieces = []
    for joints in x.parts:
        for source in sources:  # not by a list of indices: it would go to the device, which waits
            pieces += [source[:, :, joint] for joint in joints] + [rest[..., : columns - 3 * len(joints)]]
    return _by_layer(torch.cat(pieces, dim=-1), 2 * len(x.parts))


def _first_weights(x: EncoderInputs) -> Tensor:
    """(2P, columns, D), the bias in the column of ones."""
    columns = _columns(x)
    rest = x.weight1.new_zeros(columns, x.weight1.shape[-1])
    pieces, row = [], 0
    for part, joints in enumerate(x.parts):
        rows = slice(row, row + 3 * len(joints))
        row = rows.stop
        for stream in range(2):
            pieces += [x.weight1[stream, rows], x.bias1[stream, part, None], rest[: columns - 3 * len(joints) - 1]]
    return torch.cat(pieces).view(2 * len(x.parts), columns, -1)


def _second_weights(x: EncoderInputs) -> Tensor:
    """(2P, D, half)."""
    return x.weight2.transpose(0, 1).flatten(0, 1)


def _hidden(coordinates: Tensor, weights: Tensor) -> Tensor:
    """The first layers' outputs, (2P, B*T, D)."""
    return torch.bmm(coordinates, weights).tanh_()


def _by_layer(tensor: Tensor, layers: int) -> Tensor:
    """(layers, B*T, n) of what lies as (B, T, ..., layers * n), for a batched product to read or write in place."""
    batch, frames = tensor.shape[:2]
    return tensor.view(batch * frames, layers, tensor.shape[2:].numel() // layers).transpose(0, 1)
