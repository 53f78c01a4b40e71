"""Validation beside training: captions are decoded at an epoch's end and scored while the next epoch trains."""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future

import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import MAX_LENGTH
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.evaluation.token_bleu import Integers, TokenBleu, bleu_4
from m2t_fast.ops import gather
from m2t_fast.ops.decode import greedy_words
from m2t_fast.training.host_copy import HostCopy


class Validation:
    """BLEU-4 of greedy captions of a split, epoch after epoch: :meth:`start`, then :meth:`result`.

    The motions lie on the model's device, packed, and are batched by length.

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
        self._model, self._background, self._processes = model, background, processes
        weight = model.embedding.weight
        self._frames = dataset.frames.to(weight.device, weight.dtype)
        self._offsets = dataset.frame_offsets.to(weight.device)
        self._motions = processes.share(torch.argsort(dataset.motion_lengths, stable=True))
        # Of each batch: motions, their lengths, and the longest of these.
        self._batches = [
            (index.to(weight.device), lengths.to(weight.device), int(lengths.max()))
            for index in self._motions.split(batch_size)
            if len(lengths := dataset.motion_lengths[index])
        ]
        self._references = TokenBleu(dataset.references, vocabulary)
        self._counted: Future[tuple[Integers, float]] | None = None

    @torch.no_grad()
    def start(self) -> None:
        """Caption the split with the weights as they are now, and begin to score the captions.

        On a GPU this queues work and does not wait for it, as far as the backend's search does not.
        """
        started = time.perf_counter()
        model, words = self._model, [self._motions.new_empty(0, MAX_LENGTH).to(self._offsets.device)]
        for index, lengths, longest in self._batches:
            motion = gather.unchecked(self._frames, self._offsets, index, longest)
            memory = model.encode(motion, lengths, relative=True)
            words.append(greedy_words(*memory, model.decoder_weights(), MAX_LENGTH, model.attention.scale))
        tokens = HostCopy({"tokens": torch.cat(words)})
        self._counted = self._background.submit(self._count, tokens, started)

    def _count(self, tokens: HostCopy, started: float) -> tuple[Integers, float]:
        counts = self._references.counts(tokens.get()["tokens"].numpy(), self._motions.numpy())
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
