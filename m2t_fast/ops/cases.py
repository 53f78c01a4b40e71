"""Inputs of every op in every shape that matters; tests and benchmarks share them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from m2t_fast.config import EOS
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.reference.additive_attention import AdditiveInputs
from m2t_fast.reference.attention import AttentionInputs, KeysInputs
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs
from m2t_fast.reference.encoder import EncoderInputs
from m2t_fast.reference.gate import GateInputs
from m2t_fast.reference.gate_with_loss import GuidedGateInputs
from m2t_fast.reference.gather import GatherInputs
from m2t_fast.reference.loss import LossInputs
from m2t_fast.reference.lstm import LstmInputs


def _record(record: Any, *values: Any) -> Any:
    """A record of values whose number mypy does not know."""
    return record(*values)


def targets(*shape: int) -> Tensor:
    """1, 0 and -1 (not supervised) in turn."""
    return torch.arange(math.prod(shape)).view(shape) % 3 - 1


def arranged(inputs: list[Tensor], layout: str) -> list[Tensor]:
    """The inputs as they may lie in memory; floats of ``layout``

    - "contiguous": as they are;
    - "strided": the same values, every dimension with a stride of its own, nothing contiguous;
    - "expanded": the first row repeated with a stride of 0.
    """
    if layout == "contiguous":
        return inputs

    def arrange(x: Tensor) -> Tensor:
        if not x.dtype.is_floating_point or x.dim() == 0:
            return x
        if layout == "expanded":
            return x[:1].expand(x.shape)
        return torch.stack([x.mT.contiguous().mT if x.dim() > 1 else x, torch.full_like(x, torch.nan)], dim=-1)[..., 0]

    return [arrange(x) for x in inputs]


@dataclass(frozen=True)
class AttentionCase:
    """Sizes of one ``spatio_temporal_attention`` call; ``sharp`` multiplies the temporal weight."""

    B: int = 2
    T: int = 9
    L: int = 5
    P: int = 6
    S: int = 1
    H: int = 8
    D: int = 7
    sharp: float = 1.0
    scale: float = 1.0
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The eight float inputs and the lengths, in the op's order; one length is T, the others are ragged."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

        rows = self.P if self.S == 1 else 1
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        inputs = [
            torch.tanh(normal(self.B, self.T, self.P, self.H)),
            normal(self.B, self.T, self.S, self.D),
            normal(self.B, self.T, self.S, self.D),
            normal(self.B, self.L, self.D),
            normal(self.B, self.L, self.D),
            normal(self.D) * self.sharp,
            normal(rows, self.D),
            normal(rows),
            lengths,
        ]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> AttentionInputs:
        """The inputs by name."""
        made: AttentionInputs = _record(AttentionInputs, *self.inputs(dtype, seed), self.scale)
        return made

    def guided(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs of ``guided_attention``, by name."""
        target = targets(self.B, self.L, self.P)
        return GuidedAttentionInputs(*self.inputs(dtype, seed), spatial_target=target, scale=self.scale)


_SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one-frame": dict(T=1),
    "one-word": dict(L=1),
    "width-1": dict(D=1, H=1),
    "odd": dict(B=3, T=13, L=3, H=59, D=111),
    "prime": dict(B=3, T=97, L=3, H=31, D=59),
    "long-sharp": dict(B=1, T=2000, L=2, D=5, sharp=30.0),
    "one-hot": dict(T=17, sharp=3000.0),
    "no-batch": dict(B=0),
    "no-words": dict(L=0),
    "scaled": dict(scale=1 / 6),
    "gentle": dict(B=3, T=30, L=9, D=64, sharp=0.1),
    "strided": dict(layout="strided"),
    "expanded": dict(layout="expanded"),
}
ATTENTION_CASES = {
    f"{mode}-{name}": AttentionCase(S=slots, **sizes)
    for mode, slots in (("frame", 1), ("part", 6))
    for name, sizes in _SHAPES.items()
}


