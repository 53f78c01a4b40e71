"""``attention_keys`` on GPUs: one product for all keys of a kind, in the tensors' own dtype with sums in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.reference.attention import KeysInputs, KeysOutput


def attention_keys(x: KeysInputs) -> KeysOutput:
    """Temporal and spatial keys (B, T, S, D) of ``ops.attention_keys``."""
    padding, rows = _padding(x), _rows(x)
    batch, frames, parts, width = x.parts.shape
    slots = parts * width // x.temporal_weight.shape[1]

    def keys(weight: Tensor, bias: Tensor) -> Tensor:
        made = torch.addmm(bias, rows, weight.T).view(batch, frames, slots, len(weight))
        return made.masked_fill_(padding, 0)

    return KeysOutput(keys(x.temporal_weight, x.temporal_bias), keys(x.spatial_weight, x.spatial_bias))


def attention_keys_backward(grads: KeysOutput, x: KeysInputs) -> dict[str, Tensor]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys (None: not used)."""
    padding, rows = _padding(x), _rows(x)
    found: dict[str, Tensor] = {}
    d_rows: Tensor | None = None
    both = (("temporal", grads.temporal_keys, x.temporal_weight), ("spatial", grads.spatial_keys, x.spatial_weight))
    for name, grad, weight in both:
        if grad is None:
            found[f"{name}_weight"], found[f"{name}_bias"] = torch.zeros_like(weight), weight.new_zeros(len(weight))
            continue
        d_keys = grad.masked_fill(padding, 0).flatten(0, 2)
        d_rows = d_keys @ weight if d_rows is None else torch.addmm(d_rows, d_keys, weight)
        found[f"{name}_weight"], found[f"{name}_bias"] = d_keys.T @ rows, d_keys.sum(0)
    return dict(parts=torch.zeros_like(x.parts) if d_rows is None else d_rows.view_as(x.parts), **found)


def _padding(x: KeysInputs) -> Tensor:
    """(B, T, 1, 1) bool: the frames beyond a motion's length."""
    return (torch.arange(x.parts.shape[1], device=x.parts.device) >= x.lengths[:, None])[:, :, None, None]


def _rows(x: KeysInputs) -> Tensor:
    """What a key reads, (B * T * S, inputs): one part, or the parts of a frame."""
    return x.parts.masked_fill(_padding(x), 0).reshape(-1, x.temporal_weight.shape[1])
