"""The op ``additive_attention``: additive (Bahdanau) attention by itself, for any model."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.additive_attention import AdditiveInputs, AdditiveOutput

__all__ = ["AdditiveInputs", "AdditiveOutput", "additive_attention"]

additive_attention = define(reference.additive_attention, file="additive_attention", saves=["weights"])
