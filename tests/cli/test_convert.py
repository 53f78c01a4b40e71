"""``m2t-fast convert``: a complete run folder out, or a refusal that leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.released import to_released
from m2t_fast.run_folder import load_run


@pytest.fixture
def checkpoint(tmp_path: Path, data_of: Callable[[int], Path]) -> Callable[..., tuple[Path, Captioner]]:
    """``checkpoint(joints, words)``: a file as the authors' code saves it, and the model whose weights it holds."""

    def make(joints: int = 21, words: int | None = None) -> tuple[Path, Captioner]:
        words = words or len(load_data(data_of(joints)).vocabulary)
        sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6)
        model = Captioner(CaptionerConfig(words, joints=joints, scoring="frame", context_scale=1 / 6, **sizes)).eval()
        path = tmp_path / "released.pt"
        torch.save(to_released(model.state_dict(), joints), path)
        return path, model

    return make


@pytest.mark.parametrize("joints", [21, 22])
def test_a_complete_run_folder(
    call: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path, joints: int
) -> None:
    path, model = checkpoint(joints)
    output = tmp_path / "run"
    result = call("convert", path, "--output", output, "--data", data_of(joints))
    assert (result.code, result.err) == (0, "") and str(output) in result.out
    run = load_run(output)
    settings = DataSettings.kit() if joints == 21 else DataSettings.humanml3d()
    prepared = load_data(data_of(joints), settings)
    assert run.vocabulary == prepared.vocabulary and run.statistics == prepared.statistics
    assert run.settings == settings and run.training is None
    assert run.model.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor), name
    assert call("evaluate", output, "--data", data_of(joints), "--max-length", 3).code == 0


def test_words_of_all_splits(call: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for source in sorted(data_of(21).rglob("*")):
        if source.is_file():
            target = data / source.relative_to(data_of(21))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    for name in ("val0", "val1", "test0"):
        with (data / "texts" / f"{name}.txt").open("a") as file:
            file.write("a person dances#a/DET person/NOUN dance/VERB#0.0#0.0\n")
    words = len(load_data(data).vocabulary)
    path, _ = checkpoint(words=words + 1)
    assert call("convert", path, "--output", tmp_path / "run", "--data", data).code == 0
    assert "dances" in load_run(tmp_path / "run").vocabulary


def test_another_vocabulary(refused: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path) -> None:
    words = len(load_data(data_of(21)).vocabulary)
    path, _ = checkpoint(words=words + 7)
    error = refused("convert", path, "--output", tmp_path / "run", "--data", data_of(21))
    assert f"{data_of(21)}: vocabulary of {words} words" in error and f"{path} has {words + 7}" in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["released.pt"]


def test_other_joints(refused: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path) -> None:
    path, _ = checkpoint(21)
    error = refused("convert", path, "--output", tmp_path / "run", "--data", data_of(22))
    assert f"{data_of(22)}: motions have 22 joints, but {path} reads 21" in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["released.pt"]


def test_no_data(refused: Callable, checkpoint: Callable, tmp_path: Path) -> None:
    path, _ = checkpoint()
    error = refused("convert", path, "--output", tmp_path / "run")
    assert "--data is missing: a released checkpoint holds no vocabulary" in error
    error = refused("convert", path, "--output", tmp_path / "run", "--data", tmp_path / "none")
    assert "no such folder" in error
    assert not (tmp_path / "run").exists()


def test_output_that_exists(refused: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path) -> None:
    path, _ = checkpoint()
    (tmp_path / "run").mkdir()
    error = refused("convert", path, "--output", tmp_path / "run", "--data", data_of(21))
    assert error.endswith(f"{tmp_path / 'run'}: output folder exists already")
    assert list((tmp_path / "run").iterdir()) == []


def test_output_that_cannot_be_written(refused: Callable, checkpoint: Callable, data_of: Callable) -> None:
    path, _ = checkpoint()
    assert f"{path}/run: cannot write" in refused("convert", path, "--output", path / "run", "--data", data_of(21))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: os.truncate(p, 500), "truncated, or not a checkpoint"),
        (lambda p: p.write_text("weights"), "truncated, or not a checkpoint"),
        (lambda p: torch.save({"weight": torch.ones(2)}, p), "not a released checkpoint"),
        (lambda p: torch.save([1, 2], p), "holds a list, expected a state dict"),
        (lambda p: p.unlink(), "no such checkpoint file"),
    ],
)
def test_a_bad_checkpoint(
    refused: Callable, checkpoint: Callable, data_of: Callable, tmp_path: Path, spoil: Callable, message: str
) -> None:
    path, _ = checkpoint()
    spoil(path)
    error = refused("convert", path, "--output", tmp_path / "run", "--data", data_of(21))
    assert f"{path}: " in error and message in error
    assert not (tmp_path / "run").exists()
