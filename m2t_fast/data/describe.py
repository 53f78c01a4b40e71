"""The contents of a data set in numbers, and how it compares with the paper's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from m2t_fast.data.dataset import MotionDataset, Prepared
from m2t_fast.data.faults import listed
from m2t_fast.data.vocabulary import SPECIALS
from m2t_fast.skeleton import PART_NAMES

# Table 4 of the paper: motions and samples of each split, by skeleton.
_PAPER = {
    "kit": ("KIT-ML", {"train": (4886, 10408), "val": (300, 636), "test": (830, 1660)}),
    "humanml3d": ("HumanML3D", {"train": (22068, 66734), "val": (1386, 4186), "test": (4160, 12558)}),
}


def describe(prepared: Prepared) -> dict[str, Any]:
    """Numbers of a prepared data set, JSON-ready.

    Keys: ``source``, ``skeleton``, ``joints``, ``fps`` (kept frames per second), ``vocabulary`` (words, specials
    included), ``settings``, ``paper`` (name of the data set that table 4 gives for this skeleton), and per split under
    ``splits``: ``motions``, ``samples``, ``frames`` and ``words`` (min, median, max, mean; of motions in kept frames,
    of captions in words), ``hours``, ``unknown`` (share of words that are <unk>), ``gate`` (shares of words that are
    motion words, non-motion words and unsupervised), ``parts`` (share of words that name each part), ``segments``,
    ``read`` and ``dropped`` (before and by the filters), ``left_out`` (how many of what kind of fault made a motion, a
    caption, known times or an id unusable), ``paper`` (motions and samples of table 4). Statistics of a split without
    motions are None. ``faults`` lists what was left out, one line each.
    """
    name, paper = _PAPER[prepared.skeleton.name]
    splits = {}
    for split, dataset in prepared.splits.items():
        report = prepared.report[split]
        splits[split] = {
            **_numbers(dataset),
            "read": {kind: report[kind]["read"] for kind in ("motions", "captions")},
            "dropped": report["dropped"],
            "left_out": dict(Counter(f"{fault.what}: {fault.kind}" for fault in dataset.faults)),
            "paper": dict(zip(("motions", "samples"), paper[split], strict=True)),
        }
    return {
        "source": prepared.source,
        "skeleton": prepared.skeleton.name,
        "joints": prepared.skeleton.joints,
        "fps": prepared.skeleton.fps / prepared.settings.downsample,
        "vocabulary": len(prepared.vocabulary),
        "settings": prepared.settings.to_dict(),
        "paper": name,
        "splits": splits,
        "faults": listed(prepared.faults).splitlines(),
    }


def _numbers(dataset: MotionDataset) -> dict[str, Any]:
    words = dataset.tokens >= len(SPECIALS) - 1  # <unk> is a word, the other specials are not
    gate, spatial = dataset.gate_targets[words], dataset.spatial_targets[words]
    count = max(int(words.sum()), 1)
    shares = {kind: float((gate == value).sum()) / count for kind, value in _GATE_KINDS.items()}
    return {
        "motions": dataset.motions,
        "samples": len(dataset),
        "frames": _summary(dataset.motion_lengths),
        "hours": len(dataset.frames) / dataset.fps / 3600,
        "words": _summary(dataset.token_offsets.diff() - 2),
        "unknown": float((dataset.tokens == len(SPECIALS) - 1).sum()) / count,
        "gate": shares,
        "parts": {name: float((spatial[:, i] == 1).sum()) / count for i, name in enumerate(PART_NAMES)},
        "segments": sum(len(s) for s in dataset.segments or [] if s),
    }


_GATE_KINDS = {"motion": 1, "non_motion": 0, "unsupervised": -1}


def _summary(lengths: Tensor) -> dict[str, float] | None:
    if lengths.numel() == 0:
        return None
    values = lengths.double()
    return {
        "min": int(lengths.min()),
        "median": float(torch.quantile(values, 0.5)) if values.numel() < 1 << 24 else float(values.median()),
        "max": int(lengths.max()),
        "mean": float(values.mean()),
    }


def format_description(description: dict[str, Any]) -> str:
    """The result of ``describe`` for a terminal: a table with a column per split, then what was left out."""
    splits = description["splits"]
    rows: list[tuple[str, ...]] = [("", *splits)]

    def row(label: str, cell: Any) -> None:
        rows.append((label, *(cell(numbers) for numbers in splits.values())))

    row("motions", lambda n: f"{n['motions']:,}")
    row("samples (captions)", lambda n: f"{n['samples']:,}")
    row(f"  {description['paper']} in the paper", lambda n: f"{n['paper']['motions']:,} / {n['paper']['samples']:,}")
    row("hours", lambda n: f"{n['hours']:.2f}")
    row(f"frames at {description['fps']:g} Hz", lambda n: _spread(n["frames"]))
    row("words per caption", lambda n: _spread(n["words"]))
    row("unknown words", lambda n: f"{n['unknown']:.1%}")
    for kind, label in (("motion", "motion words"), ("non_motion", "non-motion words"), ("unsupervised", "no target")):
        row(label, lambda n, kind=kind: f"{n['gate'][kind]:.1%}")
    for part in PART_NAMES:
        row(f"  words of {part.replace('_', ' ')}", lambda n, part=part: f"{n['parts'][part]:.1%}")
    if any(n["segments"] for n in splits.values()):
        row("action segments", lambda n: f"{n['segments']:,}")
    filters = dict.fromkeys(name for n in splits.values() for name, count in n["dropped"].items() if count)
    for name in filters:
        row(f"dropped by {name}", lambda n, name=name: f"{n['dropped'][name]:,}")
    for kind in dict.fromkeys(kind for n in splits.values() for kind in n["left_out"]):
        row(f"left out, {kind}", lambda n, kind=kind: f"{n['left_out'].get(kind, 0):,}")
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    lines = [
        f"{description['source']}: {description['skeleton']} skeleton, {description['joints']} joints, "
        f"vocabulary of {description['vocabulary']:,} words",
        *(
            "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
            for cells in rows
        ),
    ]
    return "\n".join([*(line.rstrip() for line in lines), *description["faults"]])


def _spread(summary: dict[str, float] | None) -> str:
    if summary is None:
        return "-"
    return f"{summary['min']} to {summary['max']}, median {summary['median']:g}"
