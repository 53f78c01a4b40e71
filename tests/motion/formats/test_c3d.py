"""Marker files: joints of markers of a known set, gaps, and labels that are of none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import JOINT_NAMES, place, read_motion
from m2t_fast.motion.formats.c3d_file import read_points
from m2t_fast.skeleton import HUMANML3D

ezc3d = pytest.importorskip("ezc3d", reason="ezc3d writes the .c3d files")
NAMES = JOINT_NAMES["humanml3d"]


def markers(joints: np.ndarray, waist: tuple[str, str]) -> dict[str, np.ndarray]:
    """Markers on the skin of joints (T, 22, 3), metres, Y up, facing +Z."""
    at = {name: joints[:, index] for index, name in enumerate(NAMES)}
    found = {"C7": at["neck"] + [0, 0, -0.05], "CLAV": at["neck"] + [0, -0.06, 0.08]}
    for side, out in (("left", np.array([1.0, 0, 0])), ("right", np.array([-1.0, 0, 0]))):
        letter = side[0].upper()
        found[f"{letter}{waist[0]}"] = at["pelvis"] + 0.12 * out + [0, 0.0, 0.07]
        found[f"{letter}{waist[1]}"] = at["pelvis"] + 0.05 * out + [0, 0.02, -0.1]
        found[f"{letter}KNE"] = at[f"{side}_knee"] + 0.05 * out
        found[f"{letter}ANK"] = at[f"{side}_ankle"] + 0.035 * out
        found[f"{letter}TOE"] = at[f"{side}_foot"]
        found[f"{letter}SHO"] = at[f"{side}_shoulder"] + [0, 0.05, 0]
        found[f"{letter}ELB"] = at[f"{side}_elbow"]
        found[f"{letter}WRA"] = at[f"{side}_wrist"] + [0, 0, 0.03]
        found[f"{letter}WRB"] = at[f"{side}_wrist"] - [0, 0, 0.03]
        found[f"{letter}FHD"] = at["head"] + 0.07 * out + [0, 0.09, 0.09]
        found[f"{letter}BHD"] = at["head"] + 0.07 * out + [0, 0.09, -0.07]
    return found


def write(path: Path, found: dict[str, np.ndarray], prefix: str = "") -> Path:
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [100]
    file["parameters"]["POINT"]["LABELS"]["value"] = tuple(prefix + name for name in found)
    tracks = np.stack(list(found.values()), axis=1)  # frames, markers, 3
    z_up = 1000 * np.stack([tracks[..., 0], -tracks[..., 2], tracks[..., 1]], axis=0)
    points = np.concatenate([z_up, np.ones_like(z_up[:1])]).transpose(0, 2, 1)
    file["data"]["points"] = points
    file.write(str(path))
    return path


@pytest.mark.parametrize("waist", [("ASI", "PSI"), ("FWT", "BWT")])
@pytest.mark.parametrize("prefix", ["", "Subject:"])
def test_joints(waist: tuple[str, str], prefix: str, motions: Callable, tmp_path: Path) -> None:
    standing = np.repeat(motions(22)[0][:1].astype(np.float64), 60, axis=0)
    standing += np.linspace(0, 1, 60)[:, None, None] * [0, 0, 1.5]
    found = markers(standing, waist)
    found["LKNE"][20:25] = np.nan
    joints, notes = read_motion(write(tmp_path / "m.c3d", found, prefix), HUMANML3D)
    off = np.linalg.norm(joints - place(standing, HUMANML3D)[::5], axis=2).mean(axis=0)
    assert off.max() < 0.1 and off.mean() < 0.05, dict(zip(NAMES, off.round(3), strict=True))
    assert notes[0] == f".c3d of {len(found)} points" and "1 marker interpolated over gaps" in notes
    assert "Z up" in notes and any(note.startswith("unit mm") for note in notes)


def test_other_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "m.c3d", {f"M{number:03}": np.ones((9, 3)) for number in range(5)})
    with pytest.raises(UserError, match="markers of no known set .* it has M000, M001"):
        read_motion(path, HUMANML3D)


@pytest.mark.parametrize(("count", "analogue"), [(3, False), (255, True), (299, False)])
def test_the_same_as_the_library(count: int, analogue: bool, tmp_path: Path) -> None:
    draw = np.random.default_rng(count)
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [50.0]
    file["parameters"]["POINT"]["LABELS"]["value"] = tuple(f"M{number}" for number in range(count))
    points = np.concatenate([draw.normal(0, 1000, (3, count, 7)), np.ones((1, count, 7))])
    points[:3, 0, 2] = np.nan
    file["data"]["points"] = points
    if analogue:
        file["parameters"]["ANALOG"]["RATE"]["value"] = [200.0]
        file["parameters"]["ANALOG"]["LABELS"]["value"] = ("a", "b", "c")
        file["data"]["analogs"] = draw.normal(size=(1, 3, 28))
    file.write(str(tmp_path / "m.c3d"))
    theirs, ours = ezc3d.c3d(str(tmp_path / "m.c3d")), read_points(tmp_path / "m.c3d")
    np.testing.assert_array_equal(ours.places, np.array(theirs["data"]["points"][:3]).transpose(2, 1, 0))
    assert ours.labels == [f"M{number}" for number in range(count)] and ours.rate == 50.0


@pytest.mark.parametrize("processor", [84, 85, 86])
@pytest.mark.parametrize("scale", [-1.0, 0.5])
def test_processors_and_integers(processor: int, scale: float, tmp_path: Path) -> None:
    """A file made by hand: two markers, three frames, the second marker lost in the last."""
    order = ">" if processor == 86 else "<"

    def real(numbers: np.ndarray) -> bytes:
        if processor != 85:
            return numbers.astype(f"{order}f4").tobytes()
        return (4 * numbers).astype("<f4").view("<u2").reshape(-1, 2)[:, ::-1].tobytes()

    places = np.arange(18.0).reshape(3, 2, 3) + 1
    rows = np.concatenate([places, np.zeros((3, 2, 1))], axis=2)
    rows[2, 1, 3] = -1
    header = struct.pack(f"{order}BBHHHHH", 2, 0x50, 2, 0, 1, 3, 0) + real(np.array([scale]))
    header += struct.pack(f"{order}HH", 3, 0) + real(np.array([25.0]))

    def record(name: bytes, group: int, body: bytes) -> bytes:
        return struct.pack("bb", len(name), group) + name + struct.pack(f"{order}H", len(body) + 2) + body

    labels = record(b"LABELS", 1, struct.pack("bBBB", -1, 2, 4, 2) + b"LASIRASI" + b"\0")
    parameters = bytes([0, 0, 1, processor]) + record(b"POINT", -1, b"\0") + labels + bytes(2)
    data = real(rows) if scale < 0 else rows.astype(f"{order}i2").tobytes()
    (tmp_path / "m.c3d").write_bytes(header.ljust(512, b"\0") + parameters.ljust(512, b"\0") + data)
    found = read_points(tmp_path / "m.c3d")
    expected = places * (1.0 if scale < 0 else scale)
    expected[2, 1] = np.nan
    np.testing.assert_array_equal(found.places, expected)
    assert found.labels == ["LASI", "RASI"] and found.rate == 25.0


def test_a_damaged_file_that_ends_the_library(tmp_path: Path) -> None:
    """Offsets and sizes of the parameters beyond the file: one line each."""
    path = write(tmp_path / "m.c3d", {f"M{number}": np.ones((9, 3)) for number in range(5)})
    whole, refused = path.read_bytes(), 0
    for at in range(512, 1024, 3):
        path.write_bytes(whole[:at] + b"\xff\x7f" + whole[at + 2 :])
        try:
            read_points(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("keep", [0, 100, 600])
def test_truncated(keep: int, tmp_path: Path) -> None:
    path = write(tmp_path / "m.c3d", {f"M{number}": np.ones((90, 3)) for number in range(9)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="truncated") as caught:
        read_motion(path, HUMANML3D)
    assert str(caught.value).count(str(path)) == 1
