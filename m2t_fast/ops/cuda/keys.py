"""``attention_keys`` and its gradient, by batched products."""

from m2t_fast.ops.batched_keys import attention_keys, attention_keys_backward

__all__ = ["attention_keys", "attention_keys_backward"]
