"""The sizes that are measured, and random inputs of those sizes: of every op, of a training step, of decoding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.config import EOS, PAD, SOS, UNK, CaptionerConfig
from m2t_fast.data.batches import Batch
from m2t_fast.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True)
class Size:
    """The sizes of everything that is measured.

    Args:
        config: the model's sizes; the scoring mode is chosen apart.
        batch: B, samples of an op call or a training step.
        frames: T; motions have from a fifth of it to all of it.
        words: L; captions have from a third of it to all of it.
        motions, caption_words: how many motions are captioned, and with how many words each.
    """

    name: str
    config: CaptionerConfig
    batch: int
    frames: int = 100
    words: int = 23
    motions: int = 64
    caption_words: int = 40

    def scored(self, scoring: str) -> CaptionerConfig:
        """The model's sizes with this scoring mode."""
        return CaptionerConfig.from_dict({**self.config.to_dict(), "scoring": scoring})

    def describe(self) -> str:
        """One line."""
        c = self.config
        return (
            f"{self.name}: batch {self.batch}, {self.frames // 5} to {self.frames} frames, {self.words} words, H "
            f"{c.part_dim}, D {c.attention_dim}, C {c.hidden_size}, E {c.embedding_dim}, V {c.vocab_size}; decoding "
            f"{self.motions} motions, {self.caption_words} words each"
        )


_TINY = CaptionerConfig(20, joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=4)
SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("kit", CaptionerConfig.kit(vocab_size=1100), 64),
        Size("humanml3d", CaptionerConfig.humanml3d(vocab_size=3200), 128),
        Size("large", CaptionerConfig.humanml3d(vocab_size=3200), 512, frames=200, words=40),
        Size("tiny", _TINY, 4, frames=10, words=6, motions=3, caption_words=5),
    )
}
"""By name: the paper's two data sets, what only a GPU holds, and what tests take."""


def generator(seed: int = 0) -> torch.Generator:
    """Random numbers that are the same in every process, on every device."""
    return torch.Generator().manual_seed(seed)


def _lengths(batch: int, least: int, most: int, g: torch.Generator) -> Tensor:
    """(B,) int64 uniform in [least, most], the first as long as they get."""
    lengths = torch.randint(least, most + 1, (batch,), generator=g)
    lengths[:1] = most
    return lengths


def _normal(g: torch.Generator) -> Callable[..., Tensor]:
    return lambda *shape: torch.randn(shape, generator=g)


class OpInputs(NamedTuple):
    """Arguments of one op call, in the op's order."""

    names: tuple[str, ...]
    tensors: list[Tensor]
    batched: int
    """The first so many tensors, and ``lengths``, have a row per motion; the others are weights."""


def attention_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``spatio_temporal_attention``."""
    g, config = generator(), size.scored(scoring)
    normal, parts, dim = _normal(g), len(config.parts), config.attention_dim
    slots, rows = (parts, 1) if scoring == "part" else (1, parts)
    tensors = dict(
        parts=torch.tanh(normal(size.batch, size.frames, parts, config.part_dim)),
        temporal_keys=normal(size.batch, size.frames, slots, dim),
        spatial_keys=normal(size.batch, size.frames, slots, dim),
        temporal_query=normal(size.batch, size.words, dim),
        spatial_query=normal(size.batch, size.words, dim),
        temporal_weight=normal(dim) / dim**0.5,
        spatial_weight=normal(rows, dim) / dim**0.5,
        spatial_bias=normal(rows),
        lengths=_lengths(size.batch, size.frames // 5, size.frames, g),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=5)


def gate_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``gated_decoder_step``; they do not depend on ``scoring``."""
    g, config = generator(), size.config
    normal, batch, words = _normal(g), size.batch, size.words
    dim, hidden, word, mixture = config.attention_dim, config.hidden_size, config.embedding_dim, config.mixture_dim
    tensors = dict(
        context=normal(batch, words, config.part_dim),
        hidden=normal(batch, words, hidden),
        top=normal(batch, words, hidden),
        word=normal(batch, words, word),
        mixed_word=normal(batch, words, word),
        gate_hidden_weight=normal(hidden) / hidden**0.5,
        gate_word_weight=normal(word) / word**0.5,
        gate_bias=normal(),
        context_weight=normal(dim, config.part_dim) / config.part_dim**0.5,
        context_bias=normal(dim),
        language_weight=normal(dim, hidden) / hidden**0.5,
        language_bias=normal(dim),
        mixture_weight=normal(mixture, mixture) / mixture**0.5,
        mixture_bias=normal(mixture),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=5)


