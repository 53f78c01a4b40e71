"""The released best-first search: one queue per motion, one batched model step for the best node of every queue."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.errors import UserError
from m2t_fast.ops.decoding.attention import caption_attention
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.ops.decoding.result import CaptionAttention, Generation

QUEUE_LIMIT = 100
"""A search gives up when its counter, 1 and K - 1 more for every node it expanded, exceeds this."""


class Found(NamedTuple):
    """One hypothesis of the released search."""

    words: list[int]
    """From <sos> to <eos>; without <eos> where no hypothesis was finished."""
    score: float
    """Mean log-probability, in float64: the sum over the words after <sos>, divided by (their number + 1e-6)."""


class _Node(NamedTuple):
    word: int
    parent: _Node | None
    log_probability: float
    length: int
    state: int
    """Which model step left the LSTM states that read ``word``; 0: the initial ones."""

    @property
    def cost(self) -> float:
        """What the queue is ordered by: minus the score, operation for operation as the released code computes it."""
        return -(self.log_probability / (self.length - 1 + 1e-6))


class _Queue:
    """The search of one motion, between two model steps."""

    def __init__(self, beam_size: int):
        self.beam_size = beam_size
        self.heap: list[tuple[float, int, _Node]] = []
        self.pushed = 0
        self.counter = 1
        self.ended: list[tuple[float, _Node]] = []
        self._push(_Node(SOS, None, 0.0, 1, 0))

    def _push(self, node: _Node) -> None:
        # Of equal costs the older goes first; the released code cannot compare such nodes and fails.
        heapq.heappush(self.heap, (node.cost, self.pushed, node))
        self.pushed += 1

    def take(self) -> _Node | None:
        """The node to expand next, or None when the search is over."""
        while self.counter <= QUEUE_LIMIT:
            cost, _, node = heapq.heappop(self.heap)
            if node.word != EOS or node.parent is None:
                return node
            self.ended.append((cost, node))
            if len(self.ended) == self.beam_size:
                break
        return None

    def grow(self, node: _Node, words: list[int], log_probabilities: list[float], state: int) -> None:
        """Add the likeliest words after ``node``, which the model step ``state`` read."""
        for word, log_probability in zip(words, log_probabilities, strict=True):
            self._push(_Node(word, node, node.log_probability + log_probability, node.length + 1, state))
        self.counter += self.beam_size - 1

    def result(self) -> list[Found]:
        """The finished hypotheses, or the K best unfinished ones where there are none; best first."""
        best = self.ended or [(cost, node) for cost, _, node in heapq.nsmallest(self.beam_size, self.heap)]
        found = []
        for cost, node in sorted(best, key=lambda pair: pair[0]):
            words = [node.word]
            while node.parent is not None:
                node = node.parent
                words.append(node.word)
            found.append(Found(words[::-1], -cost))
        return found


@torch.no_grad()
def best_first_search(
    decoder: Decoder, memory: Memory, beam_size: int, dropout: Callable[[Tensor], Tensor] | None = None
) -> list[list[Found]]:
    """Per motion the hypotheses of the released search, best first: at least one, at most K.

    A priority queue holds hypotheses by their mean log-probability. The best one is taken: a finished one is kept,
    another is expanded by its K likeliest words, until K are finished or the counter exceeds ``QUEUE_LIMIT``. The
    searches of all motions take their model steps together; a motion leaves the batch when its search is over.

    Args:
        memory: of B motions. beam_size: K, 2 <= K <= V.
        dropout: applied to the embedding for the bottom LSTM, then to that for the mixture, each at every step; None:
            no dropout.

    Raises:
        UserError: beam_size is out of range.
    """
    vocabulary, hidden_size = decoder.vocabulary, decoder.hidden_size
    if not 2 <= beam_size <= vocabulary:
        raise UserError(f"beam_size: got {beam_size}, expected 2 to {vocabulary}, the words of the vocabulary")
    device = memory.parts.device
    precision = torch.promote_types(memory.parts.dtype, torch.float32)
    queues = [_Queue(beam_size) for _ in range(len(memory.lengths))]
    steps = -(-QUEUE_LIMIT // (beam_size - 1))
    # The LSTM states that every step left: a node may be taken long after the step that made it.
    states = [memory.parts.new_zeros(steps + 1, len(queues), hidden_size) for _ in range(4)]
    active = list(range(len(queues)))
    for step in range(1, steps + 1):
        taken = [(motion, node) for motion in active if (node := queues[motion].take()) is not None]
        if not taken:
            break
        going = [motion for motion, _ in taken]
        if len(going) < len(active):
            place = {motion: row for row, motion in enumerate(active)}
            memory = memory.select(torch.tensor([place[motion] for motion in going], device=device))
            active = going
        words, before, rows = torch.tensor([(n.word, n.state, m) for m, n in taken], device=device).T
        bottom_h, bottom_c, top_h, top_c = (state[before, rows] for state in states)
        embedded = decoder.embed(words[:, None])
        first, second = (embedded, embedded) if dropout is None else (dropout(embedded), dropout(embedded))
        hidden, top, after = decoder.run_lstms(first, ((bottom_h, bottom_c), (top_h, top_c)))
        for state, new in zip(states, (*after[0], *after[1]), strict=True):
            state[step, rows] = new
        logits = decoder.next_word(memory, hidden, top, embedded, second)[:, 0]
        log_probabilities, words = logits.to(precision).log_softmax(-1).topk(beam_size)
        for (motion, node), new_words, values in zip(taken, words.tolist(), log_probabilities.tolist(), strict=True):
            queues[motion].grow(node, new_words, values, step)
    return [queue.result() for queue in queues]


@torch.no_grad()
def generate_best_first(decoder: Decoder, memory: Memory, beam_size: int, max_length: int | None) -> Generation:
    """:func:`best_first_search` as tensors: tokens (B, K, W), scores (B, K) float64, attention of the best hypothesis.

    Where fewer than K hypotheses were found the others are empty, of score -inf. ``max_length`` cuts what is longer;
    None: nothing is cut.
    """
    device = memory.parts.device
    found = [
        [(words[1:][:max_length], score) for words, score in hypotheses]
        for hypotheses in best_first_search(decoder, memory, beam_size)
    ]
    width = max((len(words) for hypotheses in found for words, _ in hypotheses), default=1)
    tokens = torch.full((len(found), beam_size, width), PAD, dtype=torch.int64, device="cpu")
    scores = torch.full((len(found), beam_size), -torch.inf, dtype=torch.float64, device="cpu")
    for row, hypotheses in enumerate(found):
        for column, (words, score) in enumerate(hypotheses):
            tokens[row, column, : len(words)] = torch.tensor(words, device="cpu")
            scores[row, column] = score
    tokens = tokens.to(device)
    lengths = torch.tensor([len(hypotheses[0][0]) for hypotheses in found], device=device)
    best = tokens[:, 0, : int(lengths.max()) if len(found) else 1]
    attention = caption_attention(decoder, memory, best, lengths)
    missing = width - best.shape[1]
    attention = CaptionAttention(*(pad(x, (0, 0) * (x.dim() - 2) + (0, missing)) for x in attention))
    return Generation(tokens, scores.to(device), attention)
