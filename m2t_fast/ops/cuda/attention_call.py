"""The attention's CUDA kernels with the sizes of one call, and the workspaces they pass on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.config import SIGMA_MIN
from m2t_fast.extension import record
from m2t_fast.ops.cuda.launch import extension, run
from m2t_fast.reference.attention import AttentionInputs

NAME = "spatio_temporal_attention"
LETTERS = ("B", "T", "L", "P", "S", "H", "D")
SIZES = ("batch", "frames", "words", "parts", "slots", "part_dim", "attention_dim")
"""The same as the kernels name them."""
BLOCKS_WANTED = 2048
"""Blocks among which a gradient's tiles of keys should be divided: several waves on a large device."""
THREADS = 128
"""Attention dimensions of such a block."""


class Call(NamedTuple):
    """The kernels for one call's sizes. Tensors that it takes are contiguous, in a stored dtype."""

    like: Tensor
    lengths: Tensor
    sizes: tuple[int, ...]
    """As LETTERS names them."""
    half: bool = False
    """Whether the numbers of float32 tensors are those of float16 ones: then several rows of weights are summed as
    exactly as a tanh in float16 is."""

    @classmethod
    def of(cls, x: AttentionInputs, dtype: torch.dtype) -> Call:
        """For inputs in a stored dtype, which were in ``dtype``."""
        batch, frames, part_count, part_dim = x.parts.shape
        slots, dim = x.temporal_keys.shape[2:]
        words = x.temporal_query.shape[1]
        sizes = (batch, frames, words, part_count, slots, part_dim, dim)
        return cls(x.parts, x.lengths, sizes, dtype == torch.float16)

    def run(self, kernel: str, **task: Any) -> None:
        """Launches a kernel, with the fields of its task but for the sizes."""
        sizes = dict(zip(SIZES, self.sizes, strict=True))
        run(NAME, kernel, self.like, dict(zip(LETTERS, self.sizes, strict=True)), task={**task, "sizes": sizes})

    def scores(
        self, keys: Tensor, query: Tensor, weight: Tensor, stats: Tensor | None = None, exact: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Scores (B, L, T * S * R) float32 of keys (B, T, S, D), query (B, L, D), weight (R, D); no padding is written.

        With ``exact``, for tensors in float32, also what is to be added to them; with ``stats`` tiles of frames that
        no word looks at are not written.
        """
        batch, frames, words, _, slots, *_ = self.sizes
        out = keys.new_empty(batch, words, frames * slots * weight.shape[0], dtype=torch.float32)
        rest = torch.empty_like(out) if exact and keys.dtype == torch.float32 else None
        self.run(
            "attention_scores",
            rows=weight.shape[0],
            half=self.half,
            keys=keys,
            query=query,
            weight=weight,
            lengths=self.lengths,
            stats=stats,
            scores=out,
            rest=rest,
        )
        return out, rest

    def moments(
        self,
        temporal: Tensor,
        rest: Tensor | None,
        reach: float = 0.0,
        mean: Tensor | None = None,
        std: Tensor | None = None,
    ) -> Tensor:
        """What the kernels keep of every word, (B, L, WordStats); means and deviations go where they are wanted."""
        stats = temporal.new_empty(self.sizes[0], self.sizes[2], record(extension(), "WordStats").size // 4)
        self.run(
            "attention_moments",
            temporal=temporal,
            rest=rest,
            lengths=self.lengths,
            smallest_variance=SIGMA_MIN**2,
            reach=reach,
            stats=stats,
            mean=mean,
            std=std,
        )
        return stats

    def score_gradient(
        self, keys: Tensor, query: Tensor, weight: Tensor, d_scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of keys, query and weight from that of the scores, as :meth:`scores` gives them."""
        batch, frames, words, _, slots, _, dim = self.sizes
        rows = weight.shape[0]
        d_keys = torch.empty_like(keys)
        blocks = batch * -(-dim // THREADS)
        # 16 frames at least: the shares of d_query (B, tiles, L, D) stay far below words x frames x dimensions.
        per_tile = max(16 * -(-frames * slots * blocks // (16 * BLOCKS_WANTED)), 16 * slots)
        tiles = -(-frames * slots // per_tile)
        d_query = d_scores.new_empty(batch, tiles, words, dim)
        d_weight = d_scores.new_empty(batch * tiles, rows, dim)
        self.run(
            "attention_score_gradient",
            rows=rows,
            keys_per_tile=per_tile,
            keys=keys,
            query=query,
            weight=weight,
            lengths=self.lengths,
            d_scores=d_scores,
            d_keys=d_keys,
            d_query=d_query,
            d_weight=d_weight,
        )
        return d_keys, d_query.sum(1), d_weight.sum(0)
