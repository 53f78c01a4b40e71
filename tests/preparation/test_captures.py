"""Takes and their captions become motions of a data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data.folder import read_folder
from m2t_fast.data.raw import RawMotion
from m2t_fast.errors import UserError
from m2t_fast.preparation import CaptionRow, prepare_captures, write_folder
from m2t_fast.skeleton import HUMANML3D

JOINTS = np.random.default_rng(0).normal(size=(60, 22, 3)).astype(np.float32)


def read(path: Path) -> list[np.ndarray]:
    if path.stem == "bad":
        raise UserError(f"{path}: truncated")
    return [JOINTS, JOINTS[:30]] if path.stem == "two" else [JOINTS]


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")
def test_pieces_wholes_and_mirrored_ones(tmp_path: Path) -> None:
    captioned = {
        Path("in/take 1.bvh"): [
            CaptionRow("", "walks and waves the left hand"),
            CaptionRow("", "waves the left hand", 1.0, 2.0),
            CaptionRow("", "waving", 1.0, 2.0),
        ],
        Path("other/take 1.bvh"): [CaptionRow("", "hops", 0.5), CaptionRow("", "stands", None, 0.5)],
        Path("two.npy"): [CaptionRow("", "goes")],
        Path("bad.npy"): [CaptionRow("", "falls")],
        Path("none.npy"): [],
    }
    done = prepare_captures(tmp_path, captioned, read, HUMANML3D, mirror=True, shares=(1, 0, 0))
    assert done.left_out == ["none.npy: no caption", "bad.npy: truncated"] and done.counts["train"] == 12
    motions = {motion.id: motion for motion in read_folder(tmp_path).splits["train"]}
    frames = {name: len(motion.joints) for name, motion in motions.items() if not name.startswith("M")}
    assert frames == {
        "take_1": 60, "take_1-20-40": 20, "take_1-0-10": 10, "take_1-10-60": 50, "two-0": 60, "two-1": 30
    }  # fmt: skip
    assert {f"M{name}" for name in frames} == {name for name in motions if name.startswith("M")}
    np.testing.assert_array_equal(motions["take_1-20-40"].joints, JOINTS[20:40])
    assert [c.text for c in motions["take_1-20-40"].captions] == ["waves the left hand", "waving"]
    (segment,) = motions["take_1"].segments or []
    assert (segment.action, segment.start, segment.end) == ("waves the left hand", 20, 40)
    assert segment.parts == ("left_arm",) or segment.parts == ("left_arm", "right_arm")
    (mirrored,) = motions["Mtake_1"].segments or []
    assert mirrored.action == "waves the right hand" and "right_arm" in mirrored.parts
    assert motions["two-0"].segments is None
    tags = dict(motions["take_1"].captions[0].tags or ())
    assert tags["walks"] == "VERB"


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")
def test_a_source_stays_together(tmp_path: Path) -> None:
    captioned = {
        Path(f"p{person}_{take}.npy"): [CaptionRow("", "walks", source=f"p{person}")]
        for person in range(9)
        for take in range(4)
    }
    prepare_captures(tmp_path, captioned, read, HUMANML3D, shares=(6, 1, 2), seed=1)
    ids = {split: (tmp_path / f"{split}.txt").read_text().split() for split in ("train", "val", "test")}
    people = {split: {name.split("_")[0] for name in names} for split, names in ids.items()}
    assert [len(people[split]) for split in ids] == [6, 1, 2] and sum(map(len, ids.values())) == 36
    assert len(set.union(*people.values())) == 9


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([CaptionRow("", "walks", 3.5, 9.0)], "is of 3.5 to 9 s, but the motion lasts 3.00 s"),
        ([CaptionRow("", "a", split="val"), CaptionRow("", "b", split="test")], "is in val and in test; expected one"),
        ([CaptionRow("", "a", split="val")], "nothing is left for train"),
        ([], "none is of a motion file"),
    ],
)
@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")
def test_what_is_refused(rows: list[CaptionRow], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        prepare_captures(tmp_path, {Path("a.npy"): rows}, read, HUMANML3D)


def test_an_id_twice(tmp_path: Path) -> None:
    motion = RawMotion("a", JOINTS, [])
    with pytest.raises(ValueError, match="id 'a' appears twice"):
        write_folder(tmp_path, {"train": [motion], "test": [motion]})
