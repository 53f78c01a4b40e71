"""Run folders: everything a trained captioner needs, complete in itself.

A run folder holds ``config.json`` (model, data and training settings), ``vocabulary.json``, ``model.safetensors`` (the
best weights so far) and, while training goes on, ``metrics.jsonl`` and ``training_state.safetensors``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m2t_fast._version import __version__
from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.errors import UserError
from m2t_fast.files import write_text
from m2t_fast.reading import Malformed, Missing, read_json, shown
from m2t_fast.skeleton import Skeleton, skeleton_of
from m2t_fast.tensor_files import read_tensors, require_finite, write_tensors

FORMAT = "m2t_fast run"
CONFIG, VOCABULARY, WEIGHTS = "config.json", "vocabulary.json", "model.safetensors"
_FORM = {
    "format": str,
    "model": {str: (str, int, float)},
    "data": {"settings": {str: (int, None)}, "mean": [float], "std": [float]},
    "training?": ({f"lambda_{loss}?": (float, None) for loss in ("spat", "adapt", "temp")}, None),
}
METRICS, STATE = "metrics.jsonl", "training_state.safetensors"


@dataclass
class Run:
    """A run folder, opened.

    ``statistics`` standardise motions before the model reads them; ``settings`` say how motions are downsampled;
    ``training`` are the training settings as written, None for converted weights.
    """

    folder: Path
    model: Captioner
    vocabulary: Vocabulary
    statistics: Statistics
    settings: DataSettings
    training: dict[str, Any] | None

    @property
    def guidance(self) -> dict[str, float | None]:
        """``lambda_spat`` and ``lambda_adapt`` that it was trained with (eq. 14); None where it does not say."""
        return {name: (self.training or {}).get(name) for name in ("lambda_spat", "lambda_adapt")}

    @property
    def skeleton(self) -> Skeleton:
        """The joint layout the model reads."""
        return skeleton_of(self.model.config.joints)


def write_run(
    folder: Path,
    model: Captioner,
    vocabulary: Vocabulary,
    statistics: Statistics,
    settings: DataSettings,
    training: dict[str, Any] | None,
) -> None:
    """Write ``config.json``, ``vocabulary.json`` and the weights into an existing folder."""
    config = {
        "format": FORMAT,
        "version": __version__,
        "model": model.config.to_dict(),
        "data": {"settings": settings.to_dict(), "mean": statistics.mean, "std": statistics.std},
        "training": training,
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    vocabulary.save(folder / VOCABULARY)
    save_weights(folder / WEIGHTS, model)


def save_weights(path: Path, model: Captioner) -> None:
    """Write the model's tensors atomically."""
    write_tensors(path, model.state_dict())


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a run folder.

    Raises:
        UserError: no such folder, not a run folder, or a damaged file.
    """
    path = Path(folder) / CONFIG
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such run folder")
    try:
        config: dict[str, Any] = read_json(path, _FORM)
    except Missing:
        raise UserError(f"{folder}: not a run folder ({CONFIG} is missing)") from None
    except Malformed as error:
        raise UserError(f"{path}: damaged or foreign run configuration ({error})") from None
    if config["format"] != FORMAT:
        raise UserError(f"{path}: damaged or foreign run configuration (format {shown(config['format'])})")
    return config


def load_run(folder: str | Path, device: str | torch.device = "cpu") -> Run:
    """Open a run folder with its best weights, in evaluation mode.

    Raises:
        UserError: not a run folder, or a file in it is missing, damaged or does not fit the others.
    """
    folder = Path(folder)
    config = read_config(folder)
    vocabulary = Vocabulary.load(folder / VOCABULARY)
    try:
        sizes = CaptionerConfig.from_dict(config["model"])
        data = config["data"]
        statistics = Statistics(tuple(data["mean"]), tuple(data["std"]))
        settings = DataSettings.from_dict(data["settings"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{folder / CONFIG}: damaged run configuration ({error})") from error
    if len(vocabulary) != sizes.vocab_size:
        raise UserError(f"{folder / VOCABULARY}: {len(vocabulary)} words, but the model has {sizes.vocab_size}")
    # The sizes are the file's own claim: they are compared with the weights before memory is taken for them.
    model = _without_memory(sizes)
    expected = model.state_dict()
    tensors = read_tensors(folder / WEIGHTS, expected)[0]
    require_finite(folder / WEIGHTS, tensors)
    own = {name: tensor.to(expected[name].dtype, copy=True) for name, tensor in tensors.items()}  # not the file's pages
    model.load_state_dict(own, assign=True)
    return Run(folder, model.to(device).eval(), vocabulary, statistics, settings, config.get("training"))


def _without_memory(config: CaptionerConfig) -> Captioner:
    """A captioner on ``meta``.

    Raises:
        UserError: no tensor can be that large.
    """
    try:
        with torch.device("meta"):
            return Captioner(config)
    except (RuntimeError, OverflowError) as error:
        raise UserError(f"the model's sizes are too large ({error})") from None


def load_weights(path: Path, model: Captioner) -> None:
    """Fill ``model`` with the tensors of a safetensors file.

    Raises:
        UserError: the file is missing, damaged, or holds other tensors or NaN; the message names the first such tensor.
    """
    tensors = read_tensors(path, model.state_dict())[0]
    require_finite(path, tensors)
    fill(path, model, tensors)


def fill(path: Path, model: Captioner, tensors: dict[str, torch.Tensor]) -> None:
    """Copy named tensors into ``model``; names and shapes must be the model's own."""
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in tensors:
            raise UserError(f"{path}: tensor {name} is missing")
        if tensors[name].shape != tensor.shape:
            raise UserError(f"{path}: {name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}")
    unknown = sorted(set(tensors) - set(own))
    if unknown:
        raise UserError(f"{path}: unknown tensor {unknown[0]}")
    model.load_state_dict(tensors)
