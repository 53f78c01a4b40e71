"""What is wrong with many .bvh files is read as it is meant, with a note; what is not plain is refused."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.errors import UserError
from m2t_fast.motion import read_motions
from m2t_fast.motion.bvh import read_bvh
from m2t_fast.motion.from_capture import frame_rate
from m2t_fast.motion.options import MotionOptions
from m2t_fast.skeleton import HUMANML3D

_spec = importlib.util.spec_from_file_location("motion_zoo", Path(__file__).parent / "matching" / "zoo.py")
assert _spec and _spec.loader
zoo = sys.modules.setdefault("motion_zoo", importlib.util.module_from_spec(_spec))
if not hasattr(zoo, "draw"):
    _spec.loader.exec_module(zoo)

FRAMES = 24
PROP = "ROOT prop\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n"


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Somebody who walks, 24 frames, as a .bvh file."""
    return zoo.draw(tmp_path, "Mixamo", 5, frames=FRAMES).path.read_text()


def split(text: str) -> tuple[str, list[str]]:
    """Everything in front of the values, and the lines of values."""
    end = text.index("\n", text.index("Frame Time")) + 1
    return text[:end], text[end:].splitlines()


def wrapped(width: int) -> Callable[[str], str]:
    def change(text: str) -> str:
        head, rows = split(text)
        words = " ".join(rows).split()
        return head + "\n".join(" ".join(words[n : n + width]) for n in range(0, len(words), width)) + "\n"

    return change


def with_prop(text: str) -> str:
    head, rows = split(text)
    return head.replace("HIERARCHY\n", f"HIERARCHY\n{PROP}") + "\n".join(f"9 8 7 {row}" for row in rows) + "\n"


def with_prop_behind(text: str) -> str:
    head, rows = split(text)
    return head.replace("MOTION", f"{PROP}MOTION") + "\n".join(f"{row} 9 8 7" for row in rows) + "\n"


def lines(kept: int, end: str = "\n") -> Callable[[str], str]:
    def change(text: str) -> str:
        head, rows = split(text)
        return head + "\n".join((rows + rows)[:kept]) + end

    return change


@pytest.mark.parametrize(
    "change, frames, note",
    [
        (lines(20), 20, "20 frames, where the file says 24: cut off?"),
        (lines(20, ""), 19, "19 frames, where the file says 24: cut off?"),
        (lambda t: lines(20, "")(t)[:-80], 19, "19 frames, where the file says 24: cut off?"),
        (lines(27), FRAMES, "27 frames, where the file says 24"),
        (wrapped(10), FRAMES, "values of 24 frames in "),
        (wrapped(10**6), FRAMES, "values of 24 frames in 1 line"),
        (lambda t: t + "made with care\nby somebody\n", FRAMES, "text after the last frame left out"),
        (with_prop, FRAMES, "left out beside the body: prop"),
        (with_prop_behind, FRAMES, "left out beside the body: prop"),
        (lambda t: t.replace("Frame Time: 0.0333333", "Frame Time: 33.3333"), FRAMES, "taken as milliseconds, 30 fr"),
    ],
)
def test_read_as_meant(text: str, tmp_path: Path, change: Callable[[str], str], frames: int, note: str) -> None:
    path = tmp_path / "m.bvh"
    path.write_text(text)
    expected = read_bvh(path)
    path.write_text(change(text))
    (found,) = read_motions(path, HUMANML3D)
    assert any(note in said for said in found.notes), found.notes
    capture = read_bvh(path, mend=True)
    kept = [expected.names.index(name) for name in capture.names]
    assert set(expected.names) == set(capture.names)
    np.testing.assert_array_equal(capture.positions[:frames], expected.positions[:frames, kept])


@pytest.mark.parametrize(
    "change, reason",
    [
        (lines(0), "truncated: 0 lines"),
        (lambda t: lines(1, "")(t)[:-80], "truncated: 1 line of values"),
        (lambda t: lines(27)(t).rstrip() + " 5\n", "27 lines of values, but 'Frames: 24'"),
        (lambda t: lines(23)(t) + "and so on\n", "line "),
    ],
)
def test_what_is_not_plain_is_refused(text: str, tmp_path: Path, change: Callable[[str], str], reason: str) -> None:
    path = tmp_path / "m.bvh"
    path.write_text(change(text))
    with pytest.raises(UserError, match=reason):
        read_motions(path, HUMANML3D)


