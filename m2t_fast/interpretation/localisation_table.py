"""The localisation of one or more runs as a table: Markdown to read and JSON to compute with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from m2t_fast.files import write_text
from m2t_fast.visible import visible_line

NAME = "localisation"

Read = Callable[[dict[str, Any]], Any]


def _at(*keys: str) -> Read:
    def read(measured: dict[str, Any]) -> Any:
        value: Any = measured
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    return read


def _nothing(_: dict[str, Any]) -> None:
    return None


def _times(label: str, *keys: str) -> list[tuple[str, Read, Read, str]]:
    return [
        (f"onset error in seconds, {label}", _at(*keys, "onset_error"), _at(*keys, "whole", "onset_error"), ".2f"),
        (f"IoU of the range, {label}", _at(*keys, "iou"), _at(*keys, "whole", "iou"), ".2f"),
        (f"hit rate (IoU at least 0.5), {label}", _at(*keys, "hit_rate"), _at(*keys, "whole", "hit_rate"), ".0%"),
    ]


# What is told, of a run, of a guess on the same words, in which format.
_ROWS: list[tuple[str, Read, Read, str]] = [
    ("lambda_spat", _at("lambda_spat"), _nothing, "g"),
    ("lambda_adapt", _at("lambda_adapt"), _nothing, "g"),
    ("lambda_temp", _at("lambda_temp"), _nothing, "g"),
    ("actions named", _at("named"), _nothing, ".0%"),
    ("words measured", _at("words"), _nothing, ",d"),
    *_times("all motions", "localisation"),
    *_times("motions of several actions", "localisation", "several"),
    ("body part, accuracy", _at("parts", "accuracy"), _at("parts", "chance"), ".0%"),
    ("body part, left and right not told apart", _at("parts", "limb_accuracy"), _nothing, ".0%"),
    ("body part, words with spatial supervision", _at("parts", "supervised"), _nothing, ".0%"),
    ("body part, words without", _at("parts", "unsupervised"), _nothing, ".0%"),
    ("gate, AUC of motion against non-motion words", _at("gate", "auc"), lambda _: 0.5, ".3f"),
    ("mean gate of motion words", _at("gate", "motion_mean"), _nothing, ".2f"),
    ("mean gate of non-motion words", _at("gate", "other_mean"), _nothing, ".2f"),
]


def table(runs: Sequence[dict[str, Any]]) -> str:
    """A Markdown table, one row per measure and one column per run.

    In brackets is what a guess that knows nothing gets on the same words: the whole motion as the range, a body part at
    random, a constant gate. A dash: unknown, or nothing to measure.

    ``runs`` are what ``localisation.measure`` gives, with ``run`` (name), ``lambda_spat`` and ``lambda_adapt`` (None
    where unknown) and, where time was guided, ``lambda_temp``: its row is there if any run has it.
    """
    lines = [
        "| | " + " | ".join(re.sub("[|<>]", r"\\\g<0>", visible_line(measured["run"])) for measured in runs) + " |",
        "| --- |" + " ---: |" * len(runs),
    ]
    for label, of_run, of_guess, style in _ROWS:
        if label == "lambda_temp" and not any(map(of_run, runs)):
            continue
        cells = []
        for measured in runs:
            value, guess = of_run(measured), of_guess(measured)
            text = "–" if value is None else format(value, style)
            cells.append(text if value is None or guess is None else f"{text} ({guess:{style}})")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_report(folder: Path, about: dict[str, Any], runs: Sequence[dict[str, Any]]) -> str:
    """Write ``localisation.md`` and ``localisation.json`` into a folder and return the Markdown.

    ``about`` says what was measured and how: ``data``, ``split``, ``words`` ("generated" or "reference"), the
    options of the search (None for references), ``width`` and ``times``; each of ``runs`` has, besides what
    :func:`table` reads, ``motions``: how many its filters keep.
    """
    counts = sorted({measured["motions"] for measured in runs})
    motions = " or ".join(f"{count:,}" for count in counts) + " motions"
    if len(counts) > 1:
        motions += " (the filters of the runs differ, so they cannot be compared)"
    said = "reference captions"
    if about["words"] == "generated":
        gate = "" if about["force_gate"] is None else f", gate forced to {about['force_gate']:g}"
        said = f"captions found (beam size {about['beam_size']}{gate})"
    times = {"segments": "whole segments", "active": "the active frames of segments"}[about["times"]]
    text = (
        f"{about['split']} split of {about['data']}, {motions}; words of {said}; "
        f"range of a word: mean +- {about['width']:.2f} standard deviations of its window; times of actions: {times}. "
        f"In brackets: a guess that knows nothing, on the same words.\n\n{table(runs)}"
    )
    write_text(folder / f"{NAME}.md", text)
    content = json.dumps({**about, "runs": list(runs)}, ensure_ascii=False, allow_nan=False, indent=1)
    write_text(folder / f"{NAME}.json", content + "\n")
    return text
