"""Pickles: numbers and arrays are read, nothing that is in them runs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motion, read_motions
from m2t_fast.motion.formats.pickled import load_npy, load_pickle, plain_arrays
from m2t_fast.motion.formats.torch_files import load_torch
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


LONG_HEADER = b"\x93NUMPY\x02\x00" + (20000).to_bytes(4, "little") + b" " * 20000
"""NumPy's error recommends allow_pickle for it."""


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x93NUMPY", b"\x80\x04.", LONG_HEADER], ids=len)
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


@pytest.mark.parametrize("count", [24, 45, 52, 55, 127])
def test_the_first_22_of_smpls_joints(count: int, motions, tmp_path: Path) -> None:
    joints = motions(22)[0]
    more = np.concatenate([joints, np.zeros((len(joints), count - 22, 3))], axis=1)
    np.save(tmp_path / "m.npy", more)
    read, notes = read_motion(tmp_path / "m.npy", HUMANML3D)
    np.testing.assert_array_equal(read, joints.astype(np.float32))
    assert notes[0] == f"the first 22 of {count} SMPL joints"


@pytest.mark.parametrize("name", ["joints", "keypoints3d", "arr_0", "list", "frames", "objects", "flat", "flat 24"])
def test_joints_by_other_ways(name: str, motions, tmp_path: Path) -> None:
    joints = motions(22)[0].astype(np.float32)
    path = tmp_path / ("m.npy" if name in ("objects", "flat", "flat 24") else "m.pkl" if name[-1] in "ts" else "m.npz")
    if name == "list":
        path.write_bytes(pickle.dumps([joints, joints[:30]]))
    elif name == "frames":
        path.write_bytes(pickle.dumps(list(joints)))
    elif name == "objects":
        both = np.empty(2, dtype=object)
        both[:] = [joints, joints[:30]]
        np.save(path, both, allow_pickle=True)
    elif name.startswith("flat"):
        more = np.zeros((len(joints), 2, 3), "f4") if "24" in name else joints[:, :0]
        np.save(path, np.concatenate([joints, more], axis=1).reshape(len(joints), -1))
    else:
        path = path.with_suffix(".npz")
        np.savez(path, **{name: joints}, **({"fps": 20.0} if name != "arr_0" else {}))
    found = read_motions(path, HUMANML3D)
    assert [motion.label for motion in found] == (["#0", "#1"] if name in ("list", "objects") else [""])
    np.testing.assert_array_equal(found[0].joints, joints)
    assert found[0].notes[1] == "20 frames per second" + (
        "" if name in ("joints", "keypoints3d") else " assumed (--fps)"
    )
    assert len(found) == 1 or len(found[1].joints) == 30


@pytest.mark.parametrize("shape", [(30, 66), (30, 72), (30, 45, 3), (30, 127, 3), (30, 1, 22, 3), (30, 1, 263)])
def test_numbers_that_are_no_joints(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.random.default_rng(0).normal(size=shape))
    with pytest.raises(UserError, match="not the joints of a body|30 motions of one frame each|no body"):
        read_motions(tmp_path / "m.npy", HUMANML3D)


@pytest.mark.parametrize("how", ["zlib", "gzip"])
def test_compressed_pickles(how: str, tmp_path: Path) -> None:
    content = pickle.dumps({"a": np.arange(5.0)})
    path = tmp_path / "m.pkl"
    path.write_bytes(zlib.compress(content) if how == "zlib" else gzip.compress(content))
    np.testing.assert_array_equal(load_pickle(path)["a"], np.arange(5.0))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="m.pkl: truncated or not a"):
        load_pickle(path)
    bomb = zlib.compressobj(9)
    path.write_bytes(b"".join([bomb.compress(bytes(1 << 20)) for _ in range(200)]) + bomb.flush())
    with pytest.raises(UserError, match="far more memory"):
        load_pickle(path)


