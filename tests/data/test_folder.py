"""Reading a data folder, and one clear line for everything that can be wrong with one."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data.folder import read_captions, read_folder, read_motion
from m2t_fast.data.raw import Caption, Segment
from m2t_fast.errors import UserError

Folder = Callable[..., Path]


def _segment(more: str) -> str:
    """A segments.json with one segment of motion m0 that has ``more`` fields."""
    return '{"m0": {"segments": [{"content": "a", "start": 0, "end": 2, "parts": [], ' + more + "}]}}"


def test_reads_everything(make_folder: Folder) -> None:
    folder = make_folder([5, 1, 3], joints=21, texts="A man; waves #2#a/DET man/NOUN wave/VERB#0.5#nan\r\n\n Runs.\n")
    entry = {"content": "wave", "start": 1, "end": 5, "parts": ["left_arm"], "style": "active"}
    (folder / "segments.json").write_text(json.dumps({"m0": {"segments": [entry], "frames": 5}}))
    raw = read_folder(folder)
    assert raw.skeleton.name == "kit" and raw.source == str(folder)
    assert {split: [m.id for m in motions] for split, motions in raw.splits.items()} == {
        "train": ["m0"],
        "val": ["m2"],
        "test": ["m1"],
    }
    motion = raw.splits["train"][0]
    assert motion.joints.shape == (5, 21, 3) and motion.joints.dtype == np.float32
    assert motion.joints.tolist() == np.load(folder / "new_joints" / "m0.npy").tolist()
    tags = (("a", "DET"), ("man", "NOUN"), ("wave", "VERB"))
    assert motion.captions == [Caption("A man; waves #2", tags, 0.5, 0.0), Caption("Runs.", None)]
    assert motion.segments == [Segment("wave", 1, 5, ("left_arm",))]
    assert raw.splits["val"][0].segments is None


def test_segments_may_say_more(make_folder: Folder) -> None:
    folder = make_folder([9, 1, 1], texts="he waves\nhe stands\n")
    entry = {"content": "wave", "start": 1, "end": 8, "parts": [], "active": [2, 5], "caption_verbs": ["wave", None]}
    (folder / "segments.json").write_text(json.dumps({"m0": {"segments": [entry, {**entry, "active": None}]}}))
    first, second = read_folder(folder).splits["train"][0].segments or ()
    assert first == Segment("wave", 1, 8, (), active=(2, 5), words=("wave", None))
    assert second.active is None


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
def test_other_floats_become_float32(tmp_path: Path, dtype: str) -> None:
    values = np.arange(2 * 22 * 3).reshape(2, 22, 3)
    np.save(tmp_path / "a.npy", values.astype(dtype))
    motion = read_motion(tmp_path / "a.npy")
    assert motion.dtype == np.float32 and (motion == values).all()


def test_only_the_asked_splits_are_needed(make_folder: Folder) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "val.txt").unlink()
    (folder / "test.txt").write_text("\n")
    assert read_folder(folder, splits=("train", "test")).splits["test"] == []
    with pytest.raises(UserError, match="val.txt: no such split file"):
        read_folder(folder)
    with pytest.raises(ValueError, match="splits: got 'dev'"):
        read_folder(folder, splits=("dev",))


def fails(folder: Path, *expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read_folder(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message, message


def test_folder_layout(make_folder: Folder, tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "nowhere: no such folder")
    (tmp_path / "file").write_text("")
    fails(tmp_path / "file", "file: not a folder")
    folder = make_folder([3, 3, 3])
    (folder / "texts").rename(folder / "captions")
    fails(folder, str(folder), "no folder texts/")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ("train.txt: empty",)),
        ("\n \n", ("train.txt: empty",)),
        ("m0\nm1\n\nm0\n", ("train.txt: id 'm0' appears twice, in lines 1 and 4",)),
        ("m0\n../m1\n", ("train.txt: line 2: id '../m1'",)),
        ("..\n", ("train.txt: line 1: id '..'",)),
        ("a\\b\n", ("train.txt: line 1",)),
        ("m0\nm9\n", ("id 'm9' of train.txt has no file new_joints/m9.npy",)),
    ],
)
def test_split_files(make_folder: Folder, content: str, expected: tuple[str, ...]) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "train.txt").write_text(content)
    fails(folder, *expected)


def test_id_without_text(make_folder: Folder) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "texts" / "m1.txt").unlink()
    fails(folder, "id 'm1' of test.txt has no file texts/m1.txt")


def test_all_splits_empty(make_folder: Folder) -> None:
    folder = make_folder([], splits={"val": [], "test": []})
    with pytest.raises(UserError, match="no motions in val.txt, test.txt"):
        read_folder(folder, splits=("val", "test"))


def test_mixed_joint_counts(make_folder: Folder) -> None:
    folder = make_folder([3, 3, 3])
    np.save(folder / "new_joints" / "m2.npy", np.zeros((3, 21, 3), np.float32))
    fails(folder, "m2.npy: 21 joints, but m0.npy has 22")


@pytest.mark.parametrize(
    ("motion", "expected"),
    [
        (np.zeros((3, 23, 3)), "shape (3, 23, 3), expected (frames, 22 or 21, 3)"),
        (np.zeros((3, 22)), "shape (3, 22), expected"),
        (np.zeros((3, 22, 2)), "shape (3, 22, 2), expected"),
        (np.zeros((0, 22, 3)), "no frames"),
        (np.zeros((3, 22, 3), np.int64), "dtype int64, expected float16, float32 or float64"),
        (np.zeros((3, 22, 3), np.complex64), "dtype complex64"),
        (np.array([{"a": 1}], dtype=object), "truncated or not a .npy file"),
    ],
)
def test_wrong_arrays(make_folder: Folder, motion: np.ndarray, expected: str) -> None:
    folder = make_folder([3, 3, 3])
    np.save(folder / "new_joints" / "m0.npy", motion)
    fails(folder, str(folder / "new_joints" / "m0.npy"), expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_coordinates_that_are_no_numbers(make_folder: Folder, value: float) -> None:
    folder = make_folder([3, 3, 3])
    motion = np.zeros((6, 22, 3))
    motion[4, 3, 1] = motion[5, 0, 0] = value
    np.save(folder / "new_joints" / "m1.npy", motion)
    fails(folder, "m1.npy: NaN or infinite coordinates in 2 of 6 frames, first in frame 4")


def test_files_that_are_no_arrays(make_folder: Folder) -> None:
    folder = make_folder([3, 3, 3])
    file = folder / "new_joints" / "m0.npy"
    whole = file.read_bytes()
    for content in (
        whole[:-5],
        whole[:60],
        whole[:8],
        b"",
        b"not an array",
        pickle.dumps([1]),
        b"PK\x03\x04" + b"0" * 40,
    ):
        file.write_bytes(content)
        fails(folder, f"{file}: truncated or not a .npy file")
    huge = whole.replace(b"(3, 22, 3)", b"(9**20,1,)")
    assert huge != whole
    file.write_bytes(huge)
    fails(folder, str(file))
    with open(file, "wb") as opened:
        np.savez(opened, a=np.zeros((3, 22, 3)))
    fails(folder, f"{file}: an .npz archive")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no captions"),
        (" \n\n", "no captions"),
        ("#a/DET#0.0#0.0\n", "line 1: no caption before the first '#'"),
        ("fine\na man#a/DET man/NOUN#0.0\n", "line 2: 3 fields"),
        ("a man#a/DET man#0.0#0.0\n", "line 1: tagged token 'man', expected token/POS"),
        ("a man#a/DET man/#0.0#0.0\n", "line 1: tagged token 'man/'"),
        ("a man#a/DET#zero#0.0\n", "line 1: start 'zero', expected seconds"),
        ("a man#a/DET#0.0#\n", "line 1: end '', expected seconds"),
        ("a man#a/DET#0.0#inf\n", "line 1: end inf, expected finite seconds"),
        ("a man#a/DET#-1#0.0\n", "line 1: start -1, expected finite seconds"),
    ],
)
def test_malformed_captions(make_folder: Folder, text: str, expected: str) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "texts" / "m0.txt").write_text(text)
    fails(folder, str(folder / "texts" / "m0.txt"), expected)


def test_text_that_is_not_utf8(make_folder: Folder) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "texts" / "m0.txt").write_bytes("caf\u00e9".encode("latin-1"))
    fails(folder, "m0.txt: not UTF-8 text (byte 3)")


def test_caption_forms(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffwalks\u2028on\nand/or##0.0#2.5\n//PUNCT#//PUNCT#0#0".encode())
    assert read_captions(file) == [
        Caption("walks\u2028on", None),
        Caption("and/or", None, 0.0, 2.5),
        Caption("//PUNCT", (("/", "PUNCT"),)),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "truncated or not JSON"),
        ("[]", "got a JSON list"),
        ('{"m0": []}', "id 'm0': expected"),
        ('{"m0": {"segments": [{"content": "a"}]}}', "id 'm0': segment 0: expected content, start, end and parts"),
        ('{"m0": {"segments": [3]}}', "id 'm0': segment 0"),
        ('{"m0": {"segments": [{"content": "a", "start": 0.5, "end": 2, "parts": []}]}}', "frame numbers"),
        ('{"m0": {"segments": [{"content": "a", "start": 0, "end": 4, "parts": []}]}}', "frames 0 to 4, expected"),
        ('{"m0": {"segments": [{"content": "a", "start": 2, "end": 2, "parts": []}]}}', "frames 2 to 2, expected"),
        ('{"m0": {"segments": [{"content": "a", "start": 0, "end": 2, "parts": ["tail"]}]}}', "part 'tail'"),
        (_segment('"active": [1]'), "active [1], expected [start, end] in frames"),
        (_segment('"active": [0, 1.5]'), "active [0, 1.5], expected [start, end] in frames"),
        (_segment('"active": [1, 4]'), "active frames 1 to 4, expected a range in 0 to 3"),
        (_segment('"active": [2, 2]'), "active frames 2 to 2, expected a range in 0 to 3"),
        (_segment('"caption_verbs": "walk"'), "caption_verbs 'walk', expected a word or null per caption"),
        (_segment('"caption_verbs": [3]'), "caption_verbs [3], expected a word or null per caption"),
        (_segment('"caption_verbs": [null, "go", "go", "go", "go"]'), "5 caption_verbs, expected one for each of"),
    ],
)
def test_malformed_segments(make_folder: Folder, content: str, expected: str) -> None:
    folder = make_folder([3, 3, 3])
    (folder / "segments.json").write_text(content)
    fails(folder, str(folder / "segments.json"), expected)
