"""Figures 2b, 4 and 11 to 14: which body parts the motion words of a split look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import TRAJECTORY
from m2t_fast.interpretation.colours import PART_COLOURS
from m2t_fast.interpretation.figures import GREY, bare, new_figure, part_label, plain_text
from m2t_fast.interpretation.statistics import MOTION, WordRecord, frequent_stems, of_kind, usual_word
from m2t_fast.skeleton import PART_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 20
GLOBAL_MOTION: tuple[str, ...] = (
    *("walk", "run", "jog", "sprint", "dash", "turn", "step", "sidestep", "move", "jump", "hop", "march", "around"),
    *("straight", "ahead", "back", "backwards", "forwards", "sideways", "counterclockwise", "left", "right"),
)
"""Words about a body's path that the spatial supervision does not list; figure 11 asks whether they look at the
root like those it lists."""


def histogram_data(records: Sequence[WordRecord], stems: Sequence[str] = ()) -> dict[str, Any]:
    """The figure's data, JSON-ready: ``edges`` of the bins and, for each motion word stem, ``word`` (as it is mostly
    written), ``count`` (words) and ``histogram``: for each body part how many words have the temporal maximum of its
    attention in each bin."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    found = {}
    for own, listed in of_kind(records, MOTION).items():
        peaks = np.clip([record.peak for record in listed], 0.0, 1.0)  # a softmax may round to a little over 1
        histogram = {part: np.histogram(peaks[:, i], edges)[0].tolist() for i, part in enumerate(PART_NAMES)}
        found[own] = {
            "word": usual_word(listed),
            "count": len(listed),
            "histogram": histogram,
            "mean": peaks.mean(0).tolist(),
        }
    return {"edges": edges.tolist(), "parts": list(PART_NAMES), "shown": list(stems), "stems": found}


@plain_text()
def draw_histograms(data: dict[str, Any], most: int = 12) -> Figure:
    """One panel per stem, the most frequent (or those asked for): a small histogram per body part on one scale."""
    stems = data["stems"]
    shown = [own for own in data["shown"] if own in stems] if data["shown"] else frequent_stems(stems, most)
    columns = min(4, max(len(shown), 1))
    rows = -(-max(len(shown), 1) // columns)
    figure = new_figure(1.0 + 2.15 * columns, 0.55 + 2.15 * rows)
    edges = np.array(data["edges"])
    for number, own in enumerate(shown):
        axis = figure.add_subplot(rows, columns, number + 1)
        entry = stems[own]
        highest = max(max(counts) for counts in entry["histogram"].values())
        for row, part in enumerate(data["parts"]):
            base = len(data["parts"]) - 1 - row
            heights = np.array(entry["histogram"][part]) / highest * 0.88
            axis.bar(edges[:-1], heights, np.diff(edges), base, align="edge", color=PART_COLOURS[part], lw=0)
            axis.axhline(base, color="#cccccc", lw=0.6)
        names = [part_label(part) for part in reversed(data["parts"])] if number % columns == 0 else []
        axis.set_yticks([0.35 + row for row in range(len(names))], names, fontsize=8)
        axis.set_title(f"{entry['word']}  (#{entry['count']:,})", fontsize=10, fontweight="bold", loc="left", pad=3)
        axis.set_xlim(0, 1)
        axis.set_ylim(0, len(data["parts"]))
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axis.tick_params(axis="both", labelsize=8)
        axis.tick_params(axis="y", length=0)
        bare(axis, "bottom")
    if not shown:
        figure.text(0.5, 0.5, "no motion words", ha="center", color=GREY)
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.85 / width, right=1 - 0.15 / width, bottom=0.55 / height, top=1 - 0.3 / height, wspace=0.14, hspace=0.32
    )
    figure.supxlabel("temporal maximum of the part's attention", fontsize=9, y=0.08 / height, va="bottom")
    return figure


def trajectory_data(records: Sequence[WordRecord]) -> dict[str, Any]:
    """The figure's data, JSON-ready: for the stems of trajectory words, "supervised" as table 5 lists them and "other"
    (``GLOBAL_MOTION``), ``word`` (as mostly written), ``count``, the share of words whose largest temporal maximum
    is each part's (``best``), and the mean temporal maximum of each part (``mean``)."""
    groups = {"supervised": dict.fromkeys(map(stem, TRAJECTORY)), "other": dict.fromkeys(map(stem, GLOBAL_MOTION))}
    found = of_kind(records, MOTION)
    data: dict[str, Any] = {"parts": list(PART_NAMES)}
    for name, group in groups.items():
        data[name] = {}
        for own, listed in found.items():
            if own in group and (name == "supervised" or own not in groups["supervised"]):
                peaks = np.stack([record.peak for record in listed])
                best = np.bincount(peaks.argmax(1), minlength=len(PART_NAMES)) / len(listed)
                data[name][own] = {
                    "word": usual_word(listed),
                    "count": len(listed),
                    "best": best.tolist(),
                    "mean": peaks.mean(0).tolist(),
                }
    return data


@plain_text()
def draw_trajectory(data: dict[str, Any], most: int = 8) -> Figure:
    """Stacked bars: for each stem the share of words that look most at each part."""
    rows = [(name, entry) for name in ("supervised", "other") for entry in list(data[name].values())[:most]]
    figure = new_figure(8.0, 1.25 + 0.34 * max(len(rows), 2))
    axis = figure.add_subplot()
    gap = 0.7
    places = [row + gap * (name == "other") for row, (name, _) in enumerate(rows)]
    left = np.zeros(len(rows))
    for number, part in enumerate(data["parts"]):
        widths = np.array([entry["best"][number] for _, entry in rows])
        axis.barh(places, widths, 0.78, left, color=PART_COLOURS[part], label=part_label(part), lw=0)
        left += widths
    for place, (_, entry) in zip(places, rows, strict=True):
        axis.text(1.01, place, f"#{entry['count']:,}", va="center", fontsize=8, color=GREY)
    for name, text in (("supervised", "trajectory words\n(supervised)"), ("other", "other words\nabout the path")):
        own = [place for place, row in zip(places, rows, strict=True) if row[0] == name]
        if own:
            axis.text(-0.15, sum(own) / len(own), text, ha="center", va="center", fontsize=9, rotation=90)
    if not rows:
        axis.text(0.5, 0.5, "no trajectory words", ha="center", color=GREY)
    axis.set_yticks(places, [entry["word"] for _, entry in rows], fontsize=9)
    axis.set_ylim(max([*places, 1.0]) + 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.set_xlabel("share of words whose attention is highest on the part", fontsize=9)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    bare(axis, "bottom")
    if rows:
        axis.legend(ncols=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8, handlelength=1)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.2, right=0.93, top=1 - 0.4 / height, bottom=0.55 / height)
    return figure
