"""Backend ``reference``: the equations of ``m2t_fast.reference`` forward, their gradients written out backward.

Attention runs on slices of words, so that no tensor of all words x frames x attention size is ever held: slower
devices spend more time fetching such a tensor than computing it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.config import SIGMA_MIN
from m2t_fast.ops.backends import reference_gradients
from m2t_fast.ops.decoding.words import sample_words as sample_words
from m2t_fast.ops.decoding.words import search as search
from m2t_fast.reference.attention import additive_scores, spatial_weights, temporal_scores
from m2t_fast.reference.draws import random_draws as random_draws
from m2t_fast.reference.encoder import root_relative, select_joints, valid_frames, velocity
from m2t_fast.reference.lstm import lstm_gates, next_state

SLICE_ELEMENTS = 1 << 21
"""Elements of the largest temporary of attention; 8 MiB in float32."""


def why_unavailable() -> None:
    """Plain PyTorch runs wherever torch does."""


def _in_float32(backward: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """Run a gradient in float32 where tensors are stored shorter: its sums cancel more than bfloat16 has digits."""

    def widen(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple(map(widen, x))
        short = isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16)
        return x.float() if short else x

    @functools.wraps(backward)
    def run(*arguments: Any) -> tuple[Tensor, ...]:
        dtype = next(x.dtype for x in arguments if isinstance(x, Tensor) and x.dtype.is_floating_point)
        return tuple(x.to(dtype) for x in backward(*map(widen, arguments)))

    return run


def _word_slices(temporal_keys: Tensor, words: int) -> Iterator[slice]:
    step = max(1, SLICE_ELEMENTS // max(1, temporal_keys.numel()))
    return (slice(first, first + step) for first in range(0, words, step))


def spatio_temporal_attention(
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """``reference.spatio_temporal_attention``, slice of words by slice."""
    outputs = [
        reference.spatio_temporal_attention(
            parts,
            temporal_keys,
            spatial_keys,
            temporal_query[:, words],
            spatial_query[:, words],
            temporal_weight,
            spatial_weight,
            spatial_bias,
            lengths,
            scale,
        )
        for words in _word_slices(temporal_keys, max(1, temporal_query.shape[1]))
    ]
    # clone: an op may not return a view of its input, and a single slice would
    return tuple(torch.cat(columns, dim=1) if len(columns) > 1 else columns[0].clone() for columns in zip(*outputs))  # noqa: B905


@_in_float32
def spatio_temporal_attention_backward(
    grads: tuple[Tensor | None, ...],
    parts: Tensor,
    temporal_keys: Tensor,
    spatial_keys: Tensor,
    temporal_query: Tensor,
    spatial_query: Tensor,
    temporal_weight: Tensor,
    spatial_weight: Tensor,
    spatial_bias: Tensor,
    lengths: Tensor,
    mean: Tensor,
    std: Tensor,
    scale: float,
) -> tuple[Tensor, ...]:
    """Gradients of the eight float inputs, from the gradients of the five outputs (None: the output was not used)."""
    mask = valid_frames(lengths, parts.shape[1])
    parts, temporal_keys, spatial_keys = (
        torch.where(mask[:, :, None, None], x, 0) for x in (parts, temporal_keys, spatial_keys)
    )
    d_parts, d_temporal_keys, d_spatial_keys = map(torch.zeros_like, (parts, temporal_keys, spatial_keys))
    d_weight, d_spatial_weight, d_bias = map(torch.zeros_like, (temporal_weight, spatial_weight, spatial_bias))
    d_temporal_query, d_spatial_query = map(torch.zeros_like, (temporal_query, spatial_query))
    for words in _word_slices(temporal_keys, temporal_query.shape[1]):
        d_context, d_window, d_spatial, d_mean, d_std = (g if g is None else g[:, words] for g in grads)

        # The forward pass again, keeping both tanh of this slice.
        z = temporal_scores(temporal_keys, temporal_query[:, words], temporal_weight)
        z = z.masked_fill(~mask[:, None, :, None], -torch.inf)
        gamma = torch.softmax(z.flatten(2), dim=-1).view_as(z)
        frame = torch.arange(parts.shape[1], dtype=z.dtype, device=z.device)
        m = (frame * gamma.sum(-1)).sum(-1, keepdim=True)
        offset = frame - m
        variance = (offset.square() * gamma.sum(-1)).sum(-1, keepdim=True)
        sigma = variance.clamp(min=SIGMA_MIN**2).sqrt()
        u = offset / sigma
        window = torch.where(mask[:, None], torch.exp(-0.5 * u.square()), 0)
        s = additive_scores(spatial_keys, spatial_query[:, words], spatial_weight) + spatial_bias
        alpha = spatial_weights(s.flatten(3), mask)

        # Eq. 8: context.
        dg = torch.zeros_like(window) if d_window is None else d_window
        da = torch.zeros_like(alpha) if d_spatial is None else d_spatial
        if d_context is not None:
            weights = (window[..., None] * alpha).flatten(2)
            d_parts += scale * (weights.transpose(1, 2) @ d_context).view_as(parts)
            d_weights = (scale * (d_context @ parts.flatten(1, 2).transpose(1, 2))).view_as(alpha)
            dg = dg + (d_weights * alpha).sum(-1)
            da = da + d_weights * window[..., None]

        # Eq. 4 and 3: window, moments, softmax. The moments' gradient is centred, so that it sums to 0 over gamma.
        dg = dg * window
        dm = (dg * u).sum(-1, keepdim=True) / sigma
        ds = (dg * u.square()).sum(-1, keepdim=True) / sigma
        dm = dm if d_mean is None else dm + d_mean[..., None]
        ds = ds if d_std is None else ds + d_std[..., None]
        d_variance = torch.where(variance >= SIGMA_MIN**2, ds / (2 * sigma), 0)
        d_frame = offset * dm + (offset.square() - variance) * d_variance
        dz = gamma * d_frame[..., None]
        grad = _additive_backward(dz[..., None], temporal_keys, temporal_query[:, words], temporal_weight[None])
        d_temporal_keys += grad[0]
        d_temporal_query[:, words] = grad[1]
        d_weight += grad[2][0]

        # Eq. 6 and 5: softmax over the parts.
        d_scores = alpha * (da - (da * alpha).sum(-1, keepdim=True))
        d_scores = d_scores.view_as(s)
        grad = _additive_backward(d_scores, spatial_keys, spatial_query[:, words], spatial_weight)
        d_spatial_keys += grad[0]
        d_spatial_query[:, words] = grad[1]
        d_spatial_weight += grad[2]
        d_bias += d_scores.sum(dim=(0, 1, 2, 3))
    return (
        d_parts,
        d_temporal_keys,
        d_spatial_keys,
        d_temporal_query,
        d_spatial_query,
        d_weight,
        d_spatial_weight,
        d_bias,
    )


def _additive_backward(d_scores: Tensor, keys: Tensor, query: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``additive_scores``: keys (B, T, S, D), query (B, L, D), weight (R, D)."""
    tanh = torch.tanh(keys[:, None] + query[:, :, None, None])
    d_weight = d_scores.flatten(0, -2).T @ tanh.flatten(0, -2)
    d_sum = (d_scores @ weight) * (1 - tanh.square())
    return d_sum.sum(dim=1), d_sum.sum(dim=(2, 3)), d_weight


