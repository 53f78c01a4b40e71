"""Runs saved, uploaded and opened by name; the hub is a folder here."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from m2t_fast import Captioner
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.errors import UserError
from m2t_fast.inference import CaptioningRun


@pytest.fixture
def run(model: Captioner, tmp_path: Path) -> CaptioningRun:
    vocabulary = Vocabulary.build([[f"w{i}"] * 9 for i in range(26)], 1)
    statistics = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return CaptioningRun(tmp_path, model, vocabulary, statistics, DataSettings.kit(), None)


def test_saved_and_opened(run: CaptioningRun, tmp_path: Path) -> None:
    again = CaptioningRun.from_pretrained(run.save_pretrained(tmp_path / "saved"))
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)
    assert len(again.vocabulary) == len(run.vocabulary)
    with pytest.raises(UserError, match="exists already"):
        run.save_pretrained(tmp_path / "saved")


def test_through_a_hub(run: CaptioningRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is uploaded under a name is what comes back under it."""
    store = tmp_path / "hub"
    fake = SimpleNamespace(
        create_repo=lambda name, **_: (store / name).mkdir(parents=True),
        upload_folder=lambda repo_id, folder_path, **_: shutil.copytree(
            folder_path, store / repo_id, dirs_exist_ok=True
        ),
        snapshot_download=lambda name, **_: str(store / name),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    run.push_to_hub("me/first")
    again = CaptioningRun.from_pretrained("me/first")
    assert torch.equal(again.model.output.weight, run.model.output.weight)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="hub"):
        CaptioningRun.from_pretrained("nobody/nothing")
