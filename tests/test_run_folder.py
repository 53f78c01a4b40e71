"""Run folders: complete in themselves, and clear about what is wrong with one."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

from m2t_fast import Captioner, CaptionerConfig, tensor_files
from m2t_fast.data.loading import load_data
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
    before = (run / "model.safetensors").read_bytes()
    model = load_run(run).model
    with torch.no_grad():
        model.output.bias[1] = float("nan")
    with pytest.raises(UserError, match=r"model.safetensors: not written: output.bias has values that are not finite"):
        save_weights(run / "model.safetensors", model)
    assert (run / "model.safetensors").read_bytes() == before
    safetensors.torch.save_file(model.state_dict(), run / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors: output.bias has values that are not finite"):
        load_run(run)


def claim(run, **sizes):
    config = json.loads((run / "config.json").read_text())
    config["model"].update(sizes)
    (run / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("sizes", [dict(hidden_size=20_000), dict(part_dim=2**23), dict(attention_dim=10**7)], ids=str)
def test_sizes_that_the_weights_do_not_have_take_no_memory(run, sizes):
    claim(run, **sizes)
    with pytest.raises(UserError, match=r"has shape .* expected|too large"):
        load_run(run)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 8 * 2**20  # KiB: the third alone would take 1.5 TB


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (dict(hidden_size=10**20), "64 bits"),
        (dict(hidden_size=10**9), "at most 10,000,000"),
        (dict(context_scale=math.inf), "context_scale"),
        (dict(context_scale=10**400), "64 bits"),
        (dict(dropout="0.5"), "dropout: got '0.5'"),
        (dict(scoring=[[]]), "scoring.: got"),
    ],
    ids=str,
)
def test_sizes_beyond_reason(run, sizes, message):
    claim(run, **sizes)
    with pytest.raises(UserError, match=message):
        load_run(run)


@pytest.mark.parametrize(("name", "value"), [("std", 1e-300), ("std", 1e300), ("mean", 1e30), ("mean", -1e200)])
def test_statistics_that_no_motion_has(run, name, value):
    config = json.loads((run / "config.json").read_text())
    config["data"][name][1] = value
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"{name}: got .* expected numbers from"):
        load_run(run)


def test_weights_of_eight_bits(run):
    tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_run(run).model.state_dict().items()}
    safetensors.torch.save_file(tensors, run / "model.safetensors")
    with pytest.raises(UserError, match=r"has dtype F8_E4M3, expected one of F16, BF16, F32, F64"):
        load_run(run)


def test_weights_that_do_not_fit_in_memory(run, monkeypatch):
    monkeypatch.setattr(tensor_files, "available_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"model.safetensors: these weights need .* GiB of memory, and 0.0 GiB"):
        load_run(run)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "model.safetensors"])
def test_a_pipe_or_a_device_is_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(UserError, match=f"{name}: cannot read.*: it is not a regular file"):
        load_run(run)
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match=f"{name}: cannot read.*: it is not a regular file"):
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
