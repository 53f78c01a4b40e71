"""The golden recordings of the released model, with their axes turned to ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.released import from_released, load

FOLDER = Path(__file__).parent
JOINTS = {"kit": 21, "h3d": 22}
PART_ORDER = {"kit": [0, 1, 2, 3, 4, 5], "h3d": [0, 1, 3, 2, 5, 4]}


class Golden:
    """One recording; ``group`` names what stands before a key, such as "out", "eq/out" or "peaked_x30/out"."""

    def __init__(self, skeleton: str, dtype: torch.dtype, file: str):
        suffix = "_f64" if dtype == torch.float64 and file == "golden" else ""
        weights = np.load(FOLDER / f"golden_{skeleton}_small{suffix}.npz")
        self.arrays = weights if file == "golden" else np.load(FOLDER / f"edge_{skeleton}.npz")
        self.skeleton, self.joints, self.dtype = skeleton, JOINTS[skeleton], dtype
        self.parts = PART_ORDER[skeleton]
        self.state = {k[2:]: torch.from_numpy(weights[k]).to(dtype) for k in weights.files if k.startswith("w/")}

    def __call__(self, key: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[key]))

    def model(self) -> Captioner:
        """The released weights; dropout was 0 when the recordings were made."""
        return load(self.state).eval()

    def motion(self, key: str) -> Tensor:
        """Absolute positions (N, T, J, 3) of a recorded root-relative input (T, N, 3J)."""
        x = self(key).to(self.dtype).transpose(0, 1).unflatten(2, (self.joints, 3)).contiguous()
        x[:, :, 1:] += x[:, :, :1]
        return x

    def words_first(self, key: str) -> Tensor:
        """(L, N, ...) -> (N, L, ...)."""
        return self(key).transpose(0, 1)

    def spatial(self, key: str) -> Tensor:
        """(L, T, N, 6) -> (N, L, T, 6), limbs in our order."""
        return self(key).permute(2, 0, 1, 3)[..., self.parts]

    def window(self, key: str) -> Tensor:
        """(L, T, N) -> (N, L, T)."""
        return self(key).permute(2, 0, 1)

    def spatial_target(self, key: str) -> Tensor:
        """(N, L, 6), limbs in our order; arms and legs are supervised as pairs, so the order shows nowhere else."""
        return self(key)[..., self.parts]

    def gradients(self, prefix: str) -> dict[str, Tensor]:
        """Recorded gradients under our names and layouts."""
        keys = [k for k in self.arrays.files if k.startswith(prefix)]
        return from_released({k[len(prefix) :]: self(k) for k in keys}, self.joints)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture(params=["kit", "h3d"])
def golden(request: pytest.FixtureRequest, dtype: torch.dtype) -> Golden:
    return Golden(request.param, dtype, "golden")


@pytest.fixture(params=["kit", "h3d"])
def edge(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param, torch.float32, "edge")
