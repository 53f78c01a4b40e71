"""The ops ``search`` and ``sample_words``: whole captions word by word, without gradients.

A backend implements them as one call each, so that no word costs a return to Python; where it has none, the searches of
``m2t_fast.ops.decoding`` run on the ops of the backend.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from m2t_fast.config import EOS, SOS
from m2t_fast.ops.checks import autocast, check_same_float, check_shape, checked_indices
from m2t_fast.ops.gate import check_force_gate
from m2t_fast.ops.registry import chosen_backend, implementation


class DecoderWeights(NamedTuple):
    """All weights of a decoder, in the order in which the ops take them; M: width of the hidden layer of eq. 10."""

    embedding: Tensor
    """(V, E)."""
    bottom_input: Tensor
    """(4C, E): bottom LSTM, gates i, f, g, o."""
    bottom_hidden: Tensor
    """(4C, C)."""
    bottom_input_bias: Tensor
    """(4C,)."""
    bottom_hidden_bias: Tensor
    """(4C,)."""
    top_input: Tensor
    """(4C, C): top LSTM."""
    top_hidden: Tensor
    """(4C, C)."""
    top_input_bias: Tensor
    """(4C,)."""
    top_hidden_bias: Tensor
    """(4C,)."""
    temporal_query: Tensor
    """(D, C): W_h of eq. 2."""
    temporal_query_bias: Tensor
    """(D,)."""
    spatial_query: Tensor
    """(D, C): W_hs of eq. 5."""
    spatial_query_bias: Tensor
    """(D,)."""
    temporal_weight: Tensor
    """(D,)."""
    spatial_weight: Tensor
    """(P, D) with one key a frame, (1, D) with one a part and frame."""
    spatial_bias: Tensor
    """(P,) or (1,)."""
    gate_hidden: Tensor
    """(C,): eq. 7."""
    gate_word: Tensor
    """(E,)."""
    gate_bias: Tensor
    """()."""
    context: Tensor
    """(D, H): W_c of eq. 9."""
    context_bias: Tensor
    """(D,)."""
    language: Tensor
    """(D, C): W_r of eq. 9."""
    language_bias: Tensor
    """(D,)."""
    mixture: Tensor
    """(M, E + D + C): eq. 10's hidden layer, columns in the order [word; adaptive context; hidden]."""
    mixture_bias: Tensor
    """(M,)."""
    output: Tensor
    """(V, M)."""
    output_bias: Tensor
    """(V,)."""


class SearchOutput(NamedTuple):
    """Captions of B motions, K hypotheses each, best first, and the attention of the best."""

    tokens: Tensor
    """(B, K, W) int64 without <sos>; <pad> after <eos>. W is the longest hypothesis, at most max_length."""
    scores: Tensor
    """(B, K), float32 or float64: log-probability / length ** length_penalty; -inf where fewer than K captions
    exist, and nan for a motion whose logits are not numbers, which may have no caption."""
    gate: Tensor
    """(B, W), and this and the following are 0 after the caption's end."""
    window: Tensor
    """(B, W, T)."""
    spatial: Tensor
    """(B, W, T, P)."""
    mean: Tensor
    """(B, W)."""
    std: Tensor
    """(B, W)."""


@torch.no_grad()
def search(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: DecoderWeights,
    beam_size: int = 2,
    max_length: int = 40,
    length_penalty: float = 1.0,
    force_gate: float | None = None,
    scale: float = 1.0,
) -> SearchOutput:
    """Greedy search with ``beam_size=1``, else beam search as ``m2t_fast.ops.decoding.beam`` describes it.

    Args:
        parts: (B, T, P, H) body-part features. temporal_keys, spatial_keys: (B, T, S, D), S = 1 or S = P.
        lengths: (B,) int64 valid frames, 1 <= length <= T.
        weights: the decoder's.
        beam_size: K >= 1. max_length: longest caption in words, <eos> included, >= 1.
        length_penalty: power of the length that divides a log-probability, >= 0.
        force_gate: replaces beta at every word, in [0, 1], or None. scale: rho of eq. 8.

    Of equally likely words the one with the lowest number wins where the two floats are equal; backends that round
    differently may decide near ties differently.

    Raises:
        ValueError: a shape or device does not fit, or a number is out of range. TypeError: a dtype does not fit.
    """
    check_search(beam_size, max_length, length_penalty, force_gate)
    parts, temporal_keys, spatial_keys = autocast(parts, temporal_keys, spatial_keys)
    weights = DecoderWeights(*autocast(*weights))
    lengths = _checked("search", parts, temporal_keys, spatial_keys, lengths, weights)
    found = SearchOutput(
        *torch.ops.m2t_fast.search(
            parts,
            temporal_keys,
            spatial_keys,
            lengths,
            list(weights),
            beam_size,
            max_length,
            length_penalty,
            force_gate,
            scale,
            chosen_backend(),
        )
    )
    words = hypothesis_lengths(found.tokens, found.scores)
    width = max(1, int(words.max())) if words.numel() else 1
    tokens, scores, *attention = found
    return SearchOutput(tokens[..., :width], scores, *(x[:, :width] for x in attention))


