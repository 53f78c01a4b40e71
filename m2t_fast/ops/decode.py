"""The ops ``search`` and ``sample_words``: whole captions word by word, without gradients.

A backend implements them as one call each, so that no word costs a return to Python; where it has none, the searches of
``m2t_fast.ops.decoding`` run on the ops of the backend.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from m2t_fast.config import EOS, SOS
from m2t_fast.ops import registry
from m2t_fast.ops.define import define
from m2t_fast.ops.gate import check_force_gate
from m2t_fast.records import Bool, Data, Index, Int64, Size, Sizes, Wide, from_fields
from m2t_fast.reference.attention import AttentionInputs


class DecoderWeights(NamedTuple):
    """All weights of a decoder, in the order in which the ops take them; M: width of the hidden layer of eq. 10."""

    embedding: Annotated[Tensor, "V E"]
    bottom_input: Annotated[Tensor, "4*C E"]
    """Bottom LSTM, gates i, f, g, o."""
    bottom_hidden: Annotated[Tensor, "4*C C"]
    bottom_input_bias: Annotated[Tensor, "4*C"]
    bottom_hidden_bias: Annotated[Tensor, "4*C"]
    top_input: Annotated[Tensor, "4*C C"]
    """Top LSTM."""
    top_hidden: Annotated[Tensor, "4*C C"]
    top_input_bias: Annotated[Tensor, "4*C"]
    top_hidden_bias: Annotated[Tensor, "4*C"]
    temporal_query: Annotated[Tensor, "D C"]
    """W_h of eq. 2."""
    temporal_query_bias: Annotated[Tensor, "D"]
    spatial_query: Annotated[Tensor, "D C"]
    """W_hs of eq. 5."""
    spatial_query_bias: Annotated[Tensor, "D"]
    temporal_weight: Annotated[Tensor, "D"]
    spatial_weight: Annotated[Tensor, "R D"]
    """R = P with one key per frame, 1 with one per part and frame."""
    spatial_bias: Annotated[Tensor, "R"]
    gate_hidden: Annotated[Tensor, "C"]
    """Eq. 7."""
    gate_word: Annotated[Tensor, "E"]
    gate_bias: Annotated[Tensor, ""]
    context: Annotated[Tensor, "D H"]
    """W_c of eq. 9."""
    context_bias: Annotated[Tensor, "D"]
    language: Annotated[Tensor, "D C"]
    """W_r of eq. 9."""
    language_bias: Annotated[Tensor, "D"]
    mixture: Annotated[Tensor, "M E+D+C"]
    """Eq. 10's hidden layer, columns in the order [word; adaptive context; hidden]."""
    mixture_bias: Annotated[Tensor, "M"]
    output: Annotated[Tensor, "V M"]
    output_bias: Annotated[Tensor, "V"]


class SearchInputs(NamedTuple):
    """Motions to caption, and how."""

    parts: Annotated[Tensor, "B T P H"]
    """Body-part features."""
    temporal_keys: Annotated[Tensor, "B T S D"]
    """S = 1 or S = P."""
    spatial_keys: Annotated[Tensor, "B T S D"]
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid frames."""
    weights: DecoderWeights
    beam_size: Annotated[int, Size("K")] = 2
    """1: greedy search."""
    max_length: Annotated[int, Size("W")] = 40
    """Longest caption in words, <eos> included."""
    length_penalty: float = 1.0
    """Power of the length that divides a log-probability, at least 0."""
    force_gate: float | None = None
    """Replaces beta at every word, in [0, 1], or None."""
    scale: float = 1.0
    """rho of eq. 8."""

    @staticmethod
    def derive(letter: str, n: Sizes) -> int:
        """R from S and P."""
        return AttentionInputs.derive(letter, n)


def decode_sizes(x: Any) -> dict[str, int]:
    """The sizes of a search or a sampling as the kernels name them."""
    batch, frames, parts, part_dim = x.parts.shape
    slots, attention_dim = x.temporal_keys.shape[2:]
    vocabulary, word = x.weights.embedding.shape
    return dict(
        batch=batch,
        frames=frames,
        parts=parts,
        slots=slots,
        part_dim=part_dim,
        attention_dim=attention_dim,
        hidden=x.weights.gate_hidden.shape[0],
        word=word,
        mixture=x.weights.mixture.shape[0],
        vocabulary=vocabulary,
    )


class SearchOutput(NamedTuple):
    """Captions of B motions, K hypotheses each, best first, and the attention of the best."""

    tokens: Annotated[Tensor, Int64("B K W")]
    """Words without <sos>; <pad> after <eos>. W is the longest hypothesis, at most max_length."""
    scores: Annotated[Tensor, Wide("B K")]
    """Log-probability / length ** length_penalty; -inf where fewer than K captions exist, and nan for a motion whose
    logits are not numbers, which may have no caption."""
    gate: Annotated[Tensor, Data("B W")]
    """beta; this and the following are 0 after the caption's end."""
    window: Annotated[Tensor, Data("B W T")]
    spatial: Annotated[Tensor, Data("B W T P")]
    mean: Annotated[Tensor, Data("B W")]
    std: Annotated[Tensor, Data("B W")]