@dataclass(frozen=True)
class GateCase:
    """Sizes of one ``gated_decoder_step`` call."""

    B: int = 2
    L: int = 5
    H: int = 8
    C: int = 6
    E: int = 4
    D: int = 7
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The fourteen float inputs, in the op's order."""
        g = torch.Generator().manual_seed(seed)
        m = self.E + self.D + self.C + 1  # an output width that is no input's
        shapes = [
            (self.B, self.L, self.H), (self.B, self.L, self.C), (self.B, self.L, self.C), (self.B, self.L, self.E),
            (self.B, self.L, self.E), (self.C,), (self.E,), (), (self.D, self.H), (self.D,), (self.D, self.C),
            (self.D,), (m, self.E + self.D + self.C), (m,),
        ]  # fmt: skip
        return arranged(
            [torch.randn(shape, generator=g, dtype=torch.float64).to(dtype) for shape in shapes], self.layout
        )

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> GateInputs:
        """The inputs by name."""
        made: GateInputs = _record(GateInputs, *self.inputs(dtype, seed))
        return made

    def guided(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs of ``guided_decoder_step``, by name."""
        return GuidedGateInputs(*self.inputs(dtype, seed), gate_target=targets(self.B, self.L))


GATE_CASES = {
    "plain": GateCase(),
    "width-1": GateCase(H=1, C=1, E=1, D=1),
    "odd": GateCase(B=3, L=7, H=59, C=31, E=13, D=111),
    "no-batch": GateCase(B=0),
    "no-words": GateCase(L=0),
    "strided": GateCase(layout="strided"),
    "expanded": GateCase(layout="expanded"),
}


@dataclass(frozen=True)
class EncoderCase:
    """Sizes of one ``part_encoder`` call; ``parts`` may share joints."""

    B: int = 2
    T: int = 6
    J: int = 5
    D: int = 7
    half: int = 3
    parts: tuple[tuple[int, ...], ...] = ((0,), (0, 3), (1, 2, 4))
    relative: bool = False
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """motion, lengths, weight1, bias1, weight2, bias2."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

        rows, count = 3 * sum(map(len, self.parts)), len(self.parts)
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        inputs = [
            normal(self.B, self.T, self.J, 3),
            lengths,
            normal(2, rows, self.D) / 2,
            normal(2, count, self.D),
            normal(2, count, self.D, self.half) / 2,
            normal(2, count, self.half),
        ]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> EncoderInputs:
        """The inputs by name."""
        made: EncoderInputs = _record(EncoderInputs, *self.inputs(dtype, seed), self.parts, self.relative)
        return made


ENCODER_CASES = {
    "plain": EncoderCase(),
    "one-frame": EncoderCase(T=1),
    "width-1": EncoderCase(D=1, half=1),
    "one-part": EncoderCase(parts=((0, 1, 2, 3, 4),)),
    "relative": EncoderCase(relative=True),
    "no-batch": EncoderCase(B=0),
    "strided": EncoderCase(layout="strided"),
    "expanded": EncoderCase(layout="expanded"),
}


@dataclass(frozen=True)
class GatherCase:
    """Sizes of one ``gather_motions`` call; ``standardise`` gives it a mean and a standard deviation."""

    B: int = 5
    T: int = 9
    J: int = 5
    motions: int = 4
    longest: int = 9
    standardise: bool = True
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """frames, offsets and index, and with ``standardise`` mean and std; one motion of one frame and a repeat."""
        g = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, self.longest + 1, (self.motions,), generator=g)
        lengths[:1], lengths[1:2] = self.longest, 1
        index = torch.randint(0, max(1, self.motions), (self.B,), generator=g)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        frames = torch.randn(int(offsets[-1]), self.J, 3, generator=g, dtype=torch.float64)
        inputs = [frames.to(dtype), offsets, index]
        if self.standardise:
            mean, std = torch.randn(2, 3, generator=g, dtype=torch.float64).to(dtype)
            inputs += [mean, std.abs() + 0.5]
        return arranged(inputs, self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> GatherInputs:
        """The inputs by name."""
        frames, offsets, index, *statistics = self.inputs(dtype, seed)
        return GatherInputs(frames, offsets, index, self.T, *statistics)


GATHER_CASES = {
    "plain": GatherCase(),
    "standardised": GatherCase(standardise=False),
    "one-frame": GatherCase(T=1, longest=1),
    "wide": GatherCase(T=40, standardise=False),
    "odd": GatherCase(B=7, T=131, J=21, motions=5, longest=131),
    "one-joint": GatherCase(J=1),
    "no-batch": GatherCase(B=0),
    "strided": GatherCase(layout="strided"),
    "expanded": GatherCase(layout="expanded"),
}


@dataclass(frozen=True)
class KeysCase:
    """Sizes of one ``attention_keys`` call; S is 1 or P."""

    B: int = 3
    T: int = 6
    P: int = 6
    S: int = 1
    H: int = 5
    D: int = 7
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """parts, lengths, and weight and bias of the temporal and of the spatial keys."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

        inputs = self.H * self.P // self.S
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        layer = [normal(self.D, inputs), normal(self.D), normal(self.D, inputs), normal(self.D)]
        return arranged([torch.tanh(normal(self.B, self.T, self.P, self.H)), lengths, *layer], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> KeysInputs:
        """The inputs by name."""
        return KeysInputs(*self.inputs(dtype, seed))


KEYS_CASES = {
    "frame": KeysCase(),
    "part": KeysCase(S=6),
    "one-frame": KeysCase(T=1, S=6),
    "width-1": KeysCase(H=1, D=1),
    "odd": KeysCase(T=13, S=6, H=59, D=111),
    "no-batch": KeysCase(B=0),
    "strided": KeysCase(S=6, layout="strided"),
    "expanded": KeysCase(S=6, layout="expanded"),
}


@dataclass(frozen=True)
class LossCase:
    """Sizes of one ``spatial_loss`` call; ``supervised`` is the share of words with targets."""

    B: int = 3
    L: int = 5
    T: int = 7
    P: int = 6
    supervised: float = 0.5
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """spatial, target and lengths."""
        g = torch.Generator().manual_seed(seed)
        spatial = torch.randn(self.B, self.L, self.T, self.P, generator=g, dtype=torch.float64).mul(3).softmax(-1)
        target = torch.randint(0, 2, (self.B, self.L, self.P), generator=g)
        target[torch.rand(self.B, self.L, generator=g) >= self.supervised] = -1
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        return arranged([spatial.to(dtype), target, lengths], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> LossInputs:
        """The inputs by name."""
        return LossInputs(*self.inputs(dtype, seed))


@dataclass(frozen=True)
class AdditiveCase:
    """Sizes of one ``additive_attention`` call; ``sharp`` multiplies the weight."""

    B: int = 2
    T: int = 9
    L: int = 5
    H: int = 8
    D: int = 7
    sharp: float = 1.0
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """query, keys, values, weight and lengths."""
        attention = AttentionCase(self.B, self.T, self.L, 1, 1, self.H, self.D, self.sharp).inputs(dtype, seed)
        parts, keys, _, query, _, weight, *_, lengths = attention
        return arranged([query, keys.squeeze(2), parts.squeeze(2), weight, lengths], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> AdditiveInputs:
        """The inputs by name."""
        return AdditiveInputs(*self.inputs(dtype, seed))


ADDITIVE_CASES = {
    "plain": AdditiveCase(),
    "one-key": AdditiveCase(T=1),
    "one-query": AdditiveCase(L=1),
    "width-1": AdditiveCase(D=1, H=1),
    "odd": AdditiveCase(B=3, T=97, L=3, H=31, D=59),
    "sharp": AdditiveCase(T=40, D=20, sharp=10.0),
    "no-batch": AdditiveCase(B=0),
    "no-words": AdditiveCase(L=0),
    "strided": AdditiveCase(layout="strided"),
    "expanded": AdditiveCase(layout="expanded"),
}


LOSS_CASES = {
    "plain": LossCase(),
    "every-word": LossCase(supervised=1.0),
    "no-supervised-word": LossCase(supervised=0.0),
    "one-frame": LossCase(T=1),
    "one-part": LossCase(P=1),
    "no-batch": LossCase(B=0),
    "no-words": LossCase(L=0),
    "strided": LossCase(layout="strided"),
    "expanded": LossCase(layout="expanded"),
}


@dataclass(frozen=True)
class LstmCase:
    """Sizes of one ``lstm_cells`` call."""

    B: int = 3
    E: int = 4
    C: int = 6
    layout: str = "contiguous"

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """The thirteen float inputs, in the op's order; weights of a trained model's size."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return (torch.randn(shape, generator=g, dtype=torch.float64) / max(1, shape[-1]) ** 0.5).to(dtype)

        layers = [x for n in (self.E, self.C) for x in (normal(4 * self.C, n), normal(4 * self.C, self.C))]
        biases = [normal(4 * self.C) for _ in range(4)]
        weights = [*layers[:2], *biases[:2], *layers[2:], *biases[2:]]
        states = [normal(self.B, self.C) for _ in range(4)]
        return arranged([normal(self.B, self.E) * self.E**0.5, *states, *weights], self.layout)

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> LstmInputs:
        """The inputs by name."""
        return LstmInputs(*self.inputs(dtype, seed))


LSTM_CASES = {
    "plain": LstmCase(),
    "one-row": LstmCase(B=1, E=8, C=8),
    "width-1": LstmCase(E=1, C=1),
    "odd": LstmCase(B=11, E=13, C=37),
    "wide": LstmCase(B=5, E=132, C=64),
    "no-batch": LstmCase(B=0),
    "strided": LstmCase(layout="strided"),
    "expanded": LstmCase(layout="expanded"),
}


@dataclass(frozen=True)
class DecodeCase:
    """Sizes of a decoder and its motions. ``end`` is added to the logit of <eos>, ``keys`` multiplies the keys."""

    B: int = 5
    T: int = 9
    P: int = 6
    S: int = 6
    H: int = 8
    D: int = 7
    C: int = 6
    E: int = 5
    M: int = 11
    V: int = 13
    end: float = 0.0
    keys: float = 1.0

    def memory(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        """Parts, both keys and lengths, one of which is T."""
        g = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=g, dtype=torch.float64).to(dtype)

        lengths = torch.randint(1, self.T + 1, (self.B,), generator=g)
        lengths[:1] = self.T
        keys = (normal(self.B, self.T, self.S, self.D) * self.keys for _ in range(2))
        return [torch.tanh(normal(self.B, self.T, self.P, self.H)), *keys, lengths]

    def weights(self, dtype: torch.dtype = torch.float64, seed: int = 1) -> DecoderWeights:
        """Weights so large that captions differ from one another and end at different words."""
        g = torch.Generator().manual_seed(seed)
        rows = self.P if self.S == 1 else 1
        gates, dim, size = 4 * self.C, self.D, self.C
        shapes = [
            (self.V, self.E), (gates, self.E), (gates, size), (gates,), (gates,), (gates, size), (gates, size),
            (gates,), (gates,), (dim, size), (dim,), (dim, size), (dim,), (dim,), (rows, dim), (rows,), (size,),
            (self.E,), (), (dim, self.H), (dim,), (dim, size), (dim,), (self.M, self.E + dim + size), (self.M,),
            (self.V, self.M), (self.V,),
        ]  # fmt: skip
        weights = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
        weights[-1][EOS] += self.end
        return DecoderWeights(*(x.to(dtype) for x in weights))

    def sampling(self, words: int, dtype: torch.dtype = torch.float64, seed: int = 2) -> dict[str, Any]:
        """Reference words, coins and dropout factors."""
        g = torch.Generator().manual_seed(seed)
        kept = torch.rand((2, self.B, words, self.E), generator=g) < 0.7
        return dict(
            words=torch.randint(0, self.V, (self.B, words), generator=g),
            coins=torch.rand(words, generator=g) < 0.5,
            dropout=tuple((kept.to(dtype) / 0.7).unbind(0)),
        )


DECODE_CASES = {
    "part": DecodeCase(),
    "frame": DecodeCase(S=1),
    "one-frame": DecodeCase(T=1),
    "one-motion": DecodeCase(B=1),
    "no-motion": DecodeCase(B=0),
    "width-1": DecodeCase(H=1, D=1, C=1, E=1, M=1),
    "odd": DecodeCase(B=4, T=13, P=5, S=1, H=59, D=37, C=33, E=17, M=70, V=301),
    "small-vocabulary": DecodeCase(V=3),
    "never-ends": DecodeCase(end=-1e4),
    "ends-at-once": DecodeCase(end=1e4),
    "large-keys": DecodeCase(keys=20.0),
    "large-keys-frame": DecodeCase(S=1, keys=20.0),
    "many-motions": DecodeCase(B=150, T=4, D=3),
}


@dataclass(frozen=True)
class GuidedCase:
    """An attention or gate case with the targets of its loss."""

    case: AttentionCase | GateCase

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs by name."""
        return self.case.guided(dtype, seed)


def _guided(cases: Mapping[str, Any], *names: str) -> dict[str, GuidedCase]:
    """Cases that show what folding a loss into an op changes; what the op itself does, its own rows show."""
    return {name: GuidedCase(case) for name, case in cases.items() if name.endswith(names)}


CASES: dict[str, Mapping[str, Any]] = {
    "spatio_temporal_attention": ATTENTION_CASES,
    "gated_decoder_step": GATE_CASES,
    "guided_attention": _guided(ATTENTION_CASES, "plain", "one-frame", "scaled", "no-words", "strided"),
    "guided_decoder_step": _guided(GATE_CASES, "plain", "odd", "no-words", "strided"),
    "part_encoder": ENCODER_CASES,
    "gather_motions": GATHER_CASES,
    "attention_keys": KEYS_CASES,
    "spatial_loss": LOSS_CASES,
    "lstm_cells": LSTM_CASES,
    "additive_attention": ADDITIVE_CASES,
}
"""By op: what ``m2t-fast validate`` and the tests of every op run."""
