"""Captions that differ because two words, or two hypotheses, were as good as equal: no fault of a search."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast import use_backend
from m2t_fast.config import SOS
from m2t_fast.ops.decode import DecoderWeights, SearchOutput
from m2t_fast.ops.decoding.decoder import Decoder, Memory

CLOSE = 1e-4
"""Of log-probabilities, and of scores: more than float32 and a device's own exponential leave open."""


@torch.no_grad()
def log_probabilities(memory: list[Tensor], weights: DecoderWeights, words: Tensor, motions: int = 1) -> Tensor:
    """(V,): what the reference gives the word behind ``words`` (W,) of one motion; memory of that motion alone.

    Of several motions, whose first words are the same, (motions, V).
    """
    decoder, state = Decoder(weights, 1.0), None
    for word in (*words.new_tensor([SOS]), *words):
        embedded = decoder.embed(word.expand(motions, 1))
        hidden, top, state = decoder.run_lstms(embedded, state)
        logits = decoder.next_word(Memory(*memory), hidden, top, embedded, embedded)
    return logits.view(motions, -1).squeeze(0).log_softmax(-1)


def near_ties(found: SearchOutput, exact: SearchOutput, memory: list[Tensor], weights: DecoderWeights) -> Tensor:
    """(B,) bool: motions whose captions differ from the exact ones within what rounding decides.

    Either every hypothesis has the score of the exact one of its place; or, with one hypothesis, the reference in
    float64 sees both words as equally likely where the two captions part.

    Args:
        memory, weights: of the search, in float64.
    """
    width = max(found.tokens.shape[2], exact.tokens.shape[2])
    theirs, true = (torch.nn.functional.pad(x.tokens, (0, width - x.tokens.shape[2])) for x in (found, exact))
    equal = (theirs == true).flatten(1).all(1)
    both = (found.scores == exact.scores) | ((found.scores.double() - exact.scores).abs() <= CLOSE)
    ties = both.all(1) & ~equal
    if theirs.shape[1] == 1:
        for n in (~equal & ~ties).nonzero().flatten().tolist():
            place = int((theirs[n, 0] != true[n, 0]).int().argmax())
            with use_backend("reference"):
                likely = log_probabilities([x[n : n + 1] for x in memory], weights, true[n, 0, :place])
            ties[n] = bool((likely[theirs[n, 0, place]] - likely[true[n, 0, place]]).abs() <= CLOSE)
    return ties
