"""Figures 5 and 6: when the words of one caption happen, and the fine-grained caption that the attention gives."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m2t_fast.interpretation.colours import PART_COLOURS, WORD_COLOURS, mixed, text_on
from m2t_fast.interpretation.figures import (
    GREY,
    bare,
    draw_actions,
    frame_axis,
    new_figure,
    part_label,
    plain_text,
    segments_data,
)
from m2t_fast.interpretation.localisation import WIDTH, word_range
from m2t_fast.interpretation.motion_words import MOTION_WORD
from m2t_fast.interpretation.samples import Sample
from m2t_fast.skeleton import PART_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALSO = 0.5
"""A body part is named beside the one with most attention if it has at least this share of that attention."""

_LEFT, _RIGHT, _WIDTH = 0.11, 0.965, 9.0
_BAR = 0.85  # opacity of a bar
_LEGEND = 0.2  # of the width
_LETTERS, _GAP = 86, 2.2  # in a line of the shaded caption, and for the box of a word


def parts_named(share: Sequence[float]) -> str:
    """The body parts that attention weights (P,) single out, in words: "left arm", "both legs", "root, both legs"."""
    highest = max(share)
    named = [part for part, value in zip(PART_NAMES, share, strict=True) if value >= ALSO * highest]
    for limb in ("arm", "leg"):
        if {f"left_{limb}", f"right_{limb}"} <= set(named):
            place = named.index(f"left_{limb}")
            named[place : place + 2] = [f"both {limb}s"]
    return ", ".join(part_label(part) for part in named)


def fine_grained_data(sample: Sample, width: float = WIDTH) -> dict[str, Any]:
    """What the three attentions say of each word, JSON-ready: ``words`` with ``word``, ``gate``, ``motion`` (the gate
    is at least ``MOTION_WORD``), and of motion words ``parts`` (in words), ``part`` (the one with most attention),
    ``share`` (of each part), ``start`` and ``end`` (kept frames, fractional) and ``seconds`` (the same in
    seconds of the file); ``text``: the caption with all that in brackets."""
    words: list[dict[str, Any]] = []
    for number, word in enumerate(sample.words):
        entry: dict[str, Any] = {"word": word, "gate": float(sample.gate[number])}
        entry["motion"] = entry["gate"] >= MOTION_WORD
        if entry["motion"]:
            window = sample.window[number]
            share = (window[:, None] * sample.spatial[number]).sum(0) / max(window.sum(), 1e-300)
            found = word_range(float(sample.mean[number]), float(sample.std[number]), sample.frames, width)
            entry |= {
                "parts": parts_named(share.tolist()),
                "part": PART_NAMES[int(share.argmax())],
                "share": dict(zip(PART_NAMES, share.tolist(), strict=True)),
                "mean": float(sample.mean[number]),
                "std": float(sample.std[number]),
                "start": found.start,
                "end": found.end,
                "seconds": [max(0.0, sample.start + edge / sample.fps) for edge in found],
            }
        words.append(entry)
    return {
        "id": sample.id,
        "caption": sample.caption,
        "references": sample.references,
        "frames": sample.frames,
        "fps": sample.fps,
        "start": sample.start,
        "text": " ".join(map(_in_brackets, words)),
        "words": words,
        "segments": segments_data(sample.segments),
    }


def _in_brackets(entry: dict[str, Any]) -> str:
    if not entry["motion"]:
        return str(entry["word"])
    return f"{entry['word']} [{entry['parts']}, {entry['seconds'][0]:.1f}-{entry['seconds'][1]:.1f} s]"


@plain_text()
def draw_fine_grained(sample: Sample, data: dict[str, Any]) -> Figure:
    """The caption with words shaded by their gate; below, a bar per motion word from onset to end, coloured by its body
    part and named, under the strip of what happens."""
    rows = [entry for entry in data["words"] if entry["motion"]]
    strip = 0.3 if sample.segments else 0.0
    reference = textwrap.wrap(f"reference: {sample.references[0]}", 100)
    lines = _caption_lines(data["words"])
    head = 0.22 + 0.4 * len(lines)
    height = head + strip + 0.46 * max(len(rows), 1) + 0.62 + 0.2 * len(reference)
    figure = new_figure(_WIDTH, height)
    _shaded_caption(figure, lines)
    bottom = (0.62 + 0.2 * len(reference)) / height
    top = 1 - head / height
    axis = figure.add_axes((_LEFT, bottom, _RIGHT - _LEFT, top - bottom - strip / height))
    if sample.segments:
        draw_actions(
            figure.add_axes((_LEFT, top - 0.24 / height, _RIGHT - _LEFT, 0.24 / height)), sample.segments, sample.frames
        )
    for row, entry in enumerate(rows):
        start, end = entry["start"], entry["end"]
        axis.barh(row, end - start, 0.62, start, color=PART_COLOURS[entry["part"]], alpha=_BAR, lw=0)
        text = f"{entry['parts']}  {entry['seconds'][0]:.1f}-{entry['seconds'][1]:.1f} s"
        _label(axis, row, start, end, text, sample.frames, text_on(mixed(PART_COLOURS[entry["part"]], _BAR)))
    if not rows:
        axis.text(0.5, 0.5, "no motion words", ha="center", va="center", color=GREY, transform=axis.transAxes)
    axis.set_yticks(range(len(rows)), [entry["word"] for entry in rows], fontsize=10, fontweight="bold")
    axis.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#e5e5e5", lw=0.6)
    axis.set_axisbelow(True)
    bare(axis, "bottom")
    frame_axis(axis, sample.frames, sample.fps, start=sample.start)
    _write_reference(figure, reference, height)
    return figure


def _label(axis: Axes, row: int, start: float, end: float, text: str, frames: int, colour: str) -> None:
    """The text of a bar: on it where it fits, else beside it where there is room, else across it."""
    needed = 0.0105 * len(text) * frames
    if end - start >= needed:
        axis.text((start + end) / 2, row, text, ha="center", va="center", fontsize=9, color=colour, fontweight="bold")
    elif frames - end >= needed:
        axis.text(end + 0.01 * frames, row, text, ha="left", va="center", fontsize=9)
    elif start >= needed:
        axis.text(start - 0.01 * frames, row, text, ha="right", va="center", fontsize=9)
    else:
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "edgecolor": "none"}
        axis.text(frames / 2 - 0.5, row, text, ha="center", va="center", fontsize=9, bbox=box)


def _caption_lines(words: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The words of a caption in as many lines as they need."""
    lines: list[list[dict[str, Any]]] = [[]]
    letters = 0.0
    for entry in words:
        if lines[-1] and letters + len(entry["word"]) + _GAP > _LETTERS:
            lines.append([])
            letters = 0.0
        lines[-1].append(entry)
        letters += len(entry["word"]) + _GAP
    return lines


