"""Pickles: numbers and arrays are read, nothing that is in them runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motion, read_motions
from m2t_fast.motion.formats.pickled import load_npy, load_pickle, load_torch, plain_arrays
from m2t_fast.skeleton import HUMANML3D


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_numbers(protocol: int, tmp_path: Path) -> None:
    content = {
        "a": np.arange(6.0).reshape(2, 3), "b": [1, 2.5, "x", None, True], "c": (np.float32(3), np.int64(4)),
        "d": {0: np.array(["p", "q"]), "f": np.asfortranarray(np.eye(3))}, "o": np.array([1, "z"], dtype=object),
    }  # fmt: skip
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = load_pickle(path)
    np.testing.assert_array_equal(found["a"], content["a"])
    np.testing.assert_array_equal(found["d"]["f"], np.eye(3))
    assert found["b"] == content["b"] and found["c"] == content["c"] and found["o"].tolist() == [1, "z"]


def test_torch_tensors_in_pickles(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps({"pose": torch.arange(6.0).reshape(2, 3).T}))
    np.testing.assert_array_equal(plain_arrays(load_pickle(path))["pose"], np.arange(6.0).reshape(2, 3).T)


@pytest.mark.parametrize("kind", ["pkl", "npy", "pt"])
def test_nothing_runs(kind: str, tmp_path: Path) -> None:
    path, made = tmp_path / f"m.{kind}", tmp_path / "made"
    content = {"poses": np.zeros((3, 72)), "x": Runs(made)}
    if kind == "pkl":
        path.write_bytes(pickle.dumps(content))
    elif kind == "npy":
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    else:
        torch.save(content, path)
    with pytest.raises(UserError) as error:
        read_motion(path, HUMANML3D)
    assert not made.exists()
    said = str(error.value)
    assert "not opened" in said and "mkdir" in said and "allow_pickle" not in said and "\n" not in said


def test_spoiled_pickles(tmp_path: Path) -> None:
    whole = pickle.dumps({"poses": np.zeros((9, 72)), "list": list(range(50))}, protocol=4)
    path = tmp_path / "m.pkl"
    rng = np.random.default_rng(0)
    spoiled = [whole[:length] for length in range(0, len(whole), 97)]
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.integers(200)] = rng.integers(256)
        spoiled.append(bytes(changed))
    for content in spoiled:
        path.write_bytes(content)
        try:
            load_pickle(path)
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x93NUMPY", b"\x80\x04."])
def test_no_such_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    for load in (load_pickle, load_npy, load_torch):
        with pytest.raises(UserError) as error:
            load(path)
        assert "allow_pickle" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot read"):
        load_npy(tmp_path / "none.npy")


@pytest.mark.parametrize("layout", ["N22_3T", "NT22_3", "results", "lengths of lists"])
def test_generators(layout: str, motions, tmp_path: Path) -> None:
    joints = [motion[:60] for motion in motions(22) if len(motion) >= 60][:3]
    stacked = np.stack(joints).astype(np.float32)
    path = tmp_path / "m.npy"
    lengths = [60, 60, 60]
    if layout == "NT22_3":
        np.save(path, stacked)
    elif layout == "N22_3T":
        np.save(path, stacked.transpose(0, 2, 3, 1))
    else:
        lengths = [60, 45, 50]
        given = lengths if "lists" in layout else np.array(lengths)
        content = {"motion": stacked.transpose(0, 2, 3, 1), "text": ["a", "b", "c"], "lengths": given, "num_samples": 3}
        np.save(path, np.array(content, dtype=object), allow_pickle=True)
    found = read_motions(path, HUMANML3D)
    assert [motion.label for motion in found] == ["#0", "#1", "#2"]
    for motion, expected, length in zip(found, joints, lengths, strict=True):
        np.testing.assert_array_equal(motion.joints, expected[:length].astype(np.float32))


@pytest.mark.parametrize("count", [24, 52, 55])
def test_the_first_22_of_smpls_joints(count: int, motions, tmp_path: Path) -> None:
    joints = motions(22)[0]
    more = np.concatenate([joints, np.zeros((len(joints), count - 22, 3))], axis=1)
    np.save(tmp_path / "m.npy", more)
    read, notes = read_motion(tmp_path / "m.npy", HUMANML3D)
    np.testing.assert_array_equal(read, joints.astype(np.float32))
    assert notes[0] == f"the first 22 of {count} SMPL joints"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"motion": np.zeros((2, 263, 1, 60)), "lengths": [60, 60]}, "whose motion has shape"),
        ({"motion": np.zeros((2, 22, 3, 60)), "lengths": [60]}, "2 motions but lengths"),
        ({"text": "walk"}, "it holds text; expected SMPL parameters"),
        ([1, 2], "a pickled list, expected a dictionary or an array"),
    ],
)
def test_results_that_are_none(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message):
        read_motions(tmp_path / "m.pkl", HUMANML3D)
