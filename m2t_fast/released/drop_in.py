"""The authors' own module on the fused ops: recognised by its structure, its parameters used where they are."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping, Sequence
from numbers import Integral
from operator import attrgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from m2t_fast import ops
from m2t_fast.config import CaptionerConfig
from m2t_fast.layers import has_hook
from m2t_fast.ops import decode
from m2t_fast.ops.checks import check_same_float, check_shape, checked_indices
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.ops.decoding.best_first import best_first_search
from m2t_fast.ops.decoding.decoder import Decoder, Memory
from m2t_fast.released.weights import check_state, from_released, released_keys, released_part

Module = TypeVar("Module", bound=nn.Module)

NAME = "accelerate"
_FORWARD = ["self", "x", "y", "teacher_force_ratio", "src_lens"]
_MODULES = {
    "dec.embedding": nn.Embedding,
    "dec.bottom_lstm": nn.LSTM,
    "dec.top_lstm": nn.LSTM,
    "dec.dropout": nn.Dropout,
}
"""Layers of the released module that are not linear."""
_LEFT = ("beta", "spatial_attentions", "temporal_attentions", "spat_temp", "dec_output", "output_list")
"""Attributes that a training step leaves with its graph; a copy of the module holds them without."""


def accelerate(model: Module) -> Module:
    """The authors' ``seq2seq`` module, of either skeleton, with its ``forward`` on the fused ops; changed in place.

    Same calls (time-major, greedy with ``beam_size == 1``, else the released search), same outputs and gradients, same
    attributes afterwards, same coins of Python's ``random``, same dropout masks. Its parameters stay the same objects,
    so optimisers, ``state_dict``, ``load_state_dict``, ``.to``, copies and pickles keep working; reading a pickle needs
    this package. docs/released.md says what differs.

    Args:
        model: the module itself, before it is wrapped in DistributedDataParallel; an accelerated one is left as it is.

    Returns:
        ``model``.

    Raises:
        TypeError: not a module. ValueError: not of the released structure; the message names what differs.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{NAME}: model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(model, _Accelerated):
        check_structure(model)
        model.__class__ = _accelerated(type(model))
    return model


def check_structure(model: nn.Module) -> None:
    """Raise a ValueError that names the first thing in which ``model`` is not the released module."""
    if isinstance(getattr(model, "module", None), nn.Module):
        raise ValueError(f"{NAME}: model is wrapped in {type(model).__name__}, expected the module itself")
    config = check_state(NAME, model.state_dict())
    for name in [*_MODULES, *dict.fromkeys(key.rsplit(".", 1)[0] for key in released_keys())]:
        module, kind = _found(model, name), _MODULES.get(name, nn.Linear)
        if type(module) is not kind:
            raise ValueError(f"{NAME}: {name} is a {type(module).__name__}, expected a {kind.__name__}")
    parts = [list(config.parts[part]) for part in released_part(config.joints)]
    expected: dict[str, Any] = {
        "hidden_size": config.hidden_size,
        "hidden_dim": config.attention_dim,
        "K": len(config.parts),
        "enc_pose.body_parts": parts,
        "dec.bottom_lstm.batch_first": False,
        "dec.top_lstm.batch_first": False,
        "dec.embedding.padding_idx": None,
        "dec.embedding.max_norm": None,
        "dec.embedding.scale_grad_by_freq": False,
        "dec.embedding.sparse": False,
    }
    for name, value in expected.items():
        found = _found(model, name)
        if found != value:
            raise ValueError(f"{NAME}: {name} is {found!r}, expected {value!r}")
    _beam_size(model)
    forward = list(inspect.signature(type(model).forward).parameters)
    if forward != _FORWARD or "forward" in vars(model):
        given = ", ".join(forward) if forward != _FORWARD else "replaced on the object"
        raise ValueError(f"{NAME}: forward is ({given}), expected ({', '.join(_FORWARD)}) of the class")


def _found(model: nn.Module, name: str) -> Any:
    try:
        return attrgetter(name)(model)
    except AttributeError:
        raise ValueError(f"{NAME}: attribute {name} is missing") from None


def _beam_size(model: nn.Module) -> int:
    """Read at every call, because scripts set it; a whole number of any type, as from numpy."""
    beam_size = _found(model, "beam_size")
    if not isinstance(beam_size, Integral) or isinstance(beam_size, bool) or beam_size < 1:
        raise ValueError(f"{NAME}: beam_size is {beam_size!r}, expected a whole number of at least 1")
    return int(beam_size)


