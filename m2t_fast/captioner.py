"""The captioning model, top to bottom in the paper's order: parts, LSTMs, attention, gate, words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2t_fast import layers, sharded
from m2t_fast import losses as loss
from m2t_fast.config import MAX_LENGTH, PAD, SEARCHES, CaptionerConfig, Search
from m2t_fast.data.batches import Batch
from m2t_fast.losses import Losses, TimedLosses
from m2t_fast.modules import DECODER_LAYERS, LSTM, GatedDecoderStep, PartEncoder, SpatioTemporalAttention, embedding
from m2t_fast.ops import decode, vocabulary
from m2t_fast.ops.checks import check_shape, checked_indices, wide
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.ops.decoding.best_first import generate_best_first
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State
from m2t_fast.ops.decoding.result import CaptionAttention, Generation
from m2t_fast.ops.decoding.sampling import sampled_words
from m2t_fast.ops.decoding.words import search_with
from m2t_fast.ops.draws import random_draws
from m2t_fast.ops.registration import assume_constant_result
from m2t_fast.ops.registry import has_kernel
from m2t_fast.outputs import CaptionerOutput, Draws
from m2t_fast.pretrained import Pretrained
from m2t_fast.random import Counter


class Captioner(Pretrained, nn.Module):
    """Interpretable motion captioning (the paper's figure 1).

    Args:
        config: sizes and choices; see :class:`~m2t_fast.CaptionerConfig`.
    """

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        if not isinstance(config, CaptionerConfig):
            raise TypeError(f"config must be a CaptionerConfig, got {type(config).__name__}")
        self.config = config
        self.encoder = PartEncoder(config)
        self.embedding = embedding(config.vocab_size, config.embedding_dim)
        self.bottom_lstm = LSTM(config.embedding_dim, config.hidden_size)
        self.top_lstm = LSTM(config.hidden_size, config.hidden_size)
        self.attention = SpatioTemporalAttention(config)
        self.step = GatedDecoderStep(config)
        self.output = nn.Linear(config.mixture_dim, config.vocab_size)

    def forward(
        self,
        motion: Tensor,
        lengths: Tensor,
        tokens: Tensor,
        teacher_forcing: float = 1.0,
        generator: torch.Generator | Counter | None = None,
    ) -> CaptionerOutput:
        """Predict every next word of known captions.

        Args:
            motion: (B, T, J, 3) float, absolute positions, standardised; frames beyond a length are ignored.
            lengths: (B,) int64 valid frames, 1 <= length <= T.
            tokens: (B, L+1) int64 captions from <sos>; <pad> after <eos>.
            teacher_forcing: probability that a step reads the reference word rather than the model's own argmax
                word, one coin per step for the whole batch (scheduled sampling, contract item 11).
            generator: source of the coins and, in training mode, of the dropout masks; None: torch's default. A
                :class:`~m2t_fast.random.Counter` gives the same numbers on every device and for every share of a batch.

        Returns:
            :class:`CaptionerOutput`; step j predicts ``tokens[:, j + 1]``.

        Raises:
            ValueError: a shape does not fit, or a length, token or probability is out of range.
            TypeError: a dtype does not fit.
        """
        lengths = self._checked_motion(motion, lengths)
        check_shape("Captioner", "tokens", tokens, ("B", "L+1"), {"B": motion.shape[0]})
        if tokens.shape[1] < 2:
            raise ValueError(f"Captioner: tokens has shape {tuple(tokens.shape)}, expected (B, L+1) with L >= 1")
        tokens = checked_indices("tokens", tokens, 0, self.config.vocab_size - 1)
        draws = self.draw(tokens.shape[0], tokens.shape[1] - 1, teacher_forcing, generator, motion.device)
        return self.run(motion, lengths, tokens, draws)

    def run(
        self, motion: Tensor, lengths: Tensor, tokens: Tensor, draws: Draws, relative: bool = False
    ) -> CaptionerOutput:
        """:meth:`forward` on checked arguments and given ``draws``; ``relative`` as in :meth:`encode`."""
        memory = self.encode(motion, lengths, relative)
        return self.decode(memory, self.input_words(memory, tokens, draws), draws.dropout)

    @sharded.gathered
    def losses(self, batch: Batch, draws: Draws, folded: bool | None = None) -> Losses | TimedLosses:
        """The losses of a training step (eq. 11-13, and of times if the batch has any) over a checked batch and given
        ``draws``.

        Args:
            folded: the losses are computed inside attention and gate, so that neither logits nor the weights of frames
                and parts are written; None: where the backend in use has kernels for it. The values are the same.
                Where layers were replaced they are called, and nothing is folded.
        """
        replaced = self.replaced_layers()
        if (_folds(batch.motion.device.type, batch.motion.dtype) if folded is None else folded) and not replaced:
            return self._folded_losses(batch, draws)
        if replaced or not vocabulary.takes(self.output.weight):
            out = self.run(batch.motion, batch.lengths, batch.tokens, draws, batch.relative)
            targets = batch.gate_target, batch.spatial_target, batch.temporal_target
            return loss.output_losses(out, batch.tokens, batch.lengths, *targets)
        memory = self.encode(batch.motion, batch.lengths, batch.relative)
        words = self.input_words(memory, batch.tokens, draws)
        word, second, hidden, top = self._states(words, draws.dropout)
        attention = self.attention(memory.parts, memory.temporal_keys, memory.spatial_keys, memory.lengths, hidden)
        step = self.step(attention.context, hidden, top, word, second, None)
        losses = Losses(
            loss.linear_language_loss(step.features, self.output.weight, self.output.bias, batch.tokens[:, 1:]),
            loss.spatial_loss(wide(attention.spatial), batch.spatial_target, batch.lengths),
            loss.adaptive_loss(step.gate, batch.gate_target, step.gate_logit),
        )
        return losses.timed(_temporal(batch, attention.mean, attention.std))

    def _folded_losses(self, batch: Batch, draws: Draws) -> Losses | TimedLosses:
        """:meth:`losses` by the ops that give the losses in place of what they are made of."""
        memory = self.encode(batch.motion, batch.lengths, batch.relative)
        words = self.input_words(memory, batch.tokens, draws)
        word, second, hidden, top = self._states(words, draws.dropout)
        context, spatial_sums, mean, std = self.attention.guided(
            memory.parts, memory.temporal_keys, memory.spatial_keys, memory.lengths, hidden, batch.spatial_target
        )
        features, _, _, adaptive_terms = self.step.guided(context, hidden, top, word, second, batch.gate_target)
        language = loss.linear_language_loss(features, self.output.weight, self.output.bias, batch.tokens[:, 1:])
        targets = batch.lengths, batch.gate_target, batch.spatial_target
        losses = loss.losses_of_sums(language, spatial_sums, adaptive_terms, *targets)
        return losses.timed(_temporal(batch, mean, std))

    def draw(
        self,
        batch: int,
        words: int,
        teacher_forcing: float = 1.0,
        generator: torch.Generator | Counter | None = None,
        device: torch.device | None = None,
    ) -> Draws:
        """Coins and dropout masks of one step over (B, L) words; no masks in evaluation mode. ``device``: of both;
        None: that of the weights.

        Raises:
            ValueError: teacher_forcing is not in [0, 1], or a counter has another number of rows.
        """
        if not 0.0 <= teacher_forcing <= 1.0:
            raise ValueError(f"teacher_forcing: got {teacher_forcing!r}, expected a probability in [0, 1]")
        weight = self._weight()
        where = weight.device if device is None else device
        dropout = self.config.dropout if self.training else 0.0
        shape = batch, words, self.config.embedding_dim if dropout > 0.0 else 0
        if teacher_forcing == 1.0 and dropout == 0.0:
            return Draws(None, None)
        if isinstance(generator, Counter):
            state = generator.state.to(where)
            rows = None if generator.rows is None else generator.rows.to(where)
            coins, first, second = random_draws(state, *shape, teacher_forcing, dropout, rows, weight.dtype)
        else:
            # Without a generator none is named: torch.compile knows such a call for any number of words.
            source = {"device": where} if generator is None else {"device": generator.device, "generator": generator}
            # Of torch's generator no more numbers are asked for than are used.
            count = words if teacher_forcing < 1.0 else 0
            coins = torch.rand(count, **source) < teacher_forcing
            keep = 1.0 - dropout
            kept = torch.rand((2, *shape), **source) < keep
            first, second = (kept.to(device=where, dtype=weight.dtype) / keep).unbind(0)
        return Draws(coins if teacher_forcing < 1.0 else None, (first, second) if dropout > 0.0 else None)

    def encode(self, motion: Tensor, lengths: Tensor, relative: bool = False) -> Memory:
        """Body-part features and attention keys of (B, T, J, 3) motions with checked lengths (B,).

        ``relative``: every joint but the root is relative to the root already, as a
        :class:`~m2t_fast.data.resident.ResidentSplit` gives them.
        """
        if not torch.compiler.is_compiling():
            sharded.refuse_distributed(self)
        parts = self.encoder(motion, lengths, relative)
        return Memory(parts, *self.attention.keys(parts, lengths), lengths)

    def run_lstms(self, embedded: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """Bottom and top LSTM outputs (B, L, C) over embedded words (B, L, E). Neither sees the motion."""
        bottom, top = state if state is not None else (None, None)
        hidden, bottom = self.bottom_lstm(embedded, bottom)
        output, top = self.top_lstm(hidden, top)
        return hidden, output, (bottom, top)

    def decode(
        self,
        memory: Memory,
        words: Tensor,
        dropout: tuple[Tensor, Tensor] | None = None,
        force_gate: float | None = None,
    ) -> CaptionerOutput:
        """All words at once: both LSTMs over the input words (B, L), then attention, gate and logits of each."""
        word, second, hidden, top = self._states(words, dropout)
        attention = self.attention(memory.parts, memory.temporal_keys, memory.spatial_keys, memory.lengths, hidden)
        step = self.step(attention.context, hidden, top, word, second, force_gate)
        logits = self.output(step.features)
        return CaptionerOutput(
            logits,
            step.gate,
            attention.window,
            attention.spatial,
            attention.mean,
            attention.std,
            step.gate_logit,
            words,
        )

    def _states(self, words: Tensor, dropout: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Embeddings (B, L, E) of the words as the gate and the mixture read them, and both LSTMs' outputs."""
        word = self.embedding(words)
        first, second = (word * mask.to(word.dtype) for mask in dropout) if dropout is not None else (word, word)
        hidden, top, _ = self.run_lstms(first, None)
        return word, second, hidden, top

    def replaced_layers(self) -> list[str]:
        """The decoder's layers that compute something other than their weights say, each with what it is.

        These are adapters, quantised layers, pruned ones (a hook computes their weights) and layers with a forward
        hook; parametrized layers are not among them. With any of them :meth:`generate` and scheduled sampling call
        every layer word by word, in Python, and no loss is folded; without, the ops take their weights.
        """
        return layers.replaced(self, DECODER_LAYERS)

    def _weight(self) -> Tensor:
        """A tensor with the dtype and the device of the weights, whatever was replaced."""
        weight = getattr(self.embedding, "weight", None)
        if isinstance(weight, Tensor) and weight.is_floating_point():
            return weight
        return next(p for p in self.parameters() if p.is_floating_point())

    def decoder_weights(self) -> DecoderWeights:
        """The weights that decode words, as ``ops.search`` takes them. Raises RuntimeError if a layer was replaced."""
        if names := self.replaced_layers():
            raise RuntimeError(
                f"Captioner.decoder_weights: {names[0]} was replaced or has a hook, so its weights do not say what it "
                "computes; expected the model's own layers: merge adapters, make pruning permanent or remove the hook"
            )
        bottom, top, attention, step = self.bottom_lstm, self.top_lstm, self.attention, self.step
        return DecoderWeights(
            self.embedding.weight,
            bottom.weight_ih,
            bottom.weight_hh,
            bottom.bias_ih,
            bottom.bias_hh,
            top.weight_ih,
            top.weight_hh,
            top.bias_ih,
            top.bias_hh,
            attention.temporal_query.weight,
            attention.temporal_query.bias,
            attention.spatial_query.weight,
            attention.spatial_query.bias,
            attention.temporal_weight,
            attention.spatial_weight,
            attention.bias(),
            step.gate_hidden.weight[0],
            step.gate_word.weight[0],
            (step.gate_hidden.bias + step.gate_word.bias)[0],
            step.context.weight,
            step.context.bias,
            step.language.weight,
            step.language.bias,
            step.mixture.weight,
            step.mixture.bias,
            self.output.weight,
            self.output.bias,
        )

    @torch.no_grad()
    def input_words(self, memory: Memory, tokens: Tensor, draws: Draws) -> Tensor:
        """The L input words (B, L) that step-by-step scheduled sampling would read, without gradients.

        A step whose coin is False reads the argmax of the step before.
        """
        words = tokens[:, :-1]
        if draws.coins is None:
            return words
        with sharded.whole(self):
            dtype = self._weight().dtype
            dropout = None if draws.dropout is None else (draws.dropout[0].to(dtype), draws.dropout[1].to(dtype))
            if self.replaced_layers():
                return sampled_words(layers.LayerDecoder(self), memory, words, draws.coins, dropout or (None, None))
            return decode.sample_words.in_bounds(
                *memory, self.decoder_weights(), words, draws.coins, dropout, self.attention.scale
            )

    @sharded.gathered
    @torch.no_grad()
    def generate(
        self,
        motion: Tensor,
        lengths: Tensor,
        beam_size: int = 2,
        max_length: int | None = None,
        length_penalty: float = 1.0,
        force_gate: float | None = None,
        search: Search = "beam",
    ) -> Generation:
        """Caption motions: greedy search with ``beam_size=1``, else beam search, batched over motions and beams.

        Args:
            motion: (B, T, J, 3) float, absolute positions, standardised.
            lengths: (B,) int64 valid frames.
            beam_size: K hypotheses per motion.
            max_length: longest caption in words, <eos> included; None: 40. A best-first search has a limit of its own:
                there max_length cuts longer captions, which keep their scores, and None cuts none.
            length_penalty: a caption's score is its log-probability over its length (with <eos>) to this power.
            force_gate: replaces beta at every word (the paper's table 3: 1.0), or None.
            search: what ``beam_size`` above 1 does: "beam", or "best_first", the released model's search
                (:func:`~m2t_fast.ops.decoding.best_first.best_first_search`), whose scores are float64 means over
                the words and take no length_penalty.

        Returns:
            :class:`~m2t_fast.ops.decoding.Generation`: tokens (B, K, <= max_length), best first, <pad> after <eos>;
            scores (B, K); attention of the best caption of each motion.

        Raises:
            ValueError: an argument is out of range or a shape does not fit. TypeError: a dtype does not fit.
        """
        lengths = self._checked_motion(motion, lengths)
        if search not in SEARCHES:
            raise ValueError(f"search: got {search!r}, expected one of {', '.join(SEARCHES)}")
        if search == "best_first":
            decode.check_search(beam_size, 1 if max_length is None else max_length, length_penalty, force_gate)
            if length_penalty != 1.0:
                raise ValueError(f"length_penalty: got {length_penalty!r}, expected 1 with search='best_first'")
        memory = self.encode(motion, lengths)
        with sharded.whole(self):
            if search == "best_first" and beam_size > 1:
                return generate_best_first(self._decoder(force_gate), memory, beam_size, max_length)
            return self._beam_search(memory, beam_size, max_length, length_penalty, force_gate)

    @sharded.gathered
    @torch.no_grad()
    def generate_from(self, memory: Memory, beam_size: int = 2, max_length: int | None = None) -> Generation:
        """Caption what :meth:`encode` gave, as :meth:`generate` would; frames from ``lengths`` on may hold anything
        finite, such as those of a longer motion that begins with this one."""
        with sharded.whole(self):
            return self._beam_search(memory, beam_size, max_length, 1.0, None)

    def _beam_search(
        self, memory: Memory, beam_size: int, max_length: int | None, length_penalty: float, force_gate: float | None
    ) -> Generation:
        options = beam_size, MAX_LENGTH if max_length is None else max_length, length_penalty
        if self.replaced_layers():
            decode.check_search(*options, force_gate)
            found = decode.cut(search_with(self._decoder(force_gate), memory, *options))
        else:
            found = decode.search(*memory, self.decoder_weights(), *options, force_gate, self.attention.scale)
        tokens, scores, *attention = found
        return Generation(tokens, scores, CaptionAttention(*attention))

    @sharded.gathered
    @torch.no_grad()
    def greedy_words(self, motion: Tensor, lengths: Tensor, relative: bool = False, ends: bool = True) -> Tensor:
        """The words (B, MAX_LENGTH) int64 of greedy captions of checked motions; what comes after <eos> must not be
        read. ``relative``: as in :meth:`encode`; ``ends``: as of :func:`~m2t_fast.ops.decode.greedy_words`, whose False
        lets a CUDA graph hold it."""
        memory = self.encode(motion, lengths, relative)
        with sharded.whole(self):
            if self.replaced_layers():
                return search_with(self._decoder(), memory, 1, MAX_LENGTH, 1.0).tokens[:, 0]
            return decode.greedy_words(*memory, self.decoder_weights(), MAX_LENGTH, self.attention.scale, ends)

    def _decoder(self, force_gate: float | None = None) -> Decoder:
        """The decoder word by word: from the weights, or by calling the layers where any was replaced."""
        if self.replaced_layers():
            return layers.LayerDecoder(self, force_gate)
        return Decoder(self.decoder_weights(), self.attention.scale, force_gate)

    def _checked_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        sizes = {"J": self.config.joints}
        check_shape("Captioner", "motion", motion, ("B", "T", "J", 3), sizes)
        weight = self._weight()
        # What is sharded on its own may be gathered in another dtype (FSDP2's mixed precision): the ops check it then.
        if motion.dtype != (wanted := weight.dtype) and not sharded.is_distributed(weight):
            raise TypeError(f"Captioner: motion has dtype {motion.dtype}, expected {wanted} as the weights")
        check_shape("Captioner", "lengths", lengths, ("B",), sizes)
        if motion.shape[1] < 1:
            raise ValueError(f"Captioner: motion has shape {tuple(motion.shape)}, expected at least one frame")
        return checked_indices("lengths", lengths, 1, motion.shape[1])


def _temporal(batch: Batch, mean: Tensor, std: Tensor) -> Tensor | None:
    """The temporal loss of windows (B, L), where the batch says when words happen."""
    return None if batch.temporal_target is None else loss.temporal_loss(mean, std, batch.temporal_target)


@assume_constant_result
def _folds(device_type: str, dtype: torch.dtype) -> bool:
    """Answered while compiling, not compiled: it depends on the backend alone, on which other guards depend."""
    return has_kernel("guided_attention", torch.empty(0, device=device_type, dtype=dtype))


assert PAD == 0  # embedding rows, padding and targets all rely on it