@pytest.mark.parametrize("module", [bz2, lzma])
def test_other_compressions_are_named(module, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(module.compress(pickle.dumps([1.0])))
    with pytest.raises(UserError, match="compressed with (bz2|xz), which is not read: joblib"):
        load_pickle(tmp_path / "m.pkl")


@pytest.mark.parametrize("compress", [3, ("gzip", 3)])
def test_compressed_by_joblib(compress: Any, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib writes what some estimators write")
    content = {"pose": np.random.default_rng(0).normal(size=(30, 72)), "f": np.ones((4, 3), "f4", order="F")}
    joblib.dump(content, tmp_path / "m.pkl", compress=compress)
    read = load_pickle(tmp_path / "m.pkl")
    assert all(np.array_equal(read[name], content[name]) for name in content)


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


class Reduced:
    """Is pickled as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def _shared(depth: int) -> list[Any]:
    """A list of two lists of two lists and so on, each once in memory."""
    value: list[Any] = [1.0]
    for _ in range(depth):
        value = [value, value]
    return value


def _of_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(250):
        value = [value]
    return value


class _StateOf:
    def __init__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), self.state  # type: ignore[attr-defined]


HOSTILE: dict[str, Any] = {
    "memory that nobody wrote": Reduced(np.ndarray, (9, 22, 3)),
    "a shape larger than its bytes": _StateOf((1, (10**9, 22, 3), np.dtype("f4"), False, b"\0" * 64)),
    "a negative shape": _StateOf((1, (-1, 22, 3), np.dtype("f4"), False, b"")),
    "objects that are none": _StateOf((1, (9, 22, 3), np.dtype("O"), False, b"\0" * (9 * 22 * 3 * 8))),
    "a structured type": _StateOf((1, (1,), np.dtype([("x", "f8")]), False, b"\0" * 8)),
    "one list many times": {"poses": _shared(60)},
    "a list of itself": {"poses": _of_itself()},
    "nested deeply": {"poses": _deep()},
    "strides of 0": {"motion": torch.zeros(1).expand(10**9, 22, 3)},
}


@pytest.mark.parametrize("kind", ["pkl", "npy", "pt"])
@pytest.mark.parametrize("name", HOSTILE)
def test_claims_are_compared_with_bytes(kind: str, name: str, tmp_path: Path) -> None:
    path, content = tmp_path / f"m.{kind}", HOSTILE[name]
    if kind == "pkl":
        path.write_bytes(pickle.dumps(content))
    elif kind == "npy":
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            pickle.dump(content, file, protocol=4)
    else:
        torch.save(content, path)
    with pytest.raises(UserError) as error:
        read_motions(path, HUMANML3D)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_states_of_classes_and_functions_are_not_set(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    for name in (b"c_codecs\nencode\n", b"cscipy.sparse\ncsc_matrix\n", b"ccollections\nOrderedDict\n"):
        path.write_bytes(b"\x80\x02" + name + b"N}X\x05\0\0\0stateK\x01s\x86b.")
        with pytest.raises(UserError, match="not opened: it changes a"):
            load_pickle(path)


def test_a_dtype_named_in_a_pickle_is_its_own(tmp_path: Path) -> None:
    """Setting the state of NumPy's own float64 would turn its bytes round for everybody."""
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(np.arange(3.0, dtype=">f8")))
    assert load_pickle(path).tolist() == [0.0, 1.0, 2.0]
    assert np.dtype("f8").byteorder == "=" and np.arange(3.0).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("kind", ["npz", "pt"])
def test_archives_that_unpack_to_far_more(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{kind}"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("m/data.pkl" if kind == "pt" else "poses.npy", b"\0" * 100 * (1 << 20))
    with pytest.raises(UserError, match=r"its [\d,]+ bytes unpack to 104,857,600"):
        read_motions(path, HUMANML3D)


def test_torch_files_of_other_contents(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    numbers = {"f": torch.arange(6.0).reshape(2, 3).T, "h": torch.ones(3, dtype=torch.bfloat16), "n": 3, "s": "x",
               "i": torch.tensor([1, 2]), "e": torch.empty(0, 3), "b": torch.tensor([True]), "a": np.arange(3),
               "z": torch.Size([2, 3]), "p": torch.nn.Parameter(torch.ones(2)), "d": torch.device("cpu"),
               "t": torch.float16, "c": np.float32(2.5), "o": {"l": [torch.zeros(2), (1, 2)]}}  # fmt: skip
    torch.save(numbers, path)
    found = load_torch(path)
    assert torch.equal(found["f"], numbers["f"]) and torch.equal(found["h"], numbers["h"])
    assert found["i"].tolist() == [1, 2] and found["e"].shape == (0, 3) and found["b"].tolist() == [True]
    assert found["a"].tolist() == [0, 1, 2] and found["c"] == 2.5 and found["n"] == 3 and found["s"] == "x"
    assert tuple(found["z"]) == (2, 3) and found["p"].tolist() == [1.0, 1.0] and found["o"]["l"][1] == (1, 2)
    shared = torch.arange(10.0)
    torch.save({"a": shared[2:5], "b": shared[::3]}, path)
    assert load_torch(path)["a"].tolist() == [2, 3, 4] and load_torch(path)["b"].tolist() == [0, 3, 6, 9]
