"""Validation beside training: captions are decoded at an epoch's end and scored while the next epoch trains."""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.config import MAX_LENGTH
from m2t_fast.data.batches import motion_batches
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.evaluation.token_bleu import Integers, TokenBleu, bleu_4
from m2t_fast.ops.decode import greedy_words
from m2t_fast.training.host_copy import HostCopy


class Validation:
    """BLEU-4 of greedy captions of a split, epoch after epoch: :meth:`start`, then :meth:`result`.

    Args:
        background: runs the scoring, one thing at a time.
        processes: each captions and scores its share of the motions; all get the score of all.
    """

    def __init__(
        self,
        model: Captioner,
        dataset: MotionDataset,
        vocabulary: Vocabulary,
        batch_size: int,
        background: Executor,
        processes: Processes = ALONE,
    ):
        self._model, self._dataset, self._batch_size = model, dataset, batch_size
        self._background, self._processes = background, processes
        self._references = TokenBleu(dataset.references, vocabulary)
        self._counted: Future[tuple[Integers, float]] | None = None

    @torch.no_grad()
    def start(self) -> None:
        """Caption the split with the weights as they are now, and begin to score the captions.

        On a GPU this queues work and does not wait for it, as far as the backend's search does not.
        """
        started = time.perf_counter()
        weight, words, motions = self._model.embedding.weight, [], []
        for batch in motion_batches(self._dataset, self._batch_size, self._processes):
            memory = self._model.encode(
                batch.motion.to(weight.device, weight.dtype), batch.lengths.to(weight.device, non_blocking=True)
            )
            weights, scale = self._model.decoder_weights(), self._model.attention.scale
            words.append(greedy_words(*memory, weights, MAX_LENGTH, scale))
            motions.append(batch.index)
        tokens = HostCopy({"tokens": torch.cat(words)} if words else {"tokens": torch.empty(0, MAX_LENGTH).long()})
        index = torch.cat(motions) if motions else torch.empty(0).long()
        self._counted = self._background.submit(self._count, tokens, index, started)

    def _count(self, tokens: HostCopy, motions: Tensor, started: float) -> tuple[Integers, float]:
        counts = self._references.counts(tokens.get()["tokens"].numpy(), motions.numpy())
        return counts, time.perf_counter() - started

    def result(self) -> tuple[float, float]:
        """BLEU-4 (0 to 100) of the captions of the last :meth:`start`, and the seconds from there to the score.

        Waits for it, and for the other processes, which must ask, too.

        Raises:
            JobError: another process has ended.
        """
        assert self._counted is not None, "start comes first"
        counts, seconds = self._counted.result()
        self._counted = None
        return bleu_4(self._processes.sum(torch.from_numpy(counts)).tolist()), seconds