def gated_decoder_step(*inputs_and_force: Any) -> tuple[Tensor, ...]:
    """``reference.gated_decoder_step``."""
    return tuple(reference.gated_decoder_step(*inputs_and_force))


@_in_float32
def gated_decoder_step_backward(
    grads: tuple[Tensor | None, ...],
    context: Tensor,
    hidden: Tensor,
    top: Tensor,
    word: Tensor,
    mixed_word: Tensor,
    gate_hidden_weight: Tensor,
    gate_word_weight: Tensor,
    gate_bias: Tensor,
    context_weight: Tensor,
    context_bias: Tensor,
    language_weight: Tensor,
    language_bias: Tensor,
    mixture_weight: Tensor,
    mixture_bias: Tensor,
    features: Tensor,
    gate: Tensor,
    force_gate: float | None,
) -> tuple[Tensor, ...]:
    """Gradients of the fourteen inputs, from the gradients of features, gate and gate logit (None: not used)."""
    d_features, d_gate, d_gate_logit = grads
    motion = torch.tanh(context @ context_weight.T + context_bias)
    language = torch.tanh(top @ language_weight.T + language_bias)
    beta = gate[..., None]
    mixture_input = torch.cat([mixed_word, beta * motion + (1 - beta) * language, hidden], dim=-1)

    # Eq. 10's hidden layer.
    d_mixture = torch.zeros_like(features) if d_features is None else d_features * (1 - features.square())
    sizes = (mixed_word.shape[-1], motion.shape[-1], hidden.shape[-1])
    d_mixed_word, d_adaptive, d_hidden = (d_mixture @ mixture_weight).split(sizes, dim=-1)

    # Eq. 9.
    d_motion = d_adaptive * beta * (1 - motion.square())
    d_language = d_adaptive * (1 - beta) * (1 - language.square())

    # Eq. 7. A forced gate is a constant: nothing flows through it.
    d_logit = torch.zeros_like(gate) if d_gate_logit is None else d_gate_logit
    if force_gate is None:
        d_beta = (d_adaptive * (motion - language)).sum(-1)
        d_beta = d_beta if d_gate is None else d_beta + d_gate
        d_logit = d_logit + d_beta * gate * (1 - gate)
    rows = d_logit.flatten()
    return (
        d_motion @ context_weight,
        d_hidden + d_logit[..., None] * gate_hidden_weight,
        d_language @ language_weight,
        d_logit[..., None] * gate_word_weight,
        d_mixed_word.contiguous(),
        rows @ hidden.flatten(0, -2),
        rows @ word.flatten(0, -2),
        rows.sum(),
        d_motion.flatten(0, -2).T @ context.flatten(0, -2),
        d_motion.flatten(0, -2).sum(0),
        d_language.flatten(0, -2).T @ top.flatten(0, -2),
        d_language.flatten(0, -2).sum(0),
        d_mixture.flatten(0, -2).T @ mixture_input.flatten(0, -2),
        d_mixture.flatten(0, -2).sum(0),
    )


