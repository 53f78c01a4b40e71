"""Scoring a run: records and scores that agree, and the predictions file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2t_fast.captioner import Captioner
from m2t_fast.data.dataset import Prepared
from m2t_fast.errors import UserError
from m2t_fast.evaluation import caption_motions, evaluate, metrics, write_predictions
from m2t_fast.run_folder import Run


@pytest.fixture
def run(model: Captioner, data: Prepared, tmp_path: Path) -> Run:
    return Run(tmp_path, model, data.vocabulary, data.statistics, data.settings, None)


def test_records_and_scores(run: Run, data: Prepared) -> None:
    dataset = data["test"]
    scores, records = evaluate(run, dataset, beam_size=2, max_length=6)
    captions = caption_motions(run.model, dataset, data.vocabulary, beam_size=2, max_length=6)
    assert [record["id"] for record in records] == dataset.ids
    assert [record["prediction"] for record in records] == [best.caption for best, *_ in captions]
    assert [record["score"] for record in records] == [best.score for best, *_ in captions]
    assert [record["references"] for record in records] == dataset.references
    assert scores == metrics.score([best.caption for best, *_ in captions], dataset.references)
    assert evaluate(run, dataset, beam_size=2, max_length=6) == (scores, records)


def test_predictions_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    records = [{"id": "a", "prediction": "geht zurück", "score": -0.5, "references": ["x"]}, {"id": "b"}]
    write_predictions(path, [{"old": True}])
    write_predictions(path, records)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == records
    with pytest.raises(TypeError):
        write_predictions(path, [{"id": "a"}, {"id": object()}])
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2  # the old file is whole
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.jsonl"]
    with pytest.raises(UserError, match="cannot write"):
        write_predictions(tmp_path / "nowhere" / "file", records)
