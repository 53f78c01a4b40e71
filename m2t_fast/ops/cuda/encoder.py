"""``part_encoder`` and its gradient, by batched products."""

from m2t_fast.ops.batched_encoder import part_encoder, part_encoder_backward

__all__ = ["part_encoder", "part_encoder_backward"]
