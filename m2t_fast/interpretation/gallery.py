"""All figures of a run on a split, by name, into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m2t_fast.interpretation import figures_gate, figures_parts, figures_time
from m2t_fast.interpretation.attention_map import attention_map
from m2t_fast.interpretation.figures import save_figure
from m2t_fast.interpretation.localisation import WIDTH
from m2t_fast.interpretation.samples import Sample
from m2t_fast.interpretation.statistics import WordRecord

SPLIT_FIGURES: tuple[str, ...] = ("gate_density", "part_histograms", "trajectory")
SAMPLE_FIGURES: tuple[str, ...] = ("windows", "maps", "fine_grained")
FIGURES: tuple[str, ...] = SPLIT_FIGURES + SAMPLE_FIGURES
"""gate_density: figures 2a and 3; part_histograms: 2b, 4, 12 to 14; trajectory: 11; windows: 5; maps: 7, 9 and 10;
fine_grained: 6. The last three are folders with a figure per sample."""


def draw_split(
    folder: Path, names: Sequence[str], records: Sequence[WordRecord], stems: Sequence[str] = ()
) -> list[Path]:
    """Draw the figures of ``SPLIT_FIGURES`` among ``names`` from the words of a split; returns the files.

    ``stems``: which stems to show; none: the most frequent. The data beside a figure has all stems.
    """
    files = []
    if "gate_density" in names:
        data = figures_gate.gate_data(records, stems)
        files += save_figure(folder / "gate_density", figures_gate.draw_gates(data), data)
    if "part_histograms" in names:
        data = figures_parts.histogram_data(records, stems)
        files += save_figure(folder / "part_histograms", figures_parts.draw_histograms(data), data)
    if "trajectory" in names:
        data = figures_parts.trajectory_data(records)
        files += save_figure(folder / "trajectory", figures_parts.draw_trajectory(data), data)
    return files


def draw_sample(folder: Path, names: Sequence[str], sample: Sample, width: float = WIDTH) -> list[Path]:
    """Draw the figures of ``SAMPLE_FIGURES`` among ``names`` of one caption; returns the files."""
    files = []
    if "windows" in names:
        data = figures_time.windows_data(sample)
        files += save_figure(folder / "windows" / sample.id, figures_time.draw_windows(sample, data), data)
    if "maps" in names:
        figure = attention_map(
            sample.words,
            sample.gate,
            sample.window,
            sample.spatial,
            fps=sample.fps,
            start=sample.start,
            reference=sample.references[0],
            segments=sample.segments,
            max_words=6,
            gates_in_title=True,
        )
        files += save_figure(folder / "maps" / sample.id, figure, map_data(sample))
    if "fine_grained" in names:
        data = figures_time.fine_grained_data(sample, width)
        files += save_figure(folder / "fine_grained" / sample.id, figures_time.draw_fine_grained(sample, data), data)
    return files


def map_data(sample: Sample) -> dict[str, np.ndarray]:
    """All arrays behind an attention map: ``words``, ``gate``, ``mean``, ``std`` (L,), ``window`` (L, T), ``spatial``
    (L, T, P), ``references``, ``fps``."""
    return {
        "words": np.array(sample.words),
        "references": np.array(sample.references),
        "fps": np.array(sample.fps),
        **{name: getattr(sample, name) for name in ("gate", "mean", "std", "window", "spatial")},
    }
