"""The table: one row per measure, one column per run, guesses in brackets, and the same numbers as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from m2t_fast.interpretation.localisation import measure
from m2t_fast.interpretation.localisation_table import table, write_report

ABOUT = {"data": "here", "split": "test", "words": "generated", "beam_size": 2, "force_gate": None, "width": 1.5}


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_table_of_a_real_run(trained, tmp_path: Path) -> None:  # noqa: ANN001
    measured = measure(trained.read, trained.test, references=True)
    runs = [
        {"run": "with", "motions": 10, "lambda_spat": 2.0, "lambda_adapt": 3.0, **measured},
        {"run": "converted", "motions": 10, "lambda_spat": None, "lambda_adapt": None, **measured},
    ]
    text = write_report(tmp_path, {**ABOUT, "times": "segments"}, runs)
    assert (tmp_path / "localisation.md").read_text(encoding="utf-8") == text
    assert (
        text.startswith("test split of here, 10 motions; words of captions found (beam size 2);") and "+- 1.50" in text
    )
    found = rows(text)
    assert found[""] == ["with", "converted"]
    assert found["lambda_spat"] == ["2", "–"] and found["lambda_adapt"] == ["3", "–"]
    times, parts = measured["localisation"], measured["parts"]
    assert found["IoU of the range, all motions"] == [f"{times['iou']:.2f} ({times['whole']['iou']:.2f})"] * 2
    assert found["onset error in seconds, motions of several actions"][0].startswith(
        f"{times['several']['onset_error']:.2f} ("
    )
    assert found["body part, accuracy"] == [f"{parts['accuracy']:.0%} ({parts['chance']:.0%})"] * 2
    content = json.loads((tmp_path / "localisation.json").read_text(encoding="utf-8"))
    assert content["runs"] == json.loads(json.dumps(runs)) and content["width"] == 1.5


def test_what_was_done_is_said(word, tmp_path: Path) -> None:  # noqa: ANN001
    measured = measure([word()], SimpleNamespace(segments=None, fps=10.0), references=False)
    runs = [{"run": f"a|{n}", "motions": n, "lambda_spat": 0.0, "lambda_adapt": 0.0, **measured} for n in (9, 1200)]
    text = write_report(tmp_path, {**ABOUT, "times": "active", "force_gate": 0.7}, runs)
    assert "here, 9 or 1,200 motions (the filters of the runs differ, so they cannot be compared); words of" in text
    assert "captions found (beam size 2, gate forced to 0.7)" in text and "| | a\\|9 | a\\|1200 |" in text
    text = write_report(tmp_path, {**ABOUT, "times": "active", "words": "reference"}, runs[:1])
    assert "here, 9 motions; words of reference captions;" in text


def test_nothing_to_measure_is_a_dash(word) -> None:  # noqa: ANN001
    measured = measure([word()], SimpleNamespace(segments=None, fps=10.0), references=False)
    found = rows(table([{"run": "r", "lambda_spat": 0.0, "lambda_adapt": 0.25, **measured}]))
    assert found["lambda_spat"] == ["0"] and found["lambda_adapt"] == ["0.25"]
    assert found["body part, accuracy"] == ["–"] and found["hit rate (IoU at least 0.5), all motions"] == ["–"]
    assert found["words measured"] == ["0"] and found["mean gate of motion words"] == ["0.90"]
