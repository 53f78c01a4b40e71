"""Captions of any model, from a file, scored by the protocol of ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.evaluation.scored_runs import Result
from m2t_fast.evaluation.scores import score_captions
from m2t_fast.evaluation.tables import Row
from m2t_fast.reading import Malformed, parse_json, read_text
from m2t_fast.wording import counted

_SHOWN = 5  # ids that a message names
_TEXTS = ("prediction", "caption", "text")


@dataclass(frozen=True)
class Predictions:
    """The captions of one model, by id; ``name`` is what a table calls it, ``beam_size`` None where the file does not
    tell."""

    path: Path
    name: str
    captions: dict[str, str]
    beam_size: int | None = None


def read_predictions(path: str | Path) -> list[Predictions]:
    """The predictions of a .jsonl file: one object per line with ``id`` (or ``file``, whose name without its ending is
    the id) and ``prediction`` (or ``caption``, or ``text``). Lines that name a ``run`` and a ``beam_size``, as
    ``evaluate`` writes them for several results, belong to several models.

    Raises:
        UserError: the file is unreadable, empty, or a line of it malformed, or an id appears twice.
    """
    path = Path(path)
    lines = read_text(path, "utf-8-sig").split("\n")
    found: dict[tuple[str | None, int | None], dict[str, str]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            key, motion_id, caption = _parse(line, f"{path}: line {number}")
            captions = found.setdefault(key, {})
            if motion_id in captions:
                raise UserError(f"{path}: line {number}: id {motion_id!r} appears twice")
            captions[motion_id] = caption
    if not found:
        raise UserError(f'{path}: no predictions; expected a line {{"id": ..., "prediction": ...}} per motion')
    return [
        Predictions(path, path.stem if run is None else Path(run).name, captions, beam_size)
        for (run, beam_size), captions in found.items()
    ]


def _parse(line: str, where: str) -> tuple[tuple[str | None, int | None], str, str]:
    try:
        record = parse_json(line)
    except Malformed as error:
        raise UserError(f"{where}: {error}") from None
    if not isinstance(record, dict):
        raise UserError(f"{where}: got a JSON {type(record).__name__}, expected an object")
    motion_id = record.get("id")
    if motion_id is None and isinstance(record.get("file"), str):
        motion_id = Path(record["file"]).stem
    if not isinstance(motion_id, str):
        raise UserError(f"{where}: id {motion_id!r}, expected the id of a motion as a string")
    caption = next((record[name] for name in _TEXTS if name in record), None)
    if not isinstance(caption, str):
        raise UserError(f"{where}: prediction {caption!r}, expected a caption as a string")
    run, beam = record.get("run"), record.get("beam_size")
    return (run if isinstance(run, str) else None, beam if type(beam) is int else None), motion_id, caption


def score_predictions(predictions: Predictions, dataset: MotionDataset, **options: Any) -> tuple[Result, list[str]]:
    """Scores of the predictions on a split, and the ids among them that the split does not have.

    Captions are brought into the form of the references: lower case, without punctuation. ``options`` are those of
    :func:`~m2t_fast.evaluation.scores.score_captions`.

    Raises:
        UserError: a motion of the split has no prediction.
    """
    missing = [motion_id for motion_id in dataset.ids if motion_id not in predictions.captions]
    if missing:
        motions = counted(dataset.motions, "motion")
        raise UserError(
            f"{predictions.path}: no prediction for {len(missing):,} of {motions} of the split: {_some(missing)}"
        )
    known = set(dataset.ids)
    unknown = [motion_id for motion_id in predictions.captions if motion_id not in known]
    spoken = [" ".join(tokenise(predictions.captions[motion_id])) for motion_id in dataset.ids]
    scores, references, compared = score_captions(spoken, dataset, **options)
    row = Row(
        model=predictions.name,
        lambda_spat=None,
        lambda_adapt=None,
        beam_size=predictions.beam_size,
        force_gate=None,
        motions=dataset.motions,
        references=sum(map(len, references)),
        scores=scores,
    )
    records = [
        {"id": motion_id, "prediction": predictions.captions[motion_id], "compared": text, "references": group}
        for motion_id, text, group in zip(dataset.ids, compared, references, strict=True)
    ]
    return Result(predictions.path, [row], records, [], dataset.faults), unknown


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
