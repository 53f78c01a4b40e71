"""``m2t-fast sweep``: one pair from training to the table, and every mistake it refuses."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from m2t_fast import locks
from m2t_fast.run_folder import load_run
from m2t_fast.training.sweep import why_unavailable

needs_optuna = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))


@needs_optuna
def test_a_pair_from_training_to_the_table(call, data_of, tmp_path):
    data = shutil.copytree(data_of(21), tmp_path / "data")
    walk = {"segments": [{"content": "walk", "start": 0, "end": 40, "parts": ["root"]}]}
    (data / "segments.json").write_text(json.dumps({f"train{number}": walk for number in range(4)}))
    argv = ["sweep", "--data", data, "--output", tmp_path / "sweep", "--lambda-spat", "0.5"]
    argv += ["--lambda-adapt", 3, "--lambda-temp", 1.5, "--epochs", 1, "--min-captions", 1]
    result = call(*argv)
    assert result.code == 0, result.err
    assert "best validation BLEU-4" in result.out and "spat0.5-adapt3" in result.out
    training = load_run(tmp_path / "sweep" / "spat0.5-adapt3").training
    assert (training["lambda_spat"], training["lambda_adapt"], training["epochs"]) == (0.5, 3.0, 1)
    assert training["lambda_temp"] == 1.5
    (row,) = json.loads((tmp_path / "sweep" / "table.json").read_text())
    assert row["lambda_spat"] == 0.5 and row["motions"] == 3 and 0 <= row["bleu_4"] <= 100
    again = call(*argv)  # nothing is left to do
    assert again.code == 0 and again.out == result.out and again.err == ""
    other = call(*argv, "--beam-size", 2)
    assert other.code == 2 and "begun differently (evaluate was" in other.err


@needs_optuna
def test_a_pair_that_fails_is_told(call, tmp_path):
    result = call(
        "sweep", "--data", tmp_path / "nowhere", "--output", tmp_path / "sweep", "--grid", "kit", "--workers", 6
    )
    assert result.code == 2 and "every pair failed; the first: " in result.err and "nowhere" in result.err


@needs_optuna
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no grid"),
        (["--lambda-spat", "1"], "--lambda-adapt: is missing"),
        (["--grid", "kit", "--lambda-spat", "1", "--lambda-adapt", "2"], "--grid: not with"),
        (["--lambda-spat", "1,-2", "--lambda-adapt", "2"], "--lambda-spat"),
        (["--grid", "kit", "--workers", "0"], "--workers"),
        (["--grid", "cmu"], "--grid"),
    ],
)
def test_mistakes_leave_no_folder(options, message, refused, tmp_path):
    assert message in refused("sweep", "--data", "synthetic", "--output", tmp_path / "sweep", *options)
    assert not any(tmp_path.iterdir())


@needs_optuna
def test_a_folder_of_something_else_is_refused(refused, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    line = refused("sweep", "--data", "synthetic", "--output", tmp_path, "--grid", "kit")
    assert "holds no sweep" in line and [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@needs_optuna
def test_a_folder_that_another_command_makes_meanwhile_is_refused(refused, tmp_path, monkeypatch):
    """It takes the place of the empty folder, before that is locked."""
    folder, take = tmp_path / "sweep", locks.locked_folder

    def after_the_other(path):
        path.mkdir()
        (path / "config.json").write_text("{}")
        return take(path)

    monkeypatch.setattr(locks, "locked_folder", after_the_other)
    line = refused("sweep", "--data", "synthetic", "--output", folder, "--grid", "kit")
    assert "holds no sweep" in line and [path.name for path in folder.iterdir()] == ["config.json"]


def test_without_optuna_it_says_how_to_get_it(refused, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    line = refused("sweep", "--data", "synthetic", "--output", tmp_path / "sweep", "--grid", "kit")
    assert "pip install 'm2t_fast[sweep]'" in line and not any(tmp_path.iterdir())
