"""The op ``attention_keys``: what the attention compares queries with, once per motion."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.attention import KeysInputs, KeysOutput

__all__ = ["KeysInputs", "KeysOutput", "attention_keys"]

NAME = "attention_keys"


def _check(x: KeysInputs) -> None:
    part_count, part_dim = x.parts.shape[2:]
    columns = x.temporal_weight.shape[1]
    if columns not in (part_dim, part_count * part_dim):
        expected = f"H={part_dim} or P*H={part_count * part_dim}"
        raise ValueError(f"{NAME}: temporal_weight has {columns} columns, expected {expected}")


attention_keys = define(reference.attention_keys, file="keys", unread=["temporal_bias", "spatial_bias"], check=_check)
