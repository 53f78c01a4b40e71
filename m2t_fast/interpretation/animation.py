"""Captioned motions as an animation, GIF or MP4: the gold box, the disks of the joints, and the word being said."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from m2t_fast.data.files import atomic_path
from m2t_fast.errors import UserError
from m2t_fast.interpretation.attention_map import MOTION_WORD, require_matplotlib
from m2t_fast.interpretation.captioned import CaptionedMotion

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: tuple[str, ...] = ("gif", "mp4")
STEPS = 2
"""Pictures drawn for each frame of a motion: 20 a second of motions at 10 Hz."""
MOST_GIF_PICTURES = 900
"""A GIF is built in memory; one with more pictures shows fewer a second, at the same speed."""
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
    if name == "mp4":
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise UserError("an MP4 needs the program ffmpeg, which is not installed (apt-get install ffmpeg)")


def save_animation(
    path: str | Path,
    motions: Sequence[CaptionedMotion],
    name: str,
    threshold: float = MOTION_WORD,
    progress: bool = False,
) -> Path:
    """Write motions, one after the other, as an animation; an existing file is replaced as a whole.

    Every picture shows the skeleton with its joints' disks as big as window * spatial weight of the current word in
    that frame, and a gold box as opaque as the window (:meth:`CaptionedMotion.current_words` says which word).

    Args:
        path: the file to write.
        motions: at least one.
        name: ``gif`` or ``mp4``.
        threshold: motion words are those with at least this gate.
        progress: show a bar on stderr.

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
        rate = gif_rate(rate * min(1.0, MOST_GIF_PICTURES / total))
        total = sum(len(times_of(motion, rate)) for motion in motions)
    pictures = tqdm(
        _pictures(motions, rate, threshold), total=total, unit="picture", disable=not progress, leave=False, desc=name
    )
    write = _write_gif if name == "gif" else _write_mp4
    with atomic_path(path) as temporary:
        write(temporary, pictures, rate)
    return path


def times_of(motion: CaptionedMotion, rate: float) -> np.ndarray:
    """The frames (fractional) of a motion at ``rate`` pictures a second; the last frame stays for HOLD seconds."""
    last = len(motion.joints) - 1
    count = int(np.floor(last * rate / motion.fps + 1e-9)) + 1
    moving = np.arange(count) * motion.fps / rate
    return np.concatenate([moving, np.full(max(1, round(HOLD * rate)), float(last))])


def gif_rate(rate: float) -> float:
    """The nearest rate whose pictures last whole hundredths of a second, as GIF has it; at most 50 a second."""
    return 100.0 / max(2, round(100.0 / rate))


def _pictures(motions: Sequence[CaptionedMotion], rate: float, threshold: float) -> Iterator[Image]:
    """Every picture of the animation, in order."""
    from PIL import Image

    from m2t_fast.interpretation.canvas import MotionCanvas

    for motion in motions:
        canvas = MotionCanvas(motion, threshold)
        for frame in times_of(motion, rate):
            yield Image.fromarray(canvas.draw(float(frame)))


def _write_gif(path: Path, pictures: Iterator[Image], rate: float) -> None:
    """One palette for all pictures, of the colours in a sample of them, so that colours do not flicker."""
    from PIL import Image

    # TODO
