"""The lines of ``metrics.jsonl`` in TensorBoard or Weights & Biases as well."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from m2t_fast.errors import UserError
from m2t_fast.files import resolved

LOGS: tuple[str, ...] = ("tensorboard", "wandb")
_NO_SCALARS = ("kind", "step", "epoch")


class Log(Protocol):
    """Where numbers go."""

    def write(self, line: Mapping[str, Any]) -> None:
        """A line of ``metrics.jsonl``."""

    def close(self) -> None:
        """No more lines."""


def require(name: str) -> None:
    """Raise now what would otherwise come to light when training begins.

    Raises:
        UserError: the package is not installed.
    """
    try:
        if name == "tensorboard":
            import torch.utils.tensorboard  # noqa: F401
        else:
            import wandb  # noqa: F401
    except ImportError as error:
        raise UserError(f"--log {name}: {error}: pip install 'm2t_fast[{name}]'") from None


def open_log(name: str, folder: Path, step: int, settings: Mapping[str, Any]) -> Log:
    """The log of a run, in its folder; a run resumed after ``step`` steps continues its log, without the
    lines that lie beyond that step.

    Raises:
        UserError: the package is not installed.
    """
    require(name)
    return _TensorBoard(folder, step) if name == "tensorboard" else _WandB(folder, settings)


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by name, "step/loss" and "epoch/val_bleu_4" and so on."""
    kind = line["kind"]
    return {
        f"{kind}/{name}": float(value)
        for name, value in line.items()
        if name not in _NO_SCALARS and isinstance(value, int | float)
    }


class _TensorBoard:
    """Event files in ``RUN/tensorboard``."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, line: Mapping[str, Any]) -> None:
        for name, value in scalars(line).items():
            self.writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        self.writer.close()


class _WandB:
    """A run of Weights & Biases, whose files lie in ``RUN/wandb``; WANDB_MODE=offline sends nothing."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        self.run: Any = wandb.init(dir=str(folder), name=resolved(folder).name, config=dict(settings), resume="allow")

    def write(self, line: Mapping[str, Any]) -> None:
        self.run.log(scalars(line), step=line["step"])

    def close(self) -> None:
        self.run.finish()
