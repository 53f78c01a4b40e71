"""The captioner's layers: parameters and their initialisation, each calling one op."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from m2t_fast import ops
from m2t_fast.config import CaptionerConfig
from m2t_fast.layers import is_own
from m2t_fast.ops.attention import AttentionOutput
from m2t_fast.ops.gate import GateOutput, check_force_gate
from m2t_fast.ops.torch_lstm import lstm
from m2t_fast.reference.attention_with_loss import GuidedAttentionOutput
from m2t_fast.reference.encoder import valid_frames
from m2t_fast.sharded import gathered


def _draw(weight: Tensor, fan_in: int) -> Tensor:
    """torch's default for linear layers: uniform within 1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return weight.uniform_(-bound, bound)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    return nn.Parameter(_draw(torch.empty(*shape), fan_in))


def embedding(words: int, size: int) -> nn.Embedding:
    """``nn.Embedding``, without numbers on the meta device: making them there would load torch's compiler."""
    made = nn.Embedding.from_pretrained(torch.empty(words, size), freeze=False)
    if not made.weight.is_meta:
        made.reset_parameters()
    return made


class PartEncoder(nn.Module):
    """Joints (B, T, J, 3) -> body-part features (B, T, P, H); parameters as in ``ops.part_encoder``."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.parts = config.parts
        part_sizes = [len(part) for part in config.parts]
        hidden, half = config.attention_dim, config.part_dim // 2
        # Drawn in place: on the meta device torch.stack and torch.cat would load torch's compiler.
        self.weight1 = nn.Parameter(torch.empty(2, 3 * sum(part_sizes), hidden))
        self.bias1 = nn.Parameter(torch.empty(2, len(part_sizes), hidden))
        with torch.no_grad():
            for weight in self.weight1:
                for rows in weight.split([3 * n for n in part_sizes]):
                    _draw(rows, len(rows))
            for bias in self.bias1:
                for row, n in zip(bias, part_sizes, strict=True):
                    _draw(row, 3 * n)
        self.weight2 = _uniform(2, len(part_sizes), hidden, half, fan_in=hidden)
        self.bias2 = _uniform(2, len(part_sizes), half, fan_in=hidden)

    def forward(self, motion: Tensor, lengths: Tensor, relative: bool = False) -> Tensor:
        """Arguments already checked; see :func:`m2t_fast.ops.part_encoder`."""
        weights = (self.weight1, self.bias1, self.weight2, self.bias2)
        return ops.part_encoder.in_bounds(motion, lengths, *weights, self.parts, relative)


class LSTM(nn.Module):
    """One LSTM layer over (B, L, I), with torch's kernels; a fullgraph compile refuses ``torch.nn.LSTM`` itself."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.weight_ih = _uniform(4 * hidden_size, input_size, fan_in=hidden_size)
        self.weight_hh = _uniform(4 * hidden_size, hidden_size, fan_in=hidden_size)
        self.bias_ih = _uniform(4 * hidden_size, fan_in=hidden_size)
        self.bias_hh = _uniform(4 * hidden_size, fan_in=hidden_size)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs (B, L, C) and the last (hidden, cell), each (B, C); ``state`` None starts at zero."""
        return lstm(x, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class SpatioTemporalAttention(nn.Module):
    """Keys, queries and score vectors of eq. 2 and 5 around ``ops.spatio_temporal_attention``."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        part_count = len(config.parts)
        self.slots = config.key_slots
        self.scale = config.context_scale
        dim = config.attention_dim
        # One key reads one part, or in frame scoring all parts of a frame, part-major.
        key_inputs = config.part_dim * (part_count // self.slots)
        rows = part_count // self.slots
        self.temporal_key = nn.Linear(key_inputs, dim)
        self.spatial_key = nn.Linear(key_inputs, dim)
        self.temporal_query = nn.Linear(config.hidden_size, dim)
        self.spatial_query = nn.Linear(config.hidden_size, dim)
        self.temporal_weight = _uniform(dim, fan_in=dim)
        self.spatial_weight = _uniform(rows, dim, fan_in=dim)
        if rows > 1:
            self.spatial_bias = _uniform(rows, fan_in=dim)
        else:  # cancels in the softmax over the parts
            self.register_parameter("spatial_bias", None)

    @gathered
    def keys(self, parts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Temporal and spatial keys (B, T, S, D) of parts (B, T, P, H); once per motion, whatever the words."""
        temporal, spatial = self.temporal_key, self.spatial_key
        if not (is_own(temporal, nn.Linear) and is_own(spatial, nn.Linear)):
            valid = valid_frames(lengths, parts.shape[1])[:, :, None, None]
            per_key = torch.where(valid, parts, 0).flatten(2).unflatten(2, (self.slots, -1))
            return torch.where(valid, temporal(per_key), 0), torch.where(valid, spatial(per_key), 0)
        return ops.attention_keys.in_bounds(
            parts, lengths, temporal.weight, temporal.bias, spatial.weight, spatial.bias
        )

    def bias(self) -> Tensor:
        """What is added to the spatial scores: a parameter, or (1,) zeros where it cancels in the softmax."""
        # Not of spatial_weight: a loop that torch.export records must not read a tensor and its transpose.
        return self.temporal_weight.new_zeros(1) if self.spatial_bias is None else self.spatial_bias

    def forward(
        self, parts: Tensor, temporal_keys: Tensor, spatial_keys: Tensor, lengths: Tensor, hidden: Tensor
    ) -> AttentionOutput:
        """Attention of every bottom LSTM state ``hidden`` (B, L, C)."""
        return ops.spatio_temporal_attention.in_bounds(
            parts,
            temporal_keys,
            spatial_keys,
            self.temporal_query(hidden),
            self.spatial_query(hidden),
            self.temporal_weight,
            self.spatial_weight,
            self.bias(),
            lengths,
            self.scale,
        )

    def guided(
        self,
        parts: Tensor,
        temporal_keys: Tensor,
        spatial_keys: Tensor,
        lengths: Tensor,
        hidden: Tensor,
        spatial_target: Tensor,
    ) -> GuidedAttentionOutput:
        """Context, spatial loss and moments alone; see :func:`m2t_fast.ops.guided_attention`."""
        return ops.guided_attention.in_bounds(
            parts,
            temporal_keys,
            spatial_keys,
            self.temporal_query(hidden),
            self.spatial_query(hidden),
            self.temporal_weight,
            self.spatial_weight,
            self.bias(),
            lengths,
            spatial_target,
            self.scale,
        )


class GatedDecoderStep(nn.Module):
    """Parameters of eq. 7, 9 and 10's hidden layer around ``ops.gated_decoder_step``."""

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        dim, mixture = config.attention_dim, config.mixture_dim
        self.gate_hidden = nn.Linear(config.hidden_size, 1)
        self.gate_word = nn.Linear(config.embedding_dim, 1)
        self.context = nn.Linear(config.part_dim, dim)
        self.language = nn.Linear(config.hidden_size, dim)
        self.mixture = nn.Linear(mixture, mixture)

    def forward(
        self,
        context: Tensor,
        hidden: Tensor,
        top: Tensor,
        word: Tensor,
        mixed_word: Tensor,
        force_gate: float | None,
    ) -> GateOutput:
        """See :func:`m2t_fast.ops.gated_decoder_step`."""
        if not all(is_own(layer, nn.Linear) for layer in self.children()):
            return self._by_layers(context, hidden, top, word, mixed_word, force_gate)
        return ops.gated_decoder_step(context, hidden, top, word, mixed_word, *self._weights(), force_gate)

    def _by_layers(
        self,
        context: Tensor,
        hidden: Tensor,
        top: Tensor,
        word: Tensor,
        mixed_word: Tensor,
        force_gate: float | None,
    ) -> GateOutput:
        """The equations of :func:`m2t_fast.reference.gated_decoder_step` with every layer called."""
        check_force_gate(force_gate)
        gate_logit = (self.gate_hidden(hidden) + self.gate_word(word)).squeeze(-1)
        gate = torch.sigmoid(gate_logit) if force_gate is None else torch.full_like(gate_logit, force_gate)
        motion, language = torch.tanh(self.context(context)), torch.tanh(self.language(top))
        adaptive = gate[..., None] * motion + (1 - gate[..., None]) * language
        features = torch.tanh(self.mixture(torch.cat([mixed_word, adaptive, hidden], dim=-1)))
        return GateOutput(features, gate, gate_logit)

    def guided(
        self, context: Tensor, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor, gate_target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """With the adaptive loss of every word; see :func:`m2t_fast.ops.guided_decoder_step`."""
        return ops.guided_decoder_step.in_bounds(context, hidden, top, word, mixed_word, *self._weights(), gate_target)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        return (
            self.gate_hidden.weight[0],
            self.gate_word.weight[0],
            (self.gate_hidden.bias + self.gate_word.bias)[0],
            self.context.weight,
            self.context.bias,
            self.language.weight,
            self.language.bias,
            self.mixture.weight,
            self.mixture.bias,
        )


class AdditiveAttention(nn.Module):
    """Additive (Bahdanau) attention with its projections, for any model: ``ops.additive_attention``."""

    def __init__(self, query_size: int, key_size: int, attention_size: int):
        super().__init__()
        self.query = nn.Linear(query_size, attention_size)
        self.key = nn.Linear(key_size, attention_size, bias=False)
        self.weight = nn.Parameter(torch.empty(attention_size).uniform_(-1, 1) / attention_size**0.5)

    def forward(self, query: Tensor, keys: Tensor, lengths: Tensor, values: Tensor | None = None) -> ops.AdditiveOutput:
        """Context (B, L, H) and weights (B, L, T).

        Args:
            query: (B, L, query_size). keys: (B, T, key_size). lengths: (B,) int64, valid keys of each sequence.
            values: (B, T, H); None: the keys themselves.
        """
        found = ops.additive_attention(
            self.query(query), self.key(keys), keys if values is None else values, self.weight, lengths
        )
        return ops.AdditiveOutput(*found)


DECODER_LAYERS: tuple[tuple[str, type[nn.Module]], ...] = (
    ("embedding", nn.Embedding),
    ("bottom_lstm", LSTM),
    ("top_lstm", LSTM),
    ("attention", SpatioTemporalAttention),
    ("attention.temporal_query", nn.Linear),
    ("attention.spatial_query", nn.Linear),
    ("step", GatedDecoderStep),
    *((f"step.{name}", nn.Linear) for name in ("gate_hidden", "gate_word", "context", "language", "mixture")),
    ("output", nn.Linear),
)
"""The layers of a captioner's decoder, by name. Encoder and keys are called in any case, whatever they are."""
