"""Captioned motions as an animation, GIF or MP4: the gold box, the disks of the joints, and the word being said."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path
from m2t_fast.interpretation.attention_map import require_matplotlib
from m2t_fast.interpretation.canvas import NAMED_COLOURS, SIZE, MotionCanvas
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.motion_words import MOTION_WORD
from m2t_fast.progress import Progress

FORMATS: tuple[str, ...] = ("gif", "mp4")
STEPS = 2
"""Pictures drawn for each frame of a motion: 20 per second for motions at 10 Hz."""
GIF_RATE = 100 / 9
"""Most pictures per second of a GIF, whose pictures are large: an MP4 is smoother."""
GIF_COLOURS = 64
MOST_GIF_PICTURES = 900
"""A GIF is built in memory; one with more pictures shows fewer per second, at the same speed."""
HOLD = 0.8
"""Seconds that the last frame of a motion stays."""


def require_writer(name: str) -> None:
    """Raise now what writing an animation in this format would raise.

    Raises:
        UserError: matplotlib is not installed, or for mp4 ffmpeg is not.
    """
    require_matplotlib()
    if name == "gif" and importlib.util.find_spec("PIL") is None:
        raise UserError("a GIF needs pillow, which is not installed: pip install 'm2t_fast[plot]'")
    if name == "mp4" and shutil.which("ffmpeg") is None:
        raise UserError("an MP4 needs the program ffmpeg, which is not installed (apt-get install ffmpeg)")


def save_animation(
    path: str | Path,
    motions: Sequence[CaptionedMotion],
    name: str,
    threshold: float = MOTION_WORD,
    progress: bool = False,
) -> Path:
    """Write motions, one after the other, as an animation; an existing file is replaced as a whole.

    Every picture shows the skeleton, with a disk at each joint as large as window * spatial weight of the current word
    in that frame, and a gold box as opaque as the window (:meth:`CaptionedMotion.current_words` says which word).

    Args:
        path: the file to write.
        motions: at least one.
        name: ``gif`` or ``mp4``.
        threshold: motion words are those with at least this gate.
        progress: show progress on stderr.

    Raises:
        ValueError: no motions, another format, or a threshold out of range.
        UserError: matplotlib or ffmpeg is missing or fails, or the file cannot be written.
    """
    if len(motions) == 0:
        raise ValueError("motions: got none, expected at least one motion")
    if name not in FORMATS:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(FORMATS)}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: got {threshold!r}, expected a number from 0 to 1")
    require_writer(name)
    path = Path(path)
    # All motions of a run have one rate; of motions at several the fastest rules, so that none loses frames.
    rate = STEPS * max(motion.fps for motion in motions)
    total = sum(len(times_of(motion, rate)) for motion in motions)
    if name == "gif":
        fitting = min(1.0, MOST_GIF_PICTURES / total)
        rate = gif_rate(min(rate * fitting, GIF_RATE))
        total = sum(len(times_of(motion, rate)) for motion in motions)
    pictures = _counted(_pictures(motions, rate, threshold), Progress(total, f"drawing {name}", "pictures", progress))
    with atomic_path(path) as temporary:
        if name == "mp4":
            _write_mp4(temporary, pictures, rate)
        else:
            _write_gif(temporary, pictures, rate, _sample(motions, threshold))
    return path


def _counted(pictures: Iterator[np.ndarray], bar: Progress) -> Iterator[np.ndarray]:
    with bar:
        for picture in pictures:
            yield picture
            bar.update()


def times_of(motion: CaptionedMotion, rate: float) -> np.ndarray:
    """The frames (fractional) of a motion at ``rate`` pictures per second; the last frame stays for HOLD seconds."""
    last = len(motion.joints) - 1
    count = int(np.floor(last * rate / motion.fps + 1e-9)) + 1
    moving = np.arange(count) * motion.fps / rate
    return np.concatenate([moving, np.full(max(1, round(HOLD * rate)), float(last))])


def gif_rate(rate: float) -> float:
    """The nearest rate whose pictures last whole hundredths of a second, as GIF requires; at most 50 per second."""
    return 100.0 / max(2, round(100.0 / rate))


def _sample(motions: Sequence[CaptionedMotion], threshold: float) -> list[np.ndarray]:
    """Eight pictures, spread over motions and frames."""
    chosen = np.linspace(0, len(motions) - 1, 8).round().astype(int).tolist()
    canvases = {number: MotionCanvas(motions[number], threshold) for number in set(chosen)}
    parts = np.linspace(0, 1, 8).tolist()
    return [
        canvases[number].draw(part * (len(motions[number].joints) - 1))
        for number, part in zip(chosen, parts, strict=True)
    ]


def _pictures(motions: Sequence[CaptionedMotion], rate: float, threshold: float) -> Iterator[np.ndarray]:
    """Every picture (height, width, 3) uint8 of the animation, in order."""
    for motion in motions:
        canvas = MotionCanvas(motion, threshold)
        last = None
        for frame in times_of(motion, rate):
            if frame != last:
                last, picture = frame, canvas.draw(float(frame))
            yield picture


def _write_gif(path: Path, pictures: Iterable[np.ndarray], rate: float, sample: list[np.ndarray]) -> None:
    """One palette for all pictures, so that colours do not flicker: those that mean something, exactly, and the most
    frequent ones of a sample. Of each picture only what changes is written."""
    from PIL import Image

    named = [int(colour[at : at + 2], 16) for colour in NAMED_COLOURS for at in (1, 3, 5)]
    others = GIF_COLOURS - len(NAMED_COLOURS)
    found = Image.fromarray(np.concatenate(sample)).quantize(others, method=Image.Quantize.MEDIANCUT).getpalette()
    colours = named + (found or [])[: 3 * others]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours + named[:3] * (256 - len(colours) // 3))
    shades = (Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures)
    first = next(shades)
    duration = round(1000 / rate)
    first.save(path, "GIF", save_all=True, append_images=shades, duration=duration, loop=0, optimize=True)


def _write_mp4(path: Path, pictures: Iterable[np.ndarray], rate: float) -> None:
    """Sends pictures through a pipe to ffmpeg, which uses its best encoder."""
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{SIZE[0]}x{SIZE[1]}", "-framerate", f"{rate:.6f}", "-i", "-"]
    command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", os.path.abspath(path)]
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        except OSError as error:
            raise UserError(f"ffmpeg: cannot run: {error.strerror or error}") from error
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError), process.stdin:
                for picture in pictures:
                    process.stdin.write(picture.tobytes())
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        if process.returncode != 0:
            complaints.seek(0)
            lines = complaints.read().decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            raise UserError(f"ffmpeg: cannot write the MP4: {reason}")
