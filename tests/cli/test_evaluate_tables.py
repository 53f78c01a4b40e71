"""``m2t-fast evaluate`` as the paper's tables: several runs and beam sizes, both texts, gates, where files go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from m2t_fast.evaluation import bert, metrics

FILES = ["predictions.jsonl", "scores.json", "scores.md", "scores.tex"]
RAW = ["a person walks forward", "a man waves the left hand", "a person jumps up and down"]
PROCESSED = ["a person walk forward", "a man wave the left hand", "a person jump up and down"]


@pytest.fixture
def two_runs(tiny_run: Path, run_of: Callable, tmp_path: Path) -> list[Path]:
    """Run folders that a test may change, trained with known weights of the losses."""
    runs = []
    for name, weights in (("guided", (2.0, 3.0)), ("plain", (0.0, 0.5))):
        folder = Path(shutil.copytree(tiny_run if name == "guided" else run_of(22, downsample=3), tmp_path / name))
        config = json.loads((folder / "config.json").read_text())
        config["training"] = dict(zip(("lambda_spat", "lambda_adapt"), weights, strict=True))
        (folder / "config.json").write_text(json.dumps(config))
        runs.append(folder)
    return runs


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_of_one_run(call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    output = tmp_path / "scores"
    result = call("evaluate", tiny_run, "--data", data_of(22), "--max-length", 8, "--output", output)
    assert result.code == 0 and written(output) == FILES
    content = json.loads((output / "scores.json").read_text())
    assert (content["text"], content["split"], content["max_length"]) == ("raw", "test", 8)
    assert content["left_out"].keys() >= {"BERTScore"} and content["bert_model"] is None
    (row,) = content["rows"]
    assert (row["run"], row["beam_size"], row["lambda_spat"]) == (str(tiny_run), 1, None)
    records = lines_of(output / "predictions.jsonl")
    expected = metrics.score([r["prediction"] for r in records], [r["references"] for r in records])
    assert {name: row[name] for name in expected} == expected
    assert "text raw: captions as written" in result.out and "BERTScore left out: no --bert-model" in result.out
    for name in FILES[2:]:
        assert "text raw" in (output / name).read_text() and "BLEU@4" in (output / name).read_text()


def test_several_runs_and_beam_sizes_in_one_table(
    call: Callable, two_runs: list[Path], data_of: Callable, tmp_path: Path
) -> None:
    output = tmp_path / "table"
    argv = ("--data", data_of(22), "--max-length", 6, "--beam-size", "1,3", "--output", output)
    result = call("evaluate", *two_runs, *argv)
    assert result.code == 0 and written(output) == FILES
    assert [path for run in two_runs for path in written(run) if path in FILES] == []
    rows = [line.split() for line in result.out.splitlines() if line.startswith(data_of(22).name + " ")]
    assert [row[1:5] for row in rows] == [
        ["guided", "2", "3", "1"],
        ["guided", "2", "3", "3"],
        ["plain", "0", "0.5", "1"],
        ["plain", "0", "0.5", "3"],
    ]
    content = json.loads((output / "scores.json").read_text())
    records = lines_of(output / "predictions.jsonl")
    assert len(records) == 4 * 3
    for place, row in enumerate(content["rows"]):
        own = [r for r in records if (r["run"], r["beam_size"]) == (row["run"], row["beam_size"])]
        assert own == records[3 * place : 3 * place + 3]
        expected = metrics.score([r["prediction"] for r in own], [r["references"] for r in own])
        assert {name: row[name] for name in expected} == expected
        assert f"{expected['bleu_1']:.2f}" in rows[place]


def test_without_an_output_every_run_keeps_its_own(call: Callable, two_runs: list[Path], data_of: Callable) -> None:
    result = call("evaluate", *two_runs, "--data", data_of(22), "--max-length", 6)
    assert result.code == 0 and "Dataset" in result.out
    for run in two_runs:
        assert set(FILES) <= set(written(run)) and str(run / "predictions.jsonl") in result.out
        assert [row["model"] for row in json.loads((run / "scores.json").read_text())["rows"]] == [run.name]
        assert "run" not in lines_of(run / "predictions.jsonl")[0]


def test_processed_text(call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    argv = ("--data", data_of(22), "--max-length", 6, "--text", "processed", "--output", tmp_path / "out")
    result = call("evaluate", tiny_run, *argv)
    assert result.code == 0 and "text processed: lemmatised tokens" in result.out
    records = lines_of(tmp_path / "out/predictions.jsonl")
    lemma = {
        raw: one for r, p in zip(RAW, PROCESSED, strict=True) for raw, one in zip(r.split(), p.split(), strict=True)
    }
    for record in records:
        assert record["references"] == PROCESSED
        assert record["processed"].split() == [lemma.get(word, word) for word in record["prediction"].split()]
    assert any(record["processed"] != record["prediction"] for record in records)
    (row,) = json.loads((tmp_path / "out/scores.json").read_text())["rows"]
    expected = metrics.score([r["processed"] for r in records], [PROCESSED] * 3)
    assert {name: row[name] for name in expected} == expected


def test_processed_text_needs_tokens(refused: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    data = Path(shutil.copytree(data_of(22), tmp_path / "data"))
    argv = ("evaluate", tiny_run, "--data", data, "--text", "processed", "--output", tmp_path / "out")
    (data / "texts/test1.txt").write_text("a person walks#./PUNCT#0.0#0.0\n")
    assert "test1: no caption of this motion has tagged tokens" in refused(*argv)
    (data / "train.txt").unlink()
    assert "train.txt: no such split file" in refused(*argv)
    assert not (tmp_path / "out").exists()


def test_gates_compared(call: Callable, two_runs: list[Path], data_of: Callable, tmp_path: Path) -> None:
    argv = ("--data", data_of(22), "--max-length", 6)
    assert call("evaluate", two_runs[0], *argv, "--output", tmp_path / "own").code == 0
    result = call("evaluate", two_runs[0], *argv, "--force-gate", 1, "--output", tmp_path / "forced")
    assert result.code == 0 and "the forced gate changes" in result.out
    assert written(tmp_path / "forced") == sorted([*FILES, "gate_comparison.jsonl", "gate_comparison.md"])
    own = {r["id"]: r["prediction"] for r in lines_of(tmp_path / "own/predictions.jsonl")}
    forced = {r["id"]: r["prediction"] for r in lines_of(tmp_path / "forced/predictions.jsonl")}
    assert own != forced
    comparison = lines_of(tmp_path / "forced/gate_comparison.jsonl")
    assert [(c["id"], c["force_gate"]) for c in comparison] == [(i, 1.0) for i in ("test0", "test1", "test2")]
    assert {c["id"]: c["adaptive"] for c in comparison} == own and {c["id"]: c["forced"] for c in comparison} == forced
    assert all(c["references"] == RAW for c in comparison)
    first = comparison[0]
    rows = (tmp_path / "forced/gate_comparison.md").read_text().splitlines()
    assert f"| test0 | {first['forced']} | {first['adaptive']} | {RAW[0]} |" in rows
    changed = [motion_id for motion_id in own if own[motion_id] != forced[motion_id]]
    assert f"changes the captions of {len(changed)} of 3 motions" in result.out
    assert all(own[motion_id] in result.out and forced[motion_id] in result.out for motion_id in changed)
    scores = json.loads((tmp_path / "forced/scores.json").read_text())["rows"]
    assert [row["force_gate"] for row in scores] == [1.0, None]
    (alone,) = json.loads((tmp_path / "own/scores.json").read_text())["rows"]
    assert scores[1] == alone


def test_predictions_in_a_file_of_their_own(call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    argv = ("--data", data_of(22), "--max-length", 3, "--output", tmp_path / "val.1.jsonl")
    assert call("evaluate", tiny_run, *argv).code == 0
    assert written(tmp_path) == ["val.1.jsonl", "val.1.scores.json", "val.1.scores.md", "val.1.scores.tex"]


def test_places_that_cannot_be_written(refused: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    taken = tmp_path / "notes.txt"
    taken.write_text("mine")
    argv = ("evaluate", tiny_run, "--data", data_of(22), "--output")
    assert f"{taken}: a file, expected a folder or a name ending in .jsonl" in refused(*argv, taken)
    assert "cannot write" in refused(*argv, tmp_path / "a/b/c")
    assert "cannot write" in refused(*argv, tmp_path / "a/b.jsonl")
    (tmp_path / "out" / "scores.tex").mkdir(parents=True)
    assert "scores.tex: cannot write: it is a folder" in refused(*argv, tmp_path / "out")
    assert written(tmp_path / "out") == ["scores.tex"]
    shutil.rmtree(tmp_path / "out")
    assert written(tmp_path) == ["notes.txt"] and taken.read_text() == "mine"


def test_runs_are_checked_before_any_is_scored(
    refused: Callable, two_runs: list[Path], run_of: Callable, data_of: Callable, tmp_path: Path
) -> None:
    data = ("--data", data_of(22), "--output", tmp_path / "out")
    assert "appears twice" in refused("evaluate", two_runs[0], two_runs[1], tmp_path / "plain/../guided", *data)
    assert "no such run folder" in refused("evaluate", two_runs[0], tmp_path / "none", *data)
    other = run_of(21)
    assert f"{other} reads 21" in refused("evaluate", two_runs[0], other, *data)
    assert "argument --beam-size: got '0'" in refused("evaluate", two_runs[0], *data, "--beam-size", "2,0")
    assert "argument --beam-size: got ''" in refused("evaluate", two_runs[0], *data, "--beam-size", "2,")
    assert not (tmp_path / "out").exists()


def test_runs_of_one_name_are_told_apart(call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    runs = [Path(shutil.copytree(tiny_run, tmp_path / place / "run")) for place in ("x", "y")]
    assert call("evaluate", *runs, "--data", data_of(22), "--max-length", 3, "--output", tmp_path / "out").code == 0
    rows = json.loads((tmp_path / "out/scores.json").read_text())["rows"]
    assert [row["model"] for row in rows] == [str(run) for run in runs]


def test_runs_whose_filters_differ_are_not_compared(
    call: Callable, tiny_run: Path, run_of: Callable, data_of: Callable, tmp_path: Path
) -> None:
    argv = ("--data", data_of(22), "--max-length", 3, "--output", tmp_path / "out")
    result = call("evaluate", tiny_run, run_of(22, max_tokens=5), *argv)
    assert "3 motions, 3 references or 3 motions, 9 references" in result.out and "cannot be compared" in result.out
    assert "**" not in (tmp_path / "out/scores.md").read_text()


def test_bert_score_reaches_the_table(
    call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scorer:
        def __init__(self, folder: Path, device: object) -> None:
            self.folder = folder

        def score(self, predictions: list[str], references: list[list[str]]) -> float:
            assert len(predictions) == len(references) == 3
            return 41.25

        def describe(self) -> str:
            return f"{self.folder}, layer 17"

    monkeypatch.setattr(bert, "why_unavailable", lambda: None)
    monkeypatch.setattr(bert, "BertScorer", Scorer)
    argv = ("--data", data_of(22), "--max-length", 3, "--output", tmp_path / "out", "--bert-model", "some/model")
    result = call("evaluate", tiny_run, *argv)
    assert "bert_score   41.25" in result.out and "BERTScore by some/model, layer 17" in result.out
    assert "BERTScore left out" not in result.out
    content = json.loads((tmp_path / "out/scores.json").read_text())
    assert content["rows"][0]["bert_score"] == 41.25 and content["bert_model"] == "some/model, layer 17"


def test_missing_packages_are_named(
    call: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    argv = ("--data", data_of(22), "--max-length", 3, "--output", tmp_path / "out", "--bert-model", tmp_path)
    result = call("evaluate", tiny_run, *argv)
    assert result.code == 0
    assert "ROUGE-L and CIDEr left out: pip install 'm2t_fast[eval]'" in result.out
    assert "BERTScore left out: the package bert-score is not installed (pip install 'm2t_fast[eval]')" in result.out
    assert "CIDEr" not in (tmp_path / "out/scores.md").read_text()


def test_a_folder_without_a_model(refused: Callable, tiny_run: Path, data_of: Callable, tmp_path: Path) -> None:
    if (reason := bert.why_unavailable()) is not None:
        pytest.skip(f"BERTScore: {reason}")
    error = refused("evaluate", tiny_run, "--data", data_of(22), "--bert-model", tmp_path)
    assert f"{tmp_path}: no model (config.json is missing)" in error
