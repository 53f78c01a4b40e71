"""From motions to words: greedy, beam and best-first search and scheduled sampling, batched, word by word in Python."""

from m2t_fast.ops.decoding.beam import beam_search
from m2t_fast.ops.decoding.best_first import best_first_search
from m2t_fast.ops.decoding.greedy import greedy_search
from m2t_fast.ops.decoding.result import CaptionAttention, Generation
from m2t_fast.ops.decoding.sampling import sampled_words

__all__ = ["CaptionAttention", "Generation", "beam_search", "best_first_search", "greedy_search", "sampled_words"]
