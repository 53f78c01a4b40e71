"""Numbers of ``metrics.jsonl`` in other logs."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from m2t_fast.errors import UserError
from m2t_fast.training.logs import open_log, require, scalars

STEP = {"kind": "step", "epoch": 1, "step": 20, "loss": 5.0, "learning_rate": 1e-3, "seconds": 2}
EPOCH = {"kind": "epoch", "epoch": 1, "step": 44, "loss": 4.0, "val_bleu_4": None, "seconds": 3}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand-ins for both packages, and what they are called with."""
    made: list[tuple[Any, ...]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int | None) -> None:
            made.append(("open", folder, purge_step))

        def add_scalar(self, *arguments: Any) -> None:
            made.append(arguments)

        def close(self) -> None:
            made.append(("close",))

    class Wandb:
        def log(self, values: dict, step: int) -> None:
            made.append((values, step))

        def finish(self) -> None:
            made.append(("close",))

    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    monkeypatch.setattr("torch.utils.tensorboard", board, raising=False)
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **options: made.append(("open", options["dir"], options["config"])) or Wandb()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return made


def test_scalars() -> None:
    assert scalars(STEP) == {"step/loss": 5.0, "step/learning_rate": 1e-3, "step/seconds": 2.0}
    assert scalars(EPOCH) == {"epoch/loss": 4.0, "epoch/seconds": 3.0}  # no score without a validation split


@pytest.mark.parametrize(("step", "purge"), [(0, None), (40, 41)])
def test_tensorboard(calls: list, tmp_path: Path, step: int, purge: int | None) -> None:
    log = open_log("tensorboard", tmp_path, step, {})
    log.write(STEP)
    log.close()
    assert calls[0] == ("open", str(tmp_path / "tensorboard"), purge)
    assert ("step/loss", 5.0, 20) in calls and calls[-1] == ("close",)


def test_wandb(calls: list, tmp_path: Path) -> None:
    log = open_log("wandb", tmp_path, 0, {"epochs": 3})
    log.write(EPOCH)
    log.close()
    assert calls == [("open", str(tmp_path), {"epochs": 3}), (scalars(EPOCH), 44), ("close",)]


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(UserError, match=f"--log {name}: .*m2t_fast.{name}"):
        require(name)
