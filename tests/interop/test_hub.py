"""Runs saved, uploaded and opened by name; the hub is a folder here."""

from __future__ import annotations

import copy
import pickle
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from m2t_fast import Captioner
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.errors import UserError
from m2t_fast.hub import on_hub
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the Hub, behind huggingface_hub's own mixin."""
    library = pytest.importorskip("huggingface_hub", reason='huggingface_hub is not installed (extra "hub")')
    from huggingface_hub import hub_mixin

    store = tmp_path / "hub"

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> SimpleNamespace:
            (store / repo_id).mkdir(parents=True, exist_ok=True)
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id: str, folder_path: str, **_: Any) -> str:
            shutil.copytree(folder_path, store / repo_id, dirs_exist_ok=True)
            return f"hub/{repo_id}/commit"

    def download(repo_id: str, filename: str = "", **_: Any) -> str:
        return str(store / repo_id / filename)

    monkeypatch.setattr(hub_mixin, "HfApi", Api)
    monkeypatch.setattr(hub_mixin, "hf_hub_download", download)
    monkeypatch.setattr(library, "snapshot_download", download)
    return store


def test_through_a_hub(run: CaptioningRun, hub: Path) -> None:
    """What is uploaded under a name is what comes back under it; a model card goes along."""
    assert run.push_to_hub("me/first") == "hub/me/first/commit"
    assert "m2t_fast" in (hub / "me/first/README.md").read_text()
    again = CaptioningRun.from_pretrained("me/first")
    assert torch.equal(again.model.output.weight, run.model.output.weight)


def test_a_captioner_by_name(run: CaptioningRun, hub: Path, tmp_path: Path) -> None:
    """The model alone; its vocabulary stays with it, through copies, so that it can be saved as it is now."""
    run.push_to_hub("me/first")
    model = copy.deepcopy(Captioner.from_pretrained("me/first"))
    assert type(model) is Captioner and not model.training
    with torch.no_grad():
        model.output.bias.add_(1.0)
    again = pickle.loads(pickle.dumps(model))
    again.push_to_hub("me/second")
    opened = CaptioningRun.from_pretrained(again.save_pretrained(tmp_path / "saved"))
    assert opened.vocabulary == run.vocabulary
    for found in (opened.model, Captioner.from_pretrained("me/second"), Captioner.from_pretrained(tmp_path / "saved")):
        torch.testing.assert_close(found.output.bias, run.model.output.bias + 1.0)
    with pytest.raises(RuntimeError, match="no vocabulary"):
        run.model.save_pretrained(tmp_path / "alone")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub.cache_clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="hub"):
        CaptioningRun.from_pretrained("nobody/nothing")
