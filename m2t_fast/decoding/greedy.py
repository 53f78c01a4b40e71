"""Greedy search: the likeliest word at every step, batched; a motion leaves the batch when its caption ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SOS

if TYPE_CHECKING:
    from m2t_fast.captioner import Captioner, Memory, State


def select_state(state: State, rows: Tensor) -> State:
    """The decoder state of the hypotheses ``rows`` (int64)."""
    (bottom_h, bottom_c), (top_h, top_c) = state
    return (bottom_h[rows], bottom_c[rows]), (top_h[rows], top_c[rows])


def greedy_search(
    model: Captioner, memory: Memory, max_length: int, length_penalty: float, force_gate: float | None
) -> tuple[Tensor, Tensor]:
    """Tokens (B, 1, W) and scores (B, 1) of the greedy captions; W <= max_length."""
    device = memory.parts.device
    batch = len(memory.lengths)
    tokens = torch.full((batch, max_length), PAD, dtype=torch.int64, device=device)
    precision = torch.promote_types(memory.parts.dtype, torch.float32)
    total = torch.zeros(batch, dtype=precision, device=device)
    lengths = torch.full((batch,), max_length, dtype=torch.int64, device=device)
    active = torch.arange(batch, device=device)
    word = torch.full((batch,), SOS, dtype=torch.int64, device=device)
    state: State | None = None
    width = 0
    for step in range(max_length if batch else 0):
        embedded = model.embedding(word[:, None])
        hidden, top, state = model.run_lstms(embedded, state)
        logits = model.next_word(memory, hidden, top, embedded, embedded, force_gate)[:, 0]
        log_probability, word = logits.to(precision).log_softmax(-1).max(-1)
        tokens[active, step] = word
        total[active] += log_probability
        width = step + 1
        going = (word != EOS).nonzero()[:, 0]
        if len(going) < len(word):
            lengths[active[word == EOS]] = width
            active, word, state, memory = active[going], word[going], select_state(state, going), memory.select(going)
        if len(active) == 0:
            break
    scores = total / lengths.to(precision) ** length_penalty
    return tokens[:, None, : max(width, 1)], scores[:, None]
