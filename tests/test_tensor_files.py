"""Checkpoints of others: what is no tensor is named in one line, without the advice to open it all the same."""

from __future__ import annotations

import argparse
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.tensor_files import load_checkpoint


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)


def _old(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: torch.save({"options": argparse.Namespace(a=1)}, path), "it holds argparse.Namespace; only"),
        (_old({"options": argparse.Namespace(a=1)}), "it holds argparse.Namespace; only"),
        (lambda path: torch.save(torch.nn.Linear(2, 2), path), "it holds torch.nn.modules.linear.Linear; only"),
        (lambda path: torch.save({"mean": np.ones(3)}, path), "it holds numpy."),
        (lambda path: path.write_bytes(pickle.dumps(argparse.Namespace(a=1))), "truncated, or not a checkpoint"),
        (lambda path: path.write_text("<!DOCTYPE html>"), "truncated, or not a checkpoint"),
        (lambda path: path.touch(), "truncated, or not a checkpoint"),
        (_tar, "truncated, or not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_of_weights(tmp_path: Path, write: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "finest.tar"
    write(path)
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: not a checkpoint of weights: {reason}"), message
    assert "\n" not in message and "weights_only" not in message and "trust" not in message


@pytest.mark.parametrize("new", [True, False])
def test_tensors_and_numbers(tmp_path: Path, new: bool) -> None:
    torch.save({"weight": torch.ones(2), "epoch": 3}, tmp_path / "ok.tar", _use_new_zipfile_serialization=new)
    found = load_checkpoint(tmp_path / "ok.tar")
    assert found["epoch"] == 3 and torch.equal(found["weight"], torch.ones(2))
