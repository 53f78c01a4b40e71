"""Released checkpoints to captioners and back: names, layouts and the order of the limbs.

The released model scores frames (``scoring="frame"``) and averages over parts (rho = 1/P). It concatenates the parts
of a frame with the part as the inner index, and on HumanML3D's skeleton takes the right limb before the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.errors import UserError
from m2t_fast.skeleton import HUMANML3D, SKELETONS
from m2t_fast.tensor_files import load_checkpoint
from m2t_fast.wording import counted

UNUSED = ("feat_extract_henc.weight", "feat_extract_henc.bias", "temporal_att.bias")
"""Released tensors without effect: one layer is never called, one bias cancels in the softmax over frames."""

_SAME = {
    "dec.embedding.weight": "embedding.weight",
    "dec.bottom_lstm.weight_ih_l0": "bottom_lstm.weight_ih",
    "dec.bottom_lstm.weight_hh_l0": "bottom_lstm.weight_hh",
    "dec.bottom_lstm.bias_ih_l0": "bottom_lstm.bias_ih",
    "dec.bottom_lstm.bias_hh_l0": "bottom_lstm.bias_hh",
    "dec.top_lstm.weight_ih_l0": "top_lstm.weight_ih",
    "dec.top_lstm.weight_hh_l0": "top_lstm.weight_hh",
    "dec.top_lstm.bias_ih_l0": "top_lstm.bias_ih",
    "dec.top_lstm.bias_hh_l0": "top_lstm.bias_hh",
    "feat_extract_g.bias": "attention.temporal_key.bias",
    "feat_extract_x.bias": "attention.spatial_key.bias",
    "tempfeat_extract_hdec.weight": "attention.temporal_query.weight",
    "tempfeat_extract_hdec.bias": "attention.temporal_query.bias",
    "feat_extract_hdec.weight": "attention.spatial_query.weight",
    "feat_extract_hdec.bias": "attention.spatial_query.bias",
    "gate_var.weight": "step.gate_hidden.weight",
    "gate_var.bias": "step.gate_hidden.bias",
    "adapt_layer.weight": "step.gate_word.weight",
    "adapt_layer.bias": "step.gate_word.bias",
    "ctproject.weight": "step.context.weight",
    "ctproject.bias": "step.context.bias",
    "htproject.weight": "step.language.weight",
    "htproject.bias": "step.language.bias",
    "mixture_feat.weight": "step.mixture.weight",
    "mixture_feat.bias": "step.mixture.bias",
    "final_layer.weight": "output.weight",
    "final_layer.bias": "output.bias",
}
_KEYS = {
    "feat_extract_g.weight": "attention.temporal_key.weight",
    "feat_extract_x.weight": "attention.spatial_key.weight",
}
_LAYERS = {
    "weight1": ("six_layers", "six_layers_v"),
    "weight2": ("six_layers_2", "six_layers_v2"),
}
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module")


def released_part(joints: int) -> list[int]:
    """For each of our parts, its number in the released model; the list is its own inverse."""
    return [0, 1, 3, 2, 5, 4] if joints == HUMANML3D.joints else [0, 1, 2, 3, 4, 5]


def load(source: str | Path | Mapping[str, Any]) -> Captioner:
    """A captioner with the authors' released weights: ``scoring="frame"``, ``context_scale=1/P``.

    Sizes and skeleton are read off the tensors. The limbs come out in this package's order.

    Args:
        source: a checkpoint file or a state dict; a dictionary that holds the state dict is accepted, too. Files are
            opened with ``weights_only=True``: nothing in them is run.

    Raises:
        UserError: not such a file, or a tensor is missing, unknown or has another shape; the message names it.
    """
    name = "released weights"
    if isinstance(source, (str, Path)):
        name = str(source)
        source = _read(Path(source))
    if not isinstance(source, Mapping):
        raise TypeError(f"source must be a path or a state dict, got {type(source).__name__}")
    state = _unwrap(source)
    config = check_state(name, state)
    model = Captioner(config).to(state["dec.embedding.weight"].dtype)
    model.load_state_dict(from_released(state, config.joints))
    return model


def _read(path: Path) -> Mapping[str, Any]:
    if not path.exists() or path.is_dir():
        raise UserError(f"{path}: no such checkpoint file")
    content = load_checkpoint(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected a state dict")
    return content


def _unwrap(source: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict, out of a wrapping dictionary and without DataParallel's prefix."""
    for key in _WRAPPERS:
        inner = source.get(key)
        if isinstance(inner, Mapping):
            source = inner
            break
    return {key.removeprefix("module."): value for key, value in source.items() if isinstance(value, Tensor)}


def check_state(name: str, state: Mapping[str, Tensor]) -> CaptionerConfig:
    """The configuration that the released tensors are of.

    Raises:
        UserError: a tensor is missing, unknown or has another shape; the message starts with ``name``.
    """
    config = _config(name, state)
    problem = _first_problem(state, config)
    if problem:
        raise UserError(f"{name}: {problem}")
    return config


