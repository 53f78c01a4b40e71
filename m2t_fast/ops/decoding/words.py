"""The ops ``search`` and ``sample_words`` in Python, word by word."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from m2t_fast.ops.decode import DecoderWeights, hypothesis_lengths
from m2t_fast.ops.decoding.attention import caption_attention
from m2t_fast.ops.decoding.beam import beam_search
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.ops.decoding.greedy import greedy_search
from m2t_fast.ops.decoding.sampling import sampled_words


def search(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: list[Tensor],
    beam_size: int,
    max_length: int,
    length_penalty: float,
    force_gate: float | None,
    scale: float,
) -> tuple[Tensor, ...]:
    """The outputs of ``ops.search``, all of max_length words: a search, then one parallel pass for the attention."""
    decoder = Decoder(DecoderWeights(*weights), scale, force_gate)
    memory = Memory(parts, temporal_keys, spatial_keys, lengths)
    if beam_size == 1:
        tokens, scores = greedy_search(decoder, memory, max_length, length_penalty)
    else:
        tokens, scores = beam_search(decoder, memory, beam_size, max_length, length_penalty)
    words = hypothesis_lengths(tokens[:, :1], scores[:, :1])[:, 0]
    width = max(1, int(words.max())) if len(words) else 1
    seen = caption_attention(decoder, memory, tokens[:, 0, :width], words)
    return tokens, scores, *(pad(x, (0, 0) * (x.dim() - 2) + (0, max_length - width)) for x in seen)


def sample_words(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: list[Tensor],
    words: Tensor,
    coins: Tensor,
    input_dropout: Tensor | None,
    mixed_dropout: Tensor | None,
    scale: float,
) -> Tensor:
    """The words of ``ops.sample_words``."""
    decoder = Decoder(DecoderWeights(*weights), scale)
    memory = Memory(parts, temporal_keys, spatial_keys, lengths)
    return sampled_words(decoder, memory, words, coins, (input_dropout, mixed_dropout))
