"""The captioner as a literal loop over words, in plain PyTorch: the truth for scheduled sampling and the baseline.

Nothing is shared between words and nothing is fused: each word computes its keys again, as the released code does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.reference.lstm import lstm_cell

if TYPE_CHECKING:
    from m2t_fast.captioner import Captioner, CaptionerOutput, Draws


def stepwise(
    model: Captioner,
    motion: Tensor,
    lengths: Tensor,
    tokens: Tensor,
    draws: Draws,
    force_gate: float | None = None,
    relative: bool = False,
    attend: Callable[..., reference.AttentionOutput] = reference.spatio_temporal_attention,
) -> CaptionerOutput:
    """Run ``model``'s equations word by word; same arguments and result as ``model.run``, differentiable.

    Args:
        motion: (B, T, J, 3); lengths: (B,) int64; tokens: (B, L+1) int64.
        draws: the coins and dropout masks of the step (``model.draw``).
        force_gate: replaces beta, or None.
        relative: every joint of ``motion`` but the root is relative to the root already.
        attend: computes the attention of a word.
    """
    from m2t_fast.captioner import CaptionerOutput

    encoder, attention, step = model.encoder, model.attention, model.step
    weights = (encoder.weight1, encoder.bias1, encoder.weight2, encoder.bias2)
    parts = reference.part_encoder(motion, lengths, *weights, model.config.parts, relative)
    batch, steps = tokens.shape[0], tokens.shape[1] - 1
    zeros = motion.new_zeros(batch, model.config.hidden_size)
    bottom = top = (zeros, zeros)
    word = tokens[:, 0]
    keys = (
        *(attention.temporal_key.weight, attention.temporal_key.bias),
        *(attention.spatial_key.weight, attention.spatial_key.bias),
    )
    columns = []
    for j in range(steps):
        if j and (draws.coins is None or bool(draws.coins[j])):
            word = tokens[:, j]
        embedded = model.embedding(word)
        first, second = embedded, embedded
        if draws.dropout is not None:
            first, second = embedded * draws.dropout[0][:, j], embedded * draws.dropout[1][:, j]
        bottom = lstm_cell(first, bottom, *_weights(model.bottom_lstm))
        top = lstm_cell(bottom[0], top, *_weights(model.top_lstm))
        hidden = bottom[0][:, None]
        seen = attend(
            parts,
            *reference.attention_keys(parts, lengths, *keys),
            attention.temporal_query(hidden),
            attention.spatial_query(hidden),
            attention.temporal_weight,
            attention.spatial_weight,
            attention.bias(),
            lengths,
            attention.scale,
        )
        said = reference.gated_decoder_step(
            seen.context,
            hidden,
            top[0][:, None],
            embedded[:, None],
            second[:, None],
            step.gate_hidden.weight[0],
            step.gate_word.weight[0],
            (step.gate_hidden.bias + step.gate_word.bias)[0],
            step.context.weight,
            step.context.bias,
            step.language.weight,
            step.language.bias,
            step.mixture.weight,
            step.mixture.bias,
            force_gate,
        )
        logits = model.output(said.features)
        columns.append(
            (logits, said.gate, seen.window, seen.spatial, seen.mean, seen.std, said.gate_logit, word[:, None])
        )
        word = logits[:, 0].argmax(-1)
    return CaptionerOutput(*(torch.cat(column, dim=1) for column in zip(*columns, strict=True)))


def _weights(lstm: torch.nn.Module) -> tuple[Tensor, ...]:
    return lstm.weight_ih, lstm.weight_hh, lstm.bias_ih, lstm.bias_hh  # type: ignore[return-value]
