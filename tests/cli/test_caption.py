"""``m2t-fast caption``: order, JSON, one-frame motions, folders, kinds of files, and every file it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.run_folder import load_run

FRAMES = (57, 12, 1, 120, 2, 33)


@pytest.fixture
def files(tmp_path: Path, motion: Callable) -> list[Path]:
    """Motion files of different lengths."""
    paths = [tmp_path / f"m{number}.npy" for number in range(len(FRAMES))]
    for number, (path, frames) in enumerate(zip(paths, FRAMES, strict=True)):
        np.save(path, motion(frames, seed=number))
    return paths


def alone(run: Path, file: Path, **search: int | str) -> tuple[str, torch.Tensor]:
    """Caption and tokens of one file, by the model itself."""
    opened = load_run(run)
    joints = np.load(file)
    kept = joints[min(1, len(joints) - 1) :: 2]
    frames = torch.from_numpy(((kept - opened.statistics.mean) / opened.statistics.std).astype(np.float32))
    found = opened.model.generate(frames[None], torch.tensor([len(frames)]), **search)
    return opened.vocabulary.decode(found.tokens[0, 0]), found.tokens[0, 0]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_one_line_a_motion_in_the_order_given(
    call: Callable, tiny_run: Path, files: list[Path], batch_size: int
) -> None:
    expected = [alone(tiny_run, file, beam_size=2, max_length=6)[0] for file in files]
    result = call("caption", tiny_run, *files, "--max-length", 6, "--batch-size", batch_size)
    assert result.code == 0
    assert result.out.splitlines() == expected
    assumed, *doubts = result.err.splitlines(keepends=True)
    assert assumed == (
        f"m2t-fast: {files[0]} and 5 more files: 22 joints; 20 frames per second assumed (--fps); unit m; Y up\n"
    )
    assert [line.split(": ")[2] for line in doubts] == ["1 frame", "2 frames"]
    assert all("shorter than anything in training (10 frames or more)" in line for line in doubts)
    assert len(set(expected)) > 1
    backwards = call("caption", tiny_run, *files[::-1], "--max-length", 6, "--batch-size", batch_size)
    assert backwards.out.splitlines() == expected[::-1]


def test_best_first_search(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    expected = [alone(tiny_run, file, beam_size=3, search="best_first")[0] for file in files]
    result = call("caption", tiny_run, *files, "--json", "--beam-size", 3, "--search", "best_first")
    described = [json.loads(line) for line in result.out.splitlines()]
    assert [motion["caption"] for motion in described] == expected
    for motion in described:
        assert " ".join(word["word"] for word in motion["words"]) == motion["caption"]


def test_json(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    result = call("caption", tiny_run, *files, "--json", "--beam-size", 3, "--max-length", 6)
    assert result.code == 0
    described = [json.loads(line) for line in result.out.splitlines()]
    assert [motion["file"] for motion in described] == [str(file) for file in files]
    for motion, frames in zip(described, FRAMES, strict=True):
        assert list(motion) == ["file", "caption", "score", "captions", "words", "trust"]
        assert motion["captions"][0] == {"caption": motion["caption"], "score": motion["score"]}
        scores = [other["score"] for other in motion["captions"]]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert " ".join(word["word"] for word in motion["words"]) == motion["caption"]
        for word in motion["words"]:
            assert list(word) == ["word", "gate", "mean", "std", "parts"]
            assert 0 <= word["gate"] <= 1
            assert 0 <= word["mean"] <= (frames - 1) / 20 + 1e-6 and 0 < word["std"] <= frames / 20
            assert list(word["parts"]) == ["root", "torso", "left_arm", "right_arm", "left_leg", "right_leg"]
            assert sum(word["parts"].values()) == pytest.approx(1.0, abs=1e-5)


def test_times_are_seconds_of_the_file(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    words = json.loads(call("caption", tiny_run, files[0], "--json", "--max-length", 6, "--beam-size", 1).out)["words"]
    opened = load_run(tiny_run)
    frames = torch.from_numpy(opened.statistics.apply(np.load(files[0])[1::2]))
    attention = opened.model.generate(frames[None], torch.tensor([28]), beam_size=1, max_length=6).attention
    for step, word in enumerate(words):  # kept frame k is frame 1 + 2 k of the file, at 20 frames per second
        assert word["mean"] == pytest.approx((1 + 2 * float(attention.mean[0, step])) / 20, abs=1e-5)
        assert word["std"] == pytest.approx(2 * float(attention.std[0, step]) / 20, abs=1e-5)
        weights = attention.window[0, step, :, None] * attention.spatial[0, step]
        expected = weights.sum(0) / attention.window[0, step].sum()
        assert list(word["parts"].values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_motion_of_one_frame(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    described = json.loads(call("caption", tiny_run, files[2], "--json", "--max-length", 4).out)
    assert described["words"]
    for word in described["words"]:
        assert word["mean"] == 0.0 and math.isfinite(word["gate"]) and math.isfinite(word["std"])


def test_forced_gate(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    described = json.loads(call("caption", tiny_run, files[0], "--json", "--force-gate", 0.25, "--max-length", 4).out)
    assert [word["gate"] for word in described["words"]] == [0.25] * len(described["words"])


def test_21_joints(call: Callable, run_of: Callable, motion: Callable, tmp_path: Path) -> None:
    file = tmp_path / "kit.npy"
    np.save(file, motion(40, joints=21).astype(np.float64))
    result = call("caption", run_of(21), file, "--max-length", 4)
    assert result.code == 0 and len(result.out.splitlines()) == 1


def _nan(motion: np.ndarray) -> np.ndarray:
    motion[7, 3, 1] = np.nan
    return motion


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_nan, "NaN or infinite coordinates in 1 of 20 frames, first in frame 7"),
        (lambda m: m + np.inf, "NaN or infinite"),
        (lambda m: m[:, :21], "21 joints, but"),
        (lambda m: m[:, :20], "shape (20, 20, 3), expected (frames, 22 or 21, 3)"),
        (lambda m: m[:0], "no frames"),
        (lambda m: m[0], "shape (22, 3), expected (frames, 22, 3) joints or (frames, 263) features"),
        (lambda m: m[..., :2], "shape (20, 22, 2)"),
        (lambda m: m.astype(np.int64), "dtype int64"),
        (lambda m: np.array([None, "text"]), "not a .npy file of numbers"),
    ],
)
def test_a_bad_motion(
    call: Callable,
    refused: Callable,
    tiny_run: Path,
    files: list[Path],
    motion: Callable,
    tmp_path: Path,
    spoil: Callable,
    message: str,
) -> None:
    bad = tmp_path / "bad.npy"
    np.save(bad, spoil(motion(20)))
    error = refused("caption", tiny_run, bad)
    assert str(bad) in error and message in error
    good = call("caption", tiny_run, files[2], files[1], "--max-length", 4)
    result = call("caption", tiny_run, files[2], bad, files[1], "--max-length", 4)  # left out, and listed
    assert (result.code, result.out) == (3, good.out)
    assert f"left out: {bad}: " in result.err and message in result.err
    assert result.err.endswith("1 of 3 motions was left out\n")


def test_a_bad_file(refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.npy"
    truncated.write_bytes(files[0].read_bytes()[:1000])
    assert f"{truncated}: truncated or not a .npy file" in refused("caption", tiny_run, truncated)
    empty = tmp_path / "empty.npy"
    empty.touch()
    assert f"{empty}: truncated or not a .npy file" in refused("caption", tiny_run, empty)
    text = tmp_path / "text.npy"
    text.write_text("a person walks")
    assert f"{text}: truncated or not a .npy file" in refused("caption", tiny_run, text)
    missing = tmp_path / "missing.npy"
    assert f"{missing}: cannot read: No such file" in refused("caption", tiny_run, missing)


def test_a_bad_run(refused: Callable, files: list[Path], tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: no such run folder" in refused("caption", tmp_path / "none", files[0])
    assert f"{tmp_path}: not a run folder" in refused("caption", tmp_path, files[0])


def test_a_folder_becomes_a_table(call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "motions"
    (folder / "deeper").mkdir(parents=True)
    names = ["a b.npy", "deeper/c.npy", "z.npy"]
    for name, file in zip(names, files[:3], strict=True):
        file.rename(folder / name)
    captions = [alone(tiny_run, folder / name, beam_size=2, max_length=6)[0] for name in names]
    result = call("caption", tiny_run, folder, files[3], "--max-length", 6)
    last = alone(tiny_run, files[3], beam_size=2, max_length=6)[0]
    assert result.code == 0
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert rows == [list(row) for row in zip([*names, str(files[3])], [*captions, last], strict=True)]
    described = [json.loads(line) for line in call("caption", tiny_run, folder, "--json").out.splitlines()]
    assert [motion["file"] for motion in described] == [str(folder / name) for name in names]


def test_bad_files_of_a_folder_are_left_out(
    call: Callable, refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "m1.npy").write_bytes(b"no motion")
    (tmp_path / "n.bvh").write_text("HIERARCHY")
    result = call("caption", tiny_run, tmp_path, "--max-length", 4)
    assert result.code == 3
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [
        file.name for file in files if "m1" not in file.name
    ]
    assert f"left out: {tmp_path / 'm1.npy'}: truncated or not a .npy file" in result.err
    assert f"left out: {tmp_path / 'n.bvh'}: truncated: no MOTION" in result.err
    assert result.err.endswith("m2t-fast: 2 of 7 motions were left out\n")
    assert call("caption", tiny_run, tmp_path, tmp_path / "n.bvh", "--max-length", 4).err.count("n.bvh: truncated") == 2
    for file in files:
        file.write_bytes(b"no motion")
    assert f"{tmp_path}: none of its 7 motion files can be read" in refused("caption", tiny_run, tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no motion files in it" in refused("caption", tiny_run, tmp_path / "empty")


def test_another_frame_rate(call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    twice = tmp_path / "twice.npy"
    np.save(twice, np.repeat(np.load(files[0]), 3, axis=0)[::1])
    result = call("caption", tiny_run, twice, "--fps", 60, "--json", "--max-length", 6)
    plain = json.loads(call("caption", tiny_run, files[0], "--json", "--max-length", 6).out)
    described = json.loads(result.out)
    assert {**described, "file": ""} == {**plain, "file": ""}
    assert "60 frames per second; unit m; Y up; resampled to 20 (171 frames to 57)" in result.err


BVH = """HIERARCHY
ROOT {0}
{{
  OFFSET 0 0 0
  CHANNELS 3 Xposition Yposition Zposition
{1}
}}
MOTION
Frames: {2}
Frame Time: 0.05
{3}
"""


def test_bvh(call: Callable, refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    from m2t_fast.motion import JOINT_NAMES

    names = JOINT_NAMES["humanml3d"]
    joints = np.load(files[0]).astype(np.float64)
    joints[:, [4, 5]] = joints[:, [1, 2]] - [0.0, 0.4, 0.0]
    joints[:, [7, 8]] = joints[:, [4, 5]] - [0.0, 0.42, 0.0]
    joints[:, 15] = joints[:, 7] + [0.0, 1.5, 0.0]
    local = joints.copy()
    local[:, 1:] -= joints[:, :1]
    nodes = "\n".join(
        f"JOINT {name} {{\nOFFSET {' '.join(map(str, local[0, index]))}\nCHANNELS 3 Xposition Yposition Zposition\n}}"
        for index, name in enumerate(names)
        if index
    )
    rows = "\n".join(" ".join(map(str, frame.ravel())) for frame in local)
    file, joint_map = tmp_path / "motion.bvh", tmp_path / "map.json"
    file.write_text(BVH.format("pelvis", nodes, len(local), rows))
    joint_map.write_text(json.dumps({name: name for name in names}))
    result = call("caption", tiny_run, file, "--joint-map", joint_map, "--units", "m", "--up", "y", "--max-length", 6)
    same = tmp_path / "same.npy"
    np.save(same, joints.astype(np.float32))
    aligned = call("caption", tiny_run, same, "--align", "--max-length", 6)
    assert (result.code, result.out) == (0, aligned.out)
    for said in (f"{file}: .bvh of 22 joints", "by the joint map", "20 frames per second", "unit m", "Y up", "placed"):
        assert said in result.err
    assert f"{file}: apparently not a human: arms" in refused("caption", tiny_run, file)  # they are of random length
    assert "'tail'" in refused("caption", tiny_run, file, "--joint-map", _text(tmp_path / "x.json", '{"tail": "x"}'))


def _text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_features(call: Callable, refused: Callable, tiny_run: Path, tmp_path: Path) -> None:
    features = np.zeros((30, 263))
    features[:, 3] = 0.9  # a body that stands: hips, knees and ankles below the root, shoulders, elbows, wrists
    heights = {1: (0.1, 0.8), 4: (0.1, 0.4), 7: (0.1, 0.0), 16: (0.2, 1.4), 18: (0.2, 1.1), 20: (0.2, 0.8)}
    for joint, (x, y) in heights.items():
        features[:, 1 + 3 * joint : 3 + 3 * joint] = x, y
        features[:, 4 + 3 * joint : 6 + 3 * joint] = -x, y
    file, mean, std = tmp_path / "features.npy", tmp_path / "Mean.npy", tmp_path / "Std.npy"
    np.save(file, features)
    result = call("caption", tiny_run, file, "--max-length", 4)
    assert result.code == 0 and f"{file}: 263 features; 20 frames per second assumed (--fps); unit m" in result.err
    np.save(mean, features[0] + 1)
    np.save(std, np.full(263, 2.0))
    np.save(file, (features - np.load(mean)) / 2.0)
    assert "--mean FILE --std FILE" in refused("caption", tiny_run, file)
    told = call("caption", tiny_run, file, "--mean", mean, "--std", std, "--max-length", 4)
    assert told.out == result.out and "denormalised" in told.err
    assert "--mean and --std: got one of them" in refused("caption", tiny_run, file, "--mean", mean)
    np.save(std, -np.ones(263))
    assert f"{std}: negative" in refused("caption", tiny_run, file, "--mean", mean, "--std", std)
    np.save(std, np.ones(251))
    assert f"{std}: shape (251,)" in refused("caption", tiny_run, file, "--mean", mean, "--std", std)


@pytest.mark.parametrize("fps", ["0", "-5", "nan", "fast"])
def test_a_mistaken_frame_rate(refused: Callable, tiny_run: Path, files: list[Path], fps: str) -> None:
    assert "--fps" in refused("caption", tiny_run, files[0], f"--fps={fps}")


def test_options_that_no_file_needs(refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    joint_map = _text(tmp_path / "map.json", "{}")
    error = refused("caption", tiny_run, files[0], "--joint-map", joint_map)
    assert "--joint-map: none of the motions is a .bvh file" in error
    np.save(tmp_path / "vector.npy", np.ones(263))
    error = refused("caption", tiny_run, files[0], "--mean", tmp_path / "vector.npy", "--std", tmp_path / "vector.npy")
    assert "--mean and --std: none of the motions is a feature file" in error


def test_longer_than_the_training_motions(call: Callable, run_of: Callable, files: list[Path]) -> None:
    run = run_of(22, max_frames=80, max_frames_train=29)  # 29 kept frames are at most 59
    lines = call("caption", run, *files, "--max-length", 3).err.splitlines()
    lines = [line for line in lines if "shorter than" not in line]
    assert len(lines) == 2
    assert lines[1].endswith("longer than any motion the run was trained on (59 frames)")
    assert lines[1].startswith(f"m2t-fast: {files[3]}: ") and f"{files[0]} and 4 more files" in lines[0]


def test_joints_are_shown_as_a_map_to_edit(call: Callable, refused: Callable, tiny_run: Path, tmp_path: Path) -> None:
    joints = {"Hips": "", "Spine": "Hips", "Neck": "Spine", "Head": "Neck"}
    at = {"Hips": (0, 95, 0), "Spine": (0, 20, 0), "Neck": (0, 30, 0), "Head": (0, 10, 0)}
    for side, sign in (("Left", 1), ("Right", -1)):
        chain = [
            ("Arm", "Spine", (18 * sign, 28, 0)),
            ("ForeArm", "", (27 * sign, 0, 0)),
            ("Hand", "", (25 * sign, 0, 0)),
        ]
        chain += [("UpLeg", "Hips", (9 * sign, -5, 0)), ("Leg", "", (0, -41, 0)), ("Foot", "", (0, -42, 0))]
        before = ""
        for name, parent, offset in chain:
            joints[side + name], at[side + name] = parent or before, offset
            before = side + name

    def written(name: str) -> str:
        below = "".join(written(child) for child, parent in joints.items() if parent == name)
        below = below or "End Site\n{\nOFFSET 0 -4 12\n}\n"
        kind = "JOINT" if joints[name] else "ROOT"
        offset = " ".join(map(str, at[name]))
        return f"{kind} {name}\n{{\nOFFSET {offset}\nCHANNELS 3 Zrotation Xrotation Yrotation\n{below}}}\n"

    file, joint_map = tmp_path / "m.bvh", tmp_path / "map.json"
    rows = "\n".join(
        " ".join(str(frame * (number % 7) / 9) for number in range(3 * len(joints))) for frame in range(30)
    )
    file.write_text(f"HIERARCHY\n{written('Hips')}MOTION\nFrames: 30\nFrame Time: 0.05\n{rows}\n")
    result = call("caption", "--show-joints", file)
    assert result.code == 0 and "left_foot at LeftFoot.end" in result.err
    shown = json.loads(result.out)
    assert shown["left_hip"] == "LeftUpLeg" and shown["left_foot"] == "LeftFoot.end" and shown["neck"] == "Neck"
    assert set(shown["spine1"]) == {"Hips", "Spine"} and sum(shown["spine1"].values()) == pytest.approx(1, abs=1e-3)
    joint_map.write_text(result.out)
    page = tmp_path / "page.html"
    found = call("caption", tiny_run, file, "--max-length", 4, "--html", page)
    by_map = call("caption", tiny_run, file, "--joint-map", joint_map, "--max-length", 4)
    assert by_map.out == found.out and "joints by the joint map" in by_map.err
    assert "left_foot at LeftFoot.end" in page.read_text()
    assert "no RUN" in refused("caption", "--json")
    assert "no joints with names" in refused("caption", "--show-joints", joint_map)
    turned = call("caption", tiny_run, file, "--max-length", 4, "--up", "-y")
    assert turned.code == 0 and "-Y up" in turned.err


def test_several_samples_of_a_file(call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    many = tmp_path / "samples.npy"
    joints = np.load(files[0])
    np.save(many, np.stack([joints, joints[::-1]]).transpose(0, 2, 3, 1))
    result = call("caption", tiny_run, many, "--max-length", 4)
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [f"{many}#0", f"{many}#1"]
    described = [
        json.loads(line) for line in call("caption", tiny_run, many, "--json", "--max-length", 4).out.splitlines()
    ]
    assert [motion["file"] for motion in described] == [f"{many}#0", f"{many}#1"]