def encoder_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``part_encoder`` but the parts; they do not depend on ``scoring``."""
    g, config = generator(), size.config
    normal, parts, dim, half = _normal(g), len(config.parts), config.attention_dim, config.part_dim // 2
    tensors = dict(
        motion=normal(size.batch, size.frames, config.joints, 3),
        lengths=_lengths(size.batch, size.frames // 5, size.frames, g),
        weight1=normal(2, 3 * sum(map(len, config.parts)), dim) / 4,
        bias1=normal(2, parts, dim),
        weight2=normal(2, parts, dim, half) / dim**0.5,
        bias2=normal(2, parts, half),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=2)


def keys_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``attention_keys``."""
    g, config = generator(), size.scored(scoring)
    normal, parts, dim = _normal(g), len(config.parts), config.attention_dim
    inputs = config.part_dim * (parts // config.key_slots)
    tensors = dict(
        parts=torch.tanh(normal(size.batch, size.frames, parts, config.part_dim)),
        lengths=_lengths(size.batch, size.frames // 5, size.frames, g),
        temporal_weight=normal(dim, inputs) / inputs**0.5,
        temporal_bias=normal(dim),
        spatial_weight=normal(dim, inputs) / inputs**0.5,
        spatial_bias=normal(dim),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=2)


def loss_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``spatial_loss``, half of whose words are supervised; they do not depend on ``scoring``."""
    g, parts = generator(), len(size.config.parts)
    target = torch.randint(0, 2, (size.batch, size.words, parts), generator=g)
    target[torch.rand(size.batch, size.words, generator=g) < 0.5] = -1
    tensors = dict(
        spatial=_normal(g)(size.batch, size.words, size.frames, parts).softmax(-1),
        target=target,
        lengths=_lengths(size.batch, size.frames // 5, size.frames, g),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=3)


def additive_inputs(size: Size, scoring: str) -> OpInputs:
    """Arguments of ``additive_attention``, one key per frame; they do not depend on ``scoring``."""
    g, dim, width = generator(), size.config.attention_dim, size.config.part_dim
    normal = _normal(g)
    tensors = dict(
        query=normal(size.batch, size.words, dim),
        keys=normal(size.batch, size.frames, dim),
        values=normal(size.batch, size.frames, width),
        weight=normal(dim) / dim**0.5,
        lengths=_lengths(size.batch, size.frames // 5, size.frames, g),
    )
    return OpInputs(tuple(tensors), list(tensors.values()), batched=3)


OP_INPUTS: dict[str, Callable[[Size, str], OpInputs]] = {
    "spatio_temporal_attention": attention_inputs,
    "gated_decoder_step": gate_inputs,
    "part_encoder": encoder_inputs,
    "attention_keys": keys_inputs,
    "spatial_loss": loss_inputs,
    "additive_attention": additive_inputs,
}
UNSCORED = ("gated_decoder_step", "part_encoder", "spatial_loss", "additive_attention")
"""Ops to which the scoring mode does not matter."""


def model_of(size: Size, scoring: str, kind: type[Captioner] = Captioner) -> Captioner:
    """An untrained captioner, certain enough of its words that rounding errors hardly ever change them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind(size.scored(scoring))
    with torch.no_grad():
        model.embedding.weight.mul_(2.0)
        model.output.weight.mul_(10.0)
    return model


def training_batch(size: Size) -> Batch:
    """B motions with captions, with every word and part a target, no target, or not supervised."""
    g, config = generator(), size.config
    batch, words = size.batch, size.words
    lengths = _lengths(batch, size.frames // 5, size.frames, g)
    counts = _lengths(batch, max(2, words // 3), words + 1, g)  # tokens, <sos> and <eos> included
    tokens = torch.randint(UNK, config.vocab_size, (batch, words + 1), generator=g)
    tokens[:, 0] = SOS
    place = torch.arange(words + 1)
    tokens = torch.where(place == counts[:, None] - 1, EOS, tokens)
    inside = place < counts[:, None]
    tokens = torch.where(inside, tokens, PAD)
    gate = torch.randint(-1, 2, (batch, words), generator=g).float()
    spatial = torch.randint(0, 2, (batch, words, len(config.parts)), generator=g).float()
    supervised = torch.rand(batch, words, 1, generator=g) < 0.5
    spatial = torch.where(supervised & inside[:, 1:, None], spatial, -1.0)
    gate = torch.where(inside[:, 1:], gate, -1.0)
    motion = torch.randn(batch, size.frames, config.joints, 3, generator=g)
    return Batch(motion, lengths, tokens, gate, spatial, torch.arange(batch))


def training_settings(size: Size) -> TrainingSettings:
    """Teacher forcing 0.5 and all three losses. A clip that nothing reaches costs the same and leaves the gradients as
    they are, so that they can be compared."""
    return TrainingSettings(batch_size=size.batch, lambda_spat=2.0, lambda_adapt=3.0, teacher_forcing=0.5, clip=1e9)


def motions_to_caption(size: Size) -> tuple[Tensor, Tensor]:
    """Motions (N, T, J, 3) and their lengths (N,)."""
    g = generator()
    lengths = _lengths(size.motions, size.frames // 5, size.frames, g)
    return torch.randn(size.motions, size.frames, size.config.joints, 3, generator=g), lengths
