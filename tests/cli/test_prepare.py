"""``m2t-fast prepare``: a data folder of captures, which ``train`` reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings

pytestmark = pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """A folder of takes m0.npy to m5.npy, and captions.jsonl beside it."""
    folder = tmp_path / "takes"
    folder.mkdir()
    found = [motion for split in synthetic.generate(8, seed=5).splits.values() for motion in split][:6]
    rows = []
    for number, motion in enumerate(found):
        np.save(folder / f"m{number}.npy", motion.joints)
        rows.append({"file": f"m{number}", "captions": [caption.text for caption in motion.captions]})
    (tmp_path / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_folder_that_train_reads(call: Callable, captures: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ("prepare", captures, "--captions", tmp_path / "captions.jsonl", "--output", out)
    result = call(*arguments, "--mirror", "--seed", 3)
    assert result.code == 0 and result.out == f"{out}: 12 motions (8 train, 2 val, 2 test)\n"
    assert f"{captures / 'm0.npy'} and 5 more files: 22 joints" in result.err
    data = load_data(str(out), DataSettings(min_count=1))
    assert {name: split.motions for name, split in data.splits.items()} == {"train": 8, "val": 2, "test": 2}
    names = (out / "train.txt").read_text().split()
    assert {name.removeprefix("M") for name in names} == {name for name in names if not name.startswith("M")}
    assert call(*arguments).err.count("exists already") == 1


def test_what_cannot_be_read_is_left_out(call: Callable, captures: Path, tmp_path: Path) -> None:
    (captures / "m1.npy").write_bytes(b"no motion")
    np.save(captures / "x.npy", np.load(captures / "m0.npy"))
    with open(tmp_path / "captions.jsonl", "a") as file:
        file.write('\n{"file": "gone", "caption": "walks"}')
    out = tmp_path / "data"
    result = call("prepare", captures, "--captions", tmp_path / "captions.jsonl", "--output", out)
    assert result.code == 3 and "5 motions" in result.out
    assert f"left out: {captures / 'm1.npy'}" in result.err and f"left out: {captures / 'x.npy'}: no cap" in result.err
    assert "captions.jsonl: 1 caption is of no file that was given: 'gone'" in result.err
    assert "2 of 7 motions were left out" in result.err


def test_captions_of_other_files_alone_name_them_and_the_files(
    refused: Callable, captures: Path, tmp_path: Path
) -> None:
    names = [f"walk{number}" for number in range(8)]
    (tmp_path / "others.csv").write_text("file,caption\n" + "".join(f"{name},walks\n" for name in names))
    error = refused("prepare", captures, "--captions", tmp_path / "others.csv", "--output", tmp_path / "data")
    assert "8 captions are of no file that was given: 'walk0', 'walk1'" in error and "'walk5', ...; the files" in error
    assert error.endswith("the files are m0.npy, m1.npy, m2.npy, m3.npy, m4.npy, m5.npy")


def test_what_is_refused(refused: Callable, captures: Path, tmp_path: Path) -> None:
    out, captions = tmp_path / "data", tmp_path / "captions.jsonl"
    assert "no motion" in refused("prepare", "--captions", captions, "--output", out)
    assert "--captions: is missing" in refused("prepare", captures, "--output", out)
    options = ("prepare", captures, "--captions", captions, "--output", out)
    assert "expected 3 numbers" in refused(*options, "--splits", "1,2")
    assert "--splits: got a share of 0 for train" in refused(*options, "--splits", "0,2,1")
    for file in captures.iterdir():
        file.write_bytes(b"no motion")
    assert "nothing is left for train; the first left out: " in refused(*options)
    assert not out.exists()
