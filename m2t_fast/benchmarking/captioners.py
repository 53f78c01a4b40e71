"""Other implementations of the captioner: word by word, in plain PyTorch, compiled, and one motion at a time."""

from __future__ import annotations

import contextlib
import functools

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from m2t_fast import reference
from m2t_fast.benchmarking.stepwise import stepwise
from m2t_fast.captioner import Captioner, CaptionerOutput, Draws
from m2t_fast.config import CaptionerConfig
from m2t_fast.ops.decode import hypothesis_lengths
from m2t_fast.ops.decoding.attention import caption_attention
from m2t_fast.ops.decoding.beam import beam_search
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.ops.decoding.greedy import greedy_search
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.ops.registry import AUTOGRAD, use_backend


def plain_pytorch() -> contextlib.AbstractContextManager[None]:
    """Inside the block every op of a captioner is its reference under autograd: no registered op, no kernel.

    Random numbers are drawn as always: they are the step's input, not its work.
    """
    return use_backend(AUTOGRAD)


class StepwiseCaptioner(Captioner):
    """Trains as the released code does: word by word, with keys recomputed for every word."""

    def run(
        self, motion: Tensor, lengths: Tensor, tokens: Tensor, draws: Draws, relative: bool = False
    ) -> CaptionerOutput:
        """See :meth:`Captioner.run`."""
        return stepwise(self, motion, lengths, tokens, draws, relative=relative)


class CompiledCaptioner(Captioner):
    """Trains with encoder and parallel pass under ``torch.compile``; scheduled sampling, which is a loop, without."""

    def __init__(self, config: CaptionerConfig):
        super().__init__(config)
        self.compiled_encode = torch.compile(self.encode, dynamic=False)
        self.compiled_decode = torch.compile(self.decode, dynamic=False)

    def run(
        self, motion: Tensor, lengths: Tensor, tokens: Tensor, draws: Draws, relative: bool = False
    ) -> CaptionerOutput:
        """See :meth:`Captioner.run`."""
        memory = self.compiled_encode(motion, lengths, relative)
        return self.compiled_decode(memory, self.input_words(memory, tokens, draws), draws.dropout)


class RecomputedCaptioner(Captioner):
    """A :class:`StepwiseCaptioner` that computes attention again for the gradient: no word's tensors are held."""

    def run(
        self, motion: Tensor, lengths: Tensor, tokens: Tensor, draws: Draws, relative: bool = False
    ) -> CaptionerOutput:
        """See :meth:`Captioner.run`."""
        attend = functools.partial(checkpoint, reference.spatio_temporal_attention, use_reentrant=False)
        return stepwise(self, motion, lengths, tokens, draws, relative=relative, attend=attend)


class KeysAnew(Decoder):
    """Recomputes the keys for every word, as the released code does."""

    def __init__(self, model: Captioner):
        super().__init__(model.decoder_weights(), model.attention.scale)
        self._keys = model.attention.keys

    def next_word(self, memory: Memory, *states: Tensor) -> Tensor:
        """See :meth:`Decoder.next_word`."""
        temporal, spatial = self._keys(memory.parts, memory.lengths)
        return super().next_word(memory._replace(temporal_keys=temporal, spatial_keys=spatial), *states)


@torch.no_grad()
def captions_with_keys_anew(
    model: Captioner, motion: Tensor, lengths: Tensor, beam_size: int, max_length: int
) -> Generation:
    """What :meth:`Captioner.generate` finds, word by word in Python, with keys recomputed for every word."""
    decoder, memory = KeysAnew(model), model.encode(motion, lengths)
    if beam_size == 1:
        tokens, scores = greedy_search(decoder, memory, max_length, 1.0)
    else:
        tokens, scores = beam_search(decoder, memory, beam_size, max_length, 1.0)
    words = hypothesis_lengths(tokens, scores)
    tokens = tokens[..., : max(1, int(words.max()))]
    return Generation(tokens, scores, caption_attention(decoder, memory, tokens[:, 0], words[:, 0]))
