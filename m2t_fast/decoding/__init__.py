"""From motions to words: greedy and beam search, batched."""

from m2t_fast.decoding.attention import with_attention
from m2t_fast.decoding.beam import beam_search
from m2t_fast.decoding.greedy import greedy_search
from m2t_fast.decoding.result import GeneratedAttention, Generation

__all__ = ["GeneratedAttention", "Generation", "beam_search", "greedy_search", "with_attention"]
