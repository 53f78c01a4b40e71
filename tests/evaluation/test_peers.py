"""Files of captions that other models made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2t_fast.errors import UserError
from m2t_fast.evaluation.peers import read_predictions


def write(path: Path, *records: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def test_names_that_fields_may_have(tmp_path: Path) -> None:
    path = write(
        tmp_path / "tm2t.jsonl",
        {"id": "a", "prediction": "He walks.", "caption": "not this"},
        "",
        {"file": "motions/b.npy", "caption": "he runs", "score": -1},
        {"id": "c", "text": ""},
    )
    (found,) = read_predictions(path)
    assert found.name == "tm2t" and found.beam_size is None
    assert found.captions == {"a": "He walks.", "b": "he runs", "c": ""}


def test_several_models_in_a_file(tmp_path: Path) -> None:
    records = [
        {"id": i, "prediction": "x", "run": f"runs/{r}", "beam_size": k} for r in "ab" for k in (1, 2) for i in "mn"
    ]
    found = read_predictions(write(tmp_path / "predictions.jsonl", *records))
    assert [(one.name, one.beam_size) for one in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert all(set(one.captions) == {"m", "n"} for one in found)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "no predictions; expected a line"),
        (["{"], "line 1: not JSON"),
        ([[1]], "line 1: got a JSON list"),
        ([{"id": 3, "prediction": "x"}], "line 1: id 3, expected the id of a motion as a string"),
        ([{"prediction": "x"}], "line 1: id None"),
        ([{"id": "a", "prediction": None}], "line 1: prediction None, expected a caption"),
        ([{"id": "a", "prediction": "x"}, {"id": "a", "prediction": "y"}], "line 2: id 'a' appears twice"),
    ],
)
def test_what_is_refused(tmp_path: Path, records: list, message: str) -> None:
    path = write(tmp_path / "p.jsonl", *records)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value) and message in str(caught.value)
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="not UTF-8"):
        read_predictions(path)
    with pytest.raises(UserError, match="cannot read"):
        read_predictions(tmp_path / "none.jsonl")
