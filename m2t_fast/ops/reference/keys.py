"""``attention_keys`` and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops.reference import in_float32
from m2t_fast.reference.attention import KeysInputs, KeysOutput
from m2t_fast.reference.encoder import valid_frames


def attention_keys(x: KeysInputs) -> KeysOutput:
    """``reference.attention_keys``."""
    return reference.attention_keys(*x)


@in_float32
def attention_keys_backward(grads: KeysOutput, x: KeysInputs) -> dict[str, Tensor]:
    """Gradients of parts, and of weight and bias of the temporal and of the spatial keys (None: not used)."""
    mask = valid_frames(x.lengths, x.parts.shape[1])[:, :, None, None]
    per_key = torch.where(mask, x.parts, 0).reshape(-1, x.temporal_weight.shape[1])
    d_parts, found = torch.zeros_like(per_key), {}
    both = (("temporal", grads.temporal_keys, x.temporal_weight), ("spatial", grads.spatial_keys, x.spatial_weight))
    for name, grad, weight in both:
        if grad is None:
            found[f"{name}_weight"], found[f"{name}_bias"] = torch.zeros_like(weight), weight.new_zeros(len(weight))
            continue
        d_keys = torch.where(mask, grad, 0).flatten(0, 2)
        d_parts += d_keys @ weight
        found[f"{name}_weight"], found[f"{name}_bias"] = d_keys.T @ per_key, d_keys.sum(0)
    return dict(parts=d_parts.view_as(x.parts), **found)