def _config(name: str, state: Mapping[str, Tensor]) -> CaptionerConfig:
    def shape(key: str, dims: int) -> torch.Size:
        if key not in state:
            raise UserError(f"{name}: not a released checkpoint (tensor {key} is missing)")
        if state[key].dim() != dims:
            raise UserError(f"{name}: {key} has shape {tuple(state[key].shape)}, expected {counted(dims, 'dimension')}")
        return state[key].shape

    torso = shape("enc_pose.six_layers.1.weight", 2)[1]
    for skeleton in SKELETONS:
        if torso == 3 * len(skeleton.parts[1]):
            break
    else:
        raise UserError(f"{name}: enc_pose.six_layers.1.weight reads {torso} coordinates, expected 12 or 18")
    vocabulary, embedding = shape("dec.embedding.weight", 2)
    try:
        return CaptionerConfig(
            vocab_size=vocabulary,
            joints=skeleton.joints,
            part_dim=2 * shape("enc_pose.six_layers_2.0.weight", 2)[0],
            attention_dim=shape("feat_extract_hdec.weight", 2)[0],
            hidden_size=shape("dec.bottom_lstm.weight_hh_l0", 2)[1],
            embedding_dim=embedding,
            scoring="frame",
            context_scale=1 / len(skeleton.parts),
        )
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def _first_problem(state: Mapping[str, Tensor], config: CaptionerConfig) -> str | None:
    """The first released tensor that is missing, unknown or of another shape than ``config`` asks for."""
    expected = _shapes(config)
    for key, shape in expected.items():
        if key not in state:
            return f"tensor {key} is missing"
        if state[key].shape != shape:
            return f"{key} has shape {tuple(state[key].shape)}, expected {tuple(shape)}"
    unknown = sorted(set(state) - set(expected) - set(UNUSED))
    return f"unknown tensor {unknown[0]}" if unknown else None


@lru_cache(maxsize=16)
def _shapes(config: CaptionerConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        expected = to_released(Captioner(config).state_dict(), config.joints)
    return {key: tensor.shape for key, tensor in expected.items()}


def released_keys() -> list[str]:
    """Names of the released tensors, without those in :data:`UNUSED`."""
    return list(_shapes(CaptionerConfig(vocab_size=4, scoring="frame")))


def from_released(state: Mapping[str, Tensor], joints: int) -> dict[str, Tensor]:
    """Released tensors (weights, or their gradients) under our names and in our layouts.

    Args:
        state: the released state dict. joints: 21 or 22.

    Raises:
        KeyError: a tensor is missing.
    """
    parts = released_part(joints)
    ours = {own: state[key] for key, own in _SAME.items()}
    for key, own in _KEYS.items():  # columns h * P + part -> part * H + h
        planes = state[key].unflatten(1, (-1, len(parts))).unbind(2)
        ours[own] = torch.cat([planes[part] for part in parts], dim=1)
    ours["attention.temporal_weight"] = state["temporal_att.weight"][0]
    ours["attention.spatial_weight"] = state["spatial_att.weight"][parts]
    ours["attention.spatial_bias"] = state["spatial_att.bias"][parts]
    for layer, streams in _LAYERS.items():
        bias = layer.replace("weight", "bias")
        weights = [[state[f"enc_pose.{stream}.{part}.weight"].T for part in parts] for stream in streams]
        join = torch.cat if layer == "weight1" else torch.stack
        ours[f"encoder.{layer}"] = torch.stack([join(stream) for stream in weights])
        ours[f"encoder.{bias}"] = torch.stack(
            [torch.stack([state[f"enc_pose.{stream}.{part}.bias"] for part in parts]) for stream in streams]
        )
    return ours


def to_released(ours: Mapping[str, Tensor], joints: int) -> dict[str, Tensor]:
    """The inverse of :func:`from_released`, without the tensors in :data:`UNUSED`."""
    parts = released_part(joints)
    back = [parts.index(part) for part in range(len(parts))]
    state = {key: ours[own] for key, own in _SAME.items()}
    for key, own in _KEYS.items():
        state[key] = ours[own].unflatten(1, (len(parts), -1))[:, back].transpose(1, 2).flatten(1)
    state["temporal_att.weight"] = ours["attention.temporal_weight"][None]
    state["spatial_att.weight"] = ours["attention.spatial_weight"][back]
    state["spatial_att.bias"] = ours["attention.spatial_bias"][back]
    skeleton = next(s for s in SKELETONS if s.joints == joints)
    rows = [3 * len(part) for part in skeleton.parts]
    for layer, streams in _LAYERS.items():
        for number, stream in enumerate(streams):
            weight = ours[f"encoder.{layer}"][number]
            blocks = weight.split(rows) if layer == "weight1" else weight.unbind(0)
            bias = ours[f"encoder.{layer.replace('weight', 'bias')}"][number]
            for position, part in enumerate(parts):
                state[f"enc_pose.{stream}.{part}.weight"] = blocks[position].T
                state[f"enc_pose.{stream}.{part}.bias"] = bias[position]
    return state