def _split(part_joints: Sequence[int], part_sizes: Sequence[int]) -> list[list[int]]:
    joints = iter(part_joints)
    return [[next(joints) for _ in range(size)] for size in part_sizes]


def part_encoder(
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool,
) -> Tensor:
    """``reference.part_encoder``."""
    parts = _split(part_joints, part_sizes)
    return reference.part_encoder(motion, lengths, weight1, bias1, weight2, bias2, parts, relative)


@_in_float32
def part_encoder_backward(
    grad_parts: Tensor,
    motion: Tensor,
    lengths: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    weight2: Tensor,
    bias2: Tensor,
    parts: Tensor,
    part_joints: Sequence[int],
    part_sizes: Sequence[int],
    relative: bool,
    need_motion: bool,
) -> tuple[Tensor, ...]:
    """Gradients of the motion (an empty tensor unless asked for) and of the four weight tensors."""
    mask = valid_frames(lengths, motion.shape[1])[:, :, None, None]
    positions = torch.where(mask, motion, 0)
    if not relative:
        positions = root_relative(positions)
    sources = (positions, velocity(positions))
    d_sources = tuple(torch.zeros_like(s) for s in sources) if need_motion else ()
    d_weight1, d_bias1, d_weight2, d_bias2 = map(torch.zeros_like, (weight1, bias1, weight2, bias2))
    d_output = torch.where(mask, grad_parts, 0) * (1 - parts.square())
    half = bias2.shape[-1]
    row = 0
    for part, joints in enumerate(_split(part_joints, part_sizes)):
        rows = slice(row, row + 3 * len(joints))
        row = rows.stop
        for stream, source in enumerate(sources):
            x = select_joints(source, joints)
            hidden = torch.tanh(x @ weight1[stream, rows] + bias1[stream, part])
            d2 = d_output[:, :, part, stream * half : (stream + 1) * half]
            d1 = (d2 @ weight2[stream, part].T) * (1 - hidden.square())
            d_weight2[stream, part] = hidden.flatten(0, 1).T @ d2.flatten(0, 1)
            d_bias2[stream, part] = d2.sum(dim=(0, 1))
            d_weight1[stream, rows] = x.flatten(0, 1).T @ d1.flatten(0, 1)
            d_bias1[stream, part] = d1.sum(dim=(0, 1))
            if need_motion:
                d_x = (d1 @ weight1[stream, rows].T).unflatten(2, (-1, 3))
                for joint, gradient in zip(joints, d_x.unbind(2), strict=True):
                    d_sources[stream][:, :, joint] += gradient
    if not need_motion:
        return motion.new_empty(0), d_weight1, d_bias1, d_weight2, d_bias2
    d_positions, d_velocity = d_sources
    d_positions[:, 1:] += d_velocity[:, 1:]
    d_positions[:, :-1] -= d_velocity[:, 1:]
    if not relative:  # every joint but the root had the root subtracted
        d_positions[:, :, 0] -= d_positions[:, :, 1:].sum(dim=2)
    return torch.where(mask, d_positions, 0), d_weight1, d_bias1, d_weight2, d_bias2


attention_keys = reference.attention_keys
gather_motions = reference.gather_motions
attention_keys_backward = _in_float32(reference_gradients.attention_keys_backward)
spatial_loss = reference.spatial_loss
spatial_loss_backward = reference_gradients.spatial_loss_backward


def lstm_cells(*inputs: Any) -> tuple[Tensor, ...]:
    """The next states of ``reference.lstm_cells`` and, if the last argument says to keep them, the gates (2, B, 4C)."""
    *tensors, keep = inputs
    word, bottom_hidden, bottom_cell, top_hidden, top_cell, *weights = tensors
    states: list[Tensor] = []
    kept = []
    x = word
    for hidden, cell, layer in ((bottom_hidden, bottom_cell, weights[:4]), (top_hidden, top_cell, weights[4:])):
        gates = lstm_gates(x, hidden, *layer)
        states += next_state(gates, cell)
        x = states[-2]
        kept.append(gates)
    return *states, torch.stack(kept) if keep else word.new_empty(0)


lstm_cells_backward = _in_float32(reference_gradients.lstm_cells_backward)