def test_two_bodies_are_refused(text: str, tmp_path: Path) -> None:
    head, rows = split(text)
    hierarchy = head[head.index("ROOT") : head.index("MOTION")]
    other = re.sub(r"(ROOT|JOINT) ", r"\1 other_", hierarchy)
    path = tmp_path / "m.bvh"
    path.write_text(head.replace("MOTION", other + "MOTION") + "\n".join(f"{row} {row}" for row in rows) + "\n")
    with pytest.raises(UserError, match="2 skeletons .*expected one body in a file"):
        read_motions(path, HUMANML3D)


@pytest.mark.parametrize(
    "seconds, fps",
    [
        (33.333, 30),
        (16.667, 60),
        (8.333, 120),
        (41.667, 24),
        (30, 30),
        (60, 60),
        (25, 25),
        (120, 120),
        (29.97, 29.97),
        (12.5, 12.5),
    ],
)
def test_frame_times_that_are_no_seconds(seconds: float, fps: float) -> None:
    assert frame_rate("m.bvh", seconds, None)[0] == pytest.approx(fps, rel=1e-3)


def _numbers(separator: str) -> Callable[[str], str]:
    def written(text: str) -> str:
        head, rows = split(text)
        return head + "\n".join(separator.join(row.split()) for row in rows) + "\n"

    return written


def _decimal_commas(text: str) -> str:
    head, rows = split(text)
    return head + "\n".join(rows).replace(".", ",") + "\n"


def _hierarchy_on_one_line(text: str) -> str:
    hierarchy, motion = text.split("MOTION")
    return " ".join(hierarchy.split()) + "\nMOTION" + motion


WRITINGS: dict[str, Callable[[str], str]] = {
    "EndSite": lambda text: text.replace("End Site", "EndSite"),
    "End_Site": lambda text: text.replace("End Site", "End_Site"),
    "end site": lambda text: text.replace("End Site", "end site"),
    "an End without Site": lambda text: text.replace("End Site", "End"),
    "a comment on top": lambda text: f"# exported by somebody\n{text}",
    "comments between joints": lambda text: re.sub(r"(?m)^(\s*)OFFSET", r"\1# in {cm}\n\1// and\n\1OFFSET", text),
    "comments behind MOTION": lambda text: text.replace("MOTION\n", "MOTION\n# 20 per second\n"),
    "comments among values": lambda text: split(text)[0] + "# one frame per line\n" + "\n".join(split(text)[1]),
    "FrameTime": lambda text: text.replace("Frame Time", "FrameTime"),
    "Frame Time first": lambda text: re.sub(r"(Frames:.*)\n(Frame Time:.*)\n", r"\2\n\1\n", text),
    "OFFSETs with commas": lambda text: re.sub(r"(OFFSET \S+) (\S+) (\S+)", r"\1, \2, \3", text),
    "values with commas": _numbers(","),
    "values with commas and spaces": _numbers(", "),
    "values with semicolons": _numbers(" ; "),
    "decimal commas and semicolons": lambda text: _decimal_commas(_numbers("; ")(text)),
    "the hierarchy on one line": _hierarchy_on_one_line,
}  # fmt: skip


@pytest.mark.parametrize("writing", WRITINGS)
def test_other_writings_of_the_same_file_are_the_same_motion(tmp_path: Path, text: str, writing: str) -> None:
    plain, other = tmp_path / "plain.bvh", tmp_path / "other.bvh"
    plain.write_text(text)
    changed = WRITINGS[writing](text)
    assert changed != text
    other.write_text(changed)
    expected, found = read_bvh(plain), read_bvh(other)
    assert found.names == expected.names and found.parents == expected.parents
    assert found.frame_time == expected.frame_time
    np.testing.assert_array_equal(found.positions, expected.positions)


def test_a_file_without_a_frame_time_is_read_at_a_frame_rate_that_is_given(tmp_path: Path, text: str) -> None:
    path = tmp_path / "untimed.bvh"
    path.write_text(re.sub(r"Frame Time:.*\n", "", text))
    with pytest.raises(UserError, match=r"no frame time in it.*--fps N"):
        read_motions(path, HUMANML3D)
    (motion,) = read_motions(path, HUMANML3D, MotionOptions(fps=20))
    assert len(motion.joints) == FRAMES


def test_a_line_of_values_that_is_missing_after_comments_is_still_told_by_its_number(tmp_path: Path, text: str) -> None:
    head, rows = split("# by somebody\n" + text)
    path = tmp_path / "short.bvh"
    rows[1] = rows[1].rsplit(" ", 1)[0]
    path.write_text(head + "# values\n" + "\n".join(rows) + "\n")
    number = head.count("\n") + 3  # the comment, and the second frame
    with pytest.raises(UserError, match=f"line {number}: .* values, but"):
        read_bvh(path)