class _Accelerated:
    """What :func:`accelerate` puts before the module's own class."""

    def forward(
        self, x: Tensor, y: Tensor, teacher_force_ratio: float = 0, src_lens: Sequence[int] | Tensor | None = None
    ) -> Any:
        """As the released ``forward``: x (T, N, 3J), y (L+1, N), src_lens N frame counts.

        Returns:
            logits (L, N, V), or with ``beam_size`` above 1 per sample a list of hypotheses, each a list of words from
            <sos>, best first.

        Raises:
            ValueError: a shape, length or word does not fit. TypeError: a dtype does not fit.
        """
        with torch.autocast(self.temporal_att.bias.device.type, enabled=False):  # type: ignore[attr-defined]
            return _forward(self, x, y, teacher_force_ratio, src_lens)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The class made here has no name to import; copies and pickles name the module's own class.
        reduced: Any = super().__reduce_ex__(max(int(protocol), 2))
        _, _, state, *rest = reduced
        state = {name: _detached(value) if name in _LEFT else value for name, value in state.items()}
        return (_empty, (type(self).__mro__[2],), state, *rest)


_CLASSES: dict[type, type] = {}


def _accelerated(own: type) -> type:
    """The class ``own`` with the forward of :class:`_Accelerated`, under its own name."""
    if own not in _CLASSES:
        names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        _CLASSES[own] = type(own.__name__, (_Accelerated, own), names)
    return _CLASSES[own]


def _empty(own: type) -> Any:
    """An accelerated module of class ``own`` whose state is still to come."""
    made: Any = _accelerated(own)
    return made.__new__(made)


def _detached(value: Any) -> Any:
    if isinstance(value, list):
        return [_detached(x) for x in value]
    return value.detach() if isinstance(value, Tensor) else value


def _forward(model: Any, x: Tensor, y: Tensor, teacher_force_ratio: float, src_lens: Any) -> Any:
    _refuse_replaced(model)
    state = {key: attrgetter(key)(model) for key in released_keys()}
    config = check_state("seq2seq", state)
    lengths = _checked_inputs(x, y, src_lens, config)
    ours = from_released(state, config.joints)
    check_same_float("seq2seq", x=x, **ours)
    steps, batch = y.shape[0] - 1, y.shape[1]
    model.src_lens, model.attention_weights_list = src_lens, []
    memory = _encode(x, lengths, ours, config)
    weights = _decoder_weights(ours, model.temporal_att.bias)
    decoder = Decoder(weights, config.context_scale)
    beam_size = _beam_size(model)
    if beam_size > 1:
        for _ in range(batch):
            random.random()  # a coin per sample, which decides nothing
        model.spatial_attentions = x.new_zeros(steps, x.shape[0], batch, model.K)
        model.temporal_attentions = x.new_zeros(steps, x.shape[0], batch)
        model.beta, model.x = x.new_zeros(steps, batch), x
        dropout = model.dec.dropout if _drops(model.dec.dropout) else None
        found = best_first_search(decoder, memory, beam_size, dropout)
        return [[words for words, _ in hypotheses] for hypotheses in found]

    drawn = [random.random() < teacher_force_ratio for _ in range(steps)]
    coins = torch.tensor(drawn, device=x.device)
    # Row 0 of the model's own words is <sos>; the rows below stand for words that are still to be found.
    words = torch.where(coins[:, None], y[:-1], torch.ones_like(y[:-1])).T
    words = checked_indices("y", words, 0, config.vocab_size - 1)
    factors = _dropout_factors(model.dec.dropout, x.new_ones(1, batch, config.embedding_dim), steps)
    if not all(drawn[1:]):
        words = decode.sample_words(*memory, weights, words, coins, factors, config.context_scale)
    word = decoder.embed(words)
    first, second = (word, word) if factors is None else (word * factors[0], word * factors[1])
    hidden, top, _ = decoder.run_lstms(first, None)
    attended, said = decoder.look(memory, hidden, top, word, second)
    logits = nn.functional.linear(said.features.transpose(0, 1), weights.output, weights.output_bias)

    planes = attended.spatial.permute(1, 2, 0, 3).unbind(-1)  # an index's gradient would be many times slower
    model.spatial_attentions = torch.stack([planes[part] for part in released_part(config.joints)], dim=-1)
    model.temporal_attentions = _whole_window(attended.mean.T, attended.std.T, len(x))
    model.spat_temp = model.spatial_attentions * model.temporal_attentions[..., None]
    model.beta = said.gate.T.contiguous()
    predicted = logits.detach().argmax(-1)
    # What a step read of the step before is what that step said, also where two words are all but equally likely.
    predicted[:-1] = torch.where(coins[1:, None], predicted[:-1], words.T[1:])
    model.dec_pred_output = torch.cat([torch.ones_like(predicted[:1]), predicted])
    model.target_and_prediction = [y, model.dec_pred_output]
    model.output_list = [logits[step : step + 1] for step in range(steps)]
    model.dec_output, model.dec_next_input = model.output_list[-1], predicted[-1:]
    return logits


