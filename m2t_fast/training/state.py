"""Resumable training state: one file that holds weights, optimiser and position, written as a whole or not at all."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.errors import UserError
from m2t_fast.reading import Malformed, parse_json
from m2t_fast.run_folder import fill
from m2t_fast.tensor_files import read_tensors, require_finite, write_tensors
from m2t_fast.training.host_copy import HostCopy

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_COUNT, _SUMS = int, {str: float}
_FORM = {
    **{f"{name}?": _COUNT for name in ("epoch", "step", "batch", "interval_steps", "metrics_bytes", "digest")},
    **{"best_bleu?": (float, None), "sums?": _SUMS, "interval?": _SUMS, "seconds?": float},
}


@dataclass
class Position:
    """Where training stands; with the weights and the optimiser, all that is needed to resume bit for bit."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps taken in all."""
    batch: int = 0
    """Batches taken of the epoch under way."""
    best_bleu: float | None = None
    """Best validation BLEU-4 so far."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of each loss over the batches of the epoch under way."""
    interval: dict[str, float] = field(default_factory=dict)
    """Sums of each loss since the last line of ``metrics.jsonl``."""
    interval_steps: int = 0
    """Steps in ``interval``."""
    metrics_bytes: int = 0
    """Length of ``metrics.jsonl`` at this position; what lies beyond it belongs to steps that will be taken again."""
    seconds: float = 0.0
    """Time spent so far."""
    digest: int = 0
    """Checksum of the training samples."""


class Snapshot:
    """The training state as it is now; training may go on while it is written."""

    def __init__(self, model: Captioner, optimizer: torch.optim.Optimizer, position: Position):
        self.weights = HostCopy(model.state_dict())
        moments = {}
        for name, parameter in model.named_parameters():
            for moment, value in optimizer.state[parameter].items():
                moments[f"optimizer.{name}.{moment}"] = value
        self._moments = HostCopy(moments)
        self._position = json.dumps(asdict(position))

    def write(self, path: Path) -> None:
        """Write the state file atomically.

        Raises:
            UserError: the file cannot be written.
        """
        weights = {f"model.{name}": tensor for name, tensor in self.weights.get().items()}
        write_tensors(path, {**weights, **self._moments.get()}, {"position": self._position})


def load_state(
    path: Path, model: Captioner, optimizer: torch.optim.Optimizer, processes: Processes = ALONE
) -> Position:
    """Fill ``model`` and ``optimizer`` from a state file and return the position. Of several ``processes`` the first
    alone reads the file.

    Raises:
        UserError: the file is missing, damaged or belongs to another model.
    """
    weights = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors, metadata = processes.on_main(lambda: read_tensors(path, weights, strict=False))
    require_finite(path, tensors)
    fill(path, model, {name[len("model.") :]: t for name, t in tensors.items() if name.startswith("model.")})
    try:
        position = Position(**parse_json(metadata["position"], _FORM))
    except (KeyError, TypeError, Malformed) as error:
        raise UserError(f"{path}: damaged training state ({error})") from None
    if min(position.epoch, position.step, position.batch, position.interval_steps, position.metrics_bytes) < 0:
        raise UserError(f"{path}: damaged training state (a negative position)")
    if position.step == 0:
        return position
    fused = optimizer.defaults.get("fused") or optimizer.defaults.get("capturable")
    for name, parameter in model.named_parameters():
        moments: dict[str, Tensor] = {}
        for moment in _MOMENTS:
            key = f"optimizer.{name}.{moment}"
            shape = () if moment == "step" else parameter.shape
            if key not in tensors or tensors[key].shape != shape:
                raise UserError(f"{path}: tensor {key} is missing or has another shape")
            if tensors[key].dtype != (torch.float32 if moment == "step" else parameter.dtype):
                raise UserError(f"{path}: tensor {key} has dtype {tensors[key].dtype}, expected {parameter.dtype}")
            # AdamW in one kernel keeps the step count beside the weights, else it is on the CPU.
            moments[moment] = tensors[key].to(parameter.device) if fused or moment != "step" else tensors[key]
        optimizer.state[parameter] = moments
    return position


def digest(dataset: MotionDataset) -> int:
    """Checksum of a split's motions and captions, so that a run is not resumed on other data."""
    value = 0
    for tensor in (dataset.frames, dataset.frame_offsets, dataset.tokens, dataset.token_offsets):
        value = zlib.crc32(tensor.cpu().contiguous().numpy().data, value)
    return value
