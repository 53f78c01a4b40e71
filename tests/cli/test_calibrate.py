"""The command calibrate, and what caption and its page then say of motions unlike the training data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.captioning.familiarity import FILE


@pytest.fixture
def larger(data_of: Callable[[int], Path], motion: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """The data folder with 12 training motions."""
    folder = tmp_path / "data"
    shutil.copytree(data_of(22), folder)
    ids = [f"more{number}" for number in range(8)]
    for number, motion_id in enumerate(ids):
        np.save(folder / "new_joints" / f"{motion_id}.npy", motion(60, seed=50 + number))
        shutil.copy(folder / "texts" / "train0.txt", folder / "texts" / f"{motion_id}.txt")
    with open(folder / "train.txt", "a") as file:
        file.write("\n".join(ids) + "\n")
    return folder


def test_noise_and_a_pose_are_not_trusted(
    call: Callable, run_of: Callable, larger: Path, motion: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    run = run_of()
    result = call("calibrate", run, "--data", larger)
    assert result.code == 0 and (run / FILE).exists()
    assert "12 train and 2 val motions" in result.out
    good, noise, pose = larger / "new_joints" / "val0.npy", tmp_path / "noise.npy", tmp_path / "pose.npy"
    np.save(noise, np.random.default_rng(0).normal(0.0, 3.0, (60, 22, 3)).astype(np.float32))
    np.save(pose, np.repeat(np.load(good)[:1], 60, axis=0))
    page = tmp_path / "page.html"
    result = call("caption", run, good, noise, pose, "--json", "--html", page)
    assert result.code == 0
    trusts = [json.loads(line)["trust"] for line in result.out.splitlines()]
    assert [trust["trusted"] for trust in trusts] == [True, False, False]
    assert trusts[0]["distance"] <= 1.0 < trusts[1]["distance"]
    said = [line for line in result.err.splitlines() if "not to be trusted" in line]
    assert len(said) == 2 and "noise.npy" in said[0] and "times as far" in said[0]
    assert "pose.npy" in said[1] and "nothing moves by 2 cm" in said[1]
    assert '"doubts":["nothing moves by 2 cm"' in page.read_text()
    listed, output = tmp_path / "list.txt", tmp_path / "all.jsonl"
    listed.write_text(f"{good}\n{noise}\n{pose}\n")
    result = call("caption", run, "--data", listed, "--output", output)
    assert "2 of 3 captions are not to be trusted" in result.err
    assert [json.loads(line)["trust"] for line in output.read_text().splitlines()] == trusts


def test_too_few_motions_and_other_joints_are_refused(
    refused: Callable, run_of: Callable, data_of: Callable[[int], Path]
) -> None:
    run = run_of()
    assert "4 training motions, expected at least 8" in refused("calibrate", run, "--data", data_of(22))
    assert "21 joints" in refused("calibrate", run, "--data", data_of(21))
    assert not (run / FILE).exists()
    (run / FILE).write_bytes(b"of an earlier call")
    refused("calibrate", run, "--data", data_of(22))
    assert (run / FILE).read_bytes() == b"of an earlier call"


def test_a_damaged_file_ends_caption_in_one_line(refused: Callable, run_of: Callable, data_of: Callable) -> None:
    run = run_of()
    (run / FILE).write_bytes(b"nonsense")
    assert f"{FILE}: damaged" in refused("caption", run, data_of(22) / "new_joints" / "val0.npy")