@torch.no_grad()
def greedy_words(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: DecoderWeights,
    max_length: int = 40,
    scale: float = 1.0,
    ends: bool = True,
) -> Tensor:
    """The words (B, max_length) int64 of :func:`search` with one hypothesis, of checked arguments; up to <eos>, what
    comes after it is not to be read.

    Args:
        ends: stop where all captions have ended, which waits for the device. Else all words are decoded, nothing waits
            for the device, and a CUDA graph can hold it.
    """
    if not ends:
        first = torch.full((len(lengths), max_length + 1), SOS, dtype=torch.int64, device=parts.device)
        none_known = torch.zeros(max_length + 1, dtype=torch.bool, device=parts.device)
        memory = parts, temporal_keys, spatial_keys, lengths
        return sample_words_unchecked(*memory, weights, first, none_known, None, scale)[:, 1:]
    parts, temporal_keys, spatial_keys = autocast(parts, temporal_keys, spatial_keys)
    inputs = parts, temporal_keys, spatial_keys, lengths, list(autocast(*weights))
    found = torch.ops.m2t_fast.search(*inputs, 1, max_length, 1.0, None, scale, chosen_backend())
    tokens: Tensor = found[0]
    return tokens[:, 0]


def check_search(beam_size: int, max_length: int, length_penalty: float, force_gate: float | None) -> None:
    """Raise for an option of a search that is out of range (ValueError) or of another type (TypeError)."""
    for name, value in (("beam_size", beam_size), ("max_length", max_length)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name}: got {value}, expected at least 1")
    if not length_penalty >= 0.0:
        raise ValueError(f"length_penalty: got {length_penalty!r}, expected a number of at least 0")
    check_force_gate(force_gate)


def hypothesis_lengths(tokens: Tensor, scores: Tensor) -> Tensor:
    """Words of each hypothesis, <eos> included, (B, K) int64: tokens (B, K, max_length) and scores (B, K).

    One that does not exist has no words.
    """
    return torch.where((scores > -torch.inf) | (tokens == EOS).any(-1), caption_lengths(tokens), 0)


def caption_lengths(tokens: Tensor) -> Tensor:
    """Words of each caption, <eos> included: tokens (..., W) -> (...) int64. A caption without <eos> fills W."""
    ended = (tokens == EOS).int()
    return torch.where(ended.any(-1), ended.argmax(-1) + 1, tokens.shape[-1])


@torch.no_grad()
def sample_words(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: DecoderWeights,
    words: Tensor,
    coins: Tensor,
    dropout: tuple[Tensor, Tensor] | None = None,
    scale: float = 1.0,
) -> Tensor:
    """The input words (B, L) int64 that step-by-step scheduled sampling would read.

    Args:
        parts, temporal_keys, spatial_keys, lengths, weights, scale: as in :func:`search`.
        words: (B, L) int64 reference words, 0 <= word < V, the first of which are always read.
        coins: (L,) bool: where False, the words of that step are the argmax of the step before.
        dropout: two factors (B, L, E) on the embeddings that the bottom LSTM and the mixture read, or None.

    Raises:
        ValueError: a shape or device does not fit, or a word is out of range. TypeError: a dtype does not fit.
    """
    parts, temporal_keys, spatial_keys = autocast(parts, temporal_keys, spatial_keys)
    weights = DecoderWeights(*autocast(*weights))
    lengths = _checked("sample_words", parts, temporal_keys, spatial_keys, lengths, weights)
    sizes = {"B": parts.shape[0], "E": weights.embedding.shape[1]}
    check_shape("sample_words", "words", words, ("B", "L"), sizes)
    check_shape("sample_words", "coins", coins, ("L",), sizes)
    if coins.dtype != torch.bool:
        raise TypeError(f"sample_words: coins has dtype {coins.dtype}, expected torch.bool")
    first, second = autocast(*dropout) if dropout is not None else (None, None)
    for name, factors in (("dropout[0]", first), ("dropout[1]", second)):
        if factors is not None:
            check_shape("sample_words", name, factors, ("B", "L", "E"), sizes)
            check_same_float("sample_words", parts=parts, **{name: factors})
    words = checked_indices("sample_words: words", words, 0, weights.embedding.shape[0] - 1)
    return sample_words_unchecked(parts, temporal_keys, spatial_keys, lengths, weights, words, coins, dropout, scale)


