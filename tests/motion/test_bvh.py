"""The .bvh reader: kinematics worked by hand, every rotation order, spellings, and what it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.motion import read_bvh
from m2t_fast.motion.bvh import axis_rotation

TEXT = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 1 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 2 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.05
0 0 0 0 0 0 0 0 0
5 6 7 90 0 0 0 90 0
"""


def written(folder: Path, text: str, name: str = "motion.bvh") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_by_hand(tmp_path: Path) -> None:
    bvh = read_bvh(written(tmp_path, TEXT))
    assert (bvh.names, bvh.parents) == (("Hips", "Spine", "Spine.end"), (-1, 0, 1))
    assert (bvh.frame_time, bvh.added) == (0.05, False)
    np.testing.assert_allclose(bvh.rest, [[1, 2, 3], [1, 3, 3], [1, 5, 3]])
    np.testing.assert_allclose(bvh.positions[0], [[0, 0, 0], [0, 1, 0], [0, 3, 0]], atol=1e-12)
    # A quarter turn about Z takes +Y to -X; in that frame a quarter turn about X takes the tip's +Y to +Z.
    np.testing.assert_allclose(bvh.positions[1], [[5, 6, 7], [4, 6, 7], [4, 6, 9]], atol=1e-12)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("Z X", (0, 0, 2)), ("X Z", (-2, 0, 0)), ("Y X", (2, 0, 0)), ("X Y", (0, 0, 2)), ("Y Z", (0, 0, 2))],
)
def test_two_quarter_turns_by_hand(tmp_path: Path, order: str, expected: tuple[float, ...]) -> None:
    first, second = order.split()
    text = TEXT.replace("CHANNELS 3 Zrotation Xrotation Yrotation", f"CHANNELS 2 {first}rotation {second}rotation")
    text = text[: text.index("Frames:")] + "Frames: 1\nFrame Time: 0.05\n0 0 0 0 0 0 90 90\n"
    bvh = read_bvh(written(tmp_path, text))
    np.testing.assert_allclose(bvh.positions[0, 2] - bvh.positions[0, 1], expected, atol=1e-12)


@given(
    order=st.sampled_from([*itertools.permutations("XYZ"), ("X",), ("Y", "Z"), ("Z", "Y"), ()]),
    angles=st.lists(st.floats(-360, 360), min_size=3, max_size=3),
    offset=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
)
def test_any_rotation_order(
    tmp_path_factory: pytest.TempPathFactory, order: tuple[str, ...], angles: list[float], offset: list[float]
) -> None:
    channels = " ".join(f"{axis}rotation" for axis in order)
    text = TEXT.replace("CHANNELS 3 Zrotation Xrotation Yrotation", f"CHANNELS {len(order)} {channels}")
    text = text.replace("OFFSET 0 2 0", f"OFFSET {' '.join(map(repr, offset))}")
    values = " ".join(repr(angle) for _, angle in zip(order, angles, strict=False))
    text = text[: text.index("Frames:")] + f"Frames: 1\nFrame Time: 0.05\n0 0 0 0 0 0 {values}\n"
    bvh = read_bvh(written(tmp_path_factory.mktemp("bvh"), text))
    expected = np.array(offset)
    for axis, angle in list(zip(order, angles, strict=False))[::-1]:  # the last of the product acts first
        sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        x, y, z = expected
        expected = np.array(
            {
                "X": [x, cosine * y - sine * z, sine * y + cosine * z],
                "Y": [cosine * x + sine * z, y, -sine * x + cosine * z],
                "Z": [cosine * x - sine * y, sine * x + cosine * y, z],
            }[axis]
        )
    np.testing.assert_allclose(bvh.positions[0, 2] - bvh.positions[0, 1], expected, atol=1e-9)


