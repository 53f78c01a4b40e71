"""Every command that reads a data folder, on one that has every kind of fault at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.training.sweep import why_unavailable

# The command line prints these warnings as notes; pytest would raise them.
pytestmark = pytest.mark.filterwarnings("default:.*left out:UserWarning")


@pytest.fixture(scope="module")
def faulty(data_of, faults, tmp_path_factory) -> Path:
    """A data folder with a motion of each fault in each split, beside a few that nothing is wrong with."""
    folder = tmp_path_factory.mktemp("faulty") / "data"
    shutil.copytree(data_of(22), folder)
    for split in ("train", "val", "test"):
        for number, (_, _, spoil) in enumerate(faults.values()):
            motion = f"{split}-fault{number}"
            for part, ending in (("new_joints", "npy"), ("texts", "txt")):
                shutil.copy(folder / part / f"{split}0.{ending}", folder / part / f"{motion}.{ending}")
            with open(folder / f"{split}.txt", "a") as file:
                file.write(f"{motion}\n")
            spoil(folder, split, motion)
    return folder


def test_info_lists_all(call, faulty, faults):
    result = call("info", "--data", faulty)
    assert result.code == 0 and result.err == ""
    listed = [line for line in result.out.splitlines() if line.startswith("left out: ")]
    assert len(listed) == 3 * len(faults)
    assert sum("val-fault" in line and line.startswith("left out: val: ") for line in listed) == len(faults)
    counts = next(line.split() for line in result.out.splitlines() if line.startswith("left out, motion: NaN"))
    assert counts[-3:] == ["2", "2", "2"]
    strict = call("info", "--data", faulty, "--strict")
    assert strict.code == 2 and strict.out == result.out and f"{3 * len(faults)} faults" in strict.err


def test_train_evaluate_interpret_and_caption(call, faulty, faults, tmp_path):
    run = tmp_path / "run"
    result = call("train", "--data", faulty, "--output", run, "--epochs", 1, "--batch-size", 8)
    assert result.code == 0, result.err
    count = sum(what == "motion" for what, _, _ in faults.values())
    assert f"m2t-fast: note: {faulty}: left out {2 * count} motions, " in result.err
    assert result.err.count("note:") == 1

    result = call("evaluate", run, "--data", faulty)
    assert result.code == 0, result.err
    kept = 3 + len(faults) - count
    assert f"{kept} motions" in result.out and f"left out as unusable: {count} motions, 3 captions" in result.out
    scores = json.loads((run / "scores.json").read_text())
    assert scores["unusable"] == {"motion": count, "caption": 3, "segments": 1, "id": 2}
    assert scores["rows"][0]["motions"] == kept

    result = call("interpret", run, "--data", faulty, "--output", tmp_path / "figures", "--figures", "none")
    assert result.code == 0, result.err
    assert f"left out {count} motions" in result.err

    result = call("caption", run, "--data", faulty, "--output", tmp_path / "all.jsonl")
    assert result.code == 3 and "were left out" in result.err


@pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))
def test_sweep(call, faulty, tmp_path):
    argv = ["--data", faulty, "--lambda-spat", 0, "--lambda-adapt", 1, "--epochs", 1]
    result = call("sweep", *argv, "--output", tmp_path / "sweep")
    assert result.code == 0, result.err
    result = call("sweep", *argv, "--output", tmp_path / "strict", "--strict")
    assert result.code == 2 and "faults" in result.err


def test_strict_refuses(refused, faulty, tiny_run, tmp_path):
    for command in (
        ["train", "--output", tmp_path / "run"],
        ["evaluate", tiny_run],
        ["interpret", tiny_run, "--output", tmp_path / "figures", "--figures", "none"],
    ):
        assert "faults (" in refused(*command, "--data", faulty, "--strict")
        assert not any(tmp_path.iterdir())


def test_strict_is_about_the_splits_that_are_read(call, refused, data_of, tiny_run, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_of(22), folder)
    (folder / "new_joints" / "train0.npy").unlink()
    assert call("evaluate", tiny_run, "--data", folder, "--strict", "--output", tmp_path / "p.jsonl").code == 0
    assert "train0.npy" in refused("train", "--data", folder, "--strict", "--output", tmp_path / "run")
    checked = call("info", "--data", folder, "--strict")
    assert checked.code == 2 and "train0.npy" in checked.err


def test_nothing_usable(call, data_of, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_of(22), folder)
    for file in (folder / "new_joints").iterdir():
        np.save(file, np.full((50, 22, 3), np.nan, np.float32))
    result = call("info", "--data", folder)
    assert result.code == 2 and result.out.count("left out: ") == 9
    assert "train.txt: none of its 4 motions can be used" in result.err
    result = call("train", "--data", folder, "--output", tmp_path / "run")
    assert result.code == 2 and result.err.count("\n") == 1 and not (tmp_path / "run").exists()


def test_feature_vectors_alone_train_and_evaluate(call, data_of, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data_of(21), folder)
    (folder / "new_joints").rename(folder / "new_joint_vecs")
    for file in (folder / "new_joint_vecs").iterdir():
        joints = np.load(file)
        np.save(file, np.random.default_rng(len(joints)).normal(0, 0.1, (len(joints), 251)).astype(np.float32))
    np.save(folder / "Mean.npy", np.zeros(251, np.float32))
    run = tmp_path / "run"
    assert call("train", "--data", folder, "--output", run, "--epochs", 1).code == 0
    result = call("evaluate", run, "--data", folder)
    assert result.code == 0 and "3 motions" in result.out
    # Random vectors are no bodies, which this command alone refuses; it counts the motions, and not Mean.npy.
    assert " of 9 motions were left out" in call("caption", run, "--data", folder, "--output", tmp_path / "x.jsonl").err
