"""Scheduled sampling word by word: which words a step-by-step decoder would read."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.decoding.decoder import Decoder, Memory, State


def sampled_words(
    decoder: Decoder, memory: Memory, words: Tensor, coins: Tensor, dropout: tuple[Tensor | None, Tensor | None]
) -> Tensor:
    """Words (B, L): those given where the coin (L,) is True or first, else the argmax of the step before.

    Attention and logits are computed for those steps alone; the words between them run through the LSTMs in one call.
    Coins on a device are not read: reading would wait for it, and no CUDA graph could hold that. There every step
    decides on the device.
    """
    words = words.clone()
    state: State | None = None
    start = 0
    known = coins.device.type == "cpu"
    own_steps = (coins[1:].logical_not().nonzero()[:, 0] + 1).tolist() if known else range(1, len(coins))
    for position in own_steps:
        word = decoder.embed(words[:, start:position])
        first, second = (word if factors is None else word * factors[:, start:position] for factors in dropout)
        hidden, top, state = decoder.run_lstms(first, state)
        logits = decoder.next_word(memory, hidden[:, -1:], top[:, -1:], word[:, -1:], second[:, -1:])
        own = logits[:, 0].argmax(-1)
        words[:, position] = own if known else torch.where(coins[position], words[:, position], own)
        start = position
    return words
