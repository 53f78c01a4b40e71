"""Beam search, batched over motions and beams; a motion leaves the batch when its best K captions are decided."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State, select_state


def beam_search(
    decoder: Decoder, memory: Memory, beam_size: int, max_length: int, length_penalty: float
) -> tuple[Tensor, Tensor]:
    """Tokens (B, K, max_length) and scores (B, K) of the best K captions found, best first.

    Each motion keeps K growing hypotheses and, apart from them, the K best finished ones. A finished hypothesis
    takes no further part in the computation. A motion is done when it has K finished ones and no growing hypothesis
    scores better than the worst of them; otherwise a complete caption could ramble on for a better mean.
    At ``max_length`` the growing hypotheses count as finished, without <eos>.
    """
    device = memory.parts.device
    batch, beams = len(memory.lengths), beam_size
    precision = torch.promote_types(memory.parts.dtype, torch.float32)
    tokens = torch.full((batch, beams, max_length), PAD, dtype=torch.int64, device=device)
    scores = torch.full((batch, beams), -torch.inf, dtype=precision, device=device)
    if batch == 0:
        return tokens, scores

    active = torch.arange(batch, device=device)
    done_tokens, done_scores = tokens.clone(), scores.clone()
    prefix = tokens.clone()
    word = torch.full((batch, beams), SOS, dtype=torch.int64, device=device)
    total = torch.full((batch, beams), -torch.inf, dtype=precision, device=device)
    total[:, 0] = 0.0  # one empty hypothesis; the others do not exist yet
    state: State | None = None
    for step in range(max_length):
        rows = len(active)
        embedded = decoder.embed(word.view(-1, 1))
        hidden, top, state = decoder.run_lstms(embedded, state)
        hidden, top, embedded = (x.view(rows, beams, -1) for x in (hidden, top, embedded))
        logits = decoder.next_word(memory, hidden, top, embedded, embedded)
        candidates = total[..., None] + logits.to(precision).log_softmax(-1)
        length = float(step + 1) ** length_penalty

        # Finish: every hypothesis may end here; the best K of these and of those finished before stay.
        ended = prefix.clone()
        ended[..., step] = EOS
        done_tokens, done_scores = _best(
            torch.cat([done_tokens, ended], dim=1),
            torch.cat([done_scores, candidates[..., EOS] / length], dim=1),
            beams,
        )

        # Grow: the best K continuations.
        candidates[..., EOS] = -torch.inf
        total, flat = candidates.flatten(1).topk(beams, dim=-1)
        origin, word = flat // candidates.shape[-1], flat % candidates.shape[-1]
        prefix = prefix.gather(1, origin[..., None].expand_as(prefix))
        prefix[..., step] = word
        if step + 1 == max_length:
            done_tokens, done_scores = _best(
                torch.cat([done_tokens, prefix], dim=1), torch.cat([done_scores, total / length], dim=1), beams
            )
            tokens[active], scores[active] = done_tokens, done_scores
            break

        decided = done_scores[:, -1] >= total[:, 0] / length
        finished, going = decided.nonzero()[:, 0], (~decided).nonzero()[:, 0]
        tokens[active[finished]], scores[active[finished]] = done_tokens[finished], done_scores[finished]
        if len(going) == 0:
            break
        rows_of_beams = (going[:, None] * beams + origin[going]).flatten()
        state = select_state(state, rows_of_beams)
        if len(finished):
            active, memory = active[going], memory.select(going)
            prefix, word, total = prefix[going], word[going], total[going]
            done_tokens, done_scores = done_tokens[going], done_scores[going]
    return tokens, scores


def _best(tokens: Tensor, scores: Tensor, beams: int) -> tuple[Tensor, Tensor]:
    """The ``beams`` best of (A, N, W) hypotheses by scores (A, N), best first; hypotheses of score -inf are empty."""
    scores, order = scores.topk(beams, dim=-1)
    tokens = tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))
    return torch.where(scores[..., None] == -torch.inf, PAD, tokens), scores