def _refuse_replaced(model: nn.Module) -> None:
    """Raise for a layer whose weights do not say what it computes: the ops take its weights and never call it."""
    for key in released_keys():
        name, _, leaf = key.rpartition(".")
        layer = model.get_submodule(name)
        own = leaf in layer._parameters or is_parametrized(layer, leaf)
        if not own or "forward" in vars(layer) or has_hook(layer):
            raise RuntimeError(
                f"seq2seq: {name} ({type(layer).__name__}) was replaced or has a hook, so its weights do not say what "
                "it computes; expected the released layers: merge adapters, make pruning permanent, remove the hook, "
                "or use the module that was not accelerated"
            )


def _checked_inputs(x: Tensor, y: Tensor, src_lens: Any, config: CaptionerConfig) -> Tensor:
    """The lengths (N,) int64 on x's device, after checking all three inputs."""
    sizes: dict[str, int] = {}
    check_shape("seq2seq", "x", x, ("T", "N", 3 * config.joints), sizes)
    check_shape("seq2seq", "y", y, ("L+1", "N"), sizes)
    if sizes["L+1"] < 2 or sizes["T"] < 1 or sizes["N"] < 1:
        given = f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}"
        raise ValueError(f"seq2seq: {given}, expected at least one frame, one sample and two words")
    if y.is_floating_point() or y.dtype == torch.bool:
        raise TypeError(f"seq2seq: y has dtype {y.dtype}, expected int64")
    if src_lens is None:
        raise TypeError("seq2seq: src_lens is None, expected the number of frames of each sample")
    if not isinstance(src_lens, Tensor):
        src_lens = torch.tensor([int(length) for length in src_lens], dtype=torch.int64, device="cpu")
    check_shape("seq2seq", "src_lens", src_lens, ("N",), sizes)
    return checked_indices("seq2seq: src_lens", src_lens, 1, sizes["T"]).to(x.device)


def _encode(x: Tensor, lengths: Tensor, ours: Mapping[str, Tensor], config: CaptionerConfig) -> Memory:
    """Parts and keys of x (T, N, 3J), whose joints are root-relative."""
    motion = x.transpose(0, 1).unflatten(2, (config.joints, 3))
    first, second = ((ours[f"encoder.weight{layer}"], ours[f"encoder.bias{layer}"]) for layer in (1, 2))
    parts = ops.part_encoder.in_bounds(motion, lengths, *first, *second, config.parts, relative=True)
    names = [f"attention.{which}_key.{kind}" for which in ("temporal", "spatial") for kind in ("weight", "bias")]
    return Memory(parts, *ops.attention_keys.in_bounds(parts, lengths, *(ours[name] for name in names)), lengths)


_LSTM = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_QUERIES = ("temporal_query.weight", "temporal_query.bias", "spatial_query.weight", "spatial_query.bias")
_BEFORE_GATE = (
    "embedding.weight",
    *(f"{lstm}.{name}" for lstm in ("bottom_lstm", "top_lstm") for name in _LSTM),
    *(f"attention.{name}" for name in (*_QUERIES, "temporal_weight", "spatial_weight", "spatial_bias")),
)
_AFTER_GATE = tuple(f"step.{name}.{kind}" for name in ("context", "language", "mixture") for kind in ("weight", "bias"))


def _decoder_weights(ours: Mapping[str, Tensor], temporal_bias: Tensor) -> DecoderWeights:
    """The decoder's weights, in the order of :class:`DecoderWeights`.

    ``temporal_bias``, which cancels in the softmax, gets the zero gradient that it has in the authors' code: without a
    gradient an optimiser would leave it out of its weight decay.
    """
    gate_bias = ours["step.gate_hidden.bias"] + ours["step.gate_word.bias"]
    weights = [
        *(ours[name] for name in _BEFORE_GATE),
        *(ours["step.gate_hidden.weight"][0], ours["step.gate_word.weight"][0], gate_bias[0]),
        *(ours[name] for name in _AFTER_GATE),
        *(ours["output.weight"], ours["output.bias"] + 0 * temporal_bias),
    ]
    return DecoderWeights(*weights)


def _drops(dropout: nn.Dropout) -> bool:
    return dropout.training and dropout.p > 0.0


def _dropout_factors(dropout: nn.Dropout, ones: Tensor, steps: int) -> tuple[Tensor, Tensor] | None:
    """Two factors (N, L, E) on the embeddings, drawn step by step in the released order: the same masks from the same
    seed. ``ones`` is (1, N, E)."""
    if not _drops(dropout):
        return None
    drawn = [dropout(ones) for _ in range(2 * steps)]
    return torch.cat(drawn[::2]).transpose(0, 1), torch.cat(drawn[1::2]).transpose(0, 1)


def _whole_window(mean: Tensor, std: Tensor, frames: int) -> Tensor:
    """Windows (L, T, N) from mean and std (L, N); unlike the op's, not 0 beyond a length, as the released code's."""
    frame = torch.arange(frames, dtype=mean.dtype, device=mean.device)[:, None]
    return torch.exp(-((mean[:, None] - frame) ** 2) / (2 * std[:, None] ** 2)).contiguous()