@torch.no_grad()
def sample_words_unchecked(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    lengths: Tensor,
    weights: DecoderWeights,
    words: Tensor,
    coins: Tensor,
    dropout: tuple[Tensor, Tensor] | None,
    scale: float,
) -> Tensor:
    """:func:`sample_words` for callers that have checked their arguments: nothing waits for the device."""
    parts, temporal_keys, spatial_keys = autocast(parts, temporal_keys, spatial_keys)
    first, second = autocast(*dropout) if dropout is not None else (None, None)
    return torch.ops.m2t_fast.sample_words(
        parts,
        temporal_keys,
        spatial_keys,
        lengths,
        list(autocast(*weights)),
        words,
        coins,
        first,
        second,
        scale,
        chosen_backend(),
    )


def _checked(
    op: str, parts: Tensor, temporal_keys: Tensor, spatial_keys: Tensor, lengths: Tensor, weights: DecoderWeights
) -> Tensor:
    """The lengths as int64, after checking the memory of the motions and the decoder's weights against each other."""
    sizes: dict[str, int] = {}
    check_shape(op, "parts", parts, ("B", "T", "P", "H"), sizes)
    check_shape(op, "temporal_keys", temporal_keys, ("B", "T", "S", "D"), sizes)
    check_shape(op, "spatial_keys", spatial_keys, ("B", "T", "S", "D"), sizes)
    check_shape(op, "lengths", lengths, ("B",), sizes)
    if sizes["S"] not in (1, sizes["P"]):
        raise ValueError(f"{op}: temporal_keys has S={sizes['S']} keys a frame, expected 1 or P={sizes['P']}")
    check_shape(op, "embedding", weights.embedding, ("V", "E"), sizes)
    check_shape(op, "temporal_query", weights.temporal_query, ("D", "C"), sizes)
    gates, rows = 4 * sizes["C"], sizes["P"] if sizes["S"] == 1 else 1
    patterns: dict[str, tuple[int | str, ...]] = dict(
        bottom_input=(gates, "E"),
        bottom_hidden=(gates, "C"),
        bottom_input_bias=(gates,),
        bottom_hidden_bias=(gates,),
        top_input=(gates, "C"),
        top_hidden=(gates, "C"),
        top_input_bias=(gates,),
        top_hidden_bias=(gates,),
        temporal_query_bias=("D",),
        spatial_query=("D", "C"),
        spatial_query_bias=("D",),
        temporal_weight=("D",),
        spatial_weight=(rows, "D"),
        spatial_bias=(rows,),
        gate_hidden=("C",),
        gate_word=("E",),
        gate_bias=(),
        context=("D", "H"),
        context_bias=("D",),
        language=("D", "C"),
        language_bias=("D",),
        mixture=("M", sizes["E"] + sizes["D"] + sizes["C"]),
        mixture_bias=("M",),
        output=("V", "M"),
        output_bias=("V",),
    )
    for name, pattern in patterns.items():
        check_shape(op, name, getattr(weights, name), pattern, sizes)
    if sizes["V"] <= EOS:
        raise ValueError(f"{op}: embedding has V={sizes['V']} words, expected more than {EOS}, the number of <eos>")
    check_same_float(
        op,
        parts=parts,
        temporal_keys=temporal_keys,
        spatial_keys=spatial_keys,
        **dict(zip(weights._fields, weights, strict=True)),
    )
    return checked_indices(f"{op}: lengths", lengths, 1, sizes["T"])


@torch.library.custom_op("m2t_fast::search", mutates_args=())
def _search(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    run = implementation("search", backend, parts)
    memory = (parts, temporal_keys, spatial_keys, lengths)
    return run(*memory, weights, beam_size, max_length, length_penalty, force_gate, scale)


@_search.register_fake
def _(parts, temporal_keys, spatial_keys, lengths, weights, beam_size, max_length, *rest):
    batch, frames, part_count, _ = parts.shape
    return (
        lengths.new_empty(batch, beam_size, max_length),
        parts.new_empty(batch, beam_size, dtype=torch.promote_types(parts.dtype, torch.float32)),
        parts.new_empty(batch, max_length),
        parts.new_empty(batch, max_length, frames),
        parts.new_empty(batch, max_length, frames, part_count),
        parts.new_empty(batch, max_length),
        parts.new_empty(batch, max_length),
    )


@torch.library.custom_op("m2t_fast::sample_words", mutates_args=())
def _sample_words(
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
    backend: str,
) -> Tensor:
    run = implementation("sample_words", backend, parts)
    memory = (parts, temporal_keys, spatial_keys, lengths)
    return run(*memory, weights, words, coins, input_dropout, mixed_dropout, scale)


@_sample_words.register_fake
def _(parts, temporal_keys, spatial_keys, lengths, weights, words, *rest):
    return torch.empty_like(words, memory_format=torch.contiguous_format)
