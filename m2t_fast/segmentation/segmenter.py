"""Which windows are segments: a small network fitted on takes whose segments are known, and the best tiling."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from m2t_fast.errors import UserError
from m2t_fast.segmentation.boundaries import EVIDENCE, Refinement
from m2t_fast.segmentation.features import FEATURES
from m2t_fast.segmentation.windows import Grid
from m2t_fast.tensor_files import read_tensors, write_tensors

FILE = "segmenter.safetensors"
"""Its file in a run folder."""
DEFAULT = Path(__file__).with_name("default.safetensors")
"""The segmenter of runs that have none of their own; docs/long-takes.md says how it was fitted."""

_HIDDEN = 32
_SHAPES = {
    "mean": (FEATURES,),
    "std": (FEATURES,),
    "weight_in": (_HIDDEN, FEATURES),
    "bias_in": (_HIDDEN,),
    "weight_out": (_HIDDEN,),
    "bias_out": (),
}
_REFINEMENT = {"boundary_mean": (EVIDENCE,), "boundary_weight": (EVIDENCE,), "boundary_bias": ()}
_EPOCHS, _BATCH, _RATE, _DECAY = 30, 256, 3e-3, 1e-3


@dataclass(frozen=True)
class Segmenter:
    """Says of a window from its features the intersection over union in time (tIoU) with the segment next to it.

    ``mean`` and ``std`` (FEATURES,) standardise the features; then one hidden layer of tanh. ``boundary_mean``,
    ``boundary_weight`` (EVIDENCE,) and ``boundary_bias`` () move boundaries off the grid. All float32, on the CPU.
    """

    mean: Tensor
    std: Tensor
    weight_in: Tensor
    bias_in: Tensor
    weight_out: Tensor
    bias_out: Tensor
    boundary_mean: Tensor = field(default_factory=lambda: Refinement.of_sums().mean)
    boundary_weight: Tensor = field(default_factory=lambda: Refinement.of_sums().weight)
    boundary_bias: Tensor = field(default_factory=lambda: Refinement.of_sums().bias)

    @property
    def refinement(self) -> Refinement:
        """What moves boundaries off the grid."""
        return Refinement(self.boundary_mean, self.boundary_weight, self.boundary_bias)

    def refined_by(self, refinement: Refinement) -> Segmenter:
        """The same with another refinement."""
        mean, weight, bias = refinement.mean, refinement.weight, refinement.bias
        return replace(self, boundary_mean=mean, boundary_weight=weight, boundary_bias=bias)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(W,) float64 from (W, FEATURES), in [0, 1]."""
        x = (torch.from_numpy(features) - self.mean) / self.std
        hidden = torch.tanh(x @ self.weight_in.T + self.bias_in)
        return (hidden @ self.weight_out + self.bias_out).clamp(0.0, 1.0).double().numpy()

    @classmethod
    def fit(cls, features: np.ndarray, target: np.ndarray, seed: int = 0) -> Segmenter:
        """Least squares of (W, FEATURES) against the tIoU (W,) that is known; the same input gives the same result.

        Raises:
            ValueError: no windows, or other shapes.
        """
        if features.shape != (len(target), FEATURES) or not len(target):
            raise ValueError(
                f"features: got shape {features.shape} for {len(target)} targets, expected (W, {FEATURES})"
            )
        x, y = torch.from_numpy(features), torch.from_numpy(target).float()
        std, mean = torch.std_mean(x.double(), dim=0, correction=0)
        mean, std = mean.float(), std.float().clamp_min(1e-6)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            into, out = nn.Linear(FEATURES, _HIDDEN), nn.Linear(_HIDDEN, 1)
            network = nn.Sequential(into, nn.Tanh(), out)
            optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
            x = (x - mean) / std
            for _ in range(_EPOCHS):
                for rows in torch.randperm(len(x)).split(_BATCH):
                    loss = (network(x[rows])[:, 0] - y[rows]).square().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        return cls(mean, std, into.weight.detach(), into.bias.detach(), out.weight.detach()[0], out.bias.detach()[0])

    def save(self, path: Path) -> None:
        """Writes a safetensors file atomically.

        Raises:
            UserError: the file cannot be written.
        """
        write_tensors(path, {name: getattr(self, name) for name in (*_SHAPES, *_REFINEMENT)})

    @classmethod
    def load(cls, path: Path) -> Segmenter:
        """Reads a file of :meth:`save`.

        Raises:
            UserError: it is missing, damaged or holds something else.
        """
        tensors = read_tensors(path)[0]
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        # Files from before boundaries had evidence hold none of its weights.
        if found not in (_SHAPES, _SHAPES | _REFINEMENT) or any(
            x.dtype != torch.float32 or not x.isfinite().all() for x in tensors.values()
        ):
            raise UserError(f"{path}: damaged, or of another version; fit it again with m2t-fast fit-segments")
        return cls(**tensors)


def best_tiling(windows: np.ndarray, quality: np.ndarray, fps: float, grid: Grid) -> list[tuple[int, int]]:
    """The windows (W, 2) that tile a take so that the sum of their ``quality`` (W,) times seconds is largest.

    Returns:
        (first frame, end) of every segment, in order, on the grid.
    """
    value = {(int(a), int(b)): float(q) * (b - a) / fps for (a, b), q in zip(windows, quality, strict=True)}
    points = np.unique(windows).tolist()
    starts: dict[int, list[int]] = {}
    for start, end in value:
        starts.setdefault(start, []).append(end)
    best: dict[int, tuple[float, int]] = {points[0]: (0.0, points[0])}
    for point in points:
        if point not in best:
            continue
        so_far = best[point][0]
        for end in starts.get(point, ()):
            total = so_far + value[point, end]
            if end not in best or total > best[end][0]:
                best[end] = total, point
    cuts = [points[-1]]
    while cuts[-1] != points[0]:
        cuts.append(best[cuts[-1]][1])
    cuts.reverse()
    return list(zip(cuts, cuts[1:], strict=False))