def test_position_channels_of_other_joints(tmp_path: Path) -> None:
    text = TEXT.replace("CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 3 Xposition Yposition Zposition")
    text = text[: text.index("Frames:")] + "Frames: 3\nFrame Time: 0.05\n"
    whole = "".join(f"0 0 0 0 0 0 0.1 1.{i} 0\n" for i in range(3))  # they hold the whole offset
    bvh = read_bvh(written(tmp_path, text + whole))
    assert not bvh.added
    np.testing.assert_allclose(bvh.positions[:, 1], [[0.1, 1, 0], [0.1, 1.1, 0], [0.1, 1.2, 0]])
    more = "".join(f"0 0 0 90 0 0 0.1 0.{i} 0\n" for i in range(3))  # they hold what is added to it
    bvh = read_bvh(written(tmp_path, text + more))
    assert bvh.added
    np.testing.assert_allclose(bvh.positions[:, 1], [[-1, 0.1, 0], [-1.1, 0.1, 0], [-1.2, 0.1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    "spelled",
    [
        lambda t: "\ufeff" + t,
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("ROOT Hips\n{", "ROOT Hips {").replace("End Site\n    {", "End Site {"),
        lambda t: t.replace("  ", "\t").replace("\n}", "\n\n}\n"),
        lambda t: t.replace("position", "POSITION").replace("Zrotation", "zRotation"),
        lambda t: t.replace("Frames: 2", "Frames:\t2").replace("Frame Time: 0.05", "Frame Time:   .05"),
        lambda t: t + "\n\n",
    ],
)
def test_spellings(tmp_path: Path, spelled: Callable[[str], str]) -> None:
    plain, other = read_bvh(written(tmp_path, TEXT)), read_bvh(written(tmp_path, spelled(TEXT), "other.bvh"))
    assert (other.names, other.frame_time) == (plain.names, plain.frame_time)
    np.testing.assert_array_equal(other.positions, plain.positions)


def test_names_with_spaces_and_other_letters(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("JOINT Spine", "JOINT Bip01 L Thigh"))
    assert read_bvh(path).names[1:] == ("Bip01 L Thigh", "Bip01 L Thigh.end")
    path.write_bytes(TEXT.replace("JOINT Spine", "JOINT R\u00fccken").encode("latin-1"))
    assert read_bvh(path).names[1] == "R\u00fccken"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: "", "not a .bvh file (it does not begin with HIERARCHY)"),
        (lambda t: "a person walks\n", "not a .bvh file"),
        (lambda t: t[: t.index("MOTION")], "truncated: no MOTION after line 15"),
        (lambda t: t[:100], "truncated: no MOTION"),
        (lambda t: t[: t.index("5 6 7")], "truncated: 1 line of values, but 'Frames: 2'"),
        (lambda t: t[:-6], "line 20: 7 values, but the hierarchy has 9 channels"),
        (lambda t: t + "0 0 0 0 0 0 0 0 0\n", ": 3 lines of values, but 'Frames: 2'"),
        (lambda t: t.replace("5 6 7 90", "5 6 7 8 90"), "line 20: 10 values, but the hierarchy has 9 channels"),
        (lambda t: t.replace("5 6 7 90", "5 6,5 7 90"), "line 20: expected 9 numbers"),
        (lambda t: t.replace("5 6 7 90", "5 nan 7 90"), "line 20: NaN or infinite values"),
        (lambda t: t.replace("5 6 7 90", "5 1e999 7 90"), "line 20: NaN or infinite values"),
        (lambda t: t.replace("Frames: 2", "Frames: 0"), "no frames (Frames: 0)"),
        (lambda t: t.replace("Frames: 2", "Frames: two"), "expected 'Frames: N' and 'Frame Time: SECONDS'"),
        (lambda t: t.replace("Frame Time: 0.05\n", ""), "expected 'Frames: N' and 'Frame Time: SECONDS'"),
        (lambda t: t.replace("0.05", "fast"), "frame time 'fast', expected seconds"),
        (lambda t: t.replace("CHANNELS 3 Z", "CHANNELS 4 Z"), "line 9: 'CHANNELS 4"),
        (lambda t: t.replace("CHANNELS 3 Zrotation", "CHANNELS 3 Wrotation"), "line 9: 'CHANNELS 3 Wrotation"),
        (lambda t: t.replace("CHANNELS 3 Zrotation", "CHANNELS 3 Xrotation"), "line 9: 'CHANNELS 3"),
        (lambda t: t.replace("OFFSET 0 1 0", "OFFSET 0 1"), "line 8: 'OFFSET 0 1', expected OFFSET and three numbers"),
        (lambda t: t.replace("OFFSET 0 1 0", "OFFSET 0 nan 0"), "line 8: 'OFFSET 0 nan 0'"),
        (lambda t: t.replace("    OFFSET 0 1 0\n", ""), "joint 'Spine' has no OFFSET"),
        (lambda t: t.replace("JOINT Spine", "JOINT"), "line 6: JOINT without a name"),
        (lambda t: t.replace("JOINT Spine", "ROOT Spine"), "line 6: a second skeleton, 'Spine'"),
        (lambda t: t.replace("JOINT Spine", "BONE Spine"), "line 6: 'BONE Spine', expected ROOT, JOINT"),
        (lambda t: t.replace("ROOT Hips", "JOINT Hips"), "line 2: 'JOINT Hips' outside of a ROOT"),
        (lambda t: t.replace("}\nMOTION", "MOTION"), "the hierarchy ends inside 'Hips'"),
        (lambda t: t.replace("}\nMOTION", "}\n}\nMOTION"), "line 16: one brace too many"),
        (lambda t: t.replace("ROOT Hips\n{", "ROOT Hips\n{\n{"), "line 4: a brace that opens no"),
        (lambda t: t[t.index("MOTION") :].replace("MOTION", "HIERARCHY\nMOTION"), "no ROOT in the hierarchy"),
        (lambda t: t.replace("5 6 7", "1e35 6 7"), "positions of 1e+35 are too large"),
        (lambda t: "\0\1" + t, "not text"),
    ],
)
def test_bad_files(tmp_path: Path, spoil: Callable[[str], str], message: str) -> None:
    path = written(tmp_path, spoil(TEXT))
    with pytest.raises(UserError) as error:
        read_bvh(path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read: No such file"):
        read_bvh(tmp_path / "none.bvh")


@pytest.mark.parametrize("axis", range(3))
def test_axis_rotations_are_right_handed(axis: int) -> None:
    one, two = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
    np.testing.assert_allclose(axis_rotation(axis, np.array([np.pi / 2]))[0] @ one, two, atol=1e-12)
    assert axis_rotation(axis, np.zeros((2, 5))).shape == (2, 5, 3, 3)


def test_a_file_that_ends_anywhere_or_has_any_byte_changed_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "motion.bvh"
    content = TEXT.encode()
    rng = np.random.default_rng(0)
    spoiled = [content[:length] for length in range(0, len(content), 3)]
    for _ in range(300):
        changed = bytearray(content)
        changed[rng.integers(len(content))] = rng.integers(256)
        spoiled.append(bytes(changed))
    refused = 0
    for bad in spoiled:
        path.write_bytes(bad)
        try:
            read_bvh(path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > len(spoiled) / 3


def scaled(values: str) -> str:
    """A file whose second joint has scale channels with these values in both frames."""
    text = TEXT.replace("CHANNELS 3 Z", "CHANNELS 6 Xscale Yscale Zscale Z")
    head, first, second, _ = text.rsplit("\n", 3)
    return "\n".join(
        [head, *(f"{' '.join(row.split()[:6])} {values} {' '.join(row.split()[6:])}" for row in (first, second))]
    )


@pytest.mark.parametrize("values", ["1 1 1", "1.0001 1 1", "0 0 0"])
def test_scale_channels_that_scale_nothing(tmp_path: Path, values: str) -> None:
    plain, read = (read_bvh(written(tmp_path, text)) for text in (TEXT, scaled(values)))
    np.testing.assert_array_equal(read.positions, plain.positions)


def test_joints_that_are_scaled_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="joint 'Spine' is scaled by up to 1.5; expected scale channels of 1"):
        read_bvh(written(tmp_path, scaled("1 1.5 1")))


def test_three_rotations_about_two_axes(tmp_path: Path) -> None:
    text = TEXT.replace("CHANNELS 3 Zrotation Xrotation Yrotation", "CHANNELS 3 Zrotation Xrotation Zrotation")
    turned = read_bvh(written(tmp_path, text.replace("0 90 0\n", "90 90 0\n"))).positions[1]
    # In the frame of the root, turned by 90 degrees about Z: Z and then X take the tip's +Y to +Z.
    np.testing.assert_allclose(turned, [[5, 6, 7], [4, 6, 7], [4, 6, 9]], atol=1e-12)
    for channels in ("Zrotation Zrotation Xrotation", "Zrotation Xrotation Xrotation"):
        with pytest.raises(UserError, match="a channel appears twice"):
            read_bvh(written(tmp_path, TEXT.replace("3 Zrotation Xrotation Yrotation", f"3 {channels}")))


def test_frames_counted_with_a_point(tmp_path: Path) -> None:
    assert len(read_bvh(written(tmp_path, TEXT.replace("Frames: 2", "Frames: 2.0"))).positions) == 2
