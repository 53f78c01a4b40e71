"""GIF and MP4: how many pictures, how long, what they show, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.interpretation import CaptionedMotion, animation, save_animation
from m2t_fast.interpretation.animation import gif_rate, times_of
from m2t_fast.interpretation.camera import Camera, between, pose_at
from m2t_fast.interpretation.canvas import PART_COLOURS, SIZE, MotionCanvas, round_seconds

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg on this machine")
HOSTILE = ("$x^$", "\\frac", "</script>", "日本", "a\nb", "w" * 300)


@given(st.integers(1, 60), st.floats(2, 40), st.floats(5, 60))
def test_times(frames: int, fps: float, rate: float) -> None:
    motion = CaptionedMotion("m", np.zeros((frames, 22, 3)), (), [], [], [], [], [], fps=fps)
    times = times_of(motion, rate)
    assert times[0] == 0 and times[-1] == frames - 1 and (np.diff(times) >= -1e-9).all()
    length = (frames - 1) / fps + max(animation.HOLD, 1 / rate)
    assert len(times) / rate == pytest.approx(length, abs=1.6 / rate)


@given(st.floats(0.5, 200))
def test_gif_rates_are_what_a_gif_can_say(rate: float) -> None:
    hundredths = 100 / gif_rate(rate)
    assert hundredths == pytest.approx(round(hundredths)) and gif_rate(rate) <= 50
    if rate <= 20:
        assert gif_rate(rate) == pytest.approx(rate, rel=0.12)


def test_poses_between_frames(captioned: Callable[..., CaptionedMotion]) -> None:
    joints = captioned(frames=12).joints
    for frame in range(12):
        np.testing.assert_allclose(pose_at(joints, float(frame)), joints[frame], atol=1e-12)
        np.testing.assert_allclose(between(joints, float(frame)), joints[frame], atol=1e-12)
    line = np.arange(12.0)[:, None, None] * np.ones((12, 22, 3))
    np.testing.assert_allclose(pose_at(line, 4.3), 4.3, atol=1e-12)
    np.testing.assert_allclose(between(line, 4.3), 4.3, atol=1e-12)


def test_the_camera_sees_the_body_from_its_front(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned()
    motion.joints[:, 1, [0, 2]] = motion.joints[:, 0, [0, 2]] + [0.1, 0.0]  # the left hip: the body faces +z
    motion.joints[:, 2, [0, 2]] = motion.joints[:, 0, [0, 2]] - [0.1, 0.0]
    camera = Camera(motion, 600, 400)
    for frame in (0.0, 10.5, 39.0):
        places, scale = camera.project(pose_at(motion.joints, frame), frame)
        assert (scale > 0).all() and places[1, 0] > places[2, 0]  # left is on the right of who looks
        assert (places.min(0) > 0).all() and (places.max(0) < [600, 400]).all()
        ahead, ahead_scale = camera.project(motion.joints[0, 0] + [0, 0, 1.0], 0.0)
        assert ahead_scale > camera.project(motion.joints[0, 0], 0.0)[1]  # what is before the body is nearer
        up = camera.project(motion.joints[0, 0] + [0, 0.5, 0], 0.0)[0] - camera.project(motion.joints[0, 0], 0.0)[0]
        assert up[1] > 0 and abs(up[0]) < 5


def gold(picture: np.ndarray) -> int:
    """Pixels of the box in the stage: more yellow than anything else there."""
    stage = picture[: SIZE[1] - 222, :580].astype(int)
    return int(((stage[..., 0] - stage[..., 2]) > 25).sum())


def test_the_box_fades_with_the_window_and_the_disks_grow(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned(words=["waves"], gate=[0.9])  # the window is centred at frame 19.5
    canvas = MotionCanvas(motion, 0.5)
    pictures = {frame: canvas.draw(frame) for frame in (0.0, 12.0, 19.5)}
    assert all(picture.shape == (SIZE[1], SIZE[0], 3) and picture.dtype == np.uint8 for picture in pictures.values())
    assert gold(pictures[0.0]) < 50 < gold(pictures[12.0]) < gold(pictures[19.5])
    assert canvas.bars[1].get_width() == pytest.approx(motion.window[0, 19] * 0.9, rel=0.02)
    sizes = canvas.disks.get_sizes()[22:]  # the joints' own, after their halos
    torso, leg = sizes[3], sizes[4]
    assert torso > 2 * leg and canvas.boxes[0].get_visible()
    np.testing.assert_array_equal(canvas.draw(12.0), pictures[12.0])  # nothing is left of other pictures
    assert not np.array_equal(MotionCanvas(motion, 0.95).draw(19.5), pictures[19.5])
    assert gold(MotionCanvas(motion, 0.95).draw(19.5)) < 50


def test_the_current_word_is_marked(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned()
    canvas = MotionCanvas(motion, 0.5)
    for frame, number in enumerate(motion.current_words(0.5)):
        canvas.draw(float(frame))
        assert [box.get_visible() for box in canvas.boxes] == [place == number for place in range(5)]


def test_the_reference_stands_beside(captioned: Callable[..., CaptionedMotion]) -> None:
    canvas = MotionCanvas(captioned(reference="he walks, then $waves$ " * 9), 0.5)
    (text,) = (text for text in canvas.figure.texts if text.get_text().startswith("reference: he walks"))
    assert text.get_text().count("\n") == 4
    box = text.get_window_extent(canvas.canvas.get_renderer())
    assert box.x0 >= 580 and box.x1 <= SIZE[0] and box.y0 >= 216


@pytest.mark.parametrize("words", [(), HOSTILE, ("word",) * 60])
@pytest.mark.parametrize(("frames", "joints"), [(1, 22), (30, 21)])
def test_any_words_and_lengths(captioned: Callable, words: tuple[str, ...], frames: int, joints: int) -> None:
    motion = captioned(frames=frames, words=words, joints=joints, name="long/" * 30 + "$x^$.npy")
    picture = MotionCanvas(motion, 0.5).draw(float(frames - 1))
    assert picture.std() > 5


def test_a_gif(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "motion.gif"
    path.write_bytes(b"old")
    motions = [captioned(frames=6), captioned(frames=3, joints=21)]
    assert save_animation(path, motions, "gif") == path
    with Image.open(path) as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
        assert image.size == SIZE and image.info["loop"] == 0
    assert sum(durations) == pytest.approx(1000 * (5 / 10 + 2 / 10 + 2 * animation.HOLD), abs=150)
    assert [file.name for file in tmp_path.iterdir()] == ["motion.gif"]


def test_a_long_gif_shows_fewer_pictures_at_the_same_speed(
    captioned: Callable[..., CaptionedMotion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.setattr(animation, "MOST_GIF_PICTURES", 12)
    path = save_animation(tmp_path / "motion.gif", [captioned(frames=61)], "gif")
    with Image.open(path) as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
    assert len(durations) <= 13 and sum(durations) == pytest.approx(6800, abs=700)


def test_a_gif_keeps_the_colours_and_is_small(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    from PIL import Image, ImageColor

    motion = captioned(frames=21, words=["waves", "kicks", "turns"], gate=[0.9, 0.9, 0.9])
    path = save_animation(tmp_path / "motion.gif", [motion], "gif")
    assert path.stat().st_size < 600_000  # two seconds
    seen = set()
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            seen |= {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    bars = [PART_COLOURS[part] for part in (1, 2, 3)]  # the parts these words look at
    assert {ImageColor.getrgb(colour) for colour in bars} <= seen


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0.05, 3.95, [0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
        (0.05, 0.05, [0.05]),
        (0.05, 0.06, [0.05, 0.06]),
        (10.0, 70.0, [10, 20, 30, 40, 50, 60, 70]),
    ],
)
def test_times_are_round(first: float, last: float, expected: list[float]) -> None:
    assert round_seconds(first, last) == pytest.approx(expected)


@needs_ffmpeg
def test_an_mp4(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    path = save_animation(tmp_path / "film", [captioned(frames=6)], "mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["film"]
    raw = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], 3).astype(float)
    assert len(pictures) == 11 + round(20 * animation.HOLD)
    drawn = MotionCanvas(captioned(frames=6), 0.5).draw(0.0)
    assert np.abs(pictures[0] - drawn).mean() < 6


def _program(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a program called ffmpeg before all others."""
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(f"#!{sys.executable}\n{code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_an_ffmpeg_that_fails(
    captioned: Callable[..., CaptionedMotion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"old")
    _program(tmp_path / "bin", "import sys; sys.exit('first line\\nno encoder for it')", monkeypatch)
    with pytest.raises(UserError, match="^ffmpeg: cannot write the MP4: no encoder for it$"):
        save_animation(path, [captioned(frames=4)], "mp4")
    (tmp_path / "bin" / "ffmpeg").write_text("#!/nowhere\n")
    with pytest.raises(UserError, match="ffmpeg: cannot run: "):
        save_animation(path, [captioned(frames=4)], "mp4")
    (tmp_path / "bin" / "ffmpeg").unlink()
    with pytest.raises(UserError, match="an MP4 needs the program ffmpeg, which is not installed"):
        save_animation(path, [captioned(frames=4)], "mp4")
    assert path.read_bytes() == b"old" and sorted(p.name for p in tmp_path.iterdir()) == ["bin", "film.mp4"]


def test_what_is_not_installed(
    captioned: Callable[..., CaptionedMotion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'm2t_fast\[plot\]'"):
        save_animation(tmp_path / "motion.gif", [captioned()], "gif")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motions": []}, "motions: got none"),
        ({"name": "avi"}, "name: got 'avi', expected one of gif, mp4"),
        ({"threshold": -0.1}, "threshold: got -0.1"),
    ],
)
def test_refused_arguments(captioned: Callable, tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_animation(**{"path": tmp_path / "a.gif", "motions": [captioned()], "name": "gif", **arguments})


def test_a_file_that_cannot_be_written(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        save_animation(tmp_path / "nowhere" / "a.gif", [captioned(frames=2)], "gif")
