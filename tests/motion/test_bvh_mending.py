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
        (wrapped(10**6), FRAMES, "values of 24 frames in 1 lines"),
        (lambda t: t + "made with care\nby somebody\n", FRAMES, "text behind the last frame left out"),
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
        (lambda t: lines(1, "")(t)[:-80], "truncated: 1 lines"),
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