@from_fields(SearchInputs)
def _search(x: SearchInputs) -> SearchOutput:
    """Greedy search with ``beam_size=1``, else beam search as ``m2t_fast.ops.decoding.beam`` describes it.

    Of equally likely words the one with the lowest number wins where the two floats are equal; backends that round
    differently may decide near ties differently.
    """
    found: SearchOutput = registry.call("search", "reference", x)
    return found


def _check_vocabulary(op: str, weights: DecoderWeights) -> None:
    if (words := len(weights.embedding)) <= EOS:
        raise ValueError(f"{op}: embedding has V={words} words, expected more than {EOS}, the number of <eos>")


def _check_search(x: SearchInputs) -> None:
    _check_vocabulary("search", x.weights)
    check_search(x.beam_size, x.max_length, x.length_penalty, x.force_gate)


def cut(found: SearchOutput) -> SearchOutput:
    """Without the columns that no hypothesis reaches."""
    words = hypothesis_lengths(found.tokens, found.scores)
    width = max(1, int(words.max())) if words.numel() else 1
    tokens, scores, *attention = found
    return SearchOutput(tokens[..., :width], scores, *(x[:, :width] for x in attention))


search = define(_search, name="search", file="decode", differentiable=False, check=_check_search, finish=cut)


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
    comes after it must not be read.

    Args:
        ends: stop where all captions have ended, which waits for the device. Else all words are decoded, nothing waits
            for the device, and a CUDA graph can hold it.
    """
    memory = parts, temporal_keys, spatial_keys, lengths
    if not ends:
        first = torch.full((len(lengths), max_length + 1), SOS, dtype=torch.int64, device=parts.device)
        none_known = torch.zeros(max_length + 1, dtype=torch.bool, device=parts.device)
        return sample_words.in_bounds(*memory, weights, first, none_known, None, scale)[:, 1:]
    return search.in_bounds(*memory, weights, 1, max_length, scale=scale).tokens[:, 0]


def check_search(beam_size: int, max_length: int, length_penalty: float, force_gate: float | None) -> None:
    """Raise for an option of a search that is out of range (ValueError) or of another type (TypeError)."""
    for name, value in (("beam_size", beam_size), ("max_length", max_length)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, got {type(value).__name__}")
        if not 1 <= value < 2**31:
            raise ValueError(f"{name}: got {value}, expected {'at least 1' if value < 1 else 'less than 2**31'}")
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


class Dropout(NamedTuple):
    """Factors on the embeddings."""

    input_dropout: Annotated[Tensor, "B L E"]
    """That the bottom LSTM reads."""
    mixed_dropout: Annotated[Tensor, "B L E"]
    """That the mixture reads."""


class SampleInputs(NamedTuple):
    """Motions, reference words and coins of a step of scheduled sampling."""

    parts: Annotated[Tensor, "B T P H"]
    """Body-part features."""
    temporal_keys: Annotated[Tensor, "B T S D"]
    spatial_keys: Annotated[Tensor, "B T S D"]
    lengths: Annotated[Tensor, Index("B", 1, "T")]
    """Valid frames."""
    weights: DecoderWeights
    words: Annotated[Tensor, Index("B L", 0, "V-1")]
    """Reference words, the first of which are always read."""
    coins: Annotated[Tensor, Bool("L")]
    """Where False, the words of that step are the argmax of the step before."""
    dropout: Dropout | tuple[Tensor, Tensor] | None = None
    scale: float = 1.0
    """rho of eq. 8."""

    @staticmethod
    def derive(letter: str, n: Sizes) -> int:
        """R from S and P."""
        return AttentionInputs.derive(letter, n)


@from_fields(SampleInputs)
def _sample_words(x: SampleInputs) -> Annotated[Tensor, Int64("B L", "words")]:
    """The input words (B, L) int64 that step-by-step scheduled sampling would read."""
    words: Tensor = registry.call("sample_words", "reference", x)
    return words


sample_words = define(
    _sample_words,
    name="sample_words",
    file="decode",
    differentiable=False,
    check=lambda x: _check_vocabulary("sample_words", x.weights),
)
