"""Run folders: complete in themselves, and clear about what is wrong with one."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.data.dataset import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.errors import UserError
from m2t_fast.files import new_folder
from m2t_fast.run_folder import load_run, save_weights, write_run


@pytest.fixture(scope="session")
def data():
    return load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)


@pytest.fixture(scope="session")
def config(data):
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6)
    return CaptionerConfig(vocab_size=len(data.vocabulary), joints=21, **sizes)


@pytest.fixture
def run(data, config, tmp_path):
    with new_folder(tmp_path / "run") as folder:
        write_run(folder, Captioner(config), data.vocabulary, data.statistics, DataSettings(), None)
    return tmp_path / "run"


def test_round_trip(run, data, config):
    opened = load_run(run)
    assert opened.model.config == config and opened.vocabulary == data.vocabulary
    assert opened.statistics == data.statistics and opened.settings == DataSettings() and opened.training is None
    assert opened.skeleton.joints == 21
    motion = torch.randn(1, 4, 21, 3)
    again = load_run(str(run))
    tokens = torch.ones(1, 3, dtype=torch.int64)
    first, second = (r.model(motion, torch.tensor([4]), tokens).logits for r in (opened, again))
    assert torch.equal(first, second)


def test_files_can_be_read_by_whoever_the_umask_lets(run):
    mask = os.umask(0)
    os.umask(mask)
    for path in run.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path.name


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
@pytest.mark.parametrize("damage", [None, lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"[1, 2]"])
def test_a_damaged_file_is_named(run, name, damage):
    path = run / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=name):
        load_run(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="other"), "foreign run configuration"),
        (lambda c: c["model"].update(hidden_size=-1), "hidden_size"),
        (lambda c: c["model"].update(width=1), "unknown field 'width'"),
        (lambda c: c["model"].update(hidden_size=16), "has shape"),
        (lambda c: c["model"].update(vocab_size=5), "words, but the model has 5"),
        (lambda c: c["data"].update(std=[1.0, 0.0, 1.0]), "std"),
        (lambda c: c.pop("data"), "config.json"),
        (lambda c: c.update(training=[1]), r"training: got \[1\], expected an object or null"),
        (lambda c: c.update(training={"lambda_spat": "2"}), "lambda_spat: got '2', expected a number"),
    ],
)
def test_a_configuration_that_does_not_fit_is_explained(run, change, message):
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_run(run)


def test_weights_that_are_not_numbers(run):
    model = load_run(run).model
    with torch.no_grad():
        model.output.bias[1] = float("nan")
    save_weights(run / "model.safetensors", model)
    with pytest.raises(UserError, match=r"model.safetensors: output.bias has values that are not finite"):
        load_run(run)


def test_what_is_not_a_run_folder(tmp_path):
    with pytest.raises(UserError, match="no such run folder"):
        load_run(tmp_path / "none")
    with pytest.raises(UserError, match=r"not a run folder \(config.json is missing\)"):
        load_run(tmp_path)


def test_an_existing_folder_is_refused(run):
    with pytest.raises(UserError, match="exists already"), new_folder(run):
        pass


def test_a_full_disk_is_one_clear_error(config, tmp_path, monkeypatch):
    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(UserError, match="weights: cannot write: .*No space left"):
        patch.setattr(Path, "write_bytes", full)
        save_weights(tmp_path / "weights", Captioner(config))
    assert not any(tmp_path.iterdir())
