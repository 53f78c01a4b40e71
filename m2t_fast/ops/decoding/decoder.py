"""The decoder as functions of its weights: what a search runs word by word where a backend has no ``search``."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from m2t_fast import ops
from m2t_fast.ops.attention import AttentionOutput
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.ops.gate import GateOutput
from m2t_fast.ops.registry import has_kernel
from m2t_fast.ops.torch_lstm import lstm


class Memory(NamedTuple):
    """What decoding needs of B motions; computed once, whatever the words."""

    parts: Tensor
    """(B, T, P, H)."""
    temporal_keys: Tensor
    """(B, T, S, D)."""
    spatial_keys: Tensor
    """(B, T, S, D)."""
    lengths: Tensor
    """(B,) int64."""

    def select(self, rows: Tensor) -> Memory:
        """The memory of the motions ``rows`` (int64), cut to their longest."""
        lengths = self.lengths[rows]
        frames = int(lengths.max()) if len(rows) else 0
        parts, temporal_keys, spatial_keys = (x[rows, :frames] for x in self[:3])
        return Memory(parts, temporal_keys, spatial_keys, lengths)


State = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(hidden, cell) of the bottom and of the top LSTM, each (B, C)."""


def select_state(state: State, rows: Tensor) -> State:
    """The decoder state of the hypotheses ``rows`` (int64)."""
    (bottom_h, bottom_c), (top_h, top_c) = state
    return (bottom_h[rows], bottom_c[rows]), (top_h[rows], top_c[rows])


class Decoder:
    """LSTMs, attention, gate and word distribution of given weights; the ops run on the chosen backend."""

    def __init__(self, weights: DecoderWeights, scale: float, force_gate: float | None = None):
        self.weights = weights
        self.scale = scale
        self.force_gate = force_gate

    @property
    def vocabulary(self) -> int:
        """V, words that it knows."""
        return len(self.weights.embedding)

    @property
    def hidden_size(self) -> int:
        """C, size of both LSTMs' states."""
        return self.weights.bottom_hidden.shape[1]

    def embed(self, words: Tensor) -> Tensor:
        """Embeddings (..., E) of words (...)."""
        return embedding(words, self.weights.embedding)

    def run_lstms(self, embedded: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """Bottom and top LSTM outputs (B, L, C) over embedded words (B, L, E)."""
        w = self.weights
        bottom, top = state if state is not None else (None, None)
        if embedded.shape[1] == 1 and has_kernel("lstm_cells", embedded):
            zeros = (embedded.new_zeros(len(embedded), w.bottom_hidden.shape[1]),) * 2
            weights = (
                *(w.bottom_input, w.bottom_hidden, w.bottom_input_bias, w.bottom_hidden_bias),
                *(w.top_input, w.top_hidden, w.top_input_bias, w.top_hidden_bias),
            )
            after = ops.lstm_cells(embedded[:, 0], *(bottom or zeros), *(top or zeros), *weights)
            return after.bottom_hidden[:, None], after.top_hidden[:, None], (after[:2], after[2:])
        hidden, bottom = lstm(
            embedded, bottom, w.bottom_input, w.bottom_hidden, w.bottom_input_bias, w.bottom_hidden_bias
        )
        output, top = lstm(hidden, top, w.top_input, w.top_hidden, w.top_input_bias, w.top_hidden_bias)
        return hidden, output, (bottom, top)

    def look(
        self, memory: Memory, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor
    ) -> tuple[AttentionOutput, GateOutput]:
        """Attention and gated step of independent words, from LSTM outputs (B, L, C) and embeddings (B, L, E)."""
        attended = ops.spatio_temporal_attention.in_bounds(*self._attention_inputs(memory, hidden))
        return attended, self._step(attended.context, hidden, top, word, mixed_word)

    def _attention_inputs(self, memory: Memory, hidden: Tensor) -> tuple[Any, ...]:
        w = self.weights
        return (
            memory.parts,
            memory.temporal_keys,
            memory.spatial_keys,
            hidden @ w.temporal_query.T + w.temporal_query_bias,
            hidden @ w.spatial_query.T + w.spatial_query_bias,
            w.temporal_weight,
            w.spatial_weight,
            w.spatial_bias,
            memory.lengths,
            self.scale,
        )

    def _step(self, context: Tensor, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor) -> GateOutput:
        w = self.weights
        return ops.gated_decoder_step(
            context,
            hidden,
            top,
            word,
            mixed_word,
            w.gate_hidden,
            w.gate_word,
            w.gate_bias,
            w.context,
            w.context_bias,
            w.language,
            w.language_bias,
            w.mixture,
            w.mixture_bias,
            self.force_gate,
        )

    def next_word(self, memory: Memory, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor) -> Tensor:
        """Logits (B, L, V) after each of L independent words."""
        context = ops.spatio_temporal_context.in_bounds(*self._attention_inputs(memory, hidden))
        step = self._step(context, hidden, top, word, mixed_word)
        return torch.nn.functional.linear(step.features, self.weights.output, self.weights.output_bias)
