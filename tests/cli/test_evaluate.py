"""``m2t-fast evaluate``: its table, its file, and every input it refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data.loading import load_data
from m2t_fast.evaluation import caption_motions, metrics
from m2t_fast.run_folder import load_run


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run folder that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_scores_and_predictions(call: Callable, own_run: Path, data_of: Callable[[int], Path]) -> None:
    result = call("evaluate", own_run, "--data", data_of(22), "--max-length", 8)
    assert (result.code, result.err) == (0, "")
    records = read(own_run / "predictions.jsonl")
    assert [record["id"] for record in records] == ["test0", "test1", "test2"]
    assert all(set(record) == {"id", "prediction", "score", "references"} for record in records)
    assert records[0]["references"] == [
        "a person walks forward",
        "a man waves the left hand",
        "a person jumps up and down",
    ]
    expected = metrics.score([r["prediction"] for r in records], [r["references"] for r in records])
    table = dict(line.split() for line in result.out.splitlines() if line.startswith(tuple(expected)))
    assert table == {name: f"{value:.2f}" for name, value in expected.items()}
    assert "3 motions, 9 references" in result.out and str(own_run / "predictions.jsonl") in result.out
    assert [path.name for path in own_run.iterdir() if path.name.startswith(".")] == []


def test_the_same_twice_and_with_any_batch_size(
    call: Callable, tiny_run: Path, data_of: Callable[[int], Path], tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for file, size in zip(files, (64, 64, 2), strict=True):
        options = ("--beam-size", 3, "--batch-size", size, "--max-length", 8, "--output", file)
        assert call("evaluate", tiny_run, "--data", data_of(22), *options).code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    first, third = read(files[0]), read(files[2])
    assert [record["prediction"] for record in first] == [record["prediction"] for record in third]
    np.testing.assert_allclose([r["score"] for r in first], [r["score"] for r in third], rtol=1e-5)


def test_the_options_reach_the_search(
    call: Callable, tiny_run: Path, data_of: Callable[[int], Path], tmp_path: Path
) -> None:
    opened = load_run(tiny_run)
    given = dict(beam_size=2, max_length=5, length_penalty=0.5, force_gate=1.0)
    argv = [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", value)]
    output = tmp_path / "val.jsonl"
    assert call("evaluate", tiny_run, "--data", data_of(22), "--split", "val", "--output", output, *argv).code == 0
    prepared = load_data(
        data_of(22), opened.settings, vocabulary=opened.vocabulary, statistics=opened.statistics, splits=("val",)
    )
    captions = caption_motions(opened.model, prepared["val"], opened.vocabulary, **given)
    found = [(record["id"], record["prediction"], pytest.approx(record["score"])) for record in read(output)]
    assert found == [(i, best.caption, best.score) for i, (best, *_) in zip(("val0", "val1"), captions, strict=True)]


def test_best_first_search(call: Callable, tiny_run: Path, data_of: Callable[[int], Path], tmp_path: Path) -> None:
    opened, output = load_run(tiny_run), tmp_path / "test.jsonl"
    argv = ("--data", data_of(22), "--output", output, "--beam-size", 2, "--search", "best_first")
    result = call("evaluate", tiny_run, *argv)
    assert result.code == 0 and "best-first search as the released code" in result.out
    prepared = load_data(
        data_of(22), opened.settings, vocabulary=opened.vocabulary, statistics=opened.statistics, splits=("test",)
    )
    captions = caption_motions(opened.model, prepared["test"], opened.vocabulary, beam_size=2, search="best_first")
    assert [r["prediction"] for r in read(output)] == [best.caption for best, *_ in captions]
    scores = json.loads((tmp_path / "test.scores.json").read_text())
    assert scores["search"] == "best_first" and scores["max_length"] is None
    refused = call("evaluate", tiny_run, *argv, "--length-penalty", 0.5)
    assert refused.code == 2 and "--length-penalty: got 0.5, but --search best_first scores by the mean" in refused.err
    refused = call("evaluate", tiny_run, *argv[:4], "--beam-size", 1000, "--search", "best_first")
    assert refused.code == 2 and "beam_size: got 1000, expected 2 to" in refused.err


def test_training_filters_do_not_apply(call: Callable, run_of: Callable, data_of: Callable, tmp_path: Path) -> None:
    run = run_of(22, max_frames_train=29)  # of 50 to 58 frames, two kept of each four
    output = tmp_path / "train.jsonl"
    argv = ("--data", data_of(22), "--split", "train", "--output", output, "--max-length", 3)
    assert call("evaluate", run, *argv).code == 0
    assert len(read(output)) == 4


@pytest.mark.parametrize("joints", [21, 22])
def test_synthetic_data_with_the_joints_of_the_run(
    call: Callable, run_of: Callable, tmp_path: Path, joints: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m2t_fast.data import synthetic

    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", {"train": 2, "val": 2, "test": 3})
    output = tmp_path / "predictions.jsonl"
    argv = ("--data", "synthetic", "--output", output, "--max-length", 3)
    assert call("evaluate", run_of(joints), *argv).code == 0
    assert len(read(output)) == 3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--beam-size", 0), "argument --beam-size: got '0', expected a whole number of at least 1"),
        (("--batch-size", -1), "argument --batch-size: got '-1'"),
        (("--max-length", "long"), "argument --max-length: got 'long'"),
        (("--length-penalty", "nan"), "argument --length-penalty: got 'nan', expected a number of at least 0"),
        (("--force-gate", 2), "argument --force-gate: got '2', expected a number of at least 0 and at most 1"),
        (("--device", "tpu"), "--device: got 'tpu'"),
        (("--backend", "fast"), "--backend: unknown backend 'fast'"),
        (("--output", "/nowhere/file"), "/nowhere/file: cannot write"),
    ],
)
def test_mistaken_options(refused: Callable, tiny_run: Path, data_of: Callable, argv: tuple, message: str) -> None:
    assert message in refused("evaluate", tiny_run, "--data", data_of(22), *argv)
    assert not (tiny_run / "predictions.jsonl").exists()


def test_backend_of_the_environment(
    refused: Callable, tiny_run: Path, data_of: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2t_fast.ops.registry._chosen", "quick")
    error = refused("evaluate", tiny_run, "--data", data_of(22))
    assert "environment variable M2T_FAST_BACKEND: unknown backend 'quick'" in error


def test_other_joints(refused: Callable, run_of: Callable, data_of: Callable[[int], Path]) -> None:
    run = run_of(21)
    error = refused("evaluate", run, "--data", data_of(22))
    assert f"{data_of(22)}: motions have 22 joints" in error and f"{run} reads 21" in error
    assert not (run / "predictions.jsonl").exists()


def test_no_data(refused: Callable, tiny_run: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: no such folder" in refused("evaluate", tiny_run, "--data", tmp_path / "none")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "texts/test1.txt").write_text("\n"), "test1.txt"),
        (lambda d: (d / "new_joints/test2.npy").unlink(), "'test2' of test.txt has no file new_joints/test2.npy"),
        (lambda d: (d / "test.txt").write_text(""), "no motions in test.txt"),
        (lambda d: (d / "test.txt").unlink(), "test.txt: no such split file"),
    ],
)
def test_damaged_data(
    refused: Callable, own_run: Path, data_of: Callable, tmp_path: Path, damage: Callable, message: str
) -> None:
    data = Path(shutil.copytree(data_of(22), tmp_path / "data"))
    damage(data)
    assert message in refused("evaluate", own_run, "--data", data, "--strict")
    assert not (own_run / "predictions.jsonl").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: shutil.rmtree(r), "no such run folder"),
        (lambda r: (r / "config.json").unlink(), "not a run folder"),
        (lambda r: (r / "config.json").write_text("{"), "config.json: damaged"),
        (lambda r: (r / "vocabulary.json").write_text("[]"), "vocabulary.json: not a vocabulary"),
        (lambda r: (r / "model.safetensors").unlink(), "model.safetensors: file is missing"),
        (lambda r: os.truncate(r / "model.safetensors", 3000), "model.safetensors: damaged or foreign weights"),
    ],
)
def test_damaged_run(refused: Callable, own_run: Path, data_of: Callable, damage: Callable, message: str) -> None:
    damage(own_run)
    assert message in refused("evaluate", own_run, "--data", data_of(22))
