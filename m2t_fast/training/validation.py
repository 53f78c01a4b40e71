"""Validation beside training: captions are decoded at an epoch's end and scored while the next epoch trains."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.config import MAX_LENGTH
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.evaluation.token_bleu import Integers, TokenBleu, bleu_4
from m2t_fast.ops import gather_motions
from m2t_fast.training import graphs
from m2t_fast.training.host_copy import HostCopy

_LARGER = 4  # times as many motions in a batch as in one of training: no gradient, so less memory


class Validation:
    """BLEU-4 of greedy captions of a split, epoch after epoch: :meth:`start`, then :meth:`result`.

    The motions lie on the model's device, packed, and are batched by length. On CUDA the decoding of each batch is a
    captured graph from the second epoch on, and nothing waits for it.

    Args:
        background: runs the scoring, one task at a time.
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
        # What graphs write, outside their pool.
        self._tokens = torch.empty(len(self._motions), MAX_LENGTH, dtype=torch.int64, device=weight.device)
        # Of each batch: motions, their lengths, the longest of these, and where its captions go. A GPU takes them in
        # few large ones: its time is that of the words, one after the other.
        size = batch_size * (_LARGER if weight.is_cuda else 1)
        self._batches = [
            (index.to(weight.device), lengths.to(weight.device), int(lengths.max()), tokens)
            for index, tokens in zip(self._motions.split(size), self._tokens.split(size), strict=True)
            if len(lengths := dataset.motion_lengths[index])
        ]
        self._recorder = graphs.recorder_for(weight.device)
        self._graphs: list[Callable[[], None]] = []
        self._references = TokenBleu(dataset.references, vocabulary)
        self._counted: Future[tuple[Integers, float]] | None = None

    @torch.no_grad()
    def start(self) -> None:
        """Caption the split with the weights as they are now, and begin to score the captions.

        On a GPU this queues work and does not wait for it, as far as the backend's search does not.
        """
        started = time.perf_counter()
        if self._graphs:
            for replay in self._graphs:
                replay()
        else:
            for batch in self._batches:
                self._caption(batch)
        self._counted = self._background.submit(self._count, HostCopy({"tokens": self._tokens}), started)
        if self._recorder is not None and not self._graphs:
            self._capture(self._recorder)

    def _caption(self, batch: tuple[Tensor, Tensor, int, Tensor]) -> None:
        index, lengths, longest, tokens = batch
        motion = gather_motions.in_bounds(self._frames, self._offsets, index, longest)
        tokens.copy_(self._model.greedy_words(motion, lengths, relative=True, ends=not tokens.is_cuda))

    def _capture(self, recorder: graphs.Recorder) -> None:
        """Record the decoding of all batches, or leave it as it is where that fails."""
        try:
            for batch in self._batches:
                self._graphs.append(recorder.capture(partial(self._caption, batch)))
        except RuntimeError as error:
            self._recorder, self._graphs = None, []
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"no CUDA graph of validation: {reason}; it goes on without, slower", stacklevel=2)

    def _count(self, tokens: HostCopy, started: float) -> tuple[Integers, float]:
        counts = self._references.counts(tokens.get()["tokens"].numpy(), self._motions.numpy())
        return counts, time.perf_counter() - started

    def result(self) -> tuple[float, float]:
        """BLEU-4 (0 to 100) of the captions of the last :meth:`start`, and the seconds from there to the score.

        Waits for it, and for the other processes, which must call this, too.

        Raises:
            JobError: another process has ended.
        """
        assert self._counted is not None, "start comes first"
        counts, seconds = self._counted.result()
        self._counted = None
        return bleu_4(self._processes.sum(torch.from_numpy(counts)).tolist()), seconds