def _shaded_caption(figure: Figure, lines: Sequence[Sequence[dict[str, Any]]]) -> None:
    """The words, each on a box as dark as its gate, which stands below."""
    height = figure.get_figheight()
    below: dict[str, Any] = {"fontsize": 6.5, "ha": "center", "va": "top", "color": GREY}
    for number, line in enumerate(lines):
        x, y = 0.02, 1 - (0.3 + 0.4 * number) / height
        for entry in line:
            gate = entry["gate"]
            box = {"boxstyle": "round,pad=0.22", "facecolor": mixed("#d55e00", 0.85 * gate), "edgecolor": "none"}
            width = (len(entry["word"]) + _GAP) / _LETTERS * 0.96
            colour = text_on(box["facecolor"])
            figure.text(x + width / 2, y, entry["word"], fontsize=12, ha="center", va="center", color=colour, bbox=box)
            figure.text(x + width / 2, y - 0.17 / height, f"{gate:.2f}", **below)
            x += width


def windows_data(sample: Sample) -> dict[str, Any]:
    """The figure's data, JSON-ready: for each motion word ``word``, ``gate``, ``mean``, ``std`` and ``window`` (T,)."""
    return {
        "id": sample.id,
        "caption": sample.caption,
        "references": sample.references,
        "fps": sample.fps,
        "start": sample.start,
        "words": [
            {
                "word": word,
                "gate": float(sample.gate[number]),
                "mean": float(sample.mean[number]),
                "std": float(sample.std[number]),
                "window": sample.window[number].tolist(),
            }
            for number, word in enumerate(sample.words)
            if sample.gate[number] >= MOTION_WORD
        ],
        "segments": segments_data(sample.segments),
    }


@plain_text()
def draw_windows(sample: Sample, data: dict[str, Any]) -> Figure:
    """The Gaussian window of each motion word over the frames; above, what happens, with a line at each onset."""
    caption = textwrap.wrap(sample.caption, 68)
    reference = textwrap.wrap(f"reference: {sample.references[0]}", 100)
    strip = 0.3 if sample.segments else 0.0
    head, foot = 0.25 + 0.27 * len(caption), 0.62 + 0.2 * len(reference)
    height = head + strip + 2.5 + foot
    figure = new_figure(_WIDTH, height)
    figure.text(_LEFT, 1 - 0.12 / height, "\n".join(caption), fontsize=12.5, fontweight="bold", va="top")
    across = _RIGHT - _LEFT - _LEGEND
    axis = figure.add_axes((_LEFT, foot / height, across, 2.5 / height))
    if sample.segments:
        area = (_LEFT, (foot + 2.5 + 0.05) / height, across, 0.24 / height)
        draw_actions(figure.add_axes(area), sample.segments, sample.frames)
        for segment in sample.segments:
            onset = segment.active[0] if segment.active else segment.start
            axis.axvline(onset - 0.5, color=GREY, lw=1, ls=(0, (4, 3)), zorder=1)
    frames = np.arange(sample.frames)
    fine = np.linspace(-0.5, sample.frames - 0.5, 600)
    for number, entry in enumerate(data["words"]):
        colour = WORD_COLOURS[number % len(WORD_COLOURS)]
        curve = np.exp(-0.5 * ((fine - entry["mean"]) / max(entry["std"], 1e-3)) ** 2)
        axis.fill_between(fine, curve, color=colour, alpha=0.08, lw=0)
        label = f"{entry['word']}  (β {entry['gate']:.2f})\n{entry['mean']:.0f} ± {entry['std']:.0f} frames"
        axis.plot(fine, curve, color=colour, lw=2, ls="-" if number < len(WORD_COLOURS) else "--", label=label)
        axis.plot(frames, entry["window"], ".", color=colour, ms=3)
    axis.set_ylim(0, 1.06)
    axis.set_ylabel("temporal attention Γ", fontsize=9)
    axis.tick_params(axis="y", labelsize=8)
    bare(axis, "bottom", "left")
    frame_axis(axis, sample.frames, sample.fps, start=sample.start)
    if data["words"]:
        size = min(8.5, 8.5 * 9 / len(data["words"]))  # many words: smaller, so that all stay beside the axis
        axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1.1), fontsize=size, frameon=False, handlelength=1.4)
    else:
        axis.text(0.5, 0.5, "no motion words", ha="center", color=GREY, transform=axis.transAxes)
    _write_reference(figure, reference, height)
    return figure


def _write_reference(figure: Figure, lines: list[str], height: float) -> None:
    figure.text(_LEFT, 0.08 / height, "\n".join(lines), fontsize=10, color=GREY, va="bottom")
