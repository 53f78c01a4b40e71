"""The training step and decoding, as cases."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from m2t_fast.benchmarking.captioners import (
    CompiledCaptioner,
    RecomputedCaptioner,
    StepwiseCaptioner,
    captions_with_keys_anew,
    plain_pytorch,
)
from m2t_fast.benchmarking.case import BASELINES, COMPILE, LOOP, Case, Run
from m2t_fast.benchmarking.results import TOLERANCE, Results, why_wrong
from m2t_fast.benchmarking.sizes import Size, model_of, motions_to_caption, training_batch, training_settings
from m2t_fast.captioner import Captioner
from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.ops.decode import caption_lengths
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.ops.registry import use_backend
from m2t_fast.random import Counter
from m2t_fast.training.step import TrainingStep
from m2t_fast.wording import counted


class TrainingCase(Case):
    """A whole training step: scheduled sampling, dropout, guided losses, backward, clipping, AdamW."""

    def __init__(self, name: str, size: Size, scoring: str, device: torch.device):
        super().__init__(name, size, scoring, device)
        self.batch, self.settings = training_batch(size).to(device), training_settings(size)
        self.frames = int(self.batch.lengths.sum())
        self.words = int((self.batch.tokens[:, 1:] != PAD).sum())
        config = size.scored(scoring)
        self.elements = size.batch * size.words * size.frames * config.key_slots * config.attention_dim

    def prepare(self, way: str) -> Run:
        kinds: dict[str, type[Captioner]] = {LOOP: StepwiseCaptioner, COMPILE: CompiledCaptioner}
        context = plain_pytorch if way in BASELINES else lambda: use_backend(way)
        return self._run(kinds.get(way, Captioner), context)

    def truth(self) -> Results:
        """Step by step; attention is recomputed for the gradient, so that no word's tensors are kept."""
        return self._run(RecomputedCaptioner, plain_pytorch)()

    def _run(self, kind: type[Captioner], context: Callable[[], contextlib.AbstractContextManager[None]]) -> Run:
        model = model_of(self.size, self.scoring, kind).to(self.device).train()
        # A learning rate of 0 costs the same and leaves the weights as they are: every run does the same work.
        step = TrainingStep(model, torch.optim.AdamW(model.parameters(), lr=0.0), self.settings)

        def run() -> Results:
            with context():
                loss = step(self.batch, Counter(0, device=self.device))
            grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            return Results(loss._asdict(), grads)

        return run


class DecodingCase(Case):
    """Captioning motions with captions that never end by themselves: greedy, or beam search with two hypotheses."""

    backward = False
    truth_way = LOOP

    def __init__(self, name: str, size: Size, scoring: str, device: torch.device):
        super().__init__(name, size, scoring, device)
        motion, lengths = motions_to_caption(size)
        self.motion, self.lengths = motion.to(device), lengths.to(device)
        self.beams = 1 if name == "greedy" else 2

    @property
    def title(self) -> str:
        return f"{self.name}{' 2' if self.beams == 2 else ''}, {self.scoring} scoring"

    def inapplicable(self, way: str) -> str | None:
        return "a search is a loop that ends when it ends" if way == COMPILE else None

    def prepare(self, way: str) -> Run:
        model = self._model()
        context = plain_pytorch if way in BASELINES else lambda: use_backend(way)
        find = self._one_by_one if way == LOOP else self._generate

        def run() -> Results:
            with context():
                return Results(find(model, self.motion, self.lengths), {})

        return run

    def truth(self) -> Results:
        """One motion at a time."""
        return self.prepare(LOOP)()

    def why_wrong(self, found: Results, truth: Results) -> str | None:
        """Captions must be the same. Where two words or hypotheses all but tie, rounding decides: one motion in twenty
        may have other captions, as long as their scores are what the equations give them."""
        mine, right = found.outputs["tokens"], truth.outputs["tokens"]
        if mine.shape != right.shape:
            return f"tokens has shape {tuple(mine.shape)}, expected {tuple(right.shape)}"
        other = (mine != right).flatten(1).any(dim=1)
        if int(other.sum()) > len(other) // 20:
            motions = counted(len(other), "motion")
            return f"other captions than one motion at a time gives, of {int(other.sum())} of {motions}"
        if other.any():
            score, expected = found.outputs["scores"][other], self._scores(other, mine[other])
            if not bool((score - expected).abs().max() <= TOLERANCE * expected.abs().max()):
                return "the score of a caption is not its log-probability"
        same = Results({name: x[~other] for name, x in found.outputs.items()}, {})
        return why_wrong(same, Results({name: x[~other] for name, x in truth.outputs.items()}, {}))

    def _model(self) -> Captioner:
        model = model_of(self.size, self.scoring).to(self.device).eval()
        with torch.no_grad():
            model.output.bias[EOS] = -1e4
        return model

    def _generate(self, model: Captioner, motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        found = model.generate(motion, lengths, beam_size=self.beams, max_length=self.size.caption_words)
        return _named(found)

    def _one_by_one(self, model: Captioner, motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        options = self.beams, self.size.caption_words
        each = [
            _named(captions_with_keys_anew(model, motion[i : i + 1, :length], lengths[i : i + 1], *options))
            for i, length in enumerate(lengths.tolist())
        ]
        for found in each:
            for name, axis in (("window", 2), ("spatial", 2)):
                padding = [0, 0] * (found[name].dim() - 1 - axis) + [0, motion.shape[1] - found[name].shape[axis]]
                found[name] = torch.nn.functional.pad(found[name], padding)
        return {name: torch.cat([found[name] for found in each]) for name in each[0]}

    @torch.no_grad()
    def _scores(self, motions: Tensor, tokens: Tensor) -> Tensor:
        """Log-probability per word (A, K) of captions (A, K, W) of the selected motions, by the equations."""
        model, scores = self._model(), []
        with plain_pytorch():
            memory = model.encode(self.motion[motions], self.lengths[motions])
            for caption in tokens.unbind(1):
                previous = torch.cat([torch.full_like(caption[:, :1], SOS), caption[:, :-1]], dim=1)
                logits = model.decode(memory, previous).logits.log_softmax(-1)
                each = logits.gather(-1, caption[..., None])[..., 0]
                words = caption_lengths(caption)
                inside = torch.arange(caption.shape[1], device=caption.device) < words[:, None]
                scores.append(torch.where(inside, each, 0).sum(-1) / words)
        return torch.stack(scores, dim=1)


def _named(found: Generation) -> dict[str, Tensor]:
    return {"tokens": found.tokens, "scores": found.scores, **found.attention._asdict()}
