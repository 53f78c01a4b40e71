"""How far a motion lies from a run's training data, in the features of its encoder: fitting, storing, measuring."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.modes import evaluating
from m2t_fast.captioning.padding import padded_batches
from m2t_fast.data.batches import MotionBatch
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.errors import UserError
from m2t_fast.run_folder import WEIGHTS
from m2t_fast.tensor_files import read_tensors, write_tensors

FILE = "trust.safetensors"
"""Its file in a run folder."""
SHARE = 0.95
"""Of the validation motions lie within the limit."""

_LEAST, _MOST = 8, 2048  # training motions without which nothing is fitted, and that are kept
_AXES, _NEIGHBOURS = 64, 5
_FEW = 20  # validation motions below which the training motions help to find the limit
_LEAST_STD = 1e-3  # of features, which lie in -1 to 1: one that hardly varies must not outweigh all others
_NAMES = ("mean", "std", "axes", "scale", "reference", "limit", "shortest", "least_path")


@torch.no_grad()
def pooled_features(model: Captioner, batch: MotionBatch) -> Tensor:
    """(B, 2PH) float64 on the CPU: mean and standard deviation over the valid frames of every body-part feature."""
    weight = model.embedding.weight
    lengths = batch.lengths.to(weight.device)
    parts = model.encoder(batch.motion.to(weight.device, weight.dtype), lengths).flatten(2).float()
    frames = torch.arange(parts.shape[1], device=weight.device)
    valid = (frames < lengths[:, None])[..., None]
    count = lengths[:, None]
    mean = torch.where(valid, parts, 0.0).sum(1) / count
    variance = torch.where(valid, (parts - mean[:, None]).square(), 0.0).sum(1) / count
    return torch.cat([mean, variance.sqrt()], dim=1).double().cpu()


@dataclass(frozen=True)
class Familiarity:
    """What a run knows about the motions that it was trained on. F features, A axes, N training motions.

    ``mean`` and ``std`` (F,) standardise features; ``axes`` (A, F) are the principal axes of the training motions and
    ``scale`` (A,) their standard deviations along them; ``reference`` (N, A) are these motions, each axis scaled to
    deviation 1. ``limit`` (): the distance within which 95 % of the validation motions lie. ``shortest`` () kept
    frames, and ``least_path`` () metres that a joint moved, of all of them. All float32, on the CPU.
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    scale: Tensor
    reference: Tensor
    limit: Tensor
    shortest: Tensor
    least_path: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """(B,) float64 of (B, F) float64: 1 is the limit, and less is nearer to the training data."""
        return self._distance(features) / self.limit.double()

    def _distance(self, features: Tensor, own: bool = False) -> Tensor:
        """Distance to the nearest training motions along the axes, and what no axis explains, in units of the average
        axis; ``own``: the features are those of the reference, and none is its own neighbour."""
        features = (features - self.mean.double()) / self.std.double()
        along = features @ self.axes.double().T
        apart = (features - along @ self.axes.double()).square().sum(1) / self.scale.double().square().mean()
        between = torch.cdist(along / self.scale.double(), self.reference.double())
        if own:
            between.fill_diagonal_(torch.inf)
        near = between.topk(min(_NEIGHBOURS, between.shape[1] - own), dim=1, largest=False).values.mean(dim=1)
        return (near.square() + apart).sqrt()

    @classmethod
    def fit(
        cls, model: Captioner, train: MotionDataset, val: MotionDataset | None, batch_size: int = 64
    ) -> Familiarity | None:
        """From the training motions, at most 2,048 of them, and calibrated on the validation motions.

        Returns:
            None where there are fewer than 8 training motions. The same input gives the same result.
        """
        if train.motions < _LEAST:
            return None
        known = _features(model, train, batch_size)
        std, mean = torch.std_mean(known, dim=0, correction=0)
        std = std.clamp_min(_LEAST_STD)
        count = min(_AXES, max(len(known) // 4, 1))
        _, values, axes = torch.linalg.svd((known - mean) / std, full_matrices=False)
        axes, scale = axes[:count], (values[:count] / len(known) ** 0.5).clamp_min(1e-6)
        reference = ((known - mean) / std) @ axes.T / scale
        other = val if val is not None and val.motions else None
        splits = [train] if other is None else [train, other]
        shortest = min(int(split.motion_lengths.min()) for split in splits)
        least = min(_least_path(split) for split in splits)
        numbers = (torch.tensor(float(x), device="cpu") for x in (1.0, shortest, least))
        found = cls(*(tensor.float().contiguous() for tensor in (mean, std, axes, scale, reference)), *numbers)
        distances = found._distance(known, own=True)
        if other is not None:
            new = found._distance(_features(model, other, batch_size))
            distances = new if len(new) >= _FEW else torch.cat([new, distances])
        limit = distances.quantile(SHARE, interpolation="higher").clamp_min(1e-6)
        return dataclasses.replace(found, limit=limit.float())

    def save(self, folder: Path) -> None:
        """Writes the file of a run folder, beside the weights that it belongs to.

        Raises:
            UserError: the file cannot be written.
        """
        write_tensors(folder / FILE, {n: getattr(self, n) for n in _NAMES}, {"weights": weights_digest(folder)})

    @classmethod
    def load(cls, folder: Path) -> Familiarity | None:
        """Reads the file of a run folder; None where it has none, or one of other weights.

        Raises:
            UserError: it is damaged or holds something else.
        """
        path = folder / FILE
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        if not _well_formed(tensors):
            raise UserError(f"{path}: damaged, or of another version; make it again with m2t-fast calibrate")
        return cls(**tensors) if metadata.get("weights") == weights_digest(folder) else None


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights file of a run folder; "" where there is none."""
    try:
        with open(folder / WEIGHTS, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _well_formed(tensors: dict[str, Tensor]) -> bool:
    if set(tensors) != set(_NAMES) or any(x.dtype != torch.float32 or not x.isfinite().all() for x in tensors.values()):
        return False
    (features, axes, count), shapes = (0, 0, 0), {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(shapes["axes"]) == len(shapes["reference"]) == 2:
        (axes, features), count = shapes["axes"], shapes["reference"][0]
    expected = {"mean": (features,), "std": (features,), "axes": (axes, features), "scale": (axes,)}
    expected |= {"reference": (count, axes), "limit": (), "shortest": (), "least_path": ()}
    positive = all(bool((tensors[name] > 0).all()) for name in ("std", "scale", "limit"))
    return count > 0 and axes > 0 and shapes == expected and positive


def _features(model: Captioner, dataset: MotionDataset, batch_size: int) -> Tensor:
    """(N, F): at most 2,048 motions, spread evenly over the split."""
    count = min(dataset.motions, _MOST)
    motions: Sequence[Tensor] = [dataset.motion(number * dataset.motions // count) for number in range(count)]
    with evaluating(model):
        rows = [(batch.index, pooled_features(model, batch)) for batch in padded_batches(motions, batch_size)]
    index, features = (torch.cat(tensors) for tensors in zip(*rows, strict=True))
    return features[torch.argsort(index)]


def _least_path(dataset: MotionDataset) -> float:
    """The smallest, over the motions, of the largest change of any joint's coordinate, in the data's unit."""
    scale = torch.tensor(dataset.statistics.std, dtype=torch.float32, device="cpu")
    motions = (dataset.motion(number) for number in range(dataset.motions))
    return min(float(((motion.amax(0) - motion.amin(0)) * scale).max()) for motion in motions)
