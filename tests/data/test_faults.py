"""Folders with any mixture of faults: what is left out, what stays, and how it is told."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from m2t_fast.data import describe, format_description
from m2t_fast.data.arrays import read_motion
from m2t_fast.data.faults import Fault, NothingLeft, count_left_out, from_rows, in_words, summary, to_rows
from m2t_fast.data.folder import read_folder, split_captions
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.errors import UserError
from m2t_fast.motion.features import recover_joints

Folder = Callable[..., Path]
SPLITS = {"train": [f"m{i}" for i in range(6)], "val": ["m6", "m7"], "test": ["m8", "m9"]}
SETTINGS = DataSettings(min_count=1)
expects_warning = pytest.mark.filterwarnings("ignore:.*left out:UserWarning")


@pytest.fixture
def clean(make_folder: Folder) -> Path:
    """Ten motions that nothing is wrong with; the first and the last motion of each split are never spoilt."""
    return make_folder([9, 8, 7, 6, 5, 4, 6, 3, 7, 5], splits=SPLITS)


@expects_warning
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=st.data())
def test_any_mixture(clean: Path, faults: dict, data: st.DataObject) -> None:
    split_of = {motion: split for split, motions in SPLITS.items() for motion in motions[1:]}
    wrong = data.draw(st.dictionaries(st.sampled_from(sorted(split_of)), st.sampled_from(sorted(faults)), max_size=7))
    folder = clean.parent / "spoilt"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(clean, folder)
    for motion, name in wrong.items():
        faults[name][2](folder, split_of[motion], motion)

    expected = sorted((split_of[m], f"../{m}" if n == "no id" else m, *faults[n][:2]) for m, n in wrong.items())
    raw = read_folder(folder, strict=False)
    assert sorted((f.split, f.id, f.what, f.kind) for f in raw.faults) == expected
    assert all(str(folder) in fault.message and "\n" not in fault.message for fault in raw.faults)

    gone = {motion for motion, name in wrong.items() if faults[name][0] == "motion"}
    whole = {m.id: m for motions in read_folder(clean).splits.values() for m in motions}
    for split, motions in SPLITS.items():
        assert [m.id for m in raw.splits[split]] == [m for m in motions if m not in gone]
        for motion in raw.splits[split]:
            assert np.array_equal(motion.joints, whole[motion.id].joints)
            assert motion.captions == whole[motion.id].captions

    for prepared in (load_data(folder, SETTINGS), load_data(folder, SETTINGS)):  # read, and from the cache
        assert prepared.faults == raw.faults
        assert prepared["val"].faults == tuple(f for f in raw.faults if f.split == "val")
    description = describe(prepared)
    assert len(description["faults"]) == len(wrong)
    text = format_description(description)
    assert all(fault.message in text for fault in raw.faults)
    if wrong:
        with pytest.raises(UserError) as caught:
            load_data(folder, SETTINGS, strict=True)
        assert raw.faults[0].message in str(caught.value) and "\n" not in str(caught.value)
    else:
        assert load_data(folder, SETTINGS, strict=True).faults == ()


def test_a_warning_says_what_is_left_out(clean: Path, faults: dict) -> None:
    for motion, name in (("m1", "NaN"), ("m2", "NaN"), ("m3", "no text"), ("m4", "an empty caption")):
        faults[name][2](clean, "train", motion)
    with pytest.warns(UserWarning, match="left out 3 motions, 1 caption: NaN or infinite 2 [(]m1, m2[)]; no text") as w:
        load_data(clean, SETTINGS, use_cache=False)
    assert len(w) == 1


def test_nothing_left_of_a_split(clean: Path, faults: dict) -> None:
    for motion in SPLITS["val"]:
        faults["truncated"][2](clean, "val", motion)
    with pytest.raises(
        NothingLeft, match="val.txt: none of its 2 motions can be used; .*unreadable motion 2"
    ) as caught:
        load_data(clean, SETTINGS)
    assert len(caught.value.faults) == 2
    (clean / "train.txt").write_text("../m0\n")
    with pytest.raises(UserError, match="train.txt: empty; .*line 1: id '../m0'"):
        load_data(clean, SETTINGS)


@expects_warning
def test_the_most_frequent_number_of_joints_stays(clean: Path, faults: dict) -> None:
    faults["other joints"][2](clean, "train", "m0")  # the first that is read
    raw = read_folder(clean, strict=False)
    assert raw.skeleton.joints == 22 and [f.id for f in raw.faults] == ["m0"]
    assert "m0.npy: 21 joints, but m1.npy has 22" in raw.faults[0].message


@expects_warning
def test_segments_follow_the_captions_that_stay(clean: Path) -> None:
    (clean / "texts" / "m0.txt").write_text("he waves\n#a/DET#0#0\nhe stands\n")
    entry = '{"content": "a", "start": 0, "end": 2, "parts": [], "caption_verbs": ["waves", "lost", null]}'
    (clean / "segments.json").write_text('{"m0": {"segments": [' + entry + "]}}")
    (segment,) = read_folder(clean, strict=False).splits["train"][0].segments or ()
    assert segment.words == ("waves", None)
    (clean / "segments.json").write_text("{")
    raw = read_folder(clean, strict=False)
    assert raw.splits["train"][0].segments is None
    assert sorted((f.what, f.id) for f in raw.faults) == [("caption", "m0"), ("segments", "")]


def test_captions_of_a_split_as_far_as_they_go(clean: Path, faults: dict) -> None:
    whole = split_captions(clean, "train")
    faults["no text"][2](clean, "train", "m1")
    faults["a malformed caption"][2](clean, "train", "m2")
    assert split_captions(clean, "train") == whole[:3] + whole[6:]


def test_counts_and_rows() -> None:
    fault = Fault("train", "a", "motion", "no frames", "a.npy: no frames")
    many = [fault] * 3 + [Fault("val", "b", "segments", "malformed segments", "x")]
    assert count_left_out(many) == {"motion": 3, "segments": 1}
    assert in_words(many) == "3 motions, 1 motion's segments" and in_words([]) == ""
    assert from_rows(to_rows(many)) == tuple(many)
    five = [Fault("train", str(i), "motion", "no frames", "") for i in range(5)]
    assert "no frames 5 (0, 1, 2, 3, ...)" in summary("here", five)


@pytest.fixture
def vectors(clean: Path) -> tuple[Path, Path]:
    """A folder of feature vectors alone, and one of the joints that they hold, with equal texts and splits."""
    generator = np.random.default_rng(4)
    features = clean.parent / "features"
    shutil.copytree(clean, features)
    shutil.rmtree(features / "new_joints")
    (features / "new_joint_vecs").mkdir()
    for file in (clean / "new_joints").iterdir():
        vector = generator.normal(0, 0.2, (len(np.load(file)), 263)).astype(np.float32)
        np.save(features / "new_joint_vecs" / file.name, vector)
        np.save(file, recover_joints(vector).astype(np.float32))
    for name in ("Mean.npy", "Std.npy"):
        (features / name).write_text("not read")
    return features, clean


def test_feature_vectors_alone(vectors: tuple[Path, Path]) -> None:
    features, joints = (load_data(folder, SETTINGS) for folder in vectors)
    assert features.skeleton.joints == 22 and features.statistics == joints.statistics
    for split in SPLITS:
        assert (features[split].frames == joints[split].frames).all() and len(features[split]) == len(joints[split])
        assert features[split].faults == ()


@expects_warning
def test_faults_of_feature_vectors(vectors: tuple[Path, Path]) -> None:
    folder = vectors[0] / "new_joint_vecs"
    for motion, values in {
        "m1": np.full((5, 263), np.nan, np.float32),
        "m2": np.zeros((0, 263), np.float32),
        "m3": np.zeros((5, 22, 3), np.float32),
        "m4": np.zeros((5, 251), np.float32),
        "m7": np.full((50, 263), 3e38, np.float32),
    }.items():
        np.save(folder / f"{motion}.npy", values)
    kinds = {fault.id: fault.kind for fault in read_folder(vectors[0], strict=False).faults}
    assert kinds == {
        **{"m1": "NaN or infinite", "m2": "no frames", "m3": "wrong shape", "m4": "other joints"},
        "m7": "NaN or infinite",
    }


@pytest.mark.parametrize("what", ["text", "objects", "pickle"])
def test_no_advice_to_run_what_a_file_holds(tmp_path: Path, what: str) -> None:
    path = tmp_path / "motion.npy"
    if what == "objects":
        np.save(path, np.array([{}]), allow_pickle=True)
    else:
        path.write_bytes(b"x" if what == "text" else pickle.dumps([1]))
    with pytest.raises(UserError, match="truncated or not a .npy file of numbers") as caught:
        read_motion(path)
    assert "pickle" not in str(caught.value) and "trust" not in str(caught.value)
