"""Figures 2a and 3: how the gate beta is distributed over a split, for motion words and for non-motion words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from m2t_fast.interpretation.figures import GREY, bare, new_figure, plain_text
from m2t_fast.interpretation.statistics import MOTION, NO_MOTION, WordRecord, frequent_stems, of_kind, usual_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 201
_BINS = 1000
_NARROWEST = 0.015
_KINDS = {"motion": MOTION, "other": NO_MOTION}
_TITLES = {"motion": "motion words", "other": "non-motion words"}
_COLOURS = {"motion": "#d55e00", "other": "#0072b2"}


def density(values: ArrayLike, points: int = POINTS) -> np.ndarray:
    """Kernel density estimate of values in [0, 1] at ``points`` even places from 0 to 1; it integrates to 1.

    A Gaussian kernel of Silverman's width (at least 0.015), reflected at 0 and 1, so that nothing leaks out of the
    interval where most gates lie at its ends.

    Raises:
        ValueError: no values, or one outside [0, 1].
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if not values.size:
        raise ValueError("values: got none, expected at least one")
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"values: got {values.min():g} to {values.max():g}, expected numbers from 0 to 1")
    quarter = np.subtract(*np.percentile(values, (75, 25))) / 1.34
    spread = min(s for s in (values.std(), quarter, 1.0) if s > 0) if values.std() > 0 else 0.0
    width = max(0.9 * spread * values.size**-0.2, _NARROWEST)
    # Binned first: the cost does not grow with the number of words.
    weight, edges = np.histogram(values, bins=_BINS, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    places = np.linspace(0.0, 1.0, points)[:, None]
    kernel = sum(np.exp(-0.5 * ((places - image) / width) ** 2) for image in (centres, -centres, 2 - centres))
    return np.asarray(kernel @ weight / (width * np.sqrt(2 * np.pi) * values.size))


def gate_data(records: Sequence[WordRecord], stems: Sequence[str] = ()) -> dict[str, Any]:
    """The figure's data, JSON-ready: ``beta`` (places) and for "motion" and "other" words ``all`` and ``stems``, each
    with ``count``, ``mean`` and ``density``, a stem also with the ``word`` that is most often written. ``stems`` are
    those to draw, in their order; none: the most frequent."""
    data: dict[str, Any] = {"beta": np.linspace(0.0, 1.0, POINTS).tolist(), "shown": list(stems)}
    for name, kind in _KINDS.items():
        found = of_kind(records, kind)
        gates = [record.gate for listed in found.values() for record in listed]
        data[name] = {
            "all": _entry(gates) if gates else None,
            "stems": {
                own: {"word": usual_word(listed), **_entry([record.gate for record in listed])}
                for own, listed in found.items()
            },
        }
    return data


def _entry(gates: list[float]) -> dict[str, Any]:
    return {"count": len(gates), "mean": float(np.mean(gates)), "density": density(gates).tolist()}


@plain_text()
def draw_gates(data: dict[str, Any], most: int = 10) -> Figure:
    """Ridges: one density per stem, the most frequent ones (or those asked for), motion words left, others right."""
    listed = {name: _shown(data, name, most) for name in _KINDS}
    rows = max(2, *map(len, listed.values()))
    figure = new_figure(9.0, 1.15 + 0.42 * rows)
    for column, (name, entries) in enumerate(listed.items()):
        axis = figure.add_subplot(1, 2, column + 1)
        _draw_ridges(axis, data["beta"], entries, _COLOURS[name], rows)
        axis.set_title(_TITLES[name], fontsize=12, fontweight="bold", loc="left", color=_COLOURS[name], pad=10)
        axis.set_xlabel("gate β   (0: language, 1: motion)", fontsize=9)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.1, right=0.94, top=1 - 0.45 / height, bottom=0.6 / height, wspace=0.32)
    return figure


def _shown(data: dict[str, Any], name: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    """The rows of one column: all words of the kind, then its stems."""
    stems, everything = data[name]["stems"], data[name]["all"]
    asked = [own for own in data["shown"] if own in stems] if data["shown"] else _usual(stems, name, most)
    return ([("all", everything)] if everything else []) + [(stems[own]["word"], stems[own]) for own in asked]


def _usual(stems: dict[str, Any], name: str, most: int) -> list[str]:
    return frequent_stems(stems, most) if name == "motion" else list(stems)[:most]


def _draw_ridges(
    axis: Axes, beta: Sequence[float], entries: list[tuple[str, dict[str, Any]]], colour: str, rows: int
) -> None:
    for row, (_, entry) in enumerate(entries):
        base = rows - 1 - row
        height = np.array(entry["density"]) / max(entry["density"]) * 0.86
        axis.fill_between(beta, base, base + height, color=colour, alpha=0.55 if row else 0.85, lw=0, zorder=2)
        axis.plot(beta, base + height, color=colour, lw=0.9, zorder=3)
        axis.axhline(base, color="#dddddd", lw=0.6, zorder=1)
        axis.plot([entry["mean"]] * 2, [base, base + 0.3], color="black", lw=1.1, zorder=4)
        axis.text(1.02, base + 0.12, f"#{entry['count']:,}", fontsize=7.5, color=GREY, va="bottom", clip_on=False)
    axis.set_yticks([rows - 1 - row + 0.25 for row in range(len(entries))], [label for label, _ in entries], fontsize=9)
    if entries:
        axis.get_yticklabels()[0].set_fontweight("bold")
    else:
        axis.text(0.5, rows / 2, "no such words", ha="center", color=GREY, fontsize=9)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.05, rows)
    bare(axis, "bottom")
