"""The ops ``search`` and ``sample_words`` in Python, word by word."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

from m2t_fast.ops.decode import SampleInputs, SearchInputs, SearchOutput, hypothesis_lengths
from m2t_fast.ops.decoding.attention import caption_attention
from m2t_fast.ops.decoding.beam import beam_search
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.ops.decoding.greedy import greedy_search
from m2t_fast.ops.decoding.sampling import sampled_words


def search(x: SearchInputs) -> SearchOutput:
    """The outputs of ``ops.search``, all of max_length words: a search, then one parallel pass for the attention."""
    decoder = Decoder(x.weights, x.scale, x.force_gate)
    memory = Memory(x.parts, x.temporal_keys, x.spatial_keys, x.lengths)
    return search_with(decoder, memory, x.beam_size, x.max_length, x.length_penalty)


def search_with(
    decoder: Decoder, memory: Memory, beam_size: int, max_length: int, length_penalty: float
) -> SearchOutput:
    """:func:`search` by any decoder."""
    if beam_size == 1:
        tokens, scores = greedy_search(decoder, memory, max_length, length_penalty)
    else:
        tokens, scores = beam_search(decoder, memory, beam_size, max_length, length_penalty)
    words = hypothesis_lengths(tokens[:, :1], scores[:, :1])[:, 0]
    width = max(1, int(words.max())) if len(words) else 1
    seen = caption_attention(decoder, memory, tokens[:, 0, :width], words)
    wide = {name: pad(y, (0, 0) * (y.dim() - 2) + (0, max_length - width)) for name, y in seen._asdict().items()}
    return SearchOutput(tokens, scores, **wide)


def sample_words(x: SampleInputs) -> Tensor:
    """The words of ``ops.sample_words``."""
    decoder = Decoder(x.weights, x.scale)
    memory = Memory(x.parts, x.temporal_keys, x.spatial_keys, x.lengths)
    return sampled_words(decoder, memory, x.words, x.coins, (None, None) if x.dropout is None else x.dropout)
