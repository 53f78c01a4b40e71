"""What the figures share: colours, text, the strip of what happens, and their files (PNG, PDF and the data)."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2t_fast.data.raw import Segment
from m2t_fast.files import write_bytes, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY = "#555555"
DPI = 130


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of this size in inches. Not pyplot's: no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


@contextmanager
def plain_text() -> Iterator[None]:
    """Inside the block text is drawn as it is: a word may hold dollar signs, which do not begin a formula here."""
    if importlib.util.find_spec("matplotlib") is None:  # whoever draws says so
        yield
        return
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}):
        yield


def part_label(part: str) -> str:
    """A body part's name with spaces."""
    return part.replace("_", " ")


def bare(axis: Axes, *keep: str) -> None:
    """Remove the frame of an axis except the sides in ``keep``."""
    for side, spine in axis.spines.items():
        spine.set_visible(side in keep)


def frame_axis(axis: Axes, frames: int, fps: float, label: bool = True, start: float = 0.0) -> None:
    """The x axis of a motion: its kept frames, and below them seconds of the file; frame 0 is at ``start``."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(-0.5, frames - 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axis.xaxis.set_major_formatter(lambda frame, _: f"{frame:.0f}\n{_seconds(start + frame / fps)} s")
    axis.tick_params(axis="x", labelsize=8, labelbottom=label)
    if label:
        axis.set_xlabel("frame, time", fontsize=9)


def _seconds(time: float) -> str:
    """With two decimals where one would not be exact."""
    return f"{time:.1f}" if abs(time - round(time, 1)) < 1e-6 else f"{time:.2f}"


def draw_actions(axis: Axes, segments: Sequence[Segment], frames: int) -> None:
    """A strip that says what really happens when; the lighter ends are not yet, or no longer, the action itself."""
    for number, segment in enumerate(segments):
        shade = "#8c8c8c" if number % 2 else "#5f5f5f"
        axis.axvspan(segment.start - 0.5, segment.end - 0.5, color=shade, alpha=0.45 if segment.active else 1, lw=0)
        if segment.active:
            axis.axvspan(segment.active[0] - 0.5, segment.active[1] - 0.5, color=shade, lw=0)
        middle = (segment.start + segment.end - 1) / 2
        axis.text(middle, 0.5, segment.action, ha="center", va="center", fontsize=9, color="white", clip_on=True)
    axis.set_xlim(-0.5, frames - 0.5)
    axis.set_ylim(0, 1)
    axis.set_yticks([0.5], ["what happens"], fontsize=8)
    axis.tick_params(length=0, labelbottom=False)
    bare(axis)


def segments_data(segments: Sequence[Segment] | None) -> list[dict[str, Any]] | None:
    """Segments as they are written beside a figure; frames are kept frames, end exclusive."""
    if segments is None:
        return None
    return [
        {
            "action": segment.action,
            "start": segment.start,
            "end": segment.end,
            "active": list(segment.active) if segment.active else None,
            "parts": list(segment.parts),
        }
        for segment in segments
    ]


def save_figure(path: Path, figure: Figure, data: dict[str, Any]) -> list[Path]:
    """Write ``path``.png, ``path``.pdf and the data: .npz where it holds arrays, else .json. Returns the files.

    Equal figures give equal bytes: no date is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.parent / f"{path.name}.{suffix}" for suffix in ("png", "pdf")]
    write_picture(files[0], figure, dpi=DPI, metadata={"Software": None})
    write_picture(files[1], figure, metadata={"CreationDate": None, "Producer": None, "Creator": None})
    if any(isinstance(value, np.ndarray) for value in data.values()):
        files.append(path.parent / f"{path.name}.npz")
        _write_arrays(files[-1], data)
    else:
        files.append(path.parent / f"{path.name}.json")
        write_text(files[-1], json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    return files


def write_picture(path: Path, figure: Figure, **options: Any) -> None:
    """``figure.savefig`` of the format of the suffix, drawn in memory: matplotlib does not end well on a full disk.

    Raises:
        UserError: the file cannot be written.
    """
    drawn = BytesIO()
    figure.savefig(drawn, format=path.suffix.lower()[1:], **options)
    write_bytes(path, drawn.getvalue())


def _write_arrays(path: Path, data: dict[str, Any]) -> None:
    """As ``np.savez_compressed``, which writes the time, too, and cannot where the clock stands before 1980."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in data.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
