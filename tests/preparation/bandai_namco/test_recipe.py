"""The whole recipe on a small clone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import main
from m2t_fast.data.folder import read_folder
from m2t_fast.data.raw import RawData, RawMotion
from m2t_fast.data.text import tokenise
from m2t_fast.preparation.bandai_namco import prepare_bandai_namco
from m2t_fast.preparation.mirror import mirror_caption, mirror_joints


@pytest.fixture(scope="module")
def made(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of the clone."""
    folder = tmp_path_factory.mktemp("made") / "data"
    assert main(["prepare", "--source", "bandai-namco", str(clone), "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def raw(made: Path) -> RawData:
    return read_folder(made)  # refuses any fault


@pytest.fixture(scope="module")
def about(made: Path) -> dict:
    return json.loads((made / "segments.json").read_text())


def motions(raw: RawData) -> list[RawMotion]:
    return [motion for found in raw.splits.values() for motion in found]


def test_no_take_is_in_two_splits(raw: RawData, about: dict) -> None:
    split_of: dict[str, str] = {}
    for split, found in raw.splits.items():
        assert found
        for motion in found:
            assert about[motion.id]["split"] == split
            for source in about[motion.id]["source"]:
                assert split_of.setdefault(source, split) == split
    assert {entry["kind"] for entry in about.values()} == {"single", "turn", "multi"}


def test_motions_and_their_actions(raw: RawData, about: dict) -> None:
    for motion in motions(raw):
        assert 40 <= len(motion.joints) <= 198 and motion.joints.dtype == np.float32
        assert abs(motion.joints[..., 1].min()) < 1e-6 and np.abs(motion.joints[0, 0, [0, 2]]).max() < 1e-6
        segments = motion.segments or []
        assert segments[0].start == 0 and segments[-1].end == len(motion.joints)
        assert all(first.end == second.start for first, second in zip(segments, segments[1:], strict=False))
        entry = about[motion.id]
        assert len(entry["source"]) == len(entry["source_windows_20fps"]) == (2 if entry["kind"] == "multi" else 1)
        for segment in segments:
            first, last = segment.active or (segment.start, segment.end)
            assert segment.start <= first < last <= segment.end


def test_captions(raw: RawData) -> None:
    for motion in motions(raw):
        texts = [tokenise(caption.text) for caption in motion.captions]
        assert 2 <= len(texts) <= 4 and len({tuple(text) for text in texts}) == len(texts)
        for number, caption in enumerate(motion.captions):
            assert caption.tags is not None and len(caption.tags) == len(texts[number])
            lemmas = [lemma for lemma, _ in caption.tags]
            named = [segment.words[number] for segment in motion.segments or []]
            assert any(named)
            for name in named:
                assert name is None or name in lemmas
            for segment in motion.segments or []:
                hand = re.search(r"(left|right)-hand", segment.action)
                if hand and segment.words[number] and len(motion.segments or []) == 1:
                    assert hand[1] in texts[number]


def test_mirrored_clips(raw: RawData, about: dict) -> None:
    found = {motion.id: motion for motion in motions(raw)}
    mirrored = [motion for motion in found.values() if motion.id.startswith("M")]
    assert mirrored
    for motion in mirrored:
        one = found[motion.id[1:]]
        assert about[motion.id]["mirrored"] and about[motion.id]["split"] == about[one.id]["split"]
        assert (motion.joints == mirror_joints(one.joints)).all()
        assert [c.text for c in motion.captions] == [mirror_caption(c.text) for c in one.captions]


def test_the_licence_is_there(made: Path) -> None:
    text = (made / "LICENSE").read_text()
    assert "CC BY-NC 4.0" in text and "arXiv:2306.08861" in text
    assert text.rstrip().endswith("Attribution-NonCommercial 4.0 International")


def test_same_seed_same_folder_and_a_take_gives_the_same_clip_among_others(
    clone: Path, made: Path, raw: RawData, about: dict, tmp_path: Path
) -> None:
    for name in ("again", "part"):
        (tmp_path / name).mkdir()
    prepare_bandai_namco(clone, tmp_path / "again", shown=False)
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((made / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)

    fewer = tmp_path / "fewer"
    shutil.copytree(clone, fewer)
    for number, path in enumerate(sorted(fewer.rglob("*.bvh"))):
        if number % 3 == 0:
            path.unlink()
    prepare_bandai_namco(fewer, tmp_path / "part", seed=1, shown=False)
    known = json.loads((tmp_path / "part" / "segments.json").read_text())
    whole = {
        (entry["source"][0], str(entry["source_windows_20fps"])): motion_id
        for motion_id, entry in about.items()
        if entry["kind"] != "multi" and not entry["mirrored"]
    }
    found = {motion.id: motion for motion in motions(raw)}
    compared = 0
    for motion in motions(read_folder(tmp_path / "part")):
        entry = known[motion.id]
        if entry["kind"] != "multi" and not entry["mirrored"]:
            other = found[whole[entry["source"][0], str(entry["source_windows_20fps"])]]
            assert (motion.joints == other.joints).all()
            assert [s.parts for s in motion.segments or []] == [s.parts for s in other.segments or []]
            compared += 1
    assert compared > 10


def test_what_cannot_be_used_is_told(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data"
    assert main(["prepare", "--source", "bandai-namco", str(clone), "--output", str(output)]) == 0
    captured = capsys.readouterr()
    assert "licensed under CC BY-NC 4.0" in captured.out
    for part in ("walk_normal_997.bvh: not a .bvh", "998.bvh: too short, or not the wave", "'swim' is not known"):
        assert part in captured.err, captured.err
    for argv, message in (
        ([str(clone), str(clone)], "got 2 folders, expected one clone"),
        ([str(tmp_path / "none")], "no such folder"),
        ([str(clone), "--mirror"], "--mirror: not with --source"),
        ([str(clone), "--captions", "x.csv"], "--captions: not with --source"),
    ):
        assert main(["prepare", "--source", "bandai-namco", *argv, "--output", str(tmp_path / "other")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "other").exists()
