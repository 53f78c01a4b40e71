"""The spatio-temporal attention map of a caption: one heat map per motion word, body parts by frames (figure 7)."""

from __future__ import annotations

import importlib
import importlib.util
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from m2t_fast.data.raw import Segment
from m2t_fast.errors import UserError
from m2t_fast.interpretation.figures import (
    bare,
    draw_actions,
    frame_axis,
    new_figure,
    part_label,
    plain_text,
    write_picture,
)
from m2t_fast.interpretation.motion_words import motion_words
from m2t_fast.skeleton import PART_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES: tuple[str, ...] = (".png", ".pdf", ".svg")
_COLOURS = "magma"
_INCHES = {"width": 9.0, "panel": 1.42, "action": 0.32, "head": 0.5, "line": 0.2, "foot": 0.68}


@plain_text()
def attention_map(
    words: Sequence[str],
    gate: ArrayLike,
    window: ArrayLike,
    spatial: ArrayLike,
    part_names: Sequence[str] = PART_NAMES,
    fps: float = 10.0,
    reference: str | None = None,
    segments: Sequence[Segment] | None = None,
    max_words: int | None = 5,
    gates_in_title: bool = False,
    start: float = 0.0,
) -> Figure:
    """Draw when and where the model looked to say each motion word of a caption.

    One panel per word, in the order of the caption: window * spatial (eq. 4 and 6), parts by frames, on one colour
    scale. Drawn are the motion words (:func:`~m2t_fast.interpretation.motion_words.motion_words`); where there are more
    than ``max_words``, those with the highest gates, and the picture names the others.

    Args:
        words: L words of the caption.
        gate: (L,) beta of each word. window: (L, T). spatial: (L, T, P).
        part_names: names of the P parts.
        fps: kept frames per second, for the axis in seconds.
        reference: a caption by a person, written below the model's.
        segments: what really happens, in kept frames; drawn as a strip above the panels.
        max_words: most panels; None draws every motion word.
        gates_in_title: write the gate of every word after it in the caption, as the paper's titles do.
        start: time of frame 0 in seconds of the motion's file.

    Raises:
        ValueError: no words, shapes that do not fit, or a size that is not positive.
        UserError: matplotlib is not installed.
    """
    require_matplotlib()
    gate, window, spatial = (np.asarray(values, dtype=np.float64) for values in (gate, window, spatial))
    _check(words, gate, window, spatial, part_names, fps, max_words)
    shown, left_out = _most(motion_words(words, gate), gate, max_words)
    heat = (window[..., None] * spatial)[shown]  # (panels, T, P)
    frames = window.shape[1]

    spoken = (
        [f"{word}\N{NO-BREAK SPACE}({value:.2f})" for word, value in zip(words, gate, strict=True)]
        if gates_in_title
        else words
    )
    caption = textwrap.wrap(" ".join(spoken), 72)
    human = textwrap.wrap(f"reference: {reference}", 96) if reference else []
    if left_out:
        human += textwrap.wrap(f"not drawn: {', '.join(words[number] for number in left_out)}", 96)
    head = _INCHES["head"] + _INCHES["line"] * (1.3 * len(caption) + len(human))
    rows = [_INCHES["action"]] * bool(segments) + [_INCHES["panel"]] * len(shown)
    height = head + sum(rows) + _INCHES["foot"]
    figure = new_figure(_INCHES["width"], height)
    _write_head(figure, caption, human, height)

    grid = figure.add_gridspec(
        nrows=len(rows),
        ncols=1,
        height_ratios=rows,
        left=0.115,
        right=0.885,
        top=1 - head / height,
        bottom=_INCHES["foot"] / height,
        hspace=0.42,
    )
    axes = [figure.add_subplot(grid[row, 0]) for row in range(len(rows))]
    panels = axes[bool(segments) :]
    for panel, number, values in zip(panels, shown, heat, strict=True):
        image = _draw_word(panel, values, part_names, float(heat.max()))
        frame_axis(panel, frames, fps, label=panel is panels[-1], start=start)
        panel.set_title(
            f"{words[number]}  (gate {gate[number]:.2f})", fontsize=11, fontweight="bold", loc="left", pad=4
        )
        for segment in segments or ():
            if segment.start > 0:  # one action gives way to the next
                panel.axvline(segment.start - 0.5, color="white", linewidth=0.8, linestyle=(0, (4, 4)), alpha=0.7)
    if segments:
        draw_actions(axes[0], segments, frames)

    last, first = panels[-1].get_position(), panels[0].get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((0.905, last.y0, 0.016, first.y1 - last.y0)))
    bar.set_label("attention", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def require_matplotlib() -> None:
    """Raise now what drawing would raise.

    Raises:
        UserError: matplotlib is not installed, or its settings are damaged.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError("pictures need matplotlib, which is not installed: pip install 'm2t_fast[plot]'")
    try:
        importlib.import_module("matplotlib")
    except ValueError as error:  # the environment variable MPLBACKEND, which it reads first of all
        raise UserError(f"matplotlib refuses its settings: {error}") from None


def save_attention_map(path: str | Path, *args: Any, **kwargs: Any) -> Path:
    """Draw :func:`attention_map` into a file, a picture by its suffix; an existing file is replaced as a whole.

    Raises:
        ValueError, UserError: as :func:`attention_map`; also UserError for another suffix than .png, .pdf or .svg, and
            for a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: picture format {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    figure = attention_map(*args, **kwargs)
    write_picture(path, figure, dpi=150)
    return path


def _check(
    words: Sequence[str],
    gate: np.ndarray,
    window: np.ndarray,
    spatial: np.ndarray,
    part_names: Sequence[str],
    fps: float,
    max_words: int | None,
) -> None:
    if len(words) == 0:
        raise ValueError("words: got none, expected at least one word")
    frames = window.shape[1] if window.ndim == 2 else None
    for name, array, shape in (
        ("gate", gate, (len(words),)),
        ("window", window, (len(words), frames or "T")),
        ("spatial", spatial, (len(words), frames or "T", len(part_names))),
    ):
        if array.shape != shape:
            raise ValueError(f"{name}: got shape {array.shape}, expected {shape} (words, frames, parts)")
    if not fps > 0:
        raise ValueError(f"fps: got {fps!r}, expected a positive number")
    if max_words is not None and max_words < 1:
        raise ValueError(f"max_words: got {max_words!r}, expected at least 1")


def _most(numbers: list[int], gate: np.ndarray, most: int | None) -> tuple[list[int], list[int]]:
    """The words to draw, those with the highest gates, and the others; both in the order of the caption."""
    best = sorted(numbers, key=lambda number: (-gate[number], number))[:most]
    return sorted(best), sorted(set(numbers) - set(best))


def _write_head(figure: Figure, caption: list[str], human: list[str], height: float) -> None:
    """The caption, and the reference below it, from the top."""
    at = height - 0.12
    for line in caption:
        figure.text(0.115, at / height, line, va="top", ha="left", fontsize=13, fontweight="bold")
        at -= 1.3 * _INCHES["line"]
    for line in human:
        figure.text(0.115, at / height, line, va="top", ha="left", fontsize=10.5, color="#555555")
        at -= _INCHES["line"]


def _draw_word(panel: Axes, values: np.ndarray, part_names: Sequence[str], highest: float) -> Any:
    """One heat map of values (T, P)."""
    frames, parts = values.shape
    image = panel.imshow(
        values.T,
        aspect="auto",
        cmap=_COLOURS,
        vmin=0.0,
        vmax=max(highest, 1e-12),
        interpolation="nearest",
        extent=(-0.5, frames - 0.5, parts - 0.5, -0.5),
    )
    panel.set_yticks(range(parts), [part_label(name) for name in part_names], fontsize=8)
    panel.tick_params(axis="y", length=0)
    for edge in np.arange(parts - 1) + 0.5:
        panel.axhline(edge, color="white", linewidth=0.3, alpha=0.5)
    bare(panel)
    return image
