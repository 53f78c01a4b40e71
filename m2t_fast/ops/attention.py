"""The ops ``spatio_temporal_attention`` and, for a search, its context alone."""

from __future__ import annotations

from torch import Tensor

from m2t_fast import reference
from m2t_fast.ops import registry
from m2t_fast.ops.define import define
from m2t_fast.records import Wide
from m2t_fast.reference.attention import AttentionInputs, AttentionOutput

__all__ = ["AttentionInputs", "AttentionOutput", "spatio_temporal_attention", "spatio_temporal_context"]

spatio_temporal_attention = define(
    reference.spatio_temporal_attention,
    file="attention",
    keeps={"gamma": Wide("B L T S")},
    saves_if_kept=["spatial"],
    trained=["context", "spatial"],
)


def _of_the_attention(backend: str, x: AttentionInputs) -> Tensor:
    context: Tensor = registry.call("spatio_temporal_attention", backend, x).context
    return context


spatio_temporal_context = define(
    reference.spatio_temporal_context,
    file="attention",
    differentiable=False,
    otherwise=_of_the_attention,
    made_of=["spatio_temporal_attention"],
)
"""A kernel for it may leave out frames whose window is far below the dtype's resolution."""
