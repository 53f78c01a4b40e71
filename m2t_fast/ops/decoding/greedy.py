"""Greedy search: the likeliest word at every step, batched; a motion leaves the batch when its caption ends."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State, select_state


def greedy_search(decoder: Decoder, memory: Memory, max_length: int, length_penalty: float) -> tuple[Tensor, Tensor]:
    """Tokens (B, 1, max_length) and scores (B, 1) of the greedy captions."""
    device = memory.parts.device
    batch = len(memory.lengths)
    tokens = torch.full((batch, max_length), PAD, dtype=torch.int64, device=device)
    precision = torch.promote_types(memory.parts.dtype, torch.float32)
    total = torch.zeros(batch, dtype=precision, device=device)
    lengths = torch.full((batch,), max_length, dtype=torch.int64, device=device)
    active = torch.arange(batch, device=device)
    word = torch.full((batch,), SOS, dtype=torch.int64, device=device)
    state: State | None = None
    for step in range(max_length if batch else 0):
        embedded = decoder.embed(word[:, None])
        hidden, top, state = decoder.run_lstms(embedded, state)
        logits = decoder.next_word(memory, hidden, top, embedded, embedded)[:, 0]
        log_probability, word = logits.to(precision).log_softmax(-1).max(-1)
        tokens[active, step] = word
        total[active] += log_probability
        going = (word != EOS).nonzero()[:, 0]
        if len(going) < len(word):
            lengths[active[word == EOS]] = step + 1
            active, word, state, memory = active[going], word[going], select_state(state, going), memory.select(going)
        if len(active) == 0:
            break
    scores = total / lengths.to(precision) ** length_penalty
    return tokens[:, None], scores[:, None]
