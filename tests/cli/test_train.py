"""``m2t-fast train``: what it writes, how it resumes, and every mistake it refuses without leaving a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import train as command
from m2t_fast.run_folder import load_run

FILES = {"config.json", "metrics.jsonl", "model.safetensors", "training_state.safetensors", "vocabulary.json"}


@pytest.fixture
def data(data_of, monkeypatch) -> Path:
    """A small folder, and models as small, whatever the preset."""
    from m2t_fast.config import CaptionerConfig

    def small(cls, vocab_size, **changes):
        sizes = dict(joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6)
        return cls(vocab_size=vocab_size, **{**sizes, **changes})

    for name in ("kit", "humanml3d"):
        monkeypatch.setattr(CaptionerConfig, name, classmethod(small))
    return data_of(22)


def lines(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


def test_a_run_from_start_to_caption(call, data, tmp_path):
    run = tmp_path / "runs" / "one"
    result = call("train", "--data", data, "--output", run, "--epochs", 2, "--scoring", "frame", "--batch-size", 4)
    assert result.code == 0 and result.out.strip() == str(run)
    assert "epoch   2  loss" in result.err and "val BLEU-4" in result.err
    assert {path.name for path in run.iterdir()} == FILES
    opened = load_run(run)
    assert opened.model.config.scoring == "frame" and opened.model.config.joints == 22
    assert opened.training["epochs"] == 2 and opened.training["batch_size"] == 4
    assert call("evaluate", run, "--data", data).code == 0
    assert call("caption", run, data / "new_joints" / f"{(data / 'test.txt').read_text().split()[0]}.npy").code == 0


def test_resume_goes_on_with_the_runs_own_settings(call, data, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ["--data", data, "--batch-size", 3, "--seed", 7, "--quiet"]
    assert call("train", *options, "--output", whole, "--epochs", 3).code == 0
    assert call("train", *options, "--output", parts, "--epochs", 1).code == 0
    assert call("train", "--data", data, "--output", parts, "--epochs", 3, "--resume").code == 0
    assert lines(parts) == lines(whole)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_resume_of_a_folder_that_is_not_there_starts_it(call, data, tmp_path):
    assert call("train", "--data", data, "--output", tmp_path / "run", "--epochs", 1, "--resume").code == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES


def test_float64_and_its_resumption(call, data, tmp_path):
    run = tmp_path / "run"
    assert call("train", "--data", data, "--output", run, "--epochs", 1, "--dtype", "float64").code == 0
    assert call("train", "--data", data, "--output", run, "--epochs", 2, "--resume").code == 0
    assert lines(run)[-1]["epoch"] == 2


def test_bf16_says_where_it_does_not_pay(call, data, tmp_path, monkeypatch):
    for multiplies in (True, False):
        monkeypatch.setattr("m2t_fast.ops.cpu.linear.multiplies_bfloat16", lambda multiplies=multiplies: multiplies)
        monkeypatch.setattr("m2t_fast.ops.cpu.launch.why_unavailable", lambda: None)
        monkeypatch.setattr("m2t_fast.training.loop.train", lambda *args, **more: tmp_path)
        done = call("train", "--data", data, "--output", tmp_path / "run", "--epochs", 1, "--dtype", "bf16")
        assert ("--dtype bf16 does not pay on this processor" in done.err) != multiplies


@pytest.mark.parametrize("name", ["bf16", "bfloat16"])
def test_bf16_by_either_name_and_what_comes_after(name, call, refused, data, tmp_path):
    run = tmp_path / "run"
    first = call("train", "--data", data, "--output", run, "--epochs", 1, "--dtype", name)
    assert first.code == 0
    assert json.loads((run / "config.json").read_text())["training"]["dtype"] == "bfloat16"
    other = refused("train", "--data", data, "--output", run, "--resume", "--dtype", "float32")
    assert "--dtype: got float32" in other and "bfloat16" in other
    assert call("train", "--data", data, "--output", run, "--epochs", 2, "--resume", "--dtype", "bf16").code == 0
    assert lines(run)[-1]["epoch"] == 2
    config = run / "config.json"
    config.write_text(config.read_text().replace('"bfloat16"', '"float16"'))
    assert f"{config}: training: dtype: got 'float16'" in refused("train", "--data", data, "--output", run, "--resume")
    assert call("evaluate", run, "--data", data, "--split", "val", "--beam-size", 1).code == 0


def test_ctrl_c_says_how_to_go_on(call, data, tmp_path, monkeypatch):
    from m2t_fast.training.step import TrainingStep

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingStep, "__call__", interrupted)
    result = call("train", "--data", data, "--output", tmp_path / "run", "--quiet")
    assert result.code == 130 and "--resume" in result.err.splitlines()[-1]
    assert load_run(tmp_path / "run").model.config.joints == 22


def test_compile_is_refused_without_a_compiler_and_may_change(call, refused, data, tmp_path, monkeypatch):
    from m2t_fast.training import compiled, step

    def failing(graph, inputs):
        raise RuntimeError("no compiler")

    with monkeypatch.context() as patch:
        patch.setattr(compiled, "BACKEND", failing)
        line = refused("train", "--data", data, "--output", tmp_path / "run", "--compile")
        assert "--compile: torch.compile cannot run on cpu here: no compiler" in line
        assert not any(tmp_path.iterdir())
    rows = []
    monkeypatch.setattr(compiled, "require_compiler", lambda device: None)
    monkeypatch.setattr(step, "CompiledLosses", lambda *what: rows.append(what[0]))
    run = ("train", "--data", data, "--output", tmp_path / "run", "--batch-size", 8)
    assert call(*run, "--epochs", 1, "--compile").code == 0 and rows == [8]
    assert call(*run, "--epochs", 2, "--resume").code == 0 and rows == [8, 8]
    assert call(*run, "--epochs", 3, "--resume", "--no-compile").code == 0 and rows == [8, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 0], "--epochs"),
        (["--batch-size", -4], "--batch-size"),
        (["--batch-size", "many"], "--batch-size"),
        (["--lambda-spat", -1], "--lambda-spat"),
        (["--lambda-adapt", "nan"], "--lambda-adapt"),
        (["--teacher-forcing", 1.5], "--teacher-forcing"),
        (["--learning-rate", 0], "--learning-rate"),
        (["--seed", -1], "--seed"),
        (["--preset", "cmu"], "--preset"),
        (["--dtype", "int8"], "--dtype"),
        (["--dtype", "float16"], "argument --dtype: got 'float16', expected float32, float64 or bf16"),
        (["--scoring", "both"], "--scoring"),
        (["--backend", "gpu"], "unknown backend 'gpu'"),
        (["--device", "tpu"], "--device"),
        (["--min-captions", 9], "min"),
        (["--min-frames", 90, "--max-frames", 80], "min_frames"),
        (["--unknown"], "--unknown"),
    ],
)
def test_bad_options_leave_no_folder(options, message, refused, data, tmp_path):
    run = tmp_path / "run"
    assert message in refused("train", "--data", data, "--output", run, *options)
    assert not any(tmp_path.iterdir())


def test_an_unknown_backend_in_the_environment(refused, data, tmp_path, monkeypatch):
    from m2t_fast.ops import registry

    monkeypatch.setattr(registry, "_chosen", "nonsense")
    line = refused("train", "--data", data, "--output", tmp_path / "run")
    assert "M2T_FAST_BACKEND" in line and "nonsense" in line
    assert not any(tmp_path.iterdir())


def test_bad_data_leave_no_folder(refused, data, tmp_path):
    run = tmp_path / "run"
    assert "nowhere" in refused("train", "--data", tmp_path / "nowhere", "--output", run)
    copy = tmp_path / "copy"
    _copy(data, copy)
    first = (copy / "train.txt").read_text().split()[0]
    motion = np.load(copy / "new_joints" / f"{first}.npy")
    motion[3, 2, 1] = np.nan
    np.save(copy / "new_joints" / f"{first}.npy", motion)
    assert f"{first}.npy" in refused("train", "--data", copy, "--output", run, "--strict")
    (copy / "new_joints" / f"{first}.npy").unlink()
    assert first in refused("train", "--data", copy, "--output", run, "--strict")
    assert not run.exists()


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def test_an_existing_output_is_refused_and_left_alone(refused, data, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("mine")
    assert "exists already" in refused("train", "--data", data, "--output", run)
    assert "not a run folder" in refused("train", "--data", data, "--output", run, "--resume")
    assert [path.name for path in run.iterdir()] == ["mine.txt"]


def test_an_output_that_cannot_be_written(refused, data, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("train", "--data", data, "--output", tmp_path / "file" / "run")


def test_resume_refuses_what_does_not_fit_the_run(call, refused, data, data_of, tmp_path):
    run = tmp_path / "run"
    assert call("train", "--data", data, "--output", run, "--epochs", 1, "--quiet").code == 0
    resume = ["--output", run, "--resume"]
    assert "--batch-size: got 5" in refused("train", "--data", data, *resume, "--batch-size", 5)
    assert "--scoring: got frame" in refused("train", "--data", data, *resume, "--scoring", "frame")
    assert "joints" in refused("train", "--data", data_of(21), *resume)
    state = run / "training_state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    assert "training_state.safetensors: damaged" in refused("train", "--data", data, *resume)
    state.unlink()
    assert "training_state.safetensors: file is missing" in refused("train", "--data", data, *resume)


def test_options_of_training_are_those_of_its_settings():
    from m2t_fast.training.settings import TrainingSettings

    assert set(command.OPTIONS) <= set(TrainingSettings().to_dict())
