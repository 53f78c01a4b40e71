"""``m2t-fast score``: the protocol of evaluate for captions of any model."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def predicted(call, tiny_run, data_of, tmp_path):
    """What evaluate wrote: its predictions, and its scores."""
    output = tmp_path / "evaluated.jsonl"
    assert call("evaluate", tiny_run, "--data", data_of(22), "--output", output).code == 0
    return output, json.loads((tmp_path / "evaluated.scores.json").read_text())


@pytest.mark.parametrize("text", ["raw", "processed"])
def test_the_same_captions_get_the_same_scores(call, predicted, data_of, tiny_run, tmp_path, text):
    path, scores = predicted
    if text == "processed":
        assert call("evaluate", tiny_run, "--data", data_of(22), "--text", text, "--output", path).code == 0
        scores = json.loads((tmp_path / "evaluated.scores.json").read_text())
    result = call("score", path, "--data", data_of(22), "--text", text, "--output", tmp_path / "table")
    assert result.code == 0, result.err
    assert "model evaluated" in result.out and "3 motions, 9 references" in result.out
    (row,) = json.loads((tmp_path / "table" / "scores.json").read_text())["rows"]
    assert row["beam_size"] is None and row["model"] == "evaluated"
    for name in ("bleu_1", "bleu_4", "rouge_l", "cider", "motions", "references"):
        assert row.get(name) == scores["rows"][0].get(name)


def test_several_models_in_one_table(call, predicted, data_of, tmp_path):
    path, _ = predicted
    records = [json.loads(line) for line in path.read_text().splitlines()]
    loud = tmp_path / "peer.jsonl"
    loud.write_text(
        "".join(json.dumps({"id": r["id"], "caption": r["references"][0].upper() + " ."}) + "\n" for r in records)
    )
    with open(loud, "a") as file:
        file.write('{"id": "elsewhere", "caption": "x"}\n')
    result = call("score", path, loud, "--data", data_of(22), "--names", "ours", "TM2T", "--output", tmp_path / "t")
    assert result.code == 0 and "1 prediction is of no motion of the test split" in result.err
    table = (tmp_path / "t" / "scores.md").read_text()
    assert "| ours |" in table and "| TM2T |" in table
    rows = json.loads((tmp_path / "t" / "scores.json").read_text())["rows"]
    assert rows[1]["bleu_4"] == pytest.approx(100)  # case and full stop do not count


def test_what_is_refused(refused, predicted, data_of, tmp_path):
    path, _ = predicted
    lines = path.read_text().splitlines()
    some = tmp_path / "some.jsonl"
    some.write_text(lines[0] + "\n")
    assert "some.jsonl: no prediction for 2 of 3 motions" in refused("score", some, "--data", data_of(22))
    assert "--names: got 1, expected one for each of 2" in refused(
        "score", path, some, "--data", data_of(22), "--names", "a"
    )
    assert "none.jsonl: cannot read" in refused("score", tmp_path / "none.jsonl", "--data", data_of(22))
    assert "no new_joint_vecs/" in refused("score", path, "--data", data_of(22), "--evaluator", tmp_path)
    assert "--evaluator: not with --data synthetic" in refused(
        "score", path, "--data", "synthetic", "--evaluator", tmp_path
    )
