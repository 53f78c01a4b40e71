"""Scores of a trained model on a split, and the file with its predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2t_fast.captioning.pipeline import caption_motions
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.errors import UserError
from m2t_fast.evaluation import metrics
from m2t_fast.evaluation.bert import BertScorer
from m2t_fast.evaluation.lemmas import Lemmas
from m2t_fast.evaluation.matching import Evaluator
from m2t_fast.files import write_text
from m2t_fast.run_folder import Run


def evaluate(
    run: Run,
    dataset: MotionDataset,
    *,
    lemmas: Lemmas | None = None,
    bert: BertScorer | None = None,
    evaluator: Evaluator | None = None,
    **options: Any,
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Caption a split and score the best caption of every motion against all its references.

    The split must be prepared with the run's own vocabulary, statistics and settings. ``options`` are those of
    :func:`~m2t_fast.captioning.pipeline.caption_motions`.

    Args:
        lemmas: None compares captions as written. Else references are the lemmatised tokens of the text files, and
            predictions are brought into that form by ``lemmas``.
        bert: adds BERTScore.
        evaluator: adds R-precision and MM-Dist.

    Returns:
        the scores (see :func:`score_captions`), and per motion, in the
        order of ``dataset.ids``, a JSON-ready dictionary with ``id``, ``prediction``, ``score`` (of the search),
        ``references`` and, with ``lemmas``, ``processed``: the prediction as it was compared.

    Raises:
        UserError: with ``lemmas``, a motion none of whose captions has tokens.
        ValueError: an option is out of range, or the motions do not have the model's joints.
    """
    captions = caption_motions(run.model, dataset, run.vocabulary, **options)
    spoken = [best.caption for best, *_ in captions]
    scores, references, compared = score_captions(spoken, dataset, lemmas=lemmas, bert=bert, evaluator=evaluator)
    records = [
        {"id": motion_id, "prediction": best.caption, "score": best.score, "references": group}
        | ({} if lemmas is None else {"processed": text})
        for motion_id, (best, *_), group, text in zip(dataset.ids, captions, references, compared, strict=True)
    ]
    return scores, records


def score_captions(
    captions: Sequence[str],
    dataset: MotionDataset,
    *,
    lemmas: Lemmas | None = None,
    bert: BertScorer | None = None,
    evaluator: Evaluator | None = None,
) -> tuple[dict[str, float], list[list[str]], list[str]]:
    """Scores of one caption per motion, in the order of ``dataset.ids``; arguments as for :func:`evaluate`.

    Returns:
        the scores (see :func:`m2t_fast.metrics.score`; with ``bert`` also ``bert_score``, with ``evaluator``
        ``r_precision_1`` to ``_3`` and ``mm_dist``), and the references and captions as they were compared.

    Raises:
        UserError: with ``lemmas``, a motion none of whose captions has tokens.
    """
    references = dataset.references if lemmas is None else processed_references(dataset)
    compared = list(captions)
    if lemmas is not None:
        compared = [" ".join(lemmas.apply(caption.split())) for caption in compared]
    scores = metrics.score(compared, references)
    if bert is not None:
        scores["bert_score"] = bert.score(compared, references)
    if evaluator is not None:
        scores |= evaluator.score(captions, dataset.ids)
    return scores, references, compared


def processed_references(dataset: MotionDataset) -> list[list[str]]:
    """Per motion its captions in the lemmatised tokens of its text file, without captions that have none.

    Raises:
        UserError: a motion none of whose captions has tokens.
    """
    references = [[caption for caption in captions if caption] for captions in dataset.processed]
    for motion_id, captions in zip(dataset.ids, references, strict=True):
        if not captions:
            raise UserError(
                f"{motion_id}: no caption of this motion has tagged tokens, which processed text compares; expected "
                "lines caption#token/POS ...#start#end"
            )
    return references


def write_predictions(path: Path, records: list[dict[str, Any]]) -> None:
    """One JSON object per line; an existing file is replaced as a whole.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(path, json_lines(records))


def json_lines(records: list[dict[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
